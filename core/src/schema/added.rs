//! Columns that the source does not have: constants and what is known of the load.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bigquery::BigQueryType;
use super::cast::constant;
use super::names::check_target_name;
use super::target::TargetColumn;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Mode;

/// What fills an added column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AddedValue {
    /// When the load began, the same for all its rows. A TIMESTAMP.
    LoadedAt,
    /// The id of the load, the same for a retry of the same window. A STRING.
    LoadId,
    /// The same value for every row, as text.
    Constant(String),
    /// When a load found the row deleted; NULL while it is alive. A TIMESTAMP. It is not for `mapping.add`: a job has
    /// it by `load.detect_deletes` or `load.soft_delete`.
    DeletedAt,
}

/// A column that the source does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// `loaded_at`, `load_id`, or `{"constant": "text"}`.
    pub value: AddedValue,
    /// BigQuery type of a constant. Default: STRING.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// Description at the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Added columns by their name at the destination, for example
/// `{"_loaded_at": {"value": "loaded_at"}, "region": {"value": {"constant": "eu"}}}`.
pub type AddedColumns = BTreeMap<String, AddedColumn>;

/// An added column of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedMapping {
    /// Name at the destination.
    pub target_name: String,
    /// Type at the destination.
    pub bigquery_type: BigQueryType,
    /// What fills it.
    pub value: AddedValue,
    /// Description for the destination.
    pub description: Option<String>,
}

impl AddedMapping {
    /// Checks the name, the type and, for a constant, that the type can hold it.
    pub(super) fn new(name: &str, column: &AddedColumn) -> Result<Self> {
        let context = |error: Error| error.operation("add column").with("column", name);
        check_target_name(name).map_err(context)?;
        let own = match column.value {
            AddedValue::LoadedAt | AddedValue::DeletedAt => Some(BigQueryType::Timestamp),
            AddedValue::LoadId => Some(BigQueryType::String),
            AddedValue::Constant(_) => None,
        };
        let wanted = column
            .data_type
            .as_ref()
            .map(|text| text.parse::<BigQueryType>())
            .transpose()
            .map_err(context)?;
        let bigquery_type = match (own, wanted) {
            (Some(own), Some(wanted)) if own != wanted => {
                let text = format!("added column `{name}` cannot be {wanted}");
                return Err(context(
                    Error::new(ErrorKind::TypeMapping, text).hint(format!("it is always {own}")),
                ));
            }
            (Some(own), _) => own,
            (None, wanted) => wanted.unwrap_or(BigQueryType::String),
        };
        if let AddedValue::Constant(text) = &column.value {
            constant(text, &bigquery_type).map_err(context)?;
        }
        Ok(Self {
            target_name: name.to_owned(),
            bigquery_type,
            value: column.value.clone(),
            description: column.description.clone(),
        })
    }

    pub(super) fn target(&self) -> TargetColumn {
        TargetColumn {
            name: self.target_name.clone(),
            data_type: self.bigquery_type.clone(),
            mode: Mode::Nullable,
            description: self.description.clone(),
        }
    }
}
