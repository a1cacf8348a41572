//! BigQuery types: names, parameters, limits, and the Arrow type that holds each exactly.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use super::table::Extension;
use crate::error::{Error, ErrorKind, Result};

/// A BigQuery type. Repetition is a [`Mode`], not a type.
///
/// ```
/// use transload_core::schema::BigQueryType;
///
/// let price: BigQueryType = "numeric(15, 2)".parse()?;
/// assert_eq!(price.to_string(), "NUMERIC(15,2)");
/// assert!("NUMERIC(38,2)".parse::<BigQueryType>().is_err()); // 36 digits before the point do not fit
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BigQueryType {
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// 64-bit integer.
    Int64,
    /// IEEE double.
    Float64,
    /// Decimal with at most 29 digits before the point and 9 after it; optional (precision, scale).
    Numeric(Option<(u8, u8)>),
    /// Decimal with at most 38 digits before the point and 38 after it; optional (precision, scale).
    BigNumeric(Option<(u8, u8)>),
    /// Boolean.
    Bool,
    /// Calendar date, years 1 to 9999.
    Date,
    /// Date and time without zone, microseconds.
    DateTime,
    /// Time of day, microseconds.
    Time,
    /// Instant, microseconds.
    Timestamp,
    /// JSON document.
    Json,
    /// Geography on WGS 84.
    Geography,
    /// Years, months, days and a time, microseconds; a preview.
    Interval,
    /// From a start to an end of DATE, DATETIME or TIMESTAMP; a NULL end is open.
    Range(Box<Self>),
    /// Record with named fields.
    Record(Vec<RecordField>),
}

/// A field of a [`BigQueryType::Record`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: BigQueryType,
    /// Its mode.
    pub mode: Mode,
}

/// Whether a column may be NULL or repeats.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// NULL may occur.
    #[default]
    Nullable,
    /// NULL may not occur.
    Required,
    /// An array.
    Repeated,
}

impl Mode {
    /// BigQuery's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nullable => "NULLABLE",
            Self::Required => "REQUIRED",
            Self::Repeated => "REPEATED",
        }
    }
}

impl BigQueryType {
    /// The narrowest decimal type for `precision` digits with `scale` of them after the point, by the
    /// digit rule: at most 29 digits before the point and 9 after it for NUMERIC, 38 and 38 for
    /// BIGNUMERIC, else STRING. Scales below zero and above the precision are normalised first.
    ///
    /// Source: BigQuery's documentation of parameterized decimal types, checked for every pair.
    #[must_use]
    pub fn decimal(precision: u8, scale: i8) -> Self {
        let (mut precision, mut scale) = (i16::from(precision), i16::from(scale));
        if scale < 0 {
            precision -= scale;
            scale = 0;
        }
        precision = precision.max(scale);
        let integer_digits = precision - scale;
        // The REST field rule wants at least one digit before the point.
        let stored = if integer_digits == 0 { precision + 1 } else { precision };
        match (u8::try_from(stored), u8::try_from(scale)) {
            (Ok(p), Ok(s)) if s <= 9 && integer_digits <= 29 => Self::Numeric(Some((p, s))),
            (Ok(p), Ok(s)) if s <= 38 && integer_digits <= 38 => Self::BigNumeric(Some((p, s))),
            _ => Self::String,
        }
    }

    /// The name without parameters, as BigQuery's DDL spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Bytes => "BYTES",
            Self::Int64 => "INT64",
            Self::Float64 => "FLOAT64",
            Self::Numeric(_) => "NUMERIC",
            Self::BigNumeric(_) => "BIGNUMERIC",
            Self::Bool => "BOOL",
            Self::Date => "DATE",
            Self::DateTime => "DATETIME",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Json => "JSON",
            Self::Geography => "GEOGRAPHY",
            Self::Interval => "INTERVAL",
            Self::Range(_) => "RANGE",
            Self::Record(_) => "RECORD",
        }
    }

    /// How many columns of the table's limit it takes: of a record, those of its fields.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match self {
            Self::Record(fields) => fields.iter().map(|field| field.data_type.leaves()).sum::<usize>() + 1,
            _ => 1,
        }
    }

    /// Levels of records in it.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Record(fields) => fields.iter().map(|field| field.data_type.depth()).max().unwrap_or(0) + 1,
            _ => 0,
        }
    }

    /// Precision and scale of a decimal type; the type's full range where it has no parameters.
    #[must_use]
    pub fn precision_scale(&self) -> Option<(u8, u8)> {
        match self {
            Self::Numeric(parameters) => Some(parameters.unwrap_or((38, 9))),
            Self::BigNumeric(parameters) => Some(parameters.unwrap_or((76, 38))),
            _ => None,
        }
    }

    /// The Arrow type of one value. Batches for destinations use exactly these.
    #[must_use]
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::String | Self::Json | Self::Geography => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Numeric(_) | Self::BigNumeric(_) => {
                let (precision, scale) = self.precision_scale().unwrap_or((38, 9));
                let scale = i8::try_from(scale).unwrap_or(i8::MAX);
                if matches!(self, Self::Numeric(_)) {
                    DataType::Decimal128(precision, scale)
                } else {
                    DataType::Decimal256(precision, scale)
                }
            }
            Self::Bool => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Range(element) => {
                let end = element.arrow_type();
                let fields = vec![Field::new("start", end.clone(), true), Field::new("end", end, true)];
                DataType::Struct(fields.into())
            }
            Self::Record(fields) => {
                DataType::Struct(fields.iter().map(RecordField::to_field).collect::<Fields>())
            }
        }
    }

    /// The Arrow extension type that marks values of this type, if any.
    #[must_use]
    pub fn extension(&self) -> Option<Extension> {
        match self {
            Self::Json => Some(Extension::Json),
            Self::Geography => Some(Extension::GeoWkt),
            _ => None,
        }
    }

    fn check(self) -> Result<Self> {
        let limits = match &self {
            Self::Numeric(Some((p, s))) => Some((*p, *s, 9, 29)),
            Self::BigNumeric(Some((p, s))) => Some((*p, *s, 38, 38)),
            _ => None,
        };
        if let Some((precision, scale, max_scale, max_integer)) = limits
            && (scale > max_scale || scale > precision || precision - scale > max_integer || precision == 0)
        {
            return Err(Error::new(ErrorKind::TypeMapping, format!("{self} is not a BigQuery type")).hint(
                format!(
                    "{} takes at most {max_integer} digits before the point and {max_scale} after it",
                    self.name()
                ),
            ));
        }
        Ok(self)
    }
}

impl RecordField {
    /// The field as an Arrow field.
    #[must_use]
    pub fn to_field(&self) -> Field {
        target_field(&self.name, &self.data_type, self.mode)
    }
}

/// The Arrow field of a target column.
pub(super) fn target_field(name: &str, data_type: &BigQueryType, mode: Mode) -> Field {
    let value = data_type.arrow_type();
    let field = match mode {
        Mode::Nullable => Field::new(name, value, true),
        Mode::Required => Field::new(name, value, false),
        // BigQuery stores a NULL array as an empty one and refuses NULL elements.
        Mode::Repeated => Field::new(name, DataType::List(Arc::new(Field::new("item", value, true))), true),
    };
    match data_type.extension() {
        Some(extension) if mode != Mode::Repeated => field.with_metadata(
            [(super::table::EXTENSION_KEY.to_owned(), extension.as_str().to_owned())].into_iter().collect(),
        ),
        _ => field,
    }
}

impl fmt::Display for BigQueryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Numeric(Some((precision, 0))) | Self::BigNumeric(Some((precision, 0))) => {
                write!(f, "({precision})")
            }
            Self::Numeric(Some((precision, scale))) | Self::BigNumeric(Some((precision, scale))) => {
                write!(f, "({precision},{scale})")
            }
            Self::Range(element) => write!(f, "<{element}>"),
            Self::Record(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|x| format!("{} {} {}", x.name, x.data_type, x.mode.as_str()))
                    .collect();
                write!(f, "<{}>", fields.join(", "))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for BigQueryType {
    type Err = Error;

    /// Reads a type as people write it: any case, BigQuery's aliases, optional parameters.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::new(ErrorKind::TypeMapping, format!("`{text}` is not a BigQuery type that a column can get")).hint(
                "known types: STRING, BYTES, INT64, FLOAT64, NUMERIC(p,s), BIGNUMERIC(p,s), BOOL, DATE, DATETIME, \
                 TIME, TIMESTAMP, JSON, GEOGRAPHY, RECORD<name TYPE, ...>",
            )
        };
        if let Some((name, rest)) = text.trim().split_once('<') {
            let inner = rest.strip_suffix('>').ok_or_else(unknown)?;
            return match name.trim().to_ascii_uppercase().as_str() {
                "RECORD" | "STRUCT" => record(inner).ok_or_else(unknown),
                "RANGE" => match inner.parse()? {
                    element @ (Self::Date | Self::DateTime | Self::Timestamp) => {
                        Ok(Self::Range(Box::new(element)))
                    }
                    _ => Err(unknown()),
                },
                _ => Err(unknown()),
            };
        }
        let (name, parameters) = match text.trim().split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or_else(unknown)?)),
            None => (text.trim(), None),
        };
        let decimal = || -> Result<Option<(u8, u8)>> {
            let Some(parameters) = parameters else { return Ok(None) };
            let mut numbers = parameters.split(',').map(|part| part.trim().parse::<u8>());
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(precision)), None, None) => Ok(Some((precision, 0))),
                (Some(Ok(precision)), Some(Ok(scale)), None) => Ok(Some((precision, scale))),
                _ => Err(unknown()),
            }
        };
        let name = name.trim().to_ascii_uppercase();
        match name.as_str() {
            "NUMERIC" | "DECIMAL" => return Self::Numeric(decimal()?).check(),
            "BIGNUMERIC" | "BIGDECIMAL" => return Self::BigNumeric(decimal()?).check(),
            _ if parameters.is_some() => return Err(unknown()),
            _ => {}
        }
        Ok(match name.as_str() {
            "STRING" => Self::String,
            "BYTES" => Self::Bytes,
            "INT64" | "INTEGER" | "INT" | "BIGINT" | "SMALLINT" | "TINYINT" | "BYTEINT" => Self::Int64,
            "FLOAT64" | "FLOAT" => Self::Float64,
            "BOOL" | "BOOLEAN" => Self::Bool,
            "DATE" => Self::Date,
            "DATETIME" => Self::DateTime,
            "TIME" => Self::Time,
            "TIMESTAMP" => Self::Timestamp,
            "JSON" => Self::Json,
            "GEOGRAPHY" => Self::Geography,
            "INTERVAL" => Self::Interval,
            _ => return Err(unknown()),
        })
    }
}

/// Fields as `name TYPE` or `name TYPE MODE`; `ARRAY<TYPE>` repeats.
fn record(inner: &str) -> Option<BigQueryType> {
    let field = |text: &String| {
        let (name, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        let modes = [Mode::Nullable, Mode::Required, Mode::Repeated];
        let stated = modes
            .into_iter()
            .find_map(|mode| Some((mode, rest.strip_suffix(mode.as_str())?.strip_suffix(' ')?)));
        let (mode, rest) = match rest.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
            Some(item) => (Mode::Repeated, item),
            None => stated.unwrap_or((Mode::Nullable, rest)),
        };
        Some(RecordField { name: name.to_owned(), data_type: rest.trim().parse().ok()?, mode })
    };
    let fields = top_level_parts(inner).iter().map(field).collect::<Option<Vec<_>>>()?;
    Some(BigQueryType::Record(fields))
}

/// The parts between commas that are in no bracket.
pub(super) fn top_level_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for character in text.chars() {
        match character {
            '(' | '<' => depth += 1,
            ')' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

impl<'de> serde::Deserialize<'de> for BigQueryType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for BigQueryType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decimal_rule_of_the_reference_table() {
        let cases = [
            ((19, 0), "NUMERIC(19)"),
            ((29, 0), "NUMERIC(29)"),
            ((30, 0), "BIGNUMERIC(30)"),
            ((38, 0), "BIGNUMERIC(38)"),
            ((39, 0), "STRING"),
            ((31, 2), "NUMERIC(31,2)"),
            ((32, 2), "BIGNUMERIC(32,2)"),
            ((38, 8), "BIGNUMERIC(38,8)"),
            ((38, 9), "NUMERIC(38,9)"),
            ((3, -2), "NUMERIC(5)"),
            ((38, 10), "BIGNUMERIC(38,10)"),
            ((39, 9), "BIGNUMERIC(39,9)"),
            ((65, 30), "BIGNUMERIC(65,30)"),
            ((76, 38), "BIGNUMERIC(76,38)"),
            ((77, 38), "STRING"),
            ((65, 0), "STRING"),
            ((50, 39), "STRING"),
            ((5, 5), "NUMERIC(6,5)"),
            ((38, 38), "BIGNUMERIC(39,38)"),
        ];
        for ((precision, scale), expected) in cases {
            assert_eq!(
                BigQueryType::decimal(precision, scale).to_string(),
                expected,
                "({precision},{scale})"
            );
        }
    }

    #[test]
    fn text_forms_round_trip() {
        for text in [
            "STRING",
            "INT64",
            "NUMERIC",
            "NUMERIC(10,2)",
            "BIGNUMERIC(40,20)",
            "DATETIME",
            "JSON",
            "INTERVAL",
            "RANGE<DATE>",
            "RECORD<a INT64 NULLABLE, b RECORD<c NUMERIC(4,2) REQUIRED> REPEATED, d STRING REPEATED>",
        ] {
            assert_eq!(text.parse::<BigQueryType>().unwrap().to_string(), text);
        }
        assert_eq!("bigint".parse::<BigQueryType>().unwrap(), BigQueryType::Int64);
        for text in [
            "NUMERIC(38,2)",
            "NUMERIC(0)",
            "STRING(",
            "INT64(3)",
            "VARCHAR",
            "NUMERIC(1,2,3)",
            "RANGE<INT64>",
            "RECORD<a>",
        ] {
            assert!(text.parse::<BigQueryType>().is_err(), "{text}");
        }
    }
}
