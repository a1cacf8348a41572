//! Values of cursor columns: windows, watermarks and their order, at the source's full precision.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, FixedSizeBinaryArray, PrimitiveArray, Scalar, StringArray,
};
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
    /// Eight bytes in their order, as SQL Server's `rowversion`; in JSON as hexadecimal digits.
    Binary(#[serde(with = "hex")] Vec<u8>),
}

/// Bytes as hexadecimal digits.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn text(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.chunks(2).map(pair).collect()
    }

    pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        bytes(&text).ok_or_else(|| serde::de::Error::custom("hexadecimal digits are expected"))
    }
}

/// Bytes of a binary cursor.
const BINARY: i32 = 8;

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
                DataType::Decimal128(..)
                    | DataType::Date32
                    | DataType::Timestamp(..)
                    | DataType::Utf8
                    | DataType::FixedSizeBinary(BINARY)
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
            DataType::FixedSizeBinary(BINARY) => {
                Ok(Some(Self::Binary(array.as_fixed_size_binary().value(row).to_vec())))
            }
            other => Err(Error::unsupported(format!("a column of type {other} cannot be a cursor"))
                .hint("choose an integer, decimal, date, timestamp or text column")),
        }
    }

    /// The rows of an array that hold this value, ascending; none where the array is of another type.
    ///
    /// # Errors
    /// `internal` if Arrow cannot compare the type, which it can for every cursor.
    pub fn rows_in(&self, array: &ArrayRef) -> Result<Vec<usize>> {
        let Some(scalar) = self.to_scalar(array.data_type()) else { return Ok(Vec::new()) };
        let equal = arrow_ord::cmp::eq(array, &scalar)?;
        Ok(match equal.nulls() {
            None => equal.values().set_indices().collect(),
            Some(valid) => (equal.values() & valid.inner()).set_indices().collect(),
        })
    }

    /// The value as an Arrow scalar of a column's type, for comparing the whole column in one step; `None` if no
    /// value of that type equals it.
    fn to_scalar(&self, data_type: &DataType) -> Option<Scalar<ArrayRef>> {
        fn one<T: ArrowPrimitiveType>(value: T::Native, data_type: &DataType) -> Option<ArrayRef> {
            Some(Arc::new(PrimitiveArray::<T>::from_value(value, 1).with_data_type(data_type.clone())))
        }
        let nanos = |per_unit: i128| match (self, data_type) {
            (Self::DateTime(nanos), DataType::Timestamp(_, None))
            | (Self::Timestamp(nanos), DataType::Timestamp(_, Some(_))) => {
                let whole = nanos.0.rem_euclid(per_unit) == 0;
                whole.then(|| i64::try_from(nanos.0.div_euclid(per_unit)).ok()).flatten()
            }
            _ => None,
        };
        let integer = || matches!(self, Self::Int(_) | Self::UInt(_)).then(|| self.wide());
        let array = match data_type {
            DataType::Int8 => one::<Int8Type>(integer()?.try_into().ok()?, data_type),
            DataType::Int16 => one::<Int16Type>(integer()?.try_into().ok()?, data_type),
            DataType::Int32 => one::<Int32Type>(integer()?.try_into().ok()?, data_type),
            DataType::Int64 => one::<Int64Type>(integer()?.try_into().ok()?, data_type),
            DataType::UInt8 => one::<UInt8Type>(integer()?.try_into().ok()?, data_type),
            DataType::UInt16 => one::<UInt16Type>(integer()?.try_into().ok()?, data_type),
            DataType::UInt32 => one::<UInt32Type>(integer()?.try_into().ok()?, data_type),
            DataType::UInt64 => one::<UInt64Type>(integer()?.try_into().ok()?, data_type),
            DataType::Timestamp(TimeUnit::Second, _) => {
                one::<TimestampSecondType>(nanos(1_000_000_000)?, data_type)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                one::<TimestampMillisecondType>(nanos(1_000_000)?, data_type)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                one::<TimestampMicrosecondType>(nanos(1000)?, data_type)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                one::<TimestampNanosecondType>(nanos(1)?, data_type)
            }
            _ => match (self, data_type) {
                (Self::Decimal(unscaled, scale), DataType::Decimal128(_, own)) if scale == own => {
                    one::<Decimal128Type>(unscaled.parse().ok()?, data_type)
                }
                (Self::Date(days), DataType::Date32) => one::<Date32Type>(*days, data_type),
                (Self::Text(text), DataType::Utf8) => {
                    Some(Arc::new(StringArray::from(vec![text.as_str()])) as _)
                }
                (Self::Binary(bytes), DataType::FixedSizeBinary(BINARY)) => {
                    let one = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).ok()?;
                    (one.value_length() == BINARY).then(|| Arc::new(one) as _)
                }
                _ => None,
            },
        };
        array.map(Scalar::new)
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
            Self::Binary(_) => "binary",
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
            (Self::Binary(a), Self::Binary(b)) => Some(a.cmp(b)),
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
        self.moved(step, -1)
    }

    /// The value `step` above this one; see [`CursorStep`].
    ///
    /// # Errors
    /// `config` if the step is of the wrong sort for the value's type.
    pub fn plus(&self, step: &CursorStep) -> Result<Self> {
        self.moved(step, 1)
    }

    /// Stops at the ends of what the type holds.
    fn moved(&self, step: &CursorStep, sign: i128) -> Result<Self> {
        let refuse = || {
            let what = format!("a cursor of type {} cannot be moved by {step}", self.type_name());
            Error::config(what).hint(
                "use a number for integer and decimal cursors, and a duration such as \"15m\" or \"2d\" (whole days for dates) for dates and times",
            )
        };
        match (self, step) {
            (Self::Int(_) | Self::UInt(_), CursorStep::Units(units)) => {
                Ok(Self::of_wide(self.wide() + sign * i128::from(*units)))
            }
            (Self::Decimal(unscaled, scale), CursorStep::Units(units)) => {
                let unit = u32::try_from(*scale).ok().and_then(|scale| 10_i128.checked_pow(scale));
                let step = unit.and_then(|unit| unit.checked_mul(i128::from(*units))).ok_or_else(refuse)?;
                let value: i128 = unscaled.parse().map_err(|_| refuse())?;
                Ok(Self::Decimal(value.saturating_add(sign * step).to_string(), *scale))
            }
            (Self::Date(value), CursorStep::Duration(duration)) => {
                let days = i128::from(duration.as_hours() / 24);
                if days == 0 && !duration.is_zero() {
                    return Err(refuse());
                }
                let moved = i128::from(*value) + sign * days;
                let end = if sign < 0 { i32::MIN } else { i32::MAX };
                Ok(Self::Date(i32::try_from(moved).unwrap_or(end)))
            }
            (Self::DateTime(value), CursorStep::Duration(d)) => {
                Ok(Self::DateTime(Nanos(value.0 + sign * d.as_nanos())))
            }
            (Self::Timestamp(value), CursorStep::Duration(d)) => {
                Ok(Self::Timestamp(Nanos(value.0 + sign * d.as_nanos())))
            }
            _ => Err(refuse()),
        }
    }

    fn of_wide(value: i128) -> Self {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Self::Int(value),
            (_, Ok(value)) => Self::UInt(value),
            _ if value < 0 => Self::Int(i64::MIN),
            _ => Self::UInt(u64::MAX),
        }
    }

    /// How far this value is above `other`, in an arbitrary unit of their type; `None` for types without a
    /// distance (text, binary) and for two different types.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Option<f64> {
        match (self, other) {
            (Self::Int(_) | Self::UInt(_), Self::Int(_) | Self::UInt(_)) => {
                Some((self.wide() - other.wide()) as f64)
            }
            (Self::Decimal(a, sa), Self::Decimal(b, sb)) if sa == sb => {
                Some(a.parse::<f64>().ok()? - b.parse::<f64>().ok()?)
            }
            (Self::Date(a), Self::Date(b)) => Some(f64::from(*a) - f64::from(*b)),
            (Self::DateTime(a), Self::DateTime(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => {
                Some((a.0 - b.0) as f64)
            }
            _ => None,
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
            t if t.is_integer() => match (text.parse(), text.parse()) {
                (Ok(value), _) => Ok(Self::Int(value)),
                (_, Ok(value)) => Ok(Self::UInt(value)),
                _ => Err(bad()),
            },
            DataType::Decimal128(_, scale) => {
                unscaled(text, *scale).map(|value| Self::Decimal(value.to_string(), *scale)).ok_or_else(bad)
            }
            DataType::FixedSizeBinary(BINARY) => {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let bytes = hex::bytes(digits).filter(|bytes| bytes.len() == 8);
                bytes.map(Self::Binary).ok_or_else(bad)
            }
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

/// A decimal text as a number of units of 10^-scale; `None` if it has more digits than that.
fn unscaled(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    if digits.is_empty() || !plain(digits) || !plain(fraction) || fraction.len() > scale {
        return None;
    }
    format!("{whole}{fraction:0<scale$}").parse().ok()
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
            Self::Binary(bytes) => write!(f, "0x{}", hex::text(bytes)),
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

/// How far `lag`, `lookback` and `backfill_step` move a cursor: a number for integers and decimals, or a duration.
#[derive(Debug, Clone, PartialEq)]
pub enum CursorStep {
    /// Units of an integer or decimal cursor.
    Units(i64),
    /// A length of time.
    Duration(SignedDuration),
}

impl CursorStep {
    /// Whether it moves nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Units(units) => *units == 0,
            Self::Duration(duration) => duration.is_zero(),
        }
    }
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
    fn scalars_equal_what_the_values_equal() {
        use arrow_array::{Date32Array, Decimal128Array, Int8Array, TimestampSecondArray};
        let columns: [ArrayRef; 7] = [
            Arc::new(Int8Array::from(vec![Some(-1), None, Some(0), Some(5)])),
            Arc::new(UInt64Array::from(vec![0, 5, u64::MAX])),
            Arc::new(Decimal128Array::from(vec![0, -5, 50]).with_precision_and_scale(9, 1).unwrap()),
            Arc::new(Date32Array::from(vec![0, -5])),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 5]).with_timezone("Europe/Berlin")),
            Arc::new(TimestampSecondArray::from(vec![0, -5])),
            Arc::new(StringArray::from(vec!["", "5", "\u{e9}"])),
        ];
        let rowversions = [[0_u8; 8], [0, 0, 0, 0, 0, 0, 0, 5]];
        let rowversions: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_iter(rowversions.iter()).unwrap());
        let columns: Vec<ArrayRef> = columns.into_iter().chain([rowversions]).collect();
        let of = |array: &ArrayRef, row| CursorValue::from_array(array, row).unwrap();
        let mut values =
            vec![CursorValue::Int(300), CursorValue::DateTime(Nanos(1)), CursorValue::Timestamp(Nanos(7))];
        values
            .extend(columns.iter().flat_map(|array| (0..array.len()).filter_map(move |row| of(array, row))));
        for (array, value) in columns.iter().flat_map(|array| values.iter().map(move |value| (array, value)))
        {
            let expected: Vec<bool> = (0..array.len())
                .map(|row| of(array, row).is_some_and(|this| this.compare(value) == Some(Ordering::Equal)))
                .collect();
            let rows = value.rows_in(array).unwrap();
            let found: Vec<bool> = (0..array.len()).map(|row| rows.contains(&row)).collect();
            assert_eq!(found, expected, "{value:?} in {array:?}");
        }
    }

    #[test]
    fn bounds_of_people_are_read_exactly() {
        let decimal = DataType::Decimal128(9, 2);
        for (text, value) in [("12.3", "1230"), ("-0.05", "-5"), ("7", "700"), ("1.230", "123"), ("-0", "0")]
        {
            assert_eq!(CursorValue::parse(text, &decimal).unwrap(), CursorValue::Decimal(value.into(), 2));
        }
        for text in ["", "1.234", "1e3", "1.-2", "--1", ".5"] {
            assert!(CursorValue::parse(text, &decimal).is_err(), "{text}");
        }
        let rowversion = CursorValue::parse("0x00000000000007D1", &DataType::FixedSizeBinary(8)).unwrap();
        assert_eq!(rowversion.to_string(), "0x00000000000007d1");
        let json = serde_json::to_string(&rowversion).unwrap();
        assert_eq!(json, r#"{"type":"binary","value":"00000000000007d1"}"#);
        assert_eq!(serde_json::from_str::<CursorValue>(&json).unwrap(), rowversion);
        assert!(CursorValue::parse("07D1", &DataType::FixedSizeBinary(8)).is_err());
        let highest = u64::MAX.to_string();
        assert_eq!(CursorValue::parse(&highest, &DataType::UInt64).unwrap(), CursorValue::UInt(u64::MAX));
    }

    #[test]
    fn steps_move_back() {
        let day = CursorStep::Duration(SignedDuration::from_hours(48));
        assert_eq!(CursorValue::Date(10).minus(&day).unwrap(), CursorValue::Date(8));
        assert_eq!(CursorValue::Int(10).minus(&CursorStep::Units(3)).unwrap(), CursorValue::Int(7));
        assert!(CursorValue::Int(10).minus(&day).is_err());
        let half = CursorStep::Duration(SignedDuration::from_hours(12));
        assert!(CursorValue::Date(10).plus(&half).is_err(), "it would not move at all");
        assert!(CursorValue::Text("a".into()).plus(&CursorStep::Units(1)).is_err());
        let units = CursorStep::Units(3);
        assert_eq!(
            CursorValue::Decimal("150".into(), 2).plus(&units).unwrap(),
            CursorValue::Decimal("450".into(), 2)
        );
        assert_eq!(CursorValue::Int(i64::MAX).plus(&units).unwrap(), CursorValue::UInt((1 << 63) + 2));
        assert_eq!(CursorValue::UInt(1 << 63).minus(&units).unwrap(), CursorValue::Int(i64::MAX - 2));
        assert_eq!(CursorValue::UInt(u64::MAX).plus(&units).unwrap(), CursorValue::UInt(u64::MAX));
        assert_eq!(CursorValue::Int(i64::MIN).minus(&units).unwrap(), CursorValue::Int(i64::MIN));
    }
}
