//! What a merge does about rows that the source deleted.

use arrow_array::RecordBatch;
use jiff::Timestamp;

use super::CursorFilter;
use crate::batch::without_rows;
use crate::error::Result;
use crate::schema::{DeletedWhen, Tombstone};

/// What becomes of rows of the target whose key the source has no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// They are removed.
    Remove,
    /// They stay, with a time in a column of the target; rows that have one already keep it. When the key comes back
    /// the column is NULL again.
    Mark {
        /// The column, a TIMESTAMP.
        column: String,
        /// The time.
        at: Timestamp,
    },
}

/// What a merge does about rows that the source deleted. Nothing, by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deletes {
    /// The writer is told all keys of the source ([`LoadWriter::keep`](super::LoadWriter::keep)), those of the load
    /// among them, and this becomes of the rows that were in the target before and have none of them.
    pub missing: Option<Missing>,
    /// Which rows of the load say of themselves that they are deleted.
    pub tombstone: Option<Tombstone>,
    /// Such rows are not written, and rows of the target with their key are removed. Otherwise they are rows like
    /// others, which keep their mark although the source has their key.
    pub remove_tombstones: bool,
}

impl Deletes {
    /// The rows of the load that are not written.
    #[must_use]
    pub fn removed(&self) -> Option<&Tombstone> {
        self.tombstone.as_ref().filter(|_| self.remove_tombstones)
    }

    /// The column that marks rows that are missing at the source, if that is done.
    #[must_use]
    pub fn mark(&self) -> Option<(&str, Timestamp)> {
        match &self.missing {
            Some(Missing::Mark { column, at }) => Some((column, *at)),
            _ => None,
        }
    }
}

/// What the keys of the source say about the target as it was before the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyComparison {
    /// Rows that are not marked.
    pub rows: u64,
    /// Those of them whose key the source has no longer: they are removed or marked.
    pub gone: u64,
    /// Marked rows whose key the source has (again), and that do not say of themselves that they are deleted: their
    /// mark is taken away.
    pub back: u64,
    /// What the destination bills for the comparison, in bytes, where it does and tells.
    pub bytes_billed: Option<u64>,
}

impl KeyComparison {
    /// Whether no row of the target is concerned.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.gone == 0 && self.back == 0
    }
}

/// Which rows of a table are meant. All, by default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Extent<'a> {
    /// Those in a window over the target's columns.
    pub window: Option<&'a CursorFilter>,
    /// Without those at the upper end of the window, which are another load's.
    pub hi_open: bool,
    /// Those that are not marked in this column.
    pub unmarked_in: Option<&'a str>,
}

impl Extent<'_> {
    /// The rows of a batch that are meant; for destinations that select by themselves.
    ///
    /// # Errors
    /// As [`CursorFilter::select`]. A column that the batch lacks marks no row.
    pub fn select(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut batch = self.window.map_or_else(|| Ok(batch.clone()), |window| window.select(batch))?;
        if let Some(window) = self.window.filter(|_| self.hi_open)
            && let (Some(hi), Some(column)) = (&window.hi, batch.column_by_name(&window.column))
        {
            let at_end = hi.rows_in(column)?;
            batch = without_rows(batch, &at_end)?;
        }
        let schema = batch.schema();
        let named = |name: &str| schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name));
        match self.unmarked_in.and_then(named) {
            Some(mark) => Tombstone { column: mark.name().clone(), when: DeletedWhen::NotNull }.alive(&batch),
            None => Ok(batch),
        }
    }
}
