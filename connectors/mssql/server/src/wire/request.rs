//! Batches and calls of procedures [2.2.6.6, 2.2.6.7].

use std::io;

use super::bytes::{Bytes, malformed, utf16};
use crate::types::datum::Datum;
use crate::types::encode::{collation_of, datetime};
use crate::types::temporal::{DAY, SECOND};
use crate::types::{Kind, MAX, SqlType, text};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Batch {
        text: String,
        /// The transaction that the client says it is in.
        transaction: u64,
    },
    Procedure {
        name: String,
        parameters: Vec<Parameter>,
        transaction: u64,
    },
}

/// A value that came with a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) value: Datum,
}

/// Procedures that are called by number.
const NUMBERED: [(u16, &str); 3] = [(10, "sp_executesql"), (11, "sp_prepare"), (13, "sp_prepexec")];

/// The transaction that the headers name; what stands behind them remains.
fn headers(bytes: &mut Bytes<'_>) -> io::Result<u64> {
    let total = usize::try_from(bytes.u32()?).map_err(|_| malformed("headers"))?;
    let mut headers = Bytes::new(bytes.take(total.checked_sub(4).ok_or_else(|| malformed("headers"))?)?);
    let mut transaction = 0;
    while !headers.is_empty() {
        let length = usize::try_from(headers.u32()?).map_err(|_| malformed("headers"))?;
        let mut header =
            Bytes::new(headers.take(length.checked_sub(4).ok_or_else(|| malformed("headers"))?)?);
        if header.u16()? == 2 {
            transaction = header.u64()?;
        }
    }
    Ok(transaction)
}

pub(crate) fn batch(body: &[u8]) -> io::Result<Request> {
    let mut bytes = Bytes::new(body);
    let transaction = headers(&mut bytes)?;
    Ok(Request::Batch { text: utf16(bytes.rest()), transaction })
}

pub(crate) fn procedure(body: &[u8]) -> io::Result<Request> {
    let mut bytes = Bytes::new(body);
    let transaction = headers(&mut bytes)?;
    let length = bytes.u16()?;
    let name = if length == u16::MAX {
        let number = bytes.u16()?;
        let known = NUMBERED.iter().find(|known| known.0 == number);
        known.map_or_else(|| format!("procedure {number}"), |known| known.1.to_owned())
    } else {
        bytes.utf16(usize::from(length))?
    };
    let _options = bytes.u16()?;
    let mut parameters = Vec::new();
    while !bytes.is_empty() {
        let name = bytes.short_text()?;
        let _status = bytes.u8()?;
        let (ty, value) = parameter(&mut bytes)?;
        parameters.push(Parameter { name, ty, value });
    }
    Ok(Request::Procedure { name, parameters, transaction })
}

/// The type and the value of a parameter.
fn parameter(bytes: &mut Bytes<'_>) -> io::Result<(SqlType, Datum)> {
    let number = bytes.u8()?;
    let of = SqlType::of;
    let ty = match number {
        0x26 => of(match bytes.u8()? {
            1 => Kind::TinyInt,
            2 => Kind::SmallInt,
            4 => Kind::Int,
            _ => Kind::BigInt,
        }),
        0x68 => sized(bytes, of(Kind::Bit))?,
        0x6D => of(if bytes.u8()? == 4 { Kind::Real } else { Kind::Float }),
        0x6E => of(if bytes.u8()? == 4 { Kind::SmallMoney } else { Kind::Money }),
        0x6F => of(if bytes.u8()? == 4 { Kind::SmallDateTime } else { Kind::DateTime }),
        0x24 => sized(bytes, of(Kind::UniqueIdentifier))?,
        0x6A | 0x6C => {
            bytes.u8()?;
            SqlType::decimal(bytes.u8()?, bytes.u8()?)
        }
        0x28 => of(Kind::Date),
        0x29 => SqlType::with_scale(Kind::Time, bytes.u8()?),
        0x2A => SqlType::with_scale(Kind::DateTime2, bytes.u8()?),
        0x2B => SqlType::with_scale(Kind::DateTimeOffset, bytes.u8()?),
        0xE7 | 0xEF | 0xA7 | 0xAF => {
            let length = bytes.u16()?;
            let collation = collation_of(bytes.array()?);
            let wide = matches!(number, 0xE7 | 0xEF);
            let kind = if wide { Kind::NVarChar } else { Kind::VarChar };
            let length = if wide && length != MAX { length / 2 } else { length };
            SqlType::with_length(kind, length).collated(collation)
        }
        0xA5 | 0xAD => SqlType::with_length(Kind::VarBinary, bytes.u16()?),
        other => return Err(malformed(&format!("a parameter of type {other:#04x}"))),
    };
    if ty.scale > 38 || ty.kind.is_temporal() && ty.scale > 7 {
        return Err(malformed("the scale of a parameter"));
    }
    let raw = match number {
        0xE7 | 0xEF | 0xA7 | 0xAF | 0xA5 | 0xAD if ty.is_max() => partial(bytes)?,
        0xE7 | 0xEF | 0xA7 | 0xAF | 0xA5 | 0xAD => match bytes.u16()? {
            u16::MAX => None,
            length => Some(bytes.take(usize::from(length))?.to_vec()),
        },
        _ => match bytes.u8()? {
            0 => None,
            length => Some(bytes.take(usize::from(length))?.to_vec()),
        },
    };
    let value = match raw {
        None => Datum::Null,
        Some(raw) => decode(&ty, &raw)?,
    };
    Ok((ty, value))
}

fn sized(bytes: &mut Bytes<'_>, ty: SqlType) -> io::Result<SqlType> {
    bytes.u8()?;
    Ok(ty)
}

/// A value in pieces.
fn partial(bytes: &mut Bytes<'_>) -> io::Result<Option<Vec<u8>>> {
    if bytes.u64()? == u64::MAX {
        return Ok(None);
    }
    let mut whole = Vec::new();
    loop {
        let length = usize::try_from(bytes.u32()?).map_err(|_| malformed("a piece"))?;
        if length == 0 {
            return Ok(Some(whole));
        }
        whole.extend_from_slice(bytes.take(length)?);
    }
}

fn decode(ty: &SqlType, raw: &[u8]) -> io::Result<Datum> {
    let mut bytes = Bytes::new(raw);
    let unsigned = |raw: &[u8]| raw.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let signed = |raw: &[u8]| {
        let unused = 64 - 8 * u32::try_from(raw.len().clamp(1, 8)).unwrap_or(8);
        (unsigned(raw) << unused).cast_signed() >> unused
    };
    let time = |raw: &[u8]| {
        let value = i64::try_from(unsigned(raw)).unwrap_or(0);
        value.saturating_mul(SECOND / 10_i64.pow(u32::from(ty.scale.min(7))))
    };
    let days = |raw: &[u8]| i64::try_from(unsigned(raw)).unwrap_or(0).saturating_mul(DAY);
    let split =
        |at: usize| raw.len().checked_sub(at).map(|at| raw.split_at(at)).ok_or_else(|| malformed("a time"));
    Ok(match ty.kind {
        Kind::Bit | Kind::TinyInt => Datum::Int(i64::from(bytes.u8()?)),
        kind if kind.is_integer() => Datum::Int(signed(raw)),
        Kind::Real => Datum::Float(f64::from(f32::from_le_bytes(bytes.array()?))),
        Kind::Float => Datum::Float(f64::from_le_bytes(bytes.array()?)),
        Kind::SmallMoney => Datum::Scaled(i128::from(signed(raw))),
        Kind::Money => {
            let (high, low) = (bytes.u32()?, bytes.u32()?);
            Datum::Scaled(i128::from((u64::from(high) << 32 | u64::from(low)).cast_signed()))
        }
        Kind::Decimal => {
            let positive = bytes.u8()? == 1;
            let value = bytes.rest().iter().rev().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
            let value = i128::try_from(value).map_err(|_| malformed("a decimal"))?;
            Datum::Scaled(if positive { value } else { -value })
        }
        Kind::UniqueIdentifier => Datum::Guid(bytes.array()?),
        Kind::Date => Datum::Time(i64::try_from(unsigned(raw)).unwrap_or(0)),
        Kind::Time => Datum::Time(time(raw)),
        Kind::DateTime2 => {
            let (clock, date) = split(3)?;
            Datum::Time(days(date) + time(clock))
        }
        Kind::DateTimeOffset => {
            let (clock, rest) = split(5)?;
            let (date, offset) = rest.split_at(3);
            let minutes = i16::try_from(signed(offset)).unwrap_or(0);
            Datum::Offset(days(date) + time(clock), minutes)
        }
        Kind::DateTime => Datum::Time(datetime(bytes.u32()?.cast_signed(), bytes.u32()?)),
        Kind::SmallDateTime => Datum::Time(i64::from(bytes.u16()?) * 1440 + i64::from(bytes.u16()?)),
        Kind::NVarChar => Datum::Text(text::of_utf16(raw)),
        Kind::VarChar => Datum::Text(ty.collation.decode(raw)),
        _ => Datum::Bytes(raw.to_vec()),
    })
}
