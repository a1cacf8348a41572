//! Numbers to other numbers, exactly.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::i256;
use arrow_schema::DataType;

use super::kernel::{Cast, build, build_rounding};
use super::parse::{Misfit, fits128};
use super::policy::RoundPolicy;
use super::temporal::epoch;
use crate::error::Result;

/// Integers up to this are doubles without loss.
const EXACT_DOUBLE: i128 = 1 << 53;

/// A cast between numbers. The source is Int64, UInt64, Float64, Decimal128 or Decimal256; `scale` is that
/// of its decimals and 0 for the others.
#[derive(Debug, Clone)]
pub(super) struct NumberCast {
    pub(super) scale: i8,
    pub(super) to: NumberTarget,
    /// Every value of the source's type fits.
    pub(super) holds_all: bool,
}

#[derive(Debug, Clone)]
pub(super) enum NumberTarget {
    Int64,
    Float64,
    Decimal128 {
        precision: u8,
        scale: u8,
        data_type: DataType,
    },
    Decimal256 {
        precision: u8,
        scale: u8,
        data_type: DataType,
    },
    /// 0 and 1 only.
    Bool,
    /// Units since 1970 of so many microseconds.
    Epoch(i64, DataType),
}

impl NumberCast {
    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Result<Cast> {
        let rounds = rounding == RoundPolicy::Round;
        match array.data_type() {
            DataType::Float64 => Ok(float_to_integer(array.as_primitive(), rounds)),
            DataType::Decimal256(..) => self.wide(array.as_primitive(), rounds),
            DataType::Decimal128(precision, _) => {
                let source = array.as_primitive::<Decimal128Type>();
                match self.relabelled(source, *precision) {
                    Some(same) => Ok(Cast::clean(Arc::new(same))),
                    None => Ok(self.narrow(source, rounds)),
                }
            }
            DataType::UInt64 => Ok(self.narrow(array.as_primitive::<UInt64Type>(), rounds)),
            _ => Ok(self.narrow(array.as_primitive::<Int64Type>(), rounds)),
        }
    }

    /// The same values under the target's precision, where the scales agree and every value fits.
    fn relabelled(
        &self,
        source: &PrimitiveArray<Decimal128Type>,
        from: u8,
    ) -> Option<PrimitiveArray<Decimal128Type>> {
        let NumberTarget::Decimal128 { precision, scale, data_type } = &self.to else { return None };
        if i16::from(self.scale) != i16::from(*scale) {
            return None;
        }
        let fits = from <= *precision || source.values().iter().all(|value| fits128(*value, *precision));
        fits.then(|| source.clone().with_data_type(data_type.clone()))
    }

    fn narrow<S>(&self, source: &PrimitiveArray<S>, rounds: bool) -> Cast
    where
        S: ArrowPrimitiveType,
        S::Native: Into<i128>,
    {
        let (length, nulls) = (source.len(), source.nulls());
        let value = |row: usize| -> i128 { source.value(row).into() };
        match &self.to {
            NumberTarget::Int64 => {
                let read = |value: i128| i64::try_from(value).map_err(|_| Misfit::Range);
                let round = |row| read(rounded(value(row), self.scale, 0)?);
                let exact = |row| read(rescale(value(row), self.scale, 0)?).map(Some);
                build_rounding::<Int64Type>(
                    length,
                    nulls,
                    DataType::Int64,
                    exact,
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Float64 => {
                let round = |row| Ok(nearest_double(value(row)));
                build_rounding::<Float64Type>(
                    length,
                    nulls,
                    DataType::Float64,
                    |row| to_double(value(row)).map(Some),
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Decimal128 { precision, scale, data_type } => {
                let read = |value| if fits128(value, *precision) { Ok(value) } else { Err(Misfit::Range) };
                let round = |row| read(rounded(value(row), self.scale, *scale)?);
                let exact = |row| read(rescale(value(row), self.scale, *scale)?).map(Some);
                build_rounding::<Decimal128Type>(
                    length,
                    nulls,
                    data_type.clone(),
                    exact,
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Decimal256 { precision, scale, data_type } => {
                let limit = limit256(*precision);
                let wide =
                    |row, rounds| rescale256(i256::from_i128(value(row)), self.scale, *scale, limit, rounds);
                let round = |row| wide(row, true);
                build_rounding::<Decimal256Type>(
                    length,
                    nulls,
                    data_type.clone(),
                    |row| wide(row, false).map(Some),
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Bool => {
                let mut builder = BooleanBuilder::with_capacity(length);
                let mut rejected = Vec::new();
                for row in 0..length {
                    match source.is_valid(row).then(|| value(row)) {
                        Some(0) => builder.append_value(false),
                        Some(1) => builder.append_value(true),
                        Some(_) => {
                            builder.append_null();
                            rejected.push((row, Misfit::Form("0 or 1")));
                        }
                        None => builder.append_null(),
                    }
                }
                Cast::checked(Arc::new(builder.finish()), rejected)
            }
            NumberTarget::Epoch(unit, data_type) => {
                build::<TimestampMicrosecondType>(length, nulls, data_type.clone(), |row| {
                    epoch(value(row), *unit).map(Some)
                })
            }
        }
    }

    fn wide(&self, source: &PrimitiveArray<Decimal256Type>, rounds: bool) -> Result<Cast> {
        let (length, nulls) = (source.len(), source.nulls());
        let unscaled = |row: usize, scale: u8, precision: u8, rounds: bool| {
            rescale256(source.value(row), self.scale, scale, limit256(precision), rounds)
        };
        Ok(match &self.to {
            NumberTarget::Int64 => {
                let read = |row, rounds| {
                    let value = unscaled(row, 0, 19, rounds)?.to_i128();
                    value.and_then(|value| i64::try_from(value).ok()).ok_or(Misfit::Range)
                };
                let round = |row| read(row, true);
                build_rounding::<Int64Type>(
                    length,
                    nulls,
                    DataType::Int64,
                    |row| read(row, false).map(Some),
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Decimal128 { precision, scale, data_type } => {
                let read =
                    |row, rounds| unscaled(row, *scale, *precision, rounds)?.to_i128().ok_or(Misfit::Range);
                let round = |row| read(row, true);
                build_rounding::<Decimal128Type>(
                    length,
                    nulls,
                    data_type.clone(),
                    |row| read(row, false).map(Some),
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Decimal256 { precision, scale, data_type } => {
                let limit = limit256(*precision);
                let read = |row, rounds| rescale256(source.value(row), self.scale, *scale, limit, rounds);
                let round = |row| read(row, true);
                build_rounding::<Decimal256Type>(
                    length,
                    nulls,
                    data_type.clone(),
                    |row| read(row, false).map(Some),
                    if rounds { Some(&round) } else { None },
                )
            }
            NumberTarget::Float64 | NumberTarget::Bool | NumberTarget::Epoch(..) => {
                return Err(crate::Error::internal("a wide decimal was planned as another kind of number"));
            }
        })
    }
}

fn power10(exponent: i16) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// The unscaled `value` of scale `from` at scale `to`.
fn rescale(value: i128, from: i8, to: u8) -> Result<i128, Misfit> {
    let shift = i16::from(to) - i16::from(from);
    if shift == 0 || value == 0 {
        return Ok(value);
    }
    if shift > 0 {
        return power10(shift).and_then(|power| value.checked_mul(power)).ok_or(Misfit::Range);
    }
    match power10(-shift) {
        Some(power) if value % power == 0 => Ok(value / power),
        _ => Err(Misfit::Scale(to)),
    }
}

/// [`rescale`], digits beyond the scale rounded half away from zero.
fn rounded(value: i128, from: i8, to: u8) -> Result<i128, Misfit> {
    let shift = i16::from(to) - i16::from(from);
    if shift >= 0 {
        return rescale(value, from, to);
    }
    // A power beyond an i128 leaves less than half of a unit: at most 1.7 * 10^38 of 10^39.
    let Some(power) = power10(-shift) else { return Ok(0) };
    let (whole, rest) = (value / power, value % power);
    let up = rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2);
    Ok(if up { whole + value.signum() } else { whole })
}

/// 10^precision; `None` where every value fits.
fn limit256(precision: u8) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::from(precision))
}

fn rescale256(value: i256, from: i8, to: u8, limit: Option<i256>, rounds: bool) -> Result<i256, Misfit> {
    let shift = i16::from(to) - i16::from(from);
    let power = |exponent: i16| i256::from_i128(10).checked_pow(u32::from(exponent.unsigned_abs()));
    let result = if shift == 0 || value == i256::ZERO {
        value
    } else if shift > 0 {
        power(shift).and_then(|power| value.checked_mul(power)).ok_or(Misfit::Range)?
    } else {
        match power(shift) {
            Some(power) => match (value.wrapping_rem(power), value.wrapping_div(power)) {
                (i256::ZERO, whole) => whole,
                (rest, whole) if rounds => {
                    // Not `2 * rest`, which may be beyond an i256.
                    let up = rest.wrapping_abs() >= power.wrapping_sub(rest.wrapping_abs());
                    let one = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
                    if up { whole.wrapping_add(one) } else { whole }
                }
                _ => return Err(Misfit::Scale(to)),
            },
            // Cannot be: no decimal has a scale of 77.
            None => return Err(Misfit::Scale(to)),
        }
    };
    match limit {
        Some(limit) if result >= limit || result <= limit.wrapping_neg() => Err(Misfit::Range),
        _ => Ok(result),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range was checked; below 2^53 every integer is a double"
)]
fn to_double(value: i128) -> Result<f64, Misfit> {
    if (-EXACT_DOUBLE..=EXACT_DOUBLE).contains(&value) {
        return Ok(value as i64 as f64);
    }
    // Beyond 2^53 some integers are doubles still: all that end in zeros enough.
    let nearest = value as f64;
    if nearest as i128 == value { Ok(nearest) } else { Err(Misfit::Precision) }
}

/// The double nearest to an integer.
fn nearest_double(value: i128) -> f64 {
    value as f64
}

fn float_to_integer(source: &PrimitiveArray<Float64Type>, rounds: bool) -> Cast {
    let round = |row| whole(source.value(row).round());
    let exact = |row| whole(source.value(row)).map(Some);
    build_rounding::<Int64Type>(
        source.len(),
        source.nulls(),
        DataType::Int64,
        exact,
        if rounds { Some(&round) } else { None },
    )
}

#[expect(clippy::cast_possible_truncation, reason = "the value is whole and inside the range of an i64")]
fn whole(value: f64) -> Result<i64, Misfit> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !value.is_finite() {
        Err(Misfit::NotFinite)
    } else if value.fract() != 0.0 {
        Err(Misfit::Scale(0))
    } else if (-LIMIT..LIMIT).contains(&value) {
        Ok(value as i64)
    } else {
        Err(Misfit::Range)
    }
}
