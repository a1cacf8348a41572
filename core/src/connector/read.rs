//! Reading: sessions, plans and splits.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::batch::{BatchStream, SAMPLE_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::proof::{ProofLevel, TableFigures};
use crate::schema::{CursorValue, TableSchema};

/// Which rows of the cursor's range are wanted: `lo` (bounded below) to `hi` (bounded above).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CursorFilter {
    /// The cursor column.
    pub column: String,
    /// Lowest value, `None` for no bound.
    pub lo: Option<CursorValue>,
    /// Whether rows equal to `lo` are wanted.
    pub lo_inclusive: bool,
    /// Highest value, inclusive; `None` for no bound.
    pub hi: Option<CursorValue>,
    /// Whether rows without a cursor value are wanted too.
    pub include_nulls: bool,
}

impl CursorFilter {
    /// The rows of a batch that are wanted.
    ///
    /// # Errors
    /// As [`Self::accepts`]; `internal` for a batch without the column.
    pub fn select(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = batch
            .column_by_name(&self.column)
            .ok_or_else(|| Error::internal(format!("the batch has no cursor column `{}`", self.column)))?;
        let wanted =
            (0..column.len()).map(|row| self.accepts(CursorValue::from_array(column, row)?.as_ref()));
        let wanted = BooleanArray::from(wanted.collect::<Result<Vec<_>>>()?);
        Ok(filter_record_batch(batch, &wanted)?)
    }

    /// The error for a bound that cannot be compared with a column, since that is of another type now.
    #[must_use]
    pub fn other_type(column: &str, type_now: &str, bound: &CursorValue) -> Error {
        let window = bound.type_name();
        Error::new(
            ErrorKind::SchemaChanged,
            format!("cursor column `{column}` is of type {type_now} and the window is of type {window}"),
        )
        .with("column", column)
        .hint("give the job a new name to start afresh with the new type")
    }

    /// Whether a row with this cursor value is wanted; for sources that filter by themselves.
    ///
    /// # Errors
    /// `schema_changed` if the value is of another type than the bounds.
    pub fn accepts(&self, value: Option<&CursorValue>) -> Result<bool> {
        let Some(value) = value else { return Ok(self.include_nulls) };
        let compare = |bound: &CursorValue| {
            value.compare(bound).ok_or_else(|| Self::other_type(&self.column, value.type_name(), bound))
        };
        let above = match &self.lo {
            None => true,
            Some(lo) => {
                let order = compare(lo)?;
                order.is_gt() || (self.lo_inclusive && order.is_eq())
            }
        };
        let below = match &self.hi {
            None => true,
            Some(hi) => compare(hi)?.is_le(),
        };
        Ok(above && below)
    }
}

/// What to read of a table. Everything in it is pushed down to the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReadPlan {
    /// Columns in the wanted order; empty means all in the table's order.
    pub columns: Vec<String>,
    /// Cursor range, if any.
    pub filter: Option<CursorFilter>,
    /// At most this many rows in all (any rows).
    pub limit: Option<u64>,
    /// Wished number of splits; a source may make fewer. 0 counts as 1.
    pub parallelism: usize,
    /// Wished bytes per batch; 0 means the default of 16 MiB.
    pub batch_bytes: usize,
}

impl ReadPlan {
    /// For a sample of so many rows, in batches that stop soon after [`SAMPLE_BYTES`].
    #[must_use]
    pub fn sample(rows: usize) -> Self {
        Self { limit: u64::try_from(rows).ok(), batch_bytes: SAMPLE_BYTES / 4, ..Self::default() }
    }
}

/// One independently readable part of a table. It is JSON, so that any worker may read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Number within the plan, from 0.
    pub index: usize,
    /// The plan it belongs to.
    pub plan: ReadPlan,
    /// What the connector needs to find the part again.
    pub part: serde_json::Value,
}

/// What a source knows of a cursor column inside the session's snapshot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CursorSummary {
    /// Lowest value; `None` if no row has one.
    pub min: Option<CursorValue>,
    /// Highest value; `None` if no row has one.
    pub max: Option<CursorValue>,
    /// Rows whose cursor is NULL.
    pub nulls: u64,
}

impl CursorSummary {
    /// Takes one more value into account; for sources that summarise by themselves.
    pub fn add(&mut self, value: Option<CursorValue>) {
        let Some(value) = value else {
            self.nulls += 1;
            return;
        };
        if self.min.as_ref().is_none_or(|min| value.compare(min).is_some_and(Ordering::is_lt)) {
            self.min = Some(value.clone());
        }
        if self.max.as_ref().is_none_or(|max| value.compare(max).is_some_and(Ordering::is_gt)) {
            self.max = Some(value);
        }
    }
}

/// Up to where a cursor is settled; see [`Source::begin_settled`](super::Source::begin_settled).
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The highest value that no row to come can lie at or below.
    pub upto: CursorValue,
    /// The transaction that keeps the value from being higher; `None` if it is only the clock.
    pub waits_for: Option<OpenTransaction>,
}

/// A transaction that was open when a session began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// How long it had been open.
    pub age: Duration,
    /// What helps to find it: process, user, program. No statement texts, which may hold values.
    pub who: String,
}

/// One consistent reading of one table. See [`Source::begin`](super::Source::begin).
#[async_trait]
pub trait ReadSession: Send + Sync + fmt::Debug {
    /// The table as this session sees it.
    fn table(&self) -> &TableSchema;

    /// What tells this table from another one that had the same name before: an identifier that the system gives to no
    /// other table and that stays while the table lives, whatever happens to its rows and columns. `None` where the system
    /// knows no such thing.
    fn object(&self) -> Option<&str> {
        None
    }

    /// Why what this session reads is not one consistent snapshot, although the connector declares
    /// [`Capability::snapshot`](super::Capability::snapshot): a database may not allow what its system can. `None`
    /// where it is. Runs warn with it.
    fn no_snapshot(&self) -> Option<&str> {
        None
    }

    /// Lowest and highest cursor and the number of NULLs, from the session's snapshot, at full precision.
    ///
    /// # Errors
    /// `not_found` for a column that does not exist, `unsupported` for a column that cannot be a cursor.
    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary>;

    /// As [`Source::sample`](super::Source::sample), of this session's snapshot.
    ///
    /// # Errors
    /// Those of the source.
    async fn sample(&self, rows: usize) -> Result<RecordBatch>;

    /// Cuts the plan into splits whose rows together are exactly the rows of the plan, none twice.
    ///
    /// # Errors
    /// `not_found` for unknown columns.
    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>>;

    /// Reads one split. Several splits may be read at once. Every batch has the schema
    /// [`TableSchema::arrow_schema_of`] of the plan's columns; the stream ends with an error rather than
    /// early. Dropping it stops the read at the source.
    ///
    /// # Errors
    /// Those of the source; errors during reading come as an item of the stream.
    async fn read(&self, split: &Split) -> Result<BatchStream>;

    /// Figures of the rows of a plan (its limit left out), computed by the source itself inside the session's
    /// snapshot, in the order of the plan's columns. A figure that the source cannot express as
    /// [`Measure`](crate::proof::Measure) says is `None`.
    ///
    /// # Errors
    /// `unsupported` where the source has no queries.
    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let _ = (plan, level);
        Err(Error::unsupported("this source cannot compute figures of its rows"))
    }

    /// Ends the session and its snapshot. Dropping does the same without waiting.
    ///
    /// # Errors
    /// Only what tells that something read before was wrong.
    async fn close(self: Box<Self>) -> Result<()>;
}
