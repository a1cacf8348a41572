//! Reads that run at the server.

use std::time::Duration;

use arrow_array::RecordBatch;
use futures::stream;
use tokio::runtime::Handle;
use transload_core::Result;
use transload_core::batch::BatchStream;
use transload_sql::wire::{Ending, Lease};

use crate::channel::{Channel, keep};
use crate::connect::Opened;
use crate::error::{ServerMessage, gone};
use crate::protocol::{Token, broken, done, next_token};
use crate::rows::{RowDecoder, Step};

/// How long a cancelled statement may take to end.
const CANCELLING: Duration = Duration::from_secs(10);

/// A connection that waits for an answer. Dropping it before [`Self::done`] says that the answer has come, or that
/// something broke, cancels at the server what was asked, and frees the connection when the server is done with it.
pub(crate) struct Busy {
    lease: Option<Lease<Opened>>,
    ending: Ending,
    /// It may be dropped by a thread that knows no runtime.
    runtime: Handle,
}

impl Busy {
    pub(crate) fn new(lease: Lease<Opened>, ending: &Ending) -> Self {
        Self { lease: Some(lease), ending: ending.clone(), runtime: Handle::current() }
    }

    pub(crate) fn channel(&mut self) -> Result<&mut Channel> {
        self.lease.as_mut().map(|lease| &mut lease.channel).ok_or_else(gone)
    }

    /// The connection is free.
    pub(crate) fn done(&mut self) {
        self.lease = None;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        let freeing = self.ending.begin();
        self.runtime.spawn(async move {
            // If the server does not end the statement, the connection stays lost.
            match tokio::time::timeout(CANCELLING, lease.channel.cancel()).await {
                Ok(Err(error)) => tracing::debug!(%error, "a cancelled statement ended its connection"),
                Err(_) => tracing::debug!("a statement could not be cancelled"),
                Ok(Ok(())) => {}
            }
            drop(lease);
            drop(freeing);
        });
    }
}

/// A query that runs at the server. Dropping it midway cancels the query there.
pub(crate) struct Reading {
    busy: Busy,
    decoder: RowDecoder,
    running: bool,
    error: Option<ServerMessage>,
}

impl Reading {
    /// Begins a query.
    pub(crate) async fn begin(
        sql: &str,
        decoder: RowDecoder,
        lease: Lease<Opened>,
        ending: &Ending,
    ) -> Result<Self> {
        let mut busy = Busy::new(lease, ending);
        let begun = busy.channel()?.begin(sql).await;
        let mut reading = Self { busy, decoder, running: true, error: None };
        if begun.is_err() {
            reading.stop();
        }
        begun.map(|()| reading)
    }

    /// The batches. An error of the statement itself is told here and not with the first batch.
    pub(crate) async fn stream(mut self) -> Result<BatchStream> {
        let first = self.next().await?;
        Ok(Box::pin(stream::try_unfold((first, self), |(ahead, mut reading)| async move {
            let batch = match ahead {
                Some(batch) => Some(batch),
                None => reading.next().await?,
            };
            Ok(batch.map(|batch| (batch, (None, reading))))
        })))
    }

    /// There is nothing left to cancel or to read on from.
    fn stop(&mut self) {
        self.running = false;
        self.busy.done();
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.running {
            let channel = self.busy.channel()?;
            let (used, step) = self.decoder.take(channel.unread())?;
            channel.advance(used);
            let needed = match step {
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::More(bytes) => bytes,
                Step::Control => match next_token(channel.unread())? {
                    None => channel.unread().len() + 1,
                    Some((token, length)) => {
                        channel.advance(length);
                        channel.notice(&token);
                        if self.control(token)? {
                            return self.last().await;
                        }
                        continue;
                    }
                },
            };
            if let Err(lost) = channel.fill(needed).await {
                self.stop();
                return Err(self.error.take().map_or(lost, ServerMessage::into_error));
            }
        }
        Ok(None)
    }

    /// Takes what is no row; gives whether it was the end.
    fn control(&mut self, token: Token) -> Result<bool> {
        match token {
            Token::Columns(columns) => self.decoder.define(&columns)?,
            Token::Error(message) => keep(&mut self.error, message),
            Token::Done { status, rows } => {
                if status & (done::ERROR | done::SERVER_ERROR) == 0 && self.error.is_none() {
                    self.decoder.end((status & done::COUNT != 0).then_some(rows))?;
                }
                return Ok(status & done::MORE == 0);
            }
            _ => {}
        }
        Ok(false)
    }

    /// The last token has come, and the message must end with it.
    async fn last(&mut self) -> Result<Option<RecordBatch>> {
        let channel = self.busy.channel()?;
        while !channel.has_ended() && channel.unread().is_empty() {
            if let Err(lost) = channel.fill(1).await {
                self.stop();
                // What the server said of it comes first.
                return Err(self.error.take().map_or(lost, ServerMessage::into_error));
            }
        }
        let whole = channel.has_ended() && channel.unread().is_empty();
        let fatal = self.error.as_ref().is_some_and(ServerMessage::is_fatal);
        if whole && !fatal {
            channel.found();
        }
        self.stop();
        match self.error.take() {
            Some(message) => Err(message.into_error()),
            None if !whole => Err(broken("more than an answer")),
            None => self.decoder.finish(),
        }
    }
}
