//! The writer that a load hands out, and its commit.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array as _, RecordBatch};
use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use transload_core::connector::{LoadOutcome, LoadRecord, LoadWriter};
use transload_core::{Error, ErrorKind, Result};

use crate::encode;
use crate::jobs::{ATTEMPTS, Submitted, backoff, failure};
use crate::load::{self, Load, Totals, died, safe_id, short_hash};
use crate::sql::{self, Apply, Commit, LOADS_TABLE, RecordRow};

/// Batches between the readers and the encoder. Batches are near 16 MiB.
const QUEUE: usize = 2;

/// What the staged rows do to the target; indexes are those of the load's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Append,
    Replace,
    Merge { key: Vec<usize>, order_by: Option<usize> },
}

impl Mode {
    fn apply(&self) -> Apply<'_> {
        match self {
            Self::Append => Apply::Append,
            Self::Replace => Apply::Replace,
            Self::Merge { key, order_by } => Apply::Merge { key, order_by: *order_by },
        }
    }

    pub(crate) fn is_merge(&self) -> bool {
        matches!(self, Self::Merge { .. })
    }
}

/// Targets that this process is loading.
static ACTIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Holds a target for one load.
#[derive(Debug)]
pub(crate) struct Claim(String);

impl Claim {
    /// # Errors
    /// `conflict` while another load of this process holds the target.
    pub(crate) fn take(target: String) -> Result<Self> {
        if ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone()) {
            return Ok(Self(target));
        }
        Err(Error::new(ErrorKind::Conflict, "another load of the same table is in progress")
            .with("target", target)
            .hint("wait for it, or abort it"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// A load in progress.
#[derive(Debug)]
pub(crate) struct Writer {
    load: Arc<Load>,
    mode: Mode,
    /// `None` once the load ended, and for a load that was committed before.
    queue: Option<mpsc::Sender<RecordBatch>>,
    pipeline: AsyncMutex<Option<JoinHandle<Result<Totals>>>>,
    written: AtomicU64,
    next_row: AtomicI64,
    already_committed: bool,
    finished: bool,
    _claim: Claim,
}

impl Writer {
    /// Starts the pipeline behind a load.
    pub(crate) fn start(load: Arc<Load>, mode: Mode, already_committed: bool, claim: Claim) -> Self {
        let (queue, pipeline) = if already_committed {
            (None, None)
        } else {
            let (sender, receiver) = mpsc::channel(QUEUE);
            (Some(sender), Some(tokio::spawn(load::pipeline(Arc::clone(&load), receiver))))
        };
        Self {
            load,
            mode,
            queue,
            pipeline: AsyncMutex::new(pipeline),
            written: AtomicU64::new(0),
            next_row: AtomicI64::new(0),
            already_committed,
            finished: false,
            _claim: claim,
        }
    }

    /// A key that is NULL would match no row and be inserted again by every load.
    fn check_keys(&self, batch: &RecordBatch) -> Result<()> {
        let Mode::Merge { key, .. } = &self.mode else { return Ok(()) };
        for index in key {
            if batch.columns().get(*index).is_some_and(|column| column.null_count() > 0) {
                let column = self.load.columns.get(*index).map_or("", |column| column.name.as_str());
                return Err(Error::data("a key column of a merge holds NULL")
                    .with("target", &self.load.target)
                    .with("column", column)
                    .hint("choose a key that is never NULL, or filter such rows out"));
            }
        }
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

    /// Waits until all rows are staged.
    async fn stage_rest(&mut self) -> Result<Totals> {
        self.queue = None;
        let handle = self.pipeline.get_mut().take();
        let handle = handle.ok_or_else(|| Error::internal("a load that had failed was committed"))?;
        let totals = handle.await.map_err(died)??;
        let written = self.written.load(Ordering::Acquire);
        if totals.rows != written {
            return Err(Error::internal("the staged rows are not those that were written")
                .with("written", written)
                .with("staged", totals.rows));
        }
        Ok(totals)
    }

    /// The script of the commit.
    fn script(&self, totals: &Totals, record: &LoadRecord) -> Result<String> {
        let load = &self.load;
        let json = serde_json::to_string(record)
            .map_err(|error| Error::internal("a load record could not be encoded").source_error(error))?;
        let project = &load.client.project;
        let target = sql::path(project, &load.target.dataset, &load.target.table);
        let loads = sql::path(project, &load.target.dataset, LOADS_TABLE);
        let staging = load.staging_path();
        Ok(sql::commit_script(&Commit {
            target: &target,
            loads: &loads,
            staging: (totals.parts > 0).then_some(staging.as_str()),
            columns: &load.columns,
            apply: self.mode.apply(),
            record: RecordRow {
                load_id: &load.load_id,
                table: &load.target.table,
                table_created: load.created,
                job: &record.job,
                job_name: &record.job_name,
                sequence: record.sequence,
                json: &json,
            },
        }))
    }

    /// Runs the commit under an id that follows from load and target alone, so that it can run only once,
    /// whoever tries again and however often.
    async fn run_commit(&self, script: &str, totals: Totals) -> Result<LoadOutcome> {
        let load = &self.load;
        let created = load.created.to_string();
        let place = [&load.client.project, &load.target.dataset, &load.target.table, &created];
        let stem = format!("tl_commit_{}_{}", short_hash(&place.map(String::as_str)), safe_id(&load.load_id));
        let mut attempt = 1;
        loop {
            let id = if attempt == 1 { stem.clone() } else { format!("{stem}_a{attempt}") };
            let submitted = load.client.submit_query(&id, &load.location, script).await?;
            let done = load.client.wait(&id, &load.location).await?;
            let Some(error) = failure(&done, "cannot commit the load", &id) else {
                let row = load.client.rows(&id, &load.location).await?;
                return self.outcome(row.first(), totals, &submitted);
            };
            // An id that a job of an earlier run used up says nothing about this one: try the next id.
            let passing = error.is_retryable() || matches!(submitted, Submitted::Existed);
            if !passing || attempt >= ATTEMPTS * 2 {
                return Err(error.with("target", &load.target));
            }
            tracing::warn!(job = id, %error, "the commit failed and runs again");
            if matches!(submitted, Submitted::Accepted) {
                tokio::time::sleep(backoff(attempt)).await;
            }
            attempt += 1;
        }
    }

    fn outcome(
        &self,
        row: Option<&crate::jobs::Row>,
        totals: Totals,
        how: &Submitted,
    ) -> Result<LoadOutcome> {
        let number = |index: usize| -> Option<u64> { row?.get(index)?.as_ref()?.parse().ok() };
        let (Some(state), Some(distinct), Some(inserted)) = (number(0), number(1), number(3)) else {
            return Err(Error::internal("the commit's result is not the one its script gives")
                .hint("look at the commit job in BigQuery; the load may have been committed"));
        };
        if state == 2 {
            return Err(Error::new(ErrorKind::Conflict, "another load of this job was committed meanwhile")
                .with("target", &self.load.target)
                .hint("run the job again; make sure that only one run at a time loads a table"));
        }
        let already = state == 1 || matches!(how, Submitted::Existed);
        let mut outcome = LoadOutcome {
            inserted,
            bytes: totals.bytes,
            already_committed: already,
            ..LoadOutcome::default()
        };
        if self.mode.is_merge() {
            outcome.updated = distinct.saturating_sub(inserted);
            outcome.superseded = totals.rows.saturating_sub(distinct);
        }
        Ok(outcome)
    }

    /// Deletes the staging table; if that fails, the next load or the expiration does it.
    async fn clean(&mut self) {
        self.finished = true;
        if let Err(error) = self.load.drop_staging().await {
            tracing::warn!(target_table = %self.load.target, %error, "the staging table stays until it expires");
        }
    }
}

#[async_trait]
impl LoadWriter for Writer {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        if self.already_committed || batch.num_rows() == 0 {
            return Ok(());
        }
        self.check_keys(&batch)?;
        let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        let first = self.mode.is_merge().then(|| self.next_row.fetch_add(rows, Ordering::Relaxed));
        let staged = encode::stage(&batch, &self.load.stage_schema, first)?;
        let Some(queue) = &self.queue else { return Err(self.ended().await) };
        if queue.send(staged).await.is_err() {
            return Err(self.ended().await.with("target", &self.load.target));
        }
        self.written.fetch_add(u64::try_from(rows).unwrap_or(0), Ordering::AcqRel);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        if self.already_committed {
            self.finished = true;
            return Ok(LoadOutcome { already_committed: true, ..LoadOutcome::default() });
        }
        let totals = self.stage_rest().await?;
        let script = self.script(&totals, &record)?;
        let outcome = Box::pin(self.run_commit(&script, totals)).await?;
        self.clean().await;
        Ok(outcome)
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.queue = None;
        if let Some(handle) = self.pipeline.get_mut().take() {
            handle.abort();
            // Wait until it has stopped, so that nothing is staged after the table is deleted.
            let _ = handle.await;
        }
        self.finished = true;
        self.load.drop_staging().await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(handle) = self.pipeline.get_mut().take() {
            handle.abort();
        }
        if self.finished {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let load = Arc::clone(&self.load);
            runtime.spawn(async move {
                if let Err(error) = load.drop_staging().await {
                    tracing::debug!(%error, "the staging table of a dropped load stays until it expires");
                }
            });
        }
    }
}
