//! The column that marks deleted rows, while a file is written again.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;
use transload_core::{Error, Result};

use crate::deletes::Fate;

/// The columns of a file, and the mark behind them if the file is older than that.
pub(crate) fn with_mark(file: &SchemaRef, mark: Option<&str>) -> SchemaRef {
    match mark {
        Some(name) if file.column_with_name(name).is_none() => {
            let mut fields = file.fields().to_vec();
            let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            fields.push(Arc::new(Field::new(name, micros, true)));
            Arc::new(Schema::new_with_metadata(fields, file.metadata().clone()))
        }
        _ => Arc::clone(file),
    }
}

/// The rows `rows` of a file, with the marks that they get.
pub(crate) fn marked(
    batch: &RecordBatch,
    schema: &SchemaRef,
    mark: Option<(&str, Timestamp)>,
    rows: Range<usize>,
    fate: &Fate,
) -> Result<RecordBatch> {
    let Some((name, at)) = mark else { return Ok(batch.clone()) };
    let before = match batch.column_by_name(name) {
        Some(column) => Some(column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| {
            Error::data(format!("column `{name}` of a file is no time, and cannot mark deleted rows"))
                .with("column", name)
                .hint("name another column in `load.mark_column`")
        })?),
        None => None,
    };
    let marks = rows.enumerate().map(|(index, row)| {
        if fate.gone.has(row) {
            Some(at.as_microsecond())
        } else if fate.back.has(row) {
            None
        } else {
            before.filter(|before| before.is_valid(index)).map(|before| before.value(index))
        }
    });
    let marks = Arc::new(marks.collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
    let place = schema.index_of(name)?;
    let mut columns = batch.columns().to_vec();
    match columns.get_mut(place) {
        Some(column) => *column = marks,
        None => columns.push(marks),
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
