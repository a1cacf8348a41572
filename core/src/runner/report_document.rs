//! The JSON form of a report.

use schemars::JsonSchema;
use serde::Serialize;

use super::batch::{BatchReport, BatchStatus, BatchTotals};
use super::report::{
    ColumnRejects, LoadedRange, PhaseTimes, QuarantineCount, RowCounts, RunReport, RunStatus,
};
use super::window::Window;
use crate::error::ErrorDocument;
use crate::profile::TableProfile;
use crate::proof::Proof;
use crate::schema::ColumnLedger;

/// What happened in one run of one job, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RunReportDocument {
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub status: RunStatus,
    /// `replace`, `append` or `merge`.
    pub strategy: String,
    /// Which shard of the job, of those that are cut (`load.shard_at`); counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<usize>,
    /// `connection: table` of the source.
    pub source: String,
    /// `connection: dataset.table` of the destination.
    pub destination: String,
    /// How often the run began: 1, and one more for each retry; 0 if the job was skipped.
    pub attempts: u32,
    /// The deterministic id of the load, once the window was decided.
    pub load_id: Option<String>,
    /// Whether a load was committed. A run that found nothing new succeeds without one.
    pub committed: bool,
    /// The window, for jobs with a cursor.
    pub window: Option<WindowDocument>,
    /// The ranges that were committed one by one, of jobs with a cursor: the newest 100.
    pub ranges: Vec<LoadedRange>,
    /// How many ranges were committed.
    pub ranges_committed: u64,
    /// Row counts.
    pub rows: RowCounts,
    /// Whether the run succeeded and every value at the destination is the one at the source: nothing was
    /// rounded, nothing became NULL.
    pub lossless: bool,
    /// Values that did not fit and became NULL, by column, for the columns that have any.
    pub rejects: Vec<ColumnRejects>,
    /// What became of every value, by column. Of a run that failed: of those that it had cast until then.
    pub ledger: Vec<ColumnLedger>,
    /// What the quarantine got, if anything. It has it even if the run failed after that.
    pub quarantine: Option<QuarantineCount>,
    /// What the rows hold, as the job's `profile` asks.
    pub profile: Option<TableProfile>,
    /// Whether source and destination hold what passed through the run, as the job's `proof` asks. Of several ranges: of the
    /// last one whose verdict is the worst.
    pub proof: Option<Proof>,
    /// Bytes of Arrow data read.
    pub bytes_read: u64,
    /// Encoded bytes written or sent.
    pub bytes_written: u64,
    /// Bytes that the destination charges for the commit, where it charges by bytes and says so.
    pub bytes_billed: Option<u64>,
    /// Batches read.
    pub batches: u64,
    /// Seconds by phase.
    pub seconds: PhaseTimes,
    /// Hash of the mapping used.
    pub mapping_hash: Option<String>,
    /// What to look out for.
    pub warnings: Vec<WarningDocument>,
    /// What went wrong.
    pub error: Option<ErrorDocument>,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// Version of transload.
    pub engine: String,
}

/// The range of cursor values one run loads, as JSON: values as texts at full precision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WindowDocument {
    /// The cursor column.
    pub cursor: String,
    /// Where it begins; `null` for the beginning of time.
    pub lo: Option<String>,
    /// Where it ends, inclusive (but for `load.until`); `null` if the source has no row with a cursor value.
    pub hi: Option<String>,
    /// The job has loaded before, so rows at or above `lo` may be loaded already.
    pub continues: bool,
    /// Rows of the source that have no cursor value.
    pub null_cursors: u64,
}

/// A warning, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WarningDocument {
    /// The column at the source, where it belongs to one.
    pub column: Option<String>,
    /// Stable identifier, for example `W_REJECTED`.
    pub code: String,
    /// One sentence for people.
    pub text: String,
}

impl From<&Window> for WindowDocument {
    fn from(window: &Window) -> Self {
        Self {
            cursor: window.cursor.clone(),
            lo: window.lo.as_ref().map(ToString::to_string),
            hi: window.hi.as_ref().map(ToString::to_string),
            continues: window.continues,
            null_cursors: window.null_cursors,
        }
    }
}

impl From<&RunReport> for RunReportDocument {
    fn from(report: &RunReport) -> Self {
        let warning = |(column, warning): &(Option<String>, crate::schema::Warning)| WarningDocument {
            column: column.clone(),
            code: warning.code.clone(),
            text: warning.text.clone(),
        };
        Self {
            job: report.job.clone(),
            status: report.status,
            strategy: report.strategy.to_owned(),
            shard: report.shard,
            source: report.source.clone(),
            destination: report.destination.clone(),
            attempts: report.attempts,
            load_id: report.load_id.clone(),
            committed: report.committed,
            window: report.window.as_ref().map(WindowDocument::from),
            ranges: report.ranges.clone(),
            ranges_committed: report.ranges_committed,
            rows: report.rows,
            lossless: report.lossless,
            rejects: report.rejects.clone(),
            ledger: report.ledger.clone(),
            quarantine: report.quarantine.clone(),
            profile: report.profile.clone(),
            proof: report.proof.clone(),
            bytes_read: report.bytes_read,
            bytes_written: report.bytes_written,
            bytes_billed: report.bytes_billed,
            batches: report.batches,
            seconds: report.seconds.clone(),
            mapping_hash: report.mapping_hash.clone(),
            warnings: report.warnings.iter().map(warning).collect(),
            error: report.error.as_ref().map(ErrorDocument::from),
            started_at: report.started_at.to_string(),
            finished_at: report.finished_at.to_string(),
            engine: crate::VERSION.to_owned(),
        }
    }
}

/// What happened in the runs of many jobs, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BatchReportDocument {
    /// How they ended together.
    pub status: BatchStatus,
    /// Sums over the jobs.
    pub totals: BatchTotals,
    /// One report a job, in the order in which the jobs were given.
    pub reports: Vec<RunReportDocument>,
    /// When the first began, RFC 3339 in UTC.
    pub started_at: String,
    /// When the last ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// Version of transload.
    pub engine: String,
}

impl From<&BatchReport> for BatchReportDocument {
    fn from(batch: &BatchReport) -> Self {
        Self {
            status: batch.status,
            totals: batch.totals,
            reports: batch.reports.iter().map(RunReportDocument::from).collect(),
            started_at: batch.started_at.to_string(),
            finished_at: batch.finished_at.to_string(),
            engine: crate::VERSION.to_owned(),
        }
    }
}
