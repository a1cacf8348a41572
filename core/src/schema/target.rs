//! What a destination must hold: the target table.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use serde_json::{Value, json};

use super::bigquery::{BigQueryType, Mode, target_field};
use crate::connector::{OnSchemaChange, PrepareOutcome};
use crate::error::{Error, ErrorKind, Result};

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
}

/// How an existing column differs from the wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnChange {
    /// The wanted column is not there; it can be added.
    Add(TargetColumn),
    /// The existing column is REQUIRED and need not be.
    Relax(String),
    /// Cannot be changed in place; the text says why.
    Impossible(String, String),
}

impl TargetTable {
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

    /// What would have to change in `existing` so that it can take rows of this table. Columns that only
    /// `existing` has are no difference, unless they are REQUIRED.
    #[must_use]
    pub fn changes_from(&self, existing: &Self) -> Vec<ColumnChange> {
        let mut changes = Vec::new();
        for wanted in &self.columns {
            match existing.column(&wanted.name) {
                None => changes.push(ColumnChange::Add(TargetColumn {
                    // Existing rows have no value for it.
                    mode: if wanted.mode == Mode::Required { Mode::Nullable } else { wanted.mode },
                    ..wanted.clone()
                })),
                Some(there) if !takes(&there.data_type, &wanted.data_type) => {
                    changes.push(ColumnChange::Impossible(
                        wanted.name.clone(),
                        format!("it is {} and the job brings {}", there.data_type, wanted.data_type),
                    ));
                }
                Some(there) if (there.mode == Mode::Repeated) != (wanted.mode == Mode::Repeated) => {
                    changes.push(ColumnChange::Impossible(
                        wanted.name.clone(),
                        format!("it is {} and the job brings {}", there.mode.as_str(), wanted.mode.as_str()),
                    ));
                }
                Some(there) if there.mode == Mode::Required && wanted.mode == Mode::Nullable => {
                    changes.push(ColumnChange::Relax(there.name.clone()));
                }
                Some(_) => {}
            }
        }
        for there in &existing.columns {
            if there.mode == Mode::Required && self.column(&there.name).is_none() {
                changes.push(ColumnChange::Relax(there.name.clone()));
            }
        }
        changes
    }

    /// What `existing` becomes so that it takes rows of this table, under a policy.
    ///
    /// # Errors
    /// `schema_changed` where that is impossible or not allowed.
    pub fn evolve(&self, existing: &Self, policy: OnSchemaChange) -> Result<(PrepareOutcome, Self)> {
        let changes = self.changes_from(existing);
        let refused: Vec<ColumnChange> = changes
            .iter()
            .filter(|change| {
                policy == OnSchemaChange::Freeze || matches!(change, ColumnChange::Impossible(..))
            })
            .cloned()
            .collect();
        if !refused.is_empty() {
            return Err(self.schema_changed(&refused));
        }
        let mut evolved = existing.clone();
        let mut outcome = PrepareOutcome::default();
        for change in changes {
            match change {
                ColumnChange::Add(column) => {
                    outcome.added.push(column.name.clone());
                    evolved.columns.push(column);
                }
                ColumnChange::Relax(name) => {
                    for column in evolved.columns.iter_mut().filter(|column| column.name == name) {
                        column.mode = Mode::Nullable;
                    }
                    outcome.relaxed.push(name);
                }
                ColumnChange::Impossible(..) => {}
            }
        }
        Ok((outcome, evolved))
    }

    /// The error for changes that are impossible or not allowed.
    #[must_use]
    pub fn schema_changed(&self, changes: &[ColumnChange]) -> Error {
        let texts: Vec<String> = changes
            .iter()
            .map(|change| match change {
                ColumnChange::Add(column) => format!("column `{}` is missing", column.name),
                ColumnChange::Relax(name) => {
                    format!("column `{name}` is REQUIRED and the job may bring NULL")
                }
                ColumnChange::Impossible(name, why) => format!("column `{name}`: {why}"),
            })
            .collect();
        Error::new(
            ErrorKind::SchemaChanged,
            format!("table {} cannot take the rows of this job: {}", self.target, texts.join("; ")),
        )
        .with("target", &self.target)
        .hint("change the job's overrides, load into a new table, or set mapping.on_schema_change to \"evolve\"")
    }
}

/// Whether a column of type `there` can hold every value of type `wanted` as it is.
fn takes(there: &BigQueryType, wanted: &BigQueryType) -> bool {
    if there == wanted {
        return true;
    }
    match (there, wanted) {
        (BigQueryType::Numeric(_), BigQueryType::Numeric(_))
        | (BigQueryType::BigNumeric(_), BigQueryType::BigNumeric(_)) => {
            match (there.precision_scale(), wanted.precision_scale()) {
                (Some((p, s)), Some((wp, ws))) => s >= ws && p - s >= wp.saturating_sub(ws),
                _ => false,
            }
        }
        _ => false,
    }
}
