//! The client of a control plane.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Value, json};
use transload::control_plane::{ControlPlane, ControlPlaneOptions};
use transload::{Runner, Secret};

use crate::REGISTRY;
use crate::convert::to_py;
use crate::error::OrRaise as _;
use crate::runtime::block_on;

/// Fetches jobs and delivers reports.
#[pyclass(name = "ControlPlane", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyControlPlane(ControlPlane);

#[pymethods]
impl PyControlPlane {
    #[new]
    #[pyo3(signature = (url, token=None, *, credentials=None, spool=None, deadline=60.0, allow_http=false))]
    fn new(
        py: Python<'_>,
        url: &str,
        token: Option<String>,
        credentials: Option<&str>,
        spool: Option<PathBuf>,
        deadline: f64,
        allow_http: bool,
    ) -> PyResult<Self> {
        let deadline = Duration::try_from_secs_f64(deadline)
            .map_err(|_| PyValueError::new_err("`deadline` is not a number of seconds"))?;
        let mut options = ControlPlaneOptions::default().deadline(deadline).allow_http(allow_http);
        if let Some(folder) = spool {
            options = options.spool(folder);
        }
        let control = match (token, credentials) {
            (Some(token), None) => ControlPlane::with_token(url, Secret::new(token), options),
            (None, Some(reference)) => reference
                .parse()
                .and_then(|reference| ControlPlane::new(url, reference, REGISTRY.secrets().clone(), options)),
            _ => return Err(PyValueError::new_err("give either `token` or `credentials`")),
        };
        control.map(Self).or_raise(py)
    }

    #[pyo3(signature = (ids=None))]
    fn jobs<'py>(&self, py: Python<'py>, ids: Option<Vec<String>>) -> PyResult<Bound<'py, PyAny>> {
        let set = block_on(py, async {
            match &ids {
                Some(ids) => self.0.jobs(ids).await,
                None => self.0.enabled_jobs().await,
            }
        })?
        .or_raise(py)?;
        let jobs: Vec<Value> = set
            .jobs
            .iter()
            .map(|assigned| match assigned.job.as_ref().map(|job| job.to_json().unwrap_or_default()) {
                Ok(document) => json!({"id": assigned.id, "document": document, "error": null}),
                Err(error) => json!({"id": assigned.id, "document": null, "error": error.to_json()}),
            })
            .collect();
        to_py(py, &jobs.into())
    }

    fn run<'py>(&self, py: Python<'py>, job_id: &str) -> PyResult<Bound<'py, PyAny>> {
        let runner = Runner::new(REGISTRY.clone());
        let (report, delivery) = block_on(py, self.0.run(runner, job_id))?.or_raise(py)?;
        let error = delivery.error.as_ref().map(transload::Error::to_json);
        to_py(
            py,
            &json!({
                "report": report.to_json(),
                "delivered": delivery.is_delivered(),
                "kept_at": delivery.kept_at,
                "error": error,
            }),
        )
    }

    fn send_spooled<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let outcome = block_on(py, self.0.send_spooled())?.or_raise(py)?;
        let error = outcome.error.as_ref().map(transload::Error::to_json);
        let (sent, kept, refused) = (outcome.sent, outcome.kept, outcome.refused);
        to_py(py, &json!({"sent": sent, "kept": kept, "refused": refused, "error": error}))
    }
}
