//! What the fuzz targets of `fuzz/` and the benchmark call. No part of the API.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use transload_core::{Error, Result};

use crate::cell::text_of;
use crate::protocol::{HEADER, Token, next_token, packet};
use crate::rows::{RowDecoder, Step, cells};
use crate::types::Wire;
use crate::wire::{Column, Shape, WireType, ty};

/// Ways of decoding, each with a type that results say it is of.
fn known() -> Vec<(Wire, WireType)> {
    let small = |kind, size| WireType::new(kind, Shape::Counted8, size);
    let fixed = |kind, size| WireType::new(kind, Shape::Fixed(size), size);
    let scaled = |kind, scale| WireType { scale, ..small(kind, 0) };
    let decimal = |precision, scale| WireType { precision, ..scaled(ty::DECIMAL_N, scale) };
    let coded = |collation| WireType { collation, ..WireType::new(ty::VARCHAR, Shape::Counted16, 100) };
    vec![
        (Wire::Bool, small(ty::BIT_N, 1)),
        (Wire::Tiny, small(ty::INT_N, 1)),
        (Wire::Int16, small(ty::INT_N, 2)),
        (Wire::Int32, fixed(ty::INT4, 4)),
        (Wire::Int64, small(ty::INT_N, 8)),
        (Wire::Float4, small(ty::FLOAT_N, 4)),
        (Wire::Float8, fixed(ty::FLOAT, 8)),
        (Wire::Decimal(38, 10), decimal(38, 10)),
        (Wire::Decimal(5, 0), decimal(5, 0)),
        (Wire::Money(19), small(ty::MONEY_N, 8)),
        (Wire::Money(10), fixed(ty::SMALLMONEY, 4)),
        (Wire::Date, small(ty::DATE, 0)),
        (Wire::Time, scaled(ty::TIME, 7)),
        (Wire::TimeText(7), scaled(ty::TIME, 7)),
        (Wire::DateTime2, scaled(ty::DATETIME2, 3)),
        (Wire::DateTime2Text(7), scaled(ty::DATETIME2, 7)),
        (Wire::DateTimeOffset, scaled(ty::DATETIMEOFFSET, 7)),
        (Wire::DateTime, small(ty::DATETIME_N, 8)),
        (Wire::SmallDateTime, fixed(ty::SMALLDATETIME, 4)),
        (Wire::Guid, small(ty::GUID, 16)),
        (Wire::Text, WireType::new(ty::NVARCHAR, Shape::Counted16, 100)),
        (Wire::Text, WireType::new(ty::XML, Shape::Pieces, 0)),
        (Wire::Text, WireType::new(ty::NTEXT, Shape::Pointed, 100)),
        (Wire::Coded, coded([9, 4, 0xd0, 0, 52])),
        (Wire::Coded, coded([0x11, 4, 0, 0, 0])),
        (Wire::Coded, coded([9, 4, 0, 0x24, 0])),
        (Wire::Coded, coded([9, 4, 0, 0, 30])),
        (Wire::Bytes, WireType::new(ty::VARBINARY, Shape::Pieces, 0xffff)),
        (Wire::RowVersion, WireType::new(ty::BINARY, Shape::Counted16, 8)),
        (Wire::Variant, WireType::new(ty::VARIANT, Shape::Counted32, 8009)),
        (Wire::Geometry, WireType::new(ty::VARBINARY, Shape::Pieces, 0xffff)),
    ]
}

/// Decodes what a server might send as rows. The input is: the number of columns, a byte for the type of each, whether
/// what is no character is replaced, rows a batch, bytes that arrive at once, and then the server's tokens.
///
/// # Panics
/// If the rows depend on how the bytes arrive, or a batch is not what its schema says.
pub fn rows(input: &[u8]) {
    let Some((count, input)) = input.split_first() else { return };
    let Some((types, input)) = input.split_at_checked(usize::from(count % 9) + 1) else { return };
    let Some(([replace, batch_rows, chunk], stream)) = input.split_first_chunk() else { return };
    let known = known();
    let chosen: Vec<_> = types.iter().map(|index| known[usize::from(*index) % known.len()]).collect();
    let fields = chosen.iter().map(|(wire, _)| Field::new("c", wire.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let wires: Vec<_> = chosen.iter().map(|(wire, _)| *wire).collect();
    let columns: Vec<_> = chosen.iter().map(|(_, ty)| Column { name: "c".into(), ty: *ty }).collect();
    let decode = |batch_rows, chunk| {
        let mut decoder = RowDecoder::new(Arc::clone(&schema), &wires, replace % 2 == 1, batch_rows, 1 << 16);
        decoder.define(&columns)?;
        decode(decoder, stream, chunk)
    };
    let pieces = decode(usize::from(*batch_rows).max(1), usize::from(*chunk).max(1));
    let whole = decode(usize::MAX, usize::MAX);
    match (pieces, whole) {
        (Ok(pieces), Ok(whole)) => {
            let joined = |batches: &[RecordBatch]| concat_batches(&schema, batches);
            assert!(matches!((joined(&pieces), joined(&whole)), (Ok(a), Ok(b)) if same(&a, &b)), "{types:?}");
        }
        (Err(_), Err(_)) => {}
        (pieces, whole) => {
            let text =
                |outcome: Result<_>| outcome.map_or_else(|error| error.to_string(), |_| "rows".to_owned());
            panic!("{types:?}: {} in pieces, {} as a whole", text(pieces), text(whole));
        }
    }
}

/// Equality under which NaN is itself.
fn same(one: &RecordBatch, other: &RecordBatch) -> bool {
    one == other || format!("{one:?}") == format!("{other:?}")
}

/// As the reader of a connection does it: more bytes when the decoder asks for them, until the end of the rows.
fn decode(mut decoder: RowDecoder, stream: &[u8], chunk: usize) -> Result<Vec<RecordBatch>> {
    let (mut start, mut end, mut batches) = (0, 0, Vec::new());
    loop {
        let (used, step) = decoder.take(&stream[start..end])?;
        start += used;
        match step {
            Step::Batch(batch) => batches.push(batch),
            Step::Control => {
                decoder.end(None)?;
                break;
            }
            Step::More(bytes) => {
                assert!(bytes > end - start, "{bytes} bytes are wanted and {} are there", end - start);
                if end == stream.len() {
                    return Err(Error::data("the stream ended early"));
                }
                end = stream.len().min(end.saturating_add(chunk));
            }
        }
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

/// Reads whatever a server might answer: tokens, columns, rows as texts.
pub fn answers(input: &[u8]) {
    let (mut at, mut columns) = (0, Vec::<Column>::new());
    while at < input.len() {
        if matches!(input[at], 0xd1 | 0xd2) && !columns.is_empty() {
            let Ok((found, next)) = cells(input, at, columns.iter().map(|column| column.ty.shape)) else {
                return;
            };
            for (column, cell) in columns.iter().zip(found) {
                if let Some(cell) = cell {
                    let _ = text_of(&column.ty, &cell);
                }
            }
            at = next;
            continue;
        }
        match next_token(&input[at..]) {
            Ok(Some((Token::Columns(found), length))) => {
                columns = found;
                at += length;
            }
            Ok(Some((_, length))) => at += length,
            Ok(None) | Err(_) => return,
        }
    }
}

/// Decodes a whole answer, packets and all, and gives its rows; for benchmarks. The columns must be nullable.
///
/// # Errors
/// For what is no answer to one query.
pub fn decode_answer(packets: &[u8], batch_rows: usize) -> Result<usize> {
    let cut = || Error::data("the answer is cut");
    let (mut rest, mut bytes) = (packets, Vec::with_capacity(packets.len()));
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let (length, _) = packet(*header).ok_or_else(cut)?;
        bytes.extend_from_slice(rest.get(HEADER..length).ok_or_else(cut)?);
        rest = &rest[length..];
    }
    let Some((Token::Columns(columns), mut at)) = next_token(&bytes)? else { return Err(cut()) };
    let wire = |column: &Column| {
        let mut known = known()
            .into_iter()
            .map(|(wire, _)| wire)
            .chain([Wire::Decimal(column.ty.precision, i8::try_from(column.ty.scale).unwrap_or(0))]);
        known.find(|wire| wire.takes(&column.ty)).ok_or_else(cut)
    };
    let wires = columns.iter().map(wire).collect::<Result<Vec<_>>>()?;
    let fields =
        columns.iter().zip(&wires).map(|(column, wire)| Field::new(&column.name, wire.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = RowDecoder::new(schema, &wires, false, batch_rows, usize::MAX);
    decoder.define(&columns)?;
    let mut rows = 0;
    loop {
        // As much as a connection reads at once.
        let end = bytes.len().min(at + 512 * 1024);
        let (used, step) = decoder.take(&bytes[at..end])?;
        at += used;
        match step {
            Step::Batch(batch) => rows += batch.num_rows(),
            Step::Control => match next_token(&bytes[at..])? {
                Some((Token::Done { .. }, _)) => break,
                Some((_, length)) => at += length,
                None => return Err(cut()),
            },
            Step::More(_) if end == bytes.len() => return Err(cut()),
            Step::More(_) => {}
        }
    }
    decoder.end(None)?;
    Ok(rows + decoder.finish()?.map_or(0, |batch| batch.num_rows()))
}
