//! Cutting a table into ranges of a key that an index leads with.

use serde_json::Value;
use transload_core::Result;
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue, Nanos};
use transload_sql::ranges::{self, Ranges};
use transload_sql::{quote_bracketed, quote_national};

use crate::catalog::Described;
use crate::channel::Answer;
use crate::filter::literal;
use crate::select::cursor_value;
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
            let is_number = !matches!(read.wire, Wire::Text | Wire::Coded | Wire::RowVersion);
            (read.ordered && is_number).then_some(Key { column, read, index })
        })
    }

    /// The conditions of a part of a split, one for each statement.
    pub(crate) fn conditions(&self, part: &Value) -> Result<Vec<Vec<String>>> {
        let ranges = Ranges::of(part)?;
        let Some(name) = ranges.column() else { return Ok(vec![Vec::new()]) };
        let (column, read) = self.column(name)?;
        ranges.conditions(&quote_bracketed(name)?, column.nullable, |value| literal(value, column, read))
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

    /// What asks for the histogram of the index's first column. SQL Server 2016 and later have it.
    pub(crate) fn histogram_sql(&self, described: &Described) -> Result<String> {
        Ok(format!(
            "SELECT h.range_high_key AS high, CAST(h.range_rows + h.equal_rows AS bigint) AS row_count \
             FROM sys.stats AS t CROSS APPLY sys.dm_db_stats_histogram(t.object_id, t.stats_id) AS h \
             WHERE t.object_id = {} AND t.name = {} ORDER BY h.step_number",
            described.id,
            quote_national(self.index)?
        ))
    }

    /// Cuts between so many pieces of about as many rows each, by the steps of a histogram; none where it is of no use.
    pub(crate) fn cuts(&self, answer: &Answer, (low, high): (i128, i128), pieces: u64) -> Result<Vec<i128>> {
        let mut steps = Vec::new();
        for row in &answer.rows {
            let value = cursor_value(self.column, answer.cell(row, "high")?)?;
            let (Some(value), rows) = (value, answer.number(row, "row_count")?.unwrap_or(0)) else {
                continue;
            };
            steps.extend(
                ranges::ordinal(&value)
                    .filter(|value| *value > low && *value <= high)
                    .map(|value| (value, rows)),
            );
        }
        let all: u64 = steps.iter().map(|(_, rows)| rows).sum();
        let (mut cuts, mut sum) = (Vec::new(), 0_u64);
        for (value, rows) in steps {
            sum = sum.saturating_add(rows);
            let made = u64::try_from(cuts.len()).unwrap_or(u64::MAX).saturating_add(1);
            // A step ends with its value, and a range begins with one.
            if made < pieces
                && u128::from(sum) * u128::from(pieces) >= u128::from(all) * u128::from(made)
                && all > 0
            {
                cuts.push(value + 1);
            }
        }
        cuts.retain(|cut| *cut <= high);
        Ok(cuts)
    }

    /// The reverse of [`ranges::ordinal`].
    fn value(&self, ordinal: i128) -> Option<CursorValue> {
        Some(match self.read.wire {
            Wire::Decimal(_, scale) => CursorValue::Decimal(ordinal.to_string(), scale),
            Wire::Money(_) => CursorValue::Decimal(ordinal.to_string(), 4),
            Wire::Date => CursorValue::Date(i32::try_from(ordinal).ok()?),
            Wire::DateTime2 | Wire::DateTime | Wire::SmallDateTime => {
                CursorValue::DateTime(Nanos(ordinal * 1000))
            }
            Wire::DateTimeOffset => CursorValue::Timestamp(Nanos(ordinal * 1000)),
            _ => CursorValue::Int(i64::try_from(ordinal).ok()?),
        })
    }
}
