//! Schemas: what a source has, what it maps to, and what a destination must hold.
//!
//! [`SchemaMapper`] proposes a [`TableMapping`] for a [`TableSchema`]; [`Caster`] applies it to batches;
//! [`TargetTable`] is what the destination gets. None of it does I/O.

mod bigquery;
mod cursor;
mod mapping;
mod recipe;
mod table;
mod target;

pub use bigquery::{BigQueryType, Mode, RecordField};
pub use cursor::{CursorStep, CursorValue, Nanos};
pub use mapping::{
    ColumnMapping, ColumnOverride, Confidence, Evidence, Lossless, Overrides, TableMapping, Warning,
};
pub use recipe::Recipe;
pub use table::{ColumnSchema, EXTENSION_KEY, Extension, SOURCE_TYPE_KEY, TableRef, TableSchema, TypeNote};
pub use target::{ColumnChange, TargetColumn, TargetRef, TargetTable};
