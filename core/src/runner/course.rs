//! The course of a run: what is known when it begins, and which ranges are still to be loaded.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::window::{Decision, Known, Range, check_shards, decide};
use super::{Runner, history};
use crate::connector::{Destination, LoadRecord, ReadSession, Settled, Source};
use crate::error::{Error, Result, ResultExt as _};
use crate::job::{CursorBound, EtlJob, LoadStrategy};
use crate::profile::SharedProfile;
use crate::schema::{CursorValue, TableSchema, Warning};

/// Where a run is among its ranges. A job without a cursor has one, without ends.
pub(super) struct Course {
    pub(super) source: Arc<dyn Source>,
    pub(super) destination: Arc<dyn Destination>,
    /// What is known of the job: the record of its last load and, in ranges since then that brought no row, what
    /// those covered.
    pub(super) last: Option<LoadRecord>,
    /// The record of the last load.
    pub(super) committed: Option<LoadRecord>,
    /// What tells the source table from others of the same name.
    pub(super) object: Option<String>,
    /// What is still to be loaded, oldest first; `None` until that is decided.
    pub(super) ranges: Option<VecDeque<Range>>,
    /// What the rows of all ranges hold.
    pub(super) profile: Option<SharedProfile>,
}

impl Course {
    /// Takes note of which table the session reads; a warning if it is another one than the last load's. What earlier
    /// loads brought stays, and rows below the watermark are not read again, so that nobody may take the target for a
    /// copy of the new table.
    pub(super) fn look_at(&mut self, session: &dyn ReadSession, job: &EtlJob) -> Option<Warning> {
        self.object = session.object().map(str::to_owned);
        let before = self.last.as_ref().and_then(|last| last.source_object.as_ref())?;
        let now = self.object.as_ref().filter(|now| *now != before)?;
        if matches!(job.strategy(), LoadStrategy::Replace { .. }) {
            return None;
        }
        Some(Warning::new(
            "W_SOURCE_RECREATED",
            format!(
                "{} is not the table of the last load: it was dropped and created again, or restored ({before} is now \
                 {now}). The run goes on at the watermark, and what was loaded before stays; `load.restart` into an \
                 emptied table, or a `replace`, begins anew",
                job.source_table()
            ),
        ))
    }

    /// No range is left after the one that is being loaded.
    pub(super) fn is_over(&self) -> bool {
        self.ranges.as_ref().is_none_or(VecDeque::is_empty)
    }
}

/// Opens both ends and asks what was loaded before.
pub(super) async fn begin_course(runner: &Runner, job: &EtlJob) -> Result<Course> {
    let (source, destination) = runner.open(job).await.operation("connect")?;
    let last = history::last_load(destination.as_ref(), job).await.operation("read last load")?;
    Ok(Course {
        source,
        destination,
        committed: last.clone(),
        last,
        object: None,
        ranges: None,
        profile: None,
    })
}

/// Rows that are about to be read, where the source knows how many the table has and all of them are wanted.
pub(super) fn expected_rows(table: &TableSchema, range: Option<&Range>, course: &Course) -> Option<u64> {
    let all = range.is_none_or(|range| range.lo.is_none() && course.is_over());
    table.rows_estimate.filter(|_| all)
}

/// Begins a read session.
pub(super) async fn begin(
    source: &dyn Source,
    job: &EtlJob,
    bound: CursorBound,
) -> Result<(Box<dyn ReadSession>, Option<Settled>)> {
    let table = job.source_table();
    match (bound, job.strategy().cursor()) {
        (CursorBound::OldestTransaction, Some(cursor)) => {
            let (session, settled) = source.begin_settled(&table, cursor).await?;
            Ok((session, Some(settled)))
        }
        _ => Ok((source.begin(&table).await?, None)),
    }
}

/// Decides the window of a job with a cursor.
pub(super) async fn decision(
    session: &dyn ReadSession,
    job: &EtlJob,
    table: &TableSchema,
    cursor: &str,
    settled: Option<&Settled>,
    course: &Course,
) -> Result<Decision> {
    let column = table.column(cursor)?;
    if !CursorValue::supports(&column.data_type) {
        let message = format!("column `{cursor}` of type {} cannot be a cursor", column.source_type);
        return Err(Error::unsupported(message).with("column", cursor).hint(
            "choose an integer, decimal, date, timestamp or text column, or one of eight bytes (rowversion)",
        ));
    }
    check_shards(&job.ends_of_shards(), column)?;
    let summary = session.cursor_summary(cursor).await.operation("find the window")?;
    decide(Known {
        strategy: job.strategy(),
        cursor: column,
        summary: &summary,
        settled,
        last: course.last.as_ref(),
        trial: job.row_limit().is_some(),
        now: Timestamp::now(),
    })
}
