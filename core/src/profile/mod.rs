//! Profiles: what a load's columns hold, found while the rows pass.
//!
//! No second read and no query: every batch that a run loads is looked at once more while it is in the cache. The
//! memory does not grow with the rows.

mod column;
mod distinct;
mod sample;
mod shared;
mod top;

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::column::Column;
use self::sample::RowSample;
pub(crate) use self::shared::SharedProfile;
use crate::error::Result;
use crate::schema::to_text;

/// How much a profile says. Each level says what the one before says, and more.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ProfileLevel {
    /// Nothing.
    Off,
    /// Counts and lengths: nothing that shows a value of the table.
    Counts,
    /// Also the lowest and the highest value and the quantiles. The default.
    #[default]
    Values,
    /// Also the most frequent values. Costs more: every value is turned into text.
    TopValues,
}

/// Names and places of the quantiles that a profile holds.
const QUANTILES: [(&str, f64); 5] =
    [("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95)];

/// In wider tables only NULLs, lengths and other plain counts are kept: the rest takes kilobytes a column and task.
const DETAILED_COLUMNS: usize = 1000;

/// What the rows of a load hold, as the destination gets them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TableProfile {
    /// Rows.
    pub rows: u64,
    /// Columns in the order of the target table.
    pub columns: Vec<ColumnProfile>,
}

/// What one column holds. Values are texts, exact and the same in every language: decimals with all digits, times as
/// ISO 8601, bytes as base64. Texts of more than 100 characters are cut and end in `…`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ColumnProfile {
    /// Its name in the target table.
    pub name: String,
    /// Rows in which it is NULL.
    pub nulls: u64,
    /// About how many different values it has; the standard error is 1.6 %. Not for booleans, lists and records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// The lowest value, NaN left out. Texts are compared by their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The highest value, NaN left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// Floating-point columns: values that are not a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nan: Option<u64>,
    /// Booleans: rows that are true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trues: Option<u64>,
    /// Texts, bytes and lists: values without a character, byte or element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<u64>,
    /// Texts and bytes: lengths in bytes (of UTF-8). Lists: numbers of elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// Numbers, dates and times: the values below which 5, 25, 50, 75 and 95 percent of the values lie (`p05` to
    /// `p95`). Exact up to 2,048 rows, beyond that from a random sample of so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<BTreeMap<String, String>>,
    /// The most frequent values, at most ten, the first one first. On request ([`ProfileLevel::TopValues`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<TopValue>>,
}

/// Lengths of the values that are not NULL.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Lengths {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
}

/// A frequent value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TopValue {
    /// The value.
    pub value: String,
    /// How often it comes, at least.
    pub count: u64,
    /// How much oftener it may come; 0 if the count is exact.
    pub error: u64,
}

/// Looks at batches and keeps what a profile needs. Several may look at parts of a table; [`Self::merge`] joins them.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
/// use transload_core::profile::{ProfileLevel, Profiler};
///
/// let totals = Arc::new(Int64Array::from(vec![Some(30), None, Some(10), Some(30)])) as _;
/// let batch = RecordBatch::try_from_iter([("total", totals)])?;
/// let mut profiler = Profiler::new(&batch.schema(), ProfileLevel::Values, 0)?;
/// profiler.add(&batch)?;
/// let profile = profiler.finish()?;
/// assert_eq!(profile.rows, 4);
/// let total = &profile.columns[0];
/// assert_eq!((total.nulls, total.distinct), (1, Some(2)));
/// assert_eq!(total.max.as_deref(), Some("30"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Profiler {
    schema: SchemaRef,
    rows: u64,
    columns: Vec<Column>,
    sample: Option<RowSample>,
}

impl Profiler {
    /// For batches of a target table's schema. `seed` must differ between profilers that will be merged, so that
    /// their samples do not depend on one another.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(schema: &SchemaRef, level: ProfileLevel, seed: u64) -> Result<Self> {
        let detailed = schema.fields().len() <= DETAILED_COLUMNS;
        let columns = match level {
            ProfileLevel::Off => Vec::new(),
            _ => {
                let fields = schema.fields().iter();
                fields.map(|field| Column::new(field, level, detailed)).collect::<Result<_>>()?
            }
        };
        let sample = (detailed && level >= ProfileLevel::Values).then(|| RowSample::new(schema, seed));
        Ok(Self { schema: SchemaRef::clone(schema), rows: 0, columns, sample })
    }

    /// Looks at a batch.
    ///
    /// # Errors
    /// `internal` if the batch is not of the schema.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (column, values) in self.columns.iter_mut().zip(batch.columns()) {
            column.add(values)?;
        }
        if let Some(sample) = &mut self.sample {
            sample.add(batch)?;
        }
        Ok(())
    }

    /// Adds what another profiler of the same schema and level has seen.
    ///
    /// # Errors
    /// `internal` if it is not of the same schema.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        self.rows += other.rows;
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            mine.merge(theirs)?;
        }
        if let (Some(mine), Some(theirs)) = (&mut self.sample, &other.sample) {
            mine.merge(theirs)?;
        }
        Ok(())
    }

    /// The profile.
    ///
    /// # Errors
    /// None in practice.
    pub fn finish(self) -> Result<TableProfile> {
        let fields = self.schema.fields().iter();
        let mut columns = fields
            .zip(&self.columns)
            .map(|(field, column)| column.finish(field.name(), field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        for (place, values) in self.sample.map_or_else(|| Ok(Vec::new()), RowSample::quantiles)? {
            let texts = to_text(&values)?;
            let named = QUANTILES.iter().zip(texts.iter().flatten());
            columns[place].quantiles =
                Some(named.map(|((name, _), value)| ((*name).to_owned(), value.to_owned())).collect());
        }
        Ok(TableProfile { rows: self.rows, columns })
    }
}

#[cfg(test)]
mod tests;
