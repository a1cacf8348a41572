//! What a sample says of each column that matters for a layout.

use std::collections::{BTreeMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};

use crate::schema::bigquery::{BigQueryType, Mode};
use crate::schema::cast::{Caster, RejectPolicy, to_text};
use crate::schema::mapping::{ColumnMapping, TableMapping};

/// Rows that are looked at for lengths and distinct values.
const ROWS: usize = 2_048;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Bytes of a text of which no sample is known.
const TEXT: u64 = 20;

/// Facts of the columns of a mapping.
pub(super) struct Facts {
    columns: BTreeMap<String, ColumnFacts>,
    row_bytes: u64,
}

/// Facts of one column's values in the sample.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnFacts {
    pub(super) rows: usize,
    pub(super) nulls: usize,
    pub(super) distinct: usize,
    /// Days since 1970 of every value of a date or time, ascending.
    pub(super) days: Vec<i64>,
    /// Smallest and largest integer.
    pub(super) integers: Option<(i64, i64)>,
}

impl Facts {
    /// Facts of the sample's values in their new types.
    pub(super) fn of(mapping: &TableMapping, sample: Option<&RecordBatch>) -> Self {
        let cast = sample.and_then(|sample| cast(mapping, sample)).filter(|cast| cast.num_rows() > 0);
        let mut facts = Self { columns: BTreeMap::new(), row_bytes: 0 };
        for (index, column) in mapping.columns.iter().enumerate() {
            let array = cast.as_ref().and_then(|cast| cast.columns().get(index));
            let (bytes, known) = match array {
                Some(array) => {
                    let (mean, distinct) = texts(array);
                    let known = ColumnFacts {
                        rows: array.len(),
                        nulls: array.logical_nulls().map_or(0, |nulls| nulls.null_count()),
                        distinct,
                        days: days(array, &column.bigquery_type),
                        integers: integers(array),
                    };
                    (value_bytes(column, mean), Some(known))
                }
                None => (value_bytes(column, TEXT), None),
            };
            facts.row_bytes += bytes;
            facts.columns.extend(known.map(|known| (column.source_name.clone(), known)));
        }
        facts
    }

    pub(super) fn column(&self, source_name: &str) -> Option<&ColumnFacts> {
        self.columns.get(source_name)
    }

    /// Whether a time can partition; what no sample was seen of may.
    pub(super) fn is_usable(&self, column: &ColumnMapping) -> bool {
        self.column(&column.source_name).is_none_or(super::partition::is_usable)
    }

    /// Logical bytes of a row.
    pub(super) fn row_bytes(&self) -> u64 {
        self.row_bytes
    }
}

impl ColumnFacts {
    /// The first and last day among all values but the outermost 0.1 %.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let cut = self.days.len() / 1000;
        let kept = self.days.get(cut..self.days.len().saturating_sub(cut))?;
        Some((*kept.first()?, *kept.last()?))
    }
}

/// The sample in the types of the mapping; `None` where it does not go, which is for a load to tell.
fn cast(mapping: &TableMapping, sample: &RecordBatch) -> Option<RecordBatch> {
    let mut mapping = mapping.clone();
    mapping.added.clear();
    for column in mapping.columns.iter_mut().filter(|column| column.mode == Mode::Required) {
        column.mode = Mode::Nullable;
    }
    let caster = Caster::new(&mapping, &sample.schema(), RejectPolicy::Null).ok()?;
    Some(caster.cast(sample).ok()?.0)
}

/// Mean length and number of distinct values among the first rows.
fn texts(array: &ArrayRef) -> (u64, usize) {
    let head = array.slice(0, array.len().min(ROWS));
    let Ok(texts) = to_text::column(&head, None) else { return (TEXT, 0) };
    let values: Vec<&str> = texts.iter().flatten().collect();
    let bytes: usize = values.iter().map(|value| value.len()).sum();
    let mean = bytes.checked_div(values.len()).unwrap_or_default();
    let distinct = values.into_iter().collect::<HashSet<_>>().len();
    (u64::try_from(mean).unwrap_or(TEXT), distinct)
}

fn integers(array: &ArrayRef) -> Option<(i64, i64)> {
    let values =
        || array.as_primitive_opt::<Int64Type>().into_iter().flat_map(|values| values.iter().flatten());
    Some((values().min()?, values().max()?))
}

fn days(array: &ArrayRef, data_type: &BigQueryType) -> Vec<i64> {
    let mut days = match data_type {
        BigQueryType::Date => values::<Date32Type>(array, i64::from),
        BigQueryType::DateTime | BigQueryType::Timestamp => {
            values::<TimestampMicrosecondType>(array, |micros| micros.div_euclid(MICROS_PER_DAY))
        }
        _ => Vec::new(),
    };
    days.sort_unstable();
    days
}

fn values<T: ArrowPrimitiveType>(array: &ArrayRef, day: impl Fn(T::Native) -> i64) -> Vec<i64> {
    array.as_primitive_opt::<T>().into_iter().flat_map(|values| values.iter().flatten()).map(day).collect()
}

/// Logical bytes of a value, as BigQuery counts them.
fn value_bytes(column: &ColumnMapping, mean: u64) -> u64 {
    use BigQueryType::{BigNumeric, Bool, Interval, Numeric, Range, String};
    if column.mode == Mode::Repeated {
        return mean;
    }
    match &column.bigquery_type {
        Bool => 1,
        Numeric(_) | Interval | Range(_) => 16,
        BigNumeric(_) => 32,
        String => mean + 2,
        BigQueryType::Bytes | BigQueryType::Json | BigQueryType::Record(_) | BigQueryType::Geography => mean,
        _ => 8,
    }
}
