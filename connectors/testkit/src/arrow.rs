//! Cells to Arrow and back, written apart from the engine's own casts so that it can check them.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, TimeUnit};

use crate::cell::{Cell, Float, Row, uuid_text};
use crate::fixture::{Done, Failure};

fn column<'a, T>(cells: &'a [Cell], pick: impl Fn(&'a Cell) -> Option<T>) -> Done<Vec<Option<T>>> {
    cells
        .iter()
        .map(|cell| match pick(cell) {
            None if !cell.is_null() => {
                Err(Failure::new(format!("the suite put {cell:?} into the wrong column")))
            }
            value => Ok(value),
        })
        .collect()
}

/// An array of an Arrow type from cells.
///
/// # Errors
/// A cell that does not belong into an array of this type, or a type that the suite does not build.
pub fn array(data_type: &DataType, cells: &[Cell]) -> Done<ArrayRef> {
    macro_rules! pick {
        ($array:ty, $pattern:pat => $value:expr) => {
            Arc::new(<$array>::from(column(cells, |cell| match cell {
                $pattern => Some($value),
                _ => None,
            })?)) as ArrayRef
        };
    }
    Ok(match data_type {
        DataType::Boolean => pick!(BooleanArray, Cell::Bool(value) => *value),
        DataType::Int64 => pick!(Int64Array, Cell::Int(value) => *value),
        DataType::Float64 => pick!(Float64Array, Cell::Float(Float(value)) => *value),
        DataType::Utf8 => pick!(StringArray, Cell::Text(text) => text.as_str()),
        DataType::Binary => pick!(BinaryArray, Cell::Bytes(bytes) => bytes.as_slice()),
        DataType::Date32 => pick!(Date32Array, Cell::Date(days) => *days),
        DataType::Time64(TimeUnit::Microsecond) => pick!(Time64MicrosecondArray, Cell::Time(at) => *at),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let values = column(cells, |cell| match cell {
                Cell::DateTime(at) if zone.is_none() => Some(*at),
                Cell::Timestamp(at) if zone.is_some() => Some(*at),
                _ => None,
            })?;
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let values = unscaled(cells, *scale)?;
            let values = values.into_iter().map(|v| v.map(|v| v.parse::<i128>()).transpose());
            let values = values.collect::<Result<Decimal128Array, _>>()?;
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Decimal256(precision, scale) => {
            let values = unscaled(cells, *scale)?;
            let values: Decimal256Array =
                values.iter().map(|v| v.as_deref().and_then(i256::from_string)).collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::FixedSizeBinary(16) => {
            let values = column(cells, |cell| match cell {
                Cell::Text(text) => uuid_bytes(text),
                Cell::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            })?;
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16)?)
        }
        DataType::List(item) => list(item, cells)?,
        DataType::Struct(fields) => {
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                let values: Vec<Cell> = cells
                    .iter()
                    .map(|cell| match cell {
                        Cell::Record(values) => values
                            .iter()
                            .find(|(name, _)| name == field.name())
                            .map_or(Cell::Null, |(_, value)| value.clone()),
                        _ => Cell::Null,
                    })
                    .collect();
                columns.push(array(field.data_type(), &values)?);
            }
            let valid = NullBuffer::from_iter(cells.iter().map(|cell| !cell.is_null()));
            Arc::new(StructArray::try_new(fields.clone(), columns, Some(valid))?)
        }
        other => return Err(Failure::new(format!("the suite does not build arrays of {other}"))),
    })
}

fn list(item: &arrow_schema::FieldRef, cells: &[Cell]) -> Done<ArrayRef> {
    let items = |cell: &Cell| if let Cell::List(items) = cell { items.clone() } else { Vec::new() };
    let all: Vec<Cell> = cells.iter().flat_map(items).collect();
    let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| items(cell).len()));
    let valid = NullBuffer::from_iter(cells.iter().map(|cell| !cell.is_null()));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, array(item.data_type(), &all)?, Some(valid))?))
}

/// Unscaled digits of decimals.
fn unscaled(cells: &[Cell], scale: i8) -> Done<Vec<Option<String>>> {
    let scale = usize::try_from(scale)?;
    column(cells, |cell| {
        let Cell::Decimal(text) = cell else { return None };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        // More digits than the scale would be a defect of the suite, and `None` reports it.
        let missing = scale.checked_sub(fraction.len())?;
        Some(format!("{whole}{fraction}{}", "0".repeat(missing)))
    })
}

fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.filter(|bytes| bytes.len() == 16)
}

/// One value of an array.
///
/// # Errors
/// A type that no connector should give.
pub fn cell(array: &dyn Array, row: usize) -> Done<Cell> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    macro_rules! int {
        ($kind:ty) => {
            Cell::Int(array.as_primitive::<$kind>().value(row).into())
        };
    }
    let at = |zone: bool, micros: i64| if zone { Cell::Timestamp(micros) } else { Cell::DateTime(micros) };
    Ok(match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => int!(Int8Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int64 => int!(Int64Type),
        DataType::UInt8 => int!(UInt8Type),
        DataType::UInt16 => int!(UInt16Type),
        DataType::UInt32 => int!(UInt32Type),
        DataType::UInt64 => Cell::Int(i64::try_from(array.as_primitive::<UInt64Type>().value(row))?),
        DataType::Float32 => Cell::Float(Float(array.as_primitive::<Float32Type>().value(row).into())),
        DataType::Float64 => Cell::Float(Float(array.as_primitive::<Float64Type>().value(row))),
        DataType::Decimal128(..) => {
            Cell::Decimal(array.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Decimal256(..) => {
            Cell::Decimal(array.as_primitive::<Decimal256Type>().value_as_string(row))
        }
        DataType::Utf8 => Cell::text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Cell::text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Cell::text(array.as_string_view().value(row)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        DataType::FixedSizeBinary(16) => Cell::Text(uuid_text(array.as_fixed_size_binary().value(row))),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
        DataType::Date32 => Cell::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time32(TimeUnit::Second) => {
            Cell::Time(i64::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000)
        }
        DataType::Time32(_) => {
            Cell::Time(i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1000)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            Cell::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Time64(_) => Cell::Time(array.as_primitive::<Time64NanosecondType>().value(row) / 1000),
        DataType::Timestamp(unit, zone) => at(zone.is_some(), micros(array, unit, row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|i| cell(&items, i)).collect::<Done<_>>()?)
        }
        DataType::Struct(fields) => {
            let record = array.as_struct();
            let values = fields.iter().zip(record.columns());
            Cell::Record(values.map(|(f, c)| Ok((f.name().clone(), cell(c, row)?))).collect::<Done<_>>()?)
        }
        other => return Err(Failure::new(format!("no connector should give a column of type {other}"))),
    })
}

fn micros(array: &dyn Array, unit: &TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row) * 1_000_000,
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row) * 1000,
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row) / 1000,
    }
}

/// The rows of a batch.
///
/// # Errors
/// As [`cell`].
pub fn rows(batch: &RecordBatch) -> Done<Vec<Row>> {
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect())
        .collect()
}
