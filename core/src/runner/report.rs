//! What happened: the report of a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::progress::{Phase, Tracker};
use super::quarantine::Kept;
use super::report_document::RunReportDocument;
use super::telemetry;
use super::window::{Range, Window};
use crate::connector::{LoadOutcome, LoadRecord};
use crate::error::{Error, ErrorKind};
use crate::job::EtlJob;
use crate::profile::TableProfile;
use crate::proof::Proof;
use crate::schema::{Change, ColumnLedger, CursorValue, Ledger, Warning};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything that was to be loaded is loaded.
    Succeeded,
    /// Something is not loaded; what was committed before is told by `committed` and `ranges`.
    Failed,
    /// The caller cancelled; what was committed before is told by `committed` and `ranges`.
    Cancelled,
    /// The job is disabled, so `run_all` left it out; a warning says so.
    Skipped,
}

impl RunStatus {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// Row counts. `read = already_loaded + written` for every run that succeeded: a value that does not fit ends
/// the run or becomes NULL, but never takes its row away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct RowCounts {
    /// Rows read from the source.
    pub read: u64,
    /// Rows read at an end of a range, or without a cursor, and dropped: an earlier load has them, or they belong to
    /// another range.
    pub already_loaded: u64,
    /// Rows given to the destination and committed.
    pub written: u64,
    /// Written rows that are new in the target.
    pub inserted: u64,
    /// Rows of the target that written ones replaced (merge).
    pub updated: u64,
    /// Written rows that gave way to another row of the same load with the same key (merge).
    pub superseded: u64,
    /// Unchanged rows of the target that had to be written again (merge into files).
    pub rewritten: u64,
    /// Written rows of which a value did not fit and is NULL.
    pub incomplete: u64,
    /// Keys of the source that were compared with the target (`load.detect_deletes`).
    pub keys: u64,
    /// Rows of the target that were removed because the source deleted them.
    pub deleted: u64,
    /// Rows of the target that were marked because the source has them no longer.
    pub marked: u64,
    /// Marked rows of the target whose key is back at the source and which no written row replaced: unmarked.
    pub unmarked: u64,
    /// Written rows that say of themselves that they are deleted (`load.soft_delete`).
    pub tombstones: u64,
}

/// Values of one column that did not fit and became NULL, be it that the quarantine has them or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ColumnRejects {
    /// The column's name at the source.
    pub column: String,
    /// How many values (not rows).
    pub rejected: u64,
    /// Up to three of them, each cut to 80 characters.
    pub examples: Vec<String>,
}

/// What the quarantine got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QuarantineCount {
    /// `dataset.table`.
    pub table: String,
    /// Its new rows: one for each value, and of records one for each field.
    pub rows: u64,
}

/// A range of cursor values that a run committed by itself. Values are texts at full precision.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LoadedRange {
    /// Where it begins; `null` for the beginning of time.
    pub lo: Option<String>,
    /// Where it ends; `null` if only rows without a cursor were loaded.
    pub hi: Option<String>,
    /// Rows written.
    pub rows: u64,
    /// The deterministic id of its load.
    pub load_id: String,
    /// How long it took.
    pub seconds: f64,
}

/// Most ranges that a report names.
const NAMED_RANGES: usize = 100;

/// A load that was committed.
pub(super) struct Committed<'a> {
    pub(super) range: Option<&'a Range>,
    pub(super) record: &'a LoadRecord,
    pub(super) outcome: &'a LoadOutcome,
    /// Written rows that say that they are deleted.
    pub(super) tombstones: u64,
    pub(super) began: Instant,
}

/// What stays true of a run that begins again after it has committed ranges.
#[derive(Debug, Clone, Default)]
struct Settled {
    read: u64,
    already_loaded: u64,
    bytes_read: u64,
    batches: u64,
    ledger: Vec<ColumnLedger>,
    quarantine: Option<QuarantineCount>,
}

/// Seconds by phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct PhaseTimes {
    /// Waiting for memory, while other runs have it all.
    pub wait: f64,
    /// Opening connections.
    pub connect: f64,
    /// Read session and catalog.
    pub describe: f64,
    /// Sampling and mapping.
    pub map: f64,
    /// Window and target table.
    pub prepare: f64,
    /// Rows.
    pub load: f64,
    /// Commit.
    pub commit: f64,
    /// All together.
    pub total: f64,
}

impl PhaseTimes {
    pub(super) fn of(&self, phase: Phase) -> f64 {
        match phase {
            Phase::Wait => self.wait,
            Phase::Connect => self.connect,
            Phase::Describe => self.describe,
            Phase::Map => self.map,
            Phase::Prepare => self.prepare,
            Phase::Load => self.load,
            Phase::Commit => self.commit,
            Phase::Done => 0.0,
        }
    }

    pub(super) fn add(&mut self, phase: Phase, seconds: f64) {
        match phase {
            Phase::Wait => self.wait += seconds,
            Phase::Connect => self.connect += seconds,
            Phase::Describe => self.describe += seconds,
            Phase::Map => self.map += seconds,
            Phase::Prepare => self.prepare += seconds,
            Phase::Load => self.load += seconds,
            Phase::Commit => self.commit += seconds,
            Phase::Done => {}
        }
    }
}

/// What happened in one run of one job.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub status: RunStatus,
    /// `connection: table` of the source.
    pub source: String,
    /// `connection: dataset.table` of the destination.
    pub destination: String,
    /// `replace`, `append` or `merge`.
    pub strategy: &'static str,
    /// Which shard of the job, of those that are cut (`load.shard_at`).
    pub shard: Option<usize>,
    /// How often the run began: 1, and one more for each retry; 0 if the job was skipped.
    pub attempts: u32,
    /// The deterministic id of the load, once the window was decided.
    pub load_id: Option<String>,
    /// Whether a load was committed. A run that found nothing new succeeds without one.
    pub committed: bool,
    /// The window, for jobs with a cursor.
    pub window: Option<Window>,
    /// The ranges that were committed, of jobs with a cursor: the newest 100.
    pub ranges: Vec<LoadedRange>,
    /// How many ranges were committed.
    pub ranges_committed: u64,
    /// Row counts.
    pub rows: RowCounts,
    /// Values that did not fit and became NULL, by column, for the columns that have any.
    pub rejects: Vec<ColumnRejects>,
    /// What became of every value, by column. Of a run that failed: of those that it had cast until then.
    pub ledger: Vec<ColumnLedger>,
    /// Whether the run succeeded and every value at the destination is the one at the source: nothing was
    /// rounded, nothing became NULL.
    pub lossless: bool,
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
    /// Bytes that the destination bills for putting the rows in place, where it bills by bytes (BigQuery).
    pub bytes_billed: Option<u64>,
    /// Batches read.
    pub batches: u64,
    /// Seconds by phase.
    pub seconds: PhaseTimes,
    /// Hash of the mapping used.
    pub mapping_hash: Option<String>,
    /// What to look out for, with the column where it belongs to one.
    pub warnings: Vec<(Option<String>, Warning)>,
    /// What went wrong.
    pub error: Option<Error>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Rows of the ledger that are not committed yet.
    incomplete: u64,
    /// After the last commit.
    settled: Settled,
    /// What earlier attempts committed.
    before: Settled,
}

impl RunReport {
    pub(super) fn begin(job: &EtlJob) -> Self {
        let now = Timestamp::now();
        Self {
            job: job.name().to_owned(),
            status: RunStatus::Failed,
            source: format!("{}: {}", job.source_connection(), job.source_table()),
            destination: format!("{}: {}", job.destination_connection(), job.target()),
            strategy: job.strategy().as_str(),
            shard: job.shard().map(|shard| shard.index),
            attempts: 1,
            load_id: None,
            committed: false,
            window: None,
            ranges: Vec::new(),
            ranges_committed: 0,
            rows: RowCounts::default(),
            rejects: Vec::new(),
            ledger: Vec::new(),
            lossless: false,
            quarantine: None,
            profile: None,
            proof: None,
            bytes_read: 0,
            bytes_written: 0,
            bytes_billed: None,
            batches: 0,
            seconds: PhaseTimes::default(),
            mapping_hash: None,
            warnings: Vec::new(),
            error: None,
            started_at: now,
            finished_at: now,
            incomplete: 0,
            settled: Settled::default(),
            before: Settled::default(),
        }
    }

    /// The report of a job that is disabled.
    pub(super) fn skipped(job: &EtlJob) -> Self {
        let mut report = Self { status: RunStatus::Skipped, attempts: 0, ..Self::begin(job) };
        report.warn("W_SKIPPED", "the job is disabled (`enabled` is false), so it was not run");
        report
    }

    /// Forgets the attempt that failed, but not when it all began, nor what it has committed.
    pub(super) fn begin_again(&mut self, job: &EtlJob) {
        let before = std::mem::take(&mut self.settled);
        *self = Self {
            attempts: self.attempts + 1,
            started_at: self.started_at,
            committed: self.committed,
            ranges: std::mem::take(&mut self.ranges),
            ranges_committed: self.ranges_committed,
            rows: self.rows,
            bytes_written: self.bytes_written,
            bytes_billed: self.bytes_billed,
            ledger: before.ledger.clone(),
            quarantine: before.quarantine.clone(),
            settled: before.clone(),
            before,
            ..Self::begin(job)
        };
    }

    /// Adds warnings that were not said yet.
    pub(super) fn add_warnings(&mut self, warnings: impl IntoIterator<Item = (Option<String>, Warning)>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    pub(super) fn warn(&mut self, code: &str, text: impl Into<String>) {
        self.add_warnings([(None, Warning::new(code, text))]);
    }

    /// What became of the values of a range.
    pub(super) fn cast(&mut self, ledger: Ledger) {
        self.incomplete = ledger.incomplete_rows;
        if self.ledger.is_empty() {
            self.ledger = ledger.columns;
            return;
        }
        for column in ledger.columns {
            match self.ledger.iter_mut().find(|known| known.column == column.column) {
                Some(known) => known.add(column),
                None => self.ledger.push(column),
            }
        }
    }

    /// Tells of the values that did not come through as they are; `failed` if nothing was loaded.
    fn tell_changes(&mut self, failed: bool) {
        for column in &self.ledger {
            let counts = &column.counts;
            let name = &column.column;
            if counts.rejected() > 0 {
                let lost = column
                    .examples
                    .iter()
                    .filter(|one| matches!(one.change, Change::Nulled | Change::Quarantined));
                let examples = lost.map(|example| example.value.clone()).collect();
                self.rejects.push(ColumnRejects {
                    column: name.clone(),
                    rejected: counts.rejected(),
                    examples,
                });
            }
            let told = [
                ("W_REJECTED", counts.nulled, "values did not fit and became NULL"),
                (
                    "W_QUARANTINED",
                    counts.quarantined,
                    "values did not fit; they are NULL here and in the quarantine",
                ),
                ("W_ROUNDED", counts.rounded, "values were rounded"),
                (
                    "W_NULL_TOKEN",
                    counts.blank,
                    "texts that stand for no value (empty, or a null token) became NULL",
                ),
            ];
            for (code, count, text) in told.into_iter().filter(|(_, count, _)| *count > 0 && !failed) {
                self.warnings.push((Some(name.clone()), Warning::new(code, format!("{count} {text}"))));
            }
        }
    }

    pub(super) fn quarantined(&mut self, kept: Option<Kept>) {
        let Some(kept) = kept else { return };
        let before = self.quarantine.as_ref().map_or(0, |before| before.rows);
        self.quarantine = Some(QuarantineCount { table: kept.table.to_string(), rows: before + kept.rows });
    }

    /// The destination bills bytes, if it tells.
    pub(super) fn bill(&mut self, bytes: Option<u64>) {
        self.bytes_billed = match (self.bytes_billed, bytes) {
            (None, billed) | (billed, None) => billed,
            (Some(before), Some(now)) => Some(before + now),
        };
    }

    /// A load was committed: that of the run, or of one of its ranges.
    pub(super) fn loaded(&mut self, committed: Committed<'_>, tracker: &Tracker) {
        let Committed { range, record, outcome, tombstones, began } = committed;
        self.committed = true;
        self.bytes_written += outcome.bytes;
        self.bill(outcome.bytes_billed);
        self.rows.written += record.rows;
        self.rows.inserted += outcome.inserted;
        self.rows.updated += outcome.updated;
        self.rows.superseded += outcome.superseded;
        self.rows.rewritten += outcome.rewritten;
        self.rows.deleted += outcome.deleted;
        self.rows.marked += outcome.marked;
        self.rows.unmarked += outcome.unmarked;
        self.rows.tombstones += tombstones;
        self.rows.incomplete += std::mem::take(&mut self.incomplete);
        if let Some(range) = range {
            if self.ranges.len() >= NAMED_RANGES {
                self.ranges.remove(0);
            }
            let text = |value: &Option<CursorValue>| value.as_ref().map(ToString::to_string);
            self.ranges.push(LoadedRange {
                lo: text(&range.lo),
                hi: text(&range.hi),
                rows: record.rows,
                load_id: record.load_id.clone(),
                seconds: began.elapsed().as_secs_f64(),
            });
            self.ranges_committed += 1;
        }
        self.settled = Settled { ledger: self.ledger.clone(), ..self.counted(tracker) };
        if outcome.already_committed {
            self.warn("W_ALREADY_COMMITTED", "this very load had been committed before; it was not repeated");
        }
    }

    pub(super) fn finish(&mut self, outcome: Result<(), Error>, tracker: &Tracker) {
        let Settled { read, already_loaded, bytes_read, batches, .. } = self.counted(tracker);
        (self.rows.read, self.rows.already_loaded) = (read, already_loaded);
        (self.bytes_read, self.batches) = (bytes_read, batches);
        self.tell_changes(outcome.is_err() && !self.committed);
        self.seconds = tracker.times();
        self.finished_at = Timestamp::now();
        match outcome {
            Ok(()) => {
                self.status = RunStatus::Succeeded;
                self.lossless = self.ledger.iter().all(|column| column.counts.is_lossless());
                tracing::info!(
                    job = self.job,
                    rows = self.rows.written,
                    seconds = self.seconds.total,
                    "run succeeded"
                );
            }
            Err(error) => {
                self.status = if error.kind() == ErrorKind::Cancelled {
                    RunStatus::Cancelled
                } else {
                    RunStatus::Failed
                };
                tracing::warn!(job = self.job, %error, "run did not succeed");
                self.error = Some(error);
            }
        }
        telemetry::ended(self);
    }

    /// What was read by this attempt and by what earlier ones committed.
    fn counted(&self, tracker: &Tracker) -> Settled {
        let of = |counter: &AtomicU64, before: u64| before + counter.load(Ordering::Relaxed);
        Settled {
            read: of(&tracker.rows_read, self.before.read),
            already_loaded: of(&tracker.rows_known, self.before.already_loaded),
            bytes_read: of(&tracker.bytes_read, self.before.bytes_read),
            batches: of(&tracker.batches, self.before.batches),
            ledger: Vec::new(),
            quarantine: self.quarantine.clone(),
        }
    }

    /// The report, or its error if the run did not succeed.
    ///
    /// # Errors
    /// What ended the run.
    pub fn into_result(mut self) -> Result<Self, Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// The JSON form, stable and small; its schema is in `docs/reference/report.schema.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Plain data, which always can be serialised.
        serde_json::to_value(RunReportDocument::from(self)).unwrap_or_default()
    }
}
