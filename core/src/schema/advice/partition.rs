//! Partitioning: which column, how fine, and the limits.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{ColumnFacts, Facts};
use super::{PartitionAdvice, megabytes, words};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::bigquery::{BigQueryType, Mode};
use crate::schema::layout::MAX_PARTITIONS;
use crate::schema::mapping::{ColumnMapping, TableMapping, Warning};
use crate::schema::table::TableSchema;

/// Partitions that one job may touch.
pub(super) const MAX_PARTITIONS_PER_JOB: u64 = 4_000;

/// A partition below this costs more than it saves.
pub(super) const WORTH_PARTITIONING: u64 = 1_000_000_000;

/// 1960-01-01 and 2159-12-31 as days since 1970: values outside share one partition.
const FIRST_DAY: i64 = -3_653;
const LAST_DAY: i64 = 69_396;

/// How long a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Granularity {
    /// Not for DATE.
    Hour,
    /// One day.
    Day,
    /// One month.
    Month,
    /// One year.
    Year,
}

impl Granularity {
    /// BigQuery's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
            Self::Year => "YEAR",
        }
    }

    /// Partitions that cover this many days, at most.
    #[must_use]
    pub fn partitions(self, days: u64) -> u64 {
        match self {
            Self::Hour => days.saturating_mul(24),
            Self::Day => days,
            // One more where the days straddle a boundary.
            Self::Month => days.saturating_mul(12) / 365 + 1,
            Self::Year => days / 365 + 1,
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A table's partitioning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partitioning {
    /// Name of a column at the destination.
    pub column: String,
    /// How long a partition is.
    pub granularity: Granularity,
}

/// Checks a partitioning that a person wants. `days` is how many days the column's values span, where that
/// is known. Gives warnings.
///
/// # Errors
/// `type_mapping` for a column or a granularity that BigQuery does not partition by, and for more than 10,000
/// partitions, naming what is possible.
pub fn check_partitioning(
    mapping: &TableMapping,
    wanted: &Partitioning,
    days: Option<u64>,
) -> Result<Vec<Warning>> {
    let refuse = |text: String| {
        Error::new(ErrorKind::TypeMapping, text)
            .operation("check partitioning")
            .with("column", &wanted.column)
    };
    let possible: Vec<&str> = mapping
        .columns
        .iter()
        .filter(|column| can_partition(column))
        .map(|column| column.target_name.as_str())
        .collect();
    let column =
        mapping.columns.iter().find(|column| column.target_name.eq_ignore_ascii_case(&wanted.column));
    let column = column.filter(|column| can_partition(column)).ok_or_else(|| {
        let hint = match possible.is_empty() {
            true => "the table has no DATE, DATETIME or TIMESTAMP column".to_owned(),
            false => format!("possible columns: {}", possible.join(", ")),
        };
        refuse(format!("the table cannot be partitioned by column `{}`", wanted.column)).hint(hint)
    })?;
    if column.bigquery_type == BigQueryType::Date && wanted.granularity == Granularity::Hour {
        return Err(refuse(format!("DATE column `{}` has no hours", wanted.column))
            .hint("possible: DAY, MONTH, YEAR"));
    }
    let Some(days) = days else { return Ok(Vec::new()) };
    let count = wanted.granularity.partitions(days);
    if count > MAX_PARTITIONS {
        let coarser: Vec<&str> = coarser(wanted.granularity)
            .filter(|granularity| granularity.partitions(days) <= MAX_PARTITIONS)
            .map(Granularity::as_str)
            .collect();
        return Err(refuse(format!(
            "{days} days by {} are {count} partitions, and BigQuery takes {MAX_PARTITIONS}",
            wanted.granularity
        ))
        .hint(format!("possible: {}", coarser.join(", "))));
    }
    Ok(many(count).into_iter().collect())
}

fn coarser(than: Granularity) -> impl Iterator<Item = Granularity> {
    [Granularity::Day, Granularity::Month, Granularity::Year].into_iter().filter(move |other| *other > than)
}

fn many(partitions: u64) -> Option<Warning> {
    (partitions > MAX_PARTITIONS_PER_JOB).then(|| {
        let text = format!(
            "{partitions} partitions: one job touches {MAX_PARTITIONS_PER_JOB} at most, so the first load must \
             be split by date"
        );
        Warning::new("W_PARTITIONS", text)
    })
}

pub(super) fn can_partition(column: &ColumnMapping) -> bool {
    use BigQueryType::{Date, DateTime, Timestamp};
    column.mode != Mode::Repeated && matches!(column.bigquery_type, Date | DateTime | Timestamp)
}

/// The best column and the finest granularity that is worth it; else why not.
pub(super) fn advise(
    mapping: &TableMapping,
    table: &TableSchema,
    facts: &Facts,
    bytes: Option<u64>,
) -> std::result::Result<PartitionAdvice, String> {
    let mut candidates: Vec<(i32, &ColumnMapping)> = mapping
        .columns
        .iter()
        .filter(|column| can_partition(column) && facts.column(&column.source_name).is_none_or(is_usable))
        .map(|column| (rank(column, table), column))
        .collect();
    // Stable: of equals, the first of the table.
    candidates.sort_by_key(|(rank, _)| -rank);
    let Some((_, column)) = candidates.first() else {
        return Err(
            "no partitioning: no DATE, DATETIME or TIMESTAMP column that is nearly always filled".to_owned()
        );
    };
    let name = &column.target_name;
    let Some(bytes) = bytes else {
        return Err(format!("no partitioning: the table's size is not known; `{name}` would be the column"));
    };
    let Some((first, last)) = facts.column(&column.source_name).and_then(ColumnFacts::span) else {
        return Err(format!("no partitioning: the span of `{name}` is not known without a sample"));
    };
    let days = last.abs_diff(first) + 1;
    let chosen = [Granularity::Day, Granularity::Month, Granularity::Year].into_iter().find(|granularity| {
        let count = granularity.partitions(days);
        count <= MAX_PARTITIONS_PER_JOB && bytes / count >= WORTH_PARTITIONING
    });
    let Some(granularity) = chosen else {
        return Err(format!(
            "no partitioning: about {} over {days} days of `{name}` is less than 1 GB a year; cluster instead",
            megabytes(bytes)
        ));
    };
    let partitions = granularity.partitions(days);
    Ok(PartitionAdvice {
        partitions,
        reason: reason(column, granularity, days, bytes / partitions),
        warnings: warnings(column, facts, partitions),
        partitioning: Partitioning { column: name.clone(), granularity },
    })
}

/// Nearly always filled, and with days that get a partition of their own.
pub(super) fn is_usable(facts: &ColumnFacts) -> bool {
    let inside = facts.days.iter().filter(|day| (FIRST_DAY..=LAST_DAY).contains(*day)).count();
    facts.nulls * 20 < facts.rows && inside * 1000 >= facts.days.len() * 999
}

/// Columns that say when something happened go before those that say when a row was touched, which a MERGE
/// moves from partition to partition.
fn rank(column: &ColumnMapping, table: &TableSchema) -> i32 {
    const HAPPENED: [&str; 14] = [
        "event",
        "created",
        "occurred",
        "order",
        "ordered",
        "inserted",
        "posted",
        "booked",
        "transaction",
        "day",
        "date",
        "timestamp",
        "ts",
        "time",
    ];
    const TOUCHED: [&str; 7] = ["updated", "modified", "changed", "last", "deleted", "synced", "expires"];
    let words = words(&column.source_name);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let indexed = table.columns.iter().any(|own| own.name == column.source_name && own.indexed);
    let mut rank = if has(&TOUCHED) { -10 } else { 0 };
    rank += if has(&HAPPENED) { 4 } else { 0 };
    rank += if indexed { 2 } else { 0 };
    rank + if column.mode == Mode::Required { 1 } else { 0 }
}

fn reason(column: &ColumnMapping, granularity: Granularity, days: u64, bytes: u64) -> String {
    let utc = if column.bigquery_type == BigQueryType::Timestamp { ", at midnight UTC" } else { "" };
    format!(
        "`{}` spans {days} days of the sample; by {granularity} a partition has about {}{utc}",
        column.target_name,
        megabytes(bytes)
    )
}

fn warnings(column: &ColumnMapping, facts: &Facts, partitions: u64) -> Vec<Warning> {
    let days = facts.column(&column.source_name).map(|facts| facts.days.as_slice()).unwrap_or_default();
    let outside = days.iter().filter(|day| !(FIRST_DAY..=LAST_DAY).contains(*day)).count();
    let mut warnings: Vec<Warning> = many(partitions).into_iter().collect();
    if outside > 0 {
        let text = format!("{outside} sampled values lie before 1960 or after 2159 and share one partition");
        warnings.push(Warning::new("W_PARTITION_RANGE", text));
    }
    warnings
}
