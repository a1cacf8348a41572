//! The schema mapper.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use transload::document::parse_str;
use transload::schema::{
    self, AddedColumns, ColumnSchema, MapperOptions, Overrides, Partitioning, TableRef, TableSchema,
    TargetRef,
};
use transload::{Connection, Error, Result, SchemaMapper, TableMapping};

use crate::REGISTRY;
use crate::arrow::from_ipc;
use crate::error::Throw as _;

/// Options of a mapper.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Overrides by the column's name at the source.
    overrides: Overrides,
    /// Columns that the source does not have, by their name at the destination.
    added: AddedColumns,
    /// Look for types hidden in text columns.
    detect_types: bool,
    /// Rows that are sampled for that.
    sample_rows: usize,
    /// Evidence may show values of the sample.
    show_values: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            overrides: Overrides::new(),
            added: AddedColumns::new(),
            detect_types: true,
            sample_rows: 10_000,
            show_values: true,
        }
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
        mapper_options.show_values = options.show_values;
        Ok(Self {
            mapper: SchemaMapper::new(mapper_options)
                .with_overrides(options.overrides)
                .with_added(options.added),
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

/// What a type of a system becomes, as the JSON text of a column's mapping.
///
/// # Errors
/// `not_found` for an unknown system or type, `type_mapping` where the text says too little.
#[napi]
pub fn type_mapping(system: String, source_type: String) -> napi::Result<String> {
    Ok(serde_json::to_string(&SchemaMapper::for_type(&system, &source_type).or_throw()?)?)
}

/// The systems that [`type_mapping`] knows.
#[napi]
#[must_use]
pub fn type_systems() -> Vec<&'static str> {
    schema::type_systems()
}

/// Reads a mapping's JSON form back, as the JSON text of [`mapping_json`].
///
/// # Errors
/// `config` for another document and for one that was changed.
#[napi]
pub fn read_mapping(document: String) -> napi::Result<String> {
    Ok(mapping_json(&mapping_of(&document).or_throw()?))
}

/// `CREATE TABLE` for a mapping.
///
/// # Errors
/// `config` for a broken mapping or target.
#[napi]
pub fn mapping_ddl(document: String, table: Option<String>, advised: bool) -> napi::Result<String> {
    let mapping = mapping_of(&document).or_throw()?;
    Ok(mapping.to_ddl(&target(&mapping, table).or_throw()?, advised))
}

/// What changed from one mapping to another, as a JSON text with the JSON form and the text for people.
///
/// # Errors
/// `config` for a broken mapping or target.
#[napi]
pub fn mapping_diff(before: String, after: String, table: Option<String>) -> napi::Result<String> {
    let (before, after) = (mapping_of(&before).or_throw()?, mapping_of(&after).or_throw()?);
    let diff = after.diff(&before, &target(&after, table).or_throw()?);
    Ok(json!({"diff": diff.to_json(), "text": diff.to_text()}).to_string())
}

/// Checks that a mapping has the approved hash.
///
/// # Errors
/// `schema_changed` if it has not; `config` for a broken mapping.
#[napi]
pub fn check_approved(document: String, hash: String) -> napi::Result<()> {
    mapping_of(&document).and_then(|mapping| mapping.check_approved(&hash)).or_throw()
}

/// Checks a wish for partitions, given as a JSON text; gives warnings as a JSON text.
///
/// # Errors
/// `type_mapping` for what BigQuery cannot do; `config` for a broken mapping or wish.
#[napi]
pub fn check_partitioning(document: String, wanted: String, days: Option<u32>) -> napi::Result<String> {
    let mapping = mapping_of(&document).or_throw()?;
    let wanted = parse_str::<Partitioning>("partitioning", &wanted).or_throw()?;
    let warnings = schema::check_partitioning(&mapping, &wanted, days.map(u64::from)).or_throw()?;
    Ok(serde_json::to_string(&warnings)?)
}

pub(crate) fn mapping_of(document: &str) -> Result<TableMapping> {
    let document = serde_json::from_str(document)
        .map_err(|error| Error::config(format!("the mapping is not JSON: {error}")))?;
    TableMapping::from_json(&document)
}

fn target(mapping: &TableMapping, table: Option<String>) -> Result<TargetRef> {
    table.map_or_else(|| Ok(mapping.default_target()), |table| table.parse())
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
