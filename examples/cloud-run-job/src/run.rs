//! Runs the jobs of this task and reports.

use std::time::Duration;

use transload::control_plane::{ControlPlane, ControlPlaneOptions};
use transload::runner::{MemoryBudget, RunAllOptions};
use transload::{CancelHandle, Error, RunReport, Runner, SecretStores, default_registry};

use crate::batch::{Batch, LAST_REPORT};
use crate::config::{Config, From};
use crate::jobs::{self, Work};
use crate::outcome::Exit;
use crate::stop::Stop;

/// Cloud Run kills ten seconds after SIGTERM. Runs that are cancelled get so long to clean up behind themselves.
const CLEAN_UP: Duration = Duration::from_secs(6);
const _: () = assert!(CLEAN_UP.as_secs() + LAST_REPORT.as_secs() < 10, "Cloud Run gives ten seconds");

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
    let mut runner = runner.options(config.options.clone());
    if let Some(bytes) = config.memory_bytes {
        runner = runner.memory_budget(&MemoryBudget::new(bytes));
    }
    Ok(Prepared { control, runner, work })
}

async fn run_prepared(config: &Config, prepared: Prepared, stop: &Stop) -> Exit {
    let Prepared { control, runner, work } = prepared;
    let (work, all) = jobs::share(work, &config.task);
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
        send_old_reports(control.clone(), stop),
        run_jobs(control, &runner, work, config.at_once.clone(), stop)
    );
    if stop.is_requested() { Exit::Stopped } else { exit.max(old_reports) }
}

async fn send_old_reports(control: Option<ControlPlane>, stop: &Stop) -> Exit {
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

/// Runs the jobs, as many at once as the options say, and delivers each report as soon as it is there.
async fn run_jobs(
    control: Option<ControlPlane>,
    runner: &Runner,
    work: Vec<Work>,
    options: RunAllOptions,
    stop: &Stop,
) -> Exit {
    let (batch, jobs) = Batch::new(control, work, stop);
    let no_more = CancelHandle::new();
    let runner = runner.clone().cancel_with(&no_more);
    let begin = |index: usize, runner: Runner| batch.begin(index, runner);
    let ended = |index: usize, report: &RunReport| batch.ended(index, report);
    let mut running = Box::pin(runner.run_each(&jobs, options, begin, ended));
    let outcome = tokio::select! {
        outcome = &mut running => Some(outcome),
        () = stop.requested() => {
            tracing::warn!("told to stop: what runs is cancelled, and nothing more begins");
            no_more.cancel();
            batch.cancel();
            tokio::time::timeout(CLEAN_UP, &mut running).await.ok()
        }
    };
    drop(running);
    batch.end(outcome, &jobs).await
}
