//! Rows from splits to the writer: read, drop what is known, cast, write. One task a split.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::boundary::Boundary;
use super::progress::{CancelHandle, Tracker};
use crate::batch::{batch_bytes, split_by_bytes};
use crate::connector::{LoadWriter, ReadSession, Split};
use crate::error::{Error, Result, ResultExt as _};
use crate::profile::SharedProfile;
use crate::schema::{Caster, ColumnRejects};

/// What the tasks of one load share.
pub(super) struct Pipeline {
    pub(super) session: Box<dyn ReadSession>,
    pub(super) caster: Caster,
    pub(super) writer: Box<dyn LoadWriter>,
    pub(super) boundary: Option<Boundary>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) batch_bytes: usize,
    pub(super) profile: SharedProfile,
    pub(super) rejects: Mutex<BTreeMap<String, ColumnRejects>>,
}

/// Examples of rejected values that a report keeps for each column.
const EXAMPLES: usize = 3;

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
    while let Some(batch) = batches.next().await {
        let batch = batch.operation("read")?;
        let add = |counter: &std::sync::atomic::AtomicU64, n: usize| {
            counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed)
        };
        add(&pipeline.tracker.rows_read, batch.num_rows());
        add(&pipeline.tracker.bytes_read, batch_bytes(&batch));
        add(&pipeline.tracker.batches, 1);
        let batch = match &pipeline.boundary {
            None => batch,
            Some(boundary) => {
                let (batch, known) = boundary.filter(batch)?;
                pipeline.tracker.rows_known.fetch_add(known, Ordering::Relaxed);
                batch
            }
        };
        for piece in split_by_bytes(&batch, pipeline.batch_bytes.saturating_mul(2)) {
            if piece.num_rows() == 0 {
                continue;
            }
            let (cast, rejects) = pipeline.caster.cast(&piece).operation("cast")?;
            pipeline.count_rejects(rejects);
            let rows = cast.num_rows();
            if let Some(profiler) = &mut profiler {
                profiler.add(&cast).operation("profile")?;
            }
            pipeline.writer.write(cast).await.operation("write")?;
            add(&pipeline.tracker.rows_written, rows);
            pipeline.tracker.tick();
        }
    }
    pipeline.profile.join(profiler).operation("profile")
}

impl Pipeline {
    fn count_rejects(&self, rejects: Vec<ColumnRejects>) {
        if rejects.is_empty() {
            return;
        }
        let mut all = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        for new in rejects {
            match all.get_mut(&new.column) {
                Some(known) => {
                    known.rejected += new.rejected;
                    let room = EXAMPLES.saturating_sub(known.examples.len());
                    known.examples.extend(new.examples.into_iter().take(room));
                }
                None => {
                    all.insert(new.column.clone(), new);
                }
            }
        }
    }
}
