//! One run of one job, step by step. `docs/tour.md` walks through this file.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Runner;
use super::boundary::Boundary;
use super::budget::{MemoryBudget, MemoryPart};
use super::course::{Course, begin_course};
use super::deleting;
use super::demotion::Demotions;
use super::loss::{Before, check_loss};
use super::pipeline::{self, Part, Pipeline};
use super::plan::{Planned, Planner};
use super::progress::{Phase, Tracker};
use super::proving::Proving;
use super::quarantine::Quarantine;
use super::record::{Finished, nothing_new, record};
use super::report::{Committed, RunReport};
use super::retry::Stop;
use super::window::Range;
use crate::connector::{LoadRecord, LoadWriter, ReadSession};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::{EtlJob, LoadStrategy};
use crate::proof::{Proof, SharedProof, SideProof, TableFigures};

/// Runs a job to its end; fills in the report on the way.
pub(super) async fn run(
    runner: &Runner,
    job: &EtlJob,
    stop: &Stop,
    tracker: &Arc<Tracker>,
    report: &mut RunReport,
    demotions: &mut Demotions,
) -> Result<()> {
    job.check_whole()?;
    // Before the source is reached: who waits for memory must not hold a snapshot there.
    let memory = stop.or(memory(runner, tracker)).await?;
    let mut course = stop.or(begin_course(runner, job)).await?;
    loop {
        let planner = Planner { runner, job, memory: memory.bytes, tracker, report, demotions };
        let Some(planned) = stop.or(Box::pin(planner.plan(&mut course))).await? else { break };
        tracker.phase(Phase::Load);
        let moved = Box::pin(load(job, planned, &mut course, stop, tracker, report)).await?;
        let Moved { ready, proven } = moved;
        if let Some(ready) = ready {
            // From here on a cancel or the deadline comes too late: the commit decides, and the report tells its outcome.
            tracker.phase(Phase::Commit);
            commit(job, ready, &mut course, tracker, report).await?;
        }
        if let Some(Proven { proving, source, written }) = proven {
            let destination = proving.destination(written, report).await;
            report.proven(Proof::new(source, destination));
        }
        tracker.range_done();
        if course.is_over() {
            break;
        }
    }
    if let Some(profile) = course.profile {
        report.profile = profile.finish().operation("profile")?;
    }
    Ok(())
}

/// The run's part of the memory that all runs share.
async fn memory(runner: &Runner, tracker: &Tracker) -> Result<MemoryPart> {
    let budget = runner.budget.as_ref().unwrap_or_else(|| MemoryBudget::process());
    let wish = runner.options.memory_bytes;
    if let Some(part) = budget.try_take(wish) {
        return Ok(part);
    }
    tracker.phase(Phase::Wait);
    let part = budget.take(wish).await?;
    tracker.phase(Phase::Connect);
    Ok(part)
}

/// A load whose rows are staged.
struct Ready {
    writer: Box<dyn LoadWriter>,
    record: LoadRecord,
    quarantine: Option<Quarantine>,
    range: Option<Range>,
    tombstones: u64,
    began: Instant,
}

/// What reading has proven, and what the destination is to be asked for.
struct Proven {
    proving: Proving,
    source: SideProof,
    written: TableFigures,
}

/// What became of the rows of a load.
struct Moved {
    /// `None` if there is nothing new.
    ready: Option<Ready>,
    /// `None` if the job wants no proof.
    proven: Option<Proven>,
}

/// Moves the rows, and proves what was read.
async fn load(
    job: &EtlJob,
    planned: Planned,
    course: &mut Course,
    stop: &Stop,
    tracker: &Tracker,
    report: &mut RunReport,
) -> Result<Moved> {
    let Planned { pipeline, parallelism, splits, range, load_id, mapping, proving, rows_before, began } =
        planned;
    let moved = match pipeline::run(&pipeline, splits, parallelism, stop, Part::Rows).await {
        Ok(()) => deleting::read_keys(&pipeline, parallelism, stop).await,
        Err(error) => Err(error),
    };
    let Some(pipeline) = Arc::into_inner(pipeline) else {
        return Err(moved.err().unwrap_or_else(|| Error::internal("a task of the pipeline outlived it")));
    };
    let Pipeline { session, writer, boundary, profile, proof, ledger, quarantine, keys, tombstones, .. } =
        pipeline;
    course.profile = Some(profile);
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    let moved = match moved {
        Ok(()) => end(session, proving, proof).await,
        Err(error) => Err(error),
    };
    let rows = tracker.rows_written.load(Ordering::Relaxed).saturating_sub(rows_before);
    let checked = moved.and_then(|proven| {
        if let (LoadStrategy::Replace { min_ratio, .. }, Some(last)) = (job.strategy(), &course.committed) {
            check_loss(job, rows, Before::LastLoad { rows: last.rows, min_ratio: *min_ratio })?;
        }
        pipeline::check_share(&ledger, job.max_rejects(), rows).map(|()| proven)
    });
    // The last moment at which a cancel leaves nothing behind.
    let checked = match checked {
        Ok(proven) => {
            let seal = async {
                let compared = deleting::compare(job, keys.as_ref(), writer.as_ref(), report).await?;
                writer.seal().await.operation("write")?;
                Ok((compared, proven))
            };
            stop.or(seal).await
        }
        Err(error) => Err(error),
    };
    report.cast(ledger);
    let boundary = boundary.map(Boundary::into_rows).unwrap_or_default();
    let source_object = course.object.clone();
    let finished =
        Finished { load_id, rows, range: range.as_ref(), boundary, mapping: &mapping, source_object };
    let recorded = checked.and_then(|proven| Ok((record(job, finished, course.last.as_ref())?, proven)));
    let (record, (compared, proven)) = match recorded {
        Ok(recorded) => recorded,
        Err(error) => {
            abort_both(writer, quarantine, job).await;
            return Err(error);
        }
    };
    // A range without rows costs no commit: the next one says that it was covered. The last one does so itself.
    if (rows == 0 && !course.is_over()) || nothing_new(job, &record, course.committed.as_ref(), compared) {
        abort_both(writer, quarantine, job).await;
        let (load_id, sequence) = match &course.committed {
            Some(committed) => (committed.load_id.clone(), committed.sequence),
            None => (String::new(), 0),
        };
        course.last = Some(LoadRecord { load_id, sequence, ..record });
        return Ok(Moved { ready: None, proven });
    }
    let tombstones = tombstones.into_inner();
    Ok(Moved { ready: Some(Ready { writer, record, quarantine, range, tombstones, began }), proven })
}

/// Ends the read session, which may still tell that something read before was wrong, after what was read is
/// proven in its snapshot.
async fn end(
    session: Box<dyn ReadSession>,
    proving: Option<Proving>,
    proof: SharedProof,
) -> Result<Option<Proven>> {
    let proven = match (proving, proof.finish()) {
        (Some(proving), Some((read, written))) => {
            let source = proving.source(session.as_ref(), read).await?;
            Some(Proven { proving, source, written })
        }
        _ => None,
    };
    session.close().await.operation("end read session")?;
    Ok(proven)
}

/// Makes the rows of a range visible.
async fn commit(
    job: &EtlJob,
    ready: Ready,
    course: &mut Course,
    tracker: &Tracker,
    report: &mut RunReport,
) -> Result<()> {
    let Ready { writer, mut record, quarantine, range, tombstones, began } = ready;
    if let Some(quarantine) = quarantine {
        match quarantine.commit().await.operation("commit quarantine") {
            Ok(kept) => report.quarantined(kept),
            Err(error) => {
                abort(writer, job).await;
                return Err(error);
            }
        }
    }
    let outcome = writer.commit(record.clone()).await.operation("commit")?;
    // Another run may have committed this load. For a window that is the same rows; the snapshot of a
    // `replace`, however, is the other run's, taken earlier perhaps.
    if outcome.already_committed && matches!(job.strategy(), LoadStrategy::Replace { .. }) {
        return Err(Error::new(ErrorKind::Conflict, "another run replaced the table at the same time")
            .retryable(true)
            .hint("run the job again; make sure that only one run at a time loads a table"));
    }
    (record.deleted, record.marked) = (outcome.deleted, outcome.marked);
    let committed =
        Committed { range: range.as_ref(), record: &record, outcome: &outcome, tombstones, began };
    report.loaded(committed, tracker);
    course.last = Some(record.clone());
    course.committed = Some(record);
    Ok(())
}

async fn abort_both(writer: Box<dyn LoadWriter>, quarantine: Option<Quarantine>, job: &EtlJob) {
    if let Some(quarantine) = quarantine
        && let Err(error) = quarantine.abort().await
    {
        tracing::warn!(job = job.name(), %error, "staged values of the quarantine could not be dropped");
    }
    abort(writer, job).await;
}

async fn abort(writer: Box<dyn LoadWriter>, job: &EtlJob) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(job = job.name(), %error, "staged rows could not be dropped; the next load cleans them");
    }
}
