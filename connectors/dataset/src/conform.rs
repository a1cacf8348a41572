//! Batches of a load in the columns of its table.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Schema, SchemaRef};
use transload_core::schema::TargetTable;
use transload_core::{Error, Result};

use crate::stored::{self, stored, stored_type};

/// Where a column of the file comes from.
#[derive(Debug, Clone)]
enum Slot {
    Take(usize),
    Cast(usize, DataType),
    /// Another type than the table's: [`stored`].
    Store(usize),
    Null(DataType),
}

/// Brings batches of a load into the columns of its table, so that all files of a table have the same
/// types: order and spelling of the table, decimals at its scale, NULL for columns the load lacks.
#[derive(Debug, Clone)]
pub(crate) struct Conform {
    from: SchemaRef,
    to: SchemaRef,
    slots: Vec<Slot>,
}

impl Conform {
    pub(crate) fn new(load: &TargetTable, table: &TargetTable) -> Result<Self> {
        // `prepare` has settled these; a table that changed since is no longer the one of this load.
        let open = load.changes_from(table);
        if !open.is_empty() {
            return Err(load.schema_changed(&open));
        }
        let (from, to) = (load.arrow_schema(), stored::schema(table));
        let slots = to.fields().iter().map(|field| {
            let found = load.columns.iter().position(|column| column.name.eq_ignore_ascii_case(field.name()));
            match found {
                None => Slot::Null(field.data_type().clone()),
                Some(index) if from.field(index).data_type() == field.data_type() => Slot::Take(index),
                Some(index) if stored_type(from.field(index).data_type()) == *field.data_type() => {
                    Slot::Store(index)
                }
                Some(index) => Slot::Cast(index, field.data_type().clone()),
            }
        });
        Ok(Self { slots: slots.collect(), from, to })
    }

    /// Arrow schema of the files.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.to
    }

    /// Whether the batch is one of this load.
    pub(crate) fn check(&self, batch: &RecordBatch) -> Result<()> {
        if !same_types(batch.schema_ref(), &self.from) {
            return Err(Error::internal("a batch does not have the schema of its load")
                .with("expected", &self.from)
                .with("found", batch.schema_ref()));
        }
        for (field, column) in self.from.fields().iter().zip(batch.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(Error::data(format!(
                    "column `{}` is REQUIRED and a row brings NULL",
                    field.name()
                ))
                .with("column", field.name())
                .hint("make the column NULLABLE in the job's overrides"));
            }
        }
        Ok(())
    }

    /// The batch in the table's columns. Call [`Self::check`] first.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let lossless = CastOptions { safe: false, ..CastOptions::default() };
        let columns = self.slots.iter().map(|slot| -> Result<ArrayRef> {
            Ok(match slot {
                Slot::Take(index) => Arc::clone(batch.column(*index)),
                Slot::Cast(index, to) => cast_with_options(&stored(batch.column(*index))?, to, &lossless)?,
                Slot::Store(index) => stored(batch.column(*index))?,
                Slot::Null(data_type) => new_null_array(data_type, batch.num_rows()),
            })
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.to),
            columns.collect::<Result<_>>()?,
            &options,
        )?)
    }
}

fn same_types(found: &Schema, expected: &Schema) -> bool {
    found.fields().len() == expected.fields().len()
        && found.fields().iter().zip(expected.fields()).all(|(a, b)| a.data_type() == b.data_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Decimal128Type;
    use arrow_array::{Decimal128Array, Int64Array};
    use transload_core::schema::{BigQueryType, Mode, TargetColumn, TargetRef};

    fn column(name: &str, data_type: BigQueryType, mode: Mode) -> TargetColumn {
        TargetColumn { name: name.to_owned(), data_type, mode, description: None }
    }

    fn table(columns: Vec<TargetColumn>) -> TargetTable {
        TargetTable::new(TargetRef::new("d", "t"), columns)
    }

    #[test]
    fn batches_take_the_tables_order_scale_and_missing_columns() {
        let there = table(vec![
            column("extra", BigQueryType::String, Mode::Nullable),
            column("Price", BigQueryType::Numeric(None), Mode::Nullable),
            column("id", BigQueryType::Int64, Mode::Nullable),
        ]);
        let load = table(vec![
            column("id", BigQueryType::Int64, Mode::Required),
            column("price", BigQueryType::Numeric(Some((6, 2))), Mode::Nullable),
        ]);
        let conform = Conform::new(&load, &there).unwrap();
        let price = Decimal128Array::from(vec![Some(1234), None]).with_precision_and_scale(6, 2).unwrap();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(price)];
        let batch = RecordBatch::try_new(load.arrow_schema(), columns).unwrap();
        conform.check(&batch).unwrap();
        let out = conform.apply(&batch).unwrap();
        assert_eq!(out.schema(), there.arrow_schema());
        assert_eq!(out.column(0).null_count(), 2);
        assert_eq!(out.column(1).as_primitive::<Decimal128Type>().value(0), 12_340_000_000);
        assert!(conform.check(&out).is_err(), "another schema is refused");
        assert!(Conform::new(&there, &load).is_err(), "a table that was not evolved is refused");
    }
}
