//! From a row and the text that was asked for to a column with its Arrow type.

use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

use super::condition::{Condition, Values};
use super::spelling::Spelling;
use super::{TypeAnswer, TypeRow, look_up_type, warnings};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::bigquery::{BigQueryType, top_level_parts};
use crate::schema::mapping::Warning;
use crate::schema::table::{ColumnSchema, Extension, TypeNote};

/// The system whose rows answer for this row.
pub(super) fn parent(row: &TypeRow) -> Option<&'static str> {
    match row.arrow_type.as_str() {
        "as mysql" => Some("mysql"),
        "as sqlserver" => Some("sqlserver"),
        _ => None,
    }
}

/// Whether the row speaks for all types that have no row of their own.
pub(super) fn is_shared(row: &TypeRow) -> bool {
    matches!(row.source_type.as_str(), "all types shared with mysql" | "supported types (dedicated pool)")
}

/// The values of the letters in a row's spelling; `None` where they contradict it.
pub(super) fn values(row: &TypeRow, asked: &Spelling) -> Option<Values> {
    let mut values = Values::new();
    let numbers: Vec<Option<i64>> = asked.arguments.iter().map(|argument| argument.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied().flatten();
    let scale = at(1).or(if asked.arguments.len() == 1 { Some(0) } else { None });
    let mut bind = |name: &str, value: Option<i64>| {
        if let Some(value) = value {
            values.insert(name.to_owned(), value);
        }
    };
    bind("p", at(0));
    bind("s", scale);
    for (index, letter) in row.spelling.arguments.iter().enumerate() {
        let value = if index == 1 { scale } else { at(index) };
        match letter.as_str() {
            // Here the letter is the number of zeros before the point.
            "-s" => bind("s", value.map(i64::abs)),
            letter => bind(letter, value),
        }
    }
    match &row.spelling.with {
        Some(with) if Condition::read(with).holds(&values) == Some(false) => None,
        _ => Some(values),
    }
}

/// The column of the row that holds; text where none does.
pub(super) fn chosen(answer: &TypeAnswer, name: &str) -> Result<ColumnSchema> {
    if answer.holds { column(answer, answer.row, name) } else { Ok(unproven(answer, name)) }
}

/// The column as a row has it.
pub(super) fn column(answer: &TypeAnswer, row: &'static TypeRow, name: &str) -> Result<ColumnSchema> {
    let mut column = shape(row, &answer.asked, name)
        .map_err(|error| error.with("system", &row.system).with("type", &answer.text))?;
    column.source_type.clone_from(&answer.text);
    column.note = TypeNote {
        confidence: row.confidence,
        lossless: row.lossless,
        reason: column.note.reason,
        warnings: row.warnings.clone(),
    };
    if answer.dialect && !column.note.warnings.iter().any(|warning| warning.code == "W_DIALECT") {
        column.note.warnings.push(Warning::new("W_DIALECT", warnings::meaning("W_DIALECT")));
    }
    Ok(column)
}

/// No row holds without proof: text keeps every value.
fn unproven(answer: &TypeAnswer, name: &str) -> ColumnSchema {
    let mut column = ColumnSchema::new(name, answer.text.clone(), DataType::Utf8);
    column.note.confidence = crate::schema::mapping::Confidence::Low;
    column.note.reason = Some("text keeps every value until a profile proves more".to_owned());
    column.note.warnings.clone_from(&answer.row.warnings);
    column
}

/// Arrow type and extension.
fn shape(row: &TypeRow, asked: &Spelling, name: &str) -> Result<ColumnSchema> {
    let text = row.arrow_type.as_str();
    if matches!(text, "as T" | "as type")
        && let Some(element) = asked.arguments.first()
    {
        return look_up_type(&row.system, element)?.column(name);
    }
    let extension = match row.bigquery_type.split_whitespace().next() {
        Some("JSON") => Some(Extension::Json),
        Some("GEOGRAPHY") => Some(Extension::GeoWkt),
        _ => None,
    };
    let data_type = match extension {
        Some(_) => Some(DataType::Utf8),
        None => data_type(text, row, asked)?.or_else(|| of_bigquery(&row.bigquery_type)),
    };
    let data_type = data_type.ok_or_else(|| open(row))?;
    // No array of arrays: JSON keeps both levels.
    let nested = matches!(&data_type, DataType::List(item) if matches!(item.data_type(), DataType::List(_)));
    let column =
        ColumnSchema::new(name, row.source_type.clone(), if nested { DataType::Utf8 } else { data_type });
    Ok(match (extension, nested) {
        (Some(extension), _) => column.extension(extension),
        (None, true) => column.extension(Extension::Json),
        (None, false) => column,
    })
}

fn open(row: &TypeRow) -> Error {
    let text = format!("type `{}` of {} does not say what it holds", row.source_type, row.system);
    Error::new(ErrorKind::TypeMapping, text)
        .hint(format!("it becomes {}; name the elements or the fields in the type's text", row.bigquery_type))
}

/// `None` where only BigQuery's type tells.
fn data_type(text: &str, row: &TypeRow, asked: &Spelling) -> Result<Option<DataType>> {
    let text = ["cast to ", "floor to ", "rescale to "]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    let text = text.split(" (").next().unwrap_or(text).trim();
    if text.starts_with("Decimal") {
        return Ok(decimal(text, asked));
    }
    if let Some(element) = text.strip_prefix("List<").and_then(|rest| rest.strip_suffix('>')) {
        return list(element, row, asked);
    }
    Ok(Some(match text {
        "same" => return data_type(&row.source_type, row, asked),
        "Null" | "null" => DataType::Null,
        "Boolean" => DataType::Boolean,
        "Int8" => DataType::Int8,
        "Int16" => DataType::Int16,
        "Int32" => DataType::Int32,
        "Int64" | "Int64 or Utf8" => DataType::Int64,
        "Float32" | "Float16 widened to Float32" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Utf8" => DataType::Utf8,
        "Binary" | "Binary WKB" | "FixedSizeBinary" | "FixedSizeBinary(n)" => DataType::Binary,
        "FixedSizeBinary(12)" => DataType::FixedSizeBinary(12),
        "Date32" => DataType::Date32,
        "Time64(us)" => DataType::Time64(TimeUnit::Microsecond),
        "Timestamp(us)" | "Timestamp(us, none)" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "Timestamp(us,UTC)" | "Timestamp(us, UTC)" | "relabel as UTC" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        "Interval(MonthDayNano)" => DataType::Interval(IntervalUnit::MonthDayNano),
        "unpack to V" => argument(1, row, asked)?,
        "unpack" => argument(0, row, asked)?,
        "Struct" | "Struct{f0..}" | "Struct{...}" => return record(row, asked),
        "Struct{start,end}" => return range(row, asked),
        "Struct{lower,upper,lower_inc,upper_inc,empty}" => return Ok(bounds(&row.source_type)),
        _ => return Ok(None),
    }))
}

/// Literal digits, or those of the type by the one decimal rule.
fn decimal(text: &str, asked: &Spelling) -> Option<DataType> {
    let own: Vec<String> =
        text.split_once('(').map(|(_, rest)| top_level_parts(rest.trim_end_matches(')'))).unwrap_or_default();
    let given = |index: usize| asked.arguments.get(index).and_then(|text| text.parse::<i16>().ok());
    let literal = |index: usize| own.get(index).and_then(|text| text.parse::<i16>().ok());
    let (precision, scale) = match (literal(0), literal(1)) {
        (Some(precision), Some(scale)) => (precision, scale),
        (precision, _) => (precision.or(given(0))?, given(1).unwrap_or(0)),
    };
    let (precision, scale) = match scale {
        ..0 => (precision - scale, 0),
        _ => (precision.max(scale), scale),
    };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    match BigQueryType::decimal(precision, scale) {
        BigQueryType::Numeric(_) if precision <= 38 => Some(DataType::Decimal128(precision, scale)),
        BigQueryType::String => None,
        _ => Some(DataType::Decimal256(precision, scale)),
    }
}

/// The type that an argument of the type names.
fn argument(index: usize, row: &TypeRow, asked: &Spelling) -> Result<DataType> {
    let text = asked.arguments.get(index).ok_or_else(|| open(row))?;
    element(text, row)
}

fn element(text: &str, row: &TypeRow) -> Result<DataType> {
    Ok(look_up_type(&row.system, text)?.column("item")?.data_type)
}

fn list(inner: &str, row: &TypeRow, asked: &Spelling) -> Result<Option<DataType>> {
    let item = match inner {
        "T" => argument(0, row, asked)?,
        "Struct{key,value}" => {
            let (key, value) = match asked.arguments.as_slice() {
                [_] => (DataType::Utf8, argument(0, row, asked)?),
                _ => (argument(0, row, asked)?, argument(1, row, asked)?),
            };
            DataType::Struct(vec![Field::new("key", key, true), Field::new("value", value, true)].into())
        }
        concrete => match data_type(concrete, row, asked)? {
            Some(item) => item,
            None => return Ok(None),
        },
    };
    Ok(Some(DataType::List(Arc::new(Field::new("item", item, true)))))
}

/// Fields as `name type` or `name:type`; of a tuple, types only.
fn record(row: &TypeRow, asked: &Spelling) -> Result<Option<DataType>> {
    if asked.arguments.is_empty() || asked.arguments.iter().any(|argument| argument == "...") {
        return Ok(None);
    }
    let tuple = row.arrow_type == "Struct{f0..}";
    let mut fields = Vec::with_capacity(asked.arguments.len());
    for (index, argument) in asked.arguments.iter().enumerate() {
        let (name, text) = match argument.split_once([':', ' ']) {
            Some((name, text)) if !tuple => (name.to_owned(), text),
            _ if tuple => (format!("f{index}"), argument.as_str()),
            _ => return Err(open(row)),
        };
        fields.push(Field::new(name, element(text.trim(), row)?, true));
    }
    Ok(Some(DataType::Struct(fields.into())))
}

/// PostgreSQL's ranges of numbers. A bound of `numrange` may have more digits than any decimal, so it is text.
fn bounds(source_type: &str) -> Option<DataType> {
    let bound = match source_type {
        "int4range" => DataType::Int32,
        "int8range" => DataType::Int64,
        "numrange" => DataType::Utf8,
        _ => return None,
    };
    let flag = |name| Field::new(name, DataType::Boolean, true);
    let fields = vec![
        Field::new("lower", bound.clone(), true),
        Field::new("upper", bound, true),
        flag("lower_inc"),
        flag("upper_inc"),
        flag("empty"),
    ];
    Some(DataType::Struct(fields.into()))
}

/// Start and end of what BigQuery's type names, else of the argument.
fn range(row: &TypeRow, asked: &Spelling) -> Result<Option<DataType>> {
    if row.bigquery_type != "RANGE<T>" {
        return Ok(None);
    }
    let end = argument(0, row, asked)?;
    let fields = vec![Field::new("start", end.clone(), true), Field::new("end", end, true)];
    Ok(Some(DataType::Struct(fields.into())))
}

/// The Arrow type of a BigQuery type that is written out.
fn of_bigquery(text: &str) -> Option<DataType> {
    let text = text.split(" (").next()?;
    match text.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
        Some(item) => {
            let item = item.parse::<BigQueryType>().ok()?.arrow_type();
            Some(DataType::List(Arc::new(Field::new("item", item, true))))
        }
        None => Some(text.parse::<BigQueryType>().ok()?.arrow_type()),
    }
}
