//! Which row groups of an existing file may hold a key of the load, by their statistics.

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use transload_core::Result;

/// Type, lowest and highest value of one key column; the values in a form that compares bytewise.
type Range = (DataType, Box<[u8]>, Box<[u8]>);

/// The ranges of a load's key columns; `None` before any row.
#[derive(Debug)]
pub(crate) struct Ranges(Vec<Option<Range>>);

fn encoded(values: &ArrayRef) -> Result<Rows> {
    let field = SortField::new(values.data_type().clone());
    Ok(RowConverter::new(vec![field])?.convert_columns(std::slice::from_ref(values))?)
}

impl Ranges {
    pub(crate) fn of(columns: usize) -> Self {
        Self(std::iter::repeat_with(|| None).take(columns).collect())
    }

    /// Widens the ranges by the rows of a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch, key: &[String]) -> Result<()> {
        for (range, name) in self.0.iter_mut().zip(key) {
            let Some(values) = batch.column_by_name(name) else { continue };
            let rows = encoded(values)?;
            let (Some(low), Some(high)) = (rows.iter().min(), rows.iter().max()) else { continue };
            let (low, high) = (low.as_ref(), high.as_ref());
            match range {
                None => *range = Some((values.data_type().clone(), low.into(), high.into())),
                Some((_, lowest, highest)) => {
                    if low < lowest.as_ref() {
                        *lowest = low.into();
                    }
                    if high > highest.as_ref() {
                        *highest = high.into();
                    }
                }
            }
        }
        Ok(())
    }

    /// For each row group whether it may hold a key. What the statistics do not tell may.
    pub(crate) fn row_groups(
        &self,
        file: &ArrowReaderMetadata,
        key: &[String],
    ) -> std::result::Result<Vec<bool>, ParquetError> {
        let groups = file.metadata().row_groups();
        let mut wanted = vec![true; groups.len()];
        for (range, name) in self.0.iter().zip(key) {
            // Statistics order -0.0 and NaN in another way than keys do.
            let Some((data_type, lowest, highest)) =
                range.as_ref().filter(|range| range.0 != DataType::Float64)
            else {
                continue;
            };
            let statistics = StatisticsConverter::try_new(name, file.schema(), file.parquet_schema())?;
            let (lows, highs) = (statistics.row_group_mins(groups)?, statistics.row_group_maxes(groups)?);
            if lows.data_type() != data_type || highs.data_type() != data_type {
                continue;
            }
            let failed = |error: transload_core::Error| ParquetError::External(Box::new(error));
            let (low_rows, high_rows) = (encoded(&lows).map_err(failed)?, encoded(&highs).map_err(failed)?);
            for (group, wanted) in wanted.iter_mut().enumerate() {
                if lows.is_valid(group) && highs.is_valid(group) {
                    *wanted &= low_rows.row(group).as_ref() <= highest.as_ref()
                        && high_rows.row(group).as_ref() >= lowest.as_ref();
                }
            }
        }
        Ok(wanted)
    }
}
