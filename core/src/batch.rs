//! Streams of record batches: size accounting and re-chunking.

use std::pin::Pin;

use arrow_array::{BooleanArray, RecordBatch, UInt64Array};
use arrow_select::filter::filter_record_batch;
use futures::{Stream, TryStreamExt as _};

use crate::error::Result;

/// Batches that arrive one after the other, or an error that ends them.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Wished rows of a batch.
pub const BATCH_ROWS: usize = 65_536;

/// Wished bytes of a batch.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Bytes past which a sample of a table takes no more rows, so that it fits any budget however wide they are.
pub const SAMPLE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that the values of a batch occupy. A slice counts only its own share, unlike
/// `get_array_memory_size`, which counts the whole buffers behind it.
#[must_use]
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

/// Cuts a batch into pieces of about `bytes` bytes, at least one row each. Pieces share its buffers.
pub fn split_by_bytes(batch: &RecordBatch, bytes: usize) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows();
    let pieces = batch_bytes(batch).div_ceil(bytes.max(1)).max(1);
    let step = rows.div_ceil(pieces).max(1);
    (0..rows.max(1)).step_by(step).map(move |start| batch.slice(start, step.min(rows - start)))
}

/// At most `rows` rows of a batch, at even distances from its first to its last.
///
/// # Errors
/// `internal` if Arrow cannot take the rows.
pub fn spread(batch: &RecordBatch, rows: usize) -> Result<RecordBatch> {
    let found = batch.num_rows();
    if found <= rows {
        return Ok(batch.clone());
    }
    let at = |place: usize| place * found.saturating_sub(1) / rows.saturating_sub(1).max(1);
    let chosen: UInt64Array = (0..rows).map(|place| u64::try_from(at(place)).ok()).collect();
    Ok(arrow_select::take::take_record_batch(batch, &chosen)?)
}

/// Takes batches until about so many bytes are together; gives how many are still wanted.
///
/// # Errors
/// Those of the stream.
pub async fn collect_upto(
    mut stream: BatchStream,
    into: &mut Vec<RecordBatch>,
    bytes: usize,
) -> Result<usize> {
    let mut left = bytes;
    while left > 0
        && let Some(batch) = stream.try_next().await?
    {
        left = left.saturating_sub(batch_bytes(&batch));
        into.push(batch);
    }
    Ok(left)
}

/// The batch without these rows.
pub(crate) fn without_rows(batch: RecordBatch, dropped: &[usize]) -> Result<RecordBatch> {
    if dropped.is_empty() {
        return Ok(batch);
    }
    let mut keep = vec![true; batch.num_rows()];
    for row in dropped {
        if let Some(slot) = keep.get_mut(*row) {
            *slot = false;
        }
    }
    Ok(filter_record_batch(&batch, &BooleanArray::from(keep))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn pieces_cover_every_row_once() {
        let ids = Int64Array::from_iter_values(0..1000);
        let texts = StringArray::from_iter_values((0..1000).map(|i| "x".repeat(i % 7)));
        let batch =
            RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("t", Arc::new(texts) as _)]).unwrap();
        let pieces: Vec<_> = split_by_bytes(&batch, 3000).collect();
        assert!(pieces.len() > 3);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
        assert!(pieces.iter().all(|piece| batch_bytes(piece) < 4000));
        assert_eq!(split_by_bytes(&batch.slice(0, 0), 10).map(|b| b.num_rows()).sum::<usize>(), 0);
    }
}
