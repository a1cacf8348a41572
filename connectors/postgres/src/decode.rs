//! Binary values straight into Arrow buffers: one decoder a column, chosen once, no allocation a value.
//!
//! Sources: PostgreSQL's `src/backend/utils/adt/*send` functions, described in the manual's COPY page.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    PrimitiveArray, StringArray,
    types::{
        ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::ArrowError;
use transload_core::{Error, Result};

use crate::types::Wire;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The values of one column of the batch being read.
pub(crate) struct ColumnDecoder {
    name: String,
    wire: Wire,
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
    /// With the scale.
    Decimal128(Vec<i128>, i32),
    Decimal256(Vec<i256>, i32),
    Bytes(Variable),
    Jsonb(Variable),
    NumericText(Variable),
    Fixed16(Vec<u8>),
}

/// Values of any length, one behind the other.
struct Variable {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

impl Variable {
    /// Ends a value where the data ends.
    #[inline]
    fn end(&mut self) -> Result<(), &'static str> {
        let end = i32::try_from(self.data.len()).map_err(|_| "more than 2 GiB of values in one batch")?;
        self.offsets.push(end);
        Ok(())
    }
}

impl Values {
    /// `rows` and `bytes` are those of the batch before: batches of one table are much alike.
    fn new(wire: Wire, rows: usize, bytes: usize) -> Self {
        let variable = || {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            Variable { offsets, data: Vec::with_capacity(bytes) }
        };
        match wire {
            Wire::Bool => Self::Bool(BooleanBufferBuilder::new(rows)),
            Wire::Int2 => Self::Int2(Vec::with_capacity(rows)),
            Wire::Int4 => Self::Int4(Vec::with_capacity(rows)),
            Wire::Date => Self::Days(Vec::with_capacity(rows)),
            Wire::Int8 | Wire::Time => Self::Int8(Vec::with_capacity(rows)),
            Wire::DateTime | Wire::Timestamp => Self::Micros(Vec::with_capacity(rows)),
            Wire::Oid => Self::Oid(Vec::with_capacity(rows)),
            Wire::Float4 => Self::Float4(Vec::with_capacity(rows)),
            Wire::Float8 => Self::Float8(Vec::with_capacity(rows)),
            Wire::Decimal128(_, scale) => Self::Decimal128(Vec::with_capacity(rows), scale.into()),
            Wire::Decimal256(_, scale) => Self::Decimal256(Vec::with_capacity(rows), scale.into()),
            Wire::Text | Wire::Bytes => Self::Bytes(variable()),
            Wire::Jsonb => Self::Jsonb(variable()),
            Wire::NumericText => Self::NumericText(variable()),
            Wire::Uuid => Self::Fixed16(Vec::with_capacity(rows * 16)),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(values) => values.append(false),
            Self::Int2(values) => values.push(0),
            Self::Int4(values) | Self::Days(values) => values.push(0),
            Self::Int8(values) | Self::Micros(values) => values.push(0),
            Self::Oid(values) => values.push(0),
            Self::Float4(values) => values.push(0.0),
            Self::Float8(values) => values.push(0.0),
            Self::Decimal128(values, _) => values.push(0),
            Self::Decimal256(values, _) => values.push(i256::ZERO),
            Self::Bytes(Variable { offsets, .. })
            | Self::Jsonb(Variable { offsets, .. })
            | Self::NumericText(Variable { offsets, .. }) => {
                offsets.push(offsets.last().copied().unwrap_or_default());
            }
            Self::Fixed16(values) => values.extend_from_slice(&[0; 16]),
        }
    }

    #[inline]
    fn push(&mut self, field: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Bool(values) => values.append(fixed::<1>(field)? != [0]),
            Self::Int2(values) => values.push(i16::from_be_bytes(fixed(field)?)),
            Self::Int4(values) => values.push(i32::from_be_bytes(fixed(field)?)),
            Self::Int8(values) => values.push(i64::from_be_bytes(fixed(field)?)),
            Self::Oid(values) => values.push(u32::from_be_bytes(fixed(field)?)),
            Self::Float4(values) => values.push(f32::from_be_bytes(fixed(field)?)),
            Self::Float8(values) => values.push(f64::from_be_bytes(fixed(field)?)),
            Self::Days(values) => values.push(date(i32::from_be_bytes(fixed(field)?))?),
            Self::Micros(values) => values.push(micros(i64::from_be_bytes(fixed(field)?))?),
            Self::Decimal128(values, scale) => values.push(match small(field, *scale) {
                Some(value) => value.into(),
                None => unscaled(field, *scale)?,
            }),
            Self::Decimal256(values, scale) => values.push(unscaled(field, *scale)?),
            Self::Bytes(values) => {
                values.data.extend_from_slice(field);
                values.end()?;
            }
            Self::Jsonb(values) => {
                let [1, json @ ..] = field else { return Err("a jsonb value of an unknown version") };
                values.data.extend_from_slice(json);
                values.end()?;
            }
            Self::NumericText(values) => {
                numeric_text(field, &mut values.data)?;
                values.end()?;
            }
            Self::Fixed16(values) => values.extend_from_slice(&fixed::<16>(field)?),
        }
        Ok(())
    }
}

impl ColumnDecoder {
    pub(crate) fn new(name: &str, wire: Wire) -> Self {
        Self {
            name: name.to_owned(),
            wire,
            nulls: NullBufferBuilder::new(0),
            values: Values::new(wire, 0, 0),
        }
    }

    /// Adds NULL.
    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.nulls.append_null();
        self.values.push_null();
    }

    /// Adds the binary form of a value.
    #[inline]
    pub(crate) fn push(&mut self, field: &[u8]) -> Result<()> {
        self.nulls.append_non_null();
        self.values.push(field).map_err(|what| self.refuse(what))
    }

    fn refuse(&self, what: &'static str) -> Error {
        Error::data(format!("column `{}` holds {what}", self.name))
            .with("column", &self.name)
            .hint("exclude such rows with a view, or leave the column out of `source.columns`")
    }

    /// The values as an array; the decoder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
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
            Values::Int8(values) if self.wire == Wire::Time => {
                primitive::<Time64MicrosecondType>(values, nulls)
            }
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
            Values::Decimal128(values, _) => {
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
            Values::Bytes(Variable { offsets, data }) if self.wire == Wire::Bytes => Arc::new(
                BinaryArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(data), nulls)?,
            ),
            Values::Bytes(values) | Values::Jsonb(values) | Values::NumericText(values) => {
                let offsets = OffsetBuffer::new(values.offsets.into());
                // Validates the whole buffer at once, and that every value begins at a character.
                let texts = StringArray::try_new(offsets, Buffer::from_vec(values.data), nulls);
                Arc::new(texts.map_err(|error| self.refuse("text that is not UTF-8").source_error(error))?)
            }
            Values::Fixed16(values) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(values), nulls)?)
            }
        })
    }

    fn too_large(&self, error: ArrowError) -> Error {
        self.refuse("a numeric value beyond its declared precision").source_error(error)
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<arrow_buffer::NullBuffer>,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

#[inline]
fn fixed<const N: usize>(field: &[u8]) -> Result<[u8; N], &'static str> {
    field.try_into().map_err(|_| "a value of the wrong length")
}

#[inline]
fn date(days: i32) -> Result<i32, &'static str> {
    if days == i32::MAX || days == i32::MIN {
        return Err("the date infinity, which no Arrow date can hold");
    }
    days.checked_add(EPOCH_DAYS).ok_or("a date out of range")
}

#[inline]
fn micros(at: i64) -> Result<i64, &'static str> {
    if at == i64::MAX || at == i64::MIN {
        return Err("the timestamp infinity, which no Arrow timestamp can hold");
    }
    at.checked_add(EPOCH_MICROS).ok_or("a timestamp out of range")
}

/// The header of a binary numeric and its base-10000 digits.
struct Numeric<'a> {
    digits: std::slice::ChunksExact<'a, u8>,
    /// Exponent of the first digit, in powers of 10000.
    weight: i32,
    negative: bool,
    /// Digits after the point that the server prints.
    display_scale: u16,
}

/// `None` for NaN and the infinities, with their text.
enum Parsed<'a> {
    Finite(Numeric<'a>),
    Special(&'static str),
}

#[inline]
fn parse_numeric(field: &[u8]) -> Result<Parsed<'_>, &'static str> {
    const BROKEN: &str = "a numeric value that cannot be read";
    let [n0, n1, w0, w1, s0, s1, d0, d1, digits @ ..] = field else { return Err(BROKEN) };
    let count = usize::from(u16::from_be_bytes([*n0, *n1]));
    if digits.len() != count * 2 {
        return Err(BROKEN);
    }
    let negative = match u16::from_be_bytes([*s0, *s1]) {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Ok(Parsed::Special("NaN")),
        0xD000 => return Ok(Parsed::Special("Infinity")),
        0xF000 => return Ok(Parsed::Special("-Infinity")),
        _ => return Err(BROKEN),
    };
    Ok(Parsed::Finite(Numeric {
        digits: digits.chunks_exact(2),
        weight: i16::from_be_bytes([*w0, *w1]).into(),
        negative,
        display_scale: u16::from_be_bytes([*d0, *d1]),
    }))
}

#[inline]
fn digit(pair: &[u8]) -> Result<u16, &'static str> {
    match pair {
        [high, low] => {
            let digit = u16::from_be_bytes([*high, *low]);
            if digit < 10_000 { Ok(digit) } else { Err("a numeric value with a broken digit") }
        }
        _ => Err("a numeric value with a broken digit"),
    }
}

/// What a decimal is counted in.
trait Unscaled: Sized + Copy {
    const ZERO: Self;
    fn times_plus(self, factor: u16, add: u16) -> Option<Self>;
    fn minus(self) -> Self;
}

impl Unscaled for i128 {
    const ZERO: Self = 0;

    #[inline]
    fn times_plus(self, factor: u16, add: u16) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(add.into())
    }

    fn minus(self) -> Self {
        -self
    }
}

impl Unscaled for i256 {
    const ZERO: Self = Self::ZERO;

    fn times_plus(self, factor: u16, add: u16) -> Option<Self> {
        self.checked_mul(Self::from_i128(factor.into()))?.checked_add(Self::from_i128(add.into()))
    }

    fn minus(self) -> Self {
        self.wrapping_neg()
    }
}

const POWERS: [u16; 4] = [1, 10, 100, 1000];

/// [`unscaled`] for what most columns hold: up to four base-10000 digits, so that everything fits 64 bits.
/// `None` where it does not apply, be it that the value is broken.
#[inline]
fn small(field: &[u8], scale: i32) -> Option<i64> {
    let [n0, n1, w0, w1, sign, 0, _, _, digits @ ..] = field else { return None };
    let count = u16::from_be_bytes([*n0, *n1]);
    if count > 4 || digits.len() != usize::from(count) * 2 || !matches!(sign, 0x00 | 0x40) {
        return None;
    }
    let mut value = 0_i64;
    for pair in digits.chunks_exact(2) {
        value = value * 10_000 + i64::from(digit(pair).ok()?);
    }
    let weight = i32::from(i16::from_be_bytes([*w0, *w1]));
    let exponent = scale + (weight + 1 - i32::from(count)) * 4;
    let power = i64::from(*POWERS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?);
    let value = if exponent >= 0 {
        value.checked_mul(power)?
    } else if value % power == 0 {
        value / power
    } else {
        return None;
    };
    Some(if *sign == 0 { value } else { -value })
}

/// The value times 10^scale. Exact: a digit below the scale is an error, not a rounding.
#[inline]
fn unscaled<T: Unscaled>(field: &[u8], scale: i32) -> Result<T, &'static str> {
    const TOO_LARGE: &str = "a numeric value beyond its declared precision";
    let Parsed::Finite(numeric) = parse_numeric(field)? else {
        return Err("NaN or Infinity, which no decimal can hold");
    };
    let mut value = T::ZERO;
    // Decimal exponent that `value` still has to be multiplied by.
    let mut exponent = scale + (numeric.weight + 1) * 4;
    for pair in numeric.digits {
        let digit = digit(pair)?;
        if exponent >= 4 {
            value = value.times_plus(10_000, digit).ok_or(TOO_LARGE)?;
            exponent -= 4;
            continue;
        }
        // The digit straddles the scale: only its upper part may be there.
        let kept = usize::try_from(exponent).unwrap_or(0);
        let below = POWERS.get(4 - kept.max(1)).copied().unwrap_or(1000);
        let (upper, rest) = if kept == 0 { (0, digit) } else { (digit / below, digit % below) };
        if rest != 0 {
            return Err("a numeric value with more digits after the point than its type declares");
        }
        value = value.times_plus(POWERS.get(kept).copied().unwrap_or(1), upper).ok_or(TOO_LARGE)?;
        exponent = 0;
    }
    while exponent > 0 {
        let step = usize::try_from(exponent.min(3)).unwrap_or(0);
        value = value.times_plus(POWERS.get(step).copied().unwrap_or(1), 0).ok_or(TOO_LARGE)?;
        exponent -= i32::try_from(step.max(1)).unwrap_or(1);
    }
    Ok(if numeric.negative { value.minus() } else { value })
}

/// The text that the server prints.
fn numeric_text(field: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let numeric = match parse_numeric(field)? {
        Parsed::Special(text) => {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        Parsed::Finite(numeric) => numeric,
    };
    if numeric.negative {
        out.push(b'-');
    }
    let mut digits = numeric.digits;
    // Digits that are left out at either end are zeros.
    let mut next = |wanted: bool| if wanted { digits.next().map_or(Ok(0), digit) } else { Ok(0) };
    if numeric.weight < 0 {
        out.push(b'0');
    } else {
        let first = four(next(true)?);
        let zeros = first.iter().take(3).take_while(|byte| **byte == b'0').count();
        out.extend_from_slice(first.get(zeros..).unwrap_or_default());
        for _ in 0..numeric.weight {
            out.extend_from_slice(&four(next(true)?));
        }
    }
    if numeric.display_scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(numeric.display_scale);
        let mut weight = -1;
        while out.len() < end {
            out.extend_from_slice(&four(next(weight <= numeric.weight)?));
            weight -= 1;
        }
        out.truncate(end);
    }
    Ok(())
}

/// A base-10000 digit as four decimal ones.
#[inline]
fn four(digit: u16) -> [u8; 4] {
    [1000, 100, 10, 1].map(|power| b'0' + u8::try_from(digit / power % 10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array as _;

    /// Binary numeric from its parts.
    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut field = Vec::new();
        field.extend_from_slice(&u16::try_from(digits.len()).unwrap().to_be_bytes());
        field.extend_from_slice(&weight.to_be_bytes());
        field.extend_from_slice(&sign.to_be_bytes());
        field.extend_from_slice(&scale.to_be_bytes());
        digits.iter().for_each(|digit| field.extend_from_slice(&digit.to_be_bytes()));
        field
    }

    fn text(field: &[u8]) -> String {
        let mut out = Vec::new();
        numeric_text(field, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numerics_are_exact() {
        // 12345.67 = 1 * 10000 + 2345 + 6700 / 10000
        let value = numeric(1, 0, 2, &[1, 2345, 6700]);
        assert_eq!(unscaled::<i128>(&value, 2), Ok(1_234_567));
        assert_eq!(unscaled::<i128>(&value, 5), Ok(1_234_567_000));
        assert_eq!(
            (small(&value, 2), small(&value, 5), small(&value, 1)),
            (Some(1_234_567), Some(1_234_567_000), None)
        );
        assert!(unscaled::<i128>(&value, 1).is_err());
        assert_eq!(text(&value), "12345.67");
        assert_eq!(unscaled::<i128>(&numeric(0, 0, 2, &[]), 2), Ok(0));
        assert_eq!(text(&numeric(0, 0, 2, &[])), "0.00");
        // -0.00012345 with weight -1
        let small = numeric(-1, 0x4000, 8, &[1, 2345]);
        assert_eq!(unscaled::<i128>(&small, 8), Ok(-12_345));
        assert_eq!(text(&small), "-0.00012345");
        // 20000000 has trailing zero digits left out
        let large = numeric(1, 0, 0, &[2000]);
        assert_eq!(unscaled::<i128>(&large, 0), Ok(20_000_000));
        assert_eq!(unscaled::<i256>(&large, 3), Ok(i256::from_i128(20_000_000_000)));
        assert_eq!(text(&large), "20000000");
        // scale -3..=0 of a digit that straddles
        let cents = numeric(0, 0, 1, &[7, 5000]);
        assert_eq!(unscaled::<i128>(&cents, 1), Ok(75));
        assert_eq!(unscaled::<i128>(&cents, 3), Ok(7500));
        assert!(unscaled::<i128>(&cents, 0).is_err());
        assert_eq!(text(&numeric(0, 0xC000, 0, &[])), "NaN");
        assert!(unscaled::<i128>(&numeric(0, 0xC000, 0, &[]), 2).is_err());
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        let mut short = 0;
        for _ in 0..100_000 {
            let count = random.random_range(0..6);
            let digits: Vec<u16> =
                (0..count).map(|_| [0, 1, 7000, 120, 9999][random.random_range(0..5)]).collect();
            let sign = if random.random() { 0x4000 } else { 0 };
            let field = numeric(random.random_range(-3..4), sign, 4, &digits);
            let scale = random.random_range(0..9);
            if let Some(value) = small(&field, scale) {
                assert_eq!(unscaled::<i128>(&field, scale), Ok(value.into()), "{field:?} at scale {scale}");
                short += 1;
            }
        }
        assert!(short > 10_000, "only {short} went the short way");
    }

    #[test]
    fn thirty_eight_digits_fit() {
        let nines = numeric(9, 0, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]);
        assert_eq!(unscaled::<i128>(&nines, 0), Ok(99_999_999_999_999_999_999_999_999_999_999_999_999));
        assert!(unscaled::<i128>(&nines, 2).is_err());
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
                let mut column = ColumnDecoder::new("c", wire);
                column.push_null();
                if column.push(&field).is_ok() && column.finish().is_ok_and(|array| array.len() == 2) {
                    taken += 1;
                }
            }
            let rare = matches!(wire, Wire::Decimal128(..) | Wire::Decimal256(..) | Wire::Text | Wire::Jsonb);
            assert!(taken > 0 || rare, "{wire:?}");
        }
    }

    #[test]
    fn infinity_is_refused_with_the_column() {
        let mut column = ColumnDecoder::new("born", Wire::Date);
        let error = column.push(&i32::MAX.to_be_bytes()).unwrap_err();
        assert!(error.message().contains("born") && error.message().contains("infinity"));
    }

    #[test]
    fn invalid_utf8_is_an_error() {
        let mut column = ColumnDecoder::new("t", Wire::Text);
        column.push(&[0xff]).unwrap();
        assert!(column.finish().is_err());
        // A character that is split between two values is no text either.
        column.push(&[0xc3]).unwrap();
        column.push(&[0xa9]).unwrap();
        assert!(column.finish().is_err());
    }
}
