use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_schema::{DataType, Field as ArrowField, Schema};
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::wire::{WireType, ty};

fn columns() -> Vec<Column> {
    let column = |ty| Column { name: "c".into(), ty };
    vec![
        column(WireType::new(ty::INT_N, Shape::Counted8, 4)),
        column(WireType::new(ty::NVARCHAR, Shape::Pieces, 0xffff)),
    ]
}

fn decoder(batch_rows: usize) -> RowDecoder {
    let fields =
        vec![ArrowField::new("id", DataType::Int32, true), ArrowField::new("t", DataType::Utf8, true)];
    let mut decoder = RowDecoder::new(
        Arc::new(Schema::new(fields)),
        &[Wire::Int32, Wire::Text],
        false,
        batch_rows,
        1 << 26,
    );
    decoder.define(&columns()).unwrap();
    decoder
}

fn put_pieces(to: &mut Vec<u8>, text: &str, piece: usize, known: bool) {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let total = if known { bytes.len() as u64 } else { u64::MAX - 1 };
    to.extend(total.to_le_bytes());
    for piece in bytes.chunks(piece) {
        to.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
        to.extend(piece);
    }
    to.extend([0; 4]);
}

/// A row of both forms: with NULL in place of values, and with a bit for each.
fn row(id: Option<i32>, text: Option<&str>, piece: usize, nulled: bool) -> Vec<u8> {
    let mut bytes = vec![if nulled { token::NULLED_ROW } else { token::ROW }];
    if nulled {
        bytes.push(u8::from(id.is_none()) | u8::from(text.is_none()) << 1);
    }
    match id {
        Some(id) => {
            bytes.push(4);
            bytes.extend(id.to_le_bytes());
        }
        None if nulled => {}
        None => bytes.push(0),
    }
    match text {
        Some(text) => put_pieces(&mut bytes, text, piece, id.is_some()),
        None if nulled => {}
        None => bytes.extend([0xff; 8]),
    }
    bytes
}

const ROWS: [(Option<i32>, Option<&str>); 5] = [
    (Some(1), Some("one \u{e9}")),
    (None, None),
    (Some(3), Some("")),
    (None, Some("four")),
    (Some(-5), None),
];

fn stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (id, text)) in ROWS.into_iter().enumerate() {
        bytes.extend(row(id, text, [3, 4, 100][index % 3], index % 2 == 1));
    }
    bytes.push(token::DONE);
    bytes
}

/// Reads a stream that arrives in chunks, up to its end.
fn decode(
    decoder: &mut RowDecoder,
    stream: &[u8],
    chunk: usize,
    count: Option<u64>,
) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut buffer) = (Vec::new(), Vec::new());
    'all: for chunk in stream.chunks(chunk) {
        buffer.extend_from_slice(chunk);
        loop {
            let (used, step) = decoder.take(&buffer)?;
            buffer.drain(..used);
            match step {
                Step::Batch(batch) => batches.push(batch),
                Step::Control => {
                    decoder.end(count)?;
                    break 'all;
                }
                Step::More(bytes) => {
                    assert!(bytes > buffer.len(), "{bytes} bytes wanted and {} there", buffer.len());
                    break;
                }
            }
        }
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

fn rows(batches: &[RecordBatch]) -> Vec<(Option<i32>, Option<String>)> {
    let mut rows = Vec::new();
    for batch in batches {
        let (ids, texts) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_string::<i32>());
        rows.extend(ids.iter().zip(texts).map(|(id, text)| (id, text.map(str::to_owned))));
    }
    rows
}

#[test]
fn chunks_may_end_anywhere() {
    let expected: Vec<_> = ROWS.iter().map(|(id, text)| (*id, text.map(str::to_owned))).collect();
    for chunk in 1..100 {
        for batch_rows in [1, 2, 100] {
            let batches = decode(&mut decoder(batch_rows), &stream(), chunk, Some(5)).unwrap();
            assert_eq!(rows(&batches), expected, "chunks of {chunk}, batches of {batch_rows}");
            assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
        }
    }
}

#[test]
fn a_missing_end_or_row_is_an_error() {
    let bytes = stream();
    for cut in 0..bytes.len() {
        let error = decode(&mut decoder(100), &bytes[..cut], 7, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "cut at {cut}");
    }
    assert!(decode(&mut decoder(2), &bytes, 100, Some(4)).is_err());
}

#[test]
fn another_type_than_asked_for_is_an_altered_table() {
    let mut columns = columns();
    columns[0].ty.size = 8;
    let mut fresh = decoder(1);
    (fresh.shapes, fresh.rows) = (Vec::new(), None);
    assert_eq!(fresh.define(&columns).unwrap_err().kind(), ErrorKind::SchemaChanged);
    assert!(fresh.take(&stream()).is_err(), "rows before their columns");
}

#[test]
fn a_block_may_end_within_a_batch() {
    let count = 10_000;
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(row(Some(1), Some("one"), 4, false));
    }
    bytes.push(token::DONE);
    let length = bytes.len();
    let batches = decode(&mut decoder(usize::MAX), &bytes, length, None).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count);
    assert!(rows(&batches).iter().all(|(id, text)| *id == Some(1) && text.as_deref() == Some("one")));
}

#[test]
fn damaged_streams_never_panic() {
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..50_000 {
        let mut bytes = stream();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        let _ = decode(&mut decoder(2), &bytes, 50, None);
    }
}
