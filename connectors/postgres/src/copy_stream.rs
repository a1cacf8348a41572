//! One COPY or query at the server: the statement out, batches in, until the server is ready for the next one.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use transload_core::Result;
use transload_sql::wire::Window;

use arrow_array::RecordBatch;

use crate::connect::Opened;
use crate::copy::{CopyDecoder, Step, broken};
use crate::error::{io_error, server_error, silence};
use crate::reader::Reader;

/// A running COPY, or the rows of a query. It has the connection for itself; [`CopyStream::end`] gives it back to the
/// driver.
pub(crate) struct CopyStream {
    reader: Reader,
    read_timeout: Option<Duration>,
    window: Window,
    decoder: CopyDecoder,
    /// What asks for more rows of a cursor, until none come.
    fetch: Option<String>,
    /// The server's error, until it is ready for the next statement.
    failed: Option<transload_core::Error>,
    ready: bool,
    /// Whether rows have come already.
    fetching: bool,
    lost: bool,
}

impl CopyStream {
    /// Sends one or more statements, the last of which gives the rows, and waits for nothing.
    pub(crate) async fn begin(opened: &Opened, sql: &str, decoder: CopyDecoder) -> Result<Self> {
        let mut reader = Reader::new(opened.take()?);
        send(&mut reader, sql).await?;
        Ok(Self {
            reader,
            read_timeout: opened.read_timeout,
            window: Window::default(),
            decoder,
            fetch: None,
            failed: None,
            ready: false,
            fetching: false,
            lost: false,
        })
    }

    /// As [`Self::begin`], with a statement that gives the next rows of a cursor as often as some come.
    pub(crate) async fn fetch(
        opened: &Opened,
        ahead: &str,
        fetch: String,
        decoder: CopyDecoder,
    ) -> Result<Self> {
        let begun = Self::begin(opened, &format!("{ahead}; {fetch}"), decoder).await?;
        Ok(Self { fetch: Some(fetch), ..begun })
    }

    /// Whether what runs at the server ends soon by itself: a cursor that gives rows has computed its result.
    pub(crate) fn ends_soon(&self) -> bool {
        self.fetch.is_some() && (self.ready || self.fetching)
    }

    /// Whether nothing more will come: the server has finished with the statements, well or not, or is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.ready || self.lost
    }

    /// The next batch; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while !self.ready {
                let (used, step) = self.decoder.take(self.window.unread())?;
                self.window.advance(used);
                match step {
                    Step::Batch(batch) => {
                        self.fetching = true;
                        return Ok(Some(batch));
                    }
                    // What the server said before it closed the connection tells more than that it did.
                    Step::More(bytes) => {
                        self.fill(bytes).await.map_err(|lost| self.failed.take().unwrap_or(lost))?;
                    }
                    Step::Control(kind, length) => self.control(kind, length)?,
                }
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if !self.fetch_more().await? {
                self.decoder.end();
                return self.decoder.finish();
            }
        }
    }

    /// Asks for the next rows if the last ones were not none. A server may give fewer than it was asked for.
    async fn fetch_more(&mut self) -> Result<bool> {
        match &self.fetch {
            Some(sql) if self.decoder.came() => {
                send(&mut self.reader, sql).await?;
                (self.ready, self.fetching) = (false, true);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Reads on to the end of the statements, throws the rows away, and gives the connection back. To be
    /// called after the query was cancelled.
    pub(crate) async fn end(mut self) -> Result<()> {
        while !self.is_over() {
            match self.decoder.skip(self.window.unread())? {
                (_, Step::Control(kind, length)) => self.control(kind, length)?,
                (0, Step::More(bytes)) => self.fill(bytes).await?,
                (used, _) => self.window.advance(used),
            }
        }
        if self.ready {
            self.reader.give_back().map_err(io_error)?;
        }
        Ok(())
    }

    /// Handles a whole message that holds no rows.
    fn control(&mut self, kind: u8, length: usize) -> Result<()> {
        let message = self.window.unread().get(..length).unwrap_or_default();
        match kind {
            b'E' => {
                let error = server_error(message.get(5..).unwrap_or_default());
                self.failed.get_or_insert(error);
            }
            b'Z' => self.ready = true,
            // Notices and settings, answers to what goes ahead of the COPY, and the ends of it.
            b'N' | b'S' | b'A' | b'C' | b'H' | b'c' | b'T' | b'D' | b'I' => {}
            _ => return Err(broken("a message that does not belong to rows")),
        }
        self.window.advance(length);
        Ok(())
    }

    /// Reads more, so that in the end `bytes` bytes at least are there.
    async fn fill(&mut self, bytes: usize) -> Result<()> {
        let reading = self.reader.read(self.window.room(bytes));
        let outcome = match self.read_timeout {
            None => reading.await.map_err(io_error),
            Some(most) => match tokio::time::timeout(most, reading).await {
                Ok(outcome) => outcome.map_err(io_error),
                Err(_) => Err(silence(most)),
            },
        };
        self.lost = outcome.is_err();
        self.window.filled(outcome?);
        Ok(())
    }
}

async fn send(reader: &mut Reader, sql: &str) -> Result<()> {
    let mut message = BytesMut::new();
    frontend::query(sql, &mut message).map_err(io_error)?;
    reader.send(&message).await.map_err(io_error)
}
