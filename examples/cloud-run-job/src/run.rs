//! Runs the jobs of this task and reports.

use std::time::Duration;

use transload::control_plane::{ControlPlane, ControlPlaneOptions, Delivery, Run};
use transload::{CancelHandle, Error, EtlJob, RunReport, RunStatus, Runner, SecretStores, default_registry};

use crate::config::{Config, From};
use crate::jobs::{self, Work};
use crate::outcome::Exit;
use crate::stop::Stop;

/// Cloud Run kills ten seconds after SIGTERM. A run that is cancelled gets so long to clean up behind itself,
const CLEAN_UP: Duration = Duration::from_secs(6);
/// and its report so long to be delivered.
const LAST_REPORT: Duration = Duration::from_secs(3);

pub(crate) async fn run(config: Config) -> Exit {
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            tracing::error!(%error, "signals cannot be waited for");
            return Exit::Failed;
        }
    };
    let prepared = tokio::select! {
        prepared = Box::pin(prepare(&config)) => prepared,
        () = stop.requested() => return Exit::Stopped,
    };
    match prepared {
        Ok(prepared) => Box::pin(run_prepared(&config, prepared, &stop)).await,
        Err(error) => {
            tracing::error!(error = %error.to_json(), "{error}");
            Exit::of_start(&error)
        }
    }
}

/// A runner, its jobs, and whom to report to.
struct Prepared {
    control: Option<ControlPlane>,
    runner: Runner,
    work: Vec<Work>,
}

async fn prepare(config: &Config) -> Result<Prepared, Error> {
    let registry = default_registry();
    let (control, (runner, work)) = match &config.from {
        From::File(path) => (None, jobs::of_file(path, &config.choice, registry)?),
        From::ControlPlane { address, token, allow_http, spool, deadline_seconds } => {
            let mut options = ControlPlaneOptions::default()
                .allow_http(*allow_http)
                .deadline(Duration::from_secs(*deadline_seconds))
                .task(config.task.clone());
            if let Some(folder) = spool {
                options = options.spool(folder);
            }
            let control = ControlPlane::new(address, token.clone(), SecretStores::default(), options)?;
            let jobs = jobs::of_control_plane(&control, &config.choice, registry).await?;
            (Some(control), jobs)
        }
    };
    Ok(Prepared { control, runner: runner.options(config.options.clone()), work })
}

async fn run_prepared(config: &Config, prepared: Prepared, stop: &Stop) -> Exit {
    let Prepared { control, runner, mut work } = prepared;
    let all = work.len();
    jobs::share(&mut work, &config.task);
    let (index, count) = (config.task.index, config.task.count);
    tracing::info!(
        jobs = work.len(),
        of = all,
        index,
        count,
        "task {index} of {count} runs {} of {all} jobs",
        work.len()
    );
    // What earlier processes could not report goes out while the first jobs run.
    let (old_reports, exit) = tokio::join!(
        send_old_reports(control.as_ref(), stop),
        run_jobs(control.as_ref(), &runner, work, stop)
    );
    if stop.is_requested() { Exit::Stopped } else { exit.max(old_reports) }
}

async fn send_old_reports(control: Option<&ControlPlane>, stop: &Stop) -> Exit {
    let Some(control) = control else { return Exit::Succeeded };
    let outcome = tokio::select! {
        outcome = control.send_spooled() => outcome,
        () = stop.requested() => return Exit::NotReported,
    };
    match outcome {
        Ok(outcome) => {
            let (sent, kept, refused) = (outcome.sent, outcome.kept, outcome.refused);
            if let Some(error) = &outcome.error {
                tracing::warn!(sent, kept, refused, error = %error.to_json(), "reports of earlier runs: {error}");
            } else if sent > 0 {
                tracing::info!(sent, "{sent} reports of earlier runs were delivered");
            }
            if kept > 0 { Exit::NotReported } else { Exit::Succeeded }
        }
        Err(error) => {
            tracing::warn!(error = %error.to_json(), "reports of earlier runs: {error}");
            Exit::NotReported
        }
    }
}

/// One job after another. The place for the engine's own way to run many at once.
async fn run_jobs(control: Option<&ControlPlane>, runner: &Runner, work: Vec<Work>, stop: &Stop) -> Exit {
    let mut exit = Exit::Succeeded;
    for Work { id, job } in work {
        if stop.is_requested() {
            tracing::warn!(job_id = id, "not run: the process was told to stop");
            continue;
        }
        let run = control.map(|control| control.begin(&id));
        exit = exit.max(match job {
            Ok(job) => run_job(runner, &id, &job, run, stop).await,
            Err(error) => {
                tracing::error!(job_id = id, error = %error.to_json(), "the job cannot run: {error}");
                if let Some(run) = run {
                    let run_id = run.id().to_owned();
                    deliver(&run_id, run.fail(&error), stop).await;
                }
                Exit::Failed
            }
        });
    }
    exit
}

async fn run_job(runner: &Runner, id: &str, job: &EtlJob, run: Option<Run>, stop: &Stop) -> Exit {
    let cancel = run.as_ref().map_or_else(CancelHandle::new, |run| run.cancel_handle().clone());
    let mut runner = runner.clone().cancel_with(&cancel);
    if let Some(run) = &run {
        runner = runner.on_progress(run.observer());
    }
    let mut running = Box::pin(runner.run(job));
    let report = tokio::select! {
        report = &mut running => Some(report),
        () = stop.requested() => {
            tracing::warn!(job_id = id, "told to stop: the run is cancelled");
            cancel.cancel();
            tokio::time::timeout(CLEAN_UP, &mut running).await.ok()
        }
    };
    let Some(report) = report else {
        // Dropping the future leaves nothing half loaded visible; the next run cleans what it staged.
        tracing::error!(job_id = id, "the run did not stop in time; its report is lost");
        return Exit::Failed;
    };
    let run_id = run.as_ref().map(|run| run.id().to_owned()).unwrap_or_default();
    say(&report, id, &run_id);
    let failed = report.status != RunStatus::Succeeded;
    let delivered = match run {
        Some(run) => deliver(&run_id, run.finish(&report), stop).await,
        None => true,
    };
    match (failed, delivered) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Succeeded,
        (false, false) => Exit::NotReported,
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
async fn deliver(run_id: &str, delivery: impl Future<Output = Delivery>, stop: &Stop) -> bool {
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
