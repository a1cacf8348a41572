//! Binary values straight into Arrow buffers: one decoder a column, chosen once, no allocation a value.
//!
//! Sources: PostgreSQL's `src/backend/utils/adt/*send` functions, described in the manual's COPY page.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    PrimitiveArray, StringArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType, UInt32Type,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::ArrowError;
use transload_core::{Error, Result};
use transload_sql::wire::{Column, Decoded, Fields, Variable, primitive};

use crate::nested::{Nested, char_text};
use crate::numeric::{numeric_text, small, unscaled};
use crate::text_form;
use crate::types::Wire;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The values of one column of the batch being read.
pub(crate) struct ColumnDecoder {
    name: String,
    wire: Wire,
    format: Format,
    nulls: NullBufferBuilder,
    values: Values,
}

/// One variant a way of decoding, so that a value costs one branch that always goes the same way.
enum Values {
    Bool(BooleanBufferBuilder),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Oid(Vec<u32>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Days(Vec<i32>),
    Micros(Vec<i64>),
    Decimal128(Decimals),
    /// With the scale.
    Decimal256(Vec<i256>, i32),
    Bytes(Variable),
    Jsonb(Variable),
    NumericText(Variable),
    Fixed16(Vec<u8>),
    TimeOfDay(Vec<i64>),
    Char(Variable),
    Nested(Nested),
}

/// Decimals of up to 38 digits.
struct Decimals {
    values: Vec<i128>,
    scale: i32,
    /// Values below this, of either sign, have no more digits than the type.
    limit: u64,
    /// Whether other values have come, so that all have to be looked at once more.
    unsure: bool,
}

impl Values {
    /// `rows` and `bytes` are those of the batch before: batches of one table are much alike.
    fn new(wire: Wire, rows: usize, bytes: usize) -> Self {
        let variable = || Variable::with_capacity(rows, bytes);
        match wire {
            Wire::Bool => Self::Bool(BooleanBufferBuilder::new(rows)),
            Wire::Int2 => Self::Int2(Vec::with_capacity(rows)),
            Wire::Int4 => Self::Int4(Vec::with_capacity(rows)),
            Wire::Date => Self::Days(Vec::with_capacity(rows)),
            Wire::Int8 => Self::Int8(Vec::with_capacity(rows)),
            Wire::Time => Self::TimeOfDay(Vec::with_capacity(rows)),
            Wire::DateTime | Wire::Timestamp => Self::Micros(Vec::with_capacity(rows)),
            Wire::Oid => Self::Oid(Vec::with_capacity(rows)),
            Wire::Float4 => Self::Float4(Vec::with_capacity(rows)),
            Wire::Float8 => Self::Float8(Vec::with_capacity(rows)),
            Wire::Decimal128(precision, scale) => Self::Decimal128(Decimals {
                values: Vec::with_capacity(rows),
                scale: scale.into(),
                limit: 10_u64.saturating_pow(precision.into()),
                unsure: false,
            }),
            Wire::Decimal256(_, scale) => Self::Decimal256(Vec::with_capacity(rows), scale.into()),
            Wire::Text | Wire::Bytes => Self::Bytes(variable()),
            Wire::Jsonb => Self::Jsonb(variable()),
            Wire::NumericText => Self::NumericText(variable()),
            Wire::Uuid => Self::Fixed16(Vec::with_capacity(rows * 16)),
            Wire::Char => Self::Char(variable()),
            Wire::Range(bound) => Self::Nested(Nested::range(bound)),
            Wire::Vector | Wire::HalfVector => Self::Nested(Nested::vector(wire == Wire::HalfVector)),
        }
    }

    /// Adds the column's fields of some rows. The way of decoding is chosen once for all of them.
    fn extend(&mut self, fields: Fields<'_>) -> Decoded<()> {
        match self {
            Self::Bool(values) => fields.each(|field| {
                values.append(field.map(fixed::<1>).transpose()?.is_some_and(|byte| byte != [0]));
                Ok(())
            }),
            Self::Int2(values) => fields.fixed(values, |bytes| Ok(i16::from_be_bytes(bytes))),
            Self::Int4(values) => fields.fixed(values, |bytes| Ok(i32::from_be_bytes(bytes))),
            Self::Int8(values) => fields.fixed(values, |bytes| Ok(i64::from_be_bytes(bytes))),
            Self::Oid(values) => fields.fixed(values, |bytes| Ok(u32::from_be_bytes(bytes))),
            Self::Float4(values) => fields.fixed(values, |bytes| Ok(f32::from_be_bytes(bytes))),
            Self::Float8(values) => fields.fixed(values, |bytes| Ok(f64::from_be_bytes(bytes))),
            Self::Days(values) => fields.fixed(values, |bytes| date(i32::from_be_bytes(bytes))),
            Self::Micros(values) => fields.fixed(values, |bytes| micros(i64::from_be_bytes(bytes))),
            Self::Decimal128(Decimals { values, scale, limit, unsure }) => {
                fields.values(values, |field| match small(field, *scale) {
                    Some(value) if value.unsigned_abs() < *limit => Ok(value.into()),
                    _ => {
                        *unsure = true;
                        unscaled(field, *scale)
                    }
                })
            }
            Self::Decimal256(values, scale) => fields.values(values, |field| unscaled(field, *scale)),
            Self::Bytes(values) => fields.variable(values, |field, data| {
                data.extend_from_slice(field);
                Ok(())
            }),
            Self::Jsonb(values) => fields.variable(values, |field, data| {
                let [1, json @ ..] = field else { return Err("a jsonb value of an unknown version") };
                data.extend_from_slice(json);
                Ok(())
            }),
            Self::NumericText(values) => fields.variable(values, numeric_text),
            Self::Fixed16(values) => fields.each(|field| {
                values.extend_from_slice(&field.map(fixed::<16>).transpose()?.unwrap_or_default());
                Ok(())
            }),
            Self::TimeOfDay(values) => fields.fixed(values, |bytes| time_of_day(i64::from_be_bytes(bytes))),
            Self::Char(values) => fields.variable(values, char_text),
            Self::Nested(values) => fields.each(|field| values.push(field)),
        }
    }
}

impl Values {
    /// As [`Self::extend`], of fields in the server's text format.
    fn extend_text(&mut self, wire: Wire, fields: Fields<'_>) -> Decoded<()> {
        match self {
            Self::Bool(values) => fields.each(|field| {
                values.append(field.map(text_form::boolean).transpose()?.unwrap_or_default());
                Ok(())
            }),
            Self::Int2(values) => fields.values(values, text_form::number),
            Self::Int4(values) => fields.values(values, text_form::number),
            Self::Int8(values) => fields.values(values, text_form::number),
            Self::Oid(values) => fields.values(values, text_form::number),
            Self::Float4(values) => fields.values(values, text_form::single),
            Self::Float8(values) => fields.values(values, text_form::number),
            Self::Days(values) => fields.values(values, text_form::date),
            Self::Micros(values) if wire == Wire::DateTime => fields.values(values, text_form::timestamp),
            Self::Micros(values) => fields.values(values, text_form::timestamp_utc),
            Self::TimeOfDay(values) => {
                fields.values(values, |field| text_form::time(field).and_then(time_of_day))
            }
            Self::Decimal128(Decimals { values, scale, unsure, .. }) => {
                *unsure = true;
                fields.values(values, |field| text_form::decimal(field, *scale))
            }
            Self::Decimal256(values, scale) => {
                fields.values(values, |field| text_form::decimal(field, *scale))
            }
            Self::Bytes(values) if wire == Wire::Bytes => fields.variable(values, text_form::bytes),
            Self::Bytes(values) => fields.variable(values, |field, data| {
                data.extend_from_slice(field);
                Ok(())
            }),
            Self::Jsonb(_) | Self::NumericText(_) | Self::Fixed16(_) | Self::Char(_) | Self::Nested(_) => {
                Err("values of a type that has no text form here")
            }
        }
    }
}

/// How fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Binary,
    Text,
}

impl Column for ColumnDecoder {
    fn extend(&mut self, fields: Fields<'_>) -> Result<()> {
        fields.append_validity(&mut self.nulls, &[]);
        let outcome = match self.format {
            Format::Binary => self.values.extend(fields),
            Format::Text => self.values.extend_text(self.wire, fields),
        };
        outcome.map_err(|what| self.refuse(what))
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let bytes = match &self.values {
            Values::Bytes(values) | Values::Jsonb(values) | Values::NumericText(values) => values.data.len(),
            _ => 0,
        };
        let values = std::mem::replace(&mut self.values, Values::new(self.wire, rows, bytes));
        Ok(match values {
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int2(values) => primitive::<Int16Type>(values, nulls),
            Values::Int4(values) => primitive::<Int32Type>(values, nulls),
            Values::TimeOfDay(values) => primitive::<Time64MicrosecondType>(values, nulls),
            Values::Int8(values) => primitive::<Int64Type>(values, nulls),
            Values::Oid(values) => primitive::<UInt32Type>(values, nulls),
            Values::Float4(values) => primitive::<Float32Type>(values, nulls),
            Values::Float8(values) => primitive::<Float64Type>(values, nulls),
            Values::Days(values) => primitive::<Date32Type>(values, nulls),
            Values::Micros(values) if self.wire == Wire::DateTime => {
                primitive::<TimestampMicrosecondType>(values, nulls)
            }
            Values::Micros(values) => {
                let times = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                Arc::new(times.with_timezone("UTC"))
            }
            Values::Decimal128(Decimals { values, unsure, .. }) => {
                let array = Decimal128Array::new(values.into(), nulls).with_data_type(self.wire.arrow());
                if unsure {
                    let checked = array.validate_decimal_precision(array.precision());
                    checked.map_err(|error| self.too_large(error))?;
                }
                Arc::new(array)
            }
            Values::Decimal256(values, _) => {
                let array =
                    Decimal256Array::new(ScalarBuffer::from(values), nulls).with_data_type(self.wire.arrow());
                array.validate_decimal_precision(array.precision()).map_err(|error| self.too_large(error))?;
                Arc::new(array)
            }
            Values::Bytes(Variable { offsets, data }) if self.wire == Wire::Bytes => Arc::new(
                BinaryArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(data), nulls)?,
            ),
            Values::Bytes(values)
            | Values::Jsonb(values)
            | Values::NumericText(values)
            | Values::Char(values) => {
                let offsets = OffsetBuffer::new(values.offsets.into());
                // Validates the whole buffer at once, and that every value begins at a character.
                let texts = StringArray::try_new(offsets, Buffer::from_vec(values.data), nulls);
                Arc::new(texts.map_err(|error| self.refuse("text that is not UTF-8").source_error(error))?)
            }
            Values::Fixed16(values) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(values), nulls)?)
            }
            Values::Nested(values) => return values.finish(nulls),
        })
    }
}

impl ColumnDecoder {
    pub(crate) fn new(name: &str, wire: Wire, format: Format) -> Self {
        Self {
            name: name.to_owned(),
            wire,
            format,
            nulls: NullBufferBuilder::new(0),
            values: Values::new(wire, 0, 0),
        }
    }

    fn refuse(&self, what: &'static str) -> Error {
        Error::data(format!("column `{}` holds {what}", self.name))
            .with("column", &self.name)
            .hint("exclude such rows with a view, or leave the column out of `source.columns`")
    }

    fn too_large(&self, error: ArrowError) -> Error {
        self.refuse("a numeric value beyond its declared precision").source_error(error)
    }
}

#[inline]
fn fixed<const N: usize>(field: &[u8]) -> Decoded<[u8; N]> {
    field.try_into().map_err(|_| "a value of the wrong length")
}

#[inline]
fn date(days: i32) -> Decoded<i32> {
    if days == i32::MAX || days == i32::MIN {
        return Err("the date infinity, which no Arrow date can hold");
    }
    days.checked_add(EPOCH_DAYS).ok_or("a date out of range")
}

#[inline]
fn micros(at: i64) -> Decoded<i64> {
    if at == i64::MAX || at == i64::MIN {
        return Err("the timestamp infinity, which no Arrow timestamp can hold");
    }
    at.checked_add(EPOCH_MICROS).ok_or("a timestamp out of range")
}

#[inline]
fn time_of_day(micros: i64) -> Decoded<i64> {
    if (0..86_400_000_000).contains(&micros) {
        return Ok(micros);
    }
    Err("the time 24:00:00, which no Arrow time of day can hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nested::Bound;
    use arrow_array::Array as _;
    use transload_sql::wire::Field;

    /// Adds one value.
    fn push(column: &mut ColumnDecoder, field: Option<&[u8]>) -> Result<()> {
        column.extend(Fields::new(field.unwrap_or_default(), &[Field::whole(field)], 0, 1, true))
    }

    #[test]
    fn garbage_never_panics() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(3);
        let wires = [
            (Wire::Bool, 1),
            (Wire::Int2, 2),
            (Wire::Int4, 4),
            (Wire::Int8, 8),
            (Wire::Oid, 4),
            (Wire::Float4, 4),
            (Wire::Float8, 8),
            (Wire::Decimal128(38, 10), 16),
            (Wire::Decimal256(76, 38), 24),
            (Wire::NumericText, 14),
            (Wire::Text, 9),
            (Wire::Jsonb, 9),
            (Wire::Bytes, 9),
            (Wire::Uuid, 16),
            (Wire::Date, 4),
            (Wire::Time, 8),
            (Wire::DateTime, 8),
            (Wire::Timestamp, 8),
            (Wire::Char, 1),
            (Wire::Range(Bound::Int4), 17),
            (Wire::Range(Bound::Numeric), 1),
            (Wire::Vector, 12),
            (Wire::HalfVector, 8),
        ];
        for (wire, usual) in wires {
            let mut taken = 0;
            for _ in 0..1000 {
                let length = if random.random_bool(0.9) { usual } else { random.random_range(0..40) };
                let mut field: Vec<u8> = (0..length).map(|_| random.random()).collect();
                // A plausible header lets numerics get beyond their first check.
                if random.random_bool(0.9) && length >= 8 && matches!(usual, 14 | 16 | 24) {
                    let digits = u16::try_from((length - 8) / 2).unwrap();
                    field[..2].copy_from_slice(&digits.to_be_bytes());
                    field[4..6].copy_from_slice(&[0x00, 0x00]);
                    field[8..].iter_mut().step_by(2).for_each(|high| *high %= 40);
                }
                if wire == Wire::Time && random.random() {
                    field.iter_mut().take(4).for_each(|high| *high = 0);
                }
                let mut column = ColumnDecoder::new("c", wire, Format::Binary);
                push(&mut column, None).unwrap();
                if push(&mut column, Some(&field)).is_ok()
                    && column.finish().is_ok_and(|array| array.len() == 2)
                {
                    taken += 1;
                }
            }
            let rare = matches!(
                wire,
                Wire::Decimal128(..)
                    | Wire::Decimal256(..)
                    | Wire::Text
                    | Wire::Jsonb
                    | Wire::Range(_)
                    | Wire::Vector
                    | Wire::HalfVector
            );
            assert!(taken > 0 || rare, "{wire:?}");
        }
    }

    #[test]
    fn infinity_is_refused_with_the_column() {
        let mut column = ColumnDecoder::new("born", Wire::Date, Format::Binary);
        let error = push(&mut column, Some(&i32::MAX.to_be_bytes())).unwrap_err();
        assert!(error.message().contains("born") && error.message().contains("infinity"));
    }

    #[test]
    fn invalid_utf8_is_an_error() {
        let mut column = ColumnDecoder::new("t", Wire::Text, Format::Binary);
        push(&mut column, Some(&[0xff])).unwrap();
        assert!(column.finish().is_err());
        // A character that is split between two values is no text either.
        push(&mut column, Some(&[0xc3])).unwrap();
        push(&mut column, Some(&[0xa9])).unwrap();
        assert!(column.finish().is_err());
    }
}
