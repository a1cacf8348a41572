use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, Schema};
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::protocol::put_bytes;

fn packet_of(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes()[..3].to_vec();
    bytes.push(number);
    bytes.extend_from_slice(payload);
    bytes
}

fn row(id: Option<i32>, text: Option<&[u8]>) -> Vec<u8> {
    let nulls = u8::from(id.is_none()) << 2 | u8::from(text.is_none()) << 3;
    let mut bytes = vec![0, nulls];
    bytes.extend(id.into_iter().flat_map(i32::to_le_bytes));
    if let Some(text) = text {
        put_bytes(&mut bytes, text);
    }
    bytes
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
    let column = |kind| ColumnDefinition { name: "c".into(), kind, unsigned: false };
    decoder.define(&[column(3), column(253)]).unwrap();
    decoder
}

/// Three rows and the end.
fn stream() -> Vec<u8> {
    let rows = [row(Some(1), Some(b"one")), row(None, None), row(Some(3), Some(b""))];
    let mut bytes: Vec<u8> = (7..).zip(&rows).flat_map(|(number, row)| packet_of(number, row)).collect();
    bytes.extend(packet_of(10, &[0xfe, 0, 0, 2, 0]));
    bytes
}

/// Reads a stream that arrives in chunks, up to its end.
fn decode(decoder: &mut RowDecoder, stream: &[u8], chunk: usize) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut buffer, mut number) = (Vec::new(), Vec::new(), 7_u8);
    'all: for chunk in stream.chunks(chunk) {
        buffer.extend_from_slice(chunk);
        loop {
            let (used, step) = decoder.take(&buffer, Some(number))?;
            buffer.drain(..used.bytes);
            number = number.wrapping_add(u8::try_from(used.packets % 256).unwrap());
            match step {
                Step::Batch(batch) => batches.push(batch),
                Step::Control(_) => {
                    decoder.end();
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
    let expected = vec![(Some(1), Some("one".to_owned())), (None, None), (Some(3), Some(String::new()))];
    for chunk in 1..40 {
        for batch_rows in [1, 2, 100] {
            let batches = decode(&mut decoder(batch_rows), &stream(), chunk).unwrap();
            assert_eq!(rows(&batches), expected, "chunks of {chunk}, batches of {batch_rows}");
            assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
        }
    }
}

#[test]
fn a_missing_end_is_an_error() {
    let bytes = stream();
    // The last packet alone says that this was all.
    for cut in 0..bytes.len() {
        let error = decode(&mut decoder(100), &bytes[..cut], 7).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "cut at {cut}");
    }
}

#[test]
fn packets_out_of_order_are_an_error() {
    let mut bytes = stream();
    bytes[3] = 8;
    assert_eq!(decode(&mut decoder(100), &bytes, 1000).unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn rows_may_be_larger_than_packets() {
    for length in [MOST - 7, MOST - 6, MOST - 5, MOST, 2 * MOST - 6, 2 * MOST + 5] {
        let large = row(Some(9), Some(&vec![b'x'; length]));
        let mut bytes = packet_of(7, &row(Some(1), Some(b"one")));
        let mut number = 8;
        let mut pieces = large.chunks(MOST);
        for _ in 0..=large.len() / MOST {
            bytes.extend(packet_of(number, pieces.next().unwrap_or_default()));
            number += 1;
        }
        bytes.extend(packet_of(number, &row(Some(2), None)));
        bytes.extend(packet_of(number + 1, &[0xfe, 0, 0, 2, 0]));
        for batch_rows in [1, 100] {
            let batches = decode(&mut decoder(batch_rows), &bytes, 5_000_000).unwrap();
            let found = rows(&batches);
            assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [Some(1), Some(9), Some(2)]);
            assert_eq!(found[1].1.as_ref().map(String::len), Some(length));
        }
        let (mut skipper, mut at, mut number) = (decoder(1), 0, 7_u8);
        let end = loop {
            let (used, step) = skipper.skip(&bytes[at..], Some(number)).unwrap();
            at += used.bytes;
            number = number.wrapping_add(u8::try_from(used.packets).unwrap());
            if let Step::Control(length) = step {
                break length;
            }
        };
        assert_eq!(end, bytes.len() - at);
    }
}

#[test]
fn a_block_may_end_within_a_batch() {
    let count = 8195;
    let mut bytes = Vec::new();
    let mut number = 7_u8;
    for _ in 0..count {
        bytes.extend(packet_of(number, &row(Some(1), Some(b"one"))));
        number = number.wrapping_add(1);
    }
    bytes.extend(packet_of(number, &[0xfe, 0, 0, 2, 0]));
    let batches = decode(&mut decoder(usize::MAX), &bytes, bytes.len()).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count);
    assert_eq!(batches[0].column(1).null_count(), 0);
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
        let _ = decode(&mut decoder(2), &bytes, 50);
    }
}
