//! Texts and bytes.

use std::hash::{BuildHasher as _, RandomState};

use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{GenericBinaryType, GenericStringType};
use arrow_buffer::{ArrowNativeType as _, NullBuffer};
use arrow_schema::DataType;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::chunk::{MOST_BYTES, MOST_ENTRIES, Values};

/// Longest lowest or highest value in the statistics of a chunk.
const BOUND: usize = 64;

/// A dictionary of texts. What tells short ones apart lies in the table itself; the others are compared in full.
pub(crate) struct Texts {
    /// Whether they are UTF-8.
    text: bool,
    factor: u64,
    slots: Vec<Slot>,
    shift: u32,
    /// Distinct values as a dictionary page has them: a length of four bytes, then the value.
    page: Vec<u8>,
    /// Where values begin in `page`.
    starts: Vec<usize>,
    /// Lowest and highest of the values that are in no dictionary.
    plain: Option<(Edge, Edge)>,
}

/// A value, known by its length and by its first and last eight bytes, which are all it has up to 16.
#[derive(Clone, Copy, Default)]
struct Slot {
    first: u64,
    last: u64,
    length: u32,
    index: u16,
    taken: bool,
}

impl Slot {
    fn of(value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let (first, last) = if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
            (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
        } else {
            (value.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        Self { first, last, length, index: 0, taken: true }
    }

    fn like(&self, other: &Self) -> bool {
        self.taken && self.first == other.first && self.last == other.last && self.length == other.length
    }
}

impl Texts {
    pub(crate) fn new(text: bool) -> Self {
        let mut new = Self {
            text,
            factor: RandomState::new().hash_one(0) | 1,
            slots: Vec::new(),
            shift: 0,
            page: Vec::new(),
            starts: Vec::new(),
            plain: None,
        };
        new.spread(64);
        new
    }

    fn place(&self, key: &Slot, value: &[u8]) -> usize {
        // Both halves of the product, so that each bit counts wherever it stands.
        let mix = |a: u64, b: u64| {
            let (low, high) = (a ^ b).carrying_mul(self.factor, 0);
            low ^ high
        };
        let mut hash = mix(key.first, u64::from(key.length));
        if value.len() > 16 {
            for middle in value[8..].as_chunks::<8>().0 {
                hash = mix(hash, u64::from_le_bytes(*middle));
            }
        }
        let hash = mix(hash, key.last).wrapping_mul(self.factor);
        usize::try_from(hash >> self.shift).unwrap_or(0)
    }

    fn entry(&self, slot: &Slot) -> &[u8] {
        let start = self.starts[usize::from(slot.index)];
        &self.page[start..start + slot.length.as_usize()]
    }

    /// A new table of `slots`, a power of two, with what is in the dictionary.
    fn spread(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        self.shift = u64::BITS - slots.trailing_zeros();
        for slot in old.into_iter().filter(|slot| slot.taken) {
            let mut at = self.place(&slot, self.entry(&slot));
            while self.slots[at].taken {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = slot;
        }
    }

    #[inline(never)]
    fn add(&mut self, key: Slot, value: &[u8], at: usize) -> u16 {
        let index = u16::try_from(self.starts.len()).unwrap_or(u16::MAX);
        self.page.extend_from_slice(&key.length.to_le_bytes());
        self.starts.push(self.page.len());
        self.page.extend_from_slice(value);
        self.slots[at] = Slot { index, ..key };
        if self.starts.len() * 2 > self.slots.len() {
            self.spread(self.slots.len() * 2);
        }
        index
    }

    fn index(&mut self, value: &[u8]) -> u16 {
        let key = Slot::of(value);
        let mask = self.slots.len() - 1;
        let mut at = self.place(&key, value) & mask;
        loop {
            let slot = &self.slots[at];
            if slot.like(&key) && (value.len() <= 16 || self.entry(slot)[8..] == value[8..]) {
                return slot.index;
            }
            if !slot.taken {
                return self.add(key, value, at);
            }
            at = (at + 1) & mask;
        }
    }
}

/// A lowest or highest value. Its beginning decides nearly every comparison.
#[derive(Clone)]
struct Edge {
    begin: u64,
    value: Vec<u8>,
}

impl Edge {
    fn new(value: &[u8]) -> Self {
        Self { begin: begin(value), value: value.to_vec() }
    }

    /// Takes the value in place of this one if it is further in the direction.
    fn widen(&mut self, value: &[u8], direction: std::cmp::Ordering) {
        let begin = begin(value);
        let order = begin.cmp(&self.begin);
        if order == direction || (order.is_eq() && value.cmp(&self.value) == direction) {
            *self = Self::new(value);
        }
    }
}

/// The first eight bytes as a number in the order of the values; shorter ones are filled up with zeros.
fn begin(value: &[u8]) -> u64 {
    match value.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first[..value.len()].copy_from_slice(value);
            u64::from_be_bytes(first)
        }
    }
}

fn widen(range: &mut Option<(Edge, Edge)>, value: &[u8]) {
    let (low, high) = range.get_or_insert_with(|| (Edge::new(value), Edge::new(value)));
    low.widen(value, std::cmp::Ordering::Less);
    high.widen(value, std::cmp::Ordering::Greater);
}

/// Offsets, bytes and NULLs of an array of texts or bytes.
pub(crate) fn parts(array: &dyn Array) -> Option<(&[i32], &[u8], Option<&NullBuffer>)> {
    match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_bytes::<GenericStringType<i32>>();
            Some((array.value_offsets(), array.value_data(), array.nulls()))
        }
        DataType::Binary => {
            let array = array.as_bytes::<GenericBinaryType<i32>>();
            Some((array.value_offsets(), array.value_data(), array.nulls()))
        }
        _ => None,
    }
}

/// Calls `take` with each value that is not NULL.
fn each(array: &dyn Array, mut take: impl FnMut(&[u8])) -> Result<()> {
    let Some((offsets, bytes, nulls)) = parts(array) else {
        return Err(ParquetError::NYI(format!("{} as texts", array.data_type())));
    };
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    for (row, pair) in offsets.windows(2).enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            take(&bytes[pair[0].as_usize()..pair[1].as_usize()]);
        }
    }
    Ok(())
}

impl Values for Texts {
    fn intern(&mut self, array: &dyn Array, indices: &mut Vec<u16>) -> Result<()> {
        indices.reserve(array.len());
        each(array, |value| indices.push(self.index(value)))
    }

    fn plain(&mut self, array: &dyn Array, page: &mut Vec<u8>) -> Result<()> {
        each(array, |value| {
            page.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            page.extend_from_slice(value);
            widen(&mut self.plain, value);
        })
    }

    fn entries(&self) -> usize {
        self.starts.len()
    }

    fn full(&self) -> bool {
        self.starts.len() > MOST_ENTRIES || self.page.len() > MOST_BYTES
    }

    fn dictionary(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.page);
    }

    fn memory_size(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.page.capacity() + self.starts.capacity() * 8
    }

    fn statistics(&self, distinct: Option<u64>, nulls: u64) -> Result<Statistics> {
        let mut range = self.plain.clone();
        for slot in self.slots.iter().filter(|slot| slot.taken) {
            widen(&mut range, self.entry(slot));
        }
        let (low, high) = range.map(|(low, high)| (low.value, high.value)).unzip();
        let (min, max) = (low.as_deref().map(|low| lower(low, self.text)), high.as_deref());
        let max = max.and_then(|high| upper(high, self.text));
        // Readers of Arrow C++ take a missing bound beside one that is there for an empty text.
        let (min, max) = min.zip(max).unzip();
        let (min_exact, max_exact) = (min.is_some() && min == low, max.is_some() && max == high);
        Ok(ValueStatistics::new(
            min.map(ByteArray::from),
            max.map(ByteArray::from),
            distinct,
            Some(nulls),
            false,
        )
        .with_min_is_exact(min_exact)
        .with_max_is_exact(max_exact)
        .into())
    }
}

/// The longest beginning of whole characters that the statistics hold.
fn head(value: &[u8], text: bool) -> &[u8] {
    let mut end = value.len().min(BOUND);
    // Bytes that go on with a character begin with the bits 10.
    while text && end < value.len() && value[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &value[..end]
}

/// The value, or a short one that is not above it.
fn lower(value: &[u8], text: bool) -> Vec<u8> {
    head(value, text).to_vec()
}

/// The value, or a short one above it, unless there is none.
fn upper(value: &[u8], text: bool) -> Option<Vec<u8>> {
    let head = head(value, text);
    if head.len() == value.len() {
        return Some(head.to_vec());
    }
    if !text {
        let last = head.iter().rposition(|byte| *byte != u8::MAX)?;
        return Some(head[..last].iter().copied().chain([head[last] + 1]).collect());
    }
    let mut head = std::str::from_utf8(head).ok()?.to_owned();
    while let Some(last) = head.pop() {
        if let Some(next) = char::from_u32(u32::from(last) + 1) {
            head.push(next);
            return Some(head.into_bytes());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_short_and_on_the_right_side() {
        let long = |last: char| format!("{}{last}{}", "é".repeat(31), "x".repeat(40));
        for (value, high) in [
            ("short".to_owned(), Some("short".to_owned())),
            (long('y'), Some(format!("{}yy", "é".repeat(31)))),
            (long('é'), Some(format!("{}ê", "é".repeat(31)))),
            // Three bytes that do not fit.
            (long('€'), Some(format!("{}ê", "é".repeat(30)))),
            ("\u{10ffff}".repeat(20), None),
            (format!("a{}", "\u{10ffff}".repeat(20)), Some("b".to_owned())),
            (format!("{}\u{d7ff}{}", "x".repeat(61), "x".repeat(9)), Some(format!("{}y", "x".repeat(60)))),
        ] {
            let low = lower(value.as_bytes(), true);
            assert!(low.len() <= BOUND && low.as_slice() <= value.as_bytes());
            assert!(std::str::from_utf8(&low).is_ok());
            let bound = upper(value.as_bytes(), true);
            assert_eq!(bound, high.map(String::into_bytes), "{value}");
            assert!(bound.is_none_or(|bound| bound.as_slice() >= value.as_bytes()));
        }
        let mut bytes = vec![255; 100];
        assert_eq!(upper(&bytes, false), None);
        assert_eq!(lower(&bytes, false), [255; BOUND]);
        bytes[1] = 0x7f;
        assert_eq!(upper(&bytes, false).unwrap(), [255, 0x80]);
    }
}
