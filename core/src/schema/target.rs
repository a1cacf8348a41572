//! What a destination must hold: the target table.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use serde_json::{Value, json};

use super::bigquery::{BigQueryType, Mode, target_field};
use super::layout::TableLayout;
use crate::error::{Error, Result};

/// A table of a destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetRef {
    /// The dataset (a folder, for the local Parquet dataset).
    pub dataset: String,
    /// The table's name.
    pub table: String,
}

impl TargetRef {
    /// A table in a dataset.
    pub fn new(dataset: impl Into<String>, table: impl Into<String>) -> Self {
        Self { dataset: dataset.into(), table: table.into() }
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.dataset, self.table)
    }
}

impl FromStr for TargetRef {
    type Err = Error;

    /// Reads `dataset.table`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((dataset, table)) if !dataset.is_empty() && !table.is_empty() => {
                Ok(Self::new(dataset, table))
            }
            _ => Err(Error::config(format!("`{text}` does not name a table of a dataset"))
                .hint("write it as `dataset.table`")),
        }
    }
}

/// One column of a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetColumn {
    /// Its name in the destination.
    pub name: String,
    /// Its type.
    pub data_type: BigQueryType,
    /// Its mode.
    pub mode: Mode,
    /// Its description.
    pub description: Option<String>,
}

impl TargetColumn {
    /// The column as an Arrow field.
    #[must_use]
    pub fn to_field(&self) -> Field {
        target_field(&self.name, &self.data_type, self.mode)
    }

    /// BigQuery's JSON form of a field (`TableFieldSchema`).
    #[must_use]
    pub fn to_bigquery_json(&self) -> Value {
        field_json(&self.name, &self.data_type, self.mode, self.description.as_deref())
    }
}

fn field_json(name: &str, data_type: &BigQueryType, mode: Mode, description: Option<&str>) -> Value {
    let mut field = json!({"name": name, "type": data_type.name(), "mode": mode.as_str()});
    if let BigQueryType::Numeric(Some((precision, scale)))
    | BigQueryType::BigNumeric(Some((precision, scale))) = data_type
    {
        field["precision"] = precision.to_string().into();
        field["scale"] = scale.to_string().into();
    }
    if let BigQueryType::Range(element) = data_type {
        field["rangeElementType"] = json!({"type": element.name()});
    }
    if let BigQueryType::Record(fields) = data_type {
        field["fields"] = fields.iter().map(|f| field_json(&f.name, &f.data_type, f.mode, None)).collect();
    }
    if let Some(description) = description {
        field["description"] = description.into();
    }
    field
}

/// A table as the destination must hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTable {
    /// Dataset and name.
    pub target: TargetRef,
    /// Columns in order.
    pub columns: Vec<TargetColumn>,
    /// Its description.
    pub description: Option<String>,
    /// How it is laid out and kept. Of a table that exists, how it is.
    pub layout: TableLayout,
}

impl TargetTable {
    /// A table without a description and without wishes for its layout.
    #[must_use]
    pub fn new(target: TargetRef, columns: Vec<TargetColumn>) -> Self {
        Self { target, columns, description: None, layout: TableLayout::default() }
    }

    /// Arrow schema of the batches that a load into this table takes.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(TargetColumn::to_field).collect::<Vec<_>>()))
    }

    /// A column by name; BigQuery compares names without regard to case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&TargetColumn> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}
