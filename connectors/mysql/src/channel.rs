//! Packets of an open connection: commands out, messages in, and the bytes that rows are decoded from.

use std::time::Duration;

use transload_core::{Error, Result};
use transload_sql::wire::Window;

use crate::error::{io_error, server_error, silence};
use crate::link::Link;
use crate::protocol::{ColumnDefinition, MOST, Parser, broken, more_results};

/// Most bytes of a message that holds no rows; what a broken stream announces is not believed beyond it.
const MESSAGE: usize = 1 << 30;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;

/// One result of a query in the text protocol.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// See the module.
pub(crate) struct Channel {
    link: Link,
    read_timeout: Option<Duration>,
    deprecate_eof: bool,
    window: Window,
    /// The number that the next packet must have.
    number: u8,
    /// Whether the connection can be used no more: something broke, or an answer was not read to its end.
    lost: bool,
}

impl Channel {
    pub(crate) fn new(link: Link, read_timeout: Option<Duration>) -> Self {
        Self { link, read_timeout, deprecate_eof: false, window: Window::default(), number: 0, lost: false }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.link.is_tls()
    }

    /// What both sides agreed on when they met.
    pub(crate) fn agree(&mut self, deprecate_eof: bool, compress: bool) {
        self.deprecate_eof = deprecate_eof;
        if compress {
            self.link.compress();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Marks the connection as unusable until [`Self::found`]: an answer is under way.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    /// The answer was read to its end.
    pub(crate) fn found(&mut self) {
        self.lost = false;
    }

    /// Sends a message that begins a conversation.
    pub(crate) async fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.number = 0;
        self.send_numbered(payload, true).await
    }

    /// Sends an answer within a conversation.
    pub(crate) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.send_numbered(payload, false).await
    }

    async fn send_numbered(&mut self, payload: &[u8], first: bool) -> Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        let mut pieces = payload.chunks(MOST);
        // A payload of full packets ends with an empty one.
        for _ in 0..=payload.len() / MOST {
            let piece = pieces.next().unwrap_or_default();
            bytes.extend(u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes().iter().take(3));
            bytes.push(self.number);
            bytes.extend_from_slice(piece);
            self.number = self.number.wrapping_add(1);
        }
        self.link.send(&bytes, first).await.map_err(io_error)
    }

    /// The next message, out of as many packets as it takes.
    pub(crate) async fn message(&mut self) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let length = loop {
                match packet(self.unread(), 0, self.number())? {
                    Packet::Whole(end) => break end - 4,
                    Packet::Partial(bytes) => self.fill(bytes).await?,
                }
            };
            message.extend_from_slice(self.unread().get(4..4 + length).unwrap_or_default());
            self.advance(length + 4, 1);
            if length < MOST {
                return Ok(message);
            }
            if message.len() > MESSAGE {
                return Err(broken("a message beyond 1 GiB"));
            }
        }
    }

    /// Says good-bye, so that the server does not count the connection as aborted. Nothing may follow.
    pub(crate) async fn quit(&mut self) {
        if !std::mem::replace(&mut self.lost, true)
            && let Err(error) = self.command(&[QUIT]).await
        {
            tracing::debug!(%error, "a connection ended before it was closed");
        }
    }

    /// Runs statements in one round trip, and gives what each answers.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Answer>> {
        if self.lost {
            return Err(gone());
        }
        self.lost = true;
        self.command(&[&[QUERY], sql.as_bytes()].concat()).await?;
        let mut answers = Vec::new();
        loop {
            let head = self.message().await?;
            let more = match head.first() {
                Some(0xff) => {
                    self.lost = false;
                    return Err(server_error(&head));
                }
                Some(0x00) => {
                    answers.push(Answer::default());
                    more_results(&head, self.deprecate_eof)?
                }
                Some(0xfb) => return Err(broken("a request for a file of this machine")),
                _ => {
                    let columns = self.columns(&head).await?;
                    let (rows, more) = self.text_rows(columns.len()).await?;
                    answers.push(Answer {
                        columns: columns.into_iter().map(|column| column.name).collect(),
                        rows,
                    });
                    more
                }
            };
            if !more {
                self.lost = false;
                return Ok(answers);
            }
        }
    }

    /// The definitions of the columns of a result, whose first message is `head`.
    pub(crate) async fn columns(&mut self, head: &[u8]) -> Result<Vec<ColumnDefinition>> {
        let count = Parser(head).length()?.ok_or_else(|| broken("a result without a number of columns"))?;
        let columns = self.definitions(count).await?;
        Ok(columns)
    }

    /// So many definitions, and the EOF behind them where there is one.
    pub(crate) async fn definitions(&mut self, count: usize) -> Result<Vec<ColumnDefinition>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ColumnDefinition::parse(&self.message().await?)?);
        }
        if !self.deprecate_eof && count > 0 {
            let end = self.message().await?;
            if end.first() != Some(&0xfe) {
                return Err(broken("columns without an end"));
            }
        }
        Ok(columns)
    }

    async fn text_rows(&mut self, columns: usize) -> Result<(Vec<Vec<Option<String>>>, bool)> {
        let mut rows = Vec::new();
        loop {
            let row = self.message().await?;
            match row.first() {
                Some(0xff) => {
                    self.lost = false;
                    return Err(server_error(&row));
                }
                Some(0xfe) if row.len() < MOST => return Ok((rows, more_results(&row, self.deprecate_eof)?)),
                _ => {}
            }
            let mut parser = Parser(&row);
            let mut cells = Vec::with_capacity(columns);
            for _ in 0..columns {
                let cell = parser.bytes()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                cells.push(cell);
            }
            rows.push(cells);
        }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.window.unread()
    }

    /// The number that the next packet must have. Under compression the frames are numbered, and packets anyhow.
    pub(crate) fn number(&self) -> Option<u8> {
        (!self.link.is_compressed()).then_some(self.number)
    }

    /// So many bytes, which were so many packets, are used.
    pub(crate) fn advance(&mut self, bytes: usize, packets: usize) {
        self.window.advance(bytes);
        self.number = self.number.wrapping_add(u8::try_from(packets & 0xff).unwrap_or(0));
    }

    /// Reads more, so that in the end `bytes` bytes at least are there.
    pub(crate) async fn fill(&mut self, bytes: usize) -> Result<()> {
        let reading = self.link.read(self.window.room(bytes));
        let read = match self.read_timeout {
            None => reading.await.map_err(io_error),
            Some(most) => match tokio::time::timeout(most, reading).await {
                Ok(outcome) => outcome.map_err(io_error),
                Err(_) => Err(silence(most)),
            },
        };
        self.window.filled(read?);
        Ok(())
    }
}

/// A connection that broke before.
pub(crate) fn gone() -> Error {
    Error::new(transload_core::ErrorKind::Unreachable, "the connection to MySQL is gone")
        .hint("an earlier read of this session ended it; run again")
}

/// The packet at a place.
pub(crate) enum Packet {
    /// Its end.
    Whole(usize),
    /// How many bytes are needed from its beginning on.
    Partial(usize),
}

/// The packet at `at`, which must have this number, if any.
#[inline]
pub(crate) fn packet(bytes: &[u8], at: usize, number: Option<u8>) -> Result<Packet> {
    let Some([a, b, c, found]) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
        return Ok(Packet::Partial(4));
    };
    if number.is_some_and(|number| *found != number) {
        return Err(broken("packets out of order"));
    }
    let length = 4 + (usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16);
    Ok(if bytes.len() - at >= length { Packet::Whole(at + length) } else { Packet::Partial(length) })
}
