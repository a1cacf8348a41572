//! Functions over texts and binaries.

use super::scalar::{Typed, int};
use crate::error::{Result, SqlError};
use crate::types::convert::convert;
use crate::types::datum::Datum;
use crate::types::{Kind, SqlType, text};

/// Calls a function by its name; `None` if there is none of texts and binaries.
pub(super) fn call(name: &str, arguments: &[Typed]) -> Result<Option<Datum>> {
    let Some((ty, first)) = arguments.first() else { return Ok(None) };
    if let Datum::Bytes(bytes) = first {
        return Ok(binaries(name, bytes, arguments));
    }
    if name == "CHAR" || name == "NCHAR" || name == "SPACE" {
        let number = int(&arguments[0]);
        return Ok(Some(match (name, u16::try_from(number), u8::try_from(number)) {
            ("NCHAR", Ok(unit), _) => Datum::Text(text::of_units([unit])),
            ("CHAR", _, Ok(byte)) => Datum::Text(ty.collation.decode(&[byte])),
            ("SPACE", Ok(count), _) => Datum::Text(vec![b' '; usize::from(count)]),
            _ => Datum::Null,
        }));
    }
    let Datum::Text(value) = first else {
        let printed = SqlType::with_length(Kind::NVarChar, 4000);
        return match (name, first) {
            ("DATALENGTH", _) => Ok(Some(Datum::Int(data_length(ty, first)))),
            (
                "LEN" | "LEFT" | "RIGHT" | "LTRIM" | "RTRIM" | "REPLACE" | "UPPER" | "LOWER" | "SUBSTRING",
                _,
            ) => {
                let text = convert(first, ty, &printed, 0)?;
                let arguments = [&[(printed, text)], &arguments[1..]].concat();
                call(name, &arguments)
            }
            _ => Ok(None),
        };
    };
    match of_text(name, ty, value, arguments)? {
        Some(found) => Ok(Some(found)),
        None => searched(name, value, arguments),
    }
}

/// Functions of one text.
fn of_text(name: &str, ty: &SqlType, value: &[u8], arguments: &[Typed]) -> Result<Option<Datum>> {
    let whole = |value: Vec<u16>| Some(Datum::Text(text::of_units(value)));
    let units = text::units(value);
    let lossy = || String::from_utf8_lossy(value).into_owned();
    let of_string = |text: String| Some(Datum::Text(text.into_bytes()));
    let count = |at: usize| arguments.get(at).map_or(0, int);
    Ok(match name {
        "LEN" => {
            let blanks = units.iter().rev().take_while(|&&unit| unit == 0x20).count();
            Some(Datum::Int(i64::try_from(units.len() - blanks).unwrap_or(i64::MAX)))
        }
        "DATALENGTH" => Some(Datum::Int(data_length(ty, &Datum::Text(value.to_vec())))),
        "UPPER" => of_string(lossy().to_uppercase()),
        "LOWER" => of_string(lossy().to_lowercase()),
        "LTRIM" => of_string(lossy().trim_start_matches(' ').to_owned()),
        "RTRIM" => of_string(lossy().trim_end_matches(' ').to_owned()),
        "TRIM" => of_string(lossy().trim_matches(' ').to_owned()),
        "REVERSE" => whole(units.into_iter().rev().collect()),
        "SUBSTRING" => whole(part(&units, count(1), count(2))?),
        "LEFT" => whole(part(&units, 1, count(1))?),
        "RIGHT" => {
            let length = usize::try_from(count(1)).unwrap_or(0).min(units.len());
            whole(units[units.len() - length..].to_vec())
        }
        "REPLICATE" => usize::try_from(count(1)).ok().map(|times| Datum::Text(value.repeat(times))),
        "UNICODE" => units.first().map(|&unit| Datum::Int(i64::from(unit))).or(Some(Datum::Null)),
        "ASCII" => {
            ty.collation.encode(value).first().map(|&byte| Datum::Int(i64::from(byte))).or(Some(Datum::Null))
        }
        "QUOTENAME" => of_string(format!("[{}]", lossy().replace(']', "]]"))),
        _ => None,
    })
}

/// Functions that look for one text in another, or put it there.
fn searched(name: &str, value: &[u8], arguments: &[Typed]) -> Result<Option<Datum>> {
    let units = text::units(value);
    let lossy = || String::from_utf8_lossy(value).into_owned();
    let count = |at: usize| arguments.get(at).map_or(0, int);
    Ok(match name {
        "REPLACE" => {
            let (Some((_, Datum::Text(from))), Some((_, Datum::Text(to)))) =
                (arguments.get(1), arguments.get(2))
            else {
                return Ok(Some(Datum::Null));
            };
            let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
            let text = if from.is_empty() { lossy() } else { lossy().replace(from.as_ref(), &to) };
            Some(Datum::Text(text.into_bytes()))
        }
        "CHARINDEX" => {
            let Some((_, Datum::Text(within))) = arguments.get(1) else { return Ok(Some(Datum::Null)) };
            let fold = |text: &[u8]| text::units(String::from_utf8_lossy(text).to_lowercase().as_bytes());
            let (wanted, within) = (fold(value), fold(within));
            let from = usize::try_from(count(2) - 1).unwrap_or(0).min(within.len());
            let found = within[from..].windows(wanted.len().max(1)).position(|window| window == wanted);
            Some(Datum::Int(found.map_or(0, |at| i64::try_from(from + at + 1).unwrap_or(0))))
        }
        "STUFF" => {
            let (from, length) = (count(1), count(2));
            let Some((_, Datum::Text(with))) = arguments.get(3) else { return Ok(Some(Datum::Null)) };
            let before = part(&units, 1, from - 1)?;
            let after = part(&units, from + length, i64::MAX / 2)?;
            Some(Datum::Text(text::of_units([before, text::units(with), after].concat())))
        }
        _ => None,
    })
}

fn binaries(name: &str, bytes: &[u8], arguments: &[Typed]) -> Option<Datum> {
    let count = |at: usize| arguments.get(at).map_or(0, int);
    match name {
        "DATALENGTH" | "LEN" => Some(Datum::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))),
        "SUBSTRING" => {
            let units: Vec<u16> = bytes.iter().map(|&byte| u16::from(byte)).collect();
            let part = part(&units, count(1), count(2)).ok()?;
            Some(Datum::Bytes(part.into_iter().filter_map(|unit| u8::try_from(unit).ok()).collect()))
        }
        "REVERSE" => Some(Datum::Bytes(bytes.iter().rev().copied().collect())),
        _ => None,
    }
}

/// A part that begins at a place counted from 1, which may lie before the text.
fn part(units: &[u16], from: i64, length: i64) -> Result<Vec<u16>> {
    if length < 0 {
        return Err(SqlError::new(
            537,
            16,
            "Invalid length parameter passed to the LEFT or SUBSTRING function.",
        ));
    }
    let end = from.saturating_add(length).saturating_sub(1).max(0);
    let begin = from.saturating_sub(1).max(0);
    let place = |at: i64| usize::try_from(at).unwrap_or(0).min(units.len());
    Ok(units[place(begin)..place(end).max(place(begin))].to_vec())
}

fn data_length(ty: &SqlType, value: &Datum) -> i64 {
    let length = match value {
        Datum::Text(value) if ty.kind.is_narrow() => ty.collation.encode(value).len(),
        Datum::Text(value) => text::units(value).len() * 2,
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Variant(base, value) => return data_length(base, value),
        _ => return ty.catalog_length(),
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}
