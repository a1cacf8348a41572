//! What a source has: tables and columns with their Arrow types.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bigquery::BigQueryType;
use super::mapping::{Confidence, Lossless, Warning};
use crate::error::{Error, ErrorKind, Result};

/// Field metadata key that carries the source's own type text.
pub const SOURCE_TYPE_KEY: &str = "transload.source_type";
/// Field metadata key of Arrow extension types.
pub const EXTENSION_KEY: &str = "ARROW:extension:name";

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TableRef {
    /// Schema, where the source has schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the table.
    pub name: String,
}

impl TableRef {
    /// A table in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }

    /// A table of a source without schemas, or in the source's default schema.
    pub fn unqualified(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// Arrow extension types that columns may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// JSON text in Utf8 (`arrow.json`).
    Json,
    /// 16 bytes in FixedSizeBinary (`arrow.uuid`).
    Uuid,
    /// Well-known text in Utf8 (`geoarrow.wkt`).
    GeoWkt,
}

impl Extension {
    /// The canonical Arrow name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "arrow.json",
            Self::Uuid => "arrow.uuid",
            Self::GeoWkt => "geoarrow.wkt",
        }
    }

    /// Reads the canonical Arrow name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Uuid, Self::GeoWkt].into_iter().find(|extension| extension.as_str() == name)
    }
}

/// The field of a list's elements, whatever the layout of the list.
pub(super) fn list_item(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// What a connector's type table says of a type beyond its Arrow form. The mapper passes it on.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeNote {
    /// How sure the mapping of this type is.
    pub confidence: Confidence,
    /// Whether every value survives.
    pub lossless: Lossless,
    /// One sentence, or `None` for the mapper's own.
    pub reason: Option<String>,
    /// What to look out for.
    pub warnings: Vec<Warning>,
}

impl Default for TypeNote {
    fn default() -> Self {
        Self { confidence: Confidence::High, lossless: Lossless::Yes, reason: None, warnings: Vec::new() }
    }
}

/// One column of a source table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSchema {
    /// Name as the source spells it.
    pub name: String,
    /// The source's own type text, for example `character varying(20)`.
    pub source_type: String,
    /// Arrow type of the batches.
    pub data_type: DataType,
    /// Arrow extension type, if any.
    pub extension: Option<Extension>,
    /// Whether NULL may occur. `false` only where the source enforces it.
    pub nullable: bool,
    /// The column's comment.
    pub comment: Option<String>,
    /// The default expression as text.
    pub default: Option<String>,
    /// The source computes the value.
    pub generated: bool,
    /// An index makes this column a good cursor.
    pub indexed: bool,
    /// What the connector's type table says of the type.
    pub note: TypeNote,
    /// The BigQuery type that the source says it is, where the source is BigQuery itself: the Arrow type alone
    /// does not tell a RANGE from a record. Elements' type of arrays. It wins over the Arrow type.
    pub bigquery_type: Option<BigQueryType>,
}

impl ColumnSchema {
    /// A nullable column without extras.
    pub fn new(name: impl Into<String>, source_type: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            source_type: source_type.into(),
            data_type,
            extension: None,
            nullable: true,
            comment: None,
            default: None,
            generated: false,
            indexed: false,
            note: TypeNote::default(),
            bigquery_type: None,
        }
    }

    /// Declares the column NOT NULL.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Sets the extension type.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extension = Some(extension);
        self
    }

    /// The column as an Arrow field with source type and extension in its metadata.
    #[must_use]
    pub fn to_field(&self) -> Field {
        let mut metadata = HashMap::from([(SOURCE_TYPE_KEY.to_owned(), self.source_type.clone())]);
        if let Some(extension) = self.extension {
            metadata.insert(EXTENSION_KEY.to_owned(), extension.as_str().to_owned());
        }
        Field::new(&self.name, self.data_type.clone(), self.nullable).with_metadata(metadata)
    }

    /// Reads an Arrow field back; the reverse of [`Self::to_field`].
    #[must_use]
    pub fn from_field(field: &Field) -> Self {
        let metadata = field.metadata();
        let source_type =
            metadata.get(SOURCE_TYPE_KEY).cloned().unwrap_or_else(|| field.data_type().to_string());
        let mut column = Self::new(field.name(), source_type, field.data_type().clone());
        column.extension = metadata.get(EXTENSION_KEY).and_then(|name| Extension::from_name(name));
        column.nullable = field.is_nullable();
        column
    }
}

/// A table as its source describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    /// Schema and name.
    pub table: TableRef,
    /// Columns in the table's order.
    pub columns: Vec<ColumnSchema>,
    /// Columns of the primary key, in key order; empty if there is none.
    pub primary_key: Vec<String>,
    /// Column lists of unique keys other than the primary one.
    pub unique_keys: Vec<Vec<String>>,
    /// Estimated number of rows.
    pub rows_estimate: Option<u64>,
    /// The table's comment.
    pub comment: Option<String>,
}

impl TableSchema {
    /// A table without keys and estimates.
    #[must_use]
    pub fn new(table: TableRef, columns: Vec<ColumnSchema>) -> Self {
        Self {
            table,
            columns,
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            rows_estimate: None,
            comment: None,
        }
    }

    /// A column by its exact name.
    ///
    /// # Errors
    /// `not_found`, naming the nearest column.
    pub fn column(&self, name: &str) -> Result<&ColumnSchema> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let error =
                Error::new(ErrorKind::NotFound, format!("table {} has no column `{name}`", self.table))
                    .with("table", &self.table)
                    .with("column", name);
            let names = self.columns.iter().map(|column| column.name.as_str());
            match crate::document::nearest(name, names.clone()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("columns: {}", names.collect::<Vec<_>>().join(", "))),
            }
        })
    }

    /// Arrow schema of all columns.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(ColumnSchema::to_field).collect::<Vec<_>>()))
    }

    /// Arrow schema of the named columns in their order; of all where none is named.
    ///
    /// # Errors
    /// `not_found` for a column that does not exist.
    pub fn arrow_schema_of(&self, columns: &[String]) -> Result<SchemaRef> {
        Ok(self.project(columns)?.arrow_schema())
    }

    /// The table with the named columns only, in their order; with all where none is named.
    ///
    /// # Errors
    /// `not_found` for a column that does not exist.
    pub fn project(&self, columns: &[String]) -> Result<Self> {
        if columns.is_empty() {
            return Ok(self.clone());
        }
        let chosen = columns.iter().map(|name| self.column(name).cloned()).collect::<Result<_>>()?;
        Ok(Self { columns: chosen, ..self.clone() })
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|column| {
                json!({
                    "name": column.name,
                    "source_type": column.source_type,
                    "arrow_type": column.data_type.to_string(),
                    "extension": column.extension.map(Extension::as_str),
                    "nullable": column.nullable,
                    "comment": column.comment,
                    "default": column.default,
                    "generated": column.generated,
                    "indexed": column.indexed,
                    "primary_key": self.primary_key.contains(&column.name),
                })
            })
            .collect();
        json!({
            "schema": self.table.schema,
            "name": self.table.name,
            "columns": columns,
            "primary_key": self.primary_key,
            "unique_keys": self.unique_keys,
            "rows_estimate": self.rows_estimate,
            "comment": self.comment,
        })
    }
}
