//! Runs job documents: `cargo run --release --example run -- job.json [connections.json]`.
//!
//! `job.json` holds one job document or a list of them; `connections.json` holds a list of connection
//! documents. Without the second file the first one holds both: `{"connections": [...], "jobs": [...]}`.
//!
//! Standard output: one RunReport as JSON per job, a line each. Standard error: progress and logs.
//! Exit code: 0 all runs succeeded, 1 a run failed, 2 the documents are wrong. Ctrl-C cancels: nothing half
//! loaded stays, and the report says `cancelled` (exit code 1).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's output is its interface")]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use transload::{
    CancelHandle, Connection, EtlJob, Phase, Progress, Result, RunStatus, Runner, default_registry,
};

fn main() -> ExitCode {
    let log_filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(log_filter).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (runner, jobs) = match documents(&arguments) {
        Ok(documents) => documents,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no async runtime: {error}");
            return ExitCode::from(1);
        }
    };
    runtime.block_on(run(runner, jobs))
}

async fn run(runner: Runner, jobs: Vec<EtlJob>) -> ExitCode {
    let cancel = CancelHandle::new();
    let on_interrupt = cancel.clone();
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.cancel();
        }
        std::future::pending().await
    };
    let runner = runner.cancel_with(&cancel).on_progress(progress_line());
    // In this order: what comes before somebody listens would end the process.
    tokio::select! { biased; code = interrupted => code, code = run_each(&runner, &jobs) => code }
}

async fn run_each(runner: &Runner, jobs: &[EtlJob]) -> ExitCode {
    let mut failed = false;
    for job in jobs {
        let report = runner.run(job).await;
        if let Some(error) = &report.error {
            eprintln!("error: {error}");
        }
        failed |= report.status != RunStatus::Succeeded;
        println!("{}", report.to_json());
    }
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn documents(arguments: &[String]) -> Result<(Runner, Vec<EtlJob>)> {
    let usage = || transload::Error::config("usage: run JOB.json [CONNECTIONS.json]");
    let (jobs, connections) = match arguments {
        [both] => {
            let mut document = read_json(both)?;
            let mut part = |name: &str| {
                document.get_mut(name).map(Value::take).ok_or_else(|| {
                    transload::Error::config(format!("{both}: field `{name}` is missing"))
                        .hint("give {\"connections\": [...], \"jobs\": [...]}, or two files")
                })
            };
            (part("jobs")?, part("connections")?)
        }
        [jobs, connections] => (read_json(jobs)?, read_json(connections)?),
        _ => return Err(usage()),
    };
    let mut runner = Runner::new(default_registry());
    for document in list(connections) {
        let connection = Connection::from_json(document)?;
        runner.registry().validate(&connection)?;
        runner = runner.connection(connection);
    }
    let jobs = list(jobs).into_iter().map(EtlJob::from_json).collect::<Result<Vec<_>>>()?;
    for job in &jobs {
        runner.connection_named(job.source_connection())?;
        runner.connection_named(job.destination_connection())?;
    }
    Ok((runner, jobs))
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        one => vec![one],
    }
}

fn read_json(path: &str) -> Result<Value> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| transload::Error::config(format!("{path} cannot be read")).source_error(error))?;
    serde_json::from_str(&text)
        .map_err(|error| transload::Error::config(format!("{path} is not valid JSON")).source_error(error))
}

/// A line on a terminal, nothing elsewhere.
fn progress_line() -> impl Fn(&Progress) + Send + Sync + 'static {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    move |progress: &Progress| {
        let rate = if progress.seconds > 0.0 { progress.rows_read as f64 / progress.seconds } else { 0.0 };
        let line = format!(
            "{}: {} · {} rows read · {} written · {rate:.0} rows/s",
            progress.job,
            progress.phase.as_str(),
            progress.rows_read,
            progress.rows_written,
        );
        bar.set_message(line.clone());
        bar.tick();
        if progress.phase == Phase::Done {
            bar.println(line);
        }
    }
}
