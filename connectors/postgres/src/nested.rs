//! Binary values that become Arrow lists and structs: ranges, and the vectors of pgvector.
//!
//! Sources: PostgreSQL's `range_send` (rangetypes.c, flags in rangetypes.h), pgvector's `vector_send` and
//! `halfvec_send`.

use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{ArrayRef, BooleanArray, Float32Array, ListArray, StructArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use transload_core::Result;
use transload_sql::wire::{Column as _, Field as Place, Fields as Places};

use crate::decode::{ColumnDecoder, Format};
use crate::types::Wire;

/// What the bounds of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Int4,
    Int8,
    Numeric,
}

impl Bound {
    fn wire(self) -> Wire {
        match self {
            Self::Int4 => Wire::Int4,
            Self::Int8 => Wire::Int8,
            Self::Numeric => Wire::NumericText,
        }
    }

    /// `Struct{lower, upper, lower_inc, upper_inc, empty}`: a bound that is NULL is unbounded, unless the
    /// range is empty.
    pub(crate) fn arrow(self) -> DataType {
        DataType::Struct(self.fields())
    }

    fn fields(self) -> Fields {
        let bound = self.wire().arrow();
        let bounds = ["lower", "upper"].map(|name| Field::new(name, bound.clone(), true));
        let flags = ["lower_inc", "upper_inc", "empty"].map(|name| Field::new(name, DataType::Boolean, true));
        bounds.into_iter().chain(flags).collect()
    }
}

/// `List<Float32>`.
pub(crate) fn vector_arrow() -> DataType {
    DataType::List(vector_item())
}

fn vector_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float32, true))
}

/// The nested values of one column.
pub(crate) enum Nested {
    Range(Box<Ranges>),
    Vector(Vectors),
}

impl Nested {
    pub(crate) fn range(bound: Bound) -> Self {
        Self::Range(Box::new(Ranges {
            bound,
            lower: ColumnDecoder::new("lower", bound.wire(), Format::Binary),
            upper: ColumnDecoder::new("upper", bound.wire(), Format::Binary),
            flags: [(); 3].map(|()| BooleanBufferBuilder::new(0)),
        }))
    }

    /// `half` for elements of two bytes.
    pub(crate) fn vector(half: bool) -> Self {
        Self::Vector(Vectors { half, offsets: vec![0], values: Vec::new() })
    }

    /// Adds a value, or NULL.
    pub(crate) fn push(&mut self, field: Option<&[u8]>) -> Result<(), &'static str> {
        match (self, field) {
            // What a NULL holds inside is no value.
            (Self::Range(ranges), field) => ranges.push(field.unwrap_or(&[EMPTY])),
            (Self::Vector(vectors), Some(field)) => vectors.push(field),
            (Self::Vector(vectors), None) => {
                vectors.offsets.push(vectors.offsets.last().copied().unwrap_or_default());
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        match self {
            Self::Range(ranges) => ranges.finish(nulls),
            Self::Vector(Vectors { offsets, values, .. }) => {
                let (offsets, values) = (OffsetBuffer::new(offsets.into()), Float32Array::from(values));
                Ok(Arc::new(ListArray::try_new(vector_item(), offsets, Arc::new(values), nulls)?))
            }
        }
    }
}

pub(crate) struct Ranges {
    bound: Bound,
    lower: ColumnDecoder,
    upper: ColumnDecoder,
    /// `lower_inc`, `upper_inc`, `empty`.
    flags: [BooleanBufferBuilder; 3],
}

const EMPTY: u8 = 0x01;
const LOWER_INC: u8 = 0x02;
const UPPER_INC: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

impl Ranges {
    fn push(&mut self, field: &[u8]) -> Result<(), &'static str> {
        const BROKEN: &str = "a range that cannot be read";
        let (flags, mut rest) = field.split_first().ok_or(BROKEN)?;
        for (bound, infinite) in [(&mut self.lower, LOWER_INFINITE), (&mut self.upper, UPPER_INFINITE)] {
            if flags & (EMPTY | infinite) != 0 {
                push_to(bound, None).ok_or(BROKEN)?;
                continue;
            }
            let (length, after) = rest.split_first_chunk().ok_or(BROKEN)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| BROKEN)?;
            let (value, after) = after.split_at_checked(length).ok_or(BROKEN)?;
            push_to(bound, Some(value)).ok_or(BROKEN)?;
            rest = after;
        }
        for (flag, mask) in self.flags.iter_mut().zip([LOWER_INC, UPPER_INC, EMPTY]) {
            flag.append(flags & mask != 0);
        }
        if rest.is_empty() { Ok(()) } else { Err(BROKEN) }
    }

    fn finish(mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let mut columns = vec![self.lower.finish()?, self.upper.finish()?];
        for flag in &mut self.flags {
            columns.push(Arc::new(BooleanArray::new(flag.finish(), None)));
        }
        Ok(Arc::new(StructArray::try_new(self.bound.fields(), columns, nulls)?))
    }
}

/// Adds one value to a column.
fn push_to(column: &mut ColumnDecoder, value: Option<&[u8]>) -> Option<()> {
    column.extend(Places::new(value.unwrap_or_default(), &[Place::whole(value)], 0, 1, value.is_none())).ok()
}

pub(crate) struct Vectors {
    half: bool,
    offsets: Vec<i32>,
    values: Vec<f32>,
}

impl Vectors {
    fn push(&mut self, field: &[u8]) -> Result<(), &'static str> {
        type Half = <Float16Type as ArrowPrimitiveType>::Native;
        const BROKEN: &str = "a vector that cannot be read";
        let [count0, count1, _, _, elements @ ..] = field else { return Err(BROKEN) };
        let (count, width) = (u16::from_be_bytes([*count0, *count1]), if self.half { 2 } else { 4 });
        if elements.len() != usize::from(count) * width {
            return Err(BROKEN);
        }
        self.values.extend(elements.chunks_exact(width).map(|element| match *element {
            [a, b, c, d] => f32::from_be_bytes([a, b, c, d]),
            [a, b] => Half::from_be_bytes([a, b]).to_f32(),
            _ => f32::NAN,
        }));
        let end =
            i32::try_from(self.values.len()).map_err(|_| "more than 2^31 vector elements in one batch")?;
        self.offsets.push(end);
        Ok(())
    }
}

/// The text of a `"char"`, as servers since 16 print it whatever their encoding: a byte beyond ASCII by its
/// octal digits, and zero as nothing.
pub(crate) fn char_text(field: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    match field {
        [0] => {}
        [ascii @ 1..=127] => out.push(*ascii),
        [byte] => {
            out.push(b'\\');
            out.extend([byte >> 6, (byte >> 3) & 7, byte & 7].map(|digit| b'0' + digit));
        }
        _ => return Err("a \"char\" that cannot be read"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Float32Type, Int32Type};

    #[test]
    fn ranges_by_their_flags() {
        let mut ranges = Nested::range(Bound::Int4);
        let bound = |value: i32| [4_i32.to_be_bytes(), value.to_be_bytes()].concat();
        ranges.push(Some(&[vec![LOWER_INC], bound(-1), bound(5)].concat())).unwrap();
        ranges.push(None).unwrap();
        ranges.push(Some(&[EMPTY])).unwrap();
        ranges.push(Some(&[vec![LOWER_INFINITE | UPPER_INC], bound(7)].concat())).unwrap();
        let nulls = NullBuffer::from(vec![true, false, true, true]);
        let array = ranges.finish(Some(nulls)).unwrap();
        let parts = array.as_struct();
        assert_eq!(parts.len(), 4);
        assert!(parts.is_null(1) && parts.is_valid(2));
        let lower = parts.column(0).as_primitive::<Int32Type>();
        let upper = parts.column(1).as_primitive::<Int32Type>();
        assert_eq!((lower.value(0), upper.value(0), upper.value(3)), (-1, 5, 7));
        assert!(lower.is_null(2) && upper.is_null(2) && lower.is_null(3));
        let flags = |row: usize| [2, 3, 4].map(|column| parts.column(column).as_boolean().value(row));
        assert_eq!(
            (flags(0), flags(2), flags(3)),
            ([true, false, false], [false, false, true], [false, true, false])
        );
        for broken in [&[][..], &[0], &[LOWER_INFINITE, 0, 0, 0, 9, 1], &[EMPTY, 1]] {
            assert!(Nested::range(Bound::Int8).push(Some(broken)).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn vectors_of_both_widths() {
        let mut whole = Nested::vector(false);
        whole.push(Some(&[[0, 2, 0, 0], 1.5_f32.to_be_bytes(), (-0.1_f32).to_be_bytes()].concat())).unwrap();
        whole.push(None).unwrap();
        let array = whole.finish(Some(NullBuffer::from(vec![true, false]))).unwrap();
        assert!(array.is_null(1));
        assert_eq!(array.as_list::<i32>().value(0).as_primitive::<Float32Type>().values(), &[1.5, -0.1]);
        let mut half = Nested::vector(true);
        // 1, -2, the smallest subnormal, the largest number.
        half.push(Some(&[0, 4, 0, 0, 0x3c, 0, 0xc0, 0, 0, 1, 0x7b, 0xff])).unwrap();
        let array = half.finish(None).unwrap();
        let values = array.as_list::<i32>().value(0);
        assert_eq!(values.as_primitive::<Float32Type>().values(), &[1.0, -2.0, 2_f32.powi(-24), 65504.0]);
        assert!(Nested::vector(false).push(Some(&[0, 2, 0, 0, 1])).is_err());
    }

    #[test]
    fn chars_of_every_byte() {
        let text = |byte: u8| {
            let mut out = Vec::new();
            char_text(&[byte], &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!([0, b'x', 127, 128, 255].map(text), ["", "x", "\u{7f}", "\\200", "\\377"]);
        assert!(char_text(b"ab", &mut Vec::new()).is_err());
    }
}
