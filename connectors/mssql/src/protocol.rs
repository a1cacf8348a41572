//! Messages of the Tabular Data Stream: packets, and the tokens of which an answer consists.
//!
//! Source: Microsoft's open specification MS-TDS.

use transload_core::{Error, Result};

use crate::error::ServerMessage;
use crate::wire::Column;

/// Bytes that a packet begins with.
pub(crate) const HEADER: usize = 8;

/// The flag of a message's last packet.
pub(crate) const END_OF_MESSAGE: u8 = 1;

/// Kinds of messages.
pub(crate) mod kind {
    pub(crate) const BATCH: u8 = 0x01;
    pub(crate) const ATTENTION: u8 = 0x06;
    pub(crate) const LOGIN: u8 = 0x10;
    pub(crate) const PRELOGIN: u8 = 0x12;
}

/// First bytes of tokens.
pub(crate) mod token {
    pub(crate) const OFFSET: u8 = 0x78;
    pub(crate) const RETURN_STATUS: u8 = 0x79;
    pub(crate) const COLUMNS: u8 = 0x81;
    pub(crate) const TABLE_NAMES: u8 = 0xa4;
    pub(crate) const COLUMN_INFO: u8 = 0xa5;
    pub(crate) const ORDER: u8 = 0xa9;
    pub(crate) const ERROR: u8 = 0xaa;
    pub(crate) const INFO: u8 = 0xab;
    pub(crate) const LOGIN_ACK: u8 = 0xad;
    pub(crate) const FEATURES: u8 = 0xae;
    pub(crate) const ROW: u8 = 0xd1;
    pub(crate) const NULLED_ROW: u8 = 0xd2;
    pub(crate) const CHANGE: u8 = 0xe3;
    pub(crate) const SESSION_STATE: u8 = 0xe4;
    pub(crate) const SSPI: u8 = 0xed;
    pub(crate) const FED_AUTH_INFO: u8 = 0xee;
    pub(crate) const DONE: u8 = 0xfd;
    pub(crate) const DONE_PROCEDURE: u8 = 0xfe;
    pub(crate) const DONE_IN_PROCEDURE: u8 = 0xff;
}

/// Flags of a DONE token.
pub(crate) mod done {
    pub(crate) const MORE: u16 = 0x01;
    pub(crate) const ERROR: u16 = 0x02;
    pub(crate) const COUNT: u16 = 0x10;
    pub(crate) const ATTENTION: u16 = 0x20;
    pub(crate) const SERVER_ERROR: u16 = 0x100;
}

/// Reads what bytes hold, from their beginning to their end. `None` says that they are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parser<'a>(pub(crate) &'a [u8]);

impl<'a> Parser<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.fixed().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A number of four bytes as a length.
    pub(crate) fn length(&mut self) -> Option<usize> {
        self.u32().and_then(|length| usize::try_from(length).ok())
    }

    /// A text of so many UTF-16 units.
    fn text(&mut self, units: usize) -> Option<String> {
        self.take(units * 2).map(from_utf16)
    }

    /// A text with its length in one byte.
    pub(crate) fn short_text(&mut self) -> Option<String> {
        let units = self.u8()?;
        self.text(units.into())
    }

    /// A text with its length in two bytes.
    pub(crate) fn long_text(&mut self) -> Option<String> {
        let units = self.u16()?;
        self.text(units.into())
    }

    /// Bytes with their length in one byte.
    fn short_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }
}

/// Names and messages of the server; what is no text is replaced.
pub(crate) fn from_utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

pub(crate) fn put_utf16(to: &mut Vec<u8>, text: &str) {
    to.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
}

/// The length of a packet with its header, and whether it ends its message; `None` for what cannot be a header.
pub(crate) fn packet(header: [u8; HEADER]) -> Option<(usize, bool)> {
    let [_, status, high, low, ..] = header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (length >= HEADER).then_some((length, status & END_OF_MESSAGE != 0))
}

/// A message as packets of so many bytes at most.
pub(crate) fn packets(kind: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let room = size.saturating_sub(HEADER).max(1);
    let mut bytes = Vec::with_capacity(payload.len() + HEADER * (payload.len() / room + 1));
    let mut pieces = payload.chunks(room).peekable();
    let mut number = 1_u8;
    loop {
        let piece = pieces.next().unwrap_or_default();
        let last = pieces.peek().is_none();
        let length = u16::try_from(piece.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
        bytes.extend([kind, u8::from(last), length[0], length[1], 0, 0, number, 0]);
        bytes.extend_from_slice(piece);
        number = number.wrapping_add(1);
        if last {
            return bytes;
        }
    }
}

/// A batch of statements, with the transaction that they belong to.
pub(crate) fn batch(sql: &str, transaction: u64) -> Vec<u8> {
    let mut payload = Vec::with_capacity(sql.len() * 2 + 22);
    payload.extend(22_u32.to_le_bytes());
    payload.extend(18_u32.to_le_bytes());
    payload.extend(2_u16.to_le_bytes());
    payload.extend(transaction.to_le_bytes());
    payload.extend(1_u32.to_le_bytes()); // requests under way
    put_utf16(&mut payload, sql);
    payload
}

/// What the server says has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    PacketSize(usize),
    /// The transaction that statements belong to now; 0 for none.
    Transaction(u64),
    /// Host and port to log in to instead.
    Route(String, u16),
    Other,
}

/// A token that is no row.
#[derive(Debug)]
pub(crate) enum Token {
    Columns(Vec<Column>),
    Done {
        status: u16,
        rows: u64,
    },
    Error(ServerMessage),
    Change(Change),
    LoggedIn,
    /// Nothing that matters here.
    Other,
}

/// The token at the beginning of bytes, and its length; `None` if more bytes are needed.
pub(crate) fn next_token(bytes: &[u8]) -> Result<Option<(Token, usize)>> {
    let mut parser = Parser(bytes);
    let Some(first) = parser.u8() else { return Ok(None) };
    let token = match first {
        token::COLUMNS => match Column::parse_all(&mut parser)? {
            Some(columns) => Token::Columns(columns),
            None => return Ok(None),
        },
        token::DONE | token::DONE_PROCEDURE | token::DONE_IN_PROCEDURE => {
            let Some([a, b, _, _, rows @ ..]) = parser.fixed::<12>() else { return Ok(None) };
            Token::Done { status: u16::from_le_bytes([a, b]), rows: u64::from_le_bytes(rows) }
        }
        token::RETURN_STATUS | token::OFFSET => match parser.take(4) {
            Some(_) => Token::Other,
            None => return Ok(None),
        },
        token::FEATURES => match features(&mut parser) {
            Some(()) => Token::Other,
            None => return Ok(None),
        },
        token::SESSION_STATE | token::FED_AUTH_INFO => {
            match parser.length().and_then(|length| parser.take(length)) {
                Some(_) => Token::Other,
                None => return Ok(None),
            }
        }
        token::ERROR
        | token::INFO
        | token::CHANGE
        | token::LOGIN_ACK
        | token::ORDER
        | token::TABLE_NAMES
        | token::COLUMN_INFO
        | token::SSPI => {
            let Some(body) = parser.u16().and_then(|length| parser.take(length.into())) else {
                return Ok(None);
            };
            let mut body = Parser(body);
            match first {
                token::ERROR => Token::Error(ServerMessage::parse(&mut body).ok_or_else(cut)?),
                token::CHANGE => Token::Change(change(&mut body).ok_or_else(cut)?),
                token::LOGIN_ACK => Token::LoggedIn,
                _ => Token::Other,
            }
        }
        other => return Err(broken(&format!("a token that is none (0x{other:02x})"))),
    };
    Ok(Some((token, bytes.len() - parser.0.len())))
}

fn features(parser: &mut Parser<'_>) -> Option<()> {
    while parser.u8()? != 0xff {
        let length = parser.length()?;
        parser.take(length)?;
    }
    Some(())
}

fn change(body: &mut Parser<'_>) -> Option<Change> {
    Some(match body.u8()? {
        4 => Change::PacketSize(body.short_text()?.parse().ok()?),
        // Begun, committed, rolled back, enlisted, defected: the new one, if any.
        8..=12 => {
            let descriptor = body.short_bytes()?;
            Change::Transaction(descriptor.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
        }
        20 => {
            body.u16()?; // length
            body.u8()?; // TCP
            let port = body.u16()?;
            Change::Route(body.long_text()?, port)
        }
        _ => Change::Other,
    })
}

pub(crate) fn broken(what: &str) -> Error {
    Error::data(format!("the server sent {what}"))
        .hint("is it SQL Server, or is a proxy between that changes the stream?")
}

pub(crate) fn cut() -> Error {
    broken("a message that is cut")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_into_packets() {
        for (length, size, count) in [(0, 512, 1), (504, 512, 1), (505, 512, 2), (5000, 512, 10)] {
            let payload: Vec<u8> = (0..length).map(|n: usize| u8::try_from(n % 251).unwrap()).collect();
            let bytes = packets(kind::BATCH, &payload, size);
            let (mut at, mut found, mut joined) = (0, 0, Vec::new());
            while at < bytes.len() {
                let (length, last) = packet(*bytes[at..].first_chunk().unwrap()).unwrap();
                joined.extend_from_slice(&bytes[at + HEADER..at + length]);
                at += length;
                found += 1;
                assert_eq!(last, at == bytes.len());
            }
            assert_eq!((found, joined), (count, payload));
        }
        assert_eq!(packet([4, 1, 0, 7, 0, 0, 0, 0]), None);
    }

    #[test]
    fn changes_are_read() {
        let mut route = vec![20, 17, 0, 0, 0x99, 0x05, 3, 0];
        put_utf16(&mut route, "a.b");
        assert_eq!(change(&mut Parser(&route)), Some(Change::Route("a.b".into(), 1433)));
        let begun = [8, 8, 1, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(change(&mut Parser(&begun)), Some(Change::Transaction(0x0100_0000_0000_0001)));
        let ended = [10, 0, 8, 1, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(change(&mut Parser(&ended)), Some(Change::Transaction(0)));
        let mut size = vec![4, 4];
        put_utf16(&mut size, "8000");
        size.push(0);
        assert_eq!(change(&mut Parser(&size)), Some(Change::PacketSize(8000)));
        for cut in 0..size.len() - 1 {
            assert_eq!(change(&mut Parser(&size[..cut])), None);
        }
    }

    #[test]
    fn tokens_wait_for_their_end() {
        let mut bytes = vec![token::DONE, 0x10, 0, 0xc1, 0];
        bytes.extend(3_u64.to_le_bytes());
        for cut in 0..bytes.len() {
            assert!(next_token(&bytes[..cut]).unwrap().is_none());
        }
        let (token, length) = next_token(&bytes).unwrap().unwrap();
        assert!(matches!(token, Token::Done { status: 0x10, rows: 3 }) && length == 13);
        assert!(next_token(&[0]).is_err());
    }
}
