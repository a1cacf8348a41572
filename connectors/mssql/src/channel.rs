//! Messages of an open connection: statements out, tokens in, and the bytes that rows are decoded from.

use std::time::Duration;

use transload_core::{Error, Result};

use crate::cell::text_of;
use crate::error::{ServerMessage, gone, io_error, silence};
use crate::link::Link;
use crate::protocol::{
    Change, HEADER, Token, batch, broken, cut, done, kind, next_token, packet, packets, token,
};
use crate::rows::cells;
use crate::wire::Column;

/// Bytes that are read at once: what a fast server sends while the reader pauses.
const BUFFER: usize = 512 * 1024;

/// Most bytes of a message without rows, and of a row; what a broken stream announces is not believed beyond it.
const MOST: usize = 2 << 30;

/// Bytes of a packet before sides agree on a size.
const FIRST_PACKET: usize = 4096;

/// One result of statements, as texts.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// See the module.
pub(crate) struct Channel {
    link: Link,
    read_timeout: Option<Duration>,
    packet_size: usize,
    /// The transaction that statements belong to.
    transaction: u64,
    /// First the message's own bytes that are not used, `start..end`; then, at `raw..raw_end`, packets as they came.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    raw: usize,
    raw_end: usize,
    /// Bytes left of the packet at `raw`, and whether it is its message's last one.
    left: usize,
    last: bool,
    /// The message has ended.
    ended: bool,
    /// Whether the connection can be used no more: something broke, or an answer was not read to its end.
    lost: bool,
}

impl Channel {
    pub(crate) fn new(link: Link, read_timeout: Option<Duration>) -> Self {
        Self {
            link,
            read_timeout,
            packet_size: FIRST_PACKET,
            transaction: 0,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            raw: 0,
            raw_end: 0,
            left: 0,
            last: false,
            ended: true,
            lost: false,
        }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.link.is_tls()
    }

    /// Whether statements belong to a transaction.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.transaction != 0
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// The answer that [`Self::begin`] asked for was read to its end.
    pub(crate) fn found(&mut self) {
        self.lost = false;
    }

    /// Sends a message; an answer will follow.
    pub(crate) async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        self.ended = false;
        self.start = self.end;
        self.link.send(&packets(kind, payload, self.packet_size)).await.map_err(io_error)
    }

    /// Begins statements of which the answer holds rows.
    pub(crate) async fn begin(&mut self, sql: &str) -> Result<()> {
        if self.lost {
            return Err(gone());
        }
        self.lost = true;
        self.send(kind::BATCH, &batch(sql, self.transaction)).await
    }

    /// Asks the server to stop what it does, and reads on until it says that it has.
    pub(crate) async fn cancel(&mut self) -> Result<()> {
        self.link.send(&packets(kind::ATTENTION, &[], self.packet_size)).await.map_err(io_error)?;
        // The answer under way is of no use, and rows of it are not looked at: only packets are. The answer to the
        // attention ends its message, be it this one or the next, so what ends a message is looked at.
        loop {
            self.next_message();
            let mut tail = Vec::new();
            loop {
                self.unpack()?;
                let unread = self.unread();
                tail.extend_from_slice(unread.get(unread.len().saturating_sub(DONE)..).unwrap_or_default());
                tail.drain(..tail.len().saturating_sub(DONE));
                self.start = self.end;
                if self.ended {
                    break;
                }
                self.read().await?;
            }
            if let Some([token::DONE..=token::DONE_IN_PROCEDURE, low, high, ..]) = tail.first_chunk::<DONE>()
                && u16::from_le_bytes([*low, *high]) & done::ATTENTION != 0
            {
                self.lost = false;
                return Ok(());
            }
        }
    }

    /// If the message has ended, what comes is the next one.
    fn next_message(&mut self) {
        self.ended = self.ended && self.start < self.end;
    }

    /// A whole message.
    pub(crate) async fn message(&mut self) -> Result<Vec<u8>> {
        self.unpack()?;
        while !self.ended {
            if self.unread().len() > MOST {
                return Err(broken("a message beyond 2 GiB"));
            }
            self.read().await?;
        }
        let message = self.unread().to_vec();
        self.start = self.end;
        Ok(message)
    }

    /// The tokens of a whole message without rows. An error of the server is this one's.
    pub(crate) async fn tokens(&mut self) -> Result<Vec<Token>> {
        let message = self.message().await?;
        let (mut bytes, mut tokens, mut error) = (message.as_slice(), Vec::new(), None);
        while !bytes.is_empty() {
            let (token, length) = next_token(bytes)?.ok_or_else(cut)?;
            bytes = bytes.get(length..).unwrap_or_default();
            self.notice(&token);
            match token {
                Token::Error(message) => keep(&mut error, message),
                token => tokens.push(token),
            }
        }
        match error {
            Some(message) => Err(message.into_error()),
            None => Ok(tokens),
        }
    }

    /// What a token changes for the connection.
    pub(crate) fn notice(&mut self, token: &Token) {
        match token {
            Token::Change(Change::PacketSize(size)) => self.packet_size = (*size).clamp(512, 32_767),
            Token::Change(Change::Transaction(transaction)) => self.transaction = *transaction,
            _ => {}
        }
    }

    /// Runs statements in one round trip, and gives what each that answers with rows answers.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Answer>> {
        self.begin(sql).await?;
        let message = self.message().await?;
        let answers = self.answers(&message);
        if !answers.as_ref().is_err_and(|failure| failure.fatal) {
            self.lost = false;
        }
        answers.map_err(|failure| failure.error)
    }

    fn answers(&mut self, message: &[u8]) -> Result<Vec<Answer>, Failure> {
        let (mut answers, mut error) = (Vec::new(), None);
        let mut columns: Vec<Column> = Vec::new();
        let (mut at, mut ended) = (0, false);
        while at < message.len() {
            if ended {
                return Err(broken("more than an answer").into());
            }
            if matches!(message.get(at), Some(&(token::ROW | token::NULLED_ROW))) {
                let (fields, next) = cells(message, at, columns.iter().map(|column| column.ty.shape))?;
                let answer: Option<&mut Answer> = answers.last_mut();
                let texts = columns.iter().zip(&fields);
                let row =
                    texts.map(|(column, field)| field.as_deref().map(|field| text_of(&column.ty, field)));
                let row = row.map(Option::transpose).collect::<Result<_, _>>().map_err(broken)?;
                answer.ok_or_else(|| broken("a row without columns"))?.rows.push(row);
                at = next;
                continue;
            }
            let (token, length) = next_token(message.get(at..).unwrap_or_default())?.ok_or_else(cut)?;
            at += length;
            self.notice(&token);
            match token {
                Token::Columns(found) => {
                    let names = found.iter().map(|column| column.name.clone()).collect();
                    answers.push(Answer { columns: names, rows: Vec::new() });
                    columns = found;
                }
                Token::Error(message) => keep(&mut error, message),
                Token::Done { status, .. } => ended = status & done::MORE == 0,
                _ => {}
            }
        }
        match error {
            Some(message) => Err(Failure { fatal: message.is_fatal(), error: message.into_error() }),
            None if !ended => Err(cut().into()),
            None => Ok(answers),
        }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether all of the message has come, and what is unread is its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// So many bytes are used.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Reads more, so that in the end `bytes` bytes at least are unread.
    pub(crate) async fn fill(&mut self, bytes: usize) -> Result<()> {
        if bytes > MOST {
            return Err(broken("a row beyond 2 GiB"));
        }
        if self.ended {
            return Err(cut());
        }
        while !self.ended && self.unread().len() < bytes {
            self.read().await?;
        }
        Ok(())
    }

    /// Reads what there is, and unpacks it.
    async fn read(&mut self) -> Result<()> {
        self.make_room();
        let free = self.buffer.get_mut(self.raw_end..).unwrap_or_default();
        let reading = self.link.read(free);
        let read = match self.read_timeout {
            None => reading.await.map_err(io_error),
            Some(most) => match tokio::time::timeout(most, reading).await {
                Ok(outcome) => outcome.map_err(io_error),
                Err(_) => Err(silence(most)),
            },
        };
        self.raw_end += read?;
        self.unpack()
    }

    /// Moves what is unread to the front, and grows with what has come, not by what a broken stream says will come.
    fn make_room(&mut self) {
        // A wide row stays where it is.
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.copy_within(self.raw..self.raw_end, self.end);
        self.raw_end -= self.raw - self.end;
        self.raw = self.end;
        let room = self.raw_end.saturating_mul(2).max(BUFFER);
        if self.buffer.len() < self.raw_end + BUFFER / 2 || self.buffer.len() > room.saturating_mul(4) {
            self.buffer.resize(room, 0);
            self.buffer.shrink_to_fit();
        }
    }

    /// Puts the message's own bytes together, without the packets' headers.
    fn unpack(&mut self) -> Result<()> {
        while !self.ended {
            if self.left > 0 {
                let count = self.left.min(self.raw_end - self.raw);
                self.buffer.copy_within(self.raw..self.raw + count, self.end);
                self.end += count;
                self.raw += count;
                self.left -= count;
            } else {
                let unread = self.buffer.get(self.raw..self.raw_end).unwrap_or_default();
                let Some(header) = unread.first_chunk() else { return Ok(()) };
                let (length, last) = packet(*header).ok_or_else(|| broken("a packet that is none"))?;
                (self.left, self.last) = (length - HEADER, last);
                self.raw += HEADER;
            }
            if self.left > 0 && self.raw == self.raw_end {
                return Ok(());
            }
            self.ended = self.left == 0 && self.last;
        }
        Ok(())
    }
}

/// Bytes of a DONE token.
const DONE: usize = 13;

struct Failure {
    error: Error,
    /// The server ends the connection.
    fatal: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, fatal: true }
    }
}

/// The first error is the cause, and what follows is of it; but a fatal one ends the connection.
pub(crate) fn keep(first: &mut Option<ServerMessage>, next: ServerMessage) {
    if first.is_none() || next.is_fatal() {
        *first = Some(next);
    }
}

impl Answer {
    fn index(&self, column: &str) -> Result<usize> {
        let index = self.columns.iter().position(|name| name == column);
        index.ok_or_else(|| Error::internal(format!("the catalog gave no {column}")))
    }

    /// The cell of a row by its column's name; `None` for NULL.
    pub(crate) fn cell<'a>(&self, row: &'a [Option<String>], column: &str) -> Result<Option<&'a str>> {
        Ok(row.get(self.index(column)?).and_then(Option::as_deref))
    }

    /// A cell that is not NULL.
    pub(crate) fn text<'a>(&self, row: &'a [Option<String>], column: &str) -> Result<&'a str> {
        let cell = self.cell(row, column)?;
        cell.ok_or_else(|| Error::internal(format!("the catalog gave NULL for {column}")))
    }

    /// A cell as a number, if it is one.
    pub(crate) fn number<T: std::str::FromStr>(
        &self,
        row: &[Option<String>],
        column: &str,
    ) -> Result<Option<T>> {
        Ok(self.cell(row, column)?.and_then(|text| text.parse().ok()))
    }

    /// Whether a bit is set.
    pub(crate) fn is(&self, row: &[Option<String>], column: &str) -> Result<bool> {
        Ok(self.cell(row, column)? == Some("1"))
    }
}
