//! Batches to Parquet files in a form that BigQuery reads without guessing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use transload_core::schema::TargetColumn;
use transload_core::{Error, ErrorKind, Result};

use crate::convert;

/// Arrow schema of the staged rows.
pub(crate) fn stage_schema(staging: &[TargetColumn]) -> SchemaRef {
    Arc::new(Schema::new(staging.iter().map(|column| plain(&column.to_field())).collect::<Vec<_>>()))
}

/// Without metadata: Parquet would turn Arrow's extension types into annotations.
fn plain(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(Arc::new(plain(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|inner| plain(inner)).collect::<Fields>())
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}

/// A batch of the target's schema as staged rows. `first` numbers its first row where the order counts.
///
/// # Errors
/// `internal` where the batch has another schema than the one it was promised in.
pub(crate) fn stage(batch: &RecordBatch, schema: &SchemaRef, first: Option<i64>) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for (column, field) in columns.iter_mut().zip(schema.fields()) {
        *column = convert::stage_array(column, field)?;
    }
    if let Some(first) = first {
        let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        columns.push(Arc::new(Int64Array::from_iter_values(first..first.saturating_add(rows))));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| {
        Error::internal("a batch does not have the schema of its target table").source_error(error)
    })
}

/// A Parquet file that is being written.
pub(crate) struct PartWriter {
    writer: ArrowWriter<File>,
    path: PathBuf,
    rows: u64,
}

/// A finished Parquet file; it is deleted when dropped.
#[derive(Debug)]
pub(crate) struct PartFile {
    pub(crate) path: PathBuf,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // The folder around it is removed with the load at the latest.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl PartWriter {
    /// Opens a new file in `folder`, with row groups of about `row_group` encoded bytes. Blocks.
    pub(crate) fn create(folder: &Path, number: u64, schema: &SchemaRef, row_group: usize) -> Result<Self> {
        let path = folder.join(format!("part-{number}.parquet"));
        let file = File::create(&path).map_err(|error| disk(&error))?;
        let level = ZstdLevel::try_new(1).map_err(broken)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(None)
            .set_max_row_group_bytes(Some(row_group))
            // Lists get the standard's own field names.
            .set_coerce_types(true)
            .set_created_by(format!("transload {}", transload_core::VERSION))
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(schema), options).map_err(broken)?;
        Ok(Self { writer, path, rows: 0 })
    }

    /// Adds staged rows. Blocks.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(broken)?;
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Encoded bytes so far, on disk and in memory.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Closes the file. Blocks.
    pub(crate) fn finish(self) -> Result<PartFile> {
        let Self { writer, path, rows } = self;
        let file = writer.into_inner().map_err(broken)?;
        let bytes = file.metadata().map_err(|error| disk(&error))?.len();
        Ok(PartFile { path, rows, bytes })
    }
}

fn disk(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("a temporary file could not be written: {error}"))
        .retryable(false)
        .hint("free space in the temporary folder, or point TMPDIR to another one; `file_mib` limits file sizes")
}

fn broken(error: parquet::errors::ParquetError) -> Error {
    if let parquet::errors::ParquetError::External(inner) = &error
        && let Some(io) = inner.downcast_ref::<std::io::Error>()
    {
        return disk(io);
    }
    Error::internal("a Parquet file could not be written").source_error(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::StringArray;
    use transload_core::schema::{BigQueryType, Mode};

    fn columns() -> Vec<TargetColumn> {
        let column = |name: &str, data_type, mode| TargetColumn {
            name: name.to_owned(),
            data_type,
            mode,
            description: None,
        };
        vec![
            column("j", BigQueryType::Json, Mode::Required),
            column("n", BigQueryType::Int64, Mode::Nullable),
        ]
    }

    #[test]
    fn staged_rows_have_neutral_names_and_an_order() {
        let staging = crate::types::staging_columns(&columns(), true);
        let schema = stage_schema(&staging);
        let batch = RecordBatch::try_from_iter([
            ("j", Arc::new(StringArray::from(vec!["{}", "[]"])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![None, Some(2)])) as ArrayRef),
        ])
        .unwrap();
        let staged = stage(&batch, &schema, Some(41)).unwrap();
        assert_eq!(staged.schema().field(0), &Field::new("c0", DataType::Utf8, true));
        let order = staged.column(2).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(order.values(), &[41, 42]);
        let wrong = batch.project(&[1, 0]).unwrap();
        assert_eq!(stage(&wrong, &schema, Some(0)).unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn files_are_removed_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let schema = stage_schema(&crate::types::staging_columns(&columns()[1..], false));
        let mut part = PartWriter::create(folder.path(), 1, &schema, 1 << 20).unwrap();
        let rows = Int64Array::from_iter_values(0..1000);
        part.write(&RecordBatch::try_new(schema, vec![Arc::new(rows)]).unwrap()).unwrap();
        let file = part.finish().unwrap();
        assert_eq!((file.rows, file.bytes), (1000, std::fs::metadata(&file.path).unwrap().len()));
        let path = file.path.clone();
        drop(file);
        assert!(!path.exists());
    }
}
