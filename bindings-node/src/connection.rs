//! Connections: testing, browsing, sampling and reading.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Buffer, PromiseRaw, Uint8Array};
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use transload::connector::{ReadPlan, SchemaInfo, Source, TableInfo};
use transload::document::parse_str;
use transload::schema::{LayoutDocument, TableRef, TargetRef};
use transload::{Connection, Error, Result};

use crate::arrow::{from_ipc, to_ipc};
use crate::error::Throw as _;
use crate::mapper::{NativeMapper, mapping_of};
use crate::reader::NativeReader;
use crate::{MEMORY, REGISTRY};

/// Options of a read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ReadOptions {
    /// Schema of the table.
    schema: Option<String>,
    /// Columns in the wanted order; all by default.
    columns: Vec<String>,
    /// At most this many rows.
    limit: Option<u64>,
    /// Splits read at once.
    parallelism: usize,
    /// Wished bytes of a batch.
    batch_bytes: usize,
}

/// Options of a sample.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct SampleOptions {
    /// Schema of the table.
    schema: Option<String>,
    /// Number of rows.
    rows: usize,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { schema: None, rows: 100 }
    }
}

/// A named way into one system.
#[napi(js_name = "Connection")]
#[derive(Debug)]
pub struct NativeConnection(pub(crate) Connection);

#[napi]
impl NativeConnection {
    /// Reads a URL or the JSON text of a connection document, and checks type and options without any I/O.
    /// `name` replaces the name in it.
    ///
    /// # Errors
    /// `config`.
    #[napi(constructor)]
    pub fn new(text: String, name: Option<String>) -> napi::Result<Self> {
        parse(&text, name).map(Self).or_throw()
    }

    /// The name that jobs refer to.
    #[napi(getter)]
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// The system's type.
    #[napi(getter, js_name = "type")]
    #[must_use]
    pub fn kind(&self) -> String {
        self.0.kind().to_owned()
    }

    /// The document as a JSON text, without any secret.
    #[napi]
    #[must_use]
    pub fn to_json(&self) -> String {
        self.0.to_json().to_string()
    }

    /// The same for two connections to the same place.
    #[napi]
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    /// A name for a form to propose.
    #[napi]
    #[must_use]
    pub fn suggested_name(&self) -> String {
        self.0.suggested_name()
    }

    /// Tests the connection; gives a status as a JSON text.
    #[napi]
    pub async fn test(&self, timeout_ms: u32) -> String {
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        REGISTRY.test(&self.0, timeout).await.to_json().to_string()
    }

    /// The schemas as a JSON text.
    ///
    /// # Errors
    /// Those of opening and asking.
    #[napi]
    pub async fn schemas(&self) -> napi::Result<String> {
        let list = async { self.source().await?.schemas().await };
        let schemas = self.named("schemas", list.await).or_throw()?;
        Ok(schemas.iter().map(SchemaInfo::to_json).collect::<Value>().to_string())
    }

    /// The tables of a schema or of all as a JSON text.
    ///
    /// # Errors
    /// Those of opening and asking.
    #[napi]
    pub async fn tables(&self, schema: Option<String>) -> napi::Result<String> {
        let list = async { self.source().await?.tables(schema.as_deref()).await };
        let tables = self.named("tables", list.await).or_throw()?;
        Ok(tables.iter().map(TableInfo::to_json).collect::<Value>().to_string())
    }

    /// Columns and keys of a table as a JSON text.
    ///
    /// # Errors
    /// `not_found`, and those of opening and asking.
    #[napi]
    pub async fn describe(&self, table: String, schema: Option<String>) -> napi::Result<String> {
        let table = self.table(table, schema);
        let describe = async { self.source().await?.describe(&table).await };
        Ok(self.named("describe", describe.await).or_throw()?.to_json().to_string())
    }

    /// Some rows as an Arrow IPC stream. `options` is a JSON text.
    ///
    /// # Errors
    /// `not_found`, and those of opening and asking.
    #[napi]
    pub async fn sample(&self, table: String, options: String) -> napi::Result<Buffer> {
        let sample = async {
            let options: SampleOptions = parse_str("sample options", &options)?;
            let table = self.table(table, options.schema);
            to_ipc(&self.source().await?.sample(&table, options.rows).await?)
        };
        Ok(self.named("sample", sample.await).or_throw()?.into())
    }

    /// A reader of a table; it opens the connection when it is first asked. `options` is a JSON text.
    ///
    /// # Errors
    /// `config` for wrong options.
    #[napi]
    pub fn read(&self, table: String, options: String) -> napi::Result<NativeReader> {
        let options: ReadOptions = parse_str("read options", &options).or_throw()?;
        let plan = ReadPlan {
            columns: options.columns,
            filter: None,
            limit: options.limit,
            parallelism: options.parallelism,
            batch_bytes: options.batch_bytes,
        };
        let table = self.table(table, options.schema);
        Ok(NativeReader::new(self.0.clone(), table, plan))
    }

    /// Puts a table into a memory connection, in place of one with the same name.
    ///
    /// # Errors
    /// `unsupported` for other connections, `data` for bytes that are no Arrow IPC.
    #[napi]
    pub fn put(&self, table: String, ipc: Uint8Array, schema: Option<String>) -> napi::Result<()> {
        self.named("put", self.put_ipc(&self.table(table, schema), &ipc)).or_throw()
    }

    /// Compares a table of the connection with a mapping and a layout, given as JSON texts; gives a JSON text.
    ///
    /// # Errors
    /// `config` for a broken mapping, table or layout; those of reaching the destination.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn validate_table<'env>(
        &self,
        env: &'env Env,
        mapping: String,
        table: String,
        layout: String,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let connection = self.0.clone();
        let mapping = mapping_of(&mapping).or_throw()?;
        let target = table.parse::<TargetRef>().or_throw()?;
        let layout = parse_str::<LayoutDocument>("layout", &layout).or_throw()?;
        env.spawn_future(async move {
            let check = REGISTRY.validate_table(&connection, &mapping, &target, &layout).await.or_throw()?;
            Ok(check.to_json().to_string())
        })
    }

    /// The mapping that a mapper proposes for a table; see `mapper::mapping_json`.
    ///
    /// # Errors
    /// Those of describing, sampling and mapping.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn propose<'env>(
        &self,
        env: &'env Env,
        mapper: &NativeMapper,
        table: String,
        schema: Option<String>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let (connection, mapper) = (self.0.clone(), mapper.clone());
        let table = self.table(table, schema);
        env.spawn_future(async move { mapper.propose(&connection, &table).await.or_throw() })
    }
}

impl NativeConnection {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        REGISTRY.source(&self.0).await
    }

    fn named<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.operation(operation).with("connection", self.0.name()))
    }

    /// Where sources have schemas, `schema.table` names both; with a schema given, the name is taken as it is.
    fn table(&self, name: String, schema: Option<String>) -> TableRef {
        let schemas = || {
            let connector = REGISTRY.connector(self.0.kind());
            connector.is_ok_and(|connector| connector.descriptor().capability.schemas)
        };
        match (schema, name.split_once('.')) {
            (None, Some((schema, table))) if schemas() => TableRef::new(schema, table),
            (schema, _) => TableRef { schema, name },
        }
    }

    fn put_ipc(&self, table: &TableRef, ipc: &[u8]) -> Result<()> {
        if REGISTRY.connector(self.0.kind())?.descriptor().kind != "memory" {
            return Err(Error::unsupported("a table can be put into memory connections only")
                .hint("run a job to load rows into another system"));
        }
        let store = self.0.option_text("path").unwrap_or_default();
        let schema = table.schema.as_deref().unwrap_or_default();
        MEMORY.put(store, schema, &table.name, from_ipc(ipc, usize::MAX)?)
    }
}

fn parse(text: &str, name: Option<String>) -> Result<Connection> {
    let connection = if text.trim_start().starts_with('{') {
        let document = serde_json::from_str(text).map_err(|error| {
            // Only the place: the text around it may be a password.
            let at = format!("line {} column {}", error.line(), error.column());
            Error::config(format!("connection document is not valid JSON at {at}"))
        })?;
        Connection::from_json(document)?
    } else {
        Connection::from_url(text)?
    };
    let connection = match name {
        Some(name) => connection.named(name),
        None => connection,
    };
    REGISTRY.validate(&connection)?;
    Ok(connection)
}
