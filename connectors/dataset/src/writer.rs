//! One load: batches to staged Parquet files, on encoder threads of their own.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use tokio::sync::mpsc;
use transload_core::batch::batch_bytes;
use transload_core::connector::{KeyComparison, LoadOutcome, LoadRecord, LoadRequest, LoadWriter, WriteMode};
use transload_core::schema::TargetTable;
use transload_core::{Error, ErrorKind, Result};

use crate::config::DatasetConfig;
use crate::conform::Conform;
use crate::connect::{TableFolders, check_load_id, create_folder, remove_folder, token};
use crate::deletes::{Found, KeySet, spelled};
use crate::destination::{blocking, existing};
use crate::encode::{EncodeOptions, Part, PartWriter};
use crate::publish::publish;

/// Batches that wait for one encoder. More would only use memory.
const QUEUE: usize = 1;

/// Bytes a load must have before a second encoder, and with it a second file, is worth it.
const SMALL_LOAD: usize = 8 * 1024 * 1024;

/// A load in progress.
pub(crate) struct DatasetWriter {
    staged: Staged,
    encode: EncodeOptions,
    conform: Conform,
    most_encoders: usize,
    /// Bytes that were written until now.
    taken: AtomicUsize,
    /// A write failed: the load can only be aborted.
    failed: AtomicBool,
    encoders: Mutex<Vec<Encoder>>,
    /// Files of encoders that have ended well.
    sealed: Mutex<Vec<Part>>,
    /// Keys that the source has, of a load that compares them, until they are compared.
    keys: Arc<Mutex<Option<KeySet>>>,
    /// What they say of the rows that are there.
    found: Mutex<Option<Found>>,
    abandon: Abandon,
}

/// Tells encoders, when it is dropped, that nobody wants what they still hold. One that hears it fails, so that
/// whoever waits for its files gets an error and not too few of them.
#[derive(Debug, Default)]
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The folder of a load before its commit, and the lock of its table. Dropping it removes the folder.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) folders: TableFolders,
    pub(crate) folder: PathBuf,
    pub(crate) request: LoadRequest,
    /// The table as it is after the load; its files have these columns.
    pub(crate) table: TargetTable,
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
        check_load_id(&request.load_id)?;
        let lock = folders.lock()?;
        folders.clean();
        let there = existing(&folders, &request.target.target)?;
        let table = match (&request.mode, there) {
            (WriteMode::Replace, _) => request.target.clone(),
            (_, Some(table)) => table,
            (_, None) => {
                let target = &request.target.target;
                return Err(Error::new(ErrorKind::NotFound, format!("table {target} does not exist"))
                    .with("target", target)
                    .hint("prepare the table before loading into it"));
            }
        };
        let conform = Conform::new(&request.target, &table)?;
        let request = LoadRequest { deletes: spelled(&request.deletes, &table), ..request };
        // Not the load id alone: an encoder of a dropped load may still write into the folder of that one.
        let folder = folders.staging().join(format!("{}-{}", request.load_id, token()));
        create_folder(&folder)?;
        // Merge needs to know which of two rows with one key was written later, so it has one encoder.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most_encoders = if matches!(request.mode, WriteMode::Merge { .. }) { 1 } else { cores.min(4) };
        let encode = EncodeOptions::new(config, request.memory_budget, most_encoders);
        let keys = Arc::new(Mutex::new(KeySet::of(&request, &table, &folder)?));
        let staged = Staged { folders, folder, request, table, config: config.clone(), _lock: lock };
        Ok(Self {
            staged,
            encode,
            conform,
            most_encoders,
            taken: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            encoders: Mutex::new(Vec::new()),
            sealed: Mutex::new(Vec::new()),
            keys,
            found: Mutex::new(None),
            abandon: Abandon::default(),
        })
    }

    fn start_encoder(&self, number: usize) -> Result<Encoder> {
        let (queue, batches) = mpsc::channel::<RecordBatch>(QUEUE);
        let conform = self.conform.clone();
        let schema = conform.schema().clone();
        let parts =
            PartWriter::new(self.encode.clone(), schema, &self.staged.folder, format!("part-{number}"));
        let (abandoned, folder) = (Arc::clone(&self.abandon.0), self.staged.folder.clone());
        let thread = std::thread::Builder::new()
            .name("transload-encode".to_owned())
            .spawn(move || {
                let encoded = encode(batches, &conform, parts, &abandoned);
                if encoded.is_err() && abandoned.load(Ordering::Acquire) {
                    // Whoever dropped the load may have removed the folder before our last file.
                    remove_folder(&folder);
                }
                encoded
            })
            .map_err(|error| Error::internal("no thread for encoding").source_error(error))?;
        Ok(Encoder { queue, thread })
    }

    /// A queue with room, else a queue to wait for. A second encoder begins only when the first is busy,
    /// so that a small load is one file.
    fn queue_for(&self) -> Result<mpsc::Sender<RecordBatch>> {
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Acquire) {
            return Err(failed_before());
        }
        let with_room = encoders.iter().find(|encoder| encoder.queue.capacity() > 0);
        if let Some(encoder) = with_room {
            return Ok(encoder.queue.clone());
        }
        let small = self.taken.load(Ordering::Relaxed) < SMALL_LOAD;
        if encoders.is_empty() || (!small && encoders.len() < self.most_encoders) {
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

/// Writes what comes through the queue, until it ends or nobody wants it any more.
fn encode(
    mut batches: mpsc::Receiver<RecordBatch>,
    conform: &Conform,
    mut parts: PartWriter,
    abandoned: &AtomicBool,
) -> Result<Vec<Part>> {
    let wanted = || match abandoned.load(Ordering::Acquire) {
        true => Err(Error::cancelled()),
        false => Ok(()),
    };
    while let Some(batch) = batches.blocking_recv() {
        wanted()?;
        parts.write(&conform.apply(&batch)?)?;
    }
    wanted()?;
    parts.finish(false)
}

fn failed_before() -> Error {
    Error::internal("a write of this load failed before").hint("abort the load; its first error says why")
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
        self.conform.check(&batch)?;
        self.taken.fetch_add(batch_bytes(&batch), Ordering::Relaxed);
        let queue = self.queue_for()?;
        if queue.send(batch).await.is_ok() {
            return Ok(());
        }
        // The encoder ended early: its error is the answer.
        self.failed.store(true, Ordering::Release);
        let encoders = self.take_encoders();
        let outcome = blocking(move || finish(encoders)).await;
        Err(outcome.err().unwrap_or_else(|| Error::internal("an encoder ended before its load")))
    }

    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        let set = Arc::clone(&self.keys);
        blocking(move || match set.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(set) => set.add(&keys),
            None => Err(Error::internal("keys were told to a load that does not compare them")),
        })
        .await
    }

    async fn compare_keys(&self) -> Result<KeyComparison> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).take();
        let keys = keys.ok_or_else(|| Error::internal("the keys of a load are compared once, if at all"))?;
        let (folders, deletes) = (self.staged.folders.clone(), self.staged.request.deletes.clone());
        let found = blocking(move || keys.compare(&folders, &deletes)).await?;
        let compared = found.compared;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(compared)
    }

    async fn seal(&self) -> Result<()> {
        // Until it is done: a call that was dropped in between has lost files, and must not be followed by a commit.
        if self.failed.swap(true, Ordering::AcqRel) {
            return Err(failed_before());
        }
        let encoders = self.take_encoders();
        let parts = blocking(move || finish(encoders)).await?;
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).extend(parts);
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    async fn commit(self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        if self.failed.load(Ordering::Acquire) {
            return Err(failed_before());
        }
        if record.load_id != self.staged.request.load_id {
            return Err(Error::internal(format!(
                "load {} cannot be committed with the record of {}",
                self.staged.request.load_id, record.load_id
            )));
        }
        let encoders = self.take_encoders();
        let Self { staged, encode, sealed, found, abandon, .. } = *self;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() && staged.request.deletes.missing.is_some() {
            return Err(Error::internal("a load was committed before its keys were compared"));
        }
        let mut parts = sealed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = blocking(move || {
            parts.extend(finish(encoders)?);
            publish(&staged, encode, parts, found.unwrap_or_default(), record)
        })
        .await;
        drop(abandon);
        outcome
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let encoders = self.take_encoders();
        let Self { staged, abandon, .. } = *self;
        drop(abandon);
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
