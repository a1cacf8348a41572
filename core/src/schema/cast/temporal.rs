//! Dates, times and timestamps to the microsecond types of BigQuery.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowTimestampType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};

use super::kernel::{Cast, build, build_rounding};
use super::parse::{MAX_DAYS, MAX_MICROS, MICROS_PER_DAY, MIN_DAYS, MIN_MICROS, Misfit};
use super::policy::RoundPolicy;
use crate::error::Result;

const MILLIS_PER_DAY: i64 = 86_400_000;
const MIDNIGHT: Misfit = Misfit::Form("midnight, so a date would lose its time");

/// A cast between temporal types; the source's own type decides the rest.
#[derive(Debug, Clone)]
pub(super) enum TemporalCast {
    Date,
    /// DATETIME or TIMESTAMP.
    Instant(DataType),
    Time(DataType),
}

impl TemporalCast {
    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Result<Cast> {
        let rounds = rounding == RoundPolicy::Round;
        let unexpected = || crate::Error::internal(format!("{} was planned as a time", array.data_type()));
        match (self, array.data_type()) {
            (Self::Date, DataType::Date32) => Ok(dates(array)),
            (Self::Date, DataType::Date64) => {
                let source = array.as_primitive::<Date64Type>();
                Ok(build::<Date32Type>(source.len(), source.nulls(), DataType::Date32, |row| {
                    whole_days(source.value(row), MILLIS_PER_DAY).map(Some)
                }))
            }
            (Self::Date, DataType::Timestamp(..)) => {
                // A date keeps no part of a second, so nothing is to be rounded here.
                let micros = instants(array, &DataType::Timestamp(TimeUnit::Microsecond, None), false);
                let source = micros.array.as_primitive::<TimestampMicrosecondType>();
                let mut cast = build::<Date32Type>(source.len(), source.nulls(), DataType::Date32, |row| {
                    whole_days(source.value(row), MICROS_PER_DAY).map(Some)
                });
                cast.rejected.extend(micros.rejected);
                cast.rejected.sort_by_key(|(row, _)| *row);
                Ok(cast)
            }
            (Self::Instant(target), DataType::Date32) => {
                let source = array.as_primitive::<Date32Type>();
                Ok(build::<TimestampMicrosecondType>(source.len(), source.nulls(), target.clone(), |row| {
                    scaled(i64::from(source.value(row)), MICROS_PER_DAY).map(Some)
                }))
            }
            (Self::Instant(target), DataType::Date64) => {
                let source = array.as_primitive::<Date64Type>();
                Ok(build::<TimestampMicrosecondType>(source.len(), source.nulls(), target.clone(), |row| {
                    scaled(source.value(row), 1_000).map(Some)
                }))
            }
            (Self::Instant(target), DataType::Timestamp(..)) => Ok(instants(array, target, rounds)),
            (Self::Time(target), DataType::Time32(TimeUnit::Second)) => {
                Ok(times(array.as_primitive::<Time32SecondType>(), target, |v| Ok(i64::from(v) * 1_000_000)))
            }
            (Self::Time(target), DataType::Time32(_)) => {
                Ok(times(array.as_primitive::<Time32MillisecondType>(), target, |v| Ok(i64::from(v) * 1_000)))
            }
            (Self::Time(target), DataType::Time64(TimeUnit::Microsecond)) => {
                let source = array.as_primitive::<Time64MicrosecondType>();
                if all(source.values(), |value| (0..MICROS_PER_DAY).contains(&value)) {
                    return Ok(Cast::clean(Arc::clone(array)));
                }
                Ok(times(source, target, Ok))
            }
            (Self::Time(target), DataType::Time64(_)) => {
                let source = array.as_primitive::<Time64NanosecondType>();
                let read = |micros| in_day(micros).map(Some);
                let cut = |row| in_day(source.value(row).div_euclid(1_000));
                let exact = |row| read(without_nanos(source.value(row))?);
                Ok(build_rounding::<Time64MicrosecondType>(
                    source.len(),
                    source.nulls(),
                    target.clone(),
                    exact,
                    if rounds { Some(&cut) } else { None },
                ))
            }
            _ => Err(unexpected()),
        }
    }
}

/// So many units of `unit` microseconds since 1970 as an instant.
pub(super) fn epoch(value: i128, unit: i64) -> Result<i64, Misfit> {
    let value = i64::try_from(value).map_err(|_| Misfit::Range)?;
    scaled(value, unit)
}

fn in_range(micros: i64) -> Result<i64, Misfit> {
    if (MIN_MICROS..=MAX_MICROS).contains(&micros) { Ok(micros) } else { Err(Misfit::Range) }
}

fn scaled(value: i64, factor: i64) -> Result<i64, Misfit> {
    in_range(value.checked_mul(factor).ok_or(Misfit::Range)?)
}

fn without_nanos(nanos: i64) -> Result<i64, Misfit> {
    if nanos % 1_000 == 0 { Ok(nanos / 1_000) } else { Err(Misfit::SubMicrosecond) }
}

fn whole_days(value: i64, per_day: i64) -> Result<i32, Misfit> {
    if value % per_day != 0 {
        return Err(MIDNIGHT);
    }
    let days = i32::try_from(value / per_day).map_err(|_| Misfit::Range)?;
    if (MIN_DAYS..=MAX_DAYS).contains(&days) { Ok(days) } else { Err(Misfit::Range) }
}

/// Whether all values are good. No early exit: this way the loop becomes vector instructions.
fn all<N: Copy>(values: &[N], good: impl Fn(N) -> bool) -> bool {
    values.iter().fold(true, |all, value| all & good(*value))
}

/// The array itself where every value (also those under NULL) is in range, which is one fast pass.
fn dates(array: &ArrayRef) -> Cast {
    let source = array.as_primitive::<Date32Type>();
    let good = |value: i32| (MIN_DAYS..=MAX_DAYS).contains(&value);
    if all(source.values(), good) {
        return Cast::clean(Arc::clone(array));
    }
    build::<Date32Type>(source.len(), source.nulls(), DataType::Date32, |row| {
        let value = source.value(row);
        if good(value) { Ok(Some(value)) } else { Err(Misfit::Range) }
    })
}

fn instants(array: &ArrayRef, target: &DataType, rounds: bool) -> Cast {
    fn each<S: ArrowTimestampType>(
        source: &PrimitiveArray<S>,
        target: &DataType,
        micros: impl Fn(i64) -> Result<i64, Misfit>,
    ) -> Cast {
        build::<TimestampMicrosecondType>(source.len(), source.nulls(), target.clone(), |row| {
            micros(source.value(row)).map(Some)
        })
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            each(array.as_primitive::<TimestampSecondType>(), target, |value| scaled(value, 1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            each(array.as_primitive::<TimestampMillisecondType>(), target, |value| scaled(value, 1_000))
        }
        // Every nanosecond of an i64 is between the years 1677 and 2262.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let source = array.as_primitive::<TimestampNanosecondType>();
            let cut = |row| Ok(source.value(row).div_euclid(1_000));
            let exact = |row| without_nanos(source.value(row)).map(Some);
            build_rounding::<TimestampMicrosecondType>(
                source.len(),
                source.nulls(),
                target.clone(),
                exact,
                if rounds { Some(&cut) } else { None },
            )
        }
        _ => {
            let source = array.as_primitive::<TimestampMicrosecondType>();
            if !all(source.values(), |value| (MIN_MICROS..=MAX_MICROS).contains(&value)) {
                each(source, target, in_range)
            } else if array.data_type() == target {
                Cast::clean(Arc::clone(array))
            } else {
                Cast::clean(Arc::new(source.clone().with_data_type(target.clone())))
            }
        }
    }
}

fn in_day(micros: i64) -> Result<i64, Misfit> {
    if (0..MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(Misfit::Range) }
}

fn times<S: ArrowPrimitiveType>(
    source: &PrimitiveArray<S>,
    target: &DataType,
    micros: impl Fn(S::Native) -> Result<i64, Misfit>,
) -> Cast {
    build::<Time64MicrosecondType>(source.len(), source.nulls(), target.clone(), |row| {
        in_day(micros(source.value(row))?).map(Some)
    })
}
