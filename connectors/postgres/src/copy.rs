//! Rows out of what a connection has read, which may end anywhere: of binary COPY, or of a query's answer, whose
//! rows have the same layout and no header and no end.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use transload_core::{Error, ErrorKind, Result};
use transload_sql::wire::Rows;

use crate::decode::{ColumnDecoder, Format};
use crate::types::Wire;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Turns messages of the server into batches.
pub(crate) struct CopyDecoder {
    rows: Rows<ColumnDecoder>,
    /// Bytes of a tuple that does not end with its message. Servers send one message a tuple; something
    /// between may not.
    rest: Vec<u8>,
    /// The type of the messages that hold rows.
    kind: u8,
    state: State,
    /// Whether a row has come since somebody asked.
    came: bool,
}

#[derive(PartialEq)]
enum State {
    Header,
    Tuples,
    Ended,
}

/// Why the decoder stopped.
#[derive(Debug)]
pub(crate) enum Step {
    /// It needs this many unused bytes at least.
    More(usize),
    /// Enough rows for a batch are together.
    Batch(RecordBatch),
    /// The next message holds no rows: its type and its length, both with what goes ahead of it.
    Control(u8, usize),
}

impl CopyDecoder {
    /// Of binary COPY.
    pub(crate) fn new(schema: SchemaRef, wires: &[Wire], batch_rows: usize, batch_bytes: usize) -> Self {
        Self::of(schema, wires, Format::Binary, batch_rows, batch_bytes)
    }

    /// Of the answers to queries, in the text format; [`Self::end`] says that the last has come.
    pub(crate) fn of_answers(
        schema: SchemaRef,
        wires: &[Wire],
        batch_rows: usize,
        batch_bytes: usize,
    ) -> Self {
        let of_copy = Self::of(schema, wires, Format::Text, batch_rows, batch_bytes);
        Self { kind: b'D', state: State::Tuples, ..of_copy }
    }

    fn of(schema: SchemaRef, wires: &[Wire], format: Format, batch_rows: usize, batch_bytes: usize) -> Self {
        let columns = schema.fields().iter().zip(wires);
        let columns = columns.map(|(field, wire)| ColumnDecoder::new(field.name(), *wire, format));
        let columns = columns.collect();
        let rows = Rows::new(schema, columns, batch_rows, batch_bytes);
        Self { rows, rest: Vec::new(), kind: b'd', state: State::Header, came: false }
    }

    /// Takes what it can of the bytes that were read; gives how many were used, and why it stopped.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Step)> {
        let mut at = 0;
        let step = loop {
            if self.rows.is_full() {
                self.rows.decode(bytes)?;
                if let Some(batch) = self.rows.take()? {
                    break Step::Batch(batch);
                }
            }
            match message(bytes, at)? {
                Message::Whole(kind, end) if kind == self.kind => {
                    self.data(bytes, at + 5, end)?;
                    at = end;
                }
                Message::Whole(kind, end) => break Step::Control(kind, end - at),
                Message::Partial(needed) => break Step::More(needed),
            }
        };
        self.rows.decode(bytes)?;
        Ok((at, step))
    }

    /// As [`Self::take`], and throws the rows away.
    pub(crate) fn skip(&self, bytes: &[u8]) -> Result<(usize, Step)> {
        let mut at = 0;
        loop {
            match message(bytes, at)? {
                Message::Whole(kind, end) if kind == self.kind => at = end,
                _ if at > 0 => return Ok((at, Step::More(0))),
                Message::Whole(kind, end) => return Ok((0, Step::Control(kind, end))),
                Message::Partial(needed) => return Ok((0, Step::More(needed))),
            }
        }
    }

    /// Whether a row has come since this was asked last.
    pub(crate) fn came(&mut self) -> bool {
        std::mem::take(&mut self.came)
    }

    /// The server has sent the last row of the last answer.
    pub(crate) fn end(&mut self) {
        if self.kind == b'D' {
            self.state = State::Ended;
        }
    }

    /// The last batch, if rows are left. A stream that did not end as it must is an error: rows are missing.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.state != State::Ended || !self.rest.is_empty() {
            return Err(Error::new(ErrorKind::Unreachable, "the rows of a table ended before their end")
                .hint("the connection broke; run again"));
        }
        self.rows.take()
    }

    /// Takes the rows of one message.
    fn data(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<()> {
        self.rows.count(end - start);
        if self.state == State::Tuples && self.rest.is_empty() {
            let used = self.tuples(bytes, start, end)?;
            if self.kind == b'D' && used < end {
                return Err(broken("a row that is cut"));
            }
            self.rest.extend_from_slice(bytes.get(used..end).unwrap_or_default());
            return Ok(());
        }
        // What was located in `bytes` comes first.
        self.rows.decode(bytes)?;
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes.get(start..end).unwrap_or_default());
        let begin = match self.state {
            State::Header => match header(&rest)? {
                Some(length) => {
                    self.state = State::Tuples;
                    length
                }
                None => {
                    self.rest = rest;
                    return Ok(());
                }
            },
            _ => 0,
        };
        let used = self.tuples(&rest, begin, rest.len())?;
        self.rows.decode(&rest)?;
        rest.drain(..used);
        self.rest = rest;
        Ok(())
    }

    /// Locates the fields of all whole tuples; gives where the first that is not whole begins.
    fn tuples(&mut self, bytes: &[u8], mut at: usize, end: usize) -> Result<usize> {
        while at < end {
            if self.state == State::Ended {
                return Err(broken("bytes after the end of the rows"));
            }
            match self.tuple(bytes, at, end)? {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(at)
    }

    /// Locates the fields of one tuple and gives its end. `None` if it is not whole; then nothing is kept.
    fn tuple(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<Option<usize>> {
        let bytes = bytes.get(..end).unwrap_or_default();
        let Some(count) = chunk(bytes, start).map(i16::from_be_bytes) else { return Ok(None) };
        if count == -1 && self.kind == b'd' {
            self.state = State::Ended;
            return Ok(Some(start + 2));
        }
        if usize::try_from(count) != Ok(self.rows.width()) {
            return Err(broken("a row with the wrong number of columns"));
        }
        let mut at = start + 2;
        for _ in 0..count {
            let Some(length) = chunk(bytes, at).map(i32::from_be_bytes) else {
                self.rows.undo_row();
                return Ok(None);
            };
            at += 4;
            match usize::try_from(length) {
                Ok(length) => {
                    self.rows.locate(at, length);
                    at += length;
                }
                Err(_) if length == -1 => self.rows.locate_null(),
                Err(_) => return Err(broken("a field of negative length")),
            }
        }
        if at > end {
            self.rows.undo_row();
            return Ok(None);
        }
        self.came = true;
        self.rows.end_row(bytes)?;
        Ok(Some(at))
    }
}

/// The `N` bytes at a place.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied()
}

enum Message {
    /// Its type and its end.
    Whole(u8, usize),
    /// How many bytes are needed from its beginning on.
    Partial(usize),
}

/// The message at a place: a byte for its type, then its length without that byte.
#[inline]
fn message(bytes: &[u8], at: usize) -> Result<Message> {
    let Some([kind, length @ ..]) = chunk::<5>(bytes, at) else { return Ok(Message::Partial(5)) };
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length >= 4);
    let length = 1 + length.ok_or_else(|| broken("a message of impossible length"))?;
    Ok(if bytes.len() - at >= length { Message::Whole(kind, at + length) } else { Message::Partial(length) })
}

fn header(bytes: &[u8]) -> Result<Option<usize>> {
    let fixed = SIGNATURE.len() + 8;
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) {
        return Err(broken("no COPY signature"));
    }
    let Some(extension) = bytes.get(fixed - 4..fixed).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let extension = usize::try_from(i32::from_be_bytes(*extension)).map_err(|_| broken("a broken header"))?;
    Ok((bytes.len() >= fixed + extension).then_some(fixed + extension))
}

pub(crate) fn broken(what: &str) -> Error {
    Error::data(format!("PostgreSQL sent {what}")).hint("is a proxy between that changes the stream?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Int32Type;
    use arrow_schema::{DataType, Field, Schema};
    use rand::{Rng as _, SeedableRng as _};
    use std::sync::Arc;

    /// What goes ahead of the rows, three rows, and the end; a piece each.
    fn pieces() -> Vec<Vec<u8>> {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[0; 8]);
        let mut pieces = vec![header];
        for (id, text) in [(1_i32, Some("one")), (2, None), (3, Some(""))] {
            let mut bytes = 2_i16.to_be_bytes().to_vec();
            bytes.extend_from_slice(&4_i32.to_be_bytes());
            bytes.extend_from_slice(&id.to_be_bytes());
            match text {
                None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(text) => {
                    bytes.extend_from_slice(&i32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            pieces.push(bytes);
        }
        pieces.push((-1_i16).to_be_bytes().to_vec());
        pieces
    }

    fn message_of(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&i32::try_from(payload.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// One message a piece, or the whole stream cut into messages of a length.
    fn stream(cut: Option<usize>) -> Vec<u8> {
        match cut {
            None => pieces().iter().flat_map(|piece| message_of(b'd', piece)).collect(),
            Some(length) => {
                pieces().concat().chunks(length).flat_map(|piece| message_of(b'd', piece)).collect()
            }
        }
    }

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("id", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
        Arc::new(Schema::new(fields))
    }

    fn decoder(batch_rows: usize) -> CopyDecoder {
        CopyDecoder::new(schema(), &[Wire::Int4, Wire::Text], batch_rows, 1 << 20)
    }

    /// Reads a stream that arrives in chunks; gives the types of the messages without rows too.
    fn decode(decoder: &mut CopyDecoder, stream: &[u8], chunk: usize) -> Result<(Vec<RecordBatch>, Vec<u8>)> {
        let (mut batches, mut controls, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in stream.chunks(chunk) {
            buffer.extend_from_slice(chunk);
            loop {
                let (used, step) = decoder.take(&buffer)?;
                buffer.drain(..used);
                match step {
                    Step::Batch(batch) => batches.push(batch),
                    Step::Control(kind, length) => {
                        controls.push(kind);
                        buffer.drain(..length);
                    }
                    Step::More(bytes) => {
                        assert!(bytes > buffer.len(), "{bytes} bytes wanted and {} there", buffer.len());
                        break;
                    }
                }
            }
        }
        batches.extend(decoder.finish()?);
        Ok((batches, controls))
    }

    fn rows(batches: &[RecordBatch]) -> Vec<(i32, Option<String>)> {
        let mut rows = Vec::new();
        for batch in batches {
            let (ids, texts) =
                (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_string::<i32>());
            rows.extend(ids.values().iter().zip(texts).map(|(id, text)| (*id, text.map(str::to_owned))));
        }
        rows
    }

    #[test]
    fn chunks_and_messages_may_end_anywhere() {
        let expected = vec![(1, Some("one".to_owned())), (2, None), (3, Some(String::new()))];
        for cut in std::iter::once(None).chain((1..70).map(Some)) {
            let mut stream = message_of(b'N', b"a notice");
            stream.extend(self::stream(cut));
            stream.extend(message_of(b'c', b""));
            for chunk in 1..20 {
                for batch_rows in [1, 2, 100] {
                    let (batches, controls) = decode(&mut decoder(batch_rows), &stream, chunk).unwrap();
                    assert_eq!(
                        rows(&batches),
                        expected,
                        "{cut:?}, chunks of {chunk}, batches of {batch_rows}"
                    );
                    assert_eq!(controls, b"Nc");
                    assert!(cut.is_some() || batches.iter().all(|batch| batch.num_rows() <= batch_rows));
                }
            }
        }
    }

    #[test]
    fn a_missing_end_is_an_error() {
        let bytes = stream(None);
        for cut in 0..bytes.len() {
            let error = decode(&mut decoder(100), &bytes[..cut], 7).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreachable, "cut at {cut}");
        }
    }

    #[test]
    fn skipping_finds_what_is_no_row() {
        let mut bytes = stream(None);
        let rows = bytes.len();
        bytes.extend(message_of(b'Z', b"T"));
        assert!(matches!(decoder(1).skip(&bytes), Ok((used, Step::More(0))) if used == rows));
        assert!(matches!(decoder(1).skip(&bytes[rows..]), Ok((0, Step::Control(b'Z', 6)))));
        assert!(matches!(decoder(1).skip(&bytes[..3]), Ok((0, Step::More(5)))));
    }

    /// The same rows as an answer to a query.
    fn answer() -> Vec<u8> {
        let row = |id: &[u8], text: Option<&[u8]>| {
            let mut bytes = 2_i16.to_be_bytes().to_vec();
            for field in [Some(id), text] {
                bytes.extend(field.map_or(-1, |field| i32::try_from(field.len()).unwrap()).to_be_bytes());
                bytes.extend(field.unwrap_or_default());
            }
            message_of(b'D', &bytes)
        };
        [row(b"1", Some(b"one")), row(b"2", None), row(b"3", Some(b""))].concat()
    }

    fn answers(batch_rows: usize) -> CopyDecoder {
        CopyDecoder::of_answers(schema(), &[Wire::Int4, Wire::Text], batch_rows, 1 << 20)
    }

    #[test]
    fn answers_to_queries_have_the_same_layout() {
        let mut decoder = answers(2);
        let (used, step) = decoder.take(&answer()).unwrap();
        let Step::Batch(first) = step else { panic!("{step:?}") };
        assert_eq!(rows(&[first]), [(1, Some("one".to_owned())), (2, None)]);
        assert!(decoder.came() && !decoder.came());
        let rest = &answer()[used..];
        assert!(matches!(decoder.take(rest), Ok((used, Step::More(5))) if used == rest.len()));
        // Without the word that this was all, it is none.
        decoder.end();
        assert_eq!(rows(&[decoder.finish().unwrap().unwrap()]), [(3, Some(String::new()))]);
        assert_eq!(answers(2).finish().unwrap_err().kind(), ErrorKind::Unreachable);
        // A message is one row, no more and no less.
        let mut cut = answer();
        cut[4] -= 1;
        assert!(answers(9).take(&cut).is_err());
    }

    #[test]
    fn damaged_answers_never_panic() {
        let mut random = rand::rngs::StdRng::seed_from_u64(8);
        for _ in 0..20_000 {
            let mut bytes = answer();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let _ = answers(2).take(&bytes);
        }
    }

    #[test]
    fn a_block_may_end_within_a_batch() {
        let mut bytes = message_of(b'd', &pieces()[0]);
        let count = 8195;
        for _ in 0..count {
            bytes.extend(message_of(b'd', &pieces()[1]));
        }
        bytes.extend(message_of(b'd', &pieces()[4]));
        let (batches, _) = decode(&mut decoder(usize::MAX), &bytes, bytes.len()).unwrap();
        assert_eq!(rows(&batches), vec![(1, Some("one".to_owned())); count]);
    }

    #[test]
    fn damaged_streams_never_panic() {
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let mut bytes = stream(random.random_bool(0.5).then(|| random.random_range(1..40)));
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let _ = decode(&mut decoder(2), &bytes, 50);
        }
    }
}
