//! Schemas: what a source has, what it maps to, and what a destination must hold.
//!
//! [`SchemaMapper`] proposes a [`TableMapping`] for a [`TableSchema`]; [`Caster`] applies it to batches;
//! [`TargetTable`] is what the destination gets. None of it does I/O.

mod added;
mod advice;
mod bigquery;
mod cast;
mod catalog;
mod cursor;
mod ddl;
mod detect;
mod diff;
mod mapper;
mod mapping;
mod names;
mod recipe;
mod systems;
mod table;
mod target;

pub use added::{AddedColumn, AddedColumns, AddedMapping, AddedValue};
pub use advice::{
    ClusterAdvice, Granularity, LayoutAdvice, PartitionAdvice, Partitioning, check_partitioning,
};
pub use bigquery::{BigQueryType, Mode, RecordField};
pub use cast::{Caster, ColumnRejects, RejectPolicy, possible_types, recipe_for};
pub use cursor::{CursorStep, CursorValue, Nanos};
pub use detect::{Candidate, Detection, detect};
pub use diff::{ChangeKind, MappingChange, MappingDiff};
pub(crate) use mapper::pins;
pub use mapper::{MapperOptions, SchemaMapper};
pub use mapping::{
    Alternative, Ambiguity, ColumnMapping, ColumnOverride, Confidence, Evidence, Lossless, NullToken,
    Overrides, TableMapping, Warning,
};
pub use names::{check_target_name, target_name, target_names};
pub use recipe::Recipe;
pub use systems::{TypeAnswer, TypeRow, WARNING_CODES, look_up_type, type_rows, type_systems};
pub use table::{ColumnSchema, EXTENSION_KEY, Extension, SOURCE_TYPE_KEY, TableRef, TableSchema, TypeNote};
pub use target::{ColumnChange, TargetColumn, TargetRef, TargetTable};

#[cfg(test)]
mod tests;
