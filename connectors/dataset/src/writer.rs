//! One load: batches to staged Parquet files, on encoder threads of their own.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use tokio::sync::mpsc;
use transload_core::connector::{LoadOutcome, LoadRecord, LoadRequest, LoadWriter, WriteMode};
use transload_core::{Error, Result};

use crate::config::DatasetConfig;
use crate::connect::{TableFolders, create_folder, remove_folder};
use crate::destination::blocking;
use crate::encode::{EncodeOptions, Part, PartWriter};
use crate::publish::publish;

/// Batches that wait for one encoder. More would only use memory.
const QUEUE: usize = 2;

/// A load in progress.
pub(crate) struct DatasetWriter {
    staged: Staged,
    encode: EncodeOptions,
    most_encoders: usize,
    encoders: Mutex<Vec<Encoder>>,
}

/// The folder of a load before its commit, and the lock of its table. Dropping it removes the folder.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) folders: TableFolders,
    pub(crate) folder: PathBuf,
    pub(crate) request: LoadRequest,
    pub(crate) config: DatasetConfig,
    _lock: File,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit the folder has moved away, and this finds nothing.
        remove_folder(&self.folder);
    }
}

struct Encoder {
    queue: mpsc::Sender<RecordBatch>,
    thread: JoinHandle<Result<Vec<Part>>>,
}

impl DatasetWriter {
    pub(crate) fn begin(folders: TableFolders, config: &DatasetConfig, request: LoadRequest) -> Result<Self> {
        let lock = folders.lock()?;
        folders.clean();
        let folder = folders.staging().join(&request.load_id);
        create_folder(&folder)?;
        // Merge needs to know which of two rows with one key was written later, so it has one encoder.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most_encoders = if matches!(request.mode, WriteMode::Merge { .. }) { 1 } else { cores.min(4) };
        let encode = EncodeOptions::new(config, request.memory_budget, most_encoders);
        let staged = Staged { folders, folder, request, config: config.clone(), _lock: lock };
        Ok(Self { staged, encode, most_encoders, encoders: Mutex::new(Vec::new()) })
    }

    fn start_encoder(&self, number: usize) -> Result<Encoder> {
        let (queue, mut batches) = mpsc::channel::<RecordBatch>(QUEUE);
        let schema = self.staged.request.target.arrow_schema();
        let mut parts =
            PartWriter::new(self.encode.clone(), schema, &self.staged.folder, format!("part-{number}"));
        let thread = std::thread::Builder::new()
            .name("transload-encode".to_owned())
            .spawn(move || {
                while let Some(batch) = batches.blocking_recv() {
                    parts.write(&batch)?;
                }
                parts.finish(false)
            })
            .map_err(|error| Error::internal("no thread for encoding").source_error(error))?;
        Ok(Encoder { queue, thread })
    }

    /// A queue with room, else a queue to wait for. A second encoder begins only when the first is busy,
    /// so that a small load is one file.
    fn queue_for(&self) -> Result<mpsc::Sender<RecordBatch>> {
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        let with_room = encoders.iter().find(|encoder| encoder.queue.capacity() > 0);
        if let Some(encoder) = with_room {
            return Ok(encoder.queue.clone());
        }
        if encoders.len() < self.most_encoders {
            let encoder = self.start_encoder(encoders.len())?;
            let queue = encoder.queue.clone();
            encoders.push(encoder);
            return Ok(queue);
        }
        let first = encoders.first().map(|encoder| encoder.queue.clone());
        first.ok_or_else(|| Error::internal("a load has no encoder"))
    }

    fn take_encoders(&self) -> Vec<Encoder> {
        std::mem::take(&mut *self.encoders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for the encoders' last files.
fn finish(encoders: Vec<Encoder>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut failed = None;
    for Encoder { queue, thread } in encoders {
        drop(queue);
        match thread.join() {
            Ok(Ok(finished)) => parts.extend(finished),
            Ok(Err(error)) => failed = failed.or(Some(error)),
            Err(_) => failed = failed.or_else(|| Some(Error::internal("an encoder thread died"))),
        }
    }
    failed.map_or(Ok(parts), Err)
}

#[async_trait]
impl LoadWriter for DatasetWriter {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        let queue = self.queue_for()?;
        if queue.send(batch).await.is_ok() {
            return Ok(());
        }
        // The encoder ended early: its error is the answer.
        let encoders = self.take_encoders();
        let outcome = blocking(move || finish(encoders)).await;
        Err(outcome.err().unwrap_or_else(|| Error::internal("an encoder ended before its load")))
    }

    async fn commit(self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        let encoders = self.take_encoders();
        let Self { staged, encode, .. } = *self;
        blocking(move || {
            let parts = finish(encoders)?;
            publish(&staged, encode, parts, &record)
        })
        .await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let encoders = self.take_encoders();
        let Self { staged, .. } = *self;
        blocking(move || {
            // What the encoders say no longer matters; their files go.
            let _ = finish(encoders);
            drop(staged);
            Ok(())
        })
        .await
    }
}

impl fmt::Debug for DatasetWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatasetWriter").field("folder", &self.staged.folder).finish_non_exhaustive()
    }
}
