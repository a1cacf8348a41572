//! Schemas: what a source has, what it maps to, and what a destination must hold.
//!
//! [`SchemaMapper`] proposes a [`TableMapping`] for a [`TableSchema`]; [`Caster`] applies it to batches;
//! [`TargetTable`] is what the destination gets. None of it does I/O.

mod added;
mod advice;
mod bigquery;
mod cast;
mod catalog;
mod check;
mod cursor;
pub mod ddl;
mod detect;
mod diff;
mod evidence;
mod evolve;
mod layout;
mod layout_document;
mod mapper;
mod mapping;
mod names;
mod recipe;
mod rejects;
mod systems;
mod table;
mod target;
mod tombstone;

pub use added::{AddedColumn, AddedColumns, AddedMapping, AddedValue};
pub use advice::{
    ClusterAdvice, Granularity, LayoutAdvice, PartitionAdvice, Partitioning, RangeAdvice, check_partitioning,
};
pub use bigquery::{BigQueryType, Mode, RecordField};
pub use cast::{
    BatchLedger, Caster, Change, ColumnLedger, Counts, Ledger, LedgerExample, RejectPolicy, RoundPolicy,
    canonical_texts, possible_types, quarantine_table, recipe_for,
};
pub use check::{ColumnCheck, Fit, OptionCheck, TableCheck};
pub use cursor::{CursorStep, CursorValue, Nanos};
pub use detect::{Candidate, Detection, detect};
pub use diff::{ChangeKind, MappingChange, MappingDiff};
pub use evidence::{Ambiguity, Evidence, NullToken};
pub use evolve::{ColumnChange, Evolvable, LayoutChange, Widening, widening};
pub use jiff::SignedDuration;
pub use layout::{DatasetOptions, IntegerRange, PartitionBy, TableLayout};
pub(crate) use layout_document::duration;
pub use layout_document::{Advised, ClusterDocument, LayoutDocument, PartitionDocument, PartitionSpec, life};
pub use mapper::{MapperOptions, SchemaMapper};
pub(crate) use mapping::pins;
pub use mapping::{
    Alternative, ColumnMapping, ColumnOverride, Confidence, Lossless, Overrides, TableMapping, Warning,
};
pub use names::{check_target_name, is_reserved_name, target_name, target_names};
pub use recipe::Recipe;
pub use systems::{TypeAnswer, TypeRow, WARNING_CODES, look_up_type, type_rows, type_systems};
pub use table::{ColumnSchema, EXTENSION_KEY, Extension, SOURCE_TYPE_KEY, TableRef, TableSchema, TypeNote};
pub use target::{TargetColumn, TargetRef, TargetTable};
pub use tombstone::{DeletedWhen, Tombstone};

/// The values of a column as canonical texts: decimals with all their digits, times as ISO 8601, bytes in base64.
///
/// # Errors
/// `internal` for types that no target table has.
pub(crate) fn to_text(column: &arrow_array::ArrayRef) -> crate::error::Result<arrow_array::StringArray> {
    cast::to_text::column(column, None)
}

#[cfg(test)]
mod tests;
