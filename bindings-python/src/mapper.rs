//! The schema mapper and its proposals.

use pyo3::prelude::*;
use serde_json::Value;
use transload::document::parse;
use transload::schema::{ColumnSchema, MapperOptions, Overrides, TableRef, TableSchema};
use transload::{Connection, Result, SchemaMapper, TableMapping};

use crate::REGISTRY;
use crate::arrow::batch_of;
use crate::connection::{PyConnection, any_connection};
use crate::convert::{from_py, to_py};
use crate::error::OrRaise as _;
use crate::runtime::block_on;

/// Proposes BigQuery types.
#[pyclass(name = "SchemaMapper", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PySchemaMapper {
    mapper: SchemaMapper,
    detect_types: bool,
    sample_rows: usize,
}

#[pymethods]
impl PySchemaMapper {
    #[new]
    #[pyo3(signature = (overrides=None, detect_types=true, sample_rows=10_000))]
    fn new(overrides: Option<&Bound<'_, PyAny>>, detect_types: bool, sample_rows: usize) -> PyResult<Self> {
        let overrides = match overrides {
            Some(overrides) => {
                let document = from_py("overrides", overrides)?;
                parse::<Overrides>("overrides", document).or_raise(overrides.py())?
            }
            None => Overrides::new(),
        };
        let mut options = MapperOptions::default();
        options.detect_types = detect_types;
        Ok(Self { mapper: SchemaMapper::new(options).with_overrides(overrides), detect_types, sample_rows })
    }

    #[pyo3(signature = (connection, table, schema=None))]
    fn propose(
        &self,
        py: Python<'_>,
        connection: &Bound<'_, PyAny>,
        table: &str,
        schema: Option<&str>,
    ) -> PyResult<PyTableMapping> {
        let connection = PyConnection(any_connection(connection)?);
        let table = connection.table(table, schema);
        let mapping = block_on(py, self.ask(&connection.0, &table))?;
        let mapping =
            mapping.map_err(|error| error.operation("propose").with("connection", connection.0.name()));
        mapping.map(PyTableMapping).or_raise(py)
    }

    #[pyo3(signature = (data, table="table", schema=None))]
    fn map(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        table: &str,
        schema: Option<&str>,
    ) -> PyResult<PyTableMapping> {
        let sample = batch_of(data, self.sample_rows)?;
        let table = TableRef { schema: schema.map(str::to_owned), name: table.to_owned() };
        let columns = sample.schema().fields().iter().map(|field| ColumnSchema::from_field(field)).collect();
        let described = TableSchema::new(table, columns);
        py.detach(|| self.mapper.map(&described, Some(&sample))).map(PyTableMapping).or_raise(py)
    }
}

impl PySchemaMapper {
    async fn ask(&self, connection: &Connection, table: &TableRef) -> Result<TableMapping> {
        let source = REGISTRY.source(connection).await?;
        let described = source.describe(table).await?;
        let sample =
            if self.detect_types { Some(source.sample(table, self.sample_rows).await?) } else { None };
        self.mapper.map(&described, sample.as_ref())
    }
}

/// The proposal for one table.
#[pyclass(name = "TableMapping", module = "transload", frozen, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct PyTableMapping(pub(crate) TableMapping);

impl PyTableMapping {
    fn field<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.0.to_json().get(name).unwrap_or(&Value::Null))
    }
}

#[pymethods]
impl PyTableMapping {
    #[getter]
    fn table(&self) -> String {
        self.0.table.to_string()
    }

    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "columns")
    }

    #[getter]
    fn dropped(&self) -> Vec<String> {
        self.0.dropped.clone()
    }

    #[getter]
    fn primary_key(&self) -> Vec<String> {
        self.0.primary_key.clone()
    }

    #[getter]
    fn hash(&self) -> String {
        self.0.hash()
    }

    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let columns = self.0.to_json();
        let mut columns = columns["columns"].as_array().into_iter().flatten();
        to_py(py, columns.find(|column| column["source_name"] == name).unwrap_or(&Value::Null))
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json())
    }

    fn to_json(&self) -> String {
        self.0.to_json().to_string()
    }

    fn to_text(&self) -> String {
        self.0.to_text()
    }

    fn to_bigquery_schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_bigquery_schema())
    }

    fn _repr_html_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("transload._html")?.getattr("mapping_html")?.call1((self.to_dict(py)?,))
    }

    fn __len__(&self) -> usize {
        self.0.columns.len()
    }

    fn __str__(&self) -> String {
        self.0.to_text()
    }

    fn __repr__(&self) -> String {
        format!("TableMapping({}: {} columns, {})", self.0.table, self.0.columns.len(), self.0.hash())
    }
}
