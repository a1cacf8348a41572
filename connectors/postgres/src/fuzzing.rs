//! What the fuzz targets of `fuzz/` call. No part of the API.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use transload_core::{Error, Result};

use crate::copy::{CopyDecoder, Step};
use crate::error::server_error;
use crate::nested::Bound;
use crate::types::Wire;

const WIRES: &[Wire] = &[
    Wire::Bool,
    Wire::Int2,
    Wire::Int4,
    Wire::Int8,
    Wire::Oid,
    Wire::Float4,
    Wire::Float8,
    Wire::Decimal128(38, 9),
    Wire::Decimal128(5, -2),
    Wire::Decimal256(76, 38),
    Wire::NumericText,
    Wire::Text,
    Wire::Jsonb,
    Wire::Bytes,
    Wire::Uuid,
    Wire::Date,
    Wire::Time,
    Wire::DateTime,
    Wire::Timestamp,
    Wire::Char,
    Wire::Range(Bound::Int4),
    Wire::Range(Bound::Int8),
    Wire::Range(Bound::Numeric),
    Wire::Vector,
    Wire::HalfVector,
];

/// Those of [`WIRES`] that have a text form.
const TEXT_WIRES: &[Wire] = &[
    Wire::Bool,
    Wire::Int2,
    Wire::Int4,
    Wire::Int8,
    Wire::Float4,
    Wire::Float8,
    Wire::Decimal128(38, 9),
    Wire::Decimal256(76, 38),
    Wire::Text,
    Wire::Bytes,
    Wire::Date,
    Wire::Time,
    Wire::DateTime,
    Wire::Timestamp,
];

/// Decodes what a server might send as binary COPY. The input is: the number of columns, a byte for the type of each, rows a
/// batch, bytes that arrive at once, and then the server's messages.
///
/// # Panics
/// If the rows depend on how the bytes arrive, or a batch is not what its schema says.
pub fn copy(input: &[u8]) {
    decode_twice(input, WIRES, CopyDecoder::new);
}

/// The same of the answers to queries, in the text format.
///
/// # Panics
/// As [`copy`].
pub fn answers(input: &[u8]) {
    decode_twice(input, TEXT_WIRES, CopyDecoder::of_answers);
}

fn decode_twice(input: &[u8], known: &[Wire], decoder: fn(SchemaRef, &[Wire], usize, usize) -> CopyDecoder) {
    let Some((count, input)) = input.split_first() else { return };
    let Some((types, input)) = input.split_at_checked(usize::from(count % 9)) else { return };
    let Some(([batch_rows, chunk], stream)) = input.split_first_chunk() else { return };
    let wires: Vec<_> = types.iter().map(|index| known[usize::from(*index) % known.len()]).collect();
    let fields = wires.iter().map(|wire| Field::new("c", wire.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let decode =
        |batch_rows, chunk| decode(decoder(Arc::clone(&schema), &wires, batch_rows, 1 << 16), stream, chunk);
    let pieces = decode(usize::from(*batch_rows).max(1), usize::from(*chunk).max(1));
    let whole = decode(usize::MAX, usize::MAX);
    match (pieces, whole) {
        (Ok(pieces), Ok(whole)) => {
            let joined = |batches: &[RecordBatch]| concat_batches(&schema, batches);
            assert!(matches!((joined(&pieces), joined(&whole)), (Ok(a), Ok(b)) if a == b), "{types:?}");
        }
        (Err(_), Err(_)) => {}
        (pieces, whole) => {
            let text =
                |outcome: Result<_>| outcome.map_or_else(|error| error.to_string(), |_| "rows".to_owned());
            panic!("{types:?}: {} in pieces, {} as a whole", text(pieces), text(whole));
        }
    }
}

/// As the reader of a connection does it: more bytes when the decoder asks for them, until the server is ready.
fn decode(mut decoder: CopyDecoder, stream: &[u8], chunk: usize) -> Result<Vec<RecordBatch>> {
    let (mut start, mut end, mut batches) = (0, 0, Vec::new());
    loop {
        let (used, step) = decoder.take(&stream[start..end])?;
        start += used;
        match step {
            Step::Batch(batch) => batches.push(batch),
            Step::Control(b'E', length) => return Err(server_error(&stream[start + 5..start + length])),
            Step::Control(b'Z', _) => {
                decoder.end();
                break;
            }
            Step::Control(_, length) => start += length,
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
