//! Rows that a run meets again: those at the watermark and those without a cursor, dropped if they were loaded
//! already, and those at an end of a range that belongs to another one.
//!
//! Rows are told apart by a hash: under `append` of their key, or of all their columns where the table has no key;
//! under `merge` of all their columns, so that a changed row is loaded. The hashes form a multiset, so that two equal
//! rows are two rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_data::ArrayData;
use arrow_schema::{DataType, FieldRef};

use super::window::{Place, Range};
use crate::batch::without_rows;
use crate::connector::{BoundaryRows, LoadRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{CursorValue, TableSchema};

/// Most distinct rows that may share the highest cursor value, or have none.
const MOST_ROWS: usize = 1_000_000;

type Hashes = BTreeMap<String, u64>;

/// Drops rows that earlier loads have, and remembers those at the new watermark.
#[derive(Debug)]
pub(super) struct Boundary {
    cursor: String,
    columns: Vec<String>,
    /// Content counts, and rows that are gone are forgotten.
    merge: bool,
    /// Rows of this value may be loaded already.
    known_at: Option<CursorValue>,
    /// Rows of this value are what the next run must know.
    remember_at: Option<CursorValue>,
    /// Rows of this value belong to another range.
    beyond: Option<CursorValue>,
    /// Rows without a cursor value are read.
    nulls: bool,
    most_rows: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rows with the watermark as their cursor.
    at_watermark: Rows,
    /// Rows without a cursor.
    nulls: Rows,
}

#[derive(Debug, Default)]
struct Rows {
    /// Loaded already, not met yet in this run.
    known: Hashes,
    /// Loaded by this run or before.
    loaded: Hashes,
    /// There were too many to remember them.
    lost: bool,
}

/// What becomes of the rows of one value.
#[derive(Debug, Clone, Copy)]
struct Treat {
    drop_known: bool,
    remember: bool,
    nulls: bool,
}

impl Boundary {
    /// `columns` are all columns that are read.
    pub(super) fn new(
        table: &TableSchema,
        cursor: &str,
        merge: bool,
        range: &Range,
        last: Option<&LoadRecord>,
    ) -> Result<Self> {
        let all = || table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        let mut columns = if merge { Vec::new() } else { table.primary_key.clone() };
        if columns.is_empty() || columns.iter().any(|column| table.column(column).is_err()) {
            columns = all();
        }
        let mut state = State::default();
        let known = |rows: &&BoundaryRows| !rows.hashes.is_empty() || !rows.nulls.is_empty();
        if let Some(rows) = last.map(|last| &last.boundary).filter(known) {
            if !merge {
                columns.clone_from(&rows.columns);
                still_there(table, &columns)?;
            }
            // Of another choice of columns, content cannot be compared: those rows are merged once more.
            if columns == rows.columns {
                state.at_watermark.known.clone_from(&rows.hashes);
                state.nulls.known.clone_from(&rows.nulls);
            }
        }
        let top = range.place == Place::Top;
        let watermark = last.and_then(|last| last.watermark.clone());
        let known_at = watermark.filter(|watermark| top && range.lo.as_ref() == Some(watermark));
        let remember_at = range.hi.clone().filter(|_| top && range.hi_inclusive);
        if !merge {
            // What was loaded stays loaded, whether it is met again or not.
            if remember_at.is_some() && remember_at == known_at {
                state.at_watermark.loaded.clone_from(&state.at_watermark.known);
            }
            state.nulls.loaded.clone_from(&state.nulls.known);
            if !top && let Some(last) = last {
                state.at_watermark.loaded.clone_from(&last.boundary.hashes);
            }
        }
        Ok(Self {
            cursor: cursor.to_owned(),
            columns,
            merge,
            known_at,
            remember_at,
            beyond: range.hi.clone().filter(|_| !range.hi_inclusive),
            nulls: range.nulls,
            most_rows: MOST_ROWS,
            state: Mutex::new(state),
        })
    }

    /// The batch without rows that earlier loads have or that are another range's, and how many those were.
    pub(super) fn filter(&self, batch: RecordBatch) -> Result<(RecordBatch, u64)> {
        let column = batch
            .column_by_name(&self.cursor)
            .ok_or_else(|| Error::internal(format!("the batch has no cursor column `{}`", self.cursor)))?;
        let mut dropped = match &self.beyond {
            Some(beyond) => beyond.rows_in(column)?,
            None => Vec::new(),
        };
        let unmoved = self.known_at == self.remember_at;
        let treat = Treat { drop_known: true, remember: unmoved, nulls: false };
        self.meet(&batch, self.known_at.as_ref(), treat, &mut dropped)?;
        if !unmoved {
            let treat = Treat { drop_known: false, remember: true, nulls: false };
            self.meet(&batch, self.remember_at.as_ref(), treat, &mut dropped)?;
        }
        if self.nulls && column.null_count() > 0 {
            let rows: Vec<usize> = (0..column.len()).filter(|row| column.is_null(*row)).collect();
            let treat = Treat { drop_known: true, remember: true, nulls: true };
            self.treat(&batch, rows, treat, &mut dropped)?;
        }
        let count = u64::try_from(dropped.len()).unwrap_or(u64::MAX);
        Ok((without_rows(batch, &dropped)?, count))
    }

    /// The rows of a batch that the destination has after this load, be it by an earlier one.
    pub(super) fn at_destination(&self, batch: RecordBatch) -> Result<RecordBatch> {
        match (&self.beyond, batch.column_by_name(&self.cursor)) {
            (Some(beyond), Some(column)) => {
                let dropped = beyond.rows_in(column)?;
                without_rows(batch, &dropped)
            }
            _ => Ok(batch),
        }
    }

    /// Treats the rows of one cursor value.
    fn meet(
        &self,
        batch: &RecordBatch,
        value: Option<&CursorValue>,
        treat: Treat,
        dropped: &mut Vec<usize>,
    ) -> Result<()> {
        let (Some(value), Some(column)) = (value, batch.column_by_name(&self.cursor)) else { return Ok(()) };
        self.treat(batch, value.rows_in(column)?, treat, dropped)
    }

    fn treat(
        &self,
        batch: &RecordBatch,
        found: Vec<usize>,
        treat: Treat,
        dropped: &mut Vec<usize>,
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let hashes = self.hashes(batch, &found)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = if treat.nulls { &mut state.nulls } else { &mut state.at_watermark };
        for (row, hash) in found.into_iter().zip(hashes) {
            let known = match rows.known.get_mut(&hash) {
                Some(count) if treat.drop_known && *count > 0 => {
                    *count -= 1;
                    dropped.push(row);
                    true
                }
                _ => false,
            };
            // `merge` remembers what is there now, `append` what was ever loaded, of which known rows are counted.
            if treat.remember && (self.merge || !known) && !rows.lost {
                *rows.loaded.entry(hash).or_default() += 1;
            }
        }
        if rows.loaded.len() > self.most_rows {
            if !self.merge {
                return Err(self.too_many(treat.nulls));
            }
            // They are merged again by the next run, which changes nothing.
            (rows.loaded, rows.lost) = (Hashes::new(), true);
        }
        Ok(())
    }

    fn too_many(&self, nulls: bool) -> Error {
        let (most, cursor) = (self.most_rows, &self.cursor);
        match (&self.remember_at, nulls) {
            (Some(hi), false) => Error::data(format!(
                "more than {most} rows share the highest value {hi} of cursor `{cursor}`"
            ))
            .hint("choose a finer cursor, set `load.lag`, or use `merge` with a key"),
            _ => Error::data(format!("more than {most} rows have no value in the cursor column `{cursor}`"))
                .hint(
                    "set `load.on_null_cursor` to \"warn\", choose another cursor, or use `merge` with a key",
                ),
        }
    }

    /// What the next run must know.
    pub(super) fn into_rows(self) -> BoundaryRows {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        BoundaryRows { columns: self.columns, hashes: state.at_watermark.loaded, nulls: state.nulls.loaded }
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

/// Columns by which earlier loads told rows apart.
fn still_there(table: &TableSchema, columns: &[String]) -> Result<()> {
    for column in columns {
        table.column(column).map_err(|error| {
            Error::new(
                ErrorKind::SchemaChanged,
                format!("column `{column}` tells which rows at the watermark are loaded, and is gone"),
            )
            .source_error(error)
            .hint("load the column again, or give the job a new name to start afresh")
        })?;
    }
    Ok(())
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

    fn range(place: Place, lo: Option<i64>, hi: i64) -> Range {
        let (lo, hi) = (lo.map(CursorValue::Int), Some(CursorValue::Int(hi)));
        Range { place, lo, lo_inclusive: true, hi, hi_inclusive: true, hi_loaded: false, nulls: true }
    }

    fn top(lo: Option<i64>, hi: i64) -> Range {
        range(Place::Top, lo, hi)
    }

    fn begin(merge: bool, range: &Range, last: Option<&LoadRecord>) -> Boundary {
        Boundary::new(&table(), "at", merge, range, last).unwrap()
    }

    /// The record of a load that ended at a value.
    fn record(hi: i64, boundary: Boundary) -> LoadRecord {
        let watermark = Some(CursorValue::Int(hi));
        LoadRecord { boundary: boundary.into_rows(), watermark, ..LoadRecord::default() }
    }

    fn filtered(boundary: &Boundary, rows: &[(i64, &str)]) -> (RecordBatch, u64) {
        boundary.filter(batch(rows)).unwrap()
    }

    #[test]
    fn equal_rows_at_the_watermark_are_a_multiset() {
        let first = begin(false, &top(None, 2), None);
        let (kept, dropped) = filtered(&first, &[(1, "a"), (2, "x"), (2, "x"), (2, "y")]);
        assert_eq!((kept.num_rows(), dropped), (4, 0));
        let last = record(2, first);

        // A third equal row and a new one arrived late with the same cursor.
        let next = begin(false, &top(Some(2), 3), Some(&last));
        let late = [(2, "x"), (2, "z"), (2, "x"), (2, "y"), (2, "x"), (3, "n")];
        let (kept, dropped) = filtered(&next, &late);
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
            let boundary = Boundary::new(&table, "at", false, &top(None, 2), None).unwrap();
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
        let first = begin(false, &top(None, 2), None);
        filtered(&first, &[(2, "x")]);
        let last = record(2, first);
        let next = begin(false, &top(Some(2), 2), Some(&last));
        let (kept, dropped) = filtered(&next, &[(2, "x"), (2, "late")]);
        assert_eq!((kept.num_rows(), dropped), (1, 1));
        assert_eq!(next.into_rows().hashes.len(), 2);
    }

    #[test]
    fn merge_drops_rows_that_it_has_with_this_content() {
        let first = begin(true, &top(None, 2), None);
        filtered(&first, &[(1, "a"), (2, "x"), (2, "y")]);
        let last = record(2, first);
        let again = |last: &LoadRecord, lo, rows: &[(i64, &str)]| {
            let next = begin(true, &top(Some(lo), 2), Some(last));
            let (kept, dropped) = filtered(&next, rows);
            (kept.num_rows(), dropped, record(2, next))
        };
        let (kept, dropped, _) = again(&last, 2, &[(2, "x"), (2, "y")]);
        assert_eq!((kept, dropped), (0, 2));
        // A row that changes back must be written again: only what is there now is remembered.
        let (kept, dropped, changed) = again(&last, 2, &[(2, "X"), (2, "y")]);
        assert_eq!((kept, dropped), (1, 1));
        let (kept, dropped, _) = again(&changed, 2, &[(2, "x"), (2, "y")]);
        assert_eq!((kept, dropped), (1, 1));
        // With a lookback older versions of a row may be read beside it, and the newest must win: nothing is dropped.
        assert_eq!(again(&last, 1, &[(2, "x"), (2, "y")]).0, 2);
    }

    #[test]
    fn rows_at_an_end_of_another_range_are_left_to_it() {
        let first = begin(false, &top(Some(5), 9), None);
        filtered(&first, &[(9, "nine")]);
        let last = record(9, first);
        let gap = Range { hi_inclusive: false, hi_loaded: true, ..range(Place::Gap, Some(2), 5) };
        let below = begin(false, &gap, Some(&last));
        let (kept, dropped) = filtered(&below, &[(2, "two"), (5, "five"), (5, "five")]);
        assert_eq!((kept, dropped), (batch(&[(2, "two")]), 2));
        // What is known of the watermark stays.
        assert_eq!(below.into_rows(), last.boundary);
        // `until`: the rows there are the next job's, or this one's once it is moved on.
        let until = Range { hi_inclusive: false, ..top(None, 5) };
        let first = begin(false, &until, None);
        assert_eq!(filtered(&first, &[(4, "four"), (5, "five")]).1, 1);
        assert_eq!(first.at_destination(batch(&[(4, "four"), (5, "five")])).unwrap().num_rows(), 1);
        let next = begin(false, &top(Some(5), 6), Some(&record(5, first)));
        assert_eq!(filtered(&next, &[(5, "five"), (6, "six")]).0.num_rows(), 2);
    }

    fn nullable(rows: &[(Option<i64>, &str)]) -> RecordBatch {
        let at = Int64Array::from_iter(rows.iter().map(|row| row.0));
        let what = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        RecordBatch::try_from_iter([("at", Arc::new(at) as _), ("what", Arc::new(what) as _)]).unwrap()
    }

    #[test]
    fn rows_without_a_cursor_are_loaded_once() {
        for merge in [false, true] {
            let first = begin(merge, &top(None, 2), None);
            first.filter(nullable(&[(None, "x"), (None, "x"), (Some(2), "y")])).unwrap();
            let last = record(2, first);
            let next = begin(merge, &top(Some(2), 2), Some(&last));
            let rows = nullable(&[(None, "x"), (None, "z"), (None, "x"), (None, "x"), (Some(2), "y")]);
            let (kept, dropped) = next.filter(rows).unwrap();
            assert_eq!((kept, dropped), (nullable(&[(None, "z"), (None, "x")]), 3));
            let known = next.into_rows().nulls;
            assert_eq!(known.values().sum::<u64>(), 4, "{known:?}");
        }
    }

    #[test]
    fn too_many_rows_at_one_value_are_refused_by_append_and_merged_again_by_merge() {
        let crowd: Vec<_> = (0..5).map(|row| row.to_string()).collect();
        let crowd: Vec<_> = crowd.iter().map(|what| (2, what.as_str())).collect();
        let of = |merge| Boundary { most_rows: 4, ..begin(merge, &top(None, 2), None) };
        let error = of(false).filter(batch(&crowd)).unwrap_err();
        assert!(error.message().contains("share the highest value 2"), "{error}");
        let merge = of(true);
        merge.filter(batch(&crowd)).unwrap();
        assert_eq!(merge.into_rows().hashes, BTreeMap::new());
    }
}
