//! Jobs.

use jiff::{Timestamp, Zoned};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use transload::document::parse_str;
use transload::{EtlJob, Schedule};

use crate::convert::{from_py, to_py};
use crate::error::OrRaise as _;
use crate::schedule::PySchedule;

/// A valid job.
#[pyclass(name = "EtlJob", module = "transload", frozen, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct PyEtlJob(pub(crate) EtlJob);

#[pymethods]
impl PyEtlJob {
    #[new]
    #[pyo3(signature = (document, /))]
    fn new(document: &Bound<'_, PyAny>) -> PyResult<Self> {
        job_of(document).map(Self)
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn identity(&self) -> String {
        self.0.identity()
    }

    #[getter]
    fn schedule(&self) -> Option<PySchedule> {
        self.0.schedule().cloned().map(PySchedule)
    }

    #[pyo3(signature = (n=5, *, after=None))]
    fn next_runs(&self, py: Python<'_>, n: usize, after: Option<Timestamp>) -> PyResult<Vec<Zoned>> {
        self.0.next_runs(n, after.unwrap_or_else(Timestamp::now)).or_raise(py)
    }

    fn cron(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.schedule().map_or(Ok(None), Schedule::cron).or_raise(py)
    }

    fn shards(&self, py: Python<'_>) -> PyResult<Vec<Self>> {
        Ok(self.0.shards().or_raise(py)?.into_iter().map(Self).collect())
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json().or_raise(py)?)
    }

    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        self.0.to_json().map(|document| document.to_string()).or_raise(py)
    }

    /// For `pickle` and `copy`.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>,)> {
        Ok((self.to_dict(py)?,))
    }

    fn __repr__(&self) -> String {
        let (source, target) = (self.0.source_connection(), self.0.destination_connection());
        let (table, load) = (self.0.source_table(), self.0.strategy().as_str());
        format!("EtlJob({}: {source} {table} -> {target} {}, {load})", self.0.name(), self.0.target())
    }
}

/// A job from an `EtlJob`, a dict or a JSON text.
pub(crate) fn job_of(object: &Bound<'_, PyAny>) -> PyResult<EtlJob> {
    let py = object.py();
    if let Ok(job) = object.cast::<PyEtlJob>() {
        return Ok(job.get().0.clone());
    }
    if let Ok(text) = object.cast::<PyString>() {
        return parse_str("job document", text.to_str()?).and_then(EtlJob::from_document).or_raise(py);
    }
    if object.cast::<PyDict>().is_ok() {
        return EtlJob::from_json(from_py("job document", object)?).or_raise(py);
    }
    Err(PyTypeError::new_err("a job is an EtlJob, a dict or a JSON text"))
}
