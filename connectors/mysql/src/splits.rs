//! Cutting a table into ranges of a key that an index leads with.

use serde_json::Value;
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue, Nanos};
use transload_core::{Error, Result};
use transload_sql::quote_backquoted;
use transload_sql::ranges::{self, Ranges};

use crate::catalog::Described;
use crate::filter::literal;
use crate::types::{ReadAs, Wire};

/// A column that ranges are made of.
#[derive(Debug, Clone)]
pub(crate) struct Key<'a> {
    column: &'a ColumnSchema,
    read: &'a ReadAs,
    /// The index that leads with it.
    index: &'a str,
}

impl Described {
    /// The key to cut a plan by; `None` where ranges do not help.
    pub(crate) fn key_for(&self, plan: &ReadPlan) -> Option<Key<'_>> {
        let bounded = plan.filter.as_ref().filter(|filter| filter.lo.is_some());
        self.leading.iter().find_map(|(name, index)| {
            // Rows of a range of a cursor are found by its own index, not by another one for each split.
            if bounded.is_some_and(|filter| filter.column != *name) {
                return None;
            }
            let (column, read) = self.column(name).ok()?;
            let is_number = !matches!(read.wire, Wire::Text | Wire::Bits | Wire::Bits64);
            (read.ordered && is_number).then_some(Key { column, read, index })
        })
    }

    /// The conditions of a part of a split, one for each statement.
    pub(crate) fn conditions(&self, part: &Value) -> Result<Vec<Vec<String>>> {
        let ranges = Ranges::of(part)?;
        let Some(name) = ranges.column() else { return Ok(vec![Vec::new()]) };
        let (column, read) = self.column(name)?;
        ranges.conditions(&quote_backquoted(name)?, column.nullable, |value| {
            Ok(literal(value, column, read)?.0)
        })
    }
}

impl Key<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    /// Lowest and highest value that a plan may have, as numbers.
    pub(crate) fn span(&self, summary: &CursorSummary, plan: &ReadPlan) -> Option<(i128, i128)> {
        ranges::span(self.name(), summary, plan)
    }

    /// The ranges between inner cuts.
    pub(crate) fn ranges(&self, cuts: Vec<i128>) -> Ranges {
        Ranges::between(self.name(), cuts, |ordinal| self.value(ordinal))
    }

    /// The reverse of [`ranges::ordinal`].
    fn value(&self, ordinal: i128) -> Option<CursorValue> {
        Some(match self.read.wire {
            Wire::Decimal128(_, scale) => CursorValue::Decimal(ordinal.to_string(), scale),
            Wire::Unsigned64 => CursorValue::Decimal(ordinal.to_string(), 0),
            Wire::Date => CursorValue::Date(i32::try_from(ordinal).ok()?),
            Wire::DateTime => CursorValue::DateTime(Nanos(ordinal * 1000)),
            Wire::Timestamp => CursorValue::Timestamp(Nanos(ordinal * 1000)),
            _ => CursorValue::Int(i64::try_from(ordinal).ok()?),
        })
    }

    /// What asks how many rows lie from one value on, and below another one, as the index's statistics have it.
    fn estimate_sql(&self, described: &Described, from: i128, below: Option<i128>) -> Result<String> {
        let text = |ordinal| {
            let value = self.value(ordinal).ok_or_else(|| Error::internal("a key beyond its own type"))?;
            Ok::<_, Error>(literal(&value, self.column, self.read)?.0)
        };
        let (index, name) = (quote_backquoted(self.index)?, quote_backquoted(&self.column.name)?);
        let below = match below {
            Some(below) => format!(" AND {name} < {}", text(below)?),
            None => String::new(),
        };
        let (table, from) = (&described.quoted, text(from)?);
        Ok(format!("EXPLAIN SELECT 1 FROM {table} FORCE INDEX ({index}) WHERE {name} >= {from}{below}"))
    }
}

/// Walks along the key in strides of about as many rows each, as `EXPLAIN` estimates them, which is a dive into the index.
///
/// InnoDB's estimates of ranges of more than a few pages are about twice the rows, and never more than half of the
/// table's; so they tell ranges of less than a quarter of the table from one another, and only such are asked for.
pub(crate) struct Walk<'a> {
    described: &'a Described,
    key: &'a Key<'a>,
    high: i128,
    /// Estimated rows of a stride.
    stride: u64,
    /// Where the stride begins, and between which values it ends; `None` while the rest of the table is asked for.
    from: i128,
    end: Option<(i128, i128)>,
    cuts: Vec<i128>,
    most: usize,
}

impl<'a> Walk<'a> {
    /// So many pieces at least are wanted.
    pub(crate) fn new(
        described: &'a Described,
        key: &'a Key<'a>,
        (low, high): (i128, i128),
        pieces: u64,
    ) -> Self {
        let strides = pieces.saturating_mul(2).max(8);
        let stride = (described.table.rows_estimate.unwrap_or(0) / strides).max(1);
        // The statistics may be old, and the table larger.
        let most = usize::try_from(strides.saturating_mul(8)).unwrap_or(usize::MAX);
        Self { described, key, high, stride, from: low, end: None, cuts: Vec::new(), most }
    }

    /// The next question, until none is left.
    pub(crate) fn question(&self) -> Result<Option<String>> {
        if self.cuts.len() >= self.most || self.from >= self.high {
            return Ok(None);
        }
        let below = self.end.map(|(low, high)| low + (high - low) / 2);
        self.key.estimate_sql(self.described, self.from, below).map(Some)
    }

    /// The rows of the last question.
    pub(crate) fn answer(&mut self, rows: u64) {
        let Some((low, high)) = self.end else {
            if rows <= self.stride + self.stride / 4 {
                self.from = self.high;
            } else {
                self.end = Some((self.from, self.high));
            }
            return;
        };
        let middle = low + (high - low) / 2;
        let near = rows.abs_diff(self.stride) <= self.stride / 20;
        let (low, high) = if rows < self.stride { (middle, high) } else { (low, middle) };
        self.end = Some((low, high));
        if high - low <= 1 || near {
            let cut = if near { middle } else { high }.max(self.from + 1);
            self.cuts.push(cut);
            (self.from, self.end) = (cut, None);
        }
    }

    /// Cuts between so many pieces, as even as the strides make them.
    pub(crate) fn cuts(&self, pieces: u64) -> Vec<i128> {
        let strides = self.cuts.len() + 1;
        let pieces = usize::try_from(pieces).unwrap_or(usize::MAX).clamp(1, strides);
        let at = (1..pieces).map(|piece| piece * strides / pieces);
        at.filter_map(|at| self.cuts.get(at - 1).copied()).collect()
    }
}
