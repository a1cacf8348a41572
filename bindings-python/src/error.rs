//! The engine's errors as the exceptions of `transload.exceptions`.

use pyo3::prelude::*;
use serde_json::Value;
use transload::Error;

use crate::convert::to_py;

/// The exception of an error; those of runs carry the report.
pub(crate) fn exception(py: Python<'_>, error: &Error, report: Option<&Value>) -> PyErr {
    let build = || {
        let fields = to_py(py, &error.to_json())?;
        let report = report.map(|report| to_py(py, report)).transpose()?;
        py.import("transload.exceptions")?.getattr("from_engine")?.call1((error.to_string(), fields, report))
    };
    build().map_or_else(|failed| failed, PyErr::from_value)
}

/// Raises the error of a result.
pub(crate) trait OrRaise<T> {
    /// The value, or the error as an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for transload::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, &error, None))
    }
}
