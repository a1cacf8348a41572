//! The runs of this task: each with an id at the control plane, a cancel handle, and a report that is delivered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use transload::control_plane::{ControlPlane, Delivery, Run};
use transload::runner::BatchReport;
use transload::{CancelHandle, Error, EtlJob, RunReport, RunStatus, Runner};

use crate::jobs::Work;
use crate::outcome::Exit;
use crate::stop::Stop;

/// Once the process was told to stop, reports get so long to be delivered.
pub(crate) const LAST_REPORT: Duration = Duration::from_secs(3);

pub(crate) struct Batch {
    control: Option<ControlPlane>,
    stop: Stop,
    /// The hosts' keys of the jobs, in their order.
    ids: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<usize, Running>,
    /// Whether each report was delivered.
    deliveries: JoinSet<bool>,
    /// How it went until now.
    exit: Option<Exit>,
}

struct Running {
    cancel: CancelHandle,
    /// With a control plane.
    run: Option<Run>,
}

impl Batch {
    /// A batch of the jobs that are right. That the others are not is logged and reported.
    pub(crate) fn new(control: Option<ControlPlane>, work: Vec<Work>, stop: &Stop) -> (Self, Vec<EtlJob>) {
        let state = Mutex::default();
        let mut batch = Self { control, stop: stop.clone(), ids: Vec::new(), state };
        let mut jobs = Vec::new();
        for Work { id, job } in work {
            match job {
                Ok(job) => {
                    batch.ids.push(id);
                    jobs.push(job);
                }
                Err(error) => batch.cannot_run(&id, &error),
            }
        }
        (batch, jobs)
    }

    fn cannot_run(&self, id: &str, error: &Error) {
        tracing::error!(job_id = id, error = %error.to_json(), "the job cannot run: {error}");
        let run = self.control.as_ref().map(|control| control.begin(id));
        let mut state = self.lock();
        state.exit = Some(Exit::Failed);
        if let Some(run) = run {
            let run_id = run.id().to_owned();
            state.deliveries.spawn(deliver(run_id, run.fail(error), self.stop.clone()));
        }
    }

    /// A job's turn has come: its runner gets a progress callback and a cancel handle.
    pub(crate) fn begin(&self, index: usize, mut runner: Runner) -> Runner {
        let id = self.id(index);
        let run = self.control.as_ref().map(|control| control.begin(id));
        let cancel = run.as_ref().map_or_else(CancelHandle::new, |run| run.cancel_handle().clone());
        if let Some(run) = &run {
            runner = runner.on_progress(run.observer());
        }
        self.lock().running.insert(index, Running { cancel: cancel.clone(), run });
        // Either this sees that the process shall end, or `cancel` sees the run.
        if self.stop.is_requested() {
            cancel.cancel();
        }
        runner.cancel_with(&cancel)
    }

    /// A job's report is there: it is logged at once, and delivered while others run.
    pub(crate) fn ended(&self, index: usize, report: &RunReport) {
        let mut state = self.lock();
        let run = state.running.remove(&index).and_then(|running| running.run);
        let run_id = run.as_ref().map(|run| run.id().to_owned()).unwrap_or_default();
        say(report, self.id(index), &run_id);
        if report.status != RunStatus::Succeeded {
            state.exit = state.exit.max(Some(Exit::Failed));
        }
        if let Some(run) = run {
            state.deliveries.spawn(deliver(run_id, run.finish(report), self.stop.clone()));
        }
    }

    /// Cancels what runs.
    pub(crate) fn cancel(&self) {
        self.lock().running.values().for_each(|running| running.cancel.cancel());
    }

    /// Waits until the reports are delivered or cannot be. `outcome` is `None` if the runs did not end in time.
    pub(crate) async fn end(&self, outcome: Option<BatchReport>, jobs: &[EtlJob]) -> Exit {
        let (mut deliveries, left, mut exit) = {
            let mut state = self.lock();
            let left: Vec<usize> = std::mem::take(&mut state.running).into_keys().collect();
            (std::mem::take(&mut state.deliveries), left, state.exit.unwrap_or(Exit::Succeeded))
        };
        for index in left {
            // Dropping its future leaves nothing half loaded visible; the next run cleans what it staged.
            tracing::error!(job_id = self.id(index), "the run did not stop in time; its report is lost");
        }
        let not_begun = outcome
            .iter()
            .flat_map(|batch| &batch.reports)
            .filter(|report| report.status == RunStatus::Cancelled);
        if self.stop.is_requested() {
            let reports = not_begun.count();
            tracing::warn!(
                jobs = jobs.len(),
                cancelled = reports,
                "{reports} of {} jobs were cancelled or not begun",
                jobs.len()
            );
        }
        while let Some(delivered) = deliveries.join_next().await {
            if !delivered.unwrap_or(false) {
                exit = exit.max(Exit::NotReported);
            }
        }
        exit
    }

    fn id(&self, index: usize) -> &str {
        self.ids.get(index).map_or("", String::as_str)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs how the run ended, with the whole report.
fn say(report: &RunReport, job_id: &str, run_id: &str) {
    let (json, status) = (report.to_json(), report.status.as_str());
    let (job, rows, seconds) = (report.job.as_str(), report.rows.written, report.seconds.total);
    match &report.error {
        None => {
            tracing::info!(job, job_id, run_id, status, rows, seconds, report = %json, "{job}: {rows} rows in {seconds:.1} s");
        }
        Some(error) => {
            tracing::error!(job, job_id, run_id, status, rows, seconds, report = %json, "{job}: {error}");
        }
    }
}

/// Whether the control plane has the report.
async fn deliver(run_id: String, delivery: impl Future<Output = Delivery>, stop: Stop) -> bool {
    let too_late = async {
        stop.requested().await;
        tokio::time::sleep(LAST_REPORT).await;
    };
    let delivery = tokio::select! {
        delivery = delivery => delivery,
        () = too_late => {
            tracing::error!(run_id, "no time is left to deliver the report; it is in the spool folder, if there is one");
            return false;
        }
    };
    match (&delivery.error, &delivery.kept_at) {
        (None, _) => return true,
        (Some(error), Some(path)) => {
            tracing::error!(run_id, error = %error.to_json(), "the report is kept in {}: {error}", path.display());
        }
        (Some(error), None) => {
            tracing::error!(run_id, error = %error.to_json(), "the report is in this log only: {error}");
        }
    }
    false
}
