//! Rows at the watermark: read again by the next `append`, and dropped if they were loaded already.
//!
//! Rows are told apart by a hash of their key, or of all their columns where the table has no key. The
//! hashes form a multiset, so that two equal rows are two rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_data::ArrayData;
use arrow_schema::{DataType, FieldRef};
use arrow_select::filter::filter_record_batch;

use crate::connector::{BoundaryRows, LoadRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{CursorValue, TableSchema};

/// Most distinct rows that may share the highest cursor value.
const MOST_ROWS: usize = 1_000_000;

/// Drops rows that earlier loads have, and remembers those at the new watermark.
#[derive(Debug)]
pub(super) struct Boundary {
    cursor: String,
    columns: Vec<String>,
    lo: Option<CursorValue>,
    hi: CursorValue,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Loaded already at `lo`, not met yet in this run.
    known: BTreeMap<String, u64>,
    /// Loaded at `hi`, by this run or before.
    at_hi: BTreeMap<String, u64>,
}

impl Boundary {
    pub(super) fn new(
        table: &TableSchema,
        cursor: &str,
        lo: Option<CursorValue>,
        hi: CursorValue,
        last: Option<&LoadRecord>,
    ) -> Result<Self> {
        let mut columns: Vec<String> = table.primary_key.clone();
        if columns.is_empty() || columns.iter().any(|column| table.column(column).is_err()) {
            columns = table.columns.iter().map(|column| column.name.clone()).collect();
        }
        let mut known = BTreeMap::new();
        if let Some(last) = last.filter(|last| !last.boundary.hashes.is_empty()) {
            columns.clone_from(&last.boundary.columns);
            known.clone_from(&last.boundary.hashes);
            for column in &columns {
                table.column(column).map_err(|error| {
                    Error::new(
                        ErrorKind::SchemaChanged,
                        format!(
                            "column `{column}` tells which rows at the watermark are loaded, and is gone"
                        ),
                    )
                    .source_error(error)
                    .hint("load the column again, or give the job a new name to start afresh")
                })?;
            }
        }
        // Rows at an unchanged watermark stay remembered.
        let unmoved = lo.as_ref() == Some(&hi);
        let at_hi = if unmoved { known.clone() } else { BTreeMap::new() };
        let state = Mutex::new(State { known, at_hi });
        Ok(Self { cursor: cursor.to_owned(), columns, lo, hi, state })
    }

    /// The batch without rows that earlier loads have, and how many those were.
    pub(super) fn filter(&self, batch: RecordBatch) -> Result<(RecordBatch, u64)> {
        let column = batch
            .column_by_name(&self.cursor)
            .ok_or_else(|| Error::internal(format!("the batch has no cursor column `{}`", self.cursor)))?;
        let mut dropped = vec![];
        if let Some(lo) = &self.lo {
            let rows = equal_rows(column, lo)?;
            if !rows.is_empty() {
                let hashes = self.hashes(&batch, &rows)?;
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                for (row, hash) in rows.into_iter().zip(hashes) {
                    if let Some(count) = state.known.get_mut(&hash).filter(|count| **count > 0) {
                        *count -= 1;
                        dropped.push(row);
                    }
                }
            }
        }
        let batch = without(batch, &dropped)?;
        let column = batch.column_by_name(&self.cursor).map(Arc::clone);
        if let Some(column) = column {
            self.remember(&batch, &column)?;
        }
        Ok((batch, u64::try_from(dropped.len()).unwrap_or(u64::MAX)))
    }

    fn remember(&self, batch: &RecordBatch, cursor: &ArrayRef) -> Result<()> {
        let rows = equal_rows(cursor, &self.hi)?;
        if rows.is_empty() {
            return Ok(());
        }
        let hashes = self.hashes(batch, &rows)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes {
            *state.at_hi.entry(hash).or_default() += 1;
        }
        if state.at_hi.len() > MOST_ROWS {
            return Err(Error::data(format!(
                "more than {MOST_ROWS} rows share the highest value {} of cursor `{}`",
                self.hi, self.cursor
            ))
            .hint("choose a finer cursor, set `load.lag`, or use `merge` with a key"));
        }
        Ok(())
    }

    /// What the next run must know.
    pub(super) fn into_rows(self) -> BoundaryRows {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        BoundaryRows { columns: self.columns, hashes: state.at_hi }
    }

    fn hashes(&self, batch: &RecordBatch, rows: &[usize]) -> Result<Vec<String>> {
        let options = FormatOptions::default();
        let mut columns = Vec::with_capacity(self.columns.len());
        for name in &self.columns {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::internal(format!("the batch has no column `{name}`")))?;
            columns.push(without_zones(column)?);
        }
        let columns = columns
            .iter()
            .map(|column| Ok((column, ArrayFormatter::try_new(column.as_ref(), &options)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut hashes = Vec::with_capacity(rows.len());
        for row in rows {
            let mut hasher = blake3::Hasher::new();
            for (column, formatter) in &columns {
                if column.is_null(*row) {
                    hasher.update(b"\x00N");
                } else {
                    let text = formatter.value(*row).try_to_string()?;
                    // The length makes ("a", "bc") and ("ab", "c") different.
                    hasher.update(&text.len().to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
            hashes.push(hasher.finalize().to_hex()[..32].to_owned());
        }
        Ok(hashes)
    }
}

/// The same instants without their zone: Arrow prints a zoned one only with a time zone database, and which
/// zone an instant is told in is no difference.
fn without_zones(column: &ArrayRef) -> Result<ArrayRef> {
    let data = zoneless_data(column.to_data())?;
    Ok(arrow_array::make_array(data))
}

fn zoneless_data(data: ArrayData) -> Result<ArrayData> {
    let data_type = zoneless(data.data_type());
    if data_type == *data.data_type() {
        return Ok(data);
    }
    let children = data.child_data().iter().cloned().map(zoneless_data).collect::<Result<_>>()?;
    Ok(data.into_builder().data_type(data_type).child_data(children).build()?)
}

fn zoneless(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| {
        let data_type = zoneless(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

/// Rows whose cursor equals `value`. One comparison of the whole column decides the common case of none.
fn equal_rows(column: &ArrayRef, value: &CursorValue) -> Result<Vec<usize>> {
    let mut rows = Vec::new();
    // The first equal row gives an Arrow scalar, with which the kernel finds the others.
    for row in 0..column.len() {
        let this = CursorValue::from_array(column, row)?;
        if this.as_ref().is_some_and(|this| this.compare(value).is_some_and(std::cmp::Ordering::is_eq)) {
            let scalar = Scalar::new(column.slice(row, 1));
            let equal = arrow_ord::cmp::eq(column, &scalar)?;
            rows.extend(equal.iter().enumerate().filter(|(_, e)| *e == Some(true)).map(|(row, _)| row));
            break;
        }
    }
    Ok(rows)
}

fn without(batch: RecordBatch, dropped: &[usize]) -> Result<RecordBatch> {
    if dropped.is_empty() {
        return Ok(batch);
    }
    let mut keep = vec![true; batch.num_rows()];
    for row in dropped {
        if let Some(slot) = keep.get_mut(*row) {
            *slot = false;
        }
    }
    Ok(filter_record_batch(&batch, &BooleanArray::from(keep))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ColumnSchema, TableRef};
    use arrow_array::{Int64Array, StringArray};

    fn batch(rows: &[(i64, &str)]) -> RecordBatch {
        let at = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let what = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        RecordBatch::try_from_iter([("at", Arc::new(at) as _), ("what", Arc::new(what) as _)]).unwrap()
    }

    fn table() -> TableSchema {
        let columns = vec![
            ColumnSchema::new("at", "bigint", DataType::Int64),
            ColumnSchema::new("what", "text", DataType::Utf8),
        ];
        TableSchema::new(TableRef::unqualified("t"), columns)
    }

    #[test]
    fn equal_rows_at_the_watermark_are_a_multiset() {
        let first = Boundary::new(&table(), "at", None, CursorValue::Int(2), None).unwrap();
        let (kept, dropped) = first.filter(batch(&[(1, "a"), (2, "x"), (2, "x"), (2, "y")])).unwrap();
        assert_eq!((kept.num_rows(), dropped), (4, 0));
        let last = LoadRecord { boundary: first.into_rows(), ..LoadRecord::default() };

        // A third equal row and a new one arrived late with the same cursor.
        let lo = Some(CursorValue::Int(2));
        let next = Boundary::new(&table(), "at", lo, CursorValue::Int(3), Some(&last)).unwrap();
        let late = batch(&[(2, "x"), (2, "z"), (2, "x"), (2, "y"), (2, "x"), (3, "n")]);
        let (kept, dropped) = next.filter(late).unwrap();
        assert_eq!(dropped, 3);
        assert_eq!(kept, batch(&[(2, "z"), (2, "x"), (3, "n")]));
        assert_eq!(next.into_rows().hashes.len(), 1);
    }

    #[test]
    fn instants_are_told_apart_whatever_their_zone() {
        let at = |zone: &str, values: Vec<i64>| -> ArrayRef {
            Arc::new(arrow_array::TimestampMicrosecondArray::from(values).with_timezone(zone))
        };
        let list = |zone: &str, values: Vec<i64>| -> ArrayRef {
            let values = at(zone, values);
            let item = Arc::new(arrow_schema::Field::new("item", values.data_type().clone(), true));
            let offsets = arrow_buffer::OffsetBuffer::from_lengths(vec![1; values.len()]);
            Arc::new(arrow_array::ListArray::new(item, offsets, values, None))
        };
        let zones = [("UTC", vec![1, 2, 2]), ("Europe/Berlin", vec![2, 1, 2])];
        let plain = zones.clone().map(|(zone, values)| at(zone, values));
        let nested = zones.map(|(zone, values)| list(zone, values));
        for [utc, berlin] in [plain, nested] {
            let columns = vec![ColumnSchema::new("at", "timestamptz", utc.data_type().clone())];
            let table = TableSchema::new(TableRef::unqualified("t"), columns);
            let boundary = Boundary::new(&table, "at", None, CursorValue::Int(2), None).unwrap();
            let hashes = |array: ArrayRef| {
                let batch = RecordBatch::try_from_iter([("at", array)]).unwrap();
                boundary.hashes(&batch, &[0, 1, 2]).unwrap()
            };
            let (utc, berlin) = (hashes(utc), hashes(berlin));
            assert_eq!((&utc[0], &utc[1], &utc[1]), (&berlin[1], &berlin[0], &utc[2]));
            assert_ne!(utc[0], utc[1]);
        }
    }

    #[test]
    fn an_unmoved_watermark_keeps_what_it_knew() {
        let first = Boundary::new(&table(), "at", None, CursorValue::Int(2), None).unwrap();
        first.filter(batch(&[(2, "x")])).unwrap();
        let last = LoadRecord { boundary: first.into_rows(), ..LoadRecord::default() };
        let lo = Some(CursorValue::Int(2));
        let next = Boundary::new(&table(), "at", lo, CursorValue::Int(2), Some(&last)).unwrap();
        let (kept, dropped) = next.filter(batch(&[(2, "x"), (2, "late")])).unwrap();
        assert_eq!((kept.num_rows(), dropped), (1, 1));
        assert_eq!(next.into_rows().hashes.len(), 2);
    }
}
