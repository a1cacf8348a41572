//! Batches on their way into a staging table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::RecordBatch;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use transload_core::{Error, Result};

use crate::load::{self, Load, Totals, died};
use crate::pending;

/// Batches between the readers and the encoder. Batches are near 16 MiB.
const QUEUE: usize = 2;

/// A staging table that is being filled.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) load: Arc<Load>,
    /// `None` once no batch comes any more, and for a load that was committed before.
    queue: Mutex<Option<mpsc::Sender<RecordBatch>>>,
    pipeline: AsyncMutex<Option<JoinHandle<Result<Totals>>>>,
    /// What is staged, once that is all.
    staged: OnceLock<Totals>,
    written: AtomicU64,
}

impl Stage {
    /// Starts the pipeline; `idle` is for a load that was committed before.
    pub(crate) fn start(load: Arc<Load>, idle: bool) -> Self {
        let (queue, pipeline) = if idle {
            (None, None)
        } else {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let load = Arc::clone(&load);
            let pipeline = if load.storage_write {
                tokio::spawn(pending::pipeline(load, receiver))
            } else {
                tokio::spawn(load::pipeline(load, receiver))
            };
            (Some(sender), Some(pipeline))
        };
        Self {
            load,
            queue: Mutex::new(queue),
            pipeline: AsyncMutex::new(pipeline),
            staged: OnceLock::new(),
            written: AtomicU64::new(0),
        }
    }

    /// Hands a batch of the staging table's columns on.
    pub(crate) async fn send(&self, staged: RecordBatch) -> Result<()> {
        let rows = u64::try_from(staged.num_rows()).unwrap_or(u64::MAX);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(queue) = queue else { return Err(self.ended().await) };
        if queue.send(staged).await.is_err() {
            return Err(self.ended().await.with("target", &self.load.target));
        }
        self.written.fetch_add(rows, Ordering::AcqRel);
        Ok(())
    }

    /// Why the pipeline ended early.
    async fn ended(&self) -> Error {
        let handle = self.pipeline.lock().await.take();
        let outcome = match handle {
            Some(handle) => handle.await,
            None => return Error::internal("rows were written to a load that had failed before"),
        };
        match outcome {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::internal("the load ended while rows were written"),
            Err(error) => died(error),
        }
    }

    fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits until all is staged. Who gives up waiting may stop, or wait again.
    pub(crate) async fn rest(&self) -> Result<Totals> {
        self.close();
        let mut pipeline = self.pipeline.lock().await;
        if let Some(totals) = self.staged.get() {
            return Ok(*totals);
        }
        let handle = pipeline.as_mut();
        let handle = handle.ok_or_else(|| Error::internal("a load that had failed was committed"))?;
        let outcome = handle.await.map_err(died);
        *pipeline = None;
        let totals = outcome??;
        let written = self.written.load(Ordering::Acquire);
        if totals.rows != written {
            return Err(Error::internal("the staged rows are not those that were written")
                .with("written", written)
                .with("staged", totals.rows));
        }
        Ok(*self.staged.get_or_init(|| totals))
    }

    /// Stops, and waits until that is so: nothing is staged after this.
    pub(crate) async fn stop(&self) {
        self.close();
        if let Some(handle) = self.pipeline.lock().await.take() {
            handle.abort();
            let _ = handle.await;
        }
    }

    /// Stops without waiting.
    pub(crate) fn abort(&mut self) {
        if let Some(handle) = self.pipeline.get_mut().take() {
            handle.abort();
        }
    }
}
