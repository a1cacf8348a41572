//! The ranges of partitioning and clustering columns in the staged rows, so that a merge reads only the partitions
//! and blocks it meets.
//!
//! They hold only for columns of the key: a row whose partitioning column changed would be looked for in the wrong
//! partition, and inserted a second time.

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
    column: usize,
    /// Whether the target is partitioned by it.
    pub(crate) partitions: bool,
    data_type: BigQueryType,
    bounds: Mutex<Option<(i64, i64)>>,
}

/// A [`Range`] as SQL literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Index of the column in the load.
    pub(crate) column: usize,
    pub(crate) low: String,
    pub(crate) high: String,
}

impl Range {
    /// For a merge by `key` into `table`: the columns of the key that partition or cluster it.
    pub(crate) fn of(table: &Table, columns: &[TargetColumn], key: &[usize]) -> Vec<Self> {
        let time = table.time_partitioning.as_ref().and_then(|by| by.field.as_deref());
        let number = table.range_partitioning.as_ref().map(|by| by.field.as_str());
        let partition = time.or(number).filter(|field| !field.is_empty());
        let clusters = table.clustering.as_ref().map(|by| by.fields.as_slice()).unwrap_or_default();
        let mut ranges: Vec<Self> = Vec::new();
        for (field, partitions) in partition
            .map(|field| (field, true))
            .into_iter()
            .chain(clusters.iter().map(|f| (f.as_str(), false)))
        {
            let column = key.iter().find(|i| columns[**i].name.eq_ignore_ascii_case(field)).copied();
            let Some(column) = column.filter(|column| ranges.iter().all(|range| range.column != *column))
            else {
                continue;
            };
            let data_type = columns[column].data_type.clone();
            if matches!(
                data_type,
                BigQueryType::Date | BigQueryType::DateTime | BigQueryType::Timestamp | BigQueryType::Int64
            ) {
                ranges.push(Self { column, partitions, data_type, bounds: Mutex::new(None) });
            }
        }
        ranges
    }

    /// Takes note of the rows of a batch.
    pub(crate) fn add(&self, batch: &RecordBatch) {
        let Some((low, high)) = batch.columns().get(self.column).and_then(min_max) else { return };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        *bounds = Some(bounds.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
    }

    /// The bounds as SQL literals; `None` without rows.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        let (low, high) = (*self.bounds.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(Bounds { column: self.column, low: self.literal(low)?, high: self.literal(high)? })
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
    fn only_columns_of_the_key_that_lay_out_the_table_give_ranges() {
        let columns = columns(BigQueryType::Date);
        let of = |layout: serde_json::Value, key: &[usize]| -> Vec<(usize, bool)> {
            Range::of(&table(layout), &columns, key).iter().map(|r| (r.column, r.partitions)).collect()
        };
        let by_day = || json!({"timePartitioning": {"type": "DAY", "field": "At"}});
        assert_eq!(of(by_day(), &[0, 1]), [(1, true)]);
        assert_eq!(of(by_day(), &[0]), []);
        assert_eq!(of(json!({}), &[0, 1]), []);
        // By the time of arrival: no column.
        assert_eq!(of(json!({"timePartitioning": {"type": "DAY"}}), &[0, 1]), []);
        let by_number = json!({"rangePartitioning": {"field": "id",
            "range": {"start": "0", "end": "100", "interval": "10"}}});
        assert_eq!(of(by_number, &[0]), [(0, true)]);
        let mut both = by_day();
        both["clustering"] = json!({"fields": ["at", "Id", "other"]});
        assert_eq!(of(both.clone(), &[0, 1]), [(1, true), (0, false)]);
        assert_eq!(of(both, &[0]), [(0, false)]);
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
            let range = Range::of(&by, &columns(data_type), &[0, 1]).pop().unwrap();
            assert_eq!(range.bounds(), None);
            let ids = Arc::new(Int64Array::from(vec![0; array.len()])) as ArrayRef;
            range.add(&RecordBatch::try_from_iter([("id", ids), ("at", array)]).unwrap());
            let Bounds { low: lowest, high: highest, .. } = range.bounds().unwrap();
            assert_eq!((lowest.as_str(), highest.as_str()), (low, high));
        }
    }
}
