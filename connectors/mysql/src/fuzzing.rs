//! What the fuzz target of `fuzz/` calls. No part of the API.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use transload_core::{Error, Result};

use crate::protocol::ColumnDefinition;
use crate::rows::{RowDecoder, Step};
use crate::types::Wire;

/// Ways of decoding, each with a type that results say it is of, and whether that is unsigned.
const WIRES: &[(Wire, u8, bool)] = &[
    (Wire::Int8, 1, false),
    (Wire::Int16, 2, false),
    (Wire::Int32, 3, false),
    (Wire::Int64, 8, false),
    (Wire::Unsigned(1), 1, true),
    (Wire::Unsigned(2), 2, true),
    (Wire::Unsigned(4), 9, true),
    (Wire::Unsigned64, 8, true),
    (Wire::Float4, 4, false),
    (Wire::Float8, 5, false),
    (Wire::Decimal128(38, 9), 246, false),
    (Wire::Decimal128(5, 0), 246, false),
    (Wire::Decimal256(65, 30), 246, false),
    (Wire::Bool, 16, true),
    (Wire::Bits, 16, true),
    (Wire::Bits64, 16, true),
    (Wire::Year, 13, true),
    (Wire::Date, 10, false),
    (Wire::DateTime, 12, false),
    (Wire::Timestamp, 7, false),
    (Wire::TimeText(6), 11, false),
    (Wire::DateText, 10, false),
    (Wire::DateTimeText(3), 12, false),
    (Wire::Text, 253, false),
    (Wire::Bytes, 252, false),
    (Wire::WellKnownText, 255, false),
    (Wire::Geometry, 255, false),
    (Wire::Vector, 252, false),
];

/// Decodes what a server might send as rows. The input is: the number of columns, a byte for the type of each, whether
/// dates may be none, rows a batch, bytes that arrive at once, and then the server's packets.
///
/// # Panics
/// If the rows depend on how the bytes arrive, or a batch is not what its schema says.
pub fn rows(input: &[u8]) {
    let Some((count, input)) = input.split_first() else { return };
    let Some((types, input)) = input.split_at_checked(usize::from(count % 9)) else { return };
    let Some(([lenient, batch_rows, chunk], stream)) = input.split_first_chunk() else { return };
    let known: Vec<_> = types.iter().map(|index| WIRES[usize::from(*index) % WIRES.len()]).collect();
    let fields = known.iter().map(|(wire, ..)| Field::new("c", wire.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let wires: Vec<_> = known.iter().map(|(wire, ..)| *wire).collect();
    let columns: Vec<_> = known
        .iter()
        .map(|(_, kind, unsigned)| ColumnDefinition { name: "c".into(), kind: *kind, unsigned: *unsigned })
        .collect();
    let decode = |batch_rows, chunk| {
        let mut decoder = RowDecoder::new(Arc::clone(&schema), &wires, lenient % 2 == 1, batch_rows, 1 << 16);
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
    let (mut start, mut end, mut number, mut batches) = (0, 0, 0_u8, Vec::new());
    loop {
        let (used, step) = decoder.take(&stream[start..end], Some(number))?;
        start += used.bytes;
        number = number.wrapping_add((used.packets % 256).try_into().unwrap_or(0));
        match step {
            Step::Batch(batch) => batches.push(batch),
            Step::Control(_) => {
                decoder.end();
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
