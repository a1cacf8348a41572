//! Rows out of what a connection has read, which may end anywhere: the answer to a prepared statement.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use transload_core::{Error, ErrorKind, Result};
use transload_sql::wire::Rows;

use crate::channel::{Packet, packet};
use crate::decode::ColumnDecoder;
use crate::protocol::{ColumnDefinition, MOST, broken};
use crate::types::{Shape, Wire};

/// Turns packets of the server into batches.
pub(crate) struct RowDecoder {
    rows: Rows<ColumnDecoder>,
    wires: Vec<Wire>,
    shapes: Vec<Shape>,
    /// The beginning of a row that goes on in the next packet.
    rest: Vec<u8>,
    joining: bool,
    ended: bool,
}

/// Why the decoder stopped.
#[derive(Debug)]
pub(crate) enum Step {
    /// It needs this many unused bytes at least.
    More(usize),
    /// Enough rows for a batch are together.
    Batch(RecordBatch),
    /// The next packet, up to here, holds no row: the end of the rows, or an error.
    Control(usize),
}

/// What was used of the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) bytes: usize,
    pub(crate) packets: usize,
}

impl RowDecoder {
    /// `lenient`: dates that no calendar has are NULL.
    pub(crate) fn new(
        schema: SchemaRef,
        wires: &[Wire],
        lenient: bool,
        batch_rows: usize,
        batch_bytes: usize,
    ) -> Self {
        let columns = schema.fields().iter().zip(wires);
        let columns = columns.map(|(field, wire)| ColumnDecoder::new(field.name(), *wire, lenient)).collect();
        Self {
            rows: Rows::new(schema, columns, batch_rows, batch_bytes),
            wires: wires.to_vec(),
            shapes: Vec::new(),
            rest: Vec::new(),
            joining: false,
            ended: false,
        }
    }

    /// Takes the columns as the server defines them. They must be what was asked for.
    pub(crate) fn define(&mut self, columns: &[ColumnDefinition]) -> Result<()> {
        if columns.len() != self.wires.len() {
            return Err(broken("a result with the wrong number of columns"));
        }
        for (column, wire) in columns.iter().zip(&self.wires) {
            if !wire.takes(column.kind, column.unsigned) {
                let text = format!("column `{}` is not of the type that the catalog says", column.name);
                return Err(Error::new(ErrorKind::SchemaChanged, text)
                    .with("column", &column.name)
                    .hint("the table was altered while it was read; run again"));
            }
        }
        self.shapes = columns.iter().map(|column| Shape::of(column.kind)).collect();
        Ok(())
    }

    /// Takes what it can of the bytes that were read, the first packet of which has this number; gives what was
    /// used, and why it stopped.
    pub(crate) fn take(&mut self, bytes: &[u8], number: Option<u8>) -> Result<(Used, Step)> {
        let joining = self.joining;
        // After an error nothing was used: whoever skips what is left begins where this began.
        self.take_rows(bytes, number).inspect_err(|_| self.joining = joining)
    }

    fn take_rows(&mut self, bytes: &[u8], number: Option<u8>) -> Result<(Used, Step)> {
        let (mut used, mut number) = (Used::default(), number);
        let step = loop {
            if !self.joining && self.rows.is_full() {
                self.rows.decode(bytes)?;
                if let Some(batch) = self.rows.take()? {
                    break Step::Batch(batch);
                }
            }
            let end = match packet(bytes, used.bytes, number)? {
                Packet::Whole(end) => end,
                Packet::Partial(needed) => break Step::More(needed),
            };
            let start = used.bytes + 4;
            // An empty packet ends a row that filled the one before; else it is none.
            if !self.joining && bytes.get(start..end).and_then(<[u8]>::first) != Some(&0) {
                break Step::Control(end - used.bytes);
            }
            self.packet(bytes, start, end)?;
            used.bytes = end;
            used.packets += 1;
            number = number.map(|number| number.wrapping_add(1));
        };
        self.rows.decode(bytes)?;
        Ok((used, step))
    }

    /// As [`Self::take`], and throws the rows away.
    pub(crate) fn skip(&mut self, bytes: &[u8], number: Option<u8>) -> Result<(Used, Step)> {
        let (mut used, mut number) = (Used::default(), number);
        loop {
            let end = match packet(bytes, used.bytes, number)? {
                Packet::Whole(end) => end,
                Packet::Partial(_) if used.bytes > 0 => return Ok((used, Step::More(0))),
                Packet::Partial(needed) => return Ok((used, Step::More(needed))),
            };
            let first = bytes.get(used.bytes + 4..end).and_then(<[u8]>::first);
            let is_row = self.joining || first == Some(&0);
            if !is_row && used.bytes > 0 {
                return Ok((used, Step::More(0)));
            }
            if !is_row {
                return Ok((used, Step::Control(end)));
            }
            self.joining = end - used.bytes - 4 == MOST;
            used.bytes = end;
            used.packets += 1;
            number = number.map(|number| number.wrapping_add(1));
        }
    }

    /// The server has said that this was all.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The last batch, if rows are left. A stream that did not end as it must is an error: rows are missing.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if !self.ended || self.joining {
            return Err(Error::new(ErrorKind::Unreachable, "the rows of a table ended before their end")
                .hint("the connection broke; run again"));
        }
        self.rows.take()
    }

    /// Takes one packet: a row, or a part of one that is larger than a packet may be.
    fn packet(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<()> {
        self.rows.count(end - start);
        let whole = end - start < MOST;
        if !self.joining && whole {
            return self.locate(bytes, start, end);
        }
        self.rest.extend_from_slice(bytes.get(start..end).unwrap_or_default());
        self.joining = !whole;
        if whole {
            // What was located in `bytes` comes first.
            self.rows.decode(bytes)?;
            let rest = std::mem::take(&mut self.rest);
            self.locate(&rest, 0, rest.len())?;
            self.rows.decode(&rest)?;
        }
        Ok(())
    }

    /// Locates the fields of a row: a zero, a bit for each column that is NULL (from the third bit on), the values.
    fn locate(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<()> {
        let cut = || broken("a row that is cut");
        let bitmap = (self.shapes.len() + 9) / 8;
        let nulls = bytes.get(start + 1..start + 1 + bitmap).ok_or_else(cut)?;
        let row = bytes.get(..end).ok_or_else(cut)?;
        let mut at = start + 1 + bitmap;
        for (index, shape) in self.shapes.iter().enumerate() {
            let bit = index + 2;
            if nulls.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0) {
                self.rows.locate_null();
                continue;
            }
            let length = match shape {
                Shape::Fixed(length) => *length,
                Shape::Counted => {
                    let (length, width) = counted(row, at).ok_or_else(cut)?;
                    at += width;
                    length
                }
                Shape::Absent => return Err(broken("a value of a column that has none")),
            };
            let next = at.checked_add(length).filter(|next| *next <= end).ok_or_else(cut)?;
            self.rows.locate(at, length);
            at = next;
        }
        if at != end {
            return Err(broken("a row with more than its columns"));
        }
        self.rows.end_row(bytes)
    }
}

/// A length and how many bytes it takes.
#[inline]
fn counted(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    if first < 0xfb {
        return Some((usize::from(first), 1));
    }
    let rest = bytes.get(at + 1..)?;
    match first {
        0xfc => Some((usize::from(u16::from_le_bytes(*rest.first_chunk()?)), 3)),
        0xfd => {
            let [a, b, c] = *rest.first_chunk()?;
            Some((usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?, 4))
        }
        0xfe => Some((usize::try_from(u64::from_le_bytes(*rest.first_chunk()?)).ok()?, 9)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
