//! Rows from splits to the writer: read, drop what is known, cast, set aside what does not fit, write. One
//! task a split.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::boundary::Boundary;
use super::progress::{CancelHandle, Tracker};
use super::quarantine::Quarantine;
use crate::batch::{batch_bytes, split_by_bytes};
use crate::connector::{LoadWriter, ReadSession, Split};
use crate::error::{Error, Result, ResultExt as _};
use crate::job::MaxRejects;
use crate::profile::SharedProfile;
use crate::proof::SharedProof;
use crate::schema::{BatchLedger, Caster, Ledger};

/// What the tasks of one load share.
pub(super) struct Pipeline {
    pub(super) session: Box<dyn ReadSession>,
    pub(super) caster: Caster,
    pub(super) writer: Box<dyn LoadWriter>,
    pub(super) boundary: Option<Boundary>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) batch_bytes: usize,
    pub(super) profile: SharedProfile,
    pub(super) proof: SharedProof,
    /// Where values go that do not fit, if some column wants that.
    pub(super) quarantine: Option<Quarantine>,
    pub(super) max_rejects: Option<MaxRejects>,
    pub(super) ledger: Mutex<Ledger>,
}

/// Reads all splits, at most `parallelism` at once. The first error, or a cancel, ends all of them; when
/// this returns no task is left.
pub(super) async fn run(
    pipeline: &Arc<Pipeline>,
    splits: Vec<Split>,
    parallelism: usize,
    cancel: &CancelHandle,
) -> Result<()> {
    let mut waiting = splits.into_iter();
    let mut tasks = JoinSet::new();
    for split in waiting.by_ref().take(parallelism.max(1)) {
        tasks.spawn(read_split(Arc::clone(pipeline), split));
    }
    loop {
        let finished = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(Err(Error::cancelled())),
            finished = tasks.join_next() => finished.map(|finished| match finished {
                Ok(outcome) => outcome,
                Err(error) => {
                    Err(Error::internal("a task of the pipeline died").source_error(error).operation("load"))
                }
            }),
        };
        match finished {
            None => return Ok(()),
            Some(Ok(())) => {
                if let Some(split) = waiting.next() {
                    tasks.spawn(read_split(Arc::clone(pipeline), split));
                }
            }
            Some(Err(error)) => {
                tasks.shutdown().await;
                return Err(error);
            }
        }
    }
}

async fn read_split(pipeline: Arc<Pipeline>, split: Split) -> Result<()> {
    let mut batches = pipeline.session.read(&split).await.operation("read")?;
    let mut profiler = pipeline.profile.begin()?;
    let mut folds = pipeline.proof.begin();
    while let Some(batch) = batches.next().await {
        let batch = batch.operation("read")?;
        let add = |counter: &std::sync::atomic::AtomicU64, n: usize| {
            counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed)
        };
        add(&pipeline.tracker.rows_read, batch.num_rows());
        add(&pipeline.tracker.bytes_read, batch_bytes(&batch));
        add(&pipeline.tracker.batches, 1);
        if let Some(folds) = &mut folds {
            folds.read(&batch)?;
        }
        let mut proven = false;
        let batch = match &pipeline.boundary {
            None => batch,
            Some(boundary) => {
                let (fresh, known) = boundary.filter(batch.clone())?;
                pipeline.tracker.rows_known.fetch_add(known, Ordering::Relaxed);
                if let Some(folds) = folds.as_mut().filter(|_| known > 0) {
                    // The destination has the known rows too.
                    folds.written(&pipeline.caster.cast(&batch).operation("cast")?.0)?;
                    proven = true;
                }
                fresh
            }
        };
        for piece in split_by_bytes(&batch, pipeline.batch_bytes.saturating_mul(2)) {
            if piece.num_rows() == 0 {
                continue;
            }
            let (cast, mut ledger) = pipeline.caster.cast(&piece).operation("cast")?;
            if let (Some(quarantine), Some(values)) = (&pipeline.quarantine, ledger.quarantined.take()) {
                quarantine.write(values).await.operation("quarantine")?;
            }
            pipeline.count(ledger)?;
            let rows = cast.num_rows();
            if let Some(profiler) = &mut profiler {
                profiler.add(&cast).operation("profile")?;
            }
            if let Some(folds) = folds.as_mut().filter(|_| !proven) {
                folds.written(&cast)?;
            }
            pipeline.writer.write(cast).await.operation("write")?;
            add(&pipeline.tracker.rows_written, rows);
            pipeline.tracker.tick();
        }
    }
    pipeline.proof.join(folds);
    pipeline.profile.join(profiler).operation("profile")
}

impl Pipeline {
    /// Adds the ledger of a batch, and ends the run as soon as there are more rejects than a number allows.
    fn count(&self, batch: BatchLedger) -> Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.add(batch);
        match self.max_rejects {
            Some(MaxRejects::Rows(most)) if ledger.incomplete_rows > most => {
                Err(too_many(&ledger, &format!("more than {most} rows")))
            }
            _ => Ok(()),
        }
    }
}

/// Checks what only the end can tell: a share of the rows.
pub(super) fn check_share(ledger: &Ledger, limit: Option<MaxRejects>, rows: u64) -> Result<()> {
    match limit {
        Some(MaxRejects::Share(share)) if ledger.incomplete_rows as f64 > share * rows as f64 => {
            let what = format!("{} of {rows} rows, more than {}%,", ledger.incomplete_rows, share * 100.0);
            Err(too_many(ledger, &what))
        }
        _ => Ok(()),
    }
}

fn too_many(ledger: &Ledger, what: &str) -> Error {
    let mut error = Error::data(format!("{what} have a value that does not fit; nothing was loaded"));
    let worst = ledger.columns.iter().max_by_key(|column| column.counts.rejected());
    if let Some(column) = worst {
        error = error.with("column", &column.column).with("rejected", column.counts.rejected());
        if let Some(example) = column.examples.iter().find(|example| example.reason.is_some()) {
            error = error.with("value", &example.value);
            error = error.with("reason", example.reason.as_deref().unwrap_or_default());
        }
    }
    error.hint("correct the type of the column with an override, or raise mapping.max_rejects")
}
