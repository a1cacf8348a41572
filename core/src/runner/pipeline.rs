//! Rows from splits to the writer: read, drop what is known, cast, set aside what does not fit, write. One
//! task a split.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use futures::StreamExt as _;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::boundary::Boundary;
use super::deleting::{KeyCount, KeyReading};
use super::governor::{Governor, Slot};
use super::progress::Tracker;
use super::quarantine::Quarantine;
use super::retry::{MOST_ATTEMPTS, Stop, pause_of_read};
use super::telemetry::{read_again, split_span};
use crate::batch::{BatchStream, batch_bytes, split_by_bytes};
use crate::connector::{LoadWriter, ReadSession, Split};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::MaxRejects;
use crate::profile::{Profiler, SharedProfile};
use crate::proof::{Folds, SharedProof};
use crate::schema::{BatchLedger, Caster, Ledger, Tombstone};

/// What the tasks of one load share.
pub(super) struct Pipeline {
    pub(super) session: Box<dyn ReadSession>,
    pub(super) caster: Caster,
    pub(super) writer: Box<dyn LoadWriter>,
    pub(super) boundary: Option<Boundary>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) governor: Arc<Governor>,
    pub(super) batch_bytes: usize,
    pub(super) profile: SharedProfile,
    pub(super) proof: SharedProof,
    /// Where values go that do not fit, if some column wants that.
    pub(super) quarantine: Option<Quarantine>,
    pub(super) max_rejects: Option<MaxRejects>,
    pub(super) ledger: Mutex<Ledger>,
    /// The keys of the source, if rows that it deleted are looked for.
    pub(super) keys: Option<KeyReading>,
    /// Which rows say that they are deleted.
    pub(super) tombstone: Option<Tombstone>,
    /// Those of them that the destination's figures leave out.
    pub(super) unproven: Option<Tombstone>,
    /// Rows that say that they are deleted.
    pub(super) tombstones: AtomicU64,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The rows of the load.
    Rows,
    /// The keys of the whole table.
    Keys,
}

/// A split to be read, perhaps not for the first time.
#[derive(Debug)]
struct Reading {
    split: Split,
    part: Part,
    /// Attempts that failed before a row came.
    failed: u32,
    pause: Duration,
}

/// Reads all splits, at most `parallelism` at once. The first error that a split cannot recover from by itself,
/// or a stop, ends all of them; when this returns no task is left.
pub(super) async fn run(
    pipeline: &Arc<Pipeline>,
    splits: Vec<Split>,
    parallelism: usize,
    stop: &Stop,
    part: Part,
) -> Result<()> {
    if part == Part::Rows {
        pipeline.tracker.planned(splits.len());
    }
    let reading = |split| Reading { split, part, failed: 0, pause: Duration::ZERO };
    let mut waiting: VecDeque<Reading> = splits.into_iter().map(reading).collect();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < parallelism.max(1)
            && let Some(reading) = waiting.pop_front()
        {
            let span = split_span(&pipeline.tracker.span(), reading.split.index);
            tasks.spawn(read_split(Arc::clone(pipeline), reading).instrument(span));
        }
        let finished = tokio::select! {
            biased;
            error = stop.requested() => Some(Err(error)),
            finished = tasks.join_next() => finished.map(|finished| finished.unwrap_or_else(|error| {
                Err(Error::internal("a task of the pipeline died").source_error(error).operation("load"))
            })),
        };
        match finished {
            None => return Ok(()),
            Some(Ok(again)) => waiting.extend(again),
            Some(Err(error)) => {
                tasks.shutdown().await;
                return Err(error);
            }
        }
    }
}

/// Reads a split to its end. Gives it back if it must be read again, which is possible as long as no row of it
/// has been handed on: a writer cannot give back the rows of one split. Keys that come twice are the same keys.
async fn read_split(pipeline: Arc<Pipeline>, reading: Reading) -> Result<Option<Reading>> {
    tokio::time::sleep(reading.pause).await;
    let slot = pipeline.governor.slot().await;
    if reading.part == Part::Keys {
        // What the writer makes of keys is no error of the read.
        return match read_keys(&pipeline, &reading.split).await? {
            Ok(()) => Ok(None),
            Err(error) => again(reading, &slot, error).map(Some),
        };
    }
    let _active = pipeline.tracker.split();
    let (first, mut batches) = match open(pipeline.session.as_ref(), &reading.split).await {
        Ok(opened) => opened,
        Err(error) => return again(reading, &slot, error).map(Some),
    };
    let mut profiler = pipeline.profile.begin()?;
    let mut folds = pipeline.proof.begin();
    let mut next = first.map(Ok);
    while let Some(batch) = next {
        let batch = batch.operation("read").inspect_err(|error| {
            if error.is_overload() {
                slot.overloaded();
            }
        })?;
        pipeline.take(batch, profiler.as_mut(), folds.as_mut()).await?;
        next = batches.next().await;
    }
    pipeline.proof.join(folds);
    pipeline.profile.join(profiler).operation("profile")?;
    pipeline.tracker.split_done();
    Ok(None)
}

/// Reads a split of keys to its end. The inner result is that of the read, the outer one that of the writer.
async fn read_keys(pipeline: &Pipeline, split: &Split) -> Result<Result<()>> {
    let Some(keys) = &pipeline.keys else { return Ok(Ok(())) };
    let mut counted = KeyCount::default();
    let mut told = Ok(());
    let read = async {
        let mut batches = pipeline.session.read(split).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            pipeline.governor.pace(count(batch.num_rows()), count(batch_bytes(&batch))).await;
            told = keys.take(&batch, pipeline.writer.as_ref(), &mut counted).await;
            if told.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let read: Result<()> = read.await;
    told?;
    if read.is_ok() {
        keys.count(&counted);
    }
    Ok(read.operation("read keys"))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The first batch of a split, if it has rows, and those behind it.
async fn open(session: &dyn ReadSession, split: &Split) -> Result<(Option<RecordBatch>, BatchStream)> {
    let mut batches = session.read(split).await.operation("read")?;
    let first = batches.next().await.transpose().operation("read")?;
    Ok((first, batches))
}

/// The split, to be read again after a pause; or the error, if that would not help.
fn again(mut reading: Reading, slot: &Slot, error: Error) -> Result<Reading> {
    // An overload that fewer reads at once may cure is no attempt. A source that was silent until a timeout
    // has been waited for long enough.
    let cured = error.is_overload() && slot.overloaded();
    if !error.is_retryable() || error.kind() == ErrorKind::Timeout || reading.failed >= MOST_ATTEMPTS {
        return Err(error);
    }
    reading.failed += u32::from(!cured);
    reading.pause = pause_of_read(reading.failed.max(1));
    let (split, pause) = (reading.split.index, reading.pause);
    read_again();
    tracing::warn!(split, ?pause, %error, "a split failed before its first row and is read again");
    Ok(reading)
}

impl Pipeline {
    /// Hands the rows of one batch on, from the source to the writer.
    async fn take(
        &self,
        batch: RecordBatch,
        mut profiler: Option<&mut Profiler>,
        mut folds: Option<&mut Folds>,
    ) -> Result<()> {
        let (rows, bytes) = (count(batch.num_rows()), count(batch_bytes(&batch)));
        self.tracker.read(rows, bytes);
        self.governor.pace(rows, bytes).await;
        if let Some(folds) = &mut folds {
            folds.read(&batch)?;
        }
        let batch = match &self.boundary {
            None => batch,
            Some(boundary) => {
                let (fresh, known) = boundary.filter(batch.clone())?;
                self.tracker.rows_known.fetch_add(known, Ordering::Relaxed);
                if known > 0
                    && let Some(folds) = folds.take()
                {
                    // The destination has the known rows too.
                    let there = boundary.at_destination(batch)?;
                    folds.written(&self.proven(&self.caster.cast(&there).operation("cast")?.0)?)?;
                }
                fresh
            }
        };
        for piece in split_by_bytes(&batch, self.batch_bytes.saturating_mul(2)) {
            if piece.num_rows() == 0 {
                continue;
            }
            let (cast, mut ledger) = self.caster.cast(&piece).operation("cast")?;
            if let (Some(quarantine), Some(values)) = (&self.quarantine, ledger.quarantined.take()) {
                quarantine.write(values).await.operation("quarantine")?;
            }
            self.count(ledger)?;
            let rows = count(cast.num_rows());
            if let Some(profiler) = &mut profiler {
                profiler.add(&cast).operation("profile")?;
            }
            if let Some(folds) = &mut folds {
                folds.written(&self.proven(&cast)?)?;
            }
            if let Some(tombstone) = &self.tombstone {
                self.tombstones.fetch_add(count(tombstone.rows(&cast)?.true_count()), Ordering::Relaxed);
            }
            self.writer.write(cast).await.operation("write")?;
            self.tracker.rows_written.fetch_add(rows, Ordering::Relaxed);
            self.tracker.tick();
            // A source that is faster than we are would never wait, and a cancel would not be heard.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The rows of a batch that the destination's figures will be of.
    fn proven(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.unproven.as_ref().map_or_else(|| Ok(batch.clone()), |tombstone| tombstone.alive(batch))
    }

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
