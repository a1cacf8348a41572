//! Reading a table piece by piece, as far as JavaScript asks.

use std::fmt;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Buffer, PromiseRaw};
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
///
/// Promises share the read and never borrow `self`: a worker thread that ends frees its objects while their promises
/// are still worked at.
#[napi(js_name = "TableReader")]
#[derive(Debug)]
pub struct NativeReader(Arc<Read>);

struct Read {
    connection: Connection,
    table: TableRef,
    plan: ReadPlan,
    state: Mutex<State>,
    closed: CancellationToken,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("table", &self.table).finish_non_exhaustive()
    }
}

enum State {
    New,
    Open(Box<TableStream>),
    Encoding(Box<TableStream>, Box<StreamEncoder>),
    Done,
}

impl Read {
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

impl NativeReader {
    pub(crate) fn new(connection: Connection, table: TableRef, plan: ReadPlan) -> Self {
        let (state, closed) = (Mutex::new(State::New), CancellationToken::new());
        Self(Arc::new(Read { connection, table, plan, state, closed }))
    }

    /// A promise of a piece, or of none once the read is closed.
    fn piece<'env, F>(
        &self,
        env: &'env Env,
        piece: impl FnOnce(Arc<Read>) -> F,
    ) -> napi::Result<PromiseRaw<'env, Option<Buffer>>>
    where
        F: Future<Output = Result<Option<Vec<u8>>>> + Send + 'static,
    {
        let (closed, piece) = (self.0.closed.clone(), piece(Arc::clone(&self.0)));
        env.spawn_future(async move {
            tokio::select! {
                biased;
                () = closed.cancelled() => Ok(None),
                bytes = piece => Ok(bytes.or_throw()?.map(Buffer::from)),
            }
        })
    }
}

#[napi]
impl NativeReader {
    /// The next batch as a complete Arrow IPC stream, or `None` at the end and after [`Self::close`].
    ///
    /// # Errors
    /// Those of the source.
    #[napi(ts_return_type = "Promise<Buffer | null>")]
    pub fn next_batch<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Option<Buffer>>> {
        self.piece(env, async |read| read.batch().await)
    }

    /// The next bytes of one Arrow IPC stream of all batches, or `None` at the end and after
    /// [`Self::close`].
    ///
    /// # Errors
    /// Those of the source.
    #[napi(ts_return_type = "Promise<Buffer | null>")]
    pub fn next_chunk<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Option<Buffer>>> {
        self.piece(env, async |read| read.chunk().await)
    }

    /// Stops the read at the source, also in the middle of a batch.
    ///
    /// # Errors
    /// None in practice.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        let read = Arc::clone(&self.0);
        read.closed.cancel();
        env.spawn_future(async move {
            *read.state.lock().await = State::Done;
            Ok(())
        })
    }
}
