//! How a job spells the layout of its table.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advice::{Granularity, LayoutAdvice, Partitioning};
use super::layout::{IntegerRange, PartitionBy, TableLayout};
use crate::error::{Error, Result};

/// The word that takes the mapping's advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advised {
    /// As the mapping advises, when the table is created; a table that exists stays as it is.
    Advised,
}

/// By what a table is partitioned: by a column, or by the time at which rows arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionSpec {
    /// Name of a column at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// How long a partition of a DATE, DATETIME or TIMESTAMP column is. Default: `DAY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<Granularity>,
    /// The partitions of an INT64 column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<IntegerRange>,
    /// In place of a column: by the time at which rows arrive, in partitions of this length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_time: Option<Granularity>,
}

/// `"advised"`, or by what the table is partitioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`partition_by` is neither \"advised\" nor an object with a `column`")]
pub enum PartitionDocument {
    /// As the mapping advises.
    Advised(Advised),
    /// By this.
    Given(PartitionSpec),
}

/// `"advised"`, or names of columns at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`cluster_by` is neither \"advised\" nor a list of columns")]
pub enum ClusterDocument {
    /// As the mapping advises.
    Advised(Advised),
    /// By these columns, in this order; an empty list for none.
    Given(Vec<String>),
}

/// How a job wants its table, as JSON. What is left out is not looked at in a table that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LayoutDocument {
    /// By what the table is partitioned: a column and a granularity or range, `ingestion_time`, or
    /// `"advised"`. A table that exists cannot be partitioned in another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_by: Option<PartitionDocument>,
    /// Up to four columns by which rows are kept together, most important first, or `"advised"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_by: Option<ClusterDocument>,
    /// Whether queries must name the partitions that they read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_partition_filter: Option<bool>,
    /// Partitions are deleted this long after their time, for example `"90d"`. Only for a new table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_expires_after: Option<String>,
    /// The table is deleted this long after it is created, for example `"30d"`. Only for a new table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<String>,
    /// Labels that the table gets beside those that it has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The table's description. Default: the comment of the source table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl LayoutDocument {
    /// Whether something in it waits for the mapping's advice.
    #[must_use]
    pub fn wants_advice(&self) -> bool {
        matches!(self.partition_by, Some(PartitionDocument::Advised(_)))
            || matches!(self.cluster_by, Some(ClusterDocument::Advised(_)))
    }

    /// Checks everything that needs no mapping.
    ///
    /// # Errors
    /// `config`, naming the field.
    pub fn check(&self) -> Result<()> {
        self.resolve(None).map(|_| ())
    }

    /// The layout. `advice` is that of the mapping; `None` where the table exists, because advice is for new
    /// tables only.
    ///
    /// # Errors
    /// `config` for fields that contradict each other and for texts that are no durations.
    pub fn resolve(&self, advice: Option<&LayoutAdvice>) -> Result<TableLayout> {
        let partition_by = match &self.partition_by {
            None => None,
            Some(PartitionDocument::Given(spec)) => Some(spec.resolve()?),
            Some(PartitionDocument::Advised(_)) => advice.and_then(LayoutAdvice::partition_by),
        };
        let cluster_by = match &self.cluster_by {
            None => None,
            Some(ClusterDocument::Given(columns)) => Some(columns.clone()),
            Some(ClusterDocument::Advised(_)) => {
                advice.map(|advice| advice.clustering.iter().map(|advised| advised.column.clone()).collect())
            }
        };
        Ok(TableLayout {
            partition_by,
            cluster_by,
            require_partition_filter: self.require_partition_filter,
            partition_expires_after: life(
                "partition_expires_after",
                self.partition_expires_after.as_deref(),
            )?,
            expires_after: life("expires_after", self.expires_after.as_deref())?,
            labels: self.labels.clone(),
        })
    }
}

impl PartitionSpec {
    fn resolve(&self) -> Result<PartitionBy> {
        let wrong = |text: &str| {
            Err(Error::config(format!("`partition_by` {text}")).with("field", "partition_by").hint(
                "write {\"column\": \"created_at\", \"granularity\": \"DAY\"}, {\"column\": \"id\", \"range\": \
                 {\"start\": 0, \"end\": 1000000, \"interval\": 1000}} or {\"ingestion_time\": \"DAY\"}",
            ))
        };
        match (&self.column, self.granularity, self.range, self.ingestion_time) {
            (Some(column), granularity, None, None) => Ok(PartitionBy::Time(Partitioning {
                column: column.clone(),
                granularity: granularity.unwrap_or(Granularity::Day),
            })),
            (Some(column), None, Some(range), None) => Ok(PartitionBy::Range(column.clone(), range)),
            (Some(_), Some(_), Some(_), _) => wrong("has both a granularity and a range"),
            (None, None, None, Some(granularity)) => Ok(PartitionBy::IngestionTime(granularity)),
            (_, _, _, Some(_)) => wrong("has `ingestion_time` beside something else"),
            (None, ..) => wrong("names no column"),
        }
    }
}

/// Reads a duration such as `15m` or `2d`. Days are allowed beside jiff's units and count 24 hours.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    if let Some(days) = text.trim().strip_suffix('d').and_then(|days| days.trim().parse::<i64>().ok()) {
        let hours = days.checked_mul(24)?;
        return SignedDuration::try_from_hours(hours);
    }
    text.parse().ok()
}

/// Reads how long something lives, for example `30d`.
///
/// # Errors
/// `config` for another text and for less than an hour.
pub fn life(field: &str, text: Option<&str>) -> Result<Option<SignedDuration>> {
    let Some(text) = text else { return Ok(None) };
    match duration(text) {
        // Shorter lives end before a load does.
        Some(life) if life >= SignedDuration::from_hours(1) => Ok(Some(life)),
        Some(_) => Err(Error::config(format!("`{field}` is shorter than an hour")).with("field", field)),
        None => Err(Error::config(format!("`{field}`: `{text}` is not a duration"))
            .with("field", field)
            .hint("write for example \"12h\" or \"30d\"")),
    }
}
