//! Arrow data in and out, by the PyCapsule protocol.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use pyo3_arrow::PySchema;
use pyo3_arrow::ffi::{to_array_pycapsules, to_schema_pycapsule};
use pyo3_arrow::input::AnyRecordBatch;
use transload::Result;
use transload::batch::batch_bytes;

use crate::error::OrRaise as _;
use crate::runtime::under_us;

/// Rows that came from a source.
#[pyclass(name = "RecordBatch", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyBatch(pub(crate) RecordBatch);

#[pymethods]
impl PyBatch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    #[getter]
    fn column_names(&self) -> Vec<String> {
        column_names(&self.0.schema())
    }

    #[getter]
    fn nbytes(&self) -> usize {
        batch_bytes(&self.0)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let rows = StructArray::from(self.0.clone());
        Ok(to_array_pycapsules(py, row_field(&self.0.schema()), &rows, requested_schema)?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.0.schema().as_ref())?)
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    fn __repr__(&self) -> String {
        format!("RecordBatch({} rows: {})", self.0.num_rows(), column_names(&self.0.schema()).join(", "))
    }
}

pub(crate) fn column_names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// The type of one row, as a stream or array of rows declares it.
pub(crate) fn row_field(schema: &Schema) -> FieldRef {
    Arc::new(Field::new_struct("", schema.fields().clone(), false).with_metadata(schema.metadata().clone()))
}

/// Rows or a schema from any object that speaks the PyCapsule protocol, as one batch of at most `most` rows;
/// an empty one for a schema.
pub(crate) fn batch_of(data: &Bound<'_, PyAny>, most: usize) -> PyResult<RecordBatch> {
    under_us(|| import(data, most))
}

fn import(data: &Bound<'_, PyAny>, most: usize) -> PyResult<RecordBatch> {
    let py = data.py();
    if data.hasattr("__arrow_c_array__")? || data.hasattr("__arrow_c_stream__")? {
        let mut batches = Vec::new();
        let mut rows = 0;
        let reader = data.extract::<AnyRecordBatch>()?.into_reader()?;
        let schema = reader.schema();
        for batch in reader {
            let batch = batch.map_err(transload::Error::from).or_raise(py)?;
            let batch = batch.slice(0, batch.num_rows().min(most - rows));
            rows += batch.num_rows();
            batches.push(batch);
            if rows == most {
                break;
            }
        }
        return one_batch(&schema, &batches).or_raise(py);
    }
    if data.hasattr("__arrow_c_schema__")? {
        let schema = data.extract::<PySchema>()?.into_inner();
        return one_batch(&schema, &[]).or_raise(py);
    }
    Err(PyTypeError::new_err("Arrow data has __arrow_c_array__, __arrow_c_stream__ or __arrow_c_schema__"))
}

/// Texts and bytes get the layout that the engine's own sources have: what Arrow libraries call large and
/// view types holds the same values.
fn one_batch(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let batch = arrow_select::concat::concat_batches(schema, batches)?;
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let plain = match column.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        columns.push(arrow_cast::cast(column, &plain)?);
        fields.push(field.as_ref().clone().with_data_type(plain));
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}
