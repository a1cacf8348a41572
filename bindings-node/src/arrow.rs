//! Record batches to Arrow IPC bytes and back.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema};
use transload::{Error, Result};

/// First bytes of an Arrow IPC file (also known as Feather V2).
const FILE_MAGIC: &[u8] = b"ARROW1";

/// One batch as a complete Arrow IPC stream: schema, batch, end.
pub(crate) fn to_ipc(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut encoder = StreamEncoder::new(&batch.schema())?;
    encoder.write(batch)?;
    encoder.finish()
}

/// An Arrow IPC stream that grows: bytes are taken out as they are written.
pub(crate) struct StreamEncoder(StreamWriter<Vec<u8>>);

impl StreamEncoder {
    /// Begins a stream; its first bytes are the schema.
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        Ok(Self(StreamWriter::try_new(Vec::new(), schema)?))
    }

    /// Adds a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.0.write(batch)?)
    }

    /// The bytes written since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.0.get_mut())
    }

    /// Ends the stream and gives the bytes that were not taken yet.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.0.finish()?;
        Ok(self.take())
    }
}

/// Reads an Arrow IPC stream or file as one batch of at most `limit` rows, without dictionaries.
///
/// # Errors
/// `data` for bytes that are neither.
pub(crate) fn from_ipc(bytes: &[u8], limit: usize) -> Result<RecordBatch> {
    let read = if bytes.starts_with(FILE_MAGIC) {
        FileReader::try_new(Cursor::new(bytes), None).and_then(|reader| collect(reader, limit))
    } else {
        StreamReader::try_new(Cursor::new(bytes), None).and_then(|reader| collect(reader, limit))
    };
    read.and_then(|batch| without_dictionaries(&batch)).map_err(|error| {
        Error::data("the bytes are not a readable Arrow IPC stream or file")
            .source_error(error)
            .hint("give what apache-arrow's tableToIPC() returns")
    })
}

fn collect(reader: impl RecordBatchReader, limit: usize) -> Result<RecordBatch, ArrowError> {
    let schema = reader.schema();
    let (mut batches, mut rows) = (Vec::new(), 0);
    for batch in reader {
        if rows >= limit {
            break;
        }
        let batch = batch?;
        let batch = batch.slice(0, batch.num_rows().min(limit - rows));
        rows += batch.num_rows();
        batches.push(batch);
    }
    arrow_select::concat::concat_batches(&schema, &batches)
}

/// apache-arrow makes dictionaries of plain texts; sources never do, and the engine need not know them.
fn without_dictionaries(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        match field.data_type() {
            DataType::Dictionary(_, values) => {
                fields.push(Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())));
                columns.push(arrow_cast::cast(column, values)?);
            }
            _ => {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}
