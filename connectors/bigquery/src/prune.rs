//! The range of a partitioning column in the staged rows, so that a merge reads only the partitions it meets.
//!
//! It holds only for a column of the key: a row whose partitioning column changed would be looked for in the
//! wrong partition, and inserted a second time.

use std::sync::{Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, RecordBatch};
use google_cloud_bigquery_v2::model::Table;
use transload_core::schema::{BigQueryType, CursorValue, Nanos, TargetColumn};

use crate::sql::literal;

/// Lowest and highest value of one column of the rows written so far.
#[derive(Debug)]
pub(crate) struct Range {
    /// Index of the column in the load.
    pub(crate) column: usize,
    data_type: BigQueryType,
    bounds: Mutex<Option<(i64, i64)>>,
}

impl Range {
    /// For a merge by `key` into `table`, if the column that partitions it is part of the key.
    pub(crate) fn of(table: &Table, columns: &[TargetColumn], key: &[usize]) -> Option<Self> {
        let time = table.time_partitioning.as_ref().and_then(|by| by.field.as_ref()).map(String::as_str);
        let number = table.range_partitioning.as_ref().map(|by| by.field.as_str());
        let field = time.or(number).filter(|field| !field.is_empty())?;
        let column = *key.iter().find(|i| columns[**i].name.eq_ignore_ascii_case(field))?;
        let data_type = columns[column].data_type.clone();
        let known = matches!(
            data_type,
            BigQueryType::Date | BigQueryType::DateTime | BigQueryType::Timestamp | BigQueryType::Int64
        );
        known.then(|| Self { column, data_type, bounds: Mutex::new(None) })
    }

    /// Takes note of the rows of a batch.
    pub(crate) fn add(&self, batch: &RecordBatch) {
        let Some((low, high)) = batch.columns().get(self.column).and_then(min_max) else { return };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        *bounds = Some(bounds.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
    }

    /// The bounds as SQL literals; `None` without rows.
    pub(crate) fn literals(&self) -> Option<(String, String)> {
        let (low, high) = (*self.bounds.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some((self.literal(low)?, self.literal(high)?))
    }

    fn literal(&self, value: i64) -> Option<String> {
        let nanos = Nanos(i128::from(value) * 1000);
        let (word, value) = match self.data_type {
            BigQueryType::Date => ("DATE", CursorValue::Date(i32::try_from(value).ok()?)),
            BigQueryType::DateTime => ("DATETIME", CursorValue::DateTime(nanos)),
            BigQueryType::Timestamp => ("TIMESTAMP", CursorValue::Timestamp(nanos)),
            _ => return Some(value.to_string()),
        };
        Some(format!("{word} {}", literal(&value.to_string())))
    }
}

/// Days, microseconds or numbers; `None` for other types and for nothing but NULL.
fn min_max(array: &ArrayRef) -> Option<(i64, i64)> {
    fn bounds(values: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
        values.fold(None, |bounds, v| Some(bounds.map_or((v, v), |(l, h): (i64, i64)| (l.min(v), h.max(v)))))
    }
    if let Some(days) = array.as_primitive_opt::<Date32Type>() {
        return bounds(days.iter().flatten().map(i64::from));
    }
    if let Some(micros) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return bounds(micros.iter().flatten());
    }
    bounds(array.as_primitive_opt::<Int64Type>()?.iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Array as _, Date32Array, Int64Array, TimestampMicrosecondArray};
    use serde_json::json;
    use std::sync::Arc;
    use transload_core::schema::Mode;

    fn columns(data_type: BigQueryType) -> Vec<TargetColumn> {
        let column = |name: &str, data_type| TargetColumn {
            name: name.to_owned(),
            data_type,
            mode: Mode::Required,
            description: None,
        };
        vec![column("id", BigQueryType::Int64), column("at", data_type)]
    }

    fn table(json: serde_json::Value) -> Table {
        crate::jobs::from_json(json).unwrap()
    }

    #[test]
    fn only_a_partitioning_column_of_the_key_gives_a_range() {
        let by_day = table(json!({"timePartitioning": {"type": "DAY", "field": "At"}}));
        let columns = columns(BigQueryType::Date);
        assert_eq!(Range::of(&by_day, &columns, &[0, 1]).unwrap().column, 1);
        assert!(Range::of(&by_day, &columns, &[0]).is_none());
        assert!(Range::of(&table(json!({})), &columns, &[0, 1]).is_none());
        // By the time of arrival: no column.
        assert!(Range::of(&table(json!({"timePartitioning": {"type": "DAY"}})), &columns, &[0, 1]).is_none());
        let by_number = table(json!({"rangePartitioning": {"field": "id",
            "range": {"start": "0", "end": "100", "interval": "10"}}}));
        assert_eq!(Range::of(&by_number, &columns, &[0]).unwrap().column, 0);
    }

    #[test]
    fn literals_are_those_of_the_type() {
        let cases: [(BigQueryType, ArrayRef, &str, &str); 4] = [
            (
                BigQueryType::Date,
                Arc::new(Date32Array::from(vec![Some(19_724), None, Some(-1)])),
                "DATE '1969-12-31'",
                "DATE '2024-01-02'",
            ),
            (
                BigQueryType::Timestamp,
                Arc::new(TimestampMicrosecondArray::from(vec![1, 2_000_000]).with_timezone("UTC")),
                "TIMESTAMP '1970-01-01T00:00:00.000001Z'",
                "TIMESTAMP '1970-01-01T00:00:02Z'",
            ),
            (
                BigQueryType::DateTime,
                Arc::new(TimestampMicrosecondArray::from(vec![0, 1])),
                "DATETIME '1970-01-01T00:00:00'",
                "DATETIME '1970-01-01T00:00:00.000001'",
            ),
            (BigQueryType::Int64, Arc::new(Int64Array::from(vec![7, -3, 5])), "-3", "7"),
        ];
        for (data_type, array, low, high) in cases {
            let by = table(json!({"timePartitioning": {"type": "DAY", "field": "at"}}));
            let range = Range::of(&by, &columns(data_type), &[0, 1]).unwrap();
            assert_eq!(range.literals(), None);
            let ids = Arc::new(Int64Array::from(vec![0; array.len()])) as ArrayRef;
            range.add(&RecordBatch::try_from_iter([("id", ids), ("at", array)]).unwrap());
            assert_eq!(range.literals(), Some((low.to_owned(), high.to_owned())));
        }
    }
}
