//! The lowest and the highest of many texts.

use arrow_array::types::ByteArrayType;
use arrow_array::{Array as _, GenericByteArray};

/// The rows of the lowest and of the highest value in the order of bytes, NULLs left out; `None` without a value.
///
/// Most values are told apart by their first eight bytes, compared as one number, which is much faster than
/// comparing every pair of texts.
pub(super) fn extremes<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> Option<[usize; 2]> {
    let data = array.value_data();
    let offsets = array.value_offsets();
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let bytes = |row: usize| &data[place(offsets[row])..place(offsets[row + 1])];
    let start = |row: usize| Start::of(data, place(offsets[row]), place(offsets[row + 1]));
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let first = match nulls {
        None if array.is_empty() => return None,
        None => 0,
        Some(nulls) => nulls.valid_indices().next()?,
    };
    let (mut low, mut high) = ((start(first), first), (start(first), first));
    let mut visit = |row: usize| {
        let start = start(row);
        if start.before(low.0, || bytes(row) < bytes(low.1)) {
            low = (start, row);
        } else if high.0.before(start, || bytes(high.1) < bytes(row)) {
            high = (start, row);
        }
    };
    match nulls {
        None => (first..array.len()).for_each(&mut visit),
        Some(nulls) => nulls.valid_indices().for_each(&mut visit),
    }
    Some([low.1, high.1])
}

/// The first eight bytes of a value as a number in their order, zeros behind a shorter one; and its length.
#[derive(Clone, Copy)]
struct Start {
    word: u64,
    length: usize,
}

impl Start {
    #[inline]
    fn of(data: &[u8], from: usize, to: usize) -> Self {
        let mut eight = [0; 8];
        if let Some(bytes) = data.get(from..from + 8) {
            // Nearly always there are eight bytes, be it the next values' too.
            eight.copy_from_slice(bytes);
        } else {
            let bytes = &data[from..];
            eight[..bytes.len()].copy_from_slice(bytes);
        }
        let own = match to - from {
            0 => 0,
            length @ 1..8 => u64::MAX << (64 - 8 * length),
            _ => u64::MAX,
        };
        Self { word: u64::from_be_bytes(eight) & own, length: to - from }
    }

    /// Whether the value comes before the other; `whole` compares all of both.
    #[inline]
    fn before(self, other: Self, whole: impl FnOnce() -> bool) -> bool {
        if self.word != other.word {
            self.word < other.word
        } else if self.length <= 8 || other.length <= 8 {
            // The shorter one and zeros make the other's first eight bytes: it is a prefix of the other.
            self.length < other.length
        } else {
            whole()
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_arith::aggregate::{max_binary, min_binary};
    use arrow_array::{BinaryArray, StringArray};
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// Short words over few letters, so that prefixes, equal values and zeros meet often.
    #[test]
    fn the_same_as_comparing_all() {
        for seed in 0..2000 {
            let mut random = StdRng::seed_from_u64(seed);
            let letters: &[u8] = if seed % 2 == 0 { b"\0a" } else { b"\0ab\xff" };
            let longest = if seed % 3 == 0 { 4 } else { 20 };
            let values: Vec<Option<Vec<u8>>> = (0..random.random_range(0..20))
                .map(|_| {
                    let length = random.random_range(0..longest);
                    let word = (0..length).map(|_| letters[random.random_range(0..letters.len())]).collect();
                    random.random_bool(0.8).then_some(word)
                })
                .collect();
            let array = BinaryArray::from_iter(&values);
            for array in [array.slice(0, array.len()), array.slice(array.len() / 3, array.len() / 2)] {
                let found = extremes(&array).map(|[low, high]| (array.value(low), array.value(high)));
                assert_eq!(found, min_binary(&array).zip(max_binary(&array)), "seed {seed}: {array:?}");
            }
        }
        let nulls = StringArray::from(vec![None::<&str>, None]);
        assert_eq!(extremes(&nulls), None);
    }
}
