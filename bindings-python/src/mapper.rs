//! The schema mapper and its proposals.

use std::str::FromStr as _;

use pyo3::prelude::*;
use serde_json::{Value, json};
use transload::document::parse;
use transload::schema::{
    AddedColumns, ColumnSchema, LayoutDocument, MapperOptions, MappingDiff, Overrides, Partitioning,
    TableRef, TableSchema, TargetRef, check_partitioning, type_systems,
};
use transload::{Connection, Error, Result, SchemaMapper, TableMapping};

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
    #[pyo3(signature = (overrides=None, detect_types=true, sample_rows=10_000, added=None, show_values=true))]
    fn new(
        py: Python<'_>,
        overrides: Option<&Bound<'_, PyAny>>,
        detect_types: bool,
        sample_rows: usize,
        added: Option<&Bound<'_, PyAny>>,
        show_values: bool,
    ) -> PyResult<Self> {
        let mut options = MapperOptions::default();
        options.detect_types = detect_types;
        options.show_values = show_values;
        let overrides = parse::<Overrides>("overrides", document("overrides", overrides)?).or_raise(py)?;
        let added = parse::<AddedColumns>("added", document("added", added)?).or_raise(py)?;
        let mapper = SchemaMapper::new(options).with_overrides(overrides).with_added(added);
        Ok(Self { mapper, detect_types, sample_rows })
    }

    #[staticmethod]
    fn systems() -> Vec<&'static str> {
        type_systems()
    }

    #[staticmethod]
    fn for_type<'py>(py: Python<'py>, system: &str, source_type: &str) -> PyResult<Bound<'py, PyAny>> {
        let column = SchemaMapper::for_type(system, source_type).or_raise(py)?;
        to_py(py, &serde_json::to_value(column).map_err(not_serialised).or_raise(py)?)
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

/// A document that may be left out.
fn document(what: &str, object: Option<&Bound<'_, PyAny>>) -> PyResult<Value> {
    object.map_or_else(|| Ok(json!({})), |object| from_py(what, object))
}

fn not_serialised(error: serde_json::Error) -> Error {
    Error::internal("a mapping could not be serialised").source_error(error)
}

/// The proposal for one table.
#[pyclass(name = "TableMapping", module = "transload", frozen, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct PyTableMapping(pub(crate) TableMapping);

impl PyTableMapping {
    fn field<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.0.to_json().get(name).unwrap_or(&Value::Null))
    }

    /// The table that statements are for.
    fn target(&self, table: Option<&str>) -> Result<TargetRef> {
        table.map_or_else(|| Ok(self.0.default_target()), str::parse)
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

    #[staticmethod]
    fn from_json(py: Python<'_>, document: &Bound<'_, PyAny>) -> PyResult<Self> {
        let document = match document.extract::<String>() {
            Ok(text) => Value::from_str(&text)
                .map_err(|error| Error::config(format!("the mapping is not JSON: {error}")))
                .or_raise(py)?,
            Err(_) => from_py("mapping", document)?,
        };
        TableMapping::from_json(&document).map(Self).or_raise(py)
    }

    #[getter]
    fn added<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "added")
    }

    #[getter]
    fn advice<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "advice")
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

    #[pyo3(signature = (table=None, advised=false))]
    fn to_ddl(&self, py: Python<'_>, table: Option<&str>, advised: bool) -> PyResult<String> {
        Ok(self.0.to_ddl(&self.target(table).or_raise(py)?, advised))
    }

    #[pyo3(signature = (before, table=None))]
    fn diff(&self, py: Python<'_>, before: &Self, table: Option<&str>) -> PyResult<PyMappingDiff> {
        Ok(PyMappingDiff(self.0.diff(&before.0, &self.target(table).or_raise(py)?)))
    }

    #[pyo3(signature = (connection, table, layout=None))]
    fn validate<'py>(
        &self,
        py: Python<'py>,
        connection: &Bound<'py, PyAny>,
        table: &str,
        layout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let connection = any_connection(connection)?;
        let target = self.target(Some(table)).or_raise(py)?;
        let layout = parse::<LayoutDocument>("layout", document("layout", layout)?).or_raise(py)?;
        let check = block_on(py, REGISTRY.validate_table(&connection, &self.0, &target, &layout))?;
        to_py(py, &check.or_raise(py)?.to_json())
    }

    fn check_approved(&self, py: Python<'_>, hash: &str) -> PyResult<()> {
        self.0.check_approved(hash).or_raise(py)
    }

    #[pyo3(signature = (column, granularity, days=None))]
    fn check_partitioning<'py>(
        &self,
        py: Python<'py>,
        column: &str,
        granularity: &str,
        days: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let document = json!({"column": column, "granularity": granularity});
        let wanted = parse::<Partitioning>("partitioning", document).or_raise(py)?;
        let warnings = check_partitioning(&self.0, &wanted, days).or_raise(py)?;
        to_py(py, &serde_json::to_value(warnings).map_err(not_serialised).or_raise(py)?)
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

/// What changed between two mappings.
#[pyclass(name = "MappingDiff", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyMappingDiff(MappingDiff);

#[pymethods]
impl PyMappingDiff {
    #[getter]
    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json()["changes"])
    }

    #[getter]
    fn in_place(&self) -> bool {
        self.0.in_place
    }

    #[getter]
    fn rebuild(&self) -> Option<&str> {
        self.0.rebuild.as_deref()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json())
    }

    fn to_text(&self) -> String {
        self.0.to_text()
    }

    fn _repr_html_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("transload._html")?.getattr("diff_html")?.call1((self.to_dict(py)?,))
    }

    fn __len__(&self) -> usize {
        self.0.changes.len()
    }

    fn __str__(&self) -> String {
        self.0.to_text()
    }

    fn __repr__(&self) -> String {
        let place = if self.0.in_place { "in place" } else { "not in place" };
        format!("MappingDiff({} changes, {place})", self.0.changes.len())
    }
}
