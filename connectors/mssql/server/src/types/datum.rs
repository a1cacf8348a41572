//! Values, and the form in which SQLite keeps them: one whose order is that of the type.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::{Kind, SqlType};

/// A value of a type that stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    Null,
    /// `bit` to `bigint`.
    Int(i64),
    /// Decimals and money, without the point.
    Scaled(i128),
    Float(f64),
    /// Texts of every kind, `xml` (WTF-8), and the texts that stand for CLR types.
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    /// `date`: days since 0001-01-01. `time` and `datetime2`: units of 100 ns, since midnight or since that day.
    /// `datetime`: 1/300 s since 1900. `smalldatetime`: minutes since 1900.
    Time(i64),
    /// `datetimeoffset`: units of 100 ns since 0001-01-01 in UTC, and minutes east of it.
    Offset(i64, i16),
    /// `uniqueidentifier`, as it travels.
    Guid([u8; 16]),
    Variant(SqlType, Box<Datum>),
}

/// A value as SQLite keeps it. Other than rusqlite's own, its text need not be UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Stored {
    pub(crate) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }
    }
}

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

/// Which bytes of a `uniqueidentifier` decide first when two are compared.
const GUID_ORDER: [usize; 16] = [10, 11, 12, 13, 14, 15, 8, 9, 6, 7, 4, 5, 0, 1, 2, 3];

impl Datum {
    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// As SQLite keeps it.
    pub(crate) fn stored(self) -> Stored {
        match self {
            Self::Null => Stored::Null,
            Self::Int(value) | Self::Time(value) => Stored::Integer(value),
            Self::Scaled(value) => Stored::Blob(scaled_key(value).to_vec()),
            Self::Float(value) => Stored::Real(value),
            Self::Text(text) => Stored::Text(text),
            Self::Bytes(bytes) => Stored::Blob(bytes),
            Self::Offset(utc, minutes) => {
                let mut key = (utc ^ i64::MIN).to_be_bytes().to_vec();
                key.extend((minutes ^ i16::MIN).to_be_bytes());
                Stored::Blob(key)
            }
            Self::Guid(bytes) => Stored::Blob(GUID_ORDER.iter().map(|&at| bytes[at]).collect()),
            Self::Variant(ty, value) => {
                let mut bytes = ty.code().to_le_bytes().to_vec();
                match value.stored() {
                    Stored::Null => return Stored::Null,
                    Stored::Integer(value) => bytes.extend(value.to_le_bytes()),
                    Stored::Real(value) => bytes.extend(value.to_le_bytes()),
                    Stored::Text(value) | Stored::Blob(value) => bytes.extend(value),
                }
                Stored::Blob(bytes)
            }
        }
    }

    /// A value of this type as SQLite keeps it; `None` if it is not of its form.
    pub(crate) fn of_stored(ty: &SqlType, value: ValueRef<'_>) -> Option<Self> {
        let kind = ty.kind;
        Some(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) if kind.is_integer() || kind == Kind::Boolean => Self::Int(value),
            ValueRef::Integer(value) if kind.is_temporal() => Self::Time(value),
            ValueRef::Integer(value) if kind.is_scaled() => {
                Self::Scaled(super::numbers::rescale(i128::from(value), 0, ty.scale)?)
            }
            ValueRef::Integer(value) if kind.is_float() => Self::Float(value as f64),
            ValueRef::Real(value) if kind.is_float() => Self::Float(value),
            ValueRef::Text(text) if kind.is_text() || kind.is_udt() => Self::Text(text.to_vec()),
            ValueRef::Blob(blob) => Self::of_blob(ty, blob)?,
            _ => return None,
        })
    }

    fn of_blob(ty: &SqlType, blob: &[u8]) -> Option<Self> {
        Some(match ty.kind {
            Kind::Decimal | Kind::Numeric | Kind::Money | Kind::SmallMoney => {
                Self::Scaled(of_scaled_key(blob)?)
            }
            Kind::DateTimeOffset => {
                let (utc, minutes) = blob.split_at_checked(8)?;
                Self::Offset(
                    i64::from_be_bytes(utc.try_into().ok()?) ^ i64::MIN,
                    i16::from_be_bytes(minutes.try_into().ok()?) ^ i16::MIN,
                )
            }
            Kind::UniqueIdentifier => {
                let key: [u8; 16] = blob.try_into().ok()?;
                let mut bytes = [0; 16];
                for (byte, at) in key.into_iter().zip(GUID_ORDER) {
                    bytes[at] = byte;
                }
                Self::Guid(bytes)
            }
            Kind::Variant => {
                let (code, value) = blob.split_at_checked(8)?;
                let base = SqlType::of_code(i64::from_le_bytes(code.try_into().ok()?))?;
                Self::Variant(base, Box::new(Self::of_variant(&base, value)?))
            }
            kind if kind.is_text() || kind.is_udt() => Self::Text(blob.to_vec()),
            kind if kind.is_binary() => Self::Bytes(blob.to_vec()),
            _ => return None,
        })
    }

    fn of_variant(base: &SqlType, value: &[u8]) -> Option<Self> {
        let number = || value.try_into().ok().map(i64::from_le_bytes);
        match base.kind {
            Kind::DateTimeOffset => Self::of_blob(base, value),
            kind if kind.is_integer() || kind.is_temporal() => {
                Self::of_stored(base, ValueRef::Integer(number()?))
            }
            kind if kind.is_float() => Some(Self::Float(f64::from_le_bytes(value.try_into().ok()?))),
            _ => Self::of_blob(base, value),
        }
    }
}

/// 16 bytes whose order is that of the numbers.
pub(crate) fn scaled_key(value: i128) -> [u8; 16] {
    (value ^ i128::MIN).to_be_bytes()
}

pub(crate) fn of_scaled_key(key: &[u8]) -> Option<i128> {
    Some(i128::from_be_bytes(key.try_into().ok()?) ^ i128::MIN)
}

/// The canonical text of a `uniqueidentifier`: its first three groups travel with their lowest byte first.
pub(crate) fn format_guid(bytes: [u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (place, at) in order.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02X}", bytes[at]));
    }
    text
}

pub(crate) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let text = text.trim().trim_start_matches('{').trim_end_matches('}');
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    if lengths != [8, 4, 4, 4, 12] {
        return None;
    }
    let bytes = parse_hex(&text.replace('-', ""))?;
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut guid = [0; 16];
    for (at, from) in order.into_iter().enumerate() {
        guid[at] = *bytes.get(from)?;
    }
    Some(guid)
}

pub(crate) fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    rest.is_empty().then(|| pairs.iter().map(|&[a, b]| Some(nibble(a)? << 4 | nibble(b)?)).collect())?
}

pub(crate) fn format_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(ty: SqlType, datum: &Datum) -> Datum {
        Datum::of_stored(&ty, datum.clone().stored().as_ref()).unwrap()
    }

    #[test]
    fn what_is_kept_is_the_same_value() {
        let guid = parse_guid("00112233-4455-6677-8899-AABBCCDDEEFF").unwrap();
        assert_eq!(guid[..4], [0x33, 0x22, 0x11, 0x00]);
        assert_eq!(format_guid(guid), "00112233-4455-6677-8899-AABBCCDDEEFF");
        let values = [
            (SqlType::of(Kind::BigInt), Datum::Int(i64::MIN)),
            (SqlType::decimal(38, 10), Datum::Scaled(-super::super::numbers::power(38) + 1)),
            (SqlType::of(Kind::Float), Datum::Float(-0.0)),
            (SqlType::of(Kind::NVarChar), Datum::Text(vec![0xED, 0xA0, 0xBD, 0x61])),
            (SqlType::of(Kind::DateTimeOffset), Datum::Offset(-5, -840)),
            (SqlType::of(Kind::UniqueIdentifier), Datum::Guid(guid)),
        ];
        for (ty, datum) in values {
            assert_eq!(back(ty, &datum), datum);
            let variant = Datum::Variant(ty, Box::new(datum));
            assert_eq!(back(SqlType::of(Kind::Variant), &variant), variant);
        }
    }

    #[test]
    fn keys_have_the_order_of_their_values() {
        let numbers = [i128::MIN, -1, 0, 1, 255, 256, i128::MAX];
        assert!(numbers.windows(2).all(|pair| scaled_key(pair[0]) < scaled_key(pair[1])));
    }
}
