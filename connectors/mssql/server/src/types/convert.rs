//! CAST and CONVERT.

use super::datum::{Datum, parse_guid, parse_hex};
use super::numbers::{self, fits, rescale};
use super::print::{length_of, to_text};
use super::temporal::{self, DAY, DAYS_1900, LAST_DAY, MINUTE, TICKS};
use super::{Kind, SqlType, spatial, text};
use crate::error::{Result, SqlError};

/// A value of another type. `style` is the third argument of CONVERT, 0 for CAST.
pub(crate) fn convert(datum: &Datum, from: &SqlType, to: &SqlType, style: i64) -> Result<Datum> {
    let plain = |ty: &SqlType| (ty.kind, ty.length, ty.precision, ty.scale);
    match datum {
        Datum::Null => return Ok(Datum::Null),
        Datum::Variant(base, value) if to.kind != Kind::Variant => return convert(value, base, to, style),
        _ if plain(from) == plain(to) && !from.kind.is_narrow() => return Ok(datum.clone()),
        _ => {}
    }
    match to.kind {
        Kind::Boolean => Ok(datum.clone()),
        Kind::Variant => to_variant(datum, from),
        kind if kind.is_integer() => to_integer(datum, from, to),
        kind if kind.is_scaled() => to_scaled(datum, from, to),
        kind if kind.is_float() => to_float(datum, from, to),
        kind if kind.is_temporal() => to_temporal(datum, from, to),
        kind if kind.is_text() => to_text(datum, from, to, style),
        kind if kind.is_binary() => to_binary(datum, from, to, style),
        Kind::UniqueIdentifier => to_guid(datum, from),
        _ => to_udt(datum, from, to),
    }
}

fn refused(from: &SqlType, to: &SqlType) -> SqlError {
    let (from, to) = (from.kind.name(), to.kind.name());
    SqlError::new(529, 16, format!("Explicit conversion from data type {from} to {to} is not allowed."))
}

fn failed(from: &SqlType, to: &SqlType, value: &[u8]) -> SqlError {
    let (value, from, to) = (String::from_utf8_lossy(value), from.kind.name(), to.kind.name());
    SqlError::new(
        245,
        16,
        format!("Conversion failed when converting the {from} value '{value}' to data type {to}."),
    )
}

fn error_converting(from: &SqlType, to: &SqlType) -> SqlError {
    let (from, to) = (from.kind.name(), to.kind.name());
    SqlError::new(8114, 16, format!("Error converting data type {from} to {to}."))
}

fn utf8(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn to_variant(datum: &Datum, from: &SqlType) -> Result<Datum> {
    let to = SqlType::of(Kind::Variant);
    match from.kind {
        Kind::Variant => Ok(datum.clone()),
        Kind::Text | Kind::NText | Kind::Image | Kind::Xml | Kind::RowVersion => Err(refused(from, &to)),
        kind if kind.is_udt() || from.is_partial() => Err(refused(from, &to)),
        _ => Ok(Datum::Variant(*from, Box::new(datum.clone()))),
    }
}

/// The range of an integer type.
fn range(kind: Kind) -> (i128, i128) {
    match kind {
        Kind::TinyInt => (0, 255),
        Kind::SmallInt => (i128::from(i16::MIN), i128::from(i16::MAX)),
        Kind::Int => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    }
}

/// An integer of this type, or the error of one that is too large.
pub(crate) fn integer(value: i128, to: &SqlType) -> Result<Datum> {
    if to.kind == Kind::Bit {
        return Ok(Datum::Int(i64::from(value != 0)));
    }
    let (low, high) = range(to.kind);
    if !(low..=high).contains(&value) {
        return Err(SqlError::overflow(to.kind.name()));
    }
    i64::try_from(value).map(Datum::Int).map_err(|_| SqlError::overflow(to.kind.name()))
}

fn to_integer(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Datum> {
    match datum {
        Datum::Int(value) => integer(i128::from(*value), to),
        Datum::Scaled(value) if matches!(from.kind, Kind::Money | Kind::SmallMoney) => {
            integer(rescale(*value, from.scale, 0).unwrap_or(0), to)
        }
        Datum::Scaled(value) if to.kind == Kind::Bit => Ok(Datum::Int(i64::from(*value != 0))),
        Datum::Scaled(value) => integer(numbers::whole(*value, from.scale), to),
        Datum::Float(value) if to.kind == Kind::Bit => Ok(Datum::Int(i64::from(*value != 0.0))),
        Datum::Float(value) => {
            integer(of_float(value.trunc(), 0).ok_or_else(|| SqlError::overflow(to.kind.name()))?, to)
        }
        Datum::Text(value) => {
            let trimmed = utf8(value).trim().to_owned();
            match (to.kind, trimmed.to_ascii_lowercase().as_str()) {
                (Kind::Bit, "true") => return Ok(Datum::Int(1)),
                (Kind::Bit, "false") | (_, "") => return Ok(Datum::Int(0)),
                _ => {}
            }
            match numbers::parse(&trimmed) {
                Some((number, 0)) => integer(number, to),
                _ => Err(failed(from, to, value)),
            }
        }
        Datum::Bytes(bytes) => {
            let width = match to.kind {
                Kind::Bit | Kind::TinyInt => 1,
                Kind::SmallInt => 2,
                Kind::Int => 4,
                _ => 8,
            };
            let bytes = &bytes[bytes.len().saturating_sub(width)..];
            let value = bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let unused = 64 - 8 * u32::try_from(width).unwrap_or(8);
            let signed = (value << unused).cast_signed() >> unused;
            Ok(Datum::Int(match to.kind {
                Kind::Bit => i64::from(value != 0),
                Kind::TinyInt => value.cast_signed(),
                _ => signed,
            }))
        }
        Datum::Time(_) if matches!(from.kind, Kind::DateTime | Kind::SmallDateTime) => {
            let days = ticks_of(datum, from)?;
            integer(i128::from((days + TICKS / 2).div_euclid(TICKS)), to)
        }
        _ => Err(refused(from, to)),
    }
}

/// A float as a scaled integer, as its decimal digits say.
#[expect(clippy::cast_possible_truncation, reason = "checked before")]
fn of_float(value: f64, scale: u8) -> Option<i128> {
    if !value.is_finite() || value.abs() >= 1e38 {
        return None;
    }
    if scale == 0 {
        return Some(value.round() as i128);
    }
    let text = format!("{value:.*}", usize::from(scale));
    numbers::parse(&text).map(|(number, _)| number)
}

fn to_scaled(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Datum> {
    let overflow = || SqlError::overflow(if to.kind == Kind::Decimal { "numeric" } else { to.kind.name() });
    let value = match datum {
        Datum::Int(value) => rescale(i128::from(*value), 0, to.scale).ok_or_else(overflow)?,
        Datum::Scaled(value) => rescale(*value, from.scale, to.scale).ok_or_else(overflow)?,
        Datum::Float(value) => of_float(*value, to.scale).ok_or_else(overflow)?,
        Datum::Text(value) => {
            let money = matches!(to.kind, Kind::Money | Kind::SmallMoney);
            let mut number = utf8(value);
            if money {
                number = number.replace([',', '$'], "");
            }
            match numbers::parse(&number) {
                Some((number, scale)) => rescale(number, scale, to.scale).ok_or_else(overflow)?,
                None if money && number.trim().is_empty() => 0,
                None => return Err(error_converting(from, to)),
            }
        }
        Datum::Bytes(bytes) if bytes.len() <= 8 => {
            i128::from(bytes.iter().fold(0_i64, |value, byte| value << 8 | i64::from(*byte)))
        }
        _ => return Err(refused(from, to)),
    };
    let inside = match to.kind {
        Kind::Money => i64::try_from(value).is_ok(),
        Kind::SmallMoney => i32::try_from(value).is_ok(),
        _ => fits(value, to.precision),
    };
    if inside { Ok(Datum::Scaled(value)) } else { Err(overflow()) }
}

fn to_float(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Datum> {
    let value = match datum {
        Datum::Int(value) => *value as f64,
        // By the text, so that it is the nearest.
        Datum::Scaled(value) => numbers::format(*value, from.scale).parse().unwrap_or(0.0),
        Datum::Float(value) => *value,
        Datum::Text(value) => {
            let text = utf8(value);
            let text = text.trim();
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() && !text.to_ascii_lowercase().contains('n') => value,
                Err(_) if text.is_empty() => 0.0,
                _ => return Err(error_converting(from, to)),
            }
        }
        _ => return Err(refused(from, to)),
    };
    if to.kind == Kind::Float {
        return Ok(Datum::Float(value));
    }
    let single = super::encode::single(value);
    if single.is_infinite() { Err(SqlError::overflow("real")) } else { Ok(Datum::Float(f64::from(single))) }
}

/// A moment: days since 0001-01-01, units of 100 ns since midnight, and minutes east of UTC if it says so.
struct Moment {
    days: i64,
    time: i64,
    offset: Option<i64>,
}

fn ticks_of(datum: &Datum, from: &SqlType) -> Result<i64> {
    match datum {
        Datum::Time(value) if from.kind == Kind::SmallDateTime => Ok(value * 18_000),
        Datum::Time(value) => Ok(*value),
        _ => Err(SqlError::overflow("datetime")),
    }
}

fn moment(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Moment> {
    let plain = |days, time| Ok(Moment { days, time, offset: None });
    match (datum, from.kind) {
        (Datum::Time(days), Kind::Date) => plain(*days, 0),
        (Datum::Time(time), Kind::Time) => plain(DAYS_1900, *time),
        (Datum::Time(value), Kind::DateTime2) => plain(value.div_euclid(DAY), value.rem_euclid(DAY)),
        (Datum::Time(value), Kind::DateTime) => {
            plain(value.div_euclid(TICKS) + DAYS_1900, temporal::of_ticks(value.rem_euclid(TICKS)))
        }
        (Datum::Time(value), Kind::SmallDateTime) => {
            plain(value.div_euclid(1440) + DAYS_1900, value.rem_euclid(1440) * MINUTE)
        }
        (Datum::Offset(utc, minutes), _) => {
            let local = utc + i64::from(*minutes) * MINUTE;
            Ok(Moment {
                days: local.div_euclid(DAY),
                time: local.rem_euclid(DAY),
                offset: Some(i64::from(*minutes)),
            })
        }
        (Datum::Text(value), _) => {
            let none = || {
                SqlError::new(
                    241,
                    16,
                    "Conversion failed when converting date and/or time from character string.",
                )
            };
            let parsed = temporal::parse(&utf8(value)).ok_or_else(none)?;
            Ok(Moment {
                days: parsed.days.unwrap_or(DAYS_1900),
                time: parsed.time.unwrap_or(0),
                offset: parsed.offset,
            })
        }
        (Datum::Int(days), _) if matches!(to.kind, Kind::DateTime | Kind::SmallDateTime) => {
            plain(DAYS_1900 + days.clamp(&-100_000_000, &100_000_000), 0)
        }
        _ => Err(refused(from, to)),
    }
}

fn to_temporal(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Datum> {
    let mut at = moment(datum, from, to)?;
    let out_of_range = || {
        let (from, to) = (from.kind.name(), to.kind.name());
        let text = format!(
            "The conversion of a {from} data type to a {to} data type resulted in an out-of-range value."
        );
        SqlError::new(242, 16, text)
    };
    // Times of day are cut at their last digit: what rounds to midnight would be another day.
    let scaled = |time: i64| temporal::round(time, to.scale);
    let moment = match to.kind {
        Kind::Date => return Ok(Datum::Time(at.days)),
        Kind::Time => return Ok(Datum::Time(scaled(at.time) % DAY)),
        Kind::DateTime2 => {
            let value = at.days * DAY + scaled(at.time);
            (value / DAY <= LAST_DAY).then_some(Datum::Time(value))
        }
        Kind::DateTimeOffset => {
            let offset = at.offset.unwrap_or(0);
            at.time = scaled(at.time);
            let utc = at.days * DAY + at.time - offset * MINUTE;
            let fits = (0..=LAST_DAY).contains(&utc.div_euclid(DAY));
            fits.then_some(Datum::Offset(utc, i16::try_from(offset).unwrap_or(0)))
        }
        Kind::DateTime => {
            let value = (at.days - DAYS_1900) * TICKS + temporal::to_ticks(at.time);
            // 1753-01-01
            let fits = (-53_690..=LAST_DAY - DAYS_1900).contains(&value.div_euclid(TICKS));
            fits.then_some(Datum::Time(value))
        }
        _ => {
            let value = (at.days - DAYS_1900) * 1440 + (at.time + MINUTE / 2) / MINUTE;
            (0..=65_536 * 1440 - 1).contains(&value).then_some(Datum::Time(value))
        }
    };
    moment.ok_or_else(out_of_range)
}

fn to_binary(datum: &Datum, from: &SqlType, to: &SqlType, style: i64) -> Result<Datum> {
    let (mut bytes, number) = match datum {
        Datum::Bytes(bytes) => (bytes.clone(), false),
        Datum::Text(value) if matches!(style, 1 | 2) => {
            let digits = utf8(value);
            let digits = if style == 1 { digits.trim_start_matches("0x").to_owned() } else { digits };
            (parse_hex(&digits).ok_or_else(|| error_converting(from, to))?, false)
        }
        Datum::Text(value) if from.kind.is_narrow() => (from.collation.encode(value), false),
        Datum::Text(value) if from.kind.is_udt() => (spatial::native(from.kind, value), false),
        Datum::Text(value) => (text::to_utf16(value), false),
        Datum::Guid(bytes) => (bytes.to_vec(), false),
        Datum::Int(value) => {
            let width = match from.kind {
                Kind::Bit | Kind::TinyInt => 1,
                Kind::SmallInt => 2,
                Kind::Int => 4,
                _ => 8,
            };
            (value.to_be_bytes()[8 - width..].to_vec(), true)
        }
        Datum::Scaled(value) if matches!(from.kind, Kind::Money | Kind::SmallMoney) => {
            let width = if from.kind == Kind::Money { 8 } else { 4 };
            (value.to_be_bytes()[16 - width..].to_vec(), true)
        }
        Datum::Float(value) if from.kind == Kind::Real => {
            (super::encode::single(*value).to_be_bytes().to_vec(), true)
        }
        Datum::Float(value) => (value.to_be_bytes().to_vec(), true),
        _ => return Err(refused(from, to)),
    };
    if to.is_max() || to.kind == Kind::Image {
        return Ok(Datum::Bytes(bytes));
    }
    let length = usize::from(to.length);
    let fixed = matches!(to.kind, Kind::Binary | Kind::RowVersion);
    if number {
        // Numbers are cut and padded at their front.
        bytes.drain(..bytes.len().saturating_sub(length));
        if fixed {
            bytes = [vec![0; length.saturating_sub(bytes.len())], bytes].concat();
        }
    } else {
        bytes.truncate(length);
        if fixed {
            bytes.resize(length, 0);
        }
    }
    Ok(Datum::Bytes(bytes))
}

fn to_guid(datum: &Datum, from: &SqlType) -> Result<Datum> {
    let to = SqlType::of(Kind::UniqueIdentifier);
    match datum {
        Datum::Guid(_) => Ok(datum.clone()),
        Datum::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            bytes.resize(16, 0);
            bytes.try_into().map(Datum::Guid).map_err(|_| error_converting(from, &to))
        }
        Datum::Text(value) => parse_guid(&utf8(value)).map(Datum::Guid).ok_or_else(|| {
            SqlError::new(
                8169,
                16,
                "Conversion failed when converting from a character string to uniqueidentifier.",
            )
        }),
        _ => Err(refused(from, &to)),
    }
}

/// Paths and WKT: the latter has SRID 4326 in a `geography` and 0 in a `geometry`, as when it is cast to them.
fn to_udt(datum: &Datum, from: &SqlType, to: &SqlType) -> Result<Datum> {
    let Datum::Text(value) = datum else { return Err(refused(from, to)) };
    let text = utf8(value);
    let kept = match to.kind {
        _ if from.kind == to.kind => Some(text.clone()),
        Kind::HierarchyId => spatial::hierarchy_path(&text),
        Kind::Geography => spatial::normalised(&text).map(|shape| format!("4326;{shape}")),
        _ => spatial::normalised(&text).map(|shape| format!("0;{shape}")),
    };
    let failed = || {
        let name = to.kind.name();
        let text = format!(
            "A .NET Framework error occurred during execution of user-defined routine or aggregate \"{name}\"."
        );
        SqlError::new(6522, 16, text)
    };
    kept.map(|kept| Datum::Text(kept.into_bytes())).ok_or_else(failed)
}

/// A value that is put into a column: like [`convert`], but what would be cut is an error.
pub(crate) fn assign(datum: &Datum, from: &SqlType, to: &SqlType, column: &str) -> Result<Datum> {
    let truncated =
        || SqlError::new(2628, 16, format!("String or binary data would be truncated in column '{column}'."));
    match datum {
        Datum::Text(value)
            if to.kind.is_text() && !to.is_max() && length_of(value, to) > usize::from(to.length) =>
        {
            let blank = text::characters(value).skip(usize::from(to.length)).all(|code| code == 0x20);
            if !blank {
                return Err(truncated());
            }
        }
        Datum::Bytes(bytes)
            if to.kind.is_binary() && !to.is_max() && bytes.len() > usize::from(to.length) =>
        {
            return Err(truncated());
        }
        Datum::Null | Datum::Variant(..) => {}
        // Integers become binaries, times become texts without being asked; texts do not become binaries.
        Datum::Text(_) if to.kind.is_binary() => {
            let (from, to) = (from.kind.name(), to.kind.name());
            let text = format!(
                "Implicit conversion from data type {from} to {to} is not allowed. Use the CONVERT function to run \
                 this query."
            );
            return Err(SqlError::new(257, 16, text));
        }
        _ => {}
    }
    convert(datum, from, to, 0)
}
