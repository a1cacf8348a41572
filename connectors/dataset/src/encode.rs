//! Record batches to Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use transload_core::Result;

use crate::config::{Compression, DatasetConfig};
use crate::error::{io_error, parquet_error};
use crate::groups::GroupWriter;

/// How files are written.
#[derive(Debug, Clone)]
pub(crate) struct EncodeOptions {
    properties: WriterProperties,
    file_bytes: usize,
    /// A row group is finished when what it holds in memory passes this.
    group_bytes: usize,
    durable: bool,
}

/// Encoded bytes at which a row group is large enough to read well; more only costs memory.
const GROUP_BYTES: usize = 64 * 1024 * 1024;

/// Encoded bytes, on disk or on the heap, at which a row group ends, whatever its rows.
const GROUP_ENCODED: usize = 128 * 1024 * 1024;

impl EncodeOptions {
    pub(crate) fn new(config: &DatasetConfig, memory_budget: usize, encoders: usize) -> Self {
        let codec = match config.compression {
            Compression::Zstd => {
                Codec::ZSTD(ZstdLevel::try_new(config.compression_level).unwrap_or_default())
            }
            Compression::Snappy => Codec::SNAPPY,
            Compression::None => Codec::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(config.row_group_rows))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(format!("transload {}", transload_core::VERSION))
            .build();
        // The other half is for batches, and for what allocators keep of freed buffers.
        let group_bytes = (memory_budget / 2 / encoders.max(1)).clamp(4 * 1024 * 1024, GROUP_BYTES);
        Self { properties, file_bytes: config.file_bytes, group_bytes, durable: config.durable }
    }
}

/// A finished file.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Writes batches into part files of one folder.
pub(crate) struct PartWriter {
    options: EncodeOptions,
    schema: SchemaRef,
    folder: PathBuf,
    prefix: String,
    open: Option<(PathBuf, GroupWriter)>,
    parts: Vec<Part>,
}

impl PartWriter {
    /// Files are named `<prefix>-<number>.parquet`.
    pub(crate) fn new(options: EncodeOptions, schema: SchemaRef, folder: &Path, prefix: String) -> Self {
        Self { options, schema, folder: folder.to_owned(), prefix, open: None, parts: Vec::new() }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (file_bytes, group_bytes) = (self.options.file_bytes, self.options.group_bytes);
        let (path, writer) = self.writer(Some(batch))?;
        let failed = |error| parquet_error("write", &path, error);
        writer.write(batch).map_err(failed)?;
        if writer.memory_size() >= group_bytes || writer.encoded() >= GROUP_ENCODED.min(file_bytes) {
            writer.flush().map_err(failed)?;
        }
        if writer.bytes_written() >= file_bytes {
            self.finish_file()?;
        }
        Ok(())
    }

    /// The open file; `first` is the batch that it will begin with.
    fn writer(&mut self, first: Option<&RecordBatch>) -> Result<(PathBuf, &mut GroupWriter)> {
        if self.open.is_none() {
            let path = self.folder.join(format!("{}-{:03}.parquet", self.prefix, self.parts.len()));
            let file = File::create_new(&path).map_err(|error| io_error("create", &path, error))?;
            let properties = self.options.properties.clone();
            let writer = GroupWriter::new(file, self.schema.clone(), properties, self.folder.clone(), first)
                .map_err(|error| parquet_error("write", &path, error))?;
            self.open = Some((path, writer));
        }
        match &mut self.open {
            Some((path, writer)) => Ok((path.clone(), writer)),
            None => Err(transload_core::Error::internal("a part file is neither open nor closed")),
        }
    }

    fn finish_file(&mut self) -> Result<()> {
        let Some((path, writer)) = self.open.take() else { return Ok(()) };
        let file = writer.finish().map_err(|error| parquet_error("finish", &path, error))?;
        if self.options.durable {
            file.sync_all().map_err(|error| io_error("sync", &path, error))?;
        }
        let bytes = file.metadata().map_err(|error| io_error("measure", &path, error))?.len();
        self.parts.push(Part { path, bytes });
        Ok(())
    }

    /// Finishes the last file. With `at_least_one` there is a file even if no batch came.
    pub(crate) fn finish(mut self, at_least_one: bool) -> Result<Vec<Part>> {
        if at_least_one && self.parts.is_empty() {
            self.writer(None)?;
        }
        self.finish_file()?;
        Ok(self.parts)
    }
}
