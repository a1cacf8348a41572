//! Connections: testing, browsing, sampling and reading.

use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Buffer, PromiseRaw, ToNapiValue, Uint8Array};
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use transload::connector::{ReadPlan, SchemaInfo, TableInfo};
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
    ///
    /// # Errors
    /// None in practice: what fails is part of the status.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn test<'env>(&self, env: &'env Env, timeout_ms: u32) -> napi::Result<PromiseRaw<'env, String>> {
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        self.ask(env, "test", async move |connection| {
            Ok(REGISTRY.test(&connection, timeout).await.to_json().to_string())
        })
    }

    /// The schemas as a JSON text.
    ///
    /// # Errors
    /// Those of opening and asking.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn schemas<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, String>> {
        self.ask(env, "schemas", async |connection| {
            let schemas = REGISTRY.source(&connection).await?.schemas().await?;
            Ok(schemas.iter().map(SchemaInfo::to_json).collect::<Value>().to_string())
        })
    }

    /// The tables of a schema or of all as a JSON text.
    ///
    /// # Errors
    /// Those of opening and asking.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn tables<'env>(
        &self,
        env: &'env Env,
        schema: Option<String>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        self.ask(env, "tables", async move |connection| {
            let tables = REGISTRY.source(&connection).await?.tables(schema.as_deref()).await?;
            Ok(tables.iter().map(TableInfo::to_json).collect::<Value>().to_string())
        })
    }

    /// Columns and keys of a table as a JSON text.
    ///
    /// # Errors
    /// `not_found`, and those of opening and asking.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn describe<'env>(
        &self,
        env: &'env Env,
        table: String,
        schema: Option<String>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let table = self.table(table, schema);
        self.ask(env, "describe", async move |connection| {
            Ok(REGISTRY.source(&connection).await?.describe(&table).await?.to_json().to_string())
        })
    }

    /// Some rows as an Arrow IPC stream. `options` is a JSON text.
    ///
    /// # Errors
    /// `not_found`, and those of opening and asking.
    #[napi(ts_return_type = "Promise<Buffer>")]
    pub fn sample<'env>(
        &self,
        env: &'env Env,
        table: String,
        options: String,
    ) -> napi::Result<PromiseRaw<'env, Buffer>> {
        let options = parse_str::<SampleOptions>("sample options", &options);
        let options = self.named("sample", options).or_throw()?;
        let table = self.table(table, options.schema);
        self.ask(env, "sample", async move |connection| {
            let sample = REGISTRY.source(&connection).await?.sample(&table, options.rows).await?;
            Ok(Buffer::from(to_ipc(&sample)?))
        })
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
    /// A promise of what an operation gives. It has a connection of its own and never borrows `self`: a worker thread
    /// that ends frees its objects while their promises are still worked at.
    fn ask<'env, T, F>(
        &self,
        env: &'env Env,
        operation: &'static str,
        ask: impl FnOnce(Connection) -> F,
    ) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: ToNapiValue + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (asked, name) = (ask(self.0.clone()), self.0.name().to_owned());
        env.spawn_future(async move { named(&name, operation, asked.await).or_throw() })
    }

    fn named<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        named(self.0.name(), operation, result)
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

fn named<T>(connection: &str, operation: &'static str, result: Result<T>) -> Result<T> {
    result.map_err(|error| error.operation(operation).with("connection", connection))
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
