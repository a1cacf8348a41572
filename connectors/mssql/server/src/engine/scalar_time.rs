//! Functions of dates and times.

use super::scalar::Typed;
use crate::error::{Result, SqlError};
use crate::types::convert::{convert, integer};
use crate::types::datum::Datum;
use crate::types::temporal::{self, DAY, HOUR, MINUTE, SECOND};
use crate::types::{Kind, SqlType};

/// Parts of a date by which DATEADD, DATEDIFF and DATEPART count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Quarter,
    Month,
    DayOfYear,
    Week,
    Weekday,
    /// In units of 100 ns; a nanosecond is a part of one.
    Units(i64),
    Nanosecond,
    Offset,
}

fn part(name: &str) -> Option<Part> {
    Some(match name.to_ascii_lowercase().as_str() {
        "year" | "yyyy" | "yy" => Part::Year,
        "quarter" | "qq" | "q" => Part::Quarter,
        "month" | "mm" | "m" => Part::Month,
        "dayofyear" | "dy" | "y" => Part::DayOfYear,
        "day" | "dd" | "d" => Part::Units(DAY),
        "week" | "wk" | "ww" => Part::Week,
        "weekday" | "dw" => Part::Weekday,
        "hour" | "hh" => Part::Units(HOUR),
        "minute" | "mi" | "n" => Part::Units(MINUTE),
        "second" | "ss" | "s" => Part::Units(SECOND),
        "millisecond" | "ms" => Part::Units(10_000),
        "microsecond" | "mcs" => Part::Units(10),
        "nanosecond" | "ns" => Part::Nanosecond,
        "tzoffset" | "tz" => Part::Offset,
        _ => return None,
    })
}

/// Any date or time as units of 100 ns since 0001-01-01 (a time of day in 1900), in UTC if it has an offset.
fn units((ty, value): &Typed) -> Result<i64> {
    let moment = SqlType::with_scale(Kind::DateTimeOffset, 7);
    match convert(value, ty, &moment, 0)? {
        Datum::Offset(utc, _) => Ok(utc),
        _ => Err(SqlError::overflow("datetime2")),
    }
}

/// The same by the clock that it shows.
fn local(value: &Typed) -> Result<i64> {
    let offset = match value.1 {
        Datum::Offset(_, minutes) => i64::from(minutes) * MINUTE,
        _ => 0,
    };
    units(value).map(|utc| utc + offset)
}

fn of_local(local: i64, like: &Typed, result: &SqlType) -> Result<Datum> {
    let overflow =
        || SqlError::new(517, 16, "Adding a value to a date and/or time column caused an overflow.");
    if !(0..=temporal::LAST_DAY).contains(&local.div_euclid(DAY)) {
        return Err(overflow());
    }
    if let Datum::Offset(_, minutes) = like.1 {
        let value = Datum::Offset(local - i64::from(minutes) * MINUTE, minutes);
        return convert(&value, &SqlType::with_scale(Kind::DateTimeOffset, 7), result, 0);
    }
    convert(&Datum::Time(local), &SqlType::with_scale(Kind::DateTime2, 7), result, 0)
}

/// `datetime` plus or minus a number of days.
pub(super) fn shift(sign: &str, result: &SqlType, a: &Typed, b: &Typed) -> Result<Datum> {
    let (date, days) = if a.0.kind.is_temporal() { (a, b) } else { (b, a) };
    let Datum::Float(days) = convert(&days.1, &days.0, &SqlType::of(Kind::Float), 0)? else {
        return Ok(Datum::Null);
    };
    let days = if sign == "-" { -days } else { days };
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range of dates next")]
    let moved = (days * DAY as f64) as i64;
    of_local(local(date)?.saturating_add(moved), date, result)
}

pub(super) fn call(name: &str, result: &SqlType, arguments: &[Typed]) -> Result<Option<Datum>> {
    let text = |at: usize| match arguments.get(at) {
        Some((_, Datum::Text(text))) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    let known = || {
        part(&text(0)).ok_or_else(|| {
            SqlError::new(155, 15, format!("'{}' is not a recognized datepart option.", text(0)))
        })
    };
    let int = |at: usize| match arguments.get(at) {
        Some((_, Datum::Int(value))) => *value,
        _ => 0,
    };
    Ok(Some(match (name, arguments) {
        ("DATEADD", [_, _, date]) => add(known()?, int(1), date, result)?,
        ("DATEDIFF" | "DATEDIFF_BIG", [_, from, to]) => {
            integer(i128::from(difference(known()?, units(from)?, units(to)?)), result)?
        }
        ("DATEPART", [_, date]) => Datum::Int(of_part(known()?, date)?),
        ("YEAR" | "MONTH" | "DAY", [date]) => {
            let (year, month, day) = temporal::date(local(date)?.div_euclid(DAY));
            Datum::Int(match name {
                "YEAR" => year,
                "MONTH" => month,
                _ => day,
            })
        }
        ("EOMONTH", [date]) => {
            let (year, month, _) = temporal::date(local(date)?.div_euclid(DAY));
            temporal::days(year, month, temporal::month_days(year, month)).map_or(Datum::Null, Datum::Time)
        }
        ("DATEFROMPARTS", [_, _, _]) => {
            let text =
                "Cannot construct data type date, some of the arguments have values which are not valid.";
            let days = temporal::days(int(0), int(1), int(2)).ok_or_else(|| SqlError::new(289, 16, text))?;
            Datum::Time(days)
        }
        ("SWITCHOFFSET" | "TODATETIMEOFFSET", [date, _]) => {
            let minutes = match &arguments[1].1 {
                Datum::Int(minutes) => *minutes,
                _ => temporal::parse(&format!("00:00{}", text(1)))
                    .and_then(|parsed| parsed.offset)
                    .unwrap_or(0),
            };
            let utc = if name == "SWITCHOFFSET" { units(date)? } else { local(date)? - minutes * MINUTE };
            Datum::Offset(utc, i16::try_from(minutes).unwrap_or(0))
        }
        _ => return Ok(None),
    }))
}

fn add(part: Part, count: i64, date: &Typed, result: &SqlType) -> Result<Datum> {
    let overflow =
        || SqlError::new(517, 16, "Adding a value to a date and/or time column caused an overflow.");
    let at = local(date)?;
    let moved = match part {
        Part::Year | Part::Quarter | Part::Month => {
            let months = match part {
                Part::Year => 12,
                Part::Quarter => 3,
                _ => 1,
            };
            let (year, month, day) = temporal::date(at.div_euclid(DAY));
            let month = year * 12 + month - 1 + count.checked_mul(months).ok_or_else(overflow)?;
            let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
            let day = day.min(temporal::month_days(year, month));
            temporal::days(year, month, day).map(|days| days * DAY + at.rem_euclid(DAY))
        }
        Part::Week => count.checked_mul(7 * DAY).and_then(|moved| at.checked_add(moved)),
        Part::DayOfYear | Part::Weekday => count.checked_mul(DAY).and_then(|moved| at.checked_add(moved)),
        Part::Units(unit) => count.checked_mul(unit).and_then(|moved| at.checked_add(moved)),
        Part::Nanosecond => at.checked_add(count / 100),
        Part::Offset => None,
    };
    of_local(moved.ok_or_else(overflow)?, date, result)
}

/// How many borders of the part lie between two moments.
fn difference(part: Part, from: i64, to: i64) -> i64 {
    let months = |units: i64| {
        let (year, month, _) = temporal::date(units.div_euclid(DAY));
        year * 12 + month - 1
    };
    match part {
        Part::Year => months(to).div_euclid(12) - months(from).div_euclid(12),
        Part::Quarter => months(to).div_euclid(3) - months(from).div_euclid(3),
        Part::Month => months(to) - months(from),
        // 0001-01-01 is a Monday; weeks begin on Sunday.
        Part::Week => (to.div_euclid(DAY) + 1).div_euclid(7) - (from.div_euclid(DAY) + 1).div_euclid(7),
        Part::DayOfYear | Part::Weekday => to.div_euclid(DAY) - from.div_euclid(DAY),
        Part::Units(unit) => to.div_euclid(unit) - from.div_euclid(unit),
        Part::Nanosecond => (to - from).saturating_mul(100),
        Part::Offset => 0,
    }
}

fn of_part(part: Part, date: &Typed) -> Result<i64> {
    let at = local(date)?;
    let (year, month, day) = temporal::date(at.div_euclid(DAY));
    Ok(match part {
        Part::Year => year,
        Part::Quarter => (month + 2) / 3,
        Part::Month => month,
        Part::DayOfYear => temporal::days(year, 1, 1).map_or(0, |first| at.div_euclid(DAY) - first + 1),
        Part::Week => {
            let first = temporal::days(year, 1, 1).unwrap_or(0);
            (at.div_euclid(DAY) + 1).div_euclid(7) - (first + 1).div_euclid(7) + 1
        }
        Part::Weekday => (at.div_euclid(DAY) + 1).rem_euclid(7) + 1,
        Part::Units(DAY) => day,
        Part::Units(HOUR) => at.rem_euclid(DAY) / HOUR,
        Part::Units(MINUTE) => at.rem_euclid(HOUR) / MINUTE,
        Part::Units(unit @ SECOND) => at.rem_euclid(MINUTE) / unit,
        Part::Units(unit) => at.rem_euclid(SECOND) / unit,
        Part::Nanosecond => at.rem_euclid(SECOND) * 100,
        Part::Offset => match date.1 {
            Datum::Offset(_, minutes) => i64::from(minutes),
            _ => 0,
        },
    })
}
