//! Reads a byte range of a text file as batches.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_core::Result;
use transload_core::batch::{BATCH_ROWS, SAMPLE_BYTES, batch_bytes};

use super::block::{BLOCK, BlockReader, line_start};
use super::columns::TextColumn;
use super::scan::Scan;
use super::{Cut, Problem, TextTable};

/// Bytes of text that a batch may hold at most, whatever is wished: offsets of Utf8 end at 2 GiB.
const MAX_BATCH: usize = 512 * 1024 * 1024;

/// An iterator of batches over one range of one file.
#[derive(Debug)]
pub(crate) struct TextReader {
    table: Arc<TextTable>,
    reader: BlockReader,
    scan: Scan,
    columns: Vec<TextColumn>,
    schema: SchemaRef,
    rows: usize,
    batch_rows: usize,
    batch_bytes: usize,
    started: bool,
    done: bool,
}

impl TextReader {
    /// Reads the records of `range` (which starts at a record and ends at one) with the fields at
    /// `fields`, whose Arrow schema is `schema`.
    pub(crate) fn open(
        path: &Path,
        range: Range<u64>,
        table: Arc<TextTable>,
        fields: &[usize],
        schema: SchemaRef,
        batch_bytes: usize,
    ) -> Result<Self> {
        Ok(Self {
            table,
            reader: BlockReader::open(path, range, BLOCK)?,
            scan: Scan::default(),
            columns: fields.iter().map(|field| TextColumn::new(*field)).collect(),
            schema,
            rows: 0,
            batch_rows: BATCH_ROWS,
            batch_bytes: batch_bytes.clamp(1, MAX_BATCH),
            started: false,
            done: false,
        })
    }

    /// Reads in other blocks and batches than usual.
    #[cfg(test)]
    pub(crate) fn with_sizes(mut self, path: &Path, range: Range<u64>, block: usize, rows: usize) -> Self {
        self.reader = BlockReader::open(path, range, block).unwrap();
        self.batch_rows = rows;
        self
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if !self.started {
            self.started = true;
            self.reader.advance(0)?;
        }
        while !self.reader.block().is_empty() {
            let consumed = self.cut().map_err(|problem| self.reader.locate(problem))?;
            if consumed == 0 && self.reader.at_end() {
                return Err(self.reader.locate(Problem::open_quote(0)));
            }
            self.reader.advance(consumed)?;
            let bytes: usize = self.columns.iter().map(TextColumn::bytes).sum();
            if self.rows >= self.batch_rows || bytes >= self.batch_bytes {
                break;
            }
        }
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(TextColumn::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?))
    }

    /// Cuts the block into columns; answers how much of it is used up.
    fn cut(&mut self) -> Result<usize, Problem> {
        let block = self.reader.block();
        let dialect = &self.table.dialect;
        let (consumed, rows) = match &self.table.cut {
            Cut::Fixed(layout) => layout.cut(block, dialect, &mut self.columns)?,
            Cut::Delimited => {
                let width = self.table.names.len();
                let found = self.scan.scan(block, dialect, width);
                let used = &block[..self.scan.consumed];
                // What is broken first is told first: a wrong line is often one in a wrong encoding.
                check_utf8(used)?;
                found?;
                for column in &mut self.columns {
                    column.append(block, &self.scan, dialect, width);
                }
                (self.scan.consumed, self.scan.starts.len())
            }
        };
        self.rows += rows;
        Ok(consumed)
    }
}

fn check_utf8(block: &[u8]) -> Result<(), Problem> {
    if block.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(block) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::encoding(error.valid_up_to())),
    }
}

impl Iterator for TextReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_batch().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// How far a look into the middle or at the end of a file goes.
const WINDOW: u64 = 256 * 1024;

/// Estimated number of records: the bytes of the file by the mean length of its first lines.
pub(crate) fn rows_estimate(path: &Path, bytes: u64, data_start: u64) -> Result<u64> {
    let data = bytes.saturating_sub(data_start);
    let mut reader = BlockReader::open(path, data_start..bytes, BLOCK)?;
    reader.advance(0)?;
    let lines = memchr::memchr_iter(b'\n', reader.block()).count();
    if reader.at_end() {
        return Ok(u64::try_from(lines).unwrap_or(u64::MAX));
    }
    let mean = reader.block().len() / lines.max(1);
    Ok(data / u64::try_from(mean.max(1)).unwrap_or(u64::MAX))
}

/// Up to `rows` rows: from the head, and for a large file also from its middle and tail.
pub(crate) fn sample(
    path: &Path,
    bytes: u64,
    table: &Arc<TextTable>,
    schema: &SchemaRef,
    rows: usize,
) -> Result<Vec<RecordBatch>> {
    let fields: Vec<usize> = (0..table.names.len()).collect();
    let read =
        |range: Range<u64>| TextReader::open(path, range, Arc::clone(table), &fields, Arc::clone(schema), 0);
    let (start, end) = (table.data_start, bytes);
    let wanted = u64::try_from(rows).unwrap_or(u64::MAX);
    // The head must not reach the middle, or rows would be there twice.
    let spread = rows >= 3 && end - start > 6 * WINDOW && rows_estimate(path, bytes, start)? / 3 > wanted;
    let mut left = rows;
    let mut later = Vec::new();
    for from in if spread { vec![start + (end - start) / 2, end - WINDOW] } else { Vec::new() } {
        let from = line_start(path, from, end)?;
        let to = line_start(path, from.saturating_add(WINDOW), end)?;
        if from >= to || !table.splittable() && has_quote(path, from..to, table)? {
            continue;
        }
        // A window may begin inside a quoted field that began long before it. Its lines do not look like
        // records then, and the head alone is the sample.
        if let Some(Ok(batch)) = read(from..to)?.last() {
            let take = batch.num_rows().min(rows / 3);
            later.push(batch.slice(batch.num_rows() - take, take));
            left -= take;
        }
    }
    let (mut batches, mut bytes) = (Vec::new(), 0);
    for batch in read(start..end)? {
        let batch = batch?;
        let take = batch.num_rows().min(left);
        bytes += batch_bytes(&batch);
        batches.push(batch.slice(0, take));
        left -= take;
        if left == 0 || bytes >= SAMPLE_BYTES {
            break;
        }
    }
    batches.extend(later);
    Ok(batches)
}

fn has_quote(path: &Path, range: Range<u64>, table: &TextTable) -> Result<bool> {
    let Some(quote) = table.dialect.quote else { return Ok(false) };
    let mut reader = BlockReader::open(path, range, BLOCK)?;
    reader.advance(0)?;
    while !reader.block().is_empty() {
        if memchr::memchr(quote, reader.block()).is_some() {
            return Ok(true);
        }
        let whole = reader.block().len();
        reader.advance(whole)?;
    }
    Ok(false)
}
