//! Values of cursor columns: windows, watermarks and their order, at the source's full precision.

use std::cmp::Ordering;
use std::fmt;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One value of a cursor column.
///
/// Zero, the empty text and the epoch are values; only absence is absence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CursorValue {
    /// An integer of any width.
    Int(i64),
    /// An unsigned integer beyond the signed range.
    UInt(u64),
    /// A decimal: unscaled value as text, and scale.
    Decimal(String, i8),
    /// Days since 1970-01-01.
    Date(i32),
    /// Date and time without zone, in nanoseconds since 1970-01-01 (a text, to keep all digits in JSON).
    DateTime(Nanos),
    /// Instant, in nanoseconds since 1970-01-01 UTC.
    Timestamp(Nanos),
    /// Text, compared by its bytes.
    Text(String),
}

/// Nanoseconds since 1970-01-01 as a wide integer: microseconds of every year fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i128);

impl Serialize for Nanos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Nanos).map_err(serde::de::Error::custom)
    }
}

impl CursorValue {
    /// Whether a column of this Arrow type can be a cursor.
    #[must_use]
    pub fn supports(data_type: &DataType) -> bool {
        data_type.is_integer()
            || matches!(
                data_type,
                DataType::Decimal128(..) | DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8
            )
    }

    /// Reads one value of an array; `None` for NULL.
    ///
    /// # Errors
    /// `unsupported` for a type that cannot be a cursor.
    pub fn from_array(array: &ArrayRef, row: usize) -> Result<Option<Self>> {
        if array.is_null(row) {
            return Ok(None);
        }
        let int = |value: i64| Ok(Some(Self::Int(value)));
        let zoned = |zone: &Option<_>, nanos: i128| match zone {
            Some(_) => Ok(Some(Self::Timestamp(Nanos(nanos)))),
            None => Ok(Some(Self::DateTime(Nanos(nanos)))),
        };
        match array.data_type() {
            DataType::Int8 => int(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => int(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => int(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => int(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => int(array.as_primitive::<UInt8Type>().value(row).into()),
            DataType::UInt16 => int(array.as_primitive::<UInt16Type>().value(row).into()),
            DataType::UInt32 => int(array.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                Ok(Some(i64::try_from(value).map_or(Self::UInt(value), Self::Int)))
            }
            DataType::Decimal128(_, scale) => {
                Ok(Some(Self::Decimal(array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale)))
            }
            DataType::Date32 => Ok(Some(Self::Date(array.as_primitive::<Date32Type>().value(row)))),
            DataType::Timestamp(TimeUnit::Second, zone) => zoned(
                zone,
                i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000,
            ),
            DataType::Timestamp(TimeUnit::Millisecond, zone) => zoned(
                zone,
                i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000,
            ),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                zoned(zone, i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                zoned(zone, array.as_primitive::<TimestampNanosecondType>().value(row).into())
            }
            DataType::Utf8 => Ok(Some(Self::Text(array.as_string::<i32>().value(row).to_owned()))),
            other => Err(Error::unsupported(format!("a column of type {other} cannot be a cursor"))
                .hint("choose an integer, decimal, date, timestamp or text column")),
        }
    }

    /// The name of the value's type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) | Self::UInt(_) => "integer",
            Self::Decimal(..) => "decimal",
            Self::Date(_) => "date",
            Self::DateTime(_) => "datetime",
            Self::Timestamp(_) => "timestamp",
            Self::Text(_) => "text",
        }
    }

    /// Order of two values of one type; `None` if their types differ.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(_) | Self::UInt(_), Self::Int(_) | Self::UInt(_)) => {
                Some(self.wide().cmp(&other.wide()))
            }
            (Self::Decimal(a, sa), Self::Decimal(b, sb)) if sa == sb => {
                let (a, b) = (a.parse::<i128>().ok()?, b.parse::<i128>().ok()?);
                Some(a.cmp(&b))
            }
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            (Self::DateTime(a), Self::DateTime(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => {
                Some(a.cmp(b))
            }
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            _ => None,
        }
    }

    fn wide(&self) -> i128 {
        match self {
            Self::Int(value) => (*value).into(),
            Self::UInt(value) => (*value).into(),
            _ => 0,
        }
    }

    /// The value `step` below this one; see [`CursorStep`].
    ///
    /// # Errors
    /// `config` if the step is of the wrong sort for the value's type.
    pub fn minus(&self, step: &CursorStep) -> Result<Self> {
        let days = |duration: &SignedDuration| i32::try_from(duration.as_hours() / 24).unwrap_or(i32::MAX);
        match (self, step) {
            (Self::Int(value), CursorStep::Units(units)) => Ok(Self::Int(value.saturating_sub(*units))),
            (Self::Date(value), CursorStep::Duration(duration)) => {
                Ok(Self::Date(value.saturating_sub(days(duration))))
            }
            (Self::DateTime(value), CursorStep::Duration(d)) => Ok(Self::DateTime(Nanos(value.0 - d.as_nanos()))),
            (Self::Timestamp(value), CursorStep::Duration(d)) => Ok(Self::Timestamp(Nanos(value.0 - d.as_nanos()))),
            _ => Err(Error::config(format!("a cursor of type {} cannot be moved by {step}", self.type_name()))
                .hint("use a number for integer cursors and a duration such as \"15m\" or \"2d\" for dates and times")),
        }
    }

    /// Reads a bound that a person wrote (`2024-01-31`, `2024-01-31T10:00:00Z`, `1000`) for a column type.
    ///
    /// # Errors
    /// `config` if it is not a value of that type.
    pub fn parse(text: &str, data_type: &DataType) -> Result<Self> {
        let bad = || {
            Error::config(format!("`{text}` is not a cursor value for a column of type {data_type}"))
                .hint("write dates as 2024-01-31, times as 2024-01-31T10:00:00Z, numbers plainly")
        };
        let at_midnight = |text: &str| {
            text.parse::<DateTime>()
                .ok()
                .or_else(|| Some(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())))
        };
        match data_type {
            t if t.is_integer() => text.parse().map(Self::Int).map_err(|_| bad()),
            DataType::Date32 => {
                let date: Date = text.parse().map_err(|_| bad())?;
                Ok(Self::Date(days_since_epoch(date)))
            }
            DataType::Timestamp(_, None) => {
                at_midnight(text).map(|value| Self::DateTime(Nanos(civil_nanos(value)))).ok_or_else(bad)
            }
            DataType::Timestamp(_, Some(_)) => text
                .parse::<Timestamp>()
                .ok()
                .map(|value| value.as_nanosecond())
                .or_else(|| at_midnight(text).map(civil_nanos))
                .map(|nanos| Self::Timestamp(Nanos(nanos)))
                .ok_or_else(bad),
            DataType::Utf8 => Ok(Self::Text(text.to_owned())),
            _ => Err(bad()),
        }
    }
}

fn days_since_epoch(date: Date) -> i32 {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.until(date).map(|span| span.get_days()).unwrap_or_default()
}

fn civil_nanos(value: DateTime) -> i128 {
    let epoch = jiff::civil::date(1970, 1, 1).to_datetime(jiff::civil::Time::midnight());
    value.duration_since(epoch).as_nanos()
}

impl fmt::Display for CursorValue {
    /// ISO 8601 for dates and times, plain text for the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = |nanos: &Nanos| {
            let epoch = jiff::civil::date(1970, 1, 1).to_datetime(jiff::civil::Time::midnight());
            SignedDuration::try_from_nanos_i128(nanos.0).and_then(|duration| epoch.checked_add(duration).ok())
        };
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Decimal(unscaled, scale) => f.write_str(&decimal_text(unscaled, *scale)),
            Self::Date(days) => {
                match jiff::civil::date(1970, 1, 1)
                    .checked_add(Span::new().try_days(*days).unwrap_or_default())
                {
                    Ok(date) => write!(f, "{date}"),
                    Err(_) => write!(f, "day {days}"),
                }
            }
            Self::DateTime(nanos) => match civil(nanos) {
                Some(value) => write!(f, "{value}"),
                None => write!(f, "{} ns", nanos.0),
            },
            Self::Timestamp(nanos) => match civil(nanos) {
                Some(value) => write!(f, "{value}Z"),
                None => write!(f, "{} ns", nanos.0),
            },
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn decimal_text(unscaled: &str, scale: i8) -> String {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    match usize::try_from(scale) {
        Ok(0) => unscaled.to_owned(),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) => format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs()))),
    }
}

/// How far `lag` and `lookback` move a cursor: units of an integer cursor, or a duration.
#[derive(Debug, Clone, PartialEq)]
pub enum CursorStep {
    /// Units of an integer cursor.
    Units(i64),
    /// A length of time.
    Duration(SignedDuration),
}

impl fmt::Display for CursorStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(units) => write!(f, "{units}"),
            Self::Duration(duration) => write!(f, "{duration:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{TimestampMicrosecondArray, UInt64Array};
    use std::sync::Arc;

    #[test]
    fn values_keep_their_precision_and_print_as_iso() {
        let times =
            TimestampMicrosecondArray::from(vec![Some(1_704_067_200_123_456), None]).with_timezone("UTC");
        let times: ArrayRef = Arc::new(times);
        let value = CursorValue::from_array(&times, 0).unwrap().unwrap();
        assert_eq!(value.to_string(), "2024-01-01T00:00:00.123456Z");
        assert_eq!(CursorValue::from_array(&times, 1).unwrap(), None);
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(json, r#"{"type":"timestamp","value":"1704067200123456000"}"#);
        assert_eq!(serde_json::from_str::<CursorValue>(&json).unwrap(), value);
        assert_eq!(CursorValue::parse("2024-01-01T00:00:00.123456Z", times.data_type()).unwrap(), value);
    }

    #[test]
    fn unsigned_and_signed_compare_as_numbers() {
        let big: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        let big = CursorValue::from_array(&big, 0).unwrap().unwrap();
        assert_eq!(big.compare(&CursorValue::Int(-1)), Some(Ordering::Greater));
        assert_eq!(big.compare(&CursorValue::Text("1".into())), None);
    }

    #[test]
    fn decimals_print_their_point() {
        for (unscaled, scale, text) in
            [("-5", 2, "-0.05"), ("1234", 2, "12.34"), ("7", 0, "7"), ("7", -2, "700")]
        {
            assert_eq!(CursorValue::Decimal(unscaled.to_owned(), scale).to_string(), text);
        }
    }

    #[test]
    fn steps_move_back() {
        let day = CursorStep::Duration(SignedDuration::from_hours(48));
        assert_eq!(CursorValue::Date(10).minus(&day).unwrap(), CursorValue::Date(8));
        assert_eq!(CursorValue::Int(10).minus(&CursorStep::Units(3)).unwrap(), CursorValue::Int(7));
        assert!(CursorValue::Int(10).minus(&day).is_err());
    }
}
