//! Building jobs in Rust.

use serde_json::Value;

use super::deletes::{DeletePolicy, DetectDeletesDocument, SoftDeleteDocument, SoftDeletePolicy};
use super::document::{DestinationDocument, JobDocument, LoadDocument, MaxRejectsDocument, StrategyName};
use super::{CursorBound, EtlJob, NullCursors, Schedule, StepDocument};
use crate::connector::OnSchemaChange;
use crate::error::Result;
use crate::profile::ProfileLevel;
use crate::proof::ProofLevel;
use crate::schema::{AddedColumn, DeletedWhen, LayoutDocument, RejectPolicy, RoundPolicy, TableRef};

/// Builds an [`EtlJob`]; [`Self::build`] checks it.
#[derive(Debug, Clone)]
pub struct EtlJobBuilder(JobDocument);

impl EtlJobBuilder {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self(JobDocument::named(name))
    }

    /// Sets connection and table of the source; `table` is `schema.table` or `table`.
    #[must_use]
    pub fn from(self, connection: impl Into<String>, table: &str) -> Self {
        match table.split_once('.') {
            Some((schema, name)) => self.from_table(connection, TableRef::new(schema, name)),
            None => self.from_table(connection, TableRef::unqualified(table)),
        }
    }

    /// Sets connection and table of the source, for names that hold a dot.
    #[must_use]
    pub fn from_table(mut self, connection: impl Into<String>, table: TableRef) -> Self {
        self.0.source.connection = connection.into();
        self.0.source.schema = table.schema;
        self.0.source.table = table.name;
        self
    }

    /// Chooses columns.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.source.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets connection, dataset and table of the destination.
    #[must_use]
    pub fn into(
        mut self,
        connection: impl Into<String>,
        dataset: impl Into<String>,
        table: impl Into<String>,
    ) -> Self {
        self.0.destination = DestinationDocument {
            connection: connection.into(),
            dataset: dataset.into(),
            table: table.into(),
            layout: std::mem::take(&mut self.0.destination.layout),
            options: std::mem::take(&mut self.0.destination.options),
        };
        self
    }

    /// Says something to the destination in its own words; see the page of its connector.
    #[must_use]
    pub fn destination_option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.destination.options.insert(name.into(), value.into());
        self
    }

    /// Sets how the table is laid out and kept.
    #[must_use]
    pub fn layout(mut self, layout: LayoutDocument) -> Self {
        self.0.destination.layout = layout;
        self
    }

    /// Chooses the strategy `replace`.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.0.load = LoadDocument::new(StrategyName::Replace);
        self
    }

    /// Chooses the strategy `append`.
    #[must_use]
    pub fn append(mut self, cursor: impl Into<String>) -> Self {
        self.0.load = LoadDocument { cursor: Some(cursor.into()), ..LoadDocument::new(StrategyName::Append) };
        self
    }

    /// Chooses the strategy `merge`, with or without a cursor.
    #[must_use]
    pub fn merge(mut self, key: impl IntoIterator<Item = impl Into<String>>, cursor: Option<&str>) -> Self {
        self.0.load = LoadDocument {
            key: Some(key.into_iter().map(Into::into).collect()),
            cursor: cursor.map(str::to_owned),
            ..LoadDocument::new(StrategyName::Merge)
        };
        self
    }

    /// `merge`: finds the rows of the target that the source has no longer, and removes or marks them.
    #[must_use]
    pub fn detect_deletes(mut self, policy: DeletePolicy) -> Self {
        self.0.load.detect_deletes = Some(DetectDeletesDocument { policy, max_ratio: None });
        self
    }

    /// After [`Self::detect_deletes`]: stops, and changes nothing, when more than this share (0 to 1) of the target's
    /// rows would go.
    #[must_use]
    pub fn max_deleted_ratio(mut self, ratio: f64) -> Self {
        if let Some(detect) = &mut self.0.load.detect_deletes {
            detect.max_ratio = Some(ratio);
        }
        self
    }

    /// `merge`: says by which column of the source rows tell that they are deleted, and what becomes of them.
    #[must_use]
    pub fn soft_delete(
        mut self,
        column: impl Into<String>,
        deleted_when: DeletedWhen,
        policy: SoftDeletePolicy,
    ) -> Self {
        let column = column.into();
        self.0.load.soft_delete = Some(SoftDeleteDocument { column, deleted_when, policy });
        self
    }

    /// Names the column that marks deleted rows. Default: `_deleted_at`.
    #[must_use]
    pub fn mark_column(mut self, name: impl Into<String>) -> Self {
        self.0.load.mark_column = Some(name.into());
        self
    }

    /// Begins the first load at this cursor value.
    #[must_use]
    pub fn backfill_since(mut self, since: impl Into<String>) -> Self {
        self.0.load.backfill_since = Some(since.into());
        self
    }

    /// Loads nothing at or past this cursor value.
    #[must_use]
    pub fn until(mut self, until: impl Into<String>) -> Self {
        self.0.load.until = Some(until.into());
        self
    }

    /// Cuts what is to be loaded into ranges of this length, each committed by itself: units of an integer or decimal
    /// cursor, or a duration such as `30d`.
    #[must_use]
    pub fn backfill_step(mut self, step: StepDocument) -> Self {
        self.0.load.backfill_step = Some(step);
        self
    }

    /// `append`: cuts the job at these cursor values into [`EtlJob::shards`], which several processes may run at the same
    /// time.
    #[must_use]
    pub fn shard_at(mut self, cuts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.load.shard_at = cuts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what becomes of rows without a cursor value.
    #[must_use]
    pub fn on_null_cursor(mut self, policy: NullCursors) -> Self {
        self.0.load.on_null_cursor = Some(policy);
        self
    }

    /// `merge`: reads this far below the watermark again.
    #[must_use]
    pub fn lookback(mut self, lookback: StepDocument) -> Self {
        self.0.load.lookback = Some(lookback);
        self
    }

    /// Begins the first load this many days ago.
    #[must_use]
    pub fn backfill_days(mut self, days: u32) -> Self {
        self.0.load.backfill_days = Some(days);
        self
    }

    /// Lets a job that was changed begin afresh in the same table; what it loaded before stays there.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.0.load.restart = true;
        self
    }

    /// Leaves the newest rows to a later run: units of an integer cursor, or a duration such as `15m`.
    #[must_use]
    pub fn lag(mut self, lag: StepDocument) -> Self {
        self.0.load.lag = Some(lag);
        self
    }

    /// Sets what bounds the window of a run above.
    #[must_use]
    pub fn cursor_bound(mut self, bound: CursorBound) -> Self {
        self.0.load.cursor_bound = bound;
        self
    }

    /// Lets `replace`, and `merge` with [`Self::detect_deletes`], go on even if the source is empty and the target is
    /// not.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.0.load.allow_empty = true;
        self
    }

    /// `replace`: stop, and change nothing, when the new rows are fewer than this share (0 to 1) of those that
    /// the last load brought. Default: half, after a load of 1,000 rows or more.
    #[must_use]
    pub fn min_ratio(mut self, ratio: f64) -> Self {
        self.0.load.min_ratio = Some(ratio);
        self
    }

    /// Sets a column's BigQuery type, and how its text is read.
    #[must_use]
    pub fn override_type(mut self, column: &str, data_type: &str, format: Option<&str>) -> Self {
        let entry = self.0.mapping.overrides.entry(column.to_owned()).or_default();
        entry.data_type = Some(data_type.to_owned());
        entry.format = format.map(str::to_owned);
        self
    }

    /// Refuses any mapping but the one of this hash.
    #[must_use]
    pub fn approved_hash(mut self, hash: impl Into<String>) -> Self {
        self.0.mapping.approved_hash = Some(hash.into());
        self
    }

    /// Adds a column that the source does not have, by its name at the destination.
    #[must_use]
    pub fn add_column(mut self, name: impl Into<String>, column: AddedColumn) -> Self {
        self.0.mapping.add.insert(name.into(), column);
        self
    }

    /// Sets what happens to values that do not fit.
    #[must_use]
    pub fn on_reject(mut self, policy: RejectPolicy) -> Self {
        self.0.mapping.on_reject = policy;
        self
    }

    /// Sets what happens to values of one column that do not fit.
    #[must_use]
    pub fn on_reject_of(mut self, column: &str, policy: RejectPolicy) -> Self {
        self.0.mapping.overrides.entry(column.to_owned()).or_default().on_reject = Some(policy);
        self
    }

    /// Sets what happens to values with more digits than their type keeps.
    #[must_use]
    pub fn on_round(mut self, policy: RoundPolicy) -> Self {
        self.0.mapping.on_round = policy;
        self
    }

    /// Limits the rows that may have a value that does not fit: a number, or a share such as `0.5%`.
    #[must_use]
    pub fn max_rejects(mut self, limit: MaxRejectsDocument) -> Self {
        self.0.mapping.max_rejects = Some(limit);
        self
    }

    /// Names the table for values under [`RejectPolicy::Quarantine`].
    #[must_use]
    pub fn quarantine_table(mut self, table: impl Into<String>) -> Self {
        self.0.mapping.quarantine_table = Some(table.into());
        self
    }

    /// Sets what may happen to an existing target table.
    #[must_use]
    pub fn on_schema_change(mut self, policy: OnSchemaChange) -> Self {
        self.0.mapping.on_schema_change = policy;
        self
    }

    /// Sets the schedule.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.0.schedule = Some(schedule);
        self
    }

    /// Sets how much the report says of the values that were loaded.
    #[must_use]
    pub fn profile(mut self, level: ProfileLevel) -> Self {
        self.0.profile = level;
        self
    }

    /// Whether the run proves that nothing was lost, doubled or changed on the way. Default: no.
    #[must_use]
    pub fn proof(mut self, level: ProofLevel) -> Self {
        self.0.proof = level;
        self
    }

    /// Limits the rows, for trials.
    #[must_use]
    pub fn row_limit(mut self, rows: u64) -> Self {
        self.0.row_limit = Some(rows);
        self
    }

    /// Checks and builds.
    ///
    /// # Errors
    /// `config`, naming the field.
    pub fn build(self) -> Result<EtlJob> {
        EtlJob::from_document(self.0)
    }
}
