//! Figures of the rows in the files, for the proof of a run: every file is read again.

use arrow_array::{Array as _, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, SchemaRef};
use transload_core::connector::Extent;
use transload_core::proof::{Fold, ProofLevel, TableFigures};
use transload_core::schema::TargetTable;
use transload_core::{Error, Result};

use crate::connect::TableFolders;
use crate::merge::{broken, open, part_files};
use crate::stored;

pub(crate) fn figures(
    folders: &TableFolders,
    target: &TargetTable,
    extent: Extent<'_>,
    level: ProofLevel,
) -> Result<TableFigures> {
    folders.steady(|| figures_now(folders, target, extent, level))
}

fn figures_now(
    folders: &TableFolders,
    target: &TargetTable,
    extent: Extent<'_>,
    level: ProofLevel,
) -> Result<TableFigures> {
    let schema = stored::schema(target);
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    // The mark is none of the columns that figures are of.
    names.extend(extent.unmarked_in);
    let unmarked = Extent { window: None, ..extent };
    let in_window = Extent { unmarked_in: None, ..extent };
    // What is stored as text is still measured as what it is, as everywhere else.
    let mut fold = Fold::new(&target.arrow_schema(), level);
    for load in folders.loads()? {
        for part in part_files(&load)? {
            for batch in open(&part, Some(&names))? {
                let batch = batch.map_err(|error| broken(&part, error))?;
                let rows = conform(&unmarked.select(&batch)?, &schema).map_err(|error| {
                    Error::data(format!("{} holds values of another type than the load's", part.display()))
                        .source_error(error)
                        .hint("the proof compares values of one type only; the rows themselves are loaded")
                })?;
                fold.add(&in_window.select(&rows)?)?;
            }
        }
    }
    Ok(fold.finish())
}

/// The columns of a file in the order and with the types of a load; a file may be older than a column.
pub(crate) fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> std::result::Result<RecordBatch, ArrowError> {
    let lossless = CastOptions { safe: false, ..CastOptions::default() };
    let fields = batch.schema();
    let columns = schema.fields().iter().map(|field| {
        let found = fields.fields().iter().position(|known| known.name().eq_ignore_ascii_case(field.name()));
        match found.map(|index| batch.column(index)) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => cast_with_options(column, field.data_type(), &lossless),
        }
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    // Older rows may be NULL where the load has none.
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = arrow_schema::Schema::new(nullable.collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.into(), columns, &options)
}
