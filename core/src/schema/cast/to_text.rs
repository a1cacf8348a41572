//! Any value to its canonical text.

use std::fmt::Write as _;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float32Type, Float64Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalYearMonthType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow_cast::base64::{BASE64_STANDARD, Engine as _};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use crate::error::{Error, Result};
use crate::schema::table::Extension;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The texts of a column: numbers plain, decimals with all digits of their scale, dates and times as ISO
/// 8601 with as many digits of the second as needed, `Z` behind instants, intervals as ISO 8601 durations,
/// bytes in base64, lists, records, maps and unions as JSON.
pub(in crate::schema) fn column(array: &ArrayRef, extension: Option<Extension>) -> Result<StringArray> {
    if extension == Some(Extension::Uuid) && *array.data_type() == DataType::FixedSizeBinary(16) {
        let source = array.as_fixed_size_binary();
        return Ok(texts(array, |row, out| uuid(source.value(row), out)));
    }
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().clone(),
        DataType::LargeUtf8 | DataType::Utf8View => {
            arrow_cast::cast(array, &DataType::Utf8)?.as_string::<i32>().clone()
        }
        DataType::Dictionary(_, value) => column(&arrow_cast::cast(array, value)?, extension)?,
        DataType::RunEndEncoded(_, value) => column(&arrow_cast::cast(array, value.data_type())?, extension)?,
        DataType::Boolean => {
            let source = array.as_boolean();
            texts(array, |row, out| out.push_str(if source.value(row) { "true" } else { "false" }))
        }
        DataType::UInt64 => primitive::<UInt64Type>(array, |value, out| put(out, format_args!("{value}"))),
        data_type if data_type.is_integer() => {
            let wide = arrow_cast::cast(array, &DataType::Int64)?;
            primitive::<Int64Type>(&wide, |value, out| put(out, format_args!("{value}")))
        }
        DataType::Float32 => primitive::<Float32Type>(array, |value, out| {
            if value.is_finite() {
                put(out, format_args!("{value:?}"));
            } else {
                special(f64::from(value), out);
            }
        }),
        DataType::Float64 => primitive::<Float64Type>(array, float),
        DataType::Float16 => column(&arrow_cast::cast(array, &DataType::Float32)?, None)?,
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let plain = arrow_cast::cast(array, &DataType::LargeBinary)?;
            let source = plain.as_binary::<i64>();
            texts(array, |row, out| BASE64_STANDARD.encode_string(source.value(row), out))
        }
        DataType::Date32 => primitive::<Date32Type>(array, |value, out| date(i64::from(value), out)),
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some())?,
        DataType::Date64 => primitive::<Date64Type>(array, |value, out| {
            date(value.div_euclid(MILLIS_PER_DAY), out);
            let rest = value.rem_euclid(MILLIS_PER_DAY);
            if rest != 0 {
                out.push('T');
                clock(rest / 1_000, rest % 1_000, 3, out);
            }
        }),
        DataType::Time32(_) | DataType::Time64(_) => times(array)?,
        DataType::Duration(unit) => {
            let (per_second, width) = per_second(*unit);
            let numbers = arrow_cast::cast(array, &DataType::Int64)?;
            primitive::<Int64Type>(&numbers, |value, out| {
                interval(0, 0, (value / per_second, value % per_second, width), out);
            })
        }
        DataType::Interval(unit) => intervals(array, *unit),
        DataType::Null => StringArray::new_null(array.len()),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Union(..)
        | DataType::Map(..) => super::to_json::column(array, None)?,
        other => return Err(Error::internal(format!("values of type {other} have no text form"))),
    })
}

/// Texts of the rows that are not NULL.
pub(super) fn texts(array: &dyn Array, mut write: impl FnMut(usize, &mut String)) -> StringArray {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = String::new();
    let nulls = array.logical_nulls();
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
        } else {
            text.clear();
            write(row, &mut text);
            builder.append_value(&text);
        }
    }
    builder.finish()
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef, write: impl Fn(T::Native, &mut String)) -> StringArray {
    let source: &PrimitiveArray<T> = array.as_primitive();
    texts(array, |row, out| write(source.value(row), out))
}

/// Writing into a `String` cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn float(value: f64, out: &mut String) {
    if value.is_finite() { put(out, format_args!("{value:?}")) } else { special(value, out) }
}

fn special(value: f64, out: &mut String) {
    out.push_str(match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "Infinity",
        _ => "-Infinity",
    });
}

fn decimal<T: DecimalType + ArrowPrimitiveType>(array: &ArrayRef) -> StringArray {
    let (precision, scale) = match array.data_type() {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (*p, *s),
        _ => (T::MAX_PRECISION, 0),
    };
    primitive::<T>(array, |value, out| out.push_str(&T::format_decimal(value, precision, scale)))
}

fn uuid(bytes: &[u8], out: &mut String) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(HEX[usize::from(digit)]));
        }
    }
}

/// Days since 1970 as an ISO date; years beyond 0 to 9999 get a sign, as ISO 8601 wants.
fn date(days: i64, out: &mut String) {
    // The calendar of 400 years with March as the first month.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        put(out, format_args!("{year:04}-{month:02}-{day:02}"));
    } else {
        put(out, format_args!("{year:+05}-{month:02}-{day:02}"));
    }
}

/// `fraction` has `width` digits; zeros at its end are left out.
fn clock(seconds: i64, fraction: i64, width: usize, out: &mut String) {
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if fraction != 0 {
        put(out, format_args!(".{fraction:0width$}"));
        out.truncate(out.trim_end_matches('0').len());
    }
}

fn per_second(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (MICROS_PER_SECOND, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, zone: bool) -> Result<StringArray> {
    let (per_second, width) = per_second(unit);
    // The number alone, whatever its unit.
    let numbers = arrow_cast::cast(array, &DataType::Int64)?;
    Ok(primitive::<Int64Type>(&numbers, |value, out| {
        let per_day = 86_400 * per_second;
        date(value.div_euclid(per_day), out);
        out.push('T');
        let rest = value.rem_euclid(per_day);
        clock(rest / per_second, rest % per_second, width, out);
        if zone {
            out.push('Z');
        }
    }))
}

fn times(array: &ArrayRef) -> Result<StringArray> {
    let unit = match array.data_type() {
        DataType::Time32(unit) | DataType::Time64(unit) => *unit,
        other => return Err(Error::internal(format!("{other} is no time of day"))),
    };
    let (per_second, width) = per_second(unit);
    let narrow = matches!(array.data_type(), DataType::Time32(_));
    let numbers = if narrow { arrow_cast::cast(array, &DataType::Int32)? } else { ArrayRef::clone(array) };
    let numbers = arrow_cast::cast(&numbers, &DataType::Int64)?;
    Ok(primitive::<Int64Type>(&numbers, |value, out| {
        if value < 0 {
            out.push('-');
        }
        let value = value.saturating_abs();
        clock(value / per_second, value % per_second, width, out);
    }))
}

fn intervals(array: &ArrayRef, unit: IntervalUnit) -> StringArray {
    match unit {
        IntervalUnit::YearMonth => primitive::<IntervalYearMonthType>(array, |months, out| {
            interval(months, 0, (0, 0, 0), out);
        }),
        IntervalUnit::DayTime => primitive::<IntervalDayTimeType>(array, |value, out| {
            let millis = i64::from(value.milliseconds);
            interval(0, value.days, (millis / 1_000, millis % 1_000, 3), out);
        }),
        IntervalUnit::MonthDayNano => primitive::<IntervalMonthDayNanoType>(array, |value, out| {
            let nanos = value.nanoseconds;
            interval(value.months, value.days, (nanos / 1_000_000_000, nanos % 1_000_000_000, 9), out);
        }),
    }
}

/// An ISO 8601 duration, every part with its own sign as PostgreSQL writes it and BigQuery reads it. The time
/// is its seconds and their fraction of so many digits.
fn interval(months: i32, days: i32, (seconds, fraction, width): (i64, i64, usize), out: &mut String) {
    fn part(value: i64, letter: char, out: &mut String) {
        if value != 0 {
            put(out, format_args!("{value}{letter}"));
        }
    }
    out.push('P');
    part(i64::from(months / 12), 'Y', out);
    part(i64::from(months % 12), 'M', out);
    part(i64::from(days), 'D', out);
    if seconds != 0 || fraction != 0 {
        out.push('T');
        part(seconds / 3600, 'H', out);
        part(seconds / 60 % 60, 'M', out);
        let rest = seconds % 60;
        if fraction == 0 {
            part(rest, 'S', out);
        } else {
            let sign = if seconds < 0 || fraction < 0 { "-" } else { "" };
            put(out, format_args!("{sign}{}.{:0width$}", rest.abs(), fraction.abs()));
            out.truncate(out.trim_end_matches('0').len());
            out.push('S');
        }
    }
    if out.len() == 1 {
        out.push_str("T0S");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_jiff() {
        let epoch = jiff::civil::date(1970, 1, 1);
        for days in (-719_528..2_932_897).step_by(97) {
            let mut text = String::new();
            date(days, &mut text);
            let day = epoch.checked_add(jiff::Span::new().days(days)).unwrap();
            assert_eq!(text, day.to_string());
        }
        let mut text = String::new();
        date(2_932_897, &mut text);
        assert_eq!(text, "+10000-01-01");
    }
}
