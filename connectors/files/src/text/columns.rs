//! Columns of texts under construction: fields are copied straight from the block.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use transload_core::Result;

use super::Dialect;
use super::scan::Scan;

/// One column of a batch under construction.
#[derive(Debug)]
pub(crate) struct TextColumn {
    /// Position of the field in its record.
    field: usize,
    offsets: Vec<i32>,
    values: Vec<u8>,
    nulls: NullBufferBuilder,
    /// What the last batch took, as a guess for the next one.
    last: (usize, usize),
}

impl TextColumn {
    pub(crate) fn new(field: usize) -> Self {
        Self { field, offsets: vec![0], values: Vec::new(), nulls: NullBufferBuilder::new(0), last: (0, 0) }
    }

    /// Position of the field in its record.
    pub(crate) fn field(&self) -> usize {
        self.field
    }

    /// Bytes of all values so far.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len()
    }

    /// Appends a text that may be NULL.
    #[inline]
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.values.extend_from_slice(value);
        }
        self.end_value(value.is_some());
    }

    #[inline]
    fn end_value(&mut self, valid: bool) {
        // A column of a batch stays far below 2 GiB; `finish` refuses it if not.
        self.offsets.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
        self.nulls.append(valid);
    }

    /// Appends this column's fields of the records that a scan found.
    pub(crate) fn append(&mut self, block: &[u8], scan: &Scan, dialect: &Dialect, width: usize) {
        let fields = Fields { block, scan, field: self.field, width };
        if scan.quoted {
            for range in fields.iter() {
                self.push_quoted(&block[range], dialect);
            }
        } else if dialect.null_values.is_empty() {
            for range in fields.iter() {
                self.push_plain(block, range);
            }
        } else {
            for range in fields.iter() {
                self.push(dialect.value(&block[range]));
            }
        }
    }

    /// Most fields are short: copying a fixed number of bytes and cutting the surplus off needs no call.
    #[inline]
    fn push_plain(&mut self, block: &[u8], range: std::ops::Range<usize>) {
        const SHORT: usize = 16;
        let length = range.len();
        match block.get(range.start..range.start + SHORT) {
            Some(wide) if length <= SHORT => {
                let before = self.values.len();
                self.values.extend_from_slice(wide);
                self.values.truncate(before + length);
            }
            _ => self.values.extend_from_slice(&block[range]),
        }
        self.end_value(length > 0);
    }

    fn push_quoted(&mut self, raw: &[u8], dialect: &Dialect) {
        match (raw, dialect.quote) {
            ([first, inner @ .., last], Some(quote)) if *first == quote && *last == quote => {
                let mut rest = inner;
                // Only doubled quotes are left inside: keep the first of each pair.
                while let Some(at) = memchr::memchr(quote, rest) {
                    self.values.extend_from_slice(&rest[..=at]);
                    rest = rest.get(at + 2..).unwrap_or_default();
                }
                self.values.extend_from_slice(rest);
                self.end_value(true);
            }
            _ => self.push(dialect.value(raw)),
        }
    }

    /// The column as an array; the builder is empty again.
    ///
    /// The texts are checked once more as UTF-8 here, because Arrow trusts its arrays without looking.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        self.last = (self.offsets.len(), self.values.len());
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(self.last.0));
        self.offsets.push(0);
        let room = self.last.1 + self.last.1 / 16;
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        let nulls = self.nulls.finish();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(values), nulls)?))
    }
}

/// The ranges of one field in all records of a scan.
struct Fields<'a> {
    block: &'a [u8],
    scan: &'a Scan,
    field: usize,
    width: usize,
}

impl Fields<'_> {
    fn iter(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (block, field) = (self.block, self.field);
        let last = field + 1 == self.width;
        self.scan.ends.chunks_exact(self.width).zip(&self.scan.starts).map(move |(ends, start)| {
            let start = if field == 0 { *start as usize } else { ends[field - 1] as usize + 1 };
            let mut end = ends[field] as usize;
            if last && end > start && block[end - 1] == b'\r' {
                end -= 1;
            }
            start..end
        })
    }
}
