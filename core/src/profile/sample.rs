//! A sample of rows from which quantiles are read.

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_ord::sort::sort_to_indices;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::{take, take_record_batch};

use std::sync::Arc;

use super::QUANTILES;

/// Rows that are kept. The rank of a quantile is then off by about one percent of the rows (standard error at the
/// median); up to so many rows, quantiles are exact.
pub(super) const ROWS: usize = 2048;

/// Every row draws a number, and those with the lowest numbers stay: so two samples together are a sample of both.
#[derive(Debug, Clone)]
pub(super) struct RowSample {
    /// Columns of the batches that are sampled.
    columns: Vec<usize>,
    /// State of the generator.
    state: u64,
    /// Rows with a number past it are not taken.
    bound: u64,
    numbers: Vec<u64>,
    rows: RecordBatch,
}

impl RowSample {
    /// A sample of the columns that have an order and a fixed width, so that its size does not depend on the data.
    pub(super) fn new(schema: &SchemaRef, seed: u64) -> Self {
        let ordered = |data_type: &DataType| {
            data_type.is_numeric()
                || matches!(data_type, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..))
        };
        let fields = schema.fields().iter().enumerate();
        let columns: Vec<usize> =
            fields.filter(|(_, field)| ordered(field.data_type())).map(|(column, _)| column).collect();
        let chosen: Vec<_> = columns.iter().map(|column| Arc::clone(&schema.fields()[*column])).collect();
        let rows = RecordBatch::new_empty(Arc::new(Schema::new(chosen)));
        Self { columns, state: seed, bound: u64::MAX, numbers: Vec::new(), rows }
    }

    /// Lets the rows of a batch draw.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let mut drawn: Vec<(u64, u32)> = Vec::new();
        for row in 0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX) {
            let number = self.draw();
            if number < self.bound {
                drawn.push((number, row));
            }
        }
        if drawn.is_empty() {
            return Ok(());
        }
        if drawn.len() > ROWS {
            drawn.select_nth_unstable(ROWS);
            drawn.truncate(ROWS);
        }
        let rows = UInt32Array::from_iter_values(drawn.iter().map(|(_, row)| *row));
        let rows = take_record_batch(&batch.project(&self.columns)?, &rows)?;
        self.join(drawn.iter().map(|(number, _)| *number), &rows)
    }

    /// Adds what another sample has drawn.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), ArrowError> {
        self.join(other.numbers.iter().copied(), &other.rows)
    }

    fn join(&mut self, numbers: impl Iterator<Item = u64>, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.numbers.extend(numbers);
        self.rows = concat_batches(self.rows.schema_ref(), [&self.rows, rows])?;
        // Cutting at twice the size makes most additions cheap.
        if self.numbers.len() >= 2 * ROWS { self.cut() } else { Ok(()) }
    }

    fn cut(&mut self) -> Result<(), ArrowError> {
        if self.numbers.len() <= ROWS {
            return Ok(());
        }
        let mut lowest: Vec<(u64, u32)> = self.numbers.iter().copied().zip(0_u32..).collect();
        let (_, bound, _) = lowest.select_nth_unstable(ROWS);
        self.bound = bound.0;
        lowest.truncate(ROWS);
        self.numbers = lowest.iter().map(|(number, _)| *number).collect();
        let rows = UInt32Array::from_iter_values(lowest.iter().map(|(_, row)| *row));
        self.rows = take_record_batch(&self.rows, &rows)?;
        Ok(())
    }

    /// SplitMix64: a stream of numbers that are as good as random for this.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The values at the [`QUANTILES`] of every sampled column, NULL and NaN left out, by the column's place in the
    /// batches. Columns without a value have none.
    pub(super) fn quantiles(mut self) -> Result<Vec<(usize, ArrayRef)>, ArrowError> {
        self.cut()?;
        let mut found = Vec::new();
        for (place, values) in self.columns.iter().zip(self.rows.columns()) {
            let order = sort_to_indices(values, None, None)?;
            // NULLs come first, NaN is greater than everything.
            let first = values.null_count();
            let last = values.len() - super::column::nans(values);
            if first >= last {
                continue;
            }
            let rank = |quantile: f64| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and the rows of the sample"
                )]
                let offset = (quantile * (last - first - 1) as f64).round() as usize;
                order.value(first + offset)
            };
            let rows = UInt32Array::from_iter_values(QUANTILES.iter().map(|(_, quantile)| rank(*quantile)));
            found.push((*place, take(values, &rows, None)?));
        }
        Ok(found)
    }
}
