//! Rows that are located first and decoded a block at a time.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_core::Result;

use super::{Field, Fields};

/// Fields that are located before they are decoded: as many as stay in the second-level cache together with their
/// bytes.
const BLOCK: usize = 8192;

/// The values of one column of the batch being read.
pub trait Column {
    /// Adds the column's fields of some rows.
    ///
    /// # Errors
    /// `data` for a field that is no value of the column.
    fn extend(&mut self, fields: Fields<'_>) -> Result<()>;

    /// The values as an array; the column is empty afterwards.
    ///
    /// # Errors
    /// `data` for values that together are no array of the column's type, such as broken text.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// See the module. Fields stand in bytes that only the caller has: [`Self::decode`] must come before these go away.
#[derive(Debug)]
pub struct Rows<C> {
    schema: SchemaRef,
    columns: Vec<C>,
    /// Fields that were located and not yet decoded, row by row.
    fields: Vec<Field>,
    /// How many of them belong to rows that are whole.
    whole: usize,
    /// Whether one of them is NULL.
    nulls: bool,
    rows: usize,
    bytes: usize,
    batch_rows: usize,
    batch_bytes: usize,
}

impl<C: Column> Rows<C> {
    /// No rows yet. A batch is full with so many rows, or so many bytes as [`Self::count`] was told of.
    #[must_use]
    pub fn new(schema: SchemaRef, columns: Vec<C>, batch_rows: usize, batch_bytes: usize) -> Self {
        let fields = Vec::with_capacity(BLOCK);
        Self { schema, columns, fields, whole: 0, nulls: false, rows: 0, bytes: 0, batch_rows, batch_bytes }
    }

    /// How many columns there are.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Whether enough is together for a batch.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= self.batch_bytes
    }

    /// Says that the rows take so many bytes more.
    #[inline]
    pub fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// The next field of the row that is being located.
    #[inline]
    pub fn locate(&mut self, start: usize, length: usize) {
        self.fields.push(Field::new(start, length));
    }

    /// The next field is NULL.
    #[inline]
    pub fn locate_null(&mut self) {
        self.fields.push(Field::NULL);
        self.nulls = true;
    }

    /// All fields of the row are located; decodes a block that is full.
    ///
    /// # Errors
    /// As [`Self::decode`].
    #[inline]
    pub fn end_row(&mut self, bytes: &[u8]) -> Result<()> {
        self.rows += 1;
        self.whole = self.fields.len();
        if self.fields.len() >= BLOCK { self.decode(bytes) } else { Ok(()) }
    }

    /// Forgets the fields of a row that turned out not to be whole.
    pub fn undo_row(&mut self) {
        self.fields.truncate(self.whole);
    }

    /// Decodes what was located in these bytes.
    ///
    /// # Errors
    /// Those of the columns.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<()> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let count = self.columns.len();
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.extend(Fields::new(bytes, &self.fields, index, count, self.nulls))?;
        }
        self.fields.clear();
        self.whole = 0;
        self.nulls = false;
        Ok(())
    }

    /// The rows that were decoded as a batch, if there are any.
    ///
    /// # Errors
    /// Those of the columns.
    pub fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(C::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(Some(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::UInt8Type;
    use arrow_array::{Array as _, UInt8Array};
    use arrow_buffer::NullBufferBuilder;
    use arrow_schema::{DataType, Field as ArrowField, Schema};
    use std::sync::Arc;
    use transload_core::Error;

    struct Bytes(Vec<u8>, NullBufferBuilder);

    impl Column for Bytes {
        fn extend(&mut self, fields: Fields<'_>) -> Result<()> {
            fields.append_validity(&mut self.1, &[]);
            fields.fixed(&mut self.0, |[byte]| Ok(byte)).map_err(Error::data)
        }

        fn finish(&mut self) -> Result<ArrayRef> {
            Ok(super::super::primitive::<UInt8Type>(std::mem::take(&mut self.0), self.1.finish()))
        }
    }

    fn rows(columns: usize, batch_rows: usize) -> Rows<Bytes> {
        let fields: Vec<_> = (0..columns).map(|_| ArrowField::new("c", DataType::UInt8, true)).collect();
        let columns = (0..columns).map(|_| Bytes(Vec::new(), NullBufferBuilder::new(0))).collect();
        Rows::new(Arc::new(Schema::new(fields)), columns, batch_rows, 1000)
    }

    #[test]
    fn rows_over_several_blocks() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut rows = rows(2, 20_000);
        for row in 0..20_000 {
            rows.locate(row % 256, 1);
            if row % 7 == 0 {
                rows.locate_null()
            } else {
                rows.locate(row % 100, 1)
            }
            rows.end_row(&bytes).unwrap();
        }
        assert!(rows.is_full());
        rows.decode(&bytes).unwrap();
        let batch = rows.take().unwrap().unwrap();
        let column =
            |index: usize| batch.column(index).as_any().downcast_ref::<UInt8Array>().unwrap().clone();
        let (first, second) = (column(0), column(1));
        assert_eq!((batch.num_rows(), first.null_count(), second.null_count()), (20_000, 0, 2858));
        assert!((0..20_000).all(|row| usize::from(first.value(row)) == row % 256));
        assert!((0..20_000).all(|row| row % 7 == 0 || usize::from(second.value(row)) == row % 100));
        assert_eq!(rows.take().unwrap(), None);
    }

    #[test]
    fn a_row_that_is_not_whole_is_undone_and_batches_have_a_size() {
        let mut rows = rows(3, 10);
        for _ in 0..3 {
            rows.locate(0, 1);
        }
        rows.end_row(b"x").unwrap();
        for fields in 1..=3 {
            (0..fields).for_each(|_| rows.locate_null());
            rows.undo_row();
        }
        rows.decode(b"x").unwrap();
        assert!(!rows.is_full());
        rows.count(1000);
        assert!(rows.is_full());
        assert_eq!(rows.take().unwrap().unwrap().num_rows(), 1);
        assert!(!rows.is_full());
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let mut rows = rows(0, 10);
        rows.end_row(b"").unwrap();
        rows.undo_row();
        rows.decode(b"").unwrap();
        assert_eq!(rows.take().unwrap().unwrap().num_rows(), 1);
    }
}
