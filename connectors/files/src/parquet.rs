//! Parquet files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::basic::{Compression, LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::schema::types::Type;
use transload_core::batch::BATCH_ROWS;
use transload_core::schema::{ColumnSchema, Extension, TableRef, TableSchema};
use transload_core::{Error, Result};

use crate::error::{io_error, parquet_error};

/// A Parquet file whose footer was read.
#[derive(Debug, Clone)]
pub(crate) struct ParquetTable {
    metadata: ArrowReaderMetadata,
    columns: Vec<ColumnSchema>,
}

impl ParquetTable {
    /// Reads the footer of a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| io_error("open", path, error))?;
        let wrong = |error: ParquetError| parquet_error(path, error);
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(wrong)?;
        let chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
        if let Some(codec) = chunks.map(|chunk| chunk.compression()).find(|codec| !readable(*codec)) {
            return Err(Error::unsupported(format!("{} is compressed with {codec}", path.display()))
                .with("path", path.display())
                .hint("write the file again with Snappy or Zstandard"));
        }
        let schema = metadata.schema();
        let plain: Fields = schema.fields().iter().map(|field| plain_field(field)).collect();
        let metadata = if &plain == schema.fields() {
            metadata
        } else {
            let schema = Arc::new(Schema::new_with_metadata(plain, schema.metadata().clone()));
            let options = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(wrong)?
        };
        let types = metadata.parquet_schema().root_schema().get_fields();
        let fields = metadata.schema().fields();
        let columns: Vec<_> = fields.iter().zip(types).map(|(field, own)| column(field, own)).collect();
        for (at, column) in columns.iter().enumerate() {
            if columns[..at].iter().any(|other| other.name == column.name) {
                return Err(Error::data(format!("{} has two columns `{}`", path.display(), column.name))
                    .with("path", path.display())
                    .hint("write the file again with distinct names"));
            }
        }
        Ok(Self { metadata, columns })
    }

    /// Number of rows, from the footer.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Compressed bytes of every row group.
    pub(crate) fn group_bytes(&self) -> Vec<u64> {
        let groups = self.metadata.metadata().row_groups();
        groups.iter().map(|group| u64::try_from(group.compressed_size()).unwrap_or(0)).collect()
    }

    pub(crate) fn schema(&self, table: TableRef) -> TableSchema {
        let mut schema = TableSchema::new(table, self.columns.clone());
        schema.rows_estimate = Some(self.rows());
        schema
    }

    /// Whether batches of both files fit one table.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let same = |(a, b): (&ColumnSchema, &ColumnSchema)| {
            a.name == b.name && a.data_type == b.data_type && a.extension == b.extension
        };
        self.columns.len() == other.columns.len() && self.columns.iter().zip(&other.columns).all(same)
    }

    /// Reads row groups. `fields` are positions in the file's schema, `schema` is theirs.
    pub(crate) fn read(
        &self,
        path: &Path,
        groups: Vec<usize>,
        fields: &[usize],
        schema: SchemaRef,
        batch_bytes: usize,
    ) -> Result<ParquetReader> {
        self.read_selected(path, groups, fields, schema, batch_bytes, None)
    }

    /// Up to `rows` rows of one row group, from many places of it.
    pub(crate) fn sample(
        &self,
        path: &Path,
        group: usize,
        fields: &[usize],
        schema: SchemaRef,
        (rows, batch_bytes): (usize, usize),
    ) -> Result<ParquetReader> {
        let held = self.metadata.metadata().row_groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        let held = usize::try_from(held).unwrap_or(0);
        let parts = rows.clamp(1, SAMPLE_PARTS);
        let (step, take) = (held / parts, rows / parts);
        let selection = (take > 0 && take < step).then(|| {
            let part = || [RowSelector::select(take), RowSelector::skip(step - take)];
            RowSelection::from((0..parts).flat_map(|_| part()).collect::<Vec<_>>())
        });
        self.read_selected(path, vec![group], fields, schema, batch_bytes, selection)
    }

    fn read_selected(
        &self,
        path: &Path,
        groups: Vec<usize>,
        fields: &[usize],
        schema: SchemaRef,
        batch_bytes: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetReader> {
        let file = File::open(path).map_err(|error| io_error("open", path, error))?;
        let count = self.metadata.metadata().num_row_groups();
        if let Some(group) = groups.iter().find(|group| **group >= count) {
            return Err(Error::config(format!("{} has no row group {group}", path.display()))
                .hint("plan the splits again: this one belongs to another file"));
        }
        let batch_rows = self.batch_rows(&groups, fields, batch_bytes);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), fields.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(batch_rows);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(|error| parquet_error(path, error))?;
        // The reader keeps the file's order: find each wished field in it.
        let mut sorted = fields.to_vec();
        sorted.sort_unstable();
        let order = fields.iter().filter_map(|field| sorted.binary_search(field).ok()).collect();
        Ok(ParquetReader { reader, order, schema, path: path.into() })
    }

    /// Rows that make about `batch_bytes` bytes, by the mean size of the wished columns.
    fn batch_rows(&self, groups: &[usize], fields: &[usize], batch_bytes: usize) -> usize {
        let metadata = self.metadata.metadata();
        let parquet = self.metadata.parquet_schema();
        let (mut bytes, mut rows, mut most) = (0_i64, 0_i64, BATCH_ROWS);
        for group in groups.iter().filter_map(|group| metadata.row_groups().get(*group)) {
            rows += group.num_rows();
            for (leaf, column) in group.columns().iter().enumerate() {
                if !fields.contains(&parquet.get_column_root_idx(leaf)) {
                    continue;
                }
                let decoded = decoded_bytes(column);
                if decoded.is_none() && column.dictionary_page_offset().is_some() {
                    // Every row may repeat the longest value of the dictionary.
                    most = BLIND_ROWS;
                }
                bytes = bytes.saturating_add(decoded.unwrap_or_else(|| column.uncompressed_size()));
            }
        }
        let mean = usize::try_from(bytes / rows.max(1)).unwrap_or(1).max(1);
        (batch_bytes / mean).clamp(1, most)
    }
}

/// Rows of a batch where the file does not tell how large its values are.
const BLIND_ROWS: usize = 4096;

/// Places of a row group that a sample comes from.
const SAMPLE_PARTS: usize = 32;

/// What a column chunk takes in memory, if the file tells: pages hold repeated values only once.
fn decoded_bytes(column: &ColumnChunkMetaData) -> Option<i64> {
    let width = match column.column_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => i64::from(column.column_descr().type_length()),
        PhysicalType::BYTE_ARRAY => {
            let values = column.unencoded_byte_array_data_bytes()?;
            return Some(values.saturating_add(column.num_values().saturating_mul(4)));
        }
    };
    Some(column.num_values().saturating_mul(width))
}

/// Whether the codec is compiled in. Asked when a file is opened, so that no read fails half way.
fn readable(codec: Compression) -> bool {
    matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_))
}

/// Types that the engine does not use inside: views, large and dictionary forms become the plain ones.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(item) => DataType::List(Arc::new(plain_field(item))),
        DataType::LargeList(item) => DataType::LargeList(Arc::new(plain_field(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| plain_field(field)).collect()),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(plain_field(entries)), *sorted),
        other => other.clone(),
    }
}

fn plain_field(field: &Field) -> Field {
    field.clone().with_data_type(plain(field.data_type()))
}

fn column(field: &Field, own: &Type) -> ColumnSchema {
    let mut column = ColumnSchema::new(field.name(), type_text(own), field.data_type().clone());
    column.nullable = field.is_nullable();
    column.extension = match (own.get_basic_info().logical_type_ref(), field.data_type()) {
        (Some(LogicalType::Uuid), DataType::FixedSizeBinary(16)) => Some(Extension::Uuid),
        (Some(LogicalType::Json), DataType::Utf8) => Some(Extension::Json),
        _ => None,
    };
    column
}

/// The file's own type, for example `INT64 (Timestamp(..))`.
fn type_text(own: &Type) -> String {
    let logical = own.get_basic_info().logical_type_ref();
    let physical = if own.is_primitive() { own.get_physical_type().to_string() } else { "GROUP".to_owned() };
    match logical {
        Some(logical) => format!("{physical} ({logical:?})"),
        None => physical,
    }
}

/// An iterator of batches over row groups of one file.
pub(crate) struct ParquetReader {
    reader: ParquetRecordBatchReader,
    order: Vec<usize>,
    schema: SchemaRef,
    path: Box<Path>,
}

impl Iterator for ParquetReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| parquet_error(&self.path, error.into())).and_then(|batch| {
            let columns = batch.project(&self.order)?.columns().to_vec();
            Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::{GzipLevel, ZstdLevel};

    #[test]
    fn codecs_that_are_compiled_in() {
        for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())]
        {
            assert!(readable(codec), "{codec}");
        }
        for codec in [Compression::GZIP(GzipLevel::default()), Compression::LZ4, Compression::LZ4_RAW] {
            assert!(!readable(codec), "{codec}");
        }
    }
}
