//! The schema mapper.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use transload::document::parse_str;
use transload::schema::{ColumnSchema, MapperOptions, Overrides, TableRef, TableSchema};
use transload::{Connection, Result, SchemaMapper, TableMapping};

use crate::REGISTRY;
use crate::arrow::from_ipc;
use crate::error::Throw as _;

/// Options of a mapper.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Overrides by the column's name at the source.
    overrides: Overrides,
    /// Look for types hidden in text columns.
    detect_types: bool,
    /// Rows that are sampled for that.
    sample_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { overrides: Overrides::new(), detect_types: true, sample_rows: 10_000 }
    }
}

/// Proposes mappings.
#[napi(js_name = "SchemaMapper")]
#[derive(Debug, Clone)]
pub struct NativeMapper {
    mapper: SchemaMapper,
    detect_types: bool,
    sample_rows: usize,
}

#[napi]
impl NativeMapper {
    /// A mapper with options, given as a JSON text.
    ///
    /// # Errors
    /// `config` for unknown or wrong options.
    #[napi(constructor)]
    pub fn new(options: String) -> napi::Result<Self> {
        let options: Options = parse_str("mapper options", &options).or_throw()?;
        let mut mapper_options = MapperOptions::default();
        mapper_options.detect_types = options.detect_types;
        Ok(Self {
            mapper: SchemaMapper::new(mapper_options).with_overrides(options.overrides),
            detect_types: options.detect_types,
            sample_rows: options.sample_rows,
        })
    }

    /// The mapping of an Arrow IPC stream or file, as the JSON text of [`mapping_json`].
    ///
    /// # Errors
    /// `data` for broken bytes, `type_mapping` and `not_found` for impossible overrides.
    #[napi]
    pub fn map(&self, ipc: Uint8Array, table: String, schema: Option<String>) -> napi::Result<String> {
        self.map_ipc(&ipc, TableRef { schema, name: table }).or_throw()
    }
}

impl NativeMapper {
    fn map_ipc(&self, ipc: &[u8], table: TableRef) -> Result<String> {
        let batch = from_ipc(ipc, self.sample_rows)?;
        let columns = batch.schema().fields().iter().map(|field| ColumnSchema::from_field(field)).collect();
        let mapping = self.mapper.map(&TableSchema::new(table, columns), Some(&batch))?;
        Ok(mapping_json(&mapping))
    }

    /// Describes and samples a table of a connection and maps it.
    pub(crate) async fn propose(&self, connection: &Connection, table: &TableRef) -> Result<String> {
        let source = REGISTRY.source(connection).await?;
        let propose = async {
            let described = source.describe(table).await?;
            let sample = match self.detect_types {
                true => Some(source.sample(table, self.sample_rows).await?),
                false => None,
            };
            self.mapper.map(&described, sample.as_ref())
        };
        let mapping = propose.await;
        let mapping =
            mapping.map_err(|error| error.operation("propose").with("connection", connection.name()))?;
        Ok(mapping_json(&mapping))
    }
}

/// A mapping as JavaScript gets it: its JSON form, its text and BigQuery's schema.
pub(crate) fn mapping_json(mapping: &TableMapping) -> String {
    json!({
        "mapping": mapping.to_json(),
        "text": mapping.to_text(),
        "bigquery": mapping.to_bigquery_schema(),
    })
    .to_string()
}
