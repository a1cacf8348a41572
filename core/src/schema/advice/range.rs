//! Partitioning by ranges of an integer key, for tables that no time partitions.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::megabytes;
use super::partition::{MAX_PARTITIONS_PER_JOB, WORTH_PARTITIONING, can_partition};
use crate::schema::bigquery::{BigQueryType, Mode};
use crate::schema::layout::IntegerRange;
use crate::schema::mapping::{ColumnMapping, TableMapping};
use crate::schema::table::TableSchema;

/// Most partitions that today's keys fill. As many again are kept free for keys to come, and together they are
/// what one job may touch, well below the 10,000 of a table.
const MOST_FILLED: u64 = MAX_PARTITIONS_PER_JOB / 2;

/// Ranges of an integer column and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAdvice {
    /// Name at the destination.
    pub column: String,
    /// First value, first value that is too high, and how many a partition holds.
    #[serde(flatten)]
    pub range: IntegerRange,
    /// All partitions, those for keys to come among them.
    pub partitions: u64,
    /// One sentence.
    pub reason: String,
}

/// Ranges of the one integer column that is the primary key, if it is dense. Else why not, unless the reason is
/// that nobody would expect it.
pub(super) fn advise(
    mapping: &TableMapping,
    table: &TableSchema,
    facts: &Facts,
    bytes: Option<u64>,
) -> Result<RangeAdvice, Option<String>> {
    // A time that could be used but is not worth it says that ranges are not worth it either.
    if mapping.columns.iter().any(|column| can_partition(column) && facts.is_usable(column)) {
        return Err(None);
    }
    let [key] = table.primary_key.as_slice() else { return Err(None) };
    let column = mapping.column(key).filter(|column| is_integer(column)).ok_or(None)?;
    let (Some(bytes), Some(rows)) = (bytes, table.rows_estimate) else { return Err(None) };
    let Some((first, last)) = facts.column(key).and_then(|facts| facts.integers) else { return Err(None) };
    let name = &column.target_name;
    let span = last.abs_diff(first).saturating_add(1);
    if bytes < 2 * WORTH_PARTITIONING {
        return Err(Some(format!(
            "no ranges of `{name}`: about {} is little for partitions",
            megabytes(bytes)
        )));
    }
    if rows.saturating_mul(2) < span {
        let text =
            format!("no ranges of `{name}`: {rows} rows among {span} keys leave most partitions empty");
        return Err(Some(text));
    }
    let wished = (bytes / WORTH_PARTITIONING).min(MOST_FILLED);
    let range = ranges(first, last, wished).ok_or(None)?;
    let partitions = partitions(range);
    let each = bytes / (span / range.interval.unsigned_abs()).max(1);
    Ok(RangeAdvice {
        column: name.clone(),
        range,
        partitions,
        reason: format!(
            "no date or time is nearly always filled; `{name}` goes from {first} to {last} in the sample, {} keys \
             are about {}, and as many partitions again are kept for keys to come",
            range.interval,
            megabytes(each)
        ),
    })
}

fn is_integer(column: &ColumnMapping) -> bool {
    column.mode != Mode::Repeated && column.bigquery_type == BigQueryType::Int64
}

/// At most `wished` round ranges from `first` to `last`, and as many again; `None` where no integer is left.
fn ranges(first: i64, last: i64, wished: u64) -> Option<IntegerRange> {
    let span = i128::from(last) - i128::from(first) + 1;
    let least = (span + i128::from(wished) - 1) / i128::from(wished.max(1));
    let interval = round(least)?;
    let start = i128::from(first).div_euclid(interval) * interval;
    let filled = (i128::from(last) - start) / interval + 1;
    let end = start + filled * 2 * interval;
    let narrow = |value: i128| i64::try_from(value).ok();
    Some(IntegerRange { start: narrow(start)?, end: narrow(end)?, interval: narrow(interval)? })
}

/// 1, 2 or 5 and zeros, at least `least`.
fn round(least: i128) -> Option<i128> {
    let mut power = 1_i128;
    loop {
        if let Some(step) = [1, 2, 5].iter().map(|digit| digit * power).find(|step| *step >= least) {
            return Some(step);
        }
        power = power.checked_mul(10)?;
    }
}

/// How many partitions a range has.
fn partitions(range: IntegerRange) -> u64 {
    range.end.abs_diff(range.start).div_ceil(range.interval.unsigned_abs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_ranges_with_room() {
        for (first, last, wished, expected) in [
            (1, 1_000_000, 10, (0, 2_200_000, 100_000)),
            (0, 999, 10, (0, 2_000, 100)),
            (-50, 49, 4, (-50, 150, 50)),
            (7, 7, 100, (7, 9, 1)),
            (1, 3_000, 2_000, (0, 6_004, 2)),
        ] {
            let range = ranges(first, last, wished).unwrap();
            assert_eq!((range.start, range.end, range.interval), expected, "{first} {last} {wished}");
            assert!(range.start <= first && last < range.end);
            // The start is rounded down, so there may be one partition more than wished, and its double.
            assert!(partitions(range) <= 2 * (wished + 1).max(1), "{range:?}");
        }
        assert_eq!(ranges(i64::MIN, i64::MAX, 10), None);
    }
}
