//! Running jobs.

use std::io::Stderr;
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use transload::runner::{JsonLines, ProgressLine};
use transload::schema::TargetColumn;
use transload::{
    BatchReport, CancelHandle, Error, EtlJob, MemoryBudget, Progress, RunAllOptions, RunReport, Runner,
    RunnerOptions,
};

use crate::REGISTRY;
use crate::connection::any_connection;
use crate::convert::to_py;
use crate::error::{OrRaise as _, exception};
use crate::job::job_of;
use crate::mapper::PyTableMapping;
use crate::runtime::{Engine, block_on, under_us};

/// Cancels runs from anywhere.
#[pyclass(name = "CancelHandle", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyCancelHandle(CancelHandle);

#[pymethods]
impl PyCancelHandle {
    #[new]
    fn new() -> Self {
        Self(CancelHandle::new())
    }

    fn cancel(&self) {
        self.0.cancel();
    }

    #[getter]
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __repr__(&self) -> &'static str {
        if self.0.is_cancelled() { "CancelHandle(cancelled)" } else { "CancelHandle()" }
    }
}

/// Sets the memory that all runs of the process share.
#[pyfunction]
pub(crate) fn set_memory_budget(py: Python<'_>, bytes: usize) -> PyResult<()> {
    MemoryBudget::set_process(bytes).or_raise(py)
}

/// What shows progress beside the callback of the caller.
#[derive(Debug)]
enum Shown {
    Nothing,
    Line(ProgressLine),
    Json(JsonLines<Stderr>),
}

impl Shown {
    /// `progress`: nothing, a flag, or `"json"`.
    fn of(progress: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(progress) = progress else { return Ok(Self::Nothing) };
        match (progress.extract::<bool>(), progress.extract::<String>().as_deref()) {
            (Ok(true), _) => Ok(Self::Line(ProgressLine::new())),
            (Ok(false), _) => Ok(Self::Nothing),
            (_, Ok("json")) => Ok(Self::Json(JsonLines::new(std::io::stderr()))),
            _ => Err(Error::config("`progress` is True, False or \"json\"")).or_raise(progress.py()),
        }
    }

    fn show(&self, progress: &Progress) {
        match self {
            Self::Nothing => {}
            Self::Line(line) => line.show(progress),
            Self::Json(lines) => lines.write(progress),
        }
    }
}

/// Runs jobs.
#[pyclass(name = "Runner", module = "transload", frozen, subclass)]
#[derive(Debug)]
pub(crate) struct PyRunner(Runner);

#[pymethods]
impl PyRunner {
    #[new]
    #[pyo3(signature = (connections=None, memory_bytes=None, parallelism=None, retries=0, deadline=None))]
    fn new(
        py: Python<'_>,
        connections: Option<Vec<Bound<'_, PyAny>>>,
        memory_bytes: Option<usize>,
        parallelism: Option<usize>,
        retries: u32,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let mut options = RunnerOptions::default();
        if let Some(bytes) = memory_bytes {
            options = options.memory_bytes(bytes);
        }
        if let Some(splits) = parallelism {
            options = options.parallelism(splits);
        }
        options = options.retries(retries);
        if let Some(seconds) = deadline {
            let limit = Duration::try_from_secs_f64(seconds)
                .map_err(|error| Error::config("`deadline` is no number of seconds").source_error(error));
            options = options.deadline(limit.or_raise(py)?);
        }
        let mut runner = Runner::new(REGISTRY.clone()).options(options);
        for connection in connections.iter().flatten() {
            runner = runner.connection(any_connection(connection)?);
        }
        Ok(Self(runner))
    }

    #[pyo3(signature = (job, on_progress=None, cancel=None, progress=None))]
    fn run(
        &self,
        py: Python<'_>,
        job: &Bound<'_, PyAny>,
        on_progress: Option<&Bound<'_, PyAny>>,
        cancel: Option<&Bound<'_, PyCancelHandle>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyRunReport> {
        let job = job_of(job)?;
        let (runner, events, cancel) = self.watched(on_progress, cancel, Shown::of(progress)?);
        let engine = Engine::get(py)?;
        let task = engine.spawn(async move { Box::new(runner.run(&job).await) });
        let watch = Watch { engine, task, events, cancel, stopped: None };
        let (report, stopped) = watch.until_done(py, on_progress)?;
        finish(py, *report, stopped)
    }

    #[pyo3(signature = (jobs, concurrency=None, per_connection=None, on_progress=None, cancel=None, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn run_all(
        &self,
        py: Python<'_>,
        jobs: Vec<Bound<'_, PyAny>>,
        concurrency: Option<usize>,
        per_connection: Option<usize>,
        on_progress: Option<&Bound<'_, PyAny>>,
        cancel: Option<&Bound<'_, PyCancelHandle>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyBatchReport> {
        let jobs = jobs.iter().map(job_of).collect::<PyResult<Vec<_>>>()?;
        let mut options = RunAllOptions::default();
        if let Some(jobs) = concurrency {
            options = options.concurrency(jobs);
        }
        if let Some(jobs) = per_connection {
            options = options.per_connection(jobs);
        }
        let (runner, events, cancel) = self.watched(on_progress, cancel, Shown::of(progress)?);
        let engine = Engine::get(py)?;
        let task = engine.spawn(async move { Box::new(runner.run_all(&jobs, options).await) });
        let watch = Watch { engine, task, events, cancel, stopped: None };
        let (report, stopped) = watch.until_done(py, on_progress)?;
        match stopped {
            None => Ok(PyBatchReport(*report)),
            Some(raised) => Err(with_report(py, raised, &report.to_json())?),
        }
    }

    fn propose(&self, py: Python<'_>, job: &Bound<'_, PyAny>) -> PyResult<PyTableMapping> {
        let job = job_of(job)?;
        let mapping = block_on(py, self.0.propose(&job))?;
        mapping.map(PyTableMapping).map_err(|error| named(error, &job)).or_raise(py)
    }

    fn validate<'py>(&self, py: Python<'py>, job: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let job = job_of(job)?;
        let check = block_on(py, self.0.validate(&job))?.map_err(|error| named(error, &job)).or_raise(py)?;
        to_py(py, &check.to_json())
    }

    fn prepare<'py>(&self, py: Python<'py>, job: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let job = job_of(job)?;
        let target = block_on(py, self.0.prepare(&job))?.map_err(|error| named(error, &job)).or_raise(py)?;
        let columns: Vec<Value> = target.columns.iter().map(TargetColumn::to_bigquery_json).collect();
        to_py(
            py,
            &json!({
                "dataset": target.target.dataset,
                "table": target.target.table,
                "description": target.description,
                "columns": columns,
            }),
        )
    }
}

impl PyRunner {
    /// A runner whose progress comes to this thread where the caller wants it, and the handle that cancels it.
    fn watched(
        &self,
        on_progress: Option<&Bound<'_, PyAny>>,
        cancel: Option<&Bound<'_, PyCancelHandle>>,
        shown: Shown,
    ) -> (Runner, UnboundedReceiver<Progress>, CancelHandle) {
        let cancel = cancel.map_or_else(CancelHandle::new, |handle| handle.get().0.clone());
        let mut runner = self.0.clone().cancel_with(&cancel);
        let (sender, events) = unbounded_channel();
        let told = on_progress.is_some();
        if told || !matches!(shown, Shown::Nothing) {
            runner = runner.on_progress(move |progress| {
                shown.show(progress);
                if told {
                    // The callback itself is called by Python's thread, so the engine never waits for Python.
                    drop(sender.send(progress.clone()));
                }
            });
        }
        (runner, events, cancel)
    }
}

fn named(error: Error, job: &EtlJob) -> Error {
    error.with("job", job.name())
}

/// A run, or many, that this thread waits for.
struct Watch<T> {
    engine: Engine,
    task: JoinHandle<Box<T>>,
    events: UnboundedReceiver<Progress>,
    cancel: CancelHandle,
    /// Why Python wants it to stop.
    stopped: Option<PyErr>,
}

enum Step<T> {
    Events(Vec<Progress>),
    Done(Result<Box<T>, tokio::task::JoinError>),
}

impl<T: Send + 'static> Watch<T> {
    /// Calls the callback and looks for signals until the run is over. What they raise cancels the run, and
    /// is given back when the run has cleaned up; a second interrupt does not wait for that.
    fn until_done(
        mut self,
        py: Python<'_>,
        on_progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Box<T>, Option<PyErr>)> {
        let outcome = loop {
            match self.step(py) {
                Some(Step::Done(outcome)) => break outcome,
                Some(Step::Events(events)) => {
                    if let (Some(callback), None) = (on_progress, &self.stopped) {
                        let called = under_us(|| call(callback, &events));
                        self.stop(called);
                    }
                }
                None => {}
            }
            match under_us(|| py.check_signals()) {
                Err(again) if self.stopped.is_some() => {
                    self.task.abort();
                    return Err(again);
                }
                signals => self.stop(signals),
            }
        };
        let report = outcome
            .map_err(|error| Error::internal("the run died").source_error(error).operation("run"))
            .or_raise(py)?;
        Ok((report, self.stopped))
    }

    fn stop(&mut self, outcome: PyResult<()>) {
        if let Err(raised) = outcome {
            self.cancel.cancel();
            self.stopped.get_or_insert(raised);
        }
    }

    fn step(&mut self, py: Python<'_>) -> Option<Step<T>> {
        let mut events = Vec::new();
        let (receiver, task) = (&mut self.events, &mut self.task);
        self.engine.tick(py, async {
            // Events first: the run sends them all before it ends.
            tokio::select! {
                biased;
                1.. = receiver.recv_many(&mut events, 64) => Step::Events(events),
                outcome = task => Step::Done(outcome),
            }
        })
    }
}

/// Calls back; of several events of one job and phase that came meanwhile only the last counts.
fn call(callback: &Bound<'_, PyAny>, events: &[Progress]) -> PyResult<()> {
    let py = callback.py();
    for events in events.chunk_by(|a, b| a.phase == b.phase && a.job == b.job) {
        if let Some(progress) = events.last() {
            callback.call1((to_py(py, &progress.to_json())?,))?;
        }
    }
    Ok(())
}

/// The commit may have won the race against what was raised; the report tells. Exceptions without a `__dict__` go
/// without.
fn with_report(py: Python<'_>, raised: PyErr, report: &Value) -> PyResult<PyErr> {
    let _ = raised.value(py).setattr("report", to_py(py, report)?);
    Ok(raised)
}

fn finish(py: Python<'_>, report: RunReport, stopped: Option<PyErr>) -> PyResult<PyRunReport> {
    if let Some(raised) = stopped {
        return Err(with_report(py, raised, &report.to_json())?);
    }
    match &report.error {
        Some(error) => Err(exception(py, error, Some(&report.to_json()))),
        None => Ok(PyRunReport(report)),
    }
}

/// What happened in one run.
#[pyclass(name = "RunReport", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyRunReport(RunReport);

impl PyRunReport {
    fn field<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.0.to_json().get(name).unwrap_or(&Value::Null))
    }
}

#[pymethods]
impl PyRunReport {
    #[getter]
    fn job(&self) -> &str {
        &self.0.job
    }

    #[getter]
    fn status(&self) -> &'static str {
        self.0.status.as_str()
    }

    #[getter]
    fn source(&self) -> &str {
        &self.0.source
    }

    #[getter]
    fn destination(&self) -> &str {
        &self.0.destination
    }

    #[getter]
    fn strategy(&self) -> &'static str {
        self.0.strategy
    }

    #[getter]
    fn shard(&self) -> Option<usize> {
        self.0.shard
    }

    #[getter]
    fn attempts(&self) -> u32 {
        self.0.attempts
    }

    #[getter]
    fn load_id(&self) -> Option<&str> {
        self.0.load_id.as_deref()
    }

    #[getter]
    fn committed(&self) -> bool {
        self.0.committed
    }

    #[getter]
    fn window<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "window")
    }

    #[getter]
    fn ranges<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "ranges")
    }

    #[getter]
    fn ranges_committed(&self) -> u64 {
        self.0.ranges_committed
    }

    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "rows")
    }

    #[getter]
    fn rejects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "rejects")
    }

    #[getter]
    fn ledger<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "ledger")
    }

    #[getter]
    fn lossless(&self) -> bool {
        self.0.lossless
    }

    #[getter]
    fn quarantine<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "quarantine")
    }

    #[getter]
    fn profile<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "profile")
    }

    #[getter]
    fn proof<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "proof")
    }

    #[getter]
    fn bytes_read(&self) -> u64 {
        self.0.bytes_read
    }

    #[getter]
    fn bytes_written(&self) -> u64 {
        self.0.bytes_written
    }

    #[getter]
    fn bytes_billed(&self) -> Option<u64> {
        self.0.bytes_billed
    }

    #[getter]
    fn batches(&self) -> u64 {
        self.0.batches
    }

    #[getter]
    fn seconds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "seconds")
    }

    #[getter]
    fn mapping_hash(&self) -> Option<&str> {
        self.0.mapping_hash.as_deref()
    }

    #[getter]
    fn warnings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, "warnings")
    }

    #[getter]
    fn started_at(&self) -> String {
        self.0.started_at.to_string()
    }

    #[getter]
    fn finished_at(&self) -> String {
        self.0.finished_at.to_string()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json())
    }

    fn to_json(&self) -> String {
        self.0.to_json().to_string()
    }

    fn __repr__(&self) -> String {
        let RunReport { job, status, rows, seconds, .. } = &self.0;
        format!("RunReport({job}: {}, {} rows in {:.2} s)", status.as_str(), rows.written, seconds.total)
    }
}

/// What happened in the runs of many jobs.
#[pyclass(name = "BatchReport", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyBatchReport(BatchReport);

#[pymethods]
impl PyBatchReport {
    #[getter]
    fn status(&self) -> &'static str {
        self.0.status.as_str()
    }

    #[getter]
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.0.to_json().get("totals").unwrap_or(&Value::Null))
    }

    #[getter]
    fn reports<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.0.to_json().get("reports").unwrap_or(&Value::Null))
    }

    #[getter]
    fn started_at(&self) -> String {
        self.0.started_at.to_string()
    }

    #[getter]
    fn finished_at(&self) -> String {
        self.0.finished_at.to_string()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.0.to_json())
    }

    fn to_json(&self) -> String {
        self.0.to_json().to_string()
    }

    fn __repr__(&self) -> String {
        let BatchReport { status, totals, .. } = &self.0;
        let (jobs, succeeded) = (totals.jobs - totals.skipped, totals.succeeded);
        format!("BatchReport({}: {succeeded} of {jobs} jobs, {} rows)", status.as_str(), totals.rows_written)
    }
}
