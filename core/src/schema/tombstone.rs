//! Rows that say of themselves that they are deleted.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::filter_record_batch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which values of a column say that their row is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeletedWhen {
    /// Any value: the column is NULL while the row is alive, as the time of a deletion is. The default.
    #[default]
    NotNull,
    /// True: the column is a BOOL at the destination.
    True,
}

impl DeletedWhen {
    /// Which rows of a column are deleted.
    pub(crate) fn rows(self, column: &ArrayRef) -> Result<BooleanArray> {
        match self {
            Self::NotNull => {
                let there = column.logical_nulls().map(|nulls| nulls.into_inner());
                Ok(BooleanArray::new(there.unwrap_or_else(|| BooleanBuffer::new_set(column.len())), None))
            }
            Self::True => {
                let flags = column.as_boolean_opt().ok_or_else(|| {
                    Error::internal("a column that tells by `true` what is deleted is no BOOL")
                })?;
                Ok(flags.iter().map(|flag| Some(flag == Some(true))).collect())
            }
        }
    }
}

/// The column by which rows say that they are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its name at the destination.
    pub column: String,
    /// What it says of a deleted row.
    pub when: DeletedWhen,
}

impl Tombstone {
    /// Which rows of a batch are deleted; no value is NULL.
    ///
    /// # Errors
    /// `internal` for a batch without the column, or where it is of another type.
    pub fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let column = batch
            .column_by_name(&self.column)
            .ok_or_else(|| Error::internal(format!("a batch has no column `{}`", self.column)))?;
        self.when.rows(column)
    }

    /// The other rows.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn alive(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let dead = self.rows(batch)?;
        if dead.true_count() == 0 {
            return Ok(batch.clone());
        }
        Ok(filter_record_batch(batch, &BooleanArray::new(!dead.values(), None))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn rows_say_that_they_are_deleted() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let when: ArrayRef = Arc::new(StringArray::from(vec![None, Some("2024"), None]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
        let batch = RecordBatch::try_from_iter([("id", ids), ("when", when), ("flag", flag)]).unwrap();
        let alive = |column: &str, when| -> Vec<i64> {
            let left = Tombstone { column: column.to_owned(), when }.alive(&batch).unwrap();
            left.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
        };
        assert_eq!(alive("when", DeletedWhen::NotNull), [1, 3]);
        assert_eq!(alive("flag", DeletedWhen::True), [2, 3]);
        assert_eq!(alive("id", DeletedWhen::NotNull), [] as [i64; 0]);
        let no_flag = Tombstone { column: "id".to_owned(), when: DeletedWhen::True };
        assert!(no_flag.rows(&batch).is_err());
    }
}
