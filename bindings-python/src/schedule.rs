//! Schedules.

use jiff::{Timestamp, Zoned};
use pyo3::prelude::*;
use transload::Schedule;

use crate::convert::{from_py, to_py};
use crate::error::OrRaise as _;

/// When a host should run a job.
#[pyclass(name = "Schedule", module = "transload", frozen, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct PySchedule(pub(crate) Schedule);

#[pymethods]
impl PySchedule {
    #[new]
    #[pyo3(signature = (document, /))]
    fn new(document: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(schedule) = document.cast::<Self>() {
            return Ok(Self(schedule.get().0.clone()));
        }
        Schedule::from_json(from_py("schedule", document)?).map(Self).or_raise(document.py())
    }

    #[pyo3(signature = (n=5, *, after=None))]
    fn next_runs(&self, py: Python<'_>, n: usize, after: Option<Timestamp>) -> PyResult<Vec<Zoned>> {
        self.0.next(n, after.unwrap_or_else(Timestamp::now)).or_raise(py)
    }

    fn cron(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.cron().or_raise(py)
    }

    fn cloud_scheduler<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let fields = self.0.cloud_scheduler().or_raise(py)?;
        to_py(py, &serde_json::to_value(fields).unwrap_or_default())
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &serde_json::to_value(&self.0).unwrap_or_default())
    }

    /// For `pickle` and `copy`.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>,)> {
        Ok((self.to_dict(py)?,))
    }

    fn __repr__(&self) -> String {
        format!("Schedule({})", serde_json::to_value(&self.0).unwrap_or_default())
    }
}
