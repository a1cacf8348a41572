//! Reading a table piece by piece, as far as JavaScript asks.

use std::fmt;

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use transload::connector::ReadPlan;
use transload::schema::TableRef;
use transload::{Connection, Result, TableStream};

use crate::REGISTRY;
use crate::arrow::{StreamEncoder, to_ipc};
use crate::error::Throw as _;

/// A read that begins with the first piece asked for. Nothing is read ahead of the connector's own buffers.
#[napi(js_name = "TableReader")]
pub struct NativeReader {
    connection: Connection,
    table: TableRef,
    plan: ReadPlan,
    state: Mutex<State>,
    closed: CancellationToken,
}

impl fmt::Debug for NativeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeReader").field("table", &self.table).finish_non_exhaustive()
    }
}

enum State {
    New,
    Open(Box<TableStream>),
    Encoding(Box<TableStream>, Box<StreamEncoder>),
    Done,
}

impl NativeReader {
    pub(crate) fn new(connection: Connection, table: TableRef, plan: ReadPlan) -> Self {
        let (state, closed) = (Mutex::new(State::New), CancellationToken::new());
        Self { connection, table, plan, state, closed }
    }

    async fn open(&self) -> Result<Box<TableStream>> {
        Ok(Box::new(REGISTRY.read(&self.connection, &self.table, &self.plan).await?))
    }

    /// Whatever goes wrong, and at the end, the stream is dropped: the state stays `Done`.
    async fn batch(&self) -> Result<Option<Vec<u8>>> {
        let mut state = self.state.lock().await;
        let mut stream = match std::mem::replace(&mut *state, State::Done) {
            State::New => self.open().await?,
            State::Open(stream) => stream,
            State::Encoding(..) | State::Done => return Ok(None),
        };
        let Some(batch) = stream.next().await? else { return Ok(None) };
        let bytes = to_ipc(&batch)?;
        *state = State::Open(stream);
        Ok(Some(bytes))
    }

    async fn chunk(&self) -> Result<Option<Vec<u8>>> {
        let mut state = self.state.lock().await;
        let (stream, encoder, bytes) = match std::mem::replace(&mut *state, State::Done) {
            State::New => {
                let stream = self.open().await?;
                let mut encoder = Box::new(StreamEncoder::new(stream.schema())?);
                let bytes = encoder.take();
                (stream, encoder, bytes)
            }
            State::Encoding(mut stream, mut encoder) => {
                let Some(batch) = stream.next().await? else { return encoder.finish().map(Some) };
                encoder.write(&batch)?;
                let bytes = encoder.take();
                (stream, encoder, bytes)
            }
            State::Open(_) | State::Done => return Ok(None),
        };
        *state = State::Encoding(stream, encoder);
        Ok(Some(bytes))
    }
}

#[napi]
impl NativeReader {
    /// The next batch as a complete Arrow IPC stream, or `None` at the end and after [`Self::close`].
    ///
    /// # Errors
    /// Those of the source.
    #[napi]
    pub async fn next_batch(&self) -> napi::Result<Option<Buffer>> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Ok(None),
            bytes = self.batch() => Ok(bytes.or_throw()?.map(Buffer::from)),
        }
    }

    /// The next bytes of one Arrow IPC stream of all batches, or `None` at the end and after
    /// [`Self::close`].
    ///
    /// # Errors
    /// Those of the source.
    #[napi]
    pub async fn next_chunk(&self) -> napi::Result<Option<Buffer>> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Ok(None),
            bytes = self.chunk() => Ok(bytes.or_throw()?.map(Buffer::from)),
        }
    }

    /// Stops the read at the source, also in the middle of a batch.
    #[napi]
    pub async fn close(&self) {
        self.closed.cancel();
        *self.state.lock().await = State::Done;
    }
}
