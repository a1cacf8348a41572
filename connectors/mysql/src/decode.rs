//! Values of the binary protocol straight into Arrow buffers: one decoder a column, chosen once, no allocation a value.
//!
//! Source: "Binary Protocol Resultset" of the MySQL manual.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, Float32Array, ListArray,
    PrimitiveArray, StringArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{ArrowError, DataType};
use transload_core::{Error, Result};
use transload_sql::wire::{Column, Decoded, Fields, Variable, primitive};

use crate::geometry;
use crate::temporal::{Civil, time_text};
use crate::types::Wire;

const NO_SUCH_DAY: &str = "a date that no calendar has";

/// The values of one column of the batch being read.
pub(crate) struct ColumnDecoder {
    name: String,
    wire: Wire,
    /// Whether dates that no calendar has are NULL.
    lenient: bool,
    nulls: NullBufferBuilder,
    values: Values,
}

/// One variant a way of decoding, so that a value costs one branch that always goes the same way.
enum Values {
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Wide(Vec<i128>),
    Decimal128(Vec<i128>, usize),
    Decimal256(Vec<i256>, usize),
    Bool(BooleanBufferBuilder),
    Days(Vec<i32>),
    Micros(Vec<i64>),
    Variable(Variable),
    Vector(Vec<i32>, Vec<f32>),
}

impl Values {
    /// `rows` and `bytes` are those of the batch before: batches of one table are much alike.
    fn new(wire: Wire, rows: usize, bytes: usize) -> Self {
        let scale = |scale: i8| usize::from(scale.unsigned_abs());
        match wire {
            Wire::Int8 => Self::Int8(Vec::with_capacity(rows)),
            Wire::Int16 | Wire::Year => Self::Int16(Vec::with_capacity(rows)),
            Wire::Int32 => Self::Int32(Vec::with_capacity(rows)),
            Wire::Int64 | Wire::Unsigned(_) | Wire::Bits => Self::Int64(Vec::with_capacity(rows)),
            Wire::Unsigned64 | Wire::Bits64 => Self::Wide(Vec::with_capacity(rows)),
            Wire::Float4 => Self::Float4(Vec::with_capacity(rows)),
            Wire::Float8 => Self::Float8(Vec::with_capacity(rows)),
            Wire::Decimal128(_, digits) => Self::Decimal128(Vec::with_capacity(rows), scale(digits)),
            Wire::Decimal256(_, digits) => Self::Decimal256(Vec::with_capacity(rows), scale(digits)),
            Wire::Bool => Self::Bool(BooleanBufferBuilder::new(rows)),
            Wire::Date => Self::Days(Vec::with_capacity(rows)),
            Wire::DateTime | Wire::Timestamp => Self::Micros(Vec::with_capacity(rows)),
            Wire::TimeText(_)
            | Wire::DateText
            | Wire::DateTimeText(_)
            | Wire::Text
            | Wire::Bytes
            | Wire::WellKnownText
            | Wire::Geometry => Self::Variable(Variable::with_capacity(rows, bytes)),
            Wire::Vector => Self::Vector(vec![0], Vec::with_capacity(bytes / 4)),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Variable(values) => values.data.len(),
            Self::Vector(_, values) => values.len() * 4,
            _ => 0,
        }
    }
}

impl Column for ColumnDecoder {
    fn extend(&mut self, fields: Fields<'_>) -> Result<()> {
        let none = self.decode(fields).map_err(|what| self.refuse(what))?;
        if !none.is_empty() && !self.lenient {
            return Err(self.refuse(NO_SUCH_DAY));
        }
        fields.append_validity(&mut self.nulls, &none);
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let values = std::mem::replace(&mut self.values, Values::new(self.wire, rows, 0));
        self.values = Values::new(self.wire, rows, values.bytes());
        Ok(match values {
            Values::Int8(values) => primitive::<Int8Type>(values, nulls),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::Float4(values) => primitive::<Float32Type>(values, nulls),
            Values::Float8(values) => primitive::<Float64Type>(values, nulls),
            Values::Days(values) => primitive::<Date32Type>(values, nulls),
            Values::Micros(values) => {
                let times = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                if self.wire == Wire::Timestamp {
                    Arc::new(times.with_timezone("UTC"))
                } else {
                    Arc::new(times)
                }
            }
            Values::Wide(values) | Values::Decimal128(values, _) => {
                let array = Decimal128Array::new(values.into(), nulls).with_data_type(self.wire.arrow());
                array.validate_decimal_precision(array.precision()).map_err(|error| self.too_large(error))?;
                Arc::new(array)
            }
            Values::Decimal256(values, _) => {
                let array =
                    Decimal256Array::new(ScalarBuffer::from(values), nulls).with_data_type(self.wire.arrow());
                array.validate_decimal_precision(array.precision()).map_err(|error| self.too_large(error))?;
                Arc::new(array)
            }
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Variable(Variable { offsets, data }) => {
                let (offsets, data) = (OffsetBuffer::new(offsets.into()), Buffer::from_vec(data));
                if self.wire.arrow() == DataType::Binary {
                    return Ok(Arc::new(BinaryArray::try_new(offsets, data, nulls)?));
                }
                // Validates the whole buffer at once, and that every value begins at a character.
                let texts = StringArray::try_new(offsets, data, nulls);
                Arc::new(texts.map_err(|error| self.refuse("text that is not UTF-8").source_error(error))?)
            }
            Values::Vector(offsets, values) => {
                let DataType::List(item) = self.wire.arrow() else {
                    return Err(Error::internal("a vector that is no list"));
                };
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(ListArray::try_new(item, offsets, Arc::new(Float32Array::from(values)), nulls)?)
            }
        })
    }
}

impl ColumnDecoder {
    pub(crate) fn new(name: &str, wire: Wire, lenient: bool) -> Self {
        let (nulls, values) = (NullBufferBuilder::new(0), Values::new(wire, 0, 0));
        Self { name: name.to_owned(), wire, lenient, nulls, values }
    }

    /// The way of decoding is chosen once for all fields. Gives the rows without a value; see [`Fields::or_none`].
    fn decode(&mut self, fields: Fields<'_>) -> Decoded<Vec<usize>> {
        match &mut self.values {
            Values::Int8(values) => fields.fixed(values, |bytes| Ok(i8::from_le_bytes(bytes)))?,
            Values::Int16(values) => fields.fixed(values, |bytes| Ok(i16::from_le_bytes(bytes)))?,
            Values::Int32(values) => fields.fixed(values, |bytes| Ok(i32::from_le_bytes(bytes)))?,
            Values::Int64(values) => match self.wire {
                Wire::Unsigned(1) => fields.fixed(values, |[byte]| Ok(byte.into()))?,
                Wire::Unsigned(2) => fields.fixed(values, |bytes| Ok(u16::from_le_bytes(bytes).into()))?,
                Wire::Unsigned(_) => fields.fixed(values, |bytes| Ok(u32::from_le_bytes(bytes).into()))?,
                Wire::Bits => fields.values(values, |field| {
                    bits(field)
                        .and_then(|bits| i64::try_from(bits).map_err(|_| "more bits than its type has"))
                })?,
                _ => fields.fixed(values, |bytes| Ok(i64::from_le_bytes(bytes)))?,
            },
            Values::Wide(values) if self.wire == Wire::Bits64 => {
                fields.values(values, |field| bits(field).map(i128::from))?;
            }
            Values::Wide(values) => fields.fixed(values, |bytes| Ok(u64::from_le_bytes(bytes).into()))?,
            Values::Float4(values) => fields.fixed(values, |bytes| Ok(f32::from_le_bytes(bytes)))?,
            Values::Float8(values) => fields.fixed(values, |bytes| Ok(f64::from_le_bytes(bytes)))?,
            Values::Decimal128(values, scale) => fields.values(values, |field| decimal(field, *scale))?,
            Values::Decimal256(values, scale) => {
                fields.values(values, |field| wide_decimal(field, *scale))?
            }
            Values::Bool(values) => fields.each(|field| {
                values.append(field.map(bits).transpose()?.is_some_and(|bits| bits != 0));
                Ok(())
            })?,
            Values::Days(values) => {
                return fields.or_none(values, |field| Civil::parse(field).map(Civil::days));
            }
            Values::Micros(values) => {
                return fields.or_none(values, |field| Civil::parse(field).map(Civil::micros));
            }
            Values::Variable(values) => variable(self.wire, fields, values)?,
            Values::Vector(offsets, values) => fields.each(|field| {
                let (singles, []) = field.unwrap_or_default().as_chunks() else {
                    return Err("a vector that is cut");
                };
                values.extend(singles.iter().map(|single| f32::from_le_bytes(*single)));
                offsets.push(i32::try_from(values.len()).map_err(|_| "more than 2^31 values in one batch")?);
                Ok(())
            })?,
        }
        Ok(Vec::new())
    }

    fn refuse(&self, what: &'static str) -> Error {
        let error = Error::data(format!("column `{}` holds {what}", self.name)).with("column", &self.name);
        error.hint(match what {
            NO_SUCH_DAY => "set `zero_dates` of the connection to `null` or `text`",
            _ => "exclude such rows with a view, or leave the column out of `source.columns`",
        })
    }

    fn too_large(&self, error: ArrowError) -> Error {
        self.refuse("a decimal beyond its declared precision").source_error(error)
    }
}

fn variable(wire: Wire, fields: Fields<'_>, to: &mut Variable) -> Decoded<()> {
    match wire {
        Wire::TimeText(digits) => fields.variable(to, |field, data| time_text(field, digits, data)),
        Wire::DateText => fields.variable(to, |field, data| {
            Civil::parse(field)?.put_date(data);
            Ok(())
        }),
        Wire::DateTimeText(digits) => fields.variable(to, |field, data| {
            Civil::parse(field)?.put_date_time(data, digits);
            Ok(())
        }),
        Wire::WellKnownText => fields.variable(to, geometry::well_known_text),
        Wire::Geometry => fields.variable(to, geometry::extended),
        _ => fields.variable(to, |field, data| {
            data.extend_from_slice(field);
            Ok(())
        }),
    }
}

/// The bits of a BIT column: big-endian bytes, as many as it needs.
#[inline]
fn bits(field: &[u8]) -> Decoded<u64> {
    if field.len() > 8 {
        return Err("more than 64 bits");
    }
    Ok(field.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
}

const NO_NUMBER: &str = "a decimal that is no number";

/// Digits with a point, as an integer with so many digits behind the point.
#[inline]
fn decimal(field: &[u8], scale: usize) -> Decoded<i128> {
    let (negative, digits) = sign(field);
    // The point and 18 digits: they fit into 64 bits without a look at overflow.
    if digits.len() > 19 {
        return long_decimal(digits, scale, negative);
    }
    let (mut number, mut behind) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            number = number.wrapping_mul(10).wrapping_add(digit.into());
        } else if *byte == b'.' && behind.is_none() {
            behind = Some(digits.len() - at - 1);
        } else {
            return Err(NO_NUMBER);
        }
    }
    if behind.unwrap_or(0) != scale || (behind.is_none() && digits.len() == 19) || digits.is_empty() {
        return long_decimal(digits, scale, negative);
    }
    let number = i128::from(number);
    Ok(if negative { -number } else { number })
}

#[inline]
fn sign(field: &[u8]) -> (bool, &[u8]) {
    match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    }
}

#[cold]
fn long_decimal(digits: &[u8], scale: usize, negative: bool) -> Decoded<i128> {
    let number = unscaled(digits, scale)?.to_i128().ok_or("a decimal beyond its declared precision")?;
    Ok(if negative { -number } else { number })
}

fn wide_decimal(field: &[u8], scale: usize) -> Decoded<i256> {
    let (negative, digits) = sign(field);
    let number = unscaled(digits, scale)?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// Any number of digits; those behind the point that are left out are zeros.
fn unscaled(digits: &[u8], scale: usize) -> Decoded<i256> {
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(at) => (digits.get(..at).unwrap_or_default(), digits.get(at + 1..).unwrap_or_default()),
        None => (digits, &[][..]),
    };
    let missing = scale.checked_sub(fraction.len()).ok_or("a decimal with more digits than its type has")?;
    if whole.len() + fraction.len() == 0 || whole.len() > 80 {
        return Err(NO_NUMBER);
    }
    // In pieces of 18 digits, which 64 bits hold.
    let mut number = i256::ZERO;
    let (mut piece, mut power) = (0_i64, 1_i64);
    let all = whole.iter().chain(fraction).copied().chain(std::iter::repeat_n(b'0', missing));
    let mut flush = |piece: i64, power: i64| {
        let next = number.checked_mul(i256::from(power)).and_then(|next| next.checked_add(i256::from(piece)));
        number = next.ok_or("a decimal beyond its declared precision")?;
        Ok::<_, &'static str>(())
    };
    for byte in all {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(NO_NUMBER);
        }
        piece = piece * 10 + i64::from(digit);
        power *= 10;
        if power == 1_000_000_000_000_000_000 {
            flush(piece, power)?;
            (piece, power) = (0, 1);
        }
    }
    flush(piece, power)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array as _;
    use transload_sql::wire::Field;

    fn push(column: &mut ColumnDecoder, field: Option<&[u8]>) -> Result<()> {
        column.extend(Fields::new(field.unwrap_or_default(), &[Field::whole(field)], 0, 1, true))
    }

    #[test]
    fn decimals_of_every_length() {
        for (text, scale, expected) in [
            ("0.00", 2, "0"),
            ("-0.01", 2, "-1"),
            ("123456789012345.67", 2, "12345678901234567"),
            ("-12345678901234567.89", 2, "-1234567890123456789"),
            ("99999999999999999999999999999999999999", 0, "99999999999999999999999999999999999999"),
            ("1.5", 3, "1500"),
            ("7", 2, "700"),
            ("1234567890123456789", 0, "1234567890123456789"),
            ("00001.50", 2, "150"),
        ] {
            assert_eq!(decimal(text.as_bytes(), scale).unwrap().to_string(), expected, "{text}");
            assert_eq!(wide_decimal(text.as_bytes(), scale).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "1e5", "x", "1.234", " 1"] {
            assert!(decimal(text.as_bytes(), 2).is_err(), "{text}");
            assert!(wide_decimal(text.as_bytes(), 2).is_err(), "{text}");
        }
        assert!(wide_decimal(&[b'9'; 90], 0).is_err() && decimal(&[b'9'; 45], 0).is_err());
    }

    #[test]
    fn dates_without_a_day_follow_the_policy() {
        let zero: &[u8] = &[];
        let partial: &[u8] = &[0xe8, 7, 2, 0];
        for field in [zero, partial] {
            let mut strict = ColumnDecoder::new("born", Wire::Date, false);
            let error = push(&mut strict, Some(field)).unwrap_err();
            assert!(error.message().contains("born") && error.hint_text().unwrap().contains("zero_dates"));
            let mut lenient = ColumnDecoder::new("born", Wire::Date, true);
            push(&mut lenient, Some(&[0xe8, 7, 2, 1])).unwrap();
            push(&mut lenient, Some(field)).unwrap();
            push(&mut lenient, None).unwrap();
            let array = lenient.finish().unwrap();
            assert_eq!((array.len(), array.null_count(), array.is_valid(0)), (3, 2, true));
        }
    }

    #[test]
    fn invalid_utf8_is_an_error() {
        let mut column = ColumnDecoder::new("t", Wire::Text, false);
        push(&mut column, Some(&[0xff])).unwrap();
        assert!(column.finish().is_err());
        // A character that is split between two values is no text either.
        push(&mut column, Some(&[0xc3])).unwrap();
        push(&mut column, Some(&[0xa9])).unwrap();
        assert!(column.finish().is_err());
    }

    #[test]
    fn bits_are_big_endian() {
        assert_eq!(bits(&[1, 2]).unwrap(), 258);
        assert_eq!(bits(&[0xff; 8]).unwrap(), u64::MAX);
        assert!(bits(&[0; 9]).is_err());
    }
}
