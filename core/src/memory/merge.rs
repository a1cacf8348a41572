//! Merging into a table in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_row::{OwnedRow, RowConverter, SortField};
use arrow_select::filter::filter_record_batch;
use arrow_select::zip::zip;

use crate::connector::{Deletes, KeyComparison, LoadOutcome, LoadRequest, Missing, WriteMode};
use crate::error::{Error, Result};
use crate::schema::{CursorValue, Tombstone};

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The keys of a batch; `None` for one that holds NULL.
fn keys(batch: &RecordBatch, key: &[String]) -> Result<Vec<Option<OwnedRow>>> {
    let mut columns = Vec::with_capacity(key.len());
    for name in key {
        let column =
            batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no key column {name}")))?;
        columns.push(Arc::clone(column));
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let key = |(row, key): (usize, arrow_row::Row<'_>)| {
        columns.iter().all(|column| column.is_valid(row)).then(|| key.owned())
    };
    Ok(rows.iter().enumerate().map(key).collect())
}

/// Index of the column that marks rows, if it is there.
fn mark_column(batch: &RecordBatch, name: &str) -> Option<usize> {
    batch.schema().fields().iter().position(|field| field.name().eq_ignore_ascii_case(name))
}

/// The keys of a load, none of which may be NULL.
fn keys_of_load(batch: &RecordBatch, key: &[String]) -> Result<Vec<OwnedRow>> {
    let keys = keys(batch, key)?.into_iter().collect::<Option<Vec<_>>>();
    keys.ok_or_else(|| {
        let null = |name: &&String| batch.column_by_name(name).is_some_and(|column| column.null_count() > 0);
        let name = key.iter().find(null).map(String::as_str).unwrap_or_default();
        Error::data(format!("key column `{name}` holds NULL, so rows cannot be merged by it"))
            .with("column", name)
            .hint("choose key columns that are never NULL")
    })
}

/// What becomes of the rows that are there, by the keys of the source.
#[derive(Debug, Default)]
pub(super) struct Kept {
    gone: Vec<bool>,
    back: Vec<bool>,
    missing: Option<Missing>,
}

/// Compares the keys that the source has with the rows that are there.
pub(super) fn compare(
    old: &RecordBatch,
    request: &LoadRequest,
    told: &[RecordBatch],
) -> Result<(KeyComparison, Kept)> {
    let Deletes { missing, tombstone, .. } = &request.deletes;
    let (Some(missing), WriteMode::Merge { key, .. }) = (missing, &request.mode) else {
        return Ok((KeyComparison::default(), Kept::default()));
    };
    let mut known = HashSet::new();
    for batch in told {
        known.extend(keys(batch, key)?.into_iter().flatten());
    }
    let marks = match missing {
        Missing::Mark { column, .. } => mark_column(old, column).map(|index| old.column(index)),
        Missing::Remove => None,
    };
    let dead = tombstone.as_ref().map(|tombstone| tombstone.rows(old)).transpose()?;
    let mut compared = KeyComparison::default();
    let mut kept = Kept { missing: Some(missing.clone()), ..Kept::default() };
    for (row, key) in keys(old, key)?.into_iter().enumerate() {
        // Rows without a key are left alone.
        let Some(key) = key else {
            kept.gone.push(false);
            kept.back.push(false);
            continue;
        };
        let there = known.contains(&key);
        let marked = marks.is_some_and(|marks| marks.is_valid(row));
        let says_so = dead.as_ref().is_some_and(|dead| dead.value(row));
        kept.gone.push(!marked && !there);
        kept.back.push(marked && there && !says_so);
        compared.rows += u64::from(!marked);
    }
    compared.gone = count(kept.gone.iter().filter(|gone| **gone).count());
    compared.back = count(kept.back.iter().filter(|back| **back).count());
    Ok((compared, kept))
}

impl Kept {
    /// The rows that are there without those that are removed, and with the marks as they must be.
    pub(super) fn apply(
        self,
        old: &RecordBatch,
        key: &[String],
        new: &RecordBatch,
        outcome: &mut LoadOutcome,
    ) -> Result<RecordBatch> {
        let Some(missing) = self.missing else { return Ok(old.clone()) };
        let gone = BooleanArray::from(self.gone);
        match missing {
            Missing::Remove => {
                outcome.deleted = count(gone.true_count());
                Ok(filter_record_batch(old, &BooleanArray::new(!gone.values(), None))?)
            }
            Missing::Mark { column, at } => {
                let index = mark_column(old, &column)
                    .ok_or_else(|| Error::internal(format!("no mark column {column}")))?;
                let replaced: HashSet<OwnedRow> = keys(new, key)?.into_iter().flatten().collect();
                let stays =
                    keys(old, key)?.into_iter().map(|key| key.is_none_or(|key| !replaced.contains(&key)));
                let back = self.back.iter().zip(stays).filter(|(back, stays)| **back && *stays);
                (outcome.marked, outcome.unmarked) = (count(gone.true_count()), count(back.count()));
                let time = TimestampMicrosecondArray::from(vec![at.as_microsecond()]).with_timezone("UTC");
                let none = TimestampMicrosecondArray::new_null(1).with_timezone("UTC");
                let marks = zip_scalar(&gone, &time, old.column(index))?;
                let marks = zip_scalar(&BooleanArray::from(self.back), &none, &marks)?;
                let mut columns = old.columns().to_vec();
                if let Some(place) = columns.get_mut(index) {
                    *place = marks;
                }
                Ok(RecordBatch::try_new(old.schema(), columns)?)
            }
        }
    }
}

/// One value where `wanted` says so.
fn zip_scalar(
    wanted: &BooleanArray,
    value: &TimestampMicrosecondArray,
    others: &ArrayRef,
) -> Result<ArrayRef> {
    Ok(zip(wanted, &arrow_array::Scalar::new(value), others)?)
}

pub(super) fn merge(
    old: &RecordBatch,
    new: &RecordBatch,
    key: &[String],
    order_by: Option<&str>,
    removed: Option<&Tombstone>,
    outcome: &mut LoadOutcome,
) -> Result<RecordBatch> {
    let order = order_by.and_then(|name| new.column_by_name(name));
    let dead = removed.map(|tombstone| tombstone.rows(new)).transpose()?;
    let dead = |row: usize| dead.as_ref().is_some_and(|dead| dead.value(row));
    let mut winners: HashMap<OwnedRow, usize> = HashMap::new();
    for (row, key) in keys_of_load(new, key)?.into_iter().enumerate() {
        let best = winners.entry(key).or_insert(row);
        let wins = match order {
            None => true,
            Some(column) => {
                let (a, b) = (CursorValue::from_array(column, row)?, CursorValue::from_array(column, *best)?);
                match (&a, &b) {
                    (Some(a), Some(b)) => a.compare(b).is_none_or(std::cmp::Ordering::is_ge),
                    (a, b) => a.is_some() >= b.is_some(),
                }
            }
        };
        if wins {
            *best = row;
        }
    }
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for (row, key) in keys(old, key)?.into_iter().enumerate() {
        match key.and_then(|key| winners.get(&key)) {
            Some(winner) if dead(*winner) => outcome.deleted += 1,
            Some(_) => outcome.updated += 1,
            None => taken.push((0, row)),
        }
    }
    outcome.superseded = count(new.num_rows() - winners.len());
    let mut rows: Vec<usize> = winners.into_values().filter(|row| !dead(*row)).collect();
    rows.sort_unstable();
    outcome.inserted = count(rows.len()).saturating_sub(outcome.updated);
    taken.extend(rows.into_iter().map(|row| (1, row)));
    Ok(arrow_select::interleave::interleave_record_batch(&[old, new], &taken)?)
}
