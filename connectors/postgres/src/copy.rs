//! The binary COPY format: tuples out of chunks that may end anywhere.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_core::{Error, ErrorKind, Result};

use crate::decode::ColumnDecoder;
use crate::types::Wire;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Turns chunks of a COPY stream into batches.
pub(crate) struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    /// Bytes of a tuple that has not arrived as a whole.
    rest: Vec<u8>,
    state: State,
    rows: usize,
    bytes: usize,
    batch_rows: usize,
    batch_bytes: usize,
}

#[derive(PartialEq)]
enum State {
    Header,
    Tuples,
    Ended,
}

impl CopyDecoder {
    pub(crate) fn new(schema: SchemaRef, wires: &[Wire], batch_rows: usize, batch_bytes: usize) -> Self {
        let columns =
            schema.fields().iter().zip(wires).map(|(field, wire)| ColumnDecoder::new(field.name(), *wire));
        Self {
            columns: columns.collect(),
            schema,
            rest: Vec::new(),
            state: State::Header,
            rows: 0,
            bytes: 0,
            batch_rows,
            batch_bytes,
        }
    }

    /// Takes the next chunk; gives a batch when enough rows are together.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Option<RecordBatch>> {
        if self.rest.is_empty() {
            let used = self.consume(chunk)?;
            self.rest.extend_from_slice(chunk.get(used..).unwrap_or_default());
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(chunk);
            let used = self.consume(&all)?;
            all.drain(..used);
            self.rest = all;
        }
        if self.rows >= self.batch_rows || self.bytes >= self.batch_bytes {
            return self.take_batch().map(Some);
        }
        Ok(None)
    }

    /// The last batch, if rows are left. A stream that did not end as it must is an error: rows are missing.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.state != State::Ended || !self.rest.is_empty() {
            return Err(Error::new(ErrorKind::Unreachable, "the rows of a table ended before their end")
                .hint("the connection broke; run again"));
        }
        if self.rows == 0 { Ok(None) } else { self.take_batch().map(Some) }
    }

    fn take_batch(&mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(ColumnDecoder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }

    /// Reads all whole tuples; gives the number of bytes used.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        if self.state == State::Header {
            match header(bytes)? {
                None => return Ok(0),
                Some(used) => {
                    at = used;
                    self.state = State::Tuples;
                }
            }
        }
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.state == State::Ended {
                return Err(broken("bytes after the end of the rows"));
            }
            match self.tuple(rest)? {
                None => break,
                Some(used) => at += used,
            }
        }
        Ok(at)
    }

    /// Reads one tuple. `None` if it has not arrived as a whole; then nothing was added to the columns.
    fn tuple(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(count) = bytes.first_chunk().map(|count| i16::from_be_bytes(*count)) else {
            return Ok(None);
        };
        if count == -1 {
            self.state = State::Ended;
            return Ok(Some(2));
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(broken("a row with the wrong number of columns"));
        }
        if !is_whole(bytes, self.columns.len())? {
            return Ok(None);
        }
        let mut at = 2;
        for column in &mut self.columns {
            let (length, after) = length_at(bytes, at);
            at = after;
            match usize::try_from(length) {
                Err(_) => column.push_null(),
                Ok(length) => {
                    let field = bytes.get(at..at + length).ok_or_else(|| broken("a row that is cut"))?;
                    column.push(field)?;
                    self.bytes += length;
                    at += length;
                }
            }
        }
        // Offsets, validity and small values count too.
        self.bytes += self.columns.len() * 4;
        self.rows += 1;
        Ok(Some(at))
    }
}

/// Length field at a place, -1 at NULL or beyond the end, and the place behind it.
#[inline]
fn length_at(bytes: &[u8], at: usize) -> (i32, usize) {
    let length =
        bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(-1, |length| i32::from_be_bytes(*length));
    (length, at + 4)
}

/// Whether a whole tuple is there; also checks its lengths once, so that reading it cannot run over.
#[inline]
fn is_whole(bytes: &[u8], columns: usize) -> Result<bool> {
    let mut at = 2;
    for _ in 0..columns {
        if bytes.len() < at + 4 {
            return Ok(false);
        }
        let (length, after) = length_at(bytes, at);
        at = after;
        match usize::try_from(length) {
            Ok(length) => at += length,
            Err(_) if length == -1 => {}
            Err(_) => return Err(broken("a field of negative length")),
        }
        if bytes.len() < at {
            return Ok(false);
        }
    }
    Ok(true)
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

fn broken(what: &str) -> Error {
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

    fn stream() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        for (id, text) in [(1_i32, Some("one")), (2, None), (3, Some(""))] {
            bytes.extend_from_slice(&2_i16.to_be_bytes());
            bytes.extend_from_slice(&4_i32.to_be_bytes());
            bytes.extend_from_slice(&id.to_be_bytes());
            match text {
                None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(text) => {
                    bytes.extend_from_slice(&i32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
        bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        bytes
    }

    fn decoder(batch_rows: usize) -> CopyDecoder {
        let fields = vec![Field::new("id", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
        CopyDecoder::new(Arc::new(Schema::new(fields)), &[Wire::Int4, Wire::Text], batch_rows, 1 << 20)
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
    fn chunks_may_end_anywhere() {
        let expected = vec![(1, Some("one".to_owned())), (2, None), (3, Some(String::new()))];
        for step in 1..20 {
            for batch_rows in [1, 2, 100] {
                let (mut decoder, mut batches) = (decoder(batch_rows), Vec::new());
                for chunk in stream().chunks(step) {
                    batches.extend(decoder.feed(chunk).unwrap());
                }
                batches.extend(decoder.finish().unwrap());
                assert_eq!(rows(&batches), expected, "step {step}, batches of {batch_rows}");
            }
        }
    }

    #[test]
    fn a_missing_end_is_an_error() {
        let bytes = stream();
        for cut in 0..bytes.len() {
            let mut decoder = decoder(100);
            decoder.feed(&bytes[..cut]).unwrap();
            assert_eq!(decoder.finish().unwrap_err().kind(), ErrorKind::Unreachable, "cut at {cut}");
        }
    }

    #[test]
    fn damaged_streams_never_panic() {
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let mut bytes = stream();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let mut decoder = decoder(2);
            if decoder.feed(&bytes).is_ok() {
                let _ = decoder.finish();
            }
        }
    }
}
