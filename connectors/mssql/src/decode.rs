//! Values straight into Arrow buffers: one decoder a column, chosen once, no allocation a value.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, PrimitiveArray, StringArray,
    StructArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType};
use transload_core::{Error, Result};
use transload_sql::wire::{Column, Decoded, Fields, Variable, primitive};

use crate::cell::{decimal, money, put_datetime2, put_guid, put_text, variant, variant_name};
use crate::collation::{CodePage, append_utf16};
use crate::temporal::{date, datetime, datetime2, datetimeoffset, micros, put_time, smalldatetime, time};
use crate::types::{Wire, variant_fields};
use crate::wire::WireType;

const LENGTH: &str = "a value of the wrong length";

/// The values as texts, which are validated all at once.
fn texts(values: Variable, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
    StringArray::try_new(OffsetBuffer::new(values.offsets.into()), Buffer::from_vec(values.data), nulls)
}

/// One variant a way of keeping values, so that a value costs one branch that always goes the same way.
enum Values {
    Bool(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Wide(Vec<i128>),
    Eight(Vec<u8>),
    Variable(Variable),
    Variant(Variable, Variable),
}

impl Values {
    /// `rows` and `bytes` are those of the batch before: batches of one table are much alike.
    fn new(wire: Wire, rows: usize, bytes: usize) -> Self {
        match wire {
            Wire::Bool => Self::Bool(BooleanBufferBuilder::new(rows)),
            Wire::Tiny | Wire::Int16 => Self::Int16(Vec::with_capacity(rows)),
            Wire::Int32 | Wire::Date => Self::Int32(Vec::with_capacity(rows)),
            Wire::Int64
            | Wire::Time
            | Wire::DateTime2
            | Wire::DateTimeOffset
            | Wire::DateTime
            | Wire::SmallDateTime => Self::Int64(Vec::with_capacity(rows)),
            Wire::Float4 => Self::Float4(Vec::with_capacity(rows)),
            Wire::Float8 => Self::Float8(Vec::with_capacity(rows)),
            Wire::Decimal(..) | Wire::Money(_) => Self::Wide(Vec::with_capacity(rows)),
            Wire::RowVersion => Self::Eight(Vec::with_capacity(rows * 8)),
            Wire::Variant => {
                Self::Variant(Variable::with_capacity(rows, rows * 8), Variable::with_capacity(rows, bytes))
            }
            Wire::TimeText(_)
            | Wire::DateTime2Text(_)
            | Wire::Guid
            | Wire::Text
            | Wire::Coded
            | Wire::Bytes
            | Wire::Geometry => Self::Variable(Variable::with_capacity(rows, bytes)),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Variable(values) | Self::Variant(_, values) => values.data.len(),
            _ => 0,
        }
    }
}

/// The values of one column of the batch being read.
pub(crate) struct ColumnDecoder {
    name: String,
    wire: Wire,
    /// As the result describes the column.
    found: WireType,
    page: CodePage,
    /// Whether what is no character is replaced.
    replace: bool,
    nulls: NullBufferBuilder,
    values: Values,
}

impl ColumnDecoder {
    pub(crate) fn new(name: &str, wire: Wire, found: WireType, replace: bool) -> Self {
        let (nulls, values) = (NullBufferBuilder::new(0), Values::new(wire, 0, 0));
        let page = CodePage::of(found.collation);
        Self { name: name.to_owned(), wire, found, page, replace, nulls, values }
    }

    /// The way of decoding is chosen once for all fields.
    fn decode(&mut self, fields: Fields<'_>) -> Decoded<()> {
        let (scale, wire) = (self.found.scale, self.wire);
        match &mut self.values {
            Values::Bool(values) => fields.each(|field| {
                values.append(field.is_some_and(|field| field.first().is_some_and(|byte| *byte != 0)));
                if field.is_some_and(|field| field.len() != 1) { Err(LENGTH) } else { Ok(()) }
            }),
            Values::Int16(values) if wire == Wire::Tiny => fields.fixed(values, |[byte]| Ok(i16::from(byte))),
            Values::Int16(values) => fields.fixed(values, |bytes| Ok(i16::from_le_bytes(bytes))),
            Values::Int32(values) if wire == Wire::Date => fields.values(values, date),
            Values::Int32(values) => fields.fixed(values, |bytes| Ok(i32::from_le_bytes(bytes))),
            Values::Int64(values) => instants(wire, scale, fields, values),
            Values::Float4(values) => fields.fixed(values, |bytes| Ok(f32::from_le_bytes(bytes))),
            Values::Float8(values) => fields.fixed(values, |bytes| Ok(f64::from_le_bytes(bytes))),
            Values::Wide(values) => match wire {
                Wire::Money(_) => fields.values(values, money),
                _ => fields.values(values, decimal),
            },
            Values::Eight(values) => fields.each(|field| {
                let eight: [u8; 8] = field.unwrap_or(&[0; 8]).try_into().map_err(|_| LENGTH)?;
                values.extend_from_slice(&eight);
                Ok(())
            }),
            Values::Variable(values) => variable(wire, fields, values, scale, self.page, self.replace),
            Values::Variant(names, values) => {
                let replace = self.replace;
                fields.each(|field| {
                    if let Some(field) = field {
                        let (of, value) = variant(field)?;
                        names.data.extend_from_slice(variant_name(of.kind).unwrap_or_default().as_bytes());
                        put_text(&of, value, &mut values.data, replace)?;
                    }
                    names.end()?;
                    values.end()
                })
            }
        }
    }

    fn refuse(&self, what: &'static str) -> Error {
        let error = Error::data(format!("column `{}` holds {what}", self.name)).with("column", &self.name);
        error.hint(match what {
            what if what.contains("character") || what.contains("surrogates") => {
                "set `invalid_text` of the connection to `replace`"
            }
            _ => "exclude such rows with a view, or leave the column out of `source.columns`",
        })
    }
}

impl Column for ColumnDecoder {
    fn extend(&mut self, fields: Fields<'_>) -> Result<()> {
        self.decode(fields).map_err(|what| self.refuse(what))?;
        fields.append_validity(&mut self.nulls, &[]);
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let values = std::mem::replace(&mut self.values, Values::new(self.wire, 0, 0));
        self.values = Values::new(self.wire, rows, values.bytes());
        let no_text = |error| self.refuse("text that is not UTF-8").source_error(error);
        Ok(match values {
            Values::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) if self.wire == Wire::Date => primitive::<Date32Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => match self.wire {
                Wire::Int64 => primitive::<Int64Type>(values, nulls),
                Wire::Time => primitive::<Time64MicrosecondType>(values, nulls),
                wire => {
                    let times = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                    if wire == Wire::DateTimeOffset {
                        Arc::new(times.with_timezone("UTC"))
                    } else {
                        Arc::new(times)
                    }
                }
            },
            Values::Float4(values) => primitive::<Float32Type>(values, nulls),
            Values::Float8(values) => primitive::<Float64Type>(values, nulls),
            Values::Wide(values) => {
                let array = Decimal128Array::new(values.into(), nulls).with_data_type(self.wire.arrow());
                // The wire says no more than 128 bits.
                array.validate_decimal_precision(array.precision()).map_err(|error| {
                    self.refuse("a decimal beyond its declared precision").source_error(error)
                })?;
                Arc::new(array)
            }
            Values::Eight(values) => {
                Arc::new(FixedSizeBinaryArray::try_new_with_len(8, Buffer::from_vec(values), nulls, rows)?)
            }
            Values::Variable(values) if self.wire.arrow() == DataType::Binary => {
                let offsets = OffsetBuffer::new(values.offsets.into());
                Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(values.data), nulls)?)
            }
            Values::Variable(values) => Arc::new(texts(values, nulls).map_err(no_text)?),
            Values::Variant(names, values) => {
                let names: ArrayRef = Arc::new(texts(names, nulls.clone()).map_err(no_text)?);
                let values: ArrayRef = Arc::new(texts(values, nulls.clone()).map_err(no_text)?);
                Arc::new(StructArray::try_new(variant_fields(), vec![names, values], nulls)?)
            }
        })
    }
}

/// Times as microseconds.
fn instants(wire: Wire, scale: u8, fields: Fields<'_>, to: &mut Vec<i64>) -> Decoded<()> {
    match wire {
        Wire::Time => fields.values(to, |field| Ok(time(field, scale)? / 10)),
        Wire::DateTime2 => fields.values(to, |field| {
            let (day, ticks) = datetime2(field, scale)?;
            Ok(micros(day, ticks / 10))
        }),
        Wire::DateTimeOffset => fields.values(to, |field| {
            let (day, ticks, _) = datetimeoffset(field, scale)?;
            Ok(micros(day, ticks / 10))
        }),
        Wire::DateTime => fields.values(to, |field| {
            let (day, millis) = datetime(field)?;
            Ok(micros(day, millis * 1000))
        }),
        Wire::SmallDateTime => fields.values(to, |field| {
            let (day, minutes) = smalldatetime(field)?;
            Ok(micros(day, minutes * 60_000_000))
        }),
        _ => fields.fixed(to, |bytes| Ok(i64::from_le_bytes(bytes))),
    }
}

fn variable(
    wire: Wire,
    fields: Fields<'_>,
    to: &mut Variable,
    scale: u8,
    page: CodePage,
    replace: bool,
) -> Decoded<()> {
    match wire {
        Wire::TimeText(digits) => fields.variable(to, |field, data| {
            put_time(data, time(field, scale)?, digits);
            Ok(())
        }),
        Wire::DateTime2Text(_) => fields.variable(to, |field, data| put_datetime2(data, field, scale)),
        Wire::Guid => fields.variable(to, |field, data| put_guid(data, field)),
        Wire::Text => fields.variable(to, |field, data| append_utf16(field, data, replace)),
        Wire::Coded => fields.variable(to, |field, data| page.append(field, data, replace)),
        Wire::Geometry => fields.variable(to, extended_binary),
        _ => fields.variable(to, |field, data| {
            data.extend_from_slice(field);
            Ok(())
        }),
    }
}

/// An SRID and well-known binary as extended well-known binary: the SRID comes behind the type, which says so.
fn extended_binary(field: &[u8], to: &mut Vec<u8>) -> Decoded<()> {
    const HAS_SRID: u32 = 0x2000_0000;
    let ([a, b, c, d], [1, e, f, g, h, rest @ ..]) = field.split_first_chunk().ok_or(LENGTH)? else {
        return Err("a geometry that is no well-known binary");
    };
    to.push(1);
    to.extend((u32::from_le_bytes([*e, *f, *g, *h]) | HAS_SRID).to_le_bytes());
    to.extend([*d, *c, *b, *a]);
    to.extend_from_slice(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Shape, ty};
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use transload_sql::wire::Field;

    fn one(wire: Wire, found: WireType, replace: bool, field: &[u8]) -> Result<ArrayRef> {
        let mut column = ColumnDecoder::new("c", wire, found, replace);
        column.extend(Fields::new(field, &[Field::whole(Some(field)), Field::NULL], 0, 1, true))?;
        column.finish()
    }

    #[test]
    fn texts_that_are_none_follow_the_policy() {
        let found = WireType::new(ty::NVARCHAR, Shape::Counted16, 20);
        let lone = [0x3d, 0xd8];
        let error = one(Wire::Text, found, false, &lone).unwrap_err();
        assert!(error.message().contains("`c`") && error.hint_text().unwrap().contains("invalid_text"));
        let array = one(Wire::Text, found, true, &lone).unwrap();
        assert_eq!((array.as_string::<i32>().value(0), array.is_null(1)), ("\u{fffd}", true));
    }

    #[test]
    fn times_are_cut_and_never_rounded_up() {
        let scaled = |kind| WireType { scale: 7, ..WireType::new(kind, Shape::Counted8, 0) };
        let last = 863_999_999_999_u64.to_le_bytes();
        let array = one(Wire::Time, scaled(ty::TIME), false, &last[..5]).unwrap();
        assert_eq!(array.as_primitive::<Time64MicrosecondType>().value(0), 86_399_999_999);
        let array = one(Wire::TimeText(7), scaled(ty::TIME), false, &last[..5]).unwrap();
        assert_eq!(array.as_string::<i32>().value(0), "23:59:59.9999999");
        let day = 3_652_058_u32.to_le_bytes();
        let field = [&last[..5], &day[..3]].concat();
        let array = one(Wire::DateTime2, scaled(ty::DATETIME2), false, &field).unwrap();
        assert_eq!(array.as_primitive::<TimestampMicrosecondType>().value(0), 253_402_300_799_999_999);
    }

    #[test]
    fn geometries_carry_their_srid() {
        let point = [&[0, 0, 0x10, 0xe6, 1, 1, 0, 0, 0][..], &[7; 16]].concat();
        let array =
            one(Wire::Geometry, WireType::new(ty::VARBINARY, Shape::Pieces, 0), false, &point).unwrap();
        let expected = [&[1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0][..], &[7; 16]].concat();
        assert_eq!(array.as_binary::<i32>().value(0), expected);
        for cut in 0..9 {
            assert!(
                one(Wire::Geometry, WireType::new(ty::VARBINARY, Shape::Pieces, 0), false, &point[..cut])
                    .is_err()
            );
        }
    }

    #[test]
    fn decimals_beyond_their_precision_are_refused() {
        let found = WireType { precision: 3, scale: 1, ..WireType::new(ty::DECIMAL_N, Shape::Counted8, 5) };
        assert!(one(Wire::Decimal(3, 1), found, false, &[1, 0xe7, 3, 0, 0]).is_ok());
        assert!(one(Wire::Decimal(3, 1), found, false, &[1, 0xe8, 3, 0, 0]).is_err());
        assert!(
            one(Wire::Decimal(38, 0), found, false, &[[0xff; 1].as_slice(), &[0xff; 16]].concat()).is_err()
        );
    }
}
