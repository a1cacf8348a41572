//! Values as texts, in the styles of CONVERT.

use super::datum::{Datum, format_guid, format_hex};
use super::numbers::{self, rescale};
use super::temporal::{self, DAY, DAYS_1900, MINUTE, TICKS};
use super::{Kind, SqlType, text};
use crate::error::{Result, SqlError};

/// The value as text, before it is cut to a length.
fn printed(datum: &Datum, from: &SqlType, style: i64) -> String {
    match datum {
        Datum::Int(value) => value.to_string(),
        Datum::Scaled(value) if matches!(from.kind, Kind::Money | Kind::SmallMoney) && style != 2 => {
            numbers::format(rescale(*value, 4, 2).unwrap_or(0), 2)
        }
        Datum::Scaled(value) => numbers::format(*value, from.scale),
        Datum::Float(value) => numbers::format_float(*value, style, from.kind == Kind::Real),
        Datum::Guid(bytes) => format_guid(*bytes),
        Datum::Offset(utc, minutes) => {
            let local = utc + i64::from(*minutes) * MINUTE;
            let offset = temporal::format_offset(i64::from(*minutes));
            let between = if matches!(style, 126 | 127) { 'T' } else { ' ' };
            let blank = if between == 'T' { "" } else { " " };
            let time = temporal::format_time(local.rem_euclid(DAY), from.scale);
            format!("{}{between}{time}{blank}{offset}", temporal::format_date(local.div_euclid(DAY)))
        }
        Datum::Time(value) => printed_time(*value, from, style),
        _ => String::new(),
    }
}

fn printed_time(value: i64, from: &SqlType, style: i64) -> String {
    let between = if matches!(style, 126 | 127) { 'T' } else { ' ' };
    match from.kind {
        Kind::Date if style == 112 => temporal::format_date(value).replace('-', ""),
        Kind::Date => temporal::format_date(value),
        Kind::Time => temporal::format_time(value, from.scale),
        Kind::DateTime2 => {
            let time = temporal::format_time(value.rem_euclid(DAY), from.scale);
            format!("{}{between}{time}", temporal::format_date(value.div_euclid(DAY)))
        }
        Kind::DateTime if matches!(style, 20 | 21 | 25 | 120 | 121 | 126 | 127) => {
            let date = temporal::format_date(value.div_euclid(TICKS) + DAYS_1900);
            let time = temporal::format_milliseconds(value.rem_euclid(TICKS));
            let time = if matches!(style, 20 | 120) { time[..8].to_owned() } else { time };
            // Style 126 leaves out milliseconds that are 0.
            let time = if between == 'T' { time.trim_end_matches(".000").to_owned() } else { time };
            format!("{date}{between}{time}")
        }
        Kind::SmallDateTime if matches!(style, 20 | 21 | 25 | 120 | 121 | 126 | 127) => {
            let date = temporal::format_date(value.div_euclid(1440) + DAYS_1900);
            let time = temporal::format_time(value.rem_euclid(1440) * MINUTE, 0);
            format!("{date}{between}{time}")
        }
        _ => {
            // Style 0: "Jan 31 2024  1:05PM".
            let (days, minutes) = match from.kind {
                Kind::DateTime => (value.div_euclid(TICKS), value.rem_euclid(TICKS) / 18_000),
                _ => (value.div_euclid(1440), value.rem_euclid(1440)),
            };
            let (year, month, day) = temporal::date(days + DAYS_1900);
            let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let name = usize::try_from(month - 1).ok().and_then(|at| names.get(at)).unwrap_or(&"");
            let half = if minutes >= 720 { "PM" } else { "AM" };
            let hour = (minutes / 60 + 11) % 12 + 1;
            format!("{name} {day:>2} {year} {hour:>2}:{:02}{half}", minutes % 60)
        }
    }
}

pub(super) fn to_text(datum: &Datum, from: &SqlType, to: &SqlType, style: i64) -> Result<Datum> {
    let value = match datum {
        Datum::Text(value) if to.kind.is_narrow() => {
            // What the code page does not have becomes `?` here, not only on the way to the client.
            to.collation.decode(&to.collation.encode(value))
        }
        Datum::Text(value) => value.clone(),
        Datum::Bytes(bytes) if style == 1 => format!("0x{}", format_hex(bytes)).into_bytes(),
        Datum::Bytes(bytes) if style == 2 => format_hex(bytes).into_bytes(),
        Datum::Bytes(bytes) if to.kind.is_narrow() => to.collation.decode(bytes),
        Datum::Bytes(bytes) => text::of_utf16(bytes),
        other => {
            let printed = printed(other, from, style).into_bytes();
            if length_of(&printed, to) > usize::from(to.length) && from.kind.is_number() && !to.is_max() {
                // Integers that are too long print as `*`, in narrow types only; others are errors.
                let starred = from.kind.is_integer() && to.kind.is_narrow();
                return if starred { fitted(b"*", to) } else { Err(SqlError::overflow(to.kind.name())) };
            }
            printed
        }
    };
    fitted(&value, to)
}

/// How long a text is, in what its type counts.
pub(crate) fn length_of(value: &[u8], ty: &SqlType) -> usize {
    if ty.kind.is_narrow() { ty.collation.encode(value).len() } else { text::units(value).len() }
}

/// A text cut to the length of its type, and padded if that is fixed.
fn fitted(value: &[u8], to: &SqlType) -> Result<Datum> {
    if to.is_max() || matches!(to.kind, Kind::Text | Kind::NText | Kind::Xml) {
        return Ok(Datum::Text(value.to_vec()));
    }
    let length = usize::from(to.length);
    let fixed = matches!(to.kind, Kind::Char | Kind::NChar);
    let value = if to.kind.is_narrow() {
        let mut bytes = to.collation.encode(value);
        bytes.truncate(length);
        if fixed {
            bytes.resize(length, b' ');
        }
        to.collation.decode(&bytes)
    } else {
        let mut units = text::units(value);
        units.truncate(length);
        if fixed {
            units.resize(length, u16::from(b' '));
        }
        text::of_units(units)
    };
    Ok(Datum::Text(value))
}
