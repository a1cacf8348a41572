//! A Parquet file, row group by row group.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::chunk::ChunkWriter;
use crate::compress::Compressor;
use crate::dictionary::repeat;
use crate::integers;
use crate::spill::SpillFactory;

/// Writes batches of one schema into a file.
pub(crate) struct GroupWriter {
    file: SerializedFileWriter<File>,
    schema: SchemaRef,
    /// Of each column whether its values repeat, as far as is known.
    repeats: Vec<bool>,
    /// What columns are written with that [`ChunkWriter`] does not take.
    factory: ArrowRowGroupWriterFactory,
    spill: Arc<SpillFactory>,
    compressor: Compressor,
    most_rows: usize,
    /// The row group that is being written.
    rows: usize,
    columns: Vec<Column>,
}

enum Column {
    Own(Box<ChunkWriter>),
    Crate(Vec<ArrowColumnWriter>),
}

impl GroupWriter {
    /// `first` is the batch that the file will begin with, if there is one; pages wait in `folder`.
    pub(crate) fn new(
        file: File,
        schema: SchemaRef,
        properties: WriterProperties,
        folder: PathBuf,
        first: Option<&RecordBatch>,
    ) -> Result<Self> {
        let repeats = first.map_or_else(|| vec![true; schema.fields().len()], repeat);
        let codec = properties.compression(&ColumnPath::from(Vec::new()));
        let most_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let spill = Arc::new(SpillFactory::new(folder));
        let options = ArrowWriterOptions::new()
            .with_properties(for_columns(properties, &schema, &repeats))
            .with_page_store_factory(Arc::clone(&spill) as _);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            file,
            schema,
            repeats,
            factory,
            spill,
            compressor: Compressor::new(codec)?,
            most_rows,
            rows: 0,
            columns: Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut row = 0;
        while row < batch.num_rows() {
            if self.rows == 0 {
                self.begin()?;
            }
            let rows = (batch.num_rows() - row).min(self.most_rows - self.rows);
            self.add(&batch.slice(row, rows))?;
            row += rows;
            self.rows += rows;
            if self.rows == self.most_rows {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let leaves = self.file.schema_descr();
        let mut writers =
            self.factory.create_column_writers(self.file.flushed_row_groups().len())?.into_iter();
        let mut leaf = 0;
        self.columns.clear();
        for (index, field) in self.schema.fields().iter().enumerate() {
            let first = leaf;
            while leaf < leaves.num_columns() && leaves.get_column_root_idx(leaf) == index {
                leaf += 1;
            }
            let others = writers.by_ref().take(leaf - first).collect();
            let repeats = self.repeats.get(index).is_none_or(|repeats| *repeats);
            let column = leaves.column(first);
            let own = ChunkWriter::new(field.data_type(), &column, repeats, || self.spill.store());
            self.columns.push(own.map_or(Column::Crate(others), |own| Column::Own(Box::new(own))));
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let fields = self.schema.fields().iter().zip(batch.columns());
        for ((field, array), column) in fields.zip(&mut self.columns) {
            match column {
                Column::Own(chunk) => chunk.write(array.as_ref(), &mut self.compressor)?,
                Column::Crate(writers) => {
                    for (leaf, writer) in compute_leaves(field, array)?.iter().zip(writers) {
                        writer.write(leaf)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the row group.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (column, repeats) in self.columns.drain(..).zip(&mut self.repeats) {
            match column {
                Column::Own(chunk) => {
                    *repeats = chunk.repeats();
                    chunk.append_to(&mut group, &mut self.compressor)?;
                }
                Column::Crate(writers) => {
                    for writer in writers {
                        writer.close()?.append_to_row_group(&mut group)?;
                    }
                }
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Bytes on the heap for the row group that is being written.
    pub(crate) fn memory_size(&self) -> usize {
        let column = |column: &Column| match column {
            Column::Own(chunk) => chunk.memory_size(),
            Column::Crate(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
        };
        self.columns.iter().map(column).sum()
    }

    /// Bytes of the finished pages of the row group that is being written, wherever they wait.
    pub(crate) fn encoded(&self) -> usize {
        self.spill.bytes()
    }

    /// Bytes of the row groups that have ended.
    pub(crate) fn bytes_written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Ends the file, which has to be synced yet.
    pub(crate) fn finish(mut self) -> Result<File> {
        self.flush()?;
        self.file.into_inner()
    }
}

/// Columns that are left to the parquet crate because they hardly repeat get no dictionary, and integers are
/// packed as differences.
fn for_columns(properties: WriterProperties, schema: &SchemaRef, repeats: &[bool]) -> WriterProperties {
    let mut properties = properties.into_builder();
    for (field, repeats) in schema.fields().iter().zip(repeats) {
        let column = ColumnPath::from(vec![field.name().clone()]);
        let integers = integers::stored_as(field.data_type()).is_some();
        if integers || !repeats {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if integers {
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

#[cfg(test)]
mod tests;
