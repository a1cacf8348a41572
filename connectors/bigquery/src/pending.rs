//! The second way in: batches as Arrow through the Storage Write API, into a pending stream of the staging table.
//!
//! Rows of a pending stream are invisible until the stream is finalised and committed. Offsets make appends
//! repeatable: what is at an offset already is answered with "already exists", and a gap is refused. The staging
//! table is counted again by the commit's script, so nothing here is trusted twice.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use google_cloud_bigquery::client::Write;
use google_cloud_bigquery::error::{AppendError, CommitError, WriterBuilderError};
use google_cloud_bigquery::model::{ArrowRecordBatch, ArrowSchema};
use google_cloud_bigquery::write::format::Arrow;
use google_cloud_bigquery::write::{AppendFuture, PendingWriter};
use google_cloud_gax::error::rpc::Code;
use tokio::sync::mpsc;
use transload_core::batch::split_by_bytes;
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::error;
use crate::load::{Load, Totals};
use crate::retry::Tries;

/// Bytes of rows in one request, about. BigQuery takes 20 MB and advises 1 MB or more; the emulator takes 4 MiB.
const REQUEST: usize = 2 << 20;
/// Requests on their way at the same time.
const WINDOW: usize = 4;
const WHAT: &str = "cannot append rows through the Storage Write API";

/// A request that is not acknowledged yet, and can be sent again.
struct Sent {
    offset: i64,
    rows: u64,
    batch: bytes::Bytes,
    answer: AppendFuture,
}

/// One pending stream.
struct Stream {
    client: Write,
    writer: PendingWriter<Arrow>,
    schema: ArrowSchema,
    sent: VecDeque<Sent>,
    next: i64,
    acknowledged: u64,
    tries: Tries,
}

/// Takes staged batches until there are no more, and answers once all are in the staging table.
pub(crate) async fn pipeline(load: Arc<Load>, mut batches: mpsc::Receiver<RecordBatch>) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut open: Option<(Stream, Encoder)> = None;
    while let Some(batch) = batches.recv().await {
        for piece in split_by_bytes(&batch, REQUEST) {
            let (stream, encoder) = match &mut open {
                Some(open) => open,
                None => {
                    load.ensure_staging().await?;
                    let encoder = Encoder::new(&load.stage_schema)?;
                    let stream = Stream::create(&load, encoder.schema.clone()).await?;
                    open.insert((stream, encoder))
                }
            };
            let rows = u64::try_from(piece.num_rows()).unwrap_or(u64::MAX);
            let encoded = encoder.encode(&piece)?;
            totals.rows += rows;
            totals.bytes += u64::try_from(encoded.len()).unwrap_or(u64::MAX);
            stream.append(encoded, rows).await.map_err(|error| load.explained(error))?;
        }
    }
    if let Some((stream, _)) = open {
        stream.finish(totals.rows).await.map_err(|error| load.explained(error))?;
    }
    Ok(totals)
}

/// Batches as the messages of Arrow's stream format: the schema once, then each batch by itself.
struct Encoder {
    writer: StreamWriter<Vec<u8>>,
    schema: bytes::Bytes,
}

impl Encoder {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        let schema = std::mem::take(writer.get_mut()).into();
        Ok(Self { writer, schema })
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<bytes::Bytes> {
        self.writer.write(batch)?;
        Ok(std::mem::take(self.writer.get_mut()).into())
    }
}

impl Stream {
    async fn create(load: &Load, schema: bytes::Bytes) -> Result<Self> {
        let client = load.client.storage_write().await?;
        let schema = ArrowSchema::new().set_serialized_schema(schema);
        let table = format!(
            "projects/{}/datasets/{}/tables/{}",
            load.client.project, load.staging_dataset, load.staging_table
        );
        let mut tries = load.client.retry.begin();
        let writer = loop {
            let created = client.create_stream(&table).build_arrow(schema.clone()).await;
            match created.map_err(of_builder) {
                Ok(writer) => break writer,
                // A table that was created a moment ago is not known everywhere at once.
                Err(failure) if failure.kind() == ErrorKind::NotFound => tries.again(failure).await?,
                Err(failure) => tries.after(failure).await?,
            }
        };
        tries.progress();
        Ok(Self { client, writer, schema, sent: VecDeque::new(), next: 0, acknowledged: 0, tries })
    }

    /// Sends rows; waits while too many requests are on their way.
    async fn append(&mut self, batch: bytes::Bytes, rows: u64) -> Result<()> {
        while self.sent.len() >= WINDOW {
            self.acknowledge().await?;
        }
        let offset = self.next;
        let answer = self.send(offset, &batch);
        self.next = i64::try_from(rows).ok().and_then(|rows| offset.checked_add(rows)).unwrap_or(i64::MAX);
        self.sent.push_back(Sent { offset, rows, batch, answer });
        Ok(())
    }

    fn send(&self, offset: i64, batch: &bytes::Bytes) -> AppendFuture {
        let rows = ArrowRecordBatch::new().set_serialized_record_batch(batch.clone());
        self.writer.append(rows).set_offset(offset).send()
    }

    /// Waits for the oldest answer. A connection that broke is opened again, and all that was not acknowledged is
    /// sent again at its own offsets.
    async fn acknowledge(&mut self) -> Result<()> {
        while let Some(oldest) = self.sent.front_mut() {
            let failure = match (&mut oldest.answer).await {
                Ok(_) => None,
                Err(failure) if has_code(&failure, Code::AlreadyExists) => None,
                Err(failure) => Some(failure),
            };
            let Some(failure) = failure else {
                self.acknowledged += oldest.rows;
                self.sent.pop_front();
                self.tries.progress();
                return Ok(());
            };
            // The server misses rows before these: they went down with a connection, and are sent again as well.
            let gap = has_code(&failure, Code::OutOfRange);
            let failure = of_append(failure);
            if gap {
                self.tries.again(failure).await?
            } else {
                self.tries.after(failure).await?
            }
            self.reconnect().await?;
        }
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        let name = self.writer.write_stream().to_owned();
        loop {
            match self.client.attach_to_stream(&name).build_arrow(self.schema.clone()).await {
                Ok(writer) => {
                    self.writer = writer;
                    break;
                }
                Err(failure) => self.tries.after(of_builder(failure)).await?,
            }
        }
        let mut sent = std::mem::take(&mut self.sent);
        for request in &mut sent {
            request.answer = self.send(request.offset, &request.batch);
        }
        self.sent = sent;
        Ok(())
    }

    /// Makes the rows of the stream part of the staging table.
    async fn finish(mut self, rows: u64) -> Result<()> {
        while !self.sent.is_empty() {
            self.acknowledge().await?;
        }
        let counted = loop {
            match self.writer.finalize().await {
                Ok(answer) => break answer.row_count,
                Err(failure) => self.tries.after(error::of_storage(WHAT, failure)).await?,
            }
        };
        if self.acknowledged != rows || u64::try_from(counted) != Ok(rows) {
            return Err(Error::new(
                ErrorKind::Data,
                "the stream holds another number of rows than were written",
            )
            .with("written", rows)
            .with("acknowledged", self.acknowledged)
            .with("counted", counted)
            .hint("nothing was committed; run the load again, and report this if it happens twice"));
        }
        self.tries.progress();
        let mut unclear = false;
        loop {
            match self.writer.commit().await {
                Ok(_) => return Ok(()),
                // A stream commits once. After a lost answer this is how a commit that arrived looks; the rows are
                // counted again before they reach the target.
                Err(CommitError::FailedTransaction { .. }) if unclear => return Ok(()),
                Err(CommitError::FailedTransaction { stream_errors, .. }) => {
                    let words: Vec<&str> = stream_errors.iter().map(|e| e.error_message.as_str()).collect();
                    return Err(Error::data("the stream of staged rows was not committed")
                        .with("answer", words.join("; "))
                        .hint("nothing was committed; run the load again"));
                }
                Err(CommitError::Rpc { source, .. }) => {
                    unclear = true;
                    self.tries.after(error::of_storage(WHAT, source)).await?;
                }
                Err(other) => {
                    return Err(
                        Error::internal("the stream of staged rows was not committed").source_error(other)
                    );
                }
            }
        }
    }
}

fn has_code(failure: &AppendError, code: Code) -> bool {
    matches!(failure, AppendError::Rpc { source, .. } if source.status().is_some_and(|s| s.code == code))
}

fn of_append(failure: AppendError) -> Error {
    match failure {
        AppendError::Rpc { source, .. } => error::of_storage(WHAT, source),
        AppendError::RowErrors { row_errors, status, .. } => {
            let words: Vec<String> = row_errors
                .iter()
                .take(3)
                .map(|row| format!("row {} of the request: {}", row.index, row.message))
                .collect();
            Error::data("BigQuery refused rows")
                .with("rows", row_errors.len())
                .with("answer", if words.is_empty() { status.message } else { words.join("; ") })
                .hint("map the column to a type that takes the value")
        }
        other => Error::new(ErrorKind::Unreachable, WHAT)
            .source_error(other)
            .hint("try again; if it stays, check the network and `storage_endpoint`"),
    }
}

fn of_builder(failure: WriterBuilderError) -> Error {
    match failure {
        WriterBuilderError::Rpc { source, .. } => error::of_storage(WHAT, source),
        other => Error::internal(WHAT).source_error(other),
    }
}

impl Client {
    /// A client of the Storage Write API; no request is made.
    ///
    /// # Errors
    /// `config` where only the other endpoint is an emulator's.
    async fn storage_write(&self) -> Result<Write> {
        let endpoint = self.config.storage_base()?;
        if self.endpoint.is_overridden() && !endpoint.is_overridden() {
            return Err(Error::config("`endpoint` is set and `storage_endpoint` is not")
                .hint("`load_method` is \"storage_write\": name the endpoint of the Storage API, too"));
        }
        if self.endpoint.is_tls() && !endpoint.is_tls() && !endpoint.is_local() {
            return Err(Error::config("credentials would be sent over plain HTTP to another machine")
                .with("option", "storage_endpoint")
                .hint("use an https endpoint"));
        }
        let client =
            Write::builder().with_endpoint(endpoint.as_str()).with_credentials(self.auth.credentials());
        client.build().await.map_err(|error| {
            Error::config("cannot set up the client of the Storage Write API")
                .source_error(error)
                .hint("check `storage_endpoint` and the certificates that this machine trusts")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_ipc::reader::StreamReader;
    use std::io::Cursor;

    #[test]
    fn messages_together_are_an_arrow_stream() {
        let batch = |from| {
            let ids = Arc::new(Int64Array::from_iter_values(from..from + 3)) as _;
            RecordBatch::try_from_iter([("c0", ids)]).unwrap()
        };
        let mut encoder = Encoder::new(&batch(0).schema()).unwrap();
        let first = encoder.encode(&batch(0)).unwrap();
        let second = encoder.encode(&batch(3)).unwrap();
        let stream = [encoder.schema.as_ref(), second.as_ref(), first.as_ref()].concat();
        let read: Vec<_> =
            StreamReader::try_new(Cursor::new(stream), None).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [batch(3), batch(0)]);
    }
}
