//! From a column as its catalog describes it to a proposal, without looking at a value.

use arrow_schema::{DataType, Fields, IntervalUnit, TimeUnit};

use super::bigquery::{BigQueryType, Mode, RecordField};
use super::cast::{RoundPolicy, possible_types, recipe_for};
use super::mapping::{Alternative, ColumnMapping, Confidence, Lossless, Warning};
use super::names::target_names;
use super::recipe::Recipe;
use super::systems::meaning;
use super::table::{ColumnSchema, EXTENSION_KEY, Extension, list_item};
use crate::error::Result;

/// The proposal from the catalog type alone.
pub(super) fn by_catalog(column: &ColumnSchema, target_name: String) -> Result<ColumnMapping> {
    let (bigquery_type, repeated, reason) = match &column.bigquery_type {
        // What is at BigQuery already stays what it is.
        Some(same) => (same.clone(), is_list(&column.data_type), "the same type".to_owned()),
        None => arrow_to_bigquery(&column.data_type, column.extension)?,
    };
    // A list that does not repeat is read as a whole.
    let read = if repeated { element_type(&column.data_type) } else { &column.data_type };
    let recipe = recipe_for(read, &bigquery_type, None)?;
    let mode = match (repeated, column.nullable) {
        (true, _) => Mode::Repeated,
        (false, true) => Mode::Nullable,
        (false, false) => Mode::Required,
    };
    let mut warnings = column.note.warnings.clone();
    let implied = match &bigquery_type {
        _ if repeated => Some("W_ARRAY_NULL"),
        BigQueryType::Json => Some("W_JSON_NUM"),
        BigQueryType::Geography => Some("W_GEO_PLANAR"),
        _ if matches!(column.data_type, DataType::Duration(_)) => Some("W_UNIT"),
        _ => None,
    };
    if let Some(code) = implied.filter(|code| !warnings.iter().any(|warning| warning.code == *code)) {
        warnings.push(Warning::new(code, meaning(code)));
    }
    let reason = column.note.reason.clone().unwrap_or(reason);
    Ok(ColumnMapping {
        source_name: column.name.clone(),
        source_type: column.source_type.clone(),
        arrow_type: arrow_name(&column.data_type),
        target_name,
        bigquery_type,
        mode,
        recipe,
        confidence: column.note.confidence,
        score: catalog_score(column),
        reason,
        lossless: column.note.lossless,
        warnings,
        alternatives: Vec::new(),
        description: None,
        overridden: false,
        null_tokens: Vec::new(),
        evidence: None,
        semantic: None,
        on_reject: None,
        on_round: RoundPolicy::default(),
    })
}

/// INTERVAL and RANGE, which Arrow has no type of its own for.
pub(super) fn name_preview_type(mapped: &mut ColumnMapping, named: &str) {
    match (&mapped.bigquery_type, named.parse()) {
        (_, Ok(interval @ BigQueryType::Interval)) => mapped.bigquery_type = interval,
        (BigQueryType::Record(fields), _) if named.starts_with("RANGE<") => {
            if let Some(start) = fields.first() {
                mapped.bigquery_type = BigQueryType::Range(Box::new(start.data_type.clone()));
            }
        }
        _ => {}
    }
}

/// The score of a type's band, less what is unproved: 0.10 while values must still pass a check, 0.05 where
/// the system is mapped like the one that it descends from.
fn catalog_score(column: &ColumnSchema) -> f64 {
    let unproved = if column.note.lossless == Lossless::Conditional { 10 } else { 0 };
    let dialect = column.note.warnings.iter().any(|warning| warning.code == "W_DIALECT");
    (column.note.confidence.score() * 100.0 - f64::from(unproved + if dialect { 5 } else { 0 })).round()
        / 100.0
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn element_type(data_type: &DataType) -> &DataType {
    list_item(data_type).map_or(data_type, |item| item.data_type())
}

/// The name of an Arrow type in mappings. Ours, because the library's own has changed between versions and
/// this one is part of a mapping's hash.
pub(super) fn arrow_name(data_type: &DataType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    let fields = |fields: &Fields| {
        let fields: Vec<String> =
            fields.iter().map(|f| format!("{}: {}", f.name(), arrow_name(f.data_type()))).collect();
        fields.join(", ")
    };
    match data_type {
        DataType::Timestamp(u, None) => format!("Timestamp({})", unit(u)),
        DataType::Timestamp(u, Some(zone)) => format!("Timestamp({},{zone})", unit(u)),
        DataType::Time32(u) => format!("Time32({})", unit(u)),
        DataType::Time64(u) => format!("Time64({})", unit(u)),
        DataType::Duration(u) => format!("Duration({})", unit(u)),
        DataType::Decimal32(p, s) => format!("Decimal32({p},{s})"),
        DataType::Decimal64(p, s) => format!("Decimal64({p},{s})"),
        DataType::Decimal128(p, s) => format!("Decimal128({p},{s})"),
        DataType::Decimal256(p, s) => format!("Decimal256({p},{s})"),
        DataType::FixedSizeBinary(size) => format!("FixedSizeBinary({size})"),
        DataType::List(item) => format!("List<{}>", arrow_name(item.data_type())),
        DataType::LargeList(item) => format!("LargeList<{}>", arrow_name(item.data_type())),
        DataType::FixedSizeList(item, size) => {
            format!("FixedSizeList<{},{size}>", arrow_name(item.data_type()))
        }
        DataType::ListView(item) => format!("ListView<{}>", arrow_name(item.data_type())),
        DataType::LargeListView(item) => format!("LargeListView<{}>", arrow_name(item.data_type())),
        DataType::Union(inner, _) => {
            let branches: Vec<String> =
                inner.iter().map(|(_, f)| format!("{}: {}", f.name(), arrow_name(f.data_type()))).collect();
            format!("Union<{}>", branches.join(", "))
        }
        DataType::Struct(inner) => format!("Struct<{}>", fields(inner)),
        DataType::Map(entries, _) => format!("Map<{}>", arrow_name(entries.data_type())),
        DataType::Dictionary(key, value) => format!("Dictionary<{},{}>", arrow_name(key), arrow_name(value)),
        DataType::RunEndEncoded(_, value) => format!("RunEndEncoded<{}>", arrow_name(value.data_type())),
        DataType::Interval(IntervalUnit::YearMonth) => "Interval(YearMonth)".to_owned(),
        DataType::Interval(IntervalUnit::DayTime) => "Interval(DayTime)".to_owned(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "Interval(MonthDayNano)".to_owned(),
        // Names without parameters, which have not changed.
        plain => plain.to_string(),
    }
}

/// The one table Arrow -> BigQuery: type, whether it repeats, and why.
fn arrow_to_bigquery(
    data_type: &DataType,
    extension: Option<Extension>,
) -> Result<(BigQueryType, bool, String)> {
    let simple = |bigquery_type: BigQueryType, reason: &str| Ok((bigquery_type, false, reason.to_owned()));
    match extension {
        Some(Extension::Json) => return simple(BigQueryType::Json, "JSON stays JSON"),
        Some(Extension::Uuid) => {
            return simple(BigQueryType::String, "BigQuery has no UUID type; its text keeps every value");
        }
        Some(Extension::GeoWkt) => return simple(BigQueryType::Geography, "well-known text on WGS 84"),
        None => {}
    }
    match data_type {
        DataType::Boolean => simple(BigQueryType::Bool, "same values"),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => simple(BigQueryType::Int64, "every value fits 64 bits"),
        DataType::UInt64 => {
            simple(BigQueryType::Numeric(Some((20, 0))), "unsigned 64-bit values go beyond INT64")
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            simple(BigQueryType::Float64, "every value is an IEEE double")
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let bigquery_type = BigQueryType::decimal(*precision, *scale);
            let reason = match bigquery_type {
                BigQueryType::String => "more digits than BIGNUMERIC holds; text keeps them",
                _ => "exact decimal with the same digits",
            };
            simple(bigquery_type, reason)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => simple(BigQueryType::String, "text"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            simple(BigQueryType::Bytes, "bytes as they are")
        }
        DataType::Date32 | DataType::Date64 => simple(BigQueryType::Date, "calendar date"),
        DataType::Timestamp(unit, zone) => {
            let (bigquery_type, reason) = match zone {
                Some(_) => (BigQueryType::Timestamp, "an instant"),
                None => (BigQueryType::DateTime, "no zone at the source, so none is invented"),
            };
            let nanos =
                if *unit == TimeUnit::Nanosecond { "; digits below microseconds do not fit" } else { "" };
            Ok((bigquery_type, false, format!("{reason}{nanos}")))
        }
        DataType::Time32(_) | DataType::Time64(_) => simple(BigQueryType::Time, "time of day"),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            let (bigquery_type, nested, reason) = arrow_to_bigquery(item.data_type(), None)?;
            if nested {
                return simple(BigQueryType::Json, "JSON keeps arrays of arrays");
            }
            Ok((bigquery_type, true, format!("array; {reason}")))
        }
        DataType::Struct(fields) => match record(fields)? {
            Some(record) => simple(record, "record with the same fields"),
            None => simple(
                BigQueryType::Json,
                "JSON: BigQuery's records have 1 field or more and 15 levels or less",
            ),
        },
        DataType::Interval(_) => simple(BigQueryType::String, "text; BigQuery's INTERVAL is a preview"),
        DataType::Map(..) => simple(BigQueryType::Json, "JSON keeps every key"),
        DataType::Union(..) => simple(BigQueryType::Json, "JSON takes values of several types"),
        DataType::Duration(unit) => {
            let unit = match unit {
                TimeUnit::Second => "seconds",
                TimeUnit::Millisecond => "milliseconds",
                TimeUnit::Microsecond => "microseconds",
                TimeUnit::Nanosecond => "nanoseconds",
            };
            Ok((BigQueryType::Int64, false, format!("a number of {unit}; BigQuery's INTERVAL is a preview")))
        }
        DataType::Dictionary(_, values) => arrow_to_bigquery(values, None),
        DataType::RunEndEncoded(_, values) => arrow_to_bigquery(values.data_type(), None),
        DataType::Null => simple(BigQueryType::String, "no value to tell a type from"),
    }
}

/// Levels of records that BigQuery takes.
const MAX_DEPTH: usize = 15;

fn record(fields: &Fields) -> Result<Option<BigQueryType>> {
    let names = target_names(fields.iter().map(|field| field.name().as_str()));
    let fields = fields.iter().zip(names).map(|(field, name)| {
        // Texts with a meaning keep it; the text forms of other extensions are for columns.
        let extension = field.metadata().get(EXTENSION_KEY).and_then(|name| Extension::from_name(name));
        let extension = extension.filter(|known| *known != Extension::Uuid);
        let (data_type, repeated, _) = arrow_to_bigquery(field.data_type(), extension)?;
        let mode = if repeated { Mode::Repeated } else { Mode::Nullable };
        Ok(RecordField { name, data_type, mode })
    });
    let record = BigQueryType::Record(fields.collect::<Result<Vec<_>>>()?);
    let possible = matches!(&record, BigQueryType::Record(fields) if !fields.is_empty());
    Ok((possible && record.depth() <= MAX_DEPTH).then_some(record))
}

/// Types that hold every value as well, for those who prefer them.
pub(super) fn wider(column: &ColumnSchema, mapped: &ColumnMapping) -> Vec<Alternative> {
    use BigQueryType::{BigNumeric, Bytes, Date, DateTime, Int64, Json, Numeric, Record, String};
    if mapped.mode == Mode::Repeated {
        return [Json]
            .map(|json| alternative(json, Recipe::ToText, "keeps NULL elements and NULL arrays"))
            .into();
    }
    let (numbers, text) = ("holds every value and can take more digits", "text keeps every value");
    let candidates = match &mapped.bigquery_type {
        Int64 => vec![(Numeric(None), numbers), (String, text)],
        Numeric(_) => vec![(BigNumeric(None), numbers), (String, text)],
        Date => vec![(DateTime, "midnight of the day"), (String, text)],
        Record(_) => vec![(Json, "takes new fields without a change of the table"), (String, text)],
        String if column.extension == Some(Extension::Uuid) => {
            vec![(Bytes, "16 bytes instead of 36 characters")]
        }
        String | Bytes => Vec::new(),
        _ => vec![(String, text)],
    };
    let possible = |(wanted, reason): (BigQueryType, &str)| {
        let known = possible_types(&column.data_type, column.extension);
        let fits = known.iter().any(|possible| possible.name() == wanted.name());
        let recipe = match column.extension {
            Some(_) => Recipe::Direct,
            None => recipe_for(&column.data_type, &wanted, None).ok()?,
        };
        fits.then(|| alternative(wanted, recipe, reason))
    };
    candidates.into_iter().filter_map(possible).collect()
}

/// Lossless, but not what one would choose without a reason.
fn alternative(bigquery_type: BigQueryType, recipe: Recipe, reason: &str) -> Alternative {
    let confidence = Confidence::Low;
    Alternative {
        bigquery_type,
        recipe,
        score: confidence.score(),
        confidence,
        reason: reason.to_owned(),
        evidence: None,
    }
}
