//! SQLite values straight into Arrow builders.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
};
use rusqlite::types::ValueRef;
use transload_core::{Error, Result};

use crate::types::Reading;

/// The builder of one column, chosen once from its reading.
#[derive(Debug)]
pub(crate) enum Column {
    Integer(Int64Builder),
    Real(Float64Builder),
    Boolean(BooleanBuilder),
    Decimal(Decimal128Builder, u8, i8, String),
    Blob(BinaryBuilder),
    /// The flag says whether blobs are taken too.
    Text(StringBuilder, bool),
}

/// Why a value does not fit, without the value.
pub(crate) type Misfit = &'static str;

/// Every integer up to here is one double.
const EXACT_DOUBLE: u64 = 1 << 53;

impl Column {
    pub(crate) fn new(reading: Reading) -> Result<Self> {
        Ok(match reading {
            Reading::Integer => Self::Integer(Int64Builder::new()),
            Reading::Real => Self::Real(Float64Builder::new()),
            Reading::Boolean => Self::Boolean(BooleanBuilder::new()),
            Reading::Decimal(precision, scale) => {
                let builder = Decimal128Builder::new().with_precision_and_scale(precision, scale)?;
                Self::Decimal(builder, precision, scale, String::new())
            }
            Reading::Blob => Self::Blob(BinaryBuilder::new()),
            Reading::Text => Self::Text(StringBuilder::new(), false),
            Reading::AnyAsText => Self::Text(StringBuilder::new(), true),
        })
    }

    /// Appends one value; answers its bytes.
    pub(crate) fn append(&mut self, value: ValueRef<'_>) -> Result<usize, Misfit> {
        match (self, value) {
            (Self::Integer(builder), ValueRef::Integer(value)) => builder.append_value(value),
            (Self::Integer(builder), ValueRef::Null) => builder.append_null(),
            (Self::Integer(_), _) => return Err("it is not an integer"),
            (Self::Real(builder), ValueRef::Real(value)) => builder.append_value(value),
            (Self::Real(builder), ValueRef::Integer(value)) => builder.append_value(double(value)?),
            (Self::Real(builder), ValueRef::Null) => builder.append_null(),
            (Self::Real(_), _) => return Err("it is not a number"),
            (Self::Boolean(builder), ValueRef::Integer(value @ (0 | 1))) => builder.append_value(value == 1),
            (Self::Boolean(builder), ValueRef::Null) => builder.append_null(),
            (Self::Boolean(_), _) => return Err("it is neither 0 nor 1"),
            (Self::Decimal(builder, ..), ValueRef::Null) => builder.append_null(),
            (Self::Decimal(builder, precision, scale, text), value) => {
                builder.append_value(decimal(value, *precision, *scale, text)?);
            }
            (Self::Blob(builder), ValueRef::Blob(value)) => {
                builder.append_value(value);
                return Ok(value.len());
            }
            (Self::Blob(builder), ValueRef::Null) => builder.append_null(),
            (Self::Blob(_), _) => return Err("it is not a blob"),
            (Self::Text(builder, any), value) => return append_text(builder, value, *any),
        }
        Ok(8)
    }

    /// The column as an array; the builder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Real(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::Blob(builder) => Arc::new(builder.finish()),
            Self::Text(builder, _) => Arc::new(builder.finish()),
        }
    }
}

fn double(value: i64) -> Result<f64, Misfit> {
    if value.unsigned_abs() > EXACT_DOUBLE {
        return Err("it is an integer that no double equals");
    }
    #[expect(clippy::cast_precision_loss, reason = "checked above: the integer is exact as a double")]
    Ok(value as f64)
}

fn append_text(builder: &mut StringBuilder, value: ValueRef<'_>, any: bool) -> Result<usize, Misfit> {
    let length = match value {
        ValueRef::Null => {
            builder.append_null();
            return Ok(8);
        }
        ValueRef::Text(bytes) => {
            builder.append_value(std::str::from_utf8(bytes).map_err(|_| "it is not valid UTF-8")?);
            return Ok(bytes.len() + 8);
        }
        ValueRef::Integer(value) => write!(builder, "{value}").map(|()| 8),
        ValueRef::Real(value) => write_real(builder, value).map(|()| 8),
        ValueRef::Blob(_) if !any => return Err("it is a blob"),
        ValueRef::Blob(bytes) => write_blob(builder, bytes).map(|()| bytes.len() * 2),
    };
    // Writing into memory cannot fail; if it did, the value would be incomplete.
    let length = length.map_err(|_| "its text form cannot be written")?;
    builder.append_value("");
    Ok(length)
}

/// The shortest text that reads back as the same double.
fn write_real(out: &mut impl std::fmt::Write, value: f64) -> std::fmt::Result {
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Inf" } else { "-Inf" });
    }
    write!(out, "{value:?}")
}

fn write_blob(out: &mut impl std::fmt::Write, bytes: &[u8]) -> std::fmt::Result {
    out.write_str("X'")?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}"))?;
    out.write_str("'")
}

/// A decimal as its unscaled integer. `text` is scratch space.
fn decimal(value: ValueRef<'_>, precision: u8, scale: i8, text: &mut String) -> Result<i128, Misfit> {
    let unscaled = match value {
        ValueRef::Integer(value) => power(scale.unsigned_abs()).checked_mul(value.into()),
        ValueRef::Real(value) => {
            text.clear();
            // The shortest text is the decimal that was stored, as long as it has at most 15 digits.
            write!(text, "{value:?}").map_err(|_| "its text form cannot be written")?;
            parse_decimal(text, scale.unsigned_abs())?
        }
        _ => return Err("it is not a number"),
    };
    match unscaled {
        Some(unscaled) if unscaled.unsigned_abs() < power(precision).unsigned_abs() => Ok(unscaled),
        _ => Err("it has more digits than the declared precision"),
    }
}

fn power(exponent: u8) -> i128 {
    10_i128.checked_pow(exponent.into()).unwrap_or(i128::MAX)
}

/// Reads Rust's shortest form of a double (`-1.5`, `1e21`, `1.5e-7`). `None` if it is too large.
fn parse_decimal(text: &str, scale: u8) -> Result<Option<i128>, Misfit> {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| "it is not a finite number")?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |whole| (-1, whole));
    let mut digits = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return Err("it is not a finite number");
        }
        // A double has at most 17 digits.
        digits = digits.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    if digits == 0 {
        return Ok(Some(0));
    }
    let shift = i32::from(scale) + exponent - i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    match u8::try_from(shift) {
        Ok(shift) => Ok(10_i128.checked_pow(shift.into()).and_then(|power| digits.checked_mul(power * sign))),
        Err(_) if shift > 0 => Ok(None),
        Err(_) => {
            let divisor = u32::try_from(-shift).ok().and_then(|shift| 10_i128.checked_pow(shift));
            match divisor.filter(|divisor| digits % divisor == 0) {
                Some(divisor) => Ok(Some(digits / divisor * sign)),
                None => Err("it has more decimal places than the declared scale"),
            }
        }
    }
}

/// A value that did not fit, as an error.
pub(crate) fn misfit(why: Misfit, column: &str, source_type: &str, value: ValueRef<'_>) -> Error {
    let declared = if source_type.is_empty() { "no type" } else { source_type };
    Error::data(format!(
        "the value {} does not fit the column `{column}` ({declared}): {why}",
        excerpt(value)
    ))
    .with("column", column)
    .hint("correct the row, or set `on_type_mismatch` to `text` to read every column as text")
}

/// A short printable form of a value.
fn excerpt(value: ValueRef<'_>) -> String {
    const MOST: usize = 40;
    let short = |text: String| match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes.get(..4 * MOST).unwrap_or(bytes));
            format!("'{}'", short(text.escape_debug().to_string()))
        }
        ValueRef::Blob(bytes) => {
            let mut text = String::new();
            let shown = write_blob(&mut text, bytes.get(..MOST / 2).unwrap_or(bytes));
            shown.map_or_else(|_| "a blob".to_owned(), |()| format!("{text} ({} bytes)", bytes.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal_of(value: ValueRef<'_>, precision: u8, scale: i8) -> Result<i128, Misfit> {
        decimal(value, precision, scale, &mut String::new())
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (value, precision, scale, expected) in [
            (11.77, 10, 2, Some(1177)),
            (-0.05, 10, 2, Some(-5)),
            (0.1, 10, 1, Some(1)),
            (0.1, 10, 2, Some(10)),
            (-0.0, 10, 2, Some(0)),
            (1e21, 38, 2, Some(10_i128.pow(23))),
            (1.5e-7, 38, 8, Some(15)),
            (1.5e-7, 38, 7, None),
            (0.125, 10, 2, None),
            (0.1 + 0.2, 10, 2, None),
            (1e300, 38, 2, None),
            (5e-324, 38, 38, None),
            (f64::INFINITY, 10, 2, None),
            (999.99, 5, 2, Some(99_999)),
            (1000.0, 5, 2, None),
        ] {
            assert_eq!(decimal_of(ValueRef::Real(value), precision, scale).ok(), expected, "{value}");
        }
        assert_eq!(decimal_of(ValueRef::Integer(-7), 5, 2), Ok(-700));
        assert!(decimal_of(ValueRef::Integer(i64::MIN), 10, 2).is_err());
        assert_eq!(
            decimal_of(ValueRef::Integer(i64::MIN), 38, 19),
            Ok(i128::from(i64::MIN) * 10_i128.pow(19))
        );
        assert!(decimal_of(ValueRef::Integer(i64::MIN), 38, 30).is_err());
        assert!(decimal_of(ValueRef::Text(b"1"), 10, 2).is_err());
    }

    #[test]
    fn integers_become_doubles_only_if_they_are_equal() {
        assert_eq!(double(1 << 53), Ok(9_007_199_254_740_992.0));
        assert!(double((1 << 53) + 1).is_err());
        assert!(double(i64::MIN).is_err());
    }

    #[test]
    fn texts_of_every_class() {
        let mut column = Column::new(Reading::AnyAsText).unwrap();
        for value in [
            ValueRef::Integer(i64::MIN),
            ValueRef::Real(0.1),
            ValueRef::Real(1e300),
            ValueRef::Real(f64::NEG_INFINITY),
            ValueRef::Text(b"it's"),
            ValueRef::Blob(&[0, 0xff]),
            ValueRef::Null,
            ValueRef::Text(b""),
        ] {
            column.append(value).unwrap();
        }
        let array = column.finish();
        let texts: Vec<_> = arrow_array::cast::AsArray::as_string::<i32>(&array).iter().collect();
        assert_eq!(
            texts,
            [
                Some("-9223372036854775808"),
                Some("0.1"),
                Some("1e300"),
                Some("-Inf"),
                Some("it's"),
                Some("X'00FF'"),
                None,
                Some("")
            ]
        );
        let mut column = Column::new(Reading::Text).unwrap();
        assert!(column.append(ValueRef::Blob(b"x")).is_err());
        assert!(column.append(ValueRef::Text(b"\xff")).is_err());
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        let long = "é\n".repeat(1000);
        let text = excerpt(ValueRef::Text(long.as_bytes()));
        assert!(text.chars().count() < 50 && !text.contains('\n'), "{text}");
        assert_eq!(excerpt(ValueRef::Blob(&[1; 100])).len(), 2 + 40 + 1 + 12);
    }
}
