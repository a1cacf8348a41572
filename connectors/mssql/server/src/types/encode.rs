//! Types and values as they travel [2.2.5.4, 2.2.5.5].

use super::collation::Collation;
use super::datum::Datum;
use super::numbers::{decimal_bytes, time_bytes};
use super::temporal::{DAY, TICKS};
use super::{Kind, SqlType};
use crate::wire::token::{long_text, short_text};

/// How values of `(max)` types come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Bytes of one piece.
    pub(crate) size: usize,
    /// Whether the length of all is said before them.
    pub(crate) length_known: bool,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { size: 8040, length_known: true }
    }
}

const NULL_16: [u8; 2] = [0xFF; 2];
const NULL_64: [u8; 8] = [0xFF; 8];
const UNKNOWN_LENGTH: u64 = u64::MAX - 1;

/// The meta data of a type. SQL Server tells columns that cannot be NULL by types of fixed length.
pub(crate) fn type_info(to: &mut Vec<u8>, ty: &SqlType, nullable: bool, table: &str) {
    match fixed_number(ty.kind) {
        Some((number, _, _)) if !nullable => to.push(number),
        Some((_, family, length)) => to.extend([family, length]),
        None => type_of_length(to, ty, table),
    }
}

/// Numbers of the type of fixed length and of the nullable family, and the length.
fn fixed_number(kind: Kind) -> Option<(u8, u8, u8)> {
    Some(match kind {
        Kind::Bit => (0x32, 0x68, 1),
        Kind::TinyInt => (0x30, 0x26, 1),
        Kind::SmallInt => (0x34, 0x26, 2),
        Kind::Int => (0x38, 0x26, 4),
        Kind::BigInt => (0x7F, 0x26, 8),
        Kind::Real => (0x3B, 0x6D, 4),
        Kind::Float => (0x3E, 0x6D, 8),
        Kind::SmallMoney => (0x7A, 0x6E, 4),
        Kind::Money => (0x3C, 0x6E, 8),
        Kind::SmallDateTime => (0x3A, 0x6F, 4),
        Kind::DateTime => (0x3D, 0x6F, 8),
        _ => return None,
    })
}

fn type_of_length(to: &mut Vec<u8>, ty: &SqlType, table: &str) {
    let collation = ty.collation.to_bytes();
    let bytes = if ty.is_max() || !ty.kind.is_wide() { ty.length } else { ty.length.saturating_mul(2) };
    let sized = |to: &mut Vec<u8>, number: u8| {
        to.push(number);
        to.extend(bytes.to_le_bytes());
    };
    match ty.kind {
        Kind::Decimal => to.extend([0x6A, decimal_bytes(ty.precision), ty.precision, ty.scale]),
        Kind::Numeric => to.extend([0x6C, decimal_bytes(ty.precision), ty.precision, ty.scale]),
        Kind::Date => to.push(0x28),
        Kind::Time => to.extend([0x29, ty.scale]),
        Kind::DateTime2 => to.extend([0x2A, ty.scale]),
        Kind::DateTimeOffset => to.extend([0x2B, ty.scale]),
        Kind::UniqueIdentifier => to.extend([0x24, 16]),
        Kind::Binary | Kind::RowVersion => sized(to, 0xAD),
        Kind::VarBinary => sized(to, 0xA5),
        Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar => {
            let number = match ty.kind {
                Kind::Char => 0xAF,
                Kind::VarChar => 0xA7,
                Kind::NChar => 0xEF,
                _ => 0xE7,
            };
            sized(to, number);
            to.extend(collation);
        }
        Kind::Text | Kind::NText | Kind::Image => {
            let (number, length) = match ty.kind {
                Kind::Text => (0x23, 0x7FFF_FFFF_u32),
                Kind::NText => (0x63, 0x7FFF_FFFE),
                _ => (0x22, 0x7FFF_FFFF),
            };
            to.push(number);
            to.extend(length.to_le_bytes());
            if ty.kind != Kind::Image {
                to.extend(collation);
            }
            to.push(1);
            long_text(to, table);
        }
        Kind::Xml => to.extend([0xF1, 0]),
        Kind::Variant => {
            to.push(0x62);
            to.extend(8009_u32.to_le_bytes());
        }
        _ => udt(to, ty),
    }
}

fn udt(to: &mut Vec<u8>, ty: &SqlType) {
    to.push(0xF0);
    to.extend(if ty.kind == Kind::HierarchyId { 892_u16 } else { u16::MAX }.to_le_bytes());
    short_text(to, "master");
    short_text(to, "sys");
    short_text(to, ty.kind.name());
    let class = match ty.kind {
        Kind::HierarchyId => "SqlHierarchyId",
        Kind::Geography => "SqlGeography",
        _ => "SqlGeometry",
    };
    long_text(
        to,
        &format!(
            "Microsoft.SqlServer.Types.{class}, Microsoft.SqlServer.Types, Version=11.0.0.0, Culture=neutral, \
             PublicKeyToken=89845dcd8080cc91"
        ),
    );
}

/// NULL of a nullable column.
pub(crate) fn null(to: &mut Vec<u8>, ty: &SqlType) {
    match ty.kind {
        _ if ty.is_partial() => to.extend(NULL_64),
        Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar => to.extend(NULL_16),
        Kind::Binary | Kind::VarBinary | Kind::RowVersion => to.extend(NULL_16),
        Kind::Variant => to.extend([0; 4]),
        _ => to.push(0),
    }
}

/// A value that is not NULL, with its length as the type wants it.
pub(crate) fn value(to: &mut Vec<u8>, ty: &SqlType, nullable: bool, datum: &Datum, pieces: Pieces) {
    let mut bytes = Vec::new();
    plain(&mut bytes, ty, datum);
    match ty.kind {
        kind if fixed_number(kind).is_some() && !nullable => to.extend(bytes),
        _ if ty.is_partial() => in_pieces(to, &bytes, pieces),
        Kind::Char
        | Kind::VarChar
        | Kind::NChar
        | Kind::NVarChar
        | Kind::Binary
        | Kind::VarBinary
        | Kind::RowVersion => {
            to.extend(u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
            to.extend(bytes);
        }
        Kind::Text | Kind::NText | Kind::Image => {
            // A pointer to the text and its time stamp, which nobody reads.
            to.push(16);
            to.extend([0x55; 24]);
            to.extend(u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
            to.extend(bytes);
        }
        Kind::Variant => {
            to.extend(u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
            to.extend(bytes);
        }
        _ => {
            to.push(u8::try_from(bytes.len()).unwrap_or(0));
            to.extend(bytes);
        }
    }
}

fn in_pieces(to: &mut Vec<u8>, bytes: &[u8], pieces: Pieces) {
    let length = if pieces.length_known { bytes.len() as u64 } else { UNKNOWN_LENGTH };
    to.extend(length.to_le_bytes());
    for piece in bytes.chunks(pieces.size.max(1)) {
        to.extend(u32::try_from(piece.len()).unwrap_or(0).to_le_bytes());
        to.extend_from_slice(piece);
    }
    to.extend(0_u32.to_le_bytes());
}

/// The value's own bytes.
fn plain(to: &mut Vec<u8>, ty: &SqlType, datum: &Datum) {
    match datum {
        Datum::Null => {}
        Datum::Int(value) => {
            let bytes = value.to_le_bytes();
            let length = match ty.kind {
                Kind::Bit | Kind::TinyInt => 1,
                Kind::SmallInt => 2,
                Kind::Int => 4,
                _ => 8,
            };
            to.extend_from_slice(&bytes[..length]);
        }
        Datum::Scaled(value) => scaled(to, ty, *value),
        Datum::Float(value) if ty.kind == Kind::Real => to.extend(single(*value).to_le_bytes()),
        Datum::Float(value) => to.extend(value.to_le_bytes()),
        Datum::Text(text) if ty.kind.is_narrow() => to.extend(ty.collation.encode(text)),
        Datum::Text(text) if ty.kind.is_udt() => to.extend(super::spatial::native(ty.kind, text)),
        Datum::Text(text) => to.extend(super::text::to_utf16(text)),
        Datum::Bytes(bytes) => to.extend_from_slice(bytes),
        Datum::Time(value) => time(to, ty, *value),
        Datum::Offset(utc, minutes) => {
            time_of_day(to, utc.rem_euclid(DAY), ty.scale);
            to.extend_from_slice(&utc.div_euclid(DAY).to_le_bytes()[..3]);
            to.extend(minutes.to_le_bytes());
        }
        Datum::Guid(bytes) => to.extend_from_slice(bytes),
        Datum::Variant(base, value) => variant(to, base, value),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest single is what the type holds")]
pub(crate) fn single(value: f64) -> f32 {
    value as f32
}

fn scaled(to: &mut Vec<u8>, ty: &SqlType, value: i128) {
    let bytes = value.to_le_bytes();
    match ty.kind {
        Kind::SmallMoney => to.extend_from_slice(&bytes[..4]),
        Kind::Money => {
            // The higher half comes first.
            to.extend_from_slice(&bytes[4..8]);
            to.extend_from_slice(&bytes[..4]);
        }
        _ => {
            to.push(u8::from(value >= 0));
            let length = usize::from(decimal_bytes(ty.precision)) - 1;
            to.extend_from_slice(&value.unsigned_abs().to_le_bytes()[..length]);
        }
    }
}

fn time(to: &mut Vec<u8>, ty: &SqlType, value: i64) {
    match ty.kind {
        Kind::Date => to.extend_from_slice(&value.to_le_bytes()[..3]),
        Kind::Time => time_of_day(to, value, ty.scale),
        Kind::DateTime2 => {
            time_of_day(to, value.rem_euclid(DAY), ty.scale);
            to.extend_from_slice(&value.div_euclid(DAY).to_le_bytes()[..3]);
        }
        Kind::DateTime => {
            to.extend_from_slice(&value.div_euclid(TICKS).to_le_bytes()[..4]);
            to.extend_from_slice(&value.rem_euclid(TICKS).to_le_bytes()[..4]);
        }
        _ => {
            to.extend_from_slice(&value.div_euclid(1440).to_le_bytes()[..2]);
            to.extend_from_slice(&value.rem_euclid(1440).to_le_bytes()[..2]);
        }
    }
}

fn time_of_day(to: &mut Vec<u8>, time: i64, scale: u8) {
    let unit = 10_i64.pow(u32::from(7_u8.saturating_sub(scale)));
    to.extend_from_slice(&(time / unit).to_le_bytes()[..usize::from(time_bytes(scale))]);
}

/// A value of `sql_variant`: its base type, what belongs to that, and the value [2.2.5.5.4].
fn variant(to: &mut Vec<u8>, base: &SqlType, value: &Datum) {
    let bytes =
        if base.is_max() || !base.kind.is_wide() { base.length } else { base.length * 2 }.to_le_bytes();
    let with_collation = |to: &mut Vec<u8>, number: u8| {
        to.extend([number, 7]);
        to.extend(base.collation.to_bytes());
        to.extend(bytes);
    };
    match base.kind {
        Kind::Decimal => to.extend([0x6A, 2, base.precision, base.scale]),
        Kind::Numeric => to.extend([0x6C, 2, base.precision, base.scale]),
        Kind::Date => to.extend([0x28, 0]),
        Kind::Time => to.extend([0x29, 1, base.scale]),
        Kind::DateTime2 => to.extend([0x2A, 1, base.scale]),
        Kind::DateTimeOffset => to.extend([0x2B, 1, base.scale]),
        Kind::UniqueIdentifier => to.extend([0x24, 0]),
        Kind::Binary => to.extend([0xAD, 2, bytes[0], bytes[1]]),
        Kind::VarBinary => to.extend([0xA5, 2, bytes[0], bytes[1]]),
        Kind::Char => with_collation(to, 0xAF),
        Kind::VarChar => with_collation(to, 0xA7),
        Kind::NChar => with_collation(to, 0xEF),
        Kind::NVarChar => with_collation(to, 0xE7),
        kind => to.extend([fixed_number(kind).map_or(0, |numbers| numbers.0), 0]),
    }
    plain(to, base, value);
}

/// The collation of meta data, for requests that bring parameters.
pub(crate) fn collation_of(bytes: [u8; 5]) -> Collation {
    Collation::of_bytes(bytes).unwrap_or_default()
}

/// Days since 1900 and 1/300 s of a `datetime` on the wire, as it is kept.
pub(crate) fn datetime(days: i32, ticks: u32) -> i64 {
    i64::from(days) * TICKS + i64::from(ticks)
}
