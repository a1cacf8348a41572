//! One column of one row group, for columns without nesting whose values this crate encodes itself.
//!
//! The parquet crate hashes every value and compares it with the lowest and the highest of its page. Here values
//! are looked up in tables made for their type, statistics come from the dictionary where there is one, and
//! indices are packed a page at a time. What repeats too little goes on as plain values.

use std::io::{self, Read, Write as _};
use std::sync::{Mutex, PoisonError};

use arrow_array::Array;
use arrow_buffer::{ArrowNativeType as _, BooleanBufferBuilder};
use arrow_schema::DataType;
use bytes::{Buf as _, Bytes};
use parquet::basic::{Compression, Encoding, PageType, SortOrder, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::page_store::{PageKey, PageStore as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::compress::Compressor;
use crate::integers::{self, Integers};
use crate::runs;
use crate::spill::Store;
use crate::texts::{self, Texts};

/// Most rows of a page.
const PAGE_ROWS: usize = 32 * 1024;
/// A page of plain values ends when it has so many bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// A dictionary with more values than this is too large. It is asked once a page, so that indices fit 16 bits.
pub(crate) const MOST_ENTRIES: usize = PAGE_ROWS;
const _: () = assert!(MOST_ENTRIES + PAGE_ROWS <= 1 << 16, "a page more than the most must fit the indices");
/// The same in bytes.
pub(crate) const MOST_BYTES: usize = PAGE_BYTES;

/// The values of a column chunk: a dictionary for a type, and the type's plain encoding.
pub(crate) trait Values: Send {
    /// Appends the index of each value that is not NULL; new ones are added to the dictionary.
    fn intern(&mut self, array: &dyn Array, indices: &mut Vec<u16>) -> Result<()>;
    /// Appends the values that are not NULL themselves.
    fn plain(&mut self, array: &dyn Array, page: &mut Vec<u8>) -> Result<()>;
    /// Distinct values in the dictionary.
    fn entries(&self) -> usize;
    /// Whether the dictionary is too large to be added to.
    fn full(&self) -> bool;
    /// Appends the values of the dictionary.
    fn dictionary(&self, page: &mut Vec<u8>);
    /// Bytes on the heap.
    fn memory_size(&self) -> usize;
    /// Lowest and highest of all values.
    fn statistics(&self, distinct: Option<u64>, nulls: u64) -> Result<Statistics>;
}

/// Integers that hardly repeat are for the parquet crate, which packs their differences.
fn values(data_type: &DataType, column: &ColumnDescPtr, repeats: bool) -> Option<Box<dyn Values>> {
    if column.max_rep_level() > 0 || column.max_def_level() > 1 {
        return None;
    }
    match (data_type, column.physical_type(), column.sort_order()) {
        (DataType::Utf8 | DataType::Binary, Type::BYTE_ARRAY, SortOrder::UNSIGNED) => {
            Some(Box::new(Texts::new(*data_type == DataType::Utf8)))
        }
        (_, physical, SortOrder::SIGNED) if repeats && integers::stored_as(data_type) == Some(physical) => {
            Some(Box::new(Integers::new(physical)))
        }
        _ => None,
    }
}

/// Writes a column chunk.
pub(crate) struct ChunkWriter {
    column: ColumnDescPtr,
    values: Box<dyn Values>,
    /// Whether values are put into the dictionary.
    interning: bool,
    page: PageData,
    store: Store,
    written: Vec<Written>,
    uncompressed: usize,
    nulls: usize,
}

/// The page that is being filled.
#[derive(Default)]
struct PageData {
    rows: usize,
    /// Which rows are not NULL; empty for REQUIRED columns.
    present: Option<BooleanBufferBuilder>,
    indices: Vec<u16>,
    plain: Vec<u8>,
}

/// A data page in the store, behind its header.
struct Written {
    bytes: usize,
    rows: usize,
    encoding: Encoding,
}

impl ChunkWriter {
    /// A writer for the column, or none: then it is one for the parquet crate. `repeats`: values are worth a
    /// dictionary until it gets too large.
    pub(crate) fn new(
        data_type: &DataType,
        column: &ColumnDescPtr,
        repeats: bool,
        store: impl FnOnce() -> Store,
    ) -> Option<Self> {
        let values = values(data_type, column, repeats)?;
        let present = (column.max_def_level() > 0).then(|| BooleanBufferBuilder::new(0));
        Some(Self {
            column: column.clone(),
            values,
            interning: repeats,
            page: PageData { present, ..PageData::default() },
            store: store(),
            written: Vec::new(),
            uncompressed: 0,
            nulls: 0,
        })
    }

    /// Whether the dictionary has not become too large, or did so late: most rows are in it, and several share a value.
    pub(crate) fn repeats(&self) -> bool {
        let all: usize = self.written.iter().map(|page| page.rows).sum();
        let by_index = self.written.iter().filter(|page| page.encoding == Encoding::RLE_DICTIONARY);
        let by_index: usize = by_index.map(|page| page.rows).sum();
        self.interning || (by_index * 2 > all && by_index > self.values.entries() * 4)
    }

    pub(crate) fn memory_size(&self) -> usize {
        let page = &self.page;
        let present = page.present.as_ref().map_or(0, |present| present.capacity() / 8);
        let page = page.indices.capacity() * 2 + page.plain.capacity() + present;
        self.values.memory_size() + self.store.memory_size() + page
    }

    pub(crate) fn write(&mut self, array: &dyn Array, compressor: &mut Compressor) -> Result<()> {
        let mut row = 0;
        while row < array.len() {
            let rows = rows_of_page(array, row).min(PAGE_ROWS - self.page.rows);
            self.add(array.slice(row, rows).as_ref(), compressor)?;
            row += rows;
            if self.page.rows == PAGE_ROWS || self.page.plain.len() >= PAGE_BYTES {
                self.finish_page(compressor)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, rows: &dyn Array, compressor: &mut Compressor) -> Result<()> {
        if let Some(present) = &mut self.page.present {
            match rows.nulls() {
                Some(nulls) => present.append_buffer(nulls.inner()),
                None => present.append_n(rows.len(), true),
            }
        } else if rows.null_count() > 0 {
            return Err(ParquetError::General("a REQUIRED column holds NULL".to_owned()));
        }
        self.page.rows += rows.len();
        if !self.interning {
            return self.values.plain(rows, &mut self.page.plain);
        }
        self.values.intern(rows, &mut self.page.indices)?;
        if self.values.full() {
            self.finish_page(compressor)?;
            self.interning = false;
        }
        Ok(())
    }

    fn finish_page(&mut self, compressor: &mut Compressor) -> Result<()> {
        let PageData { rows, present, indices, plain } = &mut self.page;
        if *rows == 0 {
            return Ok(());
        }
        let mut body = Vec::new();
        if let Some(present) = present {
            let present = present.finish();
            let nulls = *rows - present.count_set_bits();
            self.nulls += nulls;
            runs::levels(present.values(), *rows, nulls, &mut body);
        }
        let (bytes, encoding) = if self.interning {
            runs::indices(indices, runs::width(self.values.entries()), &mut body);
            (&body, Encoding::RLE_DICTIONARY)
        } else if body.is_empty() {
            (&*plain, Encoding::PLAIN)
        } else {
            body.extend_from_slice(plain);
            (&body, Encoding::PLAIN)
        };
        let page = Page::DataPage {
            buf: compressor.compress(bytes)?,
            num_values: u32::try_from(*rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let uncompressed = bytes.len();
        plain.clear();
        indices.clear();
        let rows = std::mem::take(rows);
        let bytes = self.put(page, uncompressed)?;
        self.written.push(Written { bytes, rows, encoding });
        Ok(())
    }

    /// Bytes of the page, which is now in the store.
    fn put(&mut self, page: Page, uncompressed: usize) -> Result<usize> {
        let body = page.buffer().clone();
        let mut sink = TrackedWrite::new(Head(Vec::with_capacity(Head::MOST)));
        let spec =
            SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, uncompressed))?;
        sink.flush()?;
        let mut header = sink.into_inner()?.0;
        header.truncate(spec.compressed_size - body.len());
        self.uncompressed += spec.uncompressed_size;
        self.store.put(header.into())?;
        self.store.put(body)?;
        Ok(spec.compressed_size)
    }

    /// Appends the chunk to its row group.
    pub(crate) fn append_to<W: io::Write + Send>(
        mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        self.finish_page(compressor)?;
        let dictionary = self.put_dictionary(compressor)?;
        let close = self.close(dictionary, compressor.codec())?;
        let pages = self.written.len() * 2;
        let first = if dictionary > 0 { pages..pages + 2 } else { 0..0 };
        let order: Vec<usize> = first.chain(0..pages).collect();
        let reader = PageReader { store: self.store, order: order.into_iter(), page: Bytes::new() };
        group.append_column(&Pages(Mutex::new(Some(reader))), close)
    }

    /// Bytes of the dictionary page, none without dictionary.
    fn put_dictionary(&mut self, compressor: &mut Compressor) -> Result<usize> {
        if self.written.iter().all(|page| page.encoding == Encoding::PLAIN) {
            return Ok(0);
        }
        let mut body = Vec::new();
        self.values.dictionary(&mut body);
        let page = Page::DictionaryPage {
            buf: compressor.compress(&body)?,
            num_values: u32::try_from(self.values.entries())?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.put(page, body.len())
    }

    /// What the footer says of the chunk, as if it began at 0.
    fn close(&self, dictionary: usize, codec: Compression) -> Result<ColumnCloseResult> {
        let mut index = OffsetIndexBuilder::new();
        let mut encodings: Vec<PageEncodingStats> = Vec::new();
        if dictionary > 0 {
            encodings.push(stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN));
        }
        let (mut offset, mut rows) = (dictionary, 0);
        for page in &self.written {
            index.append_offset_and_size(i64::try_from(offset)?, i32::try_from(page.bytes)?);
            index.append_row_count(i64::try_from(page.rows)?);
            (offset, rows) = (offset + page.bytes, rows + page.rows);
            match encodings.last_mut() {
                Some(last) if (last.page_type, last.encoding) == (PageType::DATA_PAGE, page.encoding) => {
                    last.count += 1;
                }
                _ => encodings.push(stats(PageType::DATA_PAGE, page.encoding)),
            }
        }
        // The dictionary knows all values unless some are plain.
        let distinct = self.written.iter().all(|page| page.encoding == Encoding::RLE_DICTIONARY);
        let distinct = distinct.then(|| u64::try_from(self.values.entries())).transpose()?;
        let used = encodings.iter().map(|pages| pages.encoding).chain([Encoding::RLE]);
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(codec)
            .set_encodings(used.collect())
            .set_page_encoding_stats(encodings.clone())
            .set_total_compressed_size(i64::try_from(offset)?)
            .set_total_uncompressed_size(i64::try_from(self.uncompressed)?)
            .set_num_values(i64::try_from(rows)?)
            .set_data_page_offset(i64::try_from(dictionary)?)
            .set_dictionary_page_offset((dictionary > 0).then_some(0))
            .set_statistics(self.values.statistics(distinct, u64::try_from(self.nulls)?)?);
        Ok(ColumnCloseResult {
            bytes_written: u64::try_from(offset)?,
            rows_written: u64::try_from(rows)?,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(index.build()),
        })
    }
}

fn stats(page_type: PageType, encoding: Encoding) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count: 1 }
}

/// Rows from `row` on that a page takes: all, or of texts as many as fill its bytes, but one.
fn rows_of_page(array: &dyn Array, row: usize) -> usize {
    let rest = array.len() - row;
    let Some((offsets, ..)) = texts::parts(array) else { return rest };
    let offsets = &offsets[row..];
    let start = offsets[0].as_usize();
    let fit = offsets.partition_point(|end| end.as_usize() - start <= PAGE_BYTES);
    (fit - 1).clamp(1, rest)
}

/// Keeps the beginning of what is written: the header of a page, of which the caller has the rest.
struct Head(Vec<u8>);

impl Head {
    /// More than a header without statistics has.
    const MOST: usize = 256;
}

impl io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = Self::MOST - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A finished chunk, to be read once.
struct Pages(Mutex<Option<PageReader>>);

impl Length for Pages {
    fn len(&self) -> u64 {
        0
    }
}

impl ChunkReader for Pages {
    type T = PageReader;

    fn get_read(&self, _: u64) -> Result<PageReader> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.ok_or_else(|| ParquetError::General("a column chunk was asked for twice".to_owned()))
    }

    fn get_bytes(&self, _: u64, _: usize) -> Result<Bytes> {
        Err(ParquetError::NYI("pages are read one after the other".to_owned()))
    }
}

struct PageReader {
    store: Store,
    order: std::vec::IntoIter<usize>,
    page: Bytes,
}

impl Read for PageReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.page.is_empty() {
            let Some(next) = self.order.next() else { return Ok(0) };
            let key = PageKey::new(u64::try_from(next).map_err(io::Error::other)?);
            self.page = self.store.take(key)?;
        }
        let length = out.len().min(self.page.len());
        self.page.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
