//! Which columns are worth a dictionary.

use std::collections::HashSet;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{GenericBinaryType, GenericStringType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// Rows that are looked at: at least so many, since fewer say little and then a dictionary costs little too.
const LEAST: usize = 8 * 1024;
/// And at most.
const MOST: usize = 16 * 1024;

/// Of each column of a load's first batch whether its values repeat. Few rows say nothing; then they may.
///
/// To look up every value until a dictionary overflows, and again for each row group, is about a tenth of the
/// time of writing, for nothing if they hardly repeat.
pub(crate) fn repeat(batch: &RecordBatch) -> Vec<bool> {
    let head = batch.slice(0, batch.num_rows().min(MOST));
    let few = head.num_rows() < LEAST;
    head.columns().iter().map(|column| few || !hardly_repeats(column.as_ref())).collect()
}

fn hardly_repeats(array: &dyn Array) -> bool {
    match array.data_type() {
        DataType::Utf8 => grows(array.as_bytes::<GenericStringType<i32>>().iter().flatten()),
        DataType::Binary => grows(array.as_bytes::<GenericBinaryType<i32>>().iter().flatten()),
        fixed => match fixed.primitive_width() {
            Some(width) if width >= 4 => {
                let data = array.to_data();
                let values = data.buffers().first().map(|buffer| buffer.as_slice()).unwrap_or_default();
                grows(values.chunks_exact(width).skip(array.offset()).take(array.len()))
            }
            _ => false,
        },
    }
}

/// Whether the second half of the values brings about as many new ones as the first did. A column with a
/// limited set of values, however large, brings fewer and fewer.
fn grows<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> bool {
    let values: Vec<T> = values.collect();
    let half = values.len() / 2;
    let mut distinct = HashSet::with_capacity(values.len());
    let (mut at_half, mut seen) = (0, 0);
    for value in values {
        if seen == half {
            at_half = distinct.len();
        }
        distinct.insert(value);
        seen += 1;
    }
    seen >= LEAST / 2 && distinct.len() > seen / 8 && distinct.len() * 10 > at_half * 17
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    #[test]
    fn what_repeats_has_a_dictionary() {
        let rows = i64::try_from(MOST).unwrap();
        let numbers =
            |each: fn(i64) -> i64| Arc::new(Int64Array::from_iter_values((0..rows).map(each))) as ArrayRef;
        let texts = StringArray::from_iter_values((0..rows).map(|row| format!("comment {}", row * 7919)));
        let sparse = Int64Array::from_iter((0..rows).map(|row| (row % 3 == 0).then_some(row)));
        let batch = RecordBatch::try_from_iter([
            ("unique", numbers(|row| row)),
            ("four of each", numbers(|row| row / 4)),
            ("fifty", numbers(|row| row % 50)),
            // Of 3,000 values most were seen in the first half.
            ("thousands", numbers(|row| row * 7919 % 3000)),
            ("text", Arc::new(texts)),
            ("sparse", Arc::new(sparse)),
        ])
        .unwrap();
        assert_eq!(repeat(&batch), [false, false, true, true, false, false]);
        assert_eq!(repeat(&batch.slice(0, LEAST - 1)), [true; 6]);
    }
}
