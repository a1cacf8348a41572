//! Reads that run at the server: a prepared statement, whose rows come in the binary protocol.

use std::time::Duration;

use arrow_array::RecordBatch;
use futures::stream;
use tokio::runtime::Handle;
use transload_core::Result;
use transload_core::batch::BatchStream;
use transload_sql::wire::{Ending, Lease};

use crate::channel::{Channel, gone};
use crate::connect::{Connect, Opened};
use crate::error::server_error;
use crate::protocol::{ColumnDefinition, Parser, broken};
use crate::rows::{RowDecoder, Step};

const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const CLOSE: u8 = 0x19;

/// How long a cancelled query may take to end.
const CANCELLING: Duration = Duration::from_secs(10);

/// A query that runs at the server. Dropping it midway cancels the query there, and frees the connection only when
/// server and connection are done with it, so that the cancel cannot hit what is asked next.
pub(crate) struct Reading {
    running: Option<(RowDecoder, Lease<Opened>, u32)>,
    connect: Connect,
    ending: Ending,
    /// The stream may be dropped by a thread that knows no runtime.
    runtime: Handle,
}

/// A connection that waits for an answer. Dropping it before [`Self::done`] says that the answer has come, or that
/// something broke, cancels at the server what was asked.
pub(crate) struct Busy {
    lease: Option<Lease<Opened>>,
    connect: Connect,
    ending: Ending,
    runtime: Handle,
}

impl Busy {
    pub(crate) fn new(lease: Lease<Opened>, connect: &Connect, ending: &Ending) -> Self {
        let (connect, ending) = (connect.clone(), ending.clone());
        Self { lease: Some(lease), connect, ending, runtime: Handle::current() }
    }

    pub(crate) fn channel(&mut self) -> Result<&mut Channel> {
        self.lease.as_mut().map(|lease| &mut lease.channel).ok_or_else(gone)
    }

    pub(crate) fn done(mut self) -> Result<Lease<Opened>> {
        self.lease.take().ok_or_else(gone)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let (connect, freeing) = (self.connect.clone(), self.ending.begin());
        self.runtime.spawn(async move {
            connect.cancel(lease.thread).await;
            drop(lease);
            drop(freeing);
        });
    }
}

/// Prepares and begins a query: the statement's number, and the columns of its rows.
async fn execute(channel: &mut Channel, sql: &str) -> Result<(u32, Vec<ColumnDefinition>)> {
    if channel.is_lost() {
        return Err(gone());
    }
    channel.lose();
    channel.command(&[&[PREPARE], sql.as_bytes()].concat()).await?;
    let answer = channel.message().await?;
    if answer.first() == Some(&0xff) {
        channel.found();
        return Err(server_error(&answer));
    }
    let mut parser = Parser(answer.get(1..).unwrap_or_default());
    let (statement, columns, parameters) = (parser.u32()?, parser.u16()?, parser.u16()?);
    if parameters != 0 {
        return Err(broken("a statement with parameters that it has not"));
    }
    channel.definitions(columns.into()).await?;
    // No cursor; once.
    let id = statement.to_le_bytes();
    channel.command(&[&[EXECUTE], id.as_slice(), &[0, 1, 0, 0, 0]].concat()).await?;
    let head = channel.message().await?;
    if head.first() == Some(&0xff) {
        channel.found();
        close(channel, statement).await;
        return Err(server_error(&head));
    }
    Ok((statement, channel.columns(&head).await?))
}

/// Lets the server forget a statement. There is no answer; if it does not get through, the next statement will not either.
async fn close(channel: &mut Channel, statement: u32) {
    if channel.command(&[&[CLOSE], statement.to_le_bytes().as_slice()].concat()).await.is_err() {
        channel.lose();
    }
}

impl Reading {
    /// Prepares and begins a query. The connection is lost to others if this is dropped midway.
    pub(crate) async fn begin(
        sql: &str,
        mut decoder: RowDecoder,
        lease: Lease<Opened>,
        connect: &Connect,
        ending: &Ending,
    ) -> Result<Self> {
        let mut busy = Busy::new(lease, connect, ending);
        let begun = execute(busy.channel()?, sql).await;
        let lease = busy.done()?;
        let (statement, columns) = begun?;
        let defined = decoder.define(&columns);
        let running = Some((decoder, lease, statement));
        let (connect, ending) = (connect.clone(), ending.clone());
        let reading = Self { running, connect, ending, runtime: Handle::current() };
        // What is dropped here is cancelled at the server.
        defined.map(|()| reading)
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

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some((decoder, lease, statement)) = &mut self.running else { return Ok(None) };
        let channel = &mut lease.channel;
        loop {
            let (used, step) = decoder.take(channel.unread(), channel.number())?;
            channel.advance(used.bytes, used.packets);
            match step {
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::More(bytes) => match channel.fill(bytes).await {
                    Ok(()) => {}
                    Err(lost) => {
                        // There is nothing left to cancel or to read on from.
                        self.running = None;
                        return Err(lost);
                    }
                },
                Step::Control(length) => {
                    let message = channel.unread().get(4..length).unwrap_or_default().to_vec();
                    channel.advance(length, 1);
                    match message.first() {
                        Some(0xfe) => decoder.end(),
                        Some(0xff) => {
                            channel.found();
                            self.running = None;
                            return Err(server_error(&message));
                        }
                        _ => return Err(broken("a message that does not belong to rows")),
                    }
                    channel.found();
                    let last = decoder.finish();
                    close(channel, *statement).await;
                    self.running = None;
                    return last;
                }
            }
        }
    }
}

/// Reads on to the end of the rows and throws them away.
async fn end(decoder: &mut RowDecoder, lease: &mut Lease<Opened>, statement: u32) -> Result<()> {
    let channel = &mut lease.channel;
    loop {
        let (used, step) = decoder.skip(channel.unread(), channel.number())?;
        channel.advance(used.bytes, used.packets);
        match step {
            Step::Control(length) => {
                channel.advance(length, 1);
                channel.found();
                break;
            }
            Step::More(bytes) if bytes > 0 => channel.fill(bytes).await?,
            Step::More(_) | Step::Batch(_) => {}
        }
    }
    close(channel, statement).await;
    // If the query ended before it was cancelled, the cancel hits this.
    let _ = channel.query("DO 0").await;
    Ok(())
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some((mut decoder, mut lease, statement)) = self.running.take() else { return };
        let (connect, freeing) = (self.connect.clone(), self.ending.begin());
        self.runtime.spawn(async move {
            let cancelling = async {
                connect.cancel(lease.thread).await;
                end(&mut decoder, &mut lease, statement).await
            };
            // If the server does not end the query, the connection stays lost.
            if let Ok(Err(error)) = tokio::time::timeout(CANCELLING, cancelling).await {
                tracing::debug!(%error, "a cancelled query ended its connection");
            }
            drop(lease);
            drop(freeing);
        });
    }
}
