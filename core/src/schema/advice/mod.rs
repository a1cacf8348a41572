//! Advice on the layout of a BigQuery table: partitioning and clustering, each with its reason.

mod facts;
mod partition;
mod range;

#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

pub use partition::{Granularity, Partitioning, check_partitioning};
pub use range::RangeAdvice;

use self::facts::Facts;
use super::bigquery::{BigQueryType, Mode};
use super::layout::{MAX_CLUSTERING, PartitionBy};
use super::mapping::{ColumnMapping, TableMapping, Warning};
use super::table::TableSchema;

/// Below this, BigQuery reads the whole table as fast.
const WORTH_CLUSTERING: u64 = 64_000_000;

/// How a table should be laid out at BigQuery. Advice only: a partitioned table cannot be repartitioned in
/// place, so a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayoutAdvice {
    /// By which column to partition, if it is worth it.
    pub partitioning: Option<PartitionAdvice>,
    /// By which ranges of a key to partition, where no time will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_partitioning: Option<RangeAdvice>,
    /// By which columns to cluster, in this order; at most four.
    pub clustering: Vec<ClusterAdvice>,
    /// Why something is not advised.
    pub notes: Vec<String>,
    /// Logical bytes of the table, by its row estimate and the sample.
    pub bytes_estimate: Option<u64>,
}

/// A partitioning and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAdvice {
    /// Column and granularity.
    #[serde(flatten)]
    pub partitioning: Partitioning,
    /// Partitions between the smallest and the largest value of the sample, the outermost 0.1 % left aside.
    pub partitions: u64,
    /// One sentence.
    pub reason: String,
    /// What to look out for.
    pub warnings: Vec<Warning>,
}

/// A column to cluster by and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterAdvice {
    /// Name at the destination.
    pub column: String,
    /// One sentence.
    pub reason: String,
}

impl LayoutAdvice {
    /// Advice from types, keys, names and sizes, and from the sample's values where there is one.
    pub(super) fn of(mapping: &TableMapping, table: &TableSchema, sample: Option<&RecordBatch>) -> Self {
        let facts = Facts::of(mapping, sample);
        let bytes = table.rows_estimate.map(|rows| rows.saturating_mul(facts.row_bytes()));
        let mut advice = Self { bytes_estimate: bytes, ..Self::default() };
        match partition::advise(mapping, table, &facts, bytes) {
            Ok(partitioning) => advice.partitioning = Some(partitioning),
            Err(note) => {
                advice.notes.push(note);
                match range::advise(mapping, table, &facts, bytes) {
                    Ok(ranges) => advice.range_partitioning = Some(ranges),
                    Err(note) => advice.notes.extend(note),
                }
            }
        }
        match bytes {
            Some(bytes) if bytes < WORTH_CLUSTERING => {
                advice.notes.push(format!("no clustering: about {} is less than 64 MB", megabytes(bytes)))
            }
            _ => advice.clustering = clustering(mapping, table, &facts, advice.partitioning.as_ref()),
        }
        advice
    }
}

impl LayoutAdvice {
    /// By what a new table should be partitioned.
    #[must_use]
    pub fn partition_by(&self) -> Option<PartitionBy> {
        let time = self.partitioning.as_ref().map(|advised| PartitionBy::Time(advised.partitioning.clone()));
        let range = self.range_partitioning.as_ref();
        time.or_else(|| range.map(|advised| PartitionBy::Range(advised.column.clone(), advised.range)))
    }
}

/// Keys first, because they prune MERGE; then the date of coarse partitions; then columns by which people
/// filter and join, the most distinct first.
fn clustering(
    mapping: &TableMapping,
    table: &TableSchema,
    facts: &Facts,
    partitioning: Option<&PartitionAdvice>,
) -> Vec<ClusterAdvice> {
    let mut chosen: Vec<ClusterAdvice> = Vec::new();
    let mut add = |column: &ColumnMapping, reason: String| {
        let taken = chosen.iter().any(|other| other.column == column.target_name);
        if chosen.len() < MAX_CLUSTERING && !taken && can_cluster(column) {
            chosen.push(ClusterAdvice { column: column.target_name.clone(), reason });
        }
    };
    for column in table.primary_key.iter().filter_map(|name| mapping.column(name)) {
        add(column, "part of the primary key: a MERGE reads less".to_owned());
    }
    if let Some(advised) = partitioning
        && matches!(advised.partitioning.granularity, Granularity::Month | Granularity::Year)
        && let Some(column) = mapping.columns.iter().find(|c| c.target_name == advised.partitioning.column)
    {
        let granularity = advised.partitioning.granularity.as_str().to_lowercase();
        add(column, format!("finer than its partitions of a {granularity}"));
    }
    let day = partitioning.map(|advised| advised.partitioning.column.as_str());
    let mut others: Vec<(&ColumnMapping, usize)> = mapping
        .columns
        .iter()
        .filter(|column| Some(column.target_name.as_str()) != day && is_filtered_by(&column.source_name))
        .map(|column| (column, facts.column(&column.source_name).map_or(2, |facts| facts.distinct)))
        .filter(|(_, distinct)| *distinct > 1)
        .collect();
    others.sort_by_key(|(_, distinct)| std::cmp::Reverse(*distinct));
    for (column, distinct) in others {
        let sampled = match facts.column(&column.source_name) {
            Some(_) => format!("; {distinct} distinct values in the sample"),
            None => String::new(),
        };
        add(column, format!("its name says that it is filtered or joined by{sampled}"));
    }
    chosen
}

/// Types that BigQuery clusters by, at the top level.
fn can_cluster(column: &ColumnMapping) -> bool {
    use BigQueryType::{Bytes, Float64, Interval, Json, Record, Time};
    column.mode != Mode::Repeated
        && !matches!(column.bigquery_type, Float64 | Bytes | Time | Json | Interval | Record(_))
}

/// Endings of names by which tables are joined or filtered.
fn is_filtered_by(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "id", "key", "code", "sku", "country", "region", "status", "state", "type", "category", "tenant",
        "customer", "account", "currency",
    ];
    last_word(name).is_some_and(|word| WORDS.contains(&word.as_str()))
}

/// The words of a name: `orderId`, `order_id` and `ORDER ID` are `order` and `id`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for character in name.chars() {
        if !character.is_alphanumeric() || character.is_uppercase() && lower_before {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        lower_before = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn last_word(name: &str) -> Option<String> {
    words(name).pop()
}

/// Bytes for people.
fn megabytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB")];
    let unit = UNITS.iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(
        || format!("{} kB", bytes.div_ceil(1000)),
        |(size, name)| format!("{} {name}", bytes / size),
    )
}
