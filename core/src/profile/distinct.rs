//! How many different values a column has, estimated in a few kilobytes.
//!
//! HyperLogLog with the estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (2017), section 2: one formula for small and large counts and no table of corrections. Own code because every
//! value of every load passes here; RFC 15 has the figures beside a library's.

use std::hash::BuildHasher as _;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};
use foldhash::quality::FixedState;

/// Bits of a hash that choose its register.
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;

/// Bits of a hash that are left for counting zeros.
const REST: u32 = u64::BITS - PRECISION;

/// Not secret: whoever makes values collide spoils no more than an estimate.
const HASH: FixedState = FixedState::with_seed(0);

/// Counts different values; the standard error is 1.6 %.
#[derive(Debug, Clone)]
pub(super) struct Distinct(Box<[u8]>);

impl Distinct {
    /// A counter for columns of a type; none for lists and records, and for booleans, which are counted one by one.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        let counted = matches!(
            data_type,
            DataType::Int64
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Decimal256(..)
                | DataType::Date32
                | DataType::Time64(TimeUnit::Microsecond)
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Utf8
                | DataType::Binary
        );
        counted.then(|| Self(vec![0; REGISTERS].into()))
    }

    /// Adds the values of a column that are not NULL.
    pub(super) fn add(&mut self, column: &ArrayRef) {
        let hash = |word: u64| HASH.hash_one(word);
        match column.data_type() {
            DataType::Int64 => self.primitive::<Int64Type>(column, |value| hash(value.cast_unsigned())),
            // The two zeros are one value.
            DataType::Float64 => self.primitive::<Float64Type>(column, |value| hash((value + 0.0).to_bits())),
            DataType::Decimal128(..) => self.primitive::<Decimal128Type>(column, |value| {
                // One multiplication less for the many that are small.
                i64::try_from(value)
                    .map_or_else(|_| HASH.hash_one(value), |small| hash(small.cast_unsigned()))
            }),
            DataType::Decimal256(..) => {
                self.primitive::<Decimal256Type>(column, |value| HASH.hash_one(value.to_parts()));
            }
            DataType::Date32 => {
                self.primitive::<Date32Type>(column, |value| hash(i64::from(value).cast_unsigned()));
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                self.primitive::<Time64MicrosecondType>(column, |value| hash(value.cast_unsigned()));
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.primitive::<TimestampMicrosecondType>(column, |value| hash(value.cast_unsigned()));
            }
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                for_valid(texts, |row| self.put(HASH.hash_one(texts.value(row).as_bytes())));
            }
            DataType::Binary => {
                let bytes = column.as_binary::<i32>();
                for_valid(bytes, |row| self.put(HASH.hash_one(bytes.value(row))));
            }
            _ => {}
        }
    }

    fn primitive<T: ArrowPrimitiveType>(&mut self, column: &ArrayRef, hash: impl Fn(T::Native) -> u64) {
        let array = column.as_primitive::<T>();
        let values = array.values();
        for_valid(array, |row| self.put(hash(values[row])));
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "12 bits, and a count of at most 53")]
    fn put(&mut self, hash: u64) {
        let known = &mut self.0[(hash >> REST) as usize];
        let rank = ((hash << PRECISION) | (1 << (PRECISION - 1))).leading_zeros() as u8 + 1;
        *known = (*known).max(rank);
    }

    /// Adds what another counter has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The estimate.
    pub(super) fn estimate(&self) -> f64 {
        let mut counts = [0_u32; REST as usize + 2];
        for register in &self.0 {
            counts[usize::from(*register)] += 1;
        }
        let registers = REGISTERS as f64;
        let share = |rank: usize| f64::from(counts[rank]) / registers;
        let ranks = REST as usize;
        let mut sum = registers * tau(1.0 - share(ranks + 1));
        for rank in (1..=ranks).rev() {
            sum = 0.5 * (sum + f64::from(counts[rank]));
        }
        sum += registers * sigma(share(0));
        registers * registers / (2.0 * std::f64::consts::LN_2) / sum
    }
}

/// Calls `visit` with the rows that are not NULL.
fn for_valid(array: &dyn Array, visit: impl FnMut(usize)) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => (0..array.len()).for_each(visit),
        Some(nulls) => nulls.valid_indices().for_each(visit),
    }
}

/// Ertl's correction for registers that are empty. Infinite if all are, which makes the estimate zero.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Ertl's correction for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn count(column: ArrayRef) -> f64 {
        let mut counter = Distinct::of(column.data_type()).unwrap();
        counter.add(&column);
        counter.estimate()
    }

    #[test]
    fn estimates_stay_within_four_standard_errors() {
        assert_eq!(count(Arc::new(Int64Array::from(Vec::<i64>::new()))), 0.0);
        for n in [1_i64, 2, 3, 10, 100, 1_000, 4_096, 10_000, 100_000, 1_000_000] {
            for factor in [1, 1_000_003, -7] {
                let estimate = count(Arc::new(Int64Array::from_iter_values((0..n).map(|i| i * factor))));
                let error = (estimate - n as f64).abs() / n as f64;
                assert!(error < 4.0 * 1.04 / 64.0, "{n} values by {factor}: {estimate}");
            }
            let texts = StringArray::from_iter_values((0..n).map(|i| format!("customer-{i}@example.com")));
            let estimate = count(Arc::new(texts));
            assert!((estimate - n as f64).abs() / (n as f64) < 0.065, "{n} texts: {estimate}");
        }
    }

    #[test]
    fn repeats_nulls_and_the_sign_of_zero_count_nothing() {
        let mut counter = Distinct::of(&DataType::Float64).unwrap();
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), None, Some(-0.0), Some(0.0)]));
        counter.add(&column);
        counter.add(&column.slice(1, 2));
        assert_eq!(counter.estimate().round(), 1.0);
    }

    #[test]
    fn parts_make_the_whole() {
        let all: ArrayRef = Arc::new(Int64Array::from_iter_values((0..50_000).map(|i| i % 20_000)));
        let mut parts = Distinct::of(&DataType::Int64).unwrap();
        for start in [0, 25_000] {
            let mut part = Distinct::of(&DataType::Int64).unwrap();
            part.add(&all.slice(start, 25_000));
            parts.merge(&part);
        }
        assert_eq!(parts.estimate(), count(all));
    }
}
