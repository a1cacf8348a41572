//! Connections: testing, browsing, sampling and reading.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::{Map, Value};
use transload::connector::{ReadPlan, SchemaInfo, Source, TableInfo};
use transload::schema::TableRef;
use transload::{Connection, Error, Result, Secret};

use crate::arrow::{PyBatch, batch_of};
use crate::convert::{from_py, to_py};
use crate::error::OrRaise as _;
use crate::reader::PyReader;
use crate::runtime::block_on;
use crate::{MEMORY, REGISTRY};

/// A named way into one system.
#[pyclass(name = "Connection", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyConnection(pub(crate) Connection);

#[pymethods]
impl PyConnection {
    #[new]
    #[pyo3(signature = (document_or_url=None, /, **options))]
    fn new(
        document_or_url: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        connection_of(document_or_url, options).map(Self)
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn r#type(&self) -> &str {
        self.0.kind()
    }

    #[pyo3(signature = (timeout=10.0))]
    fn test<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyAny>> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err("timeout must be a number of seconds, 0 or more"))?;
        to_py(py, &block_on(py, REGISTRY.test(&self.0, timeout))?.to_json())
    }

    fn schemas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let schemas = self.ask(py, "schemas", async { self.source().await?.schemas().await })?;
        to_py(py, &schemas.iter().map(SchemaInfo::to_json).collect())
    }

    #[pyo3(signature = (schema=None))]
    fn tables<'py>(&self, py: Python<'py>, schema: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        let tables = self.ask(py, "tables", async { self.source().await?.tables(schema).await })?;
        to_py(py, &tables.iter().map(TableInfo::to_json).collect())
    }

    #[pyo3(signature = (table, schema=None))]
    fn describe<'py>(
        &self,
        py: Python<'py>,
        table: &str,
        schema: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = self.table(table, schema);
        let described = self.ask(py, "describe", async { self.source().await?.describe(&table).await })?;
        to_py(py, &described.to_json())
    }

    #[pyo3(signature = (table, schema=None, rows=100))]
    fn sample(&self, py: Python<'_>, table: &str, schema: Option<&str>, rows: usize) -> PyResult<PyBatch> {
        let table = self.table(table, schema);
        self.ask(py, "sample", async { self.source().await?.sample(&table, rows).await }).map(PyBatch)
    }

    #[pyo3(signature = (table, schema=None, columns=None, limit=None, parallelism=None))]
    fn read(
        &self,
        py: Python<'_>,
        table: &str,
        schema: Option<&str>,
        columns: Option<Vec<String>>,
        limit: Option<u64>,
        parallelism: Option<usize>,
    ) -> PyResult<PyReader> {
        let plan = ReadPlan {
            columns: columns.unwrap_or_default(),
            limit,
            parallelism: parallelism.unwrap_or_default(),
            ..ReadPlan::default()
        };
        let table = self.table(table, schema);
        let stream = block_on(py, REGISTRY.read(&self.0, &table, &plan))?.or_raise(py)?;
        PyReader::new(py, stream)
    }

    #[pyo3(signature = (table, data, schema=None))]
    fn put(
        &self,
        py: Python<'_>,
        table: &str,
        data: &Bound<'_, PyAny>,
        schema: Option<&str>,
    ) -> PyResult<()> {
        let table = self.table(table, schema);
        let store = self.memory_store().or_raise(py)?;
        let batch = batch_of(data, usize::MAX)?;
        MEMORY.put(store, table.schema.as_deref().unwrap_or_default(), &table.name, batch).or_raise(py)
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn suggested_name(&self) -> String {
        self.0.suggested_name()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json())
    }

    fn __repr__(&self) -> String {
        format!("Connection({})", self.0)
    }
}

impl PyConnection {
    /// Asks the system one thing, and names connection and operation in errors.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        operation: &'static str,
        question: impl Future<Output = Result<T>> + Send,
    ) -> PyResult<T> {
        let answer = block_on(py, question)?;
        answer.map_err(|error| error.operation(operation).with("connection", self.0.name())).or_raise(py)
    }

    async fn source(&self) -> Result<Arc<dyn Source>> {
        REGISTRY.source(&self.0).await
    }

    /// Where sources have schemas, `schema.table` names both; with a schema given, the name is taken as it is.
    pub(crate) fn table(&self, name: &str, schema: Option<&str>) -> TableRef {
        let schemas = || {
            let connector = REGISTRY.connector(self.0.kind());
            connector.is_ok_and(|connector| connector.descriptor().capability.schemas)
        };
        match (schema, name.split_once('.')) {
            (None, Some((schema, table))) if schemas() => TableRef::new(schema, table),
            (schema, _) => TableRef { schema: schema.map(str::to_owned), name: name.to_owned() },
        }
    }

    fn memory_store(&self) -> Result<&str> {
        if REGISTRY.connector(self.0.kind())?.descriptor().kind != "memory" {
            return Err(Error::unsupported("a table can be put into memory connections only")
                .with("connection", self.0.name())
                .hint("run a job to load rows into another system"));
        }
        Ok(self.0.option_text("path").unwrap_or_default())
    }
}

/// A connection from a document, a JSON text or a URL with options on top, checked without any I/O.
fn connection_of(
    document: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Connection> {
    let mut fields = match document {
        None => Map::new(),
        Some(document) if document.cast::<PyDict>().is_ok() => fields_of(document)?,
        Some(document) => match document.cast::<PyString>() {
            Ok(text) if text.to_str()?.trim_start().starts_with('{') => {
                json_text(text.to_str()?).or_raise(text.py())?
            }
            Ok(url) => return with_options(url, options),
            Err(_) => return Err(PyTypeError::new_err("a connection is a dict, a JSON text or a URL")),
        },
    };
    if let Some(options) = options {
        fields.extend(fields_of(options)?);
    }
    let connection = Connection::from_json(Value::Object(fields));
    let py = document.map(Bound::py).or(options.map(|options| options.py()));
    match py {
        Some(py) => connection.and_then(checked).or_raise(py),
        None => Err(PyTypeError::new_err("a connection needs a document, a URL or options")),
    }
}

fn with_options(url: &Bound<'_, PyString>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Connection> {
    let py = url.py();
    let mut connection = Connection::from_url(url.to_str()?).or_raise(py)?;
    let Some(options) = options else { return checked(connection).or_raise(py) };
    for (key, value) in fields_of(options)? {
        connection = match (key.as_str(), value) {
            ("name", Value::String(name)) => connection.named(name),
            ("password", Value::String(password)) => connection.password(Secret::new(password)),
            ("credentials", Value::String(reference)) => {
                connection.credentials(reference.parse().or_raise(py)?)
            }
            ("name" | "password" | "credentials" | "type", _) => {
                return Err(PyTypeError::new_err(format!(
                    "`{key}` must be a str, and the type is the URL's"
                )));
            }
            ("limits", value) => {
                connection.limited(transload::ConnectionLimits::from_json(value).or_raise(py)?)
            }
            (_, value) => connection.option(key, value),
        };
    }
    checked(connection).or_raise(py)
}

fn fields_of(dict: &Bound<'_, PyAny>) -> PyResult<Map<String, Value>> {
    match from_py("connection document", dict)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

fn json_text(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        // Only the place: the text around it may be a password.
        let at = format!("line {} column {}", error.line(), error.column());
        Error::config(format!("connection document is not valid JSON at {at}"))
    })
}

fn checked(connection: Connection) -> Result<Connection> {
    REGISTRY.validate(&connection)?;
    Ok(connection)
}

/// A connection from a `Connection`, a dict, a JSON text or a URL.
pub(crate) fn any_connection(object: &Bound<'_, PyAny>) -> PyResult<Connection> {
    match object.cast::<PyConnection>() {
        Ok(connection) => Ok(connection.get().0.clone()),
        Err(_) => connection_of(Some(object), None),
    }
}
