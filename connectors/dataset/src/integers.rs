//! Values that Parquet stores as 32 or 64 bit integers: numbers, dates, times, decimals up to 18 digits.

use std::hash::{BuildHasher as _, RandomState};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::Type;
use parquet::errors::{ParquetError, Result};
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::chunk::{MOST_ENTRIES, Values};

/// Digits that 32 and 64 bits hold.
const NARROW: u8 = 9;
const WIDE: u8 = 18;

/// Parquet's type of these values, if they are integers that this module takes.
pub(crate) fn stored_as(data_type: &DataType) -> Option<Type> {
    match data_type {
        DataType::Date32 => Some(Type::INT32),
        DataType::Decimal128(precision, _) if *precision <= NARROW => Some(Type::INT32),
        DataType::Decimal128(precision, _) if *precision <= WIDE => Some(Type::INT64),
        DataType::Int64
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Time64(TimeUnit::Microsecond) => Some(Type::INT64),
        _ => None,
    }
}

/// A dictionary of integers: open addressing, multiplicative hashing with a factor that nobody can foresee.
pub(crate) struct Integers {
    narrow: bool,
    factor: u64,
    slots: Vec<Slot>,
    shift: u32,
    entries: Vec<i64>,
    /// Values of the batch at hand, without its NULLs.
    batch: Vec<i64>,
    /// Lowest and highest of the values that are in no dictionary.
    plain: Option<(i64, i64)>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    value: i64,
    index: u16,
    taken: bool,
}

impl Integers {
    pub(crate) fn new(stored_as: Type) -> Self {
        let mut new = Self {
            narrow: stored_as == Type::INT32,
            factor: RandomState::new().hash_one(0) | 1,
            slots: Vec::new(),
            shift: 0,
            entries: Vec::new(),
            batch: Vec::new(),
            plain: None,
        };
        new.spread(64);
        new
    }

    fn load(&mut self, array: &dyn Array) -> Result<()> {
        match array.data_type() {
            DataType::Int64 => take::<Int64Type>(array, &mut self.batch, Ok),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                take::<TimestampMicrosecondType>(array, &mut self.batch, Ok)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                take::<Time64MicrosecondType>(array, &mut self.batch, Ok)
            }
            DataType::Date32 => take::<Date32Type>(array, &mut self.batch, |days| Ok(i64::from(days))),
            DataType::Decimal128(..) => take::<Decimal128Type>(array, &mut self.batch, |digits| {
                i64::try_from(digits).map_err(ParquetError::from)
            }),
            other => Err(ParquetError::NYI(format!("{other} as integers"))),
        }
    }

    /// A new table of `slots`, a power of two, with what is in the dictionary.
    fn spread(&mut self, slots: usize) {
        self.slots = vec![Slot::default(); slots];
        self.shift = u64::BITS - slots.trailing_zeros();
        for (index, value) in (0_u16..=u16::MAX).zip(&self.entries) {
            let mut at = place(*value, self.factor, self.shift);
            while self.slots[at].taken {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = Slot { value: *value, index, taken: true };
        }
    }

    #[inline(never)]
    fn add(&mut self, value: i64, at: usize) -> u16 {
        let index = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        self.entries.push(value);
        if self.entries.len() * 2 > self.slots.len() {
            self.spread(self.slots.len() * 2);
        } else {
            self.slots[at] = Slot { value, index, taken: true };
        }
        index
    }

    fn index(&mut self, value: i64) -> u16 {
        let mask = self.slots.len() - 1;
        let mut at = place(value, self.factor, self.shift) & mask;
        loop {
            let slot = self.slots[at];
            if slot.value == value && slot.taken {
                return slot.index;
            }
            if !slot.taken {
                return self.add(value, at);
            }
            at = (at + 1) & mask;
        }
    }
}

fn place(value: i64, factor: u64, shift: u32) -> usize {
    usize::try_from(value.cast_unsigned().wrapping_mul(factor) >> shift).unwrap_or(0)
}

fn take<T: ArrowPrimitiveType>(
    array: &dyn Array,
    out: &mut Vec<i64>,
    integer: impl Fn(T::Native) -> Result<i64>,
) -> Result<()> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    out.clear();
    out.reserve(array.len());
    if array.null_count() == 0 {
        for value in array.values() {
            out.push(integer(*value)?);
        }
    } else {
        for value in array.iter().flatten() {
            out.push(integer(value)?);
        }
    }
    Ok(())
}

fn append(values: &[i64], narrow: bool, out: &mut Vec<u8>) {
    if narrow {
        // The type says that they fit: `stored_as`.
        out.extend(values.iter().flat_map(|value| {
            let [a, b, c, d, ..] = value.to_le_bytes();
            [a, b, c, d]
        }));
    } else {
        out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

impl Values for Integers {
    fn intern(&mut self, array: &dyn Array, indices: &mut Vec<u16>) -> Result<()> {
        self.load(array)?;
        let batch = std::mem::take(&mut self.batch);
        indices.extend(batch.iter().map(|value| self.index(*value)));
        self.batch = batch;
        Ok(())
    }

    fn plain(&mut self, array: &dyn Array, page: &mut Vec<u8>) -> Result<()> {
        self.load(array)?;
        append(&self.batch, self.narrow, page);
        let range = self.batch.iter().min().copied().zip(self.batch.iter().max().copied());
        self.plain = join(self.plain, range);
        Ok(())
    }

    fn entries(&self) -> usize {
        self.entries.len()
    }

    fn full(&self) -> bool {
        self.entries.len() > MOST_ENTRIES
    }

    fn dictionary(&self, page: &mut Vec<u8>) {
        append(&self.entries, self.narrow, page);
    }

    fn memory_size(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + (self.entries.capacity() + self.batch.capacity()) * 8
    }

    fn statistics(&self, distinct: Option<u64>, nulls: u64) -> Result<Statistics> {
        let entries = self.entries.iter().min().copied().zip(self.entries.iter().max().copied());
        let (low, high) = join(self.plain, entries).unzip();
        Ok(if self.narrow {
            let low = low.map(i32::try_from).transpose()?;
            let high = high.map(i32::try_from).transpose()?;
            ValueStatistics::new(low, high, distinct, Some(nulls), false)
                .with_backwards_compatible_min_max(true)
                .into()
        } else {
            ValueStatistics::new(low, high, distinct, Some(nulls), false)
                .with_backwards_compatible_min_max(true)
                .into()
        })
    }
}

fn join(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
        (one, other) => one.or(other),
    }
}
