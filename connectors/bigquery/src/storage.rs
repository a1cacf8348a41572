//! The Storage Read API: sessions and their streams.

use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::stream;
use google_cloud_bigquery::client::Read;
use google_cloud_bigquery::model::arrow_serialization_options::CompressionCodec;
use google_cloud_bigquery::model::read_rows_response::{Rows, Schema};
use google_cloud_bigquery::model::read_session::{TableModifiers, TableReadOptions};
use google_cloud_bigquery::model::{ArrowSerializationOptions, DataFormat, ReadSession};
use google_cloud_bigquery::read::Reader;
use google_cloud_bigquery::read::retry_policy::RetryableErrors;
use google_cloud_gax::retry_policy::RetryPolicyExt as _;
use transload_core::{BatchStream, Error, ErrorKind, Result};

use crate::connect::Client;
use crate::decode::{Chunks, Decoder};
use crate::error;
use crate::retry::{Renewing, Retry};

const WHAT: &str = "cannot read the table through the Storage API";

/// Attempts at a stream without a row in between: the client's own default.
const ATTEMPTS: u32 = 10;

/// A client of the Storage Read API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    read: Read,
    project: String,
    retry: Retry,
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// `projects/p/datasets/d/tables/t`.
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
    /// A condition in BigQuery's SQL.
    pub(crate) restriction: Option<String>,
    /// Microseconds since 1970 of the state to read; `None` for the newest.
    pub(crate) snapshot: Option<i64>,
    pub(crate) streams: usize,
}

impl Storage {
    /// Sets up the client; no request is made.
    ///
    /// # Errors
    /// `config` where only the other endpoint is an emulator's.
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        let endpoint = client.config.storage_base()?;
        if client.endpoint.is_overridden() && !endpoint.is_overridden() {
            return Err(Error::config("`endpoint` is set and `storage_endpoint` is not")
                .hint("rows are read through the Storage API: name its endpoint, too"));
        }
        if client.endpoint.is_tls() && !endpoint.is_tls() && !endpoint.is_local() {
            return Err(Error::config("credentials would be sent over plain HTTP to another machine")
                .with("option", "storage_endpoint")
                .hint("use an https endpoint"));
        }
        let read = Read::builder()
            .with_endpoint(endpoint.as_str())
            .with_credentials(client.auth.credentials())
            .build()
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Config, "cannot set up the client for the Storage API")
                    .source_error(error)
                    .hint("check `storage_endpoint` and the certificates that this machine trusts")
            })?;
        Ok(Self { read, project: client.project.clone(), retry: client.retry.clone() })
    }

    /// Opens a session and gives the names of its streams: none for a table without rows. It lives for six hours,
    /// whoever reads it.
    pub(crate) async fn open(&self, wanted: &Wanted) -> Result<Vec<String>> {
        // Batches shrink to a half or less, at a speed that no network reaches.
        let arrow = ArrowSerializationOptions::new().set_buffer_compression(CompressionCodec::Lz4Frame);
        let options = TableReadOptions::new()
            .set_selected_fields(&wanted.columns)
            .set_row_restriction(wanted.restriction.clone().unwrap_or_default())
            .set_arrow_serialization_options(arrow);
        let mut session = ReadSession::new()
            .set_table(&wanted.table)
            .set_data_format(DataFormat::Arrow)
            .set_read_options(options);
        if let Some(micros) = wanted.snapshot {
            session = session.set_table_modifiers(TableModifiers::new().set_snapshot_time(at(micros)));
        }
        let request = self
            .read
            .create_read_session()
            .set_parent(format!("projects/{}", self.project))
            .set_read_session(session)
            .set_max_stream_count(i32::try_from(wanted.streams.max(1)).unwrap_or(i32::MAX));
        let mut tries = self.retry.begin();
        loop {
            match Box::pin(request.clone().send()).await {
                Ok(opened) => return Ok(opened.streams.into_iter().map(|stream| stream.name).collect()),
                Err(failure) => {
                    tries.after(error::of_storage(WHAT, failure).with("table", &wanted.table)).await?;
                }
            }
        }
    }

    /// Reads a stream from its beginning; a connection that breaks is taken up again at the row behind the last
    /// one that arrived.
    pub(crate) fn stream(&self, name: &str) -> Messages {
        let reader = self.read.read_rows().set_read_stream(name).into_reader();
        let policy = RetryableErrors.with_attempt_limit(ATTEMPTS);
        Messages { reader: reader.with_retry_policy(Renewing::new(policy, self.retry.clone())) }
    }

    /// The rows of a stream as batches of `schema`, of about `bytes` bytes, `limit` rows at most.
    pub(crate) fn batches(
        &self,
        name: &str,
        schema: SchemaRef,
        bytes: usize,
        limit: Option<u64>,
    ) -> BatchStream {
        let chunks = Chunks::new(SchemaRef::clone(&schema), bytes);
        let left = limit.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(usize::MAX);
        let state = Reading {
            messages: self.stream(name),
            decoder: None,
            schema,
            chunks,
            ready: Vec::new().into_iter(),
            left,
            done: false,
        };
        Box::pin(stream::unfold(state, |mut state| async move {
            let next = state.next().await.transpose()?;
            state.done |= next.is_err();
            Some((next, state))
        }))
    }
}

/// A point in time as the API wants it.
fn at(micros: i64) -> google_cloud_wkt::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    google_cloud_wkt::Timestamp::clamp(micros.div_euclid(1_000_000), nanos)
}

fn out_of_protocol(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the Storage API answered out of protocol: {what}"))
        .hint("check `storage_endpoint` and proxies on the way")
}

/// What a stream sends.
#[derive(Debug)]
pub(crate) struct Messages {
    reader: Reader,
}

/// A batch that is not decoded yet.
#[derive(Debug)]
pub(crate) struct Message {
    /// The schema, which the first message of a connection brings.
    pub(crate) schema: Option<Bytes>,
    pub(crate) batch: Bytes,
    pub(crate) rows: i64,
}

impl Messages {
    /// The next message; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>> {
        let Some(answer) = self.reader.next().await else { return Ok(None) };
        let answer = answer.map_err(|error| error::of_storage(WHAT, error))?;
        let schema = match answer.schema {
            Some(Schema::ArrowSchema(schema)) => Some(schema.serialized_schema),
            _ => None,
        };
        match answer.rows {
            Some(Rows::ArrowRecordBatch(batch)) => {
                Ok(Some(Message { schema, batch: batch.serialized_record_batch, rows: answer.row_count }))
            }
            _ => Err(out_of_protocol("rows that are not Arrow")),
        }
    }
}

/// A stream on its way to batches.
#[derive(Debug)]
struct Reading {
    messages: Messages,
    decoder: Option<Decoder>,
    schema: SchemaRef,
    chunks: Chunks,
    ready: std::vec::IntoIter<arrow_array::RecordBatch>,
    /// Rows that are still wanted.
    left: usize,
    done: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<arrow_array::RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.next() {
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            let message = if self.left > 0 { self.messages.next().await? } else { None };
            let pieces = match message {
                None => {
                    self.done = true;
                    self.chunks.take()?
                }
                Some(message) => {
                    let batch = decode(&mut self.decoder, &message, &self.schema)?;
                    let batch = batch.slice(0, batch.num_rows().min(self.left));
                    self.left -= batch.num_rows();
                    self.chunks.push(batch)?
                }
            };
            self.ready = pieces.into_iter();
        }
    }
}

/// Decodes a message, with the decoder that the first one of a stream makes.
pub(crate) fn decode(
    decoder: &mut Option<Decoder>,
    message: &Message,
    schema: &SchemaRef,
) -> Result<arrow_array::RecordBatch> {
    if decoder.is_none() {
        let sent = message.schema.as_ref().filter(|sent| !sent.is_empty());
        let sent = sent.ok_or_else(|| out_of_protocol("a stream that begins without a schema"))?;
        *decoder = Some(Decoder::new(sent, SchemaRef::clone(schema))?);
    }
    let Some(decoder) = decoder else { return Err(out_of_protocol("no schema")) };
    let batch = decoder.batch(&message.batch)?;
    // A reader goes on behind the rows that were announced: more or fewer would be lost or doubled.
    if i64::try_from(batch.num_rows()).is_ok_and(|rows| rows == message.rows) {
        return Ok(batch);
    }
    Err(out_of_protocol("a batch of another number of rows than announced"))
}
