//! Which types a column can be loaded as, and the recipe for each.

use arrow_schema::{DataType, IntervalUnit};

use super::parse::{Separators, TimeFormat, Want};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::bigquery::{BigQueryType, Mode, RecordField};
use crate::schema::recipe::Recipe;
use crate::schema::table::{Extension, list_item};

const NUMERIC: BigQueryType = BigQueryType::Numeric(None);
const BIGNUMERIC: BigQueryType = BigQueryType::BigNumeric(None);

/// Which BigQuery types a column of this Arrow type can be loaded as, best first. Decimals have no
/// parameters here. STRING is always possible and, but for texts, last.
///
/// A type is possible if its values can fit without a change, be it that not every one does: `NUMERIC`
/// text is possible as INT64, and a value of `1.5` is then a reject. Of lists, the types of the elements
/// (for a REPEATED column) come first, then JSON and STRING for the whole list.
#[must_use]
pub fn possible_types(data_type: &DataType, extension: Option<Extension>) -> Vec<BigQueryType> {
    use BigQueryType::{
        Bool, Bytes, Date, DateTime, Float64, Geography, Int64, Json, String, Time, Timestamp,
    };
    match extension {
        Some(Extension::Json) => return vec![Json, String],
        Some(Extension::Uuid) => return vec![String, Bytes],
        Some(Extension::GeoWkt) => return vec![Geography, String],
        None => {}
    }
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => vec![Int64, NUMERIC, BIGNUMERIC, Float64, Bool, Timestamp, Date, String],
        DataType::UInt64 => vec![NUMERIC, Int64, BIGNUMERIC, Float64, Bool, Timestamp, Date, String],
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            vec![Float64, NUMERIC, BIGNUMERIC, Int64, String]
        }
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => match BigQueryType::decimal(*p, *s) {
            BigQueryType::Numeric(_) => vec![NUMERIC, BIGNUMERIC, Int64, String],
            _ => vec![BIGNUMERIC, NUMERIC, Int64, String],
        },
        DataType::Boolean => vec![Bool, Int64, String],
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => vec![
            String, Int64, NUMERIC, BIGNUMERIC, Float64, Bool, Date, DateTime, Time, Timestamp, Json,
            Geography,
        ],
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            vec![Bytes, String]
        }
        DataType::Date32 | DataType::Date64 => vec![Date, DateTime, String],
        DataType::Timestamp(_, None) => vec![DateTime, Date, String],
        DataType::Timestamp(_, Some(_)) => vec![Timestamp, String],
        DataType::Time32(_) | DataType::Time64(_) => vec![Time, String],
        DataType::Null => vec![
            String, Int64, NUMERIC, BIGNUMERIC, Float64, Bool, Bytes, Date, DateTime, Time, Timestamp, Json,
            Geography,
        ],
        DataType::Dictionary(_, value) => possible_types(value, None),
        DataType::RunEndEncoded(_, value) => possible_types(value.data_type(), None),
        DataType::Duration(_) => vec![Int64, String],
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| of_field(field.name(), field.data_type()));
            match fields.collect::<Option<Vec<_>>>() {
                Some(fields) if !fields.is_empty() => vec![BigQueryType::Record(fields), Json, String],
                _ => vec![Json, String],
            }
        }
        DataType::Map(..) | DataType::Union(..) => vec![Json, String],
        DataType::Interval(IntervalUnit::MonthDayNano) => vec![String, BigQueryType::Interval],
        other => list_item(other).map_or_else(|| vec![String], |item| of_list(item.data_type())),
    }
}

fn is_list(data_type: &DataType) -> bool {
    list_item(data_type).is_some()
}

/// No array of arrays; else the elements' types, then the text forms of the whole list.
fn of_list(item: &DataType) -> Vec<BigQueryType> {
    let mut types = if is_list(item) { Vec::new() } else { possible_types(item, None) };
    types.retain(|possible| !matches!(possible, BigQueryType::Json | BigQueryType::String));
    types.extend([BigQueryType::Json, BigQueryType::String]);
    types
}

fn of_field(name: &str, data_type: &DataType) -> Option<RecordField> {
    let (element, mode) = match list_item(data_type) {
        Some(item) if is_list(item.data_type()) => return None,
        Some(item) => (item.data_type(), Mode::Repeated),
        None => (data_type, Mode::Nullable),
    };
    let data_type = possible_types(element, None).into_iter().next()?;
    Some(RecordField { name: name.to_owned(), data_type, mode })
}

/// Whether a record is what a range is read as: its start and its end.
fn is_range(data_type: &DataType, target: &BigQueryType) -> bool {
    matches!(target, BigQueryType::Range(_)) && data_type.equals_datatype(&target.arrow_type())
}

/// The recipe that reads `data_type` as `target`. `format` is that of an override, for example `%Y%m%d`
/// for a DATE, `Y/N` for a BOOL, `s` or `ms` for a TIMESTAMP from a number since 1970; without it the
/// standard form of the type is expected.
///
/// For lists the recipe is that of the elements.
///
/// # Errors
/// `type_mapping` for an impossible type, with the possible ones, and for a format that the type does not
/// take.
pub fn recipe_for(data_type: &DataType, target: &BigQueryType, format: Option<&str>) -> Result<Recipe> {
    let possible = possible_types(data_type, None);
    let found = possible.iter().any(|possible| {
        possible.name() == target.name() && !matches!(target, BigQueryType::Record(_))
            || matches!((data_type, target), (DataType::Struct(_), BigQueryType::Record(_)))
            || is_range(data_type, target)
    });
    // UUIDs and other extensions are marked on the field, which is not known here.
    if !found {
        let names: Vec<&str> = possible.iter().map(BigQueryType::name).collect();
        return Err(Error::new(
            ErrorKind::TypeMapping,
            format!("a column of type {data_type} cannot be loaded as {target}"),
        )
        .hint(format!("possible types for it: {}", names.join(", "))));
    }
    if let Some(item) = list_item(data_type)
        && !is_list(item.data_type())
        && *target != BigQueryType::Json
    {
        return recipe_for(item.data_type(), target, format);
    }
    match data_type {
        DataType::Dictionary(_, value) => recipe_for(value, target, format),
        DataType::RunEndEncoded(_, value) => recipe_for(value.data_type(), target, format),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => from_text(target, format),
        data_type if data_type.is_integer() => from_integer(target, format),
        _ => {
            no_format(target, format)?;
            Ok(match (data_type, target) {
                (DataType::Null, _) => Recipe::Direct,
                (_, BigQueryType::String | BigQueryType::Json) => Recipe::ToText,
                _ => Recipe::Direct,
            })
        }
    }
}

fn no_format(target: &BigQueryType, format: Option<&str>) -> Result<()> {
    match format {
        None => Ok(()),
        Some(format) => Err(Error::new(
            ErrorKind::TypeMapping,
            format!("{target} takes no format from this column, but `{format}` is given"),
        )
        .hint(
            "leave `format` out; it belongs to numbers, BOOL, DATE, TIME, DATETIME and TIMESTAMP from text",
        )),
    }
}

fn from_text(target: &BigQueryType, format: Option<&str>) -> Result<Recipe> {
    let checked = |want, standard: &str| {
        let format = format.unwrap_or(standard);
        time_format(format, want).map(|_| format.to_owned())
    };
    Ok(match target {
        BigQueryType::Bool => {
            let (yes, no) = format
                .unwrap_or("true/false")
                .split_once('/')
                .map(|(yes, no)| (yes.trim(), no.trim()))
                .filter(|(yes, no)| {
                    !yes.is_empty() && !no.is_empty() && yes.to_lowercase() != no.to_lowercase()
                })
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::TypeMapping,
                        format!("`{}` is not a format of BOOL", format.unwrap_or_default()),
                    )
                    .hint("give the words for true and false with a slash between, for example `Y/N`")
                })?;
            Recipe::ParseBool { yes: yes.to_owned(), no: no.to_owned() }
        }
        BigQueryType::Date => Recipe::ParseDate { format: checked(Want::Date, "%Y-%m-%d")? },
        BigQueryType::Time => Recipe::ParseTime { format: checked(Want::Time, "%H:%M:%S%.f")? },
        BigQueryType::DateTime => {
            Recipe::ParseDateTime { format: checked(Want::DateTime, "%Y-%m-%d %H:%M:%S%.f")? }
        }
        BigQueryType::Timestamp => match epoch(format) {
            Some(recipe) => recipe,
            None => Recipe::ParseTimestamp { format: checked(Want::Timestamp, "%Y-%m-%dT%H:%M:%S%.f%:z")? },
        },
        BigQueryType::Int64
        | BigQueryType::Numeric(_)
        | BigQueryType::BigNumeric(_)
        | BigQueryType::Float64
            if format.is_some() =>
        {
            let format = format.unwrap_or_default();
            Separators::new(format).ok_or_else(|| {
                Error::new(ErrorKind::TypeMapping, format!("`{format}` is not a format of a number")).hint(
                    "give the separator of thousands, if there is one, and the decimal point: `,.` for 1,234.5 \
                     and `.,` for 1.234,5 and `,` for 1234,5",
                )
            })?;
            Recipe::ParseGrouped { format: format.to_owned() }
        }
        other => {
            no_format(other, format)?;
            match other {
                BigQueryType::Int64 => Recipe::ParseInteger,
                BigQueryType::Numeric(_) | BigQueryType::BigNumeric(_) => Recipe::ParseDecimal,
                BigQueryType::Float64 => Recipe::ParseFloat,
                BigQueryType::Json => Recipe::ParseJson,
                _ => Recipe::Direct,
            }
        }
    })
}

fn from_integer(target: &BigQueryType, format: Option<&str>) -> Result<Recipe> {
    match target {
        BigQueryType::Timestamp => epoch(format.or(Some("s"))).ok_or_else(|| {
            Error::new(
                ErrorKind::TypeMapping,
                format!("`{}` is not a format of TIMESTAMP from an integer", format.unwrap_or_default()),
            )
            .hint("give `s` for seconds or `ms` for milliseconds since 1970")
        }),
        BigQueryType::Date => {
            let format = format.unwrap_or("%Y%m%d");
            time_format(format, Want::Date)?;
            Ok(Recipe::ParseDate { format: format.to_owned() })
        }
        other => {
            no_format(other, format)?;
            Ok(match other {
                BigQueryType::Bool => Recipe::IntegerToBool,
                BigQueryType::String => Recipe::ToText,
                _ => Recipe::Direct,
            })
        }
    }
}

fn epoch(format: Option<&str>) -> Option<Recipe> {
    match format? {
        "s" | "%s" => Some(Recipe::EpochSeconds),
        "ms" => Some(Recipe::EpochMillis),
        _ => None,
    }
}

/// Compiles a format.
pub(super) fn time_format(format: &str, want: Want) -> Result<TimeFormat> {
    TimeFormat::new(format, want).map_err(|reason| {
        Error::new(ErrorKind::TypeMapping, reason).hint("formats are those of strptime, for example %d/%m/%Y")
    })
}
