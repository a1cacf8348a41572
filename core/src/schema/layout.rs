//! How a target table is laid out and kept: partitions, clusters, labels, expiration. `layout_document` is how a job
//! spells it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advice::{Granularity, Partitioning};
use super::bigquery::{BigQueryType, Mode};
use super::cursor::CursorValue;
use super::target::{TargetColumn, TargetTable};
use crate::error::{Error, ErrorKind, Result};

/// Columns that a table may be clustered by.
pub(super) const MAX_CLUSTERING: usize = 4;

/// Partitions that a table may have.
pub(super) const MAX_PARTITIONS: u64 = 10_000;

/// Integers from `start` to below `end`, `interval` of them in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntegerRange {
    /// The first value.
    pub start: i64,
    /// The first value that is too high.
    pub end: i64,
    /// How many integers a partition holds.
    pub interval: i64,
}

/// By what a table is partitioned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartitionBy {
    /// By the time in a column.
    Time(Partitioning),
    /// By the time at which rows arrive.
    IngestionTime(Granularity),
    /// By the integers of a column.
    Range(String, IntegerRange),
}

/// How a table is laid out and kept. `None` and an empty list of labels: no wish.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableLayout {
    /// By what it is partitioned.
    pub partition_by: Option<PartitionBy>,
    /// By which columns it is clustered.
    pub cluster_by: Option<Vec<String>>,
    /// Whether queries must name the partitions that they read.
    pub require_partition_filter: Option<bool>,
    /// How long after its time a partition is deleted.
    pub partition_expires_after: Option<SignedDuration>,
    /// How long after its creation the table is deleted.
    pub expires_after: Option<SignedDuration>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What a dataset gets when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetOptions {
    /// Where it is, for example `EU`.
    pub location: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// How long after their creation its tables are deleted, unless they say otherwise.
    pub tables_expire_after: Option<SignedDuration>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl PartitionBy {
    /// The column, unless rows are partitioned by their time of arrival.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Time(Partitioning { column, .. }) | Self::Range(column, _) => Some(column),
            Self::IngestionTime(_) => None,
        }
    }

    /// How many partitions values from `lowest` to `highest` lie in, at most; `None` where that cannot be told from
    /// such values. Times before 1960 and after 2159, and integers outside of the range, share one.
    #[must_use]
    pub fn partitions_between(&self, lowest: &CursorValue, highest: &CursorValue) -> Option<u64> {
        let numbers = |value| match self {
            Self::Time(Partitioning { granularity, .. }) => granularity.number(value),
            Self::Range(_, range) => range.number(value),
            Self::IngestionTime(_) => None,
        };
        let ((first, inside), (last, also)) = (numbers(lowest)?, numbers(highest)?);
        Some(last.abs_diff(first).saturating_add(1).saturating_add(u64::from(!(inside && also))))
    }

    fn check(&self, table: &TargetTable) -> Result<()> {
        let Some(name) = self.column() else { return Ok(()) };
        let fits = |column: &&TargetColumn| {
            use BigQueryType::{Date, DateTime, Int64, Timestamp};
            column.mode != Mode::Repeated
                && match self {
                    Self::Range(..) => column.data_type == Int64,
                    _ => matches!(column.data_type, Date | DateTime | Timestamp),
                }
        };
        let Some(column) = table.column(name).filter(fits) else {
            let possible: Vec<&str> =
                table.columns.iter().filter(fits).map(|column| column.name.as_str()).collect();
            let what = table.column(name).map_or_else(
                || "there is no such column".to_owned(),
                |column| format!("it is {} {}", column.mode.as_str(), column.data_type),
            );
            let hint = match (possible.is_empty(), self) {
                (false, _) => format!("possible columns: {}", possible.join(", ")),
                (true, Self::Range(..)) => "the table has no INT64 column".to_owned(),
                (true, _) => "the table has no DATE, DATETIME or TIMESTAMP column".to_owned(),
            };
            return Err(impossible(table, format!("it cannot be partitioned by `{name}`: {what}"))
                .with("column", name)
                .hint(hint));
        };
        match self {
            Self::Time(Partitioning { granularity: Granularity::Hour, .. })
                if column.data_type == BigQueryType::Date =>
            {
                Err(impossible(table, format!("DATE column `{name}` has no hours to be partitioned by"))
                    .with("column", name)
                    .hint("possible: DAY, MONTH, YEAR"))
            }
            Self::Range(_, range) => range.check(table),
            _ => Ok(()),
        }
    }
}

/// 1960-01-01 and 2159-12-31 as days since 1970.
const FIRST_DAY: i64 = -3_653;
const LAST_DAY: i64 = 69_395;

impl Granularity {
    /// The number of the partition of a time, counted on, and whether it has one of its own.
    fn number(self, value: &CursorValue) -> Option<(i64, bool)> {
        let seconds = match value {
            CursorValue::Date(days) => i64::from(*days).checked_mul(86_400)?,
            CursorValue::DateTime(nanos) | CursorValue::Timestamp(nanos) => {
                i64::try_from(nanos.0.div_euclid(1_000_000_000)).ok()?
            }
            _ => return None,
        };
        let (first, end) = (FIRST_DAY * 86_400, (LAST_DAY + 1) * 86_400 - 1);
        let inside = (first..=end).contains(&seconds);
        let date = jiff::Timestamp::from_second(seconds.clamp(first, end)).ok()?.to_zoned(TimeZone::UTC);
        let seconds = date.timestamp().as_second();
        let (year, month) = (i64::from(date.year()), i64::from(date.month()));
        let number = match self {
            Self::Hour => seconds.div_euclid(3_600),
            Self::Day => seconds.div_euclid(86_400),
            Self::Month => year * 12 + month,
            Self::Year => year,
        };
        Some((number, inside))
    }
}

impl IntegerRange {
    /// The number of the partition of an integer, and whether it has one of its own.
    fn number(self, value: &CursorValue) -> Option<(i64, bool)> {
        let CursorValue::Int(value) = value else { return None };
        let inside = (self.start..self.end).contains(value);
        let value = (*value).clamp(self.start, self.end.checked_sub(1)?);
        Some((value.checked_sub(self.start)?.checked_div(self.interval)?, inside))
    }

    fn check(self, table: &TargetTable) -> Result<()> {
        let Self { start, end, interval } = self;
        if interval < 1 || end <= start {
            return Err(impossible(table, "the range of its partitions is empty".to_owned())
                .hint("`end` must be above `start`, and `interval` at least 1"));
        }
        let count = self.partitions();
        if count > MAX_PARTITIONS {
            let least = start.abs_diff(end).div_ceil(MAX_PARTITIONS);
            return Err(impossible(
                table,
                format!(
                    "integers from {start} to {end} by {interval} are {count} partitions of {MAX_PARTITIONS}"
                ),
            )
            .hint(format!("an `interval` of {least} or more fits")));
        }
        Ok(())
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partitions(self) -> u64 {
        self.start.abs_diff(self.end).div_ceil(self.interval.unsigned_abs().max(1))
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(Partitioning { column, granularity }) => write!(f, "{column} by {granularity}"),
            Self::IngestionTime(granularity) => write!(f, "time of arrival by {granularity}"),
            Self::Range(column, IntegerRange { start, end, interval }) => {
                write!(f, "{column} from {start} to {end} by {interval}")
            }
        }
    }
}

fn impossible(table: &TargetTable, text: String) -> Error {
    Error::new(ErrorKind::TypeMapping, format!("table {} cannot be made: {text}", table.target))
        .with("target", &table.target)
}

impl TableLayout {
    /// Names of the wishes in it, as a job document spells them.
    #[must_use]
    pub fn wishes(&self) -> Vec<&'static str> {
        [
            (self.partition_by.is_some(), "partition_by"),
            (self.cluster_by.as_ref().is_some_and(|columns| !columns.is_empty()), "cluster_by"),
            (self.require_partition_filter == Some(true), "require_partition_filter"),
            (self.partition_expires_after.is_some(), "partition_expires_after"),
            (self.expires_after.is_some(), "expires_after"),
            (!self.labels.is_empty(), "labels"),
        ]
        .into_iter()
        .filter_map(|(wished, name)| wished.then_some(name))
        .collect()
    }

    /// For destinations that cannot lay tables out: refuses every wish.
    ///
    /// # Errors
    /// `unsupported`, naming the fields.
    pub fn refuse(&self, destination: &str) -> Result<()> {
        let wishes = self.wishes();
        if wishes.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported(format!("{destination} has no {}", wishes.join(", ")))
            .hint("leave these fields out of `destination`, or load into a destination that has them"))
    }

    /// Checks the layout against the columns of its table.
    ///
    /// # Errors
    /// `type_mapping` for what BigQuery cannot do, naming what is possible.
    pub fn check(&self, table: &TargetTable) -> Result<()> {
        if let Some(partition_by) = &self.partition_by {
            partition_by.check(table)?;
        }
        if self.partition_by.is_none()
            && (self.require_partition_filter == Some(true) || self.partition_expires_after.is_some())
        {
            return Err(impossible(table, "it has options of partitions but no `partition_by`".to_owned())
                .hint(
                    "add `partition_by`, or drop `require_partition_filter` and `partition_expires_after`",
                ));
        }
        if matches!(self.partition_by, Some(PartitionBy::Range(..))) && self.partition_expires_after.is_some()
        {
            return Err(impossible(table, "partitions of integers cannot expire".to_owned())
                .hint("drop `partition_expires_after`"));
        }
        self.check_clustering(table)
    }

    fn check_clustering(&self, table: &TargetTable) -> Result<()> {
        let columns = self.cluster_by.as_deref().unwrap_or_default();
        if columns.len() > MAX_CLUSTERING {
            let text = format!("it is to be clustered by {} columns of {MAX_CLUSTERING}", columns.len());
            return Err(impossible(table, text).hint("keep the columns that most queries filter by"));
        }
        for (index, name) in columns.iter().enumerate() {
            let column = table.column(name);
            let why = match column {
                None => "there is no such column".to_owned(),
                Some(column) if !can_cluster(column) => {
                    format!("it is {} {}", column.mode.as_str(), column.data_type)
                }
                Some(_) if columns[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) => {
                    "it is named twice".to_owned()
                }
                Some(_) => continue,
            };
            let possible: Vec<&str> = table
                .columns
                .iter()
                .filter(|column| can_cluster(column))
                .map(|column| column.name.as_str())
                .collect();
            return Err(impossible(table, format!("it cannot be clustered by `{name}`: {why}"))
                .with("column", name)
                .hint(format!("possible columns: {}", possible.join(", "))));
        }
        Ok(())
    }
}

/// Types that BigQuery clusters by, at the top level.
pub(super) fn can_cluster(column: &TargetColumn) -> bool {
    use BigQueryType::{Bytes, Float64, Interval, Json, Record, Time};
    column.mode != Mode::Repeated
        && !matches!(column.data_type, Float64 | Bytes | Time | Json | Interval | Record(_))
}

#[cfg(test)]
mod tests {
    use super::super::advice::LayoutAdvice;
    use super::super::layout_document::{LayoutDocument, duration};
    use super::*;
    use crate::schema::TargetRef;
    use serde_json::{Value, json};

    fn document(value: Value) -> Result<LayoutDocument> {
        crate::document::parse("layout", value)
    }

    fn table() -> TargetTable {
        let columns = [
            ("id", "INT64", Mode::Required),
            ("day", "DATE", Mode::Nullable),
            ("at", "TIMESTAMP", Mode::Nullable),
            ("days", "DATE", Mode::Repeated),
            ("x", "FLOAT64", Mode::Nullable),
            ("a", "STRING", Mode::Nullable),
            ("b", "STRING", Mode::Nullable),
            ("c", "STRING", Mode::Nullable),
        ];
        TargetTable::new(
            TargetRef::new("d", "t"),
            columns
                .iter()
                .map(|(name, data_type, mode)| TargetColumn {
                    name: (*name).to_owned(),
                    data_type: data_type.parse().unwrap(),
                    mode: *mode,
                    description: None,
                })
                .collect(),
        )
    }

    fn verdict(value: Value) -> String {
        let layout = document(value).and_then(|document| document.resolve(Some(&LayoutAdvice::default())));
        match layout.and_then(|layout| layout.check(&table()).map(|()| layout)) {
            Ok(layout) => layout.wishes().join(","),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::TypeMapping), "{error}");
                error.to_string()
            }
        }
    }

    #[test]
    fn what_bigquery_takes() {
        for (value, wishes) in [
            (json!({}), ""),
            (json!({"partition_by": {"column": "DAY"}}), "partition_by"),
            (json!({"partition_by": {"column": "at", "granularity": "HOUR"}}), "partition_by"),
            (
                json!({"partition_by": {"ingestion_time": "MONTH"}, "partition_expires_after": "90d"}),
                "partition_by,partition_expires_after",
            ),
            (
                json!({"partition_by": {"column": "id", "range": {"start": 0, "end": 100000, "interval": 10}}}),
                "partition_by",
            ),
            (json!({"partition_by": "advised", "cluster_by": "advised"}), ""),
            (
                json!({"cluster_by": ["a", "b", "c", "id"], "labels": {"team": "x"}, "expires_after": "2h"}),
                "cluster_by,expires_after,labels",
            ),
        ] {
            assert_eq!(verdict(value.clone()), wishes, "{value}");
        }
    }

    #[test]
    fn what_it_does_not_take_says_what_is_possible() {
        for (value, part) in [
            (json!({"partition_by": {"column": "nope"}}), "possible columns: day, at"),
            (json!({"partition_by": {"column": "days"}}), "it is REPEATED DATE"),
            (json!({"partition_by": {"column": "day", "granularity": "HOUR"}}), "possible: DAY, MONTH, YEAR"),
            (
                json!({"partition_by": {"column": "at", "range": {"start": 0, "end": 9, "interval": 1}}}),
                "possible columns: id",
            ),
            (
                json!({"partition_by": {"column": "id", "range": {"start": 0, "end": 100_001, "interval": 10}}}),
                "an `interval` of 11 or more fits",
            ),
            (
                json!({"partition_by": {"column": "id", "range": {"start": 5, "end": 5, "interval": 1}}}),
                "empty",
            ),
            (json!({"partition_by": {"granularity": "DAY"}}), "names no column"),
            (json!({"partition_by": {"column": "at", "ingestion_time": "DAY"}}), "beside something else"),
            (json!({"partition_by": {"colunm": "at"}}), "did you mean `column`?"),
            (json!({"partition_by": "advized"}), "partition_by"),
            (json!({"require_partition_filter": true}), "no `partition_by`"),
            (json!({"cluster_by": ["a", "b", "c", "id", "day"]}), "5 columns of 4"),
            (json!({"cluster_by": ["x"]}), "it is NULLABLE FLOAT64"),
            (json!({"cluster_by": ["a", "A"]}), "named twice"),
            (json!({"expires_after": "soon"}), "not a duration"),
            (json!({"expires_after": "5m"}), "shorter than an hour"),
            (
                json!({"partition_by": {"column": "id", "range": {"start": 0, "end": 9, "interval": 1}},
                    "partition_expires_after": "1d"}),
                "cannot expire",
            ),
        ] {
            let text = verdict(value.clone());
            assert!(text.contains(part), "{value}: {text}");
        }
    }

    #[test]
    fn partitions_are_counted_before_rows_are_read() {
        use crate::schema::Nanos;
        let by = |value: Value| {
            let layout = document(json!({"partition_by": value})).unwrap().resolve(None).unwrap();
            layout.partition_by.unwrap()
        };
        let time = |granularity: &str| by(json!({"column": "at", "granularity": granularity}));
        let day = |text: &str| CursorValue::parse(text, &arrow_schema::DataType::Date32).unwrap();
        let at = |text: &str| {
            let zoned =
                arrow_schema::DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()));
            CursorValue::parse(text, &zoned).unwrap()
        };
        let (first, last) = (at("2024-01-31T23:59:59Z"), at("2024-02-01T00:00:00Z"));
        for granularity in ["HOUR", "DAY", "MONTH"] {
            assert_eq!(time(granularity).partitions_between(&first, &last), Some(2), "{granularity}");
            assert_eq!(time(granularity).partitions_between(&last, &last), Some(1), "{granularity}");
        }
        assert_eq!(time("YEAR").partitions_between(&first, &last), Some(1));
        assert_eq!(time("DAY").partitions_between(&day("2010-01-01"), &day("2024-12-31")), Some(5_479));
        assert_eq!(
            time("HOUR").partitions_between(&day("2024-01-01"), &at("2024-01-02T00:00:00Z")),
            Some(25)
        );
        // Sentinels share the partition of what has none, whatever their distance.
        let wide = time("YEAR").partitions_between(&day("0001-01-01"), &day("9999-12-31"));
        assert_eq!(wide, Some(2159 - 1960 + 2));
        let range = by(json!({"column": "id", "range": {"start": 0, "end": 100, "interval": 10}}));
        let int = |value| CursorValue::Int(value);
        assert_eq!(range.partitions_between(&int(5), &int(95)), Some(10));
        assert_eq!(range.partitions_between(&int(-5), &int(i64::MAX)), Some(11));
        assert_eq!(time("DAY").partitions_between(&int(1), &int(2)), None);
        assert_eq!(by(json!({"ingestion_time": "DAY"})).partitions_between(&first, &last), None);
        let far = CursorValue::Timestamp(Nanos(i128::MAX));
        assert_eq!(time("DAY").partitions_between(&first, &far), None);
    }

    #[test]
    fn the_largest_ranges_are_counted() {
        let range = IntegerRange { start: i64::MIN, end: i64::MAX, interval: 1 };
        assert_eq!(range.partitions(), u64::MAX);
        assert!(range.check(&table()).is_err());
        assert!(duration("999999999999999999d").is_none());
    }
}
