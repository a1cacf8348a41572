//! The conversion ledger: what became of every value, column by column.

use arrow_array::RecordBatch;
use schemars::JsonSchema;
use serde::Serialize;

/// Examples that a ledger keeps of each kind of change, per column.
const EXAMPLES: usize = 3;

/// How many values of a column came through how. Every value of every row is counted exactly once, so the
/// counts of a column add up to the rows that were cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Counts {
    /// NULL at the source, NULL at the destination.
    pub null: u64,
    /// The same value of the same kind; at most its width, unit, scale or layout in memory changed.
    pub exact: u64,
    /// The same value as another kind of type: a text read as a date, an integer as a decimal, a record as
    /// JSON text. Nothing of what it says is lost; how a text was spelt is (blanks around, leading zeros).
    pub converted: u64,
    /// Changed to a value near by, which only [`RoundPolicy::Round`](super::RoundPolicy::Round) allows.
    pub rounded: u64,
    /// Empty or blank text in a column of another type, and text that stands for no value there (see
    /// [`ColumnMapping::null_tokens`](crate::schema::ColumnMapping)), which is NULL at the destination. Of a record: a
    /// field of it.
    pub blank: u64,
    /// Did not fit and became NULL. Of a record that stays, a field of it; of an array, all of it.
    pub nulled: u64,
    /// As `nulled`, and kept in the quarantine table.
    pub quarantined: u64,
}

impl Counts {
    /// Values that did not fit.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.nulled + self.quarantined
    }

    /// Whether every value at the destination is the one at the source.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.rounded + self.blank + self.rejected() == 0
    }

    fn add(&mut self, other: &Self) {
        self.null += other.null;
        self.exact += other.exact;
        self.converted += other.converted;
        self.rounded += other.rounded;
        self.blank += other.blank;
        self.nulled += other.nulled;
        self.quarantined += other.quarantined;
    }
}

/// A way in which a value did not come through as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// See [`Counts::rounded`].
    Rounded,
    /// See [`Counts::blank`].
    Blank,
    /// See [`Counts::nulled`].
    Nulled,
    /// See [`Counts::quarantined`].
    Quarantined,
}

/// One value that did not come through as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LedgerExample {
    /// What became of it.
    pub change: Change,
    /// The source's value as text, cut to 80 characters.
    pub value: String,
    /// Its row: the key columns as a JSON object, or the cursor where there is no key; `None` where there is
    /// neither. The same text as `row_key` in a quarantine table.
    pub row_key: Option<String>,
    /// Why it does not fit, in words after "it"; `None` where the text stands for no value.
    pub reason: Option<String>,
}

/// The ledger of one column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ColumnLedger {
    /// Its name at the source.
    pub column: String,
    /// Its name at the destination.
    pub target: String,
    /// Its BigQuery type.
    pub bigquery_type: String,
    /// How many values came through how.
    #[serde(flatten)]
    pub counts: Counts,
    /// Up to three values of each kind of change, the first ones met.
    pub examples: Vec<LedgerExample>,
}

/// What became of every value that was cast.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// The columns of the mapping, in its order.
    pub columns: Vec<ColumnLedger>,
    /// Rows of which at least one value did not fit.
    pub incomplete_rows: u64,
}

impl ColumnLedger {
    /// Adds what became of more values of the column.
    pub(crate) fn add(&mut self, more: Self) {
        self.counts.add(&more.counts);
        self.keep(more.examples);
    }

    fn keep(&mut self, examples: Vec<LedgerExample>) {
        for example in examples {
            if self.examples.iter().filter(|known| known.change == example.change).count() < EXAMPLES {
                self.examples.push(example);
            }
        }
    }
}

impl Ledger {
    /// Whether every value at the destination is the one at the source. Of no rows at all: yes.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.columns.iter().all(|column| column.counts.is_lossless())
    }

    /// Adds what became of one batch of the same [`Caster`](super::Caster).
    pub fn add(&mut self, batch: BatchLedger) {
        self.incomplete_rows += batch.incomplete_rows;
        for (column, (counts, examples)) in self.columns.iter_mut().zip(batch.columns) {
            column.counts.add(&counts);
            column.keep(examples);
        }
    }
}

/// What became of the values of one batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchLedger {
    /// Counts and up to three examples of each change, in the order of the mapping's columns.
    pub columns: Vec<(Counts, Vec<LedgerExample>)>,
    /// Rows of which at least one value did not fit.
    pub incomplete_rows: u64,
    /// The values for the quarantine table, as rows of [`quarantine_table`](super::quarantine_table).
    pub quarantined: Option<RecordBatch>,
}
