//! Rows of the quarantine table: values that did not fit, with key, column and reason.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;

use super::parse::Misfit;
use super::{ColumnCast, to_text};
use crate::error::Result;
use crate::schema::table::{ColumnSchema, TableRef, TableSchema};

/// What a quarantine table tells of each value, beside the load (`_load_id`, `_loaded_at`).
#[must_use]
pub fn quarantine_table() -> TableSchema {
    let text = |name: &str, comment: &str| {
        let mut column = ColumnSchema::new(name, "text", DataType::Utf8);
        column.comment = Some(comment.to_owned());
        column
    };
    let columns = vec![
        text("row_key", "the row: its key columns, else its cursor, as JSON; NULL where there is neither"),
        text("column_name", "the column at the source").required(),
        text("source_type", "its type at the source").required(),
        text("target_type", "the type that the value does not fit").required(),
        text("value", "the value as text, whole; bytes in base64").required(),
        text("reason", "why it does not fit: a stable code").required(),
        text("message", "why it does not fit, for people").required(),
    ];
    let mut table = TableSchema::new(TableRef::unqualified("quarantine"), columns);
    table.comment = Some(
        "Values that did not fit the type of their column and are NULL in the table that \
        this one is named after. Of each _load_id, the rows with the highest _loaded_at are those of the \
        load that was committed, if it was."
            .to_owned(),
    );
    table
}

/// The values of one column. `source` and `keys` hold one value for each misfit.
pub(super) fn rows(
    column: &ColumnCast,
    source: &ArrayRef,
    keys: StringArray,
    misfits: impl Iterator<Item = Misfit> + Clone,
) -> Result<RecordBatch> {
    let rows = source.len();
    let same =
        |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        same(&column.source_name),
        same(&column.source_type),
        same(&column.target),
        Arc::new(to_text::column(source, column.extension)?),
        Arc::new(StringArray::from_iter_values(misfits.clone().map(Misfit::code))),
        Arc::new(StringArray::from_iter_values(misfits.map(|misfit| format!("it {misfit}")))),
    ];
    Ok(RecordBatch::try_new(quarantine_table().arrow_schema(), columns)?)
}

/// All of them as one batch; `None` for none.
pub(super) fn together(batches: &[RecordBatch]) -> Result<Option<RecordBatch>> {
    match batches {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [first, ..] => Ok(Some(concat_batches(&first.schema(), batches)?)),
    }
}
