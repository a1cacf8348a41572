//! Rows out of what a connection has read, which may end anywhere.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use transload_core::{Error, ErrorKind, Result};
use transload_sql::wire::Rows;

use crate::decode::ColumnDecoder;
use crate::protocol::{broken, cut, token};
use crate::types::Wire;
use crate::wire::{Column, Located, Shape, locate, pieces_of};

/// Turns tokens of rows into batches.
pub(crate) struct RowDecoder {
    schema: SchemaRef,
    wires: Vec<Wire>,
    /// Whether what is no character is replaced.
    replace: bool,
    shapes: Vec<Shape>,
    rows: Option<Rows<ColumnDecoder>>,
    /// The values of a row of which some came in pieces, without the pieces' lengths.
    joined: Vec<u8>,
    ended: bool,
    /// Rows in all.
    total: u64,
    batch_rows: usize,
    batch_bytes: usize,
}

/// Why the decoder stopped.
#[derive(Debug)]
pub(crate) enum Step {
    /// It needs this many unused bytes at least.
    More(usize),
    /// Enough rows for a batch are together.
    Batch(RecordBatch),
    /// What comes next is no row.
    Control,
}

impl RowDecoder {
    pub(crate) fn new(
        schema: SchemaRef,
        wires: &[Wire],
        replace: bool,
        batch_rows: usize,
        batch_bytes: usize,
    ) -> Self {
        Self {
            schema,
            wires: wires.to_vec(),
            replace,
            shapes: Vec::new(),
            rows: None,
            joined: Vec::new(),
            ended: false,
            total: 0,
            batch_rows,
            batch_bytes,
        }
    }

    /// Takes the columns as the server describes them. They must be what was asked for.
    pub(crate) fn define(&mut self, columns: &[Column]) -> Result<()> {
        if !self.shapes.is_empty() || columns.len() != self.wires.len() || columns.is_empty() {
            return Err(broken("a result with the wrong number of columns"));
        }
        let mut decoders = Vec::with_capacity(columns.len());
        for ((column, wire), field) in columns.iter().zip(&self.wires).zip(self.schema.fields()) {
            if !wire.takes(&column.ty) {
                let text = format!("column `{}` is not of the type that the catalog says", field.name());
                return Err(Error::new(ErrorKind::SchemaChanged, text)
                    .with("column", field.name())
                    .hint("the table was altered while it was read; run again"));
            }
            decoders.push(ColumnDecoder::new(field.name(), *wire, column.ty, self.replace));
            self.shapes.push(column.ty.shape);
        }
        self.rows = Some(Rows::new(self.schema.clone(), decoders, self.batch_rows, self.batch_bytes));
        Ok(())
    }

    /// Decodes rows from the beginning of `bytes`. Gives how many bytes were used, and why it stopped.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Step)> {
        let mut used = 0;
        let Some(rows) = &mut self.rows else {
            return match bytes.first() {
                None => Ok((0, Step::More(1))),
                Some(&(token::ROW | token::NULLED_ROW)) => Err(broken("a row without columns")),
                Some(_) => Ok((0, Step::Control)),
            };
        };
        let step = loop {
            if rows.is_full() {
                rows.decode(bytes)?;
                let batch = rows.take()?;
                break Step::Batch(batch.ok_or_else(|| Error::internal("a full batch without rows"))?);
            }
            match bytes.get(used) {
                None => break Step::More(1),
                Some(&(token::ROW | token::NULLED_ROW)) => {}
                Some(_) => break Step::Control,
            }
            match row(rows, &self.shapes, bytes, used)? {
                Row::Whole(end) => {
                    rows.end_row(bytes)?;
                    rows.count(end - used);
                    used = end;
                }
                Row::InPieces => {
                    rows.undo_row();
                    // What was located in `bytes` comes first.
                    rows.decode(bytes)?;
                    let end = join(rows, &mut self.joined, &self.shapes, bytes, used)?;
                    rows.count(end - used);
                    used = end;
                }
                Row::More(needed) => {
                    rows.undo_row();
                    break Step::More(needed - used);
                }
            }
            self.total += 1;
        };
        rows.decode(bytes)?;
        Ok((used, step))
    }

    /// The server has said that this was all; of how many rows, if it says so.
    pub(crate) fn end(&mut self, rows: Option<u64>) -> Result<()> {
        if rows.is_some_and(|rows| rows != self.total) {
            return Err(broken("fewer or more rows than it says"));
        }
        self.ended = true;
        Ok(())
    }

    /// The last batch, if rows are left. A stream that did not end as it must is an error: rows are missing.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if !self.ended {
            return Err(Error::new(ErrorKind::Unreachable, "the rows of a table ended before their end")
                .hint("the connection broke; run again"));
        }
        match &mut self.rows {
            Some(rows) => rows.take(),
            None => Err(broken("rows without columns")),
        }
    }
}

/// What was found at the place of a row.
enum Row {
    /// All of it; it ends here.
    Whole(usize),
    /// All of it, but some of its values are not in one piece.
    InPieces,
    /// It needs so many bytes, from the beginning of all bytes.
    More(usize),
}

/// Locates the fields of the row at a place.
#[inline]
fn row(rows: &mut Rows<ColumnDecoder>, shapes: &[Shape], bytes: &[u8], at: usize) -> Result<Row> {
    // One bit for each column says whether it is NULL, and then nothing else stands for it.
    let nulled = bytes.get(at) == Some(&token::NULLED_ROW);
    let bitmap = if nulled { shapes.len().div_ceil(8) } else { 0 };
    let Some(nulls) = bytes.get(at + 1..at + 1 + bitmap) else { return Ok(Row::More(at + 1 + bitmap)) };
    let mut next = at + 1 + bitmap;
    let mut in_pieces = false;
    for (index, shape) in shapes.iter().enumerate() {
        if nulls.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0) {
            rows.locate_null();
            continue;
        }
        next = match locate(bytes, next, *shape)? {
            Located::Null(after) => {
                rows.locate_null();
                after
            }
            Located::At(start, end, after) => {
                rows.locate(start, end - start);
                after
            }
            Located::InPieces(_, end) => {
                in_pieces = true;
                end
            }
            Located::More(needed) => return Ok(Row::More(needed)),
        };
    }
    Ok(if in_pieces { Row::InPieces } else { Row::Whole(next) })
}

/// Puts the values of a row together, and decodes it for itself. Gives where the row ends.
fn join(
    rows: &mut Rows<ColumnDecoder>,
    joined: &mut Vec<u8>,
    shapes: &[Shape],
    bytes: &[u8],
    at: usize,
) -> Result<usize> {
    joined.clear();
    let (cells, end) = cells(bytes, at, shapes.iter().copied())?;
    for cell in cells {
        match cell {
            Some(cell) => {
                rows.locate(joined.len(), cell.len());
                joined.extend_from_slice(&cell);
            }
            None => rows.locate_null(),
        }
    }
    rows.end_row(joined)?;
    rows.decode(joined)?;
    Ok(end)
}

/// The bytes of a value; `None` for NULL.
type Cell<'a> = Option<Cow<'a, [u8]>>;

/// The values of a row of an answer, and where what follows begins.
pub(crate) fn cells(
    bytes: &[u8],
    at: usize,
    shapes: impl ExactSizeIterator<Item = Shape>,
) -> Result<(Vec<Cell<'_>>, usize)> {
    let nulled = bytes.get(at) == Some(&token::NULLED_ROW);
    let bitmap = if nulled { shapes.len().div_ceil(8) } else { 0 };
    let nulls = bytes.get(at + 1..at + 1 + bitmap).ok_or_else(cut)?;
    let (mut next, mut cells) = (at + 1 + bitmap, Vec::with_capacity(shapes.len()));
    for (index, shape) in shapes.enumerate() {
        if nulls.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0) {
            cells.push(None);
            continue;
        }
        let (cell, after) = match locate(bytes, next, shape)? {
            Located::Null(after) => (None, after),
            Located::At(start, end, after) => (bytes.get(start..end).map(Cow::Borrowed), after),
            Located::InPieces(start, end) => {
                let pieces = pieces_of(bytes.get(start..end).unwrap_or_default());
                (Some(Cow::Owned(pieces.collect::<Vec<_>>().concat())), end)
            }
            Located::More(_) => return Err(cut()),
        };
        cells.push(cell);
        next = after;
    }
    Ok((cells, next))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
