//! The ETL container: fetches its jobs, runs them, reports, and says with its exit code how it went. Configured by
//! environment variables alone; README.md lists them, the exit codes, and what it logs.

mod batch;
mod config;
mod jobs;
mod log;
mod outcome;
mod run;
mod stop;

use std::process::ExitCode;
use std::time::Duration;

use config::Config;
use outcome::Exit;

fn main() -> ExitCode {
    let began = std::time::Instant::now();
    log::install();
    let exit = match Config::from_env() {
        Ok(config) => run_all(config),
        Err(error) => {
            tracing::error!(error = %error.to_json(), "{error}");
            Exit::Configuration
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(exit_code = exit.code(), seconds, "transload-job ends: {}", exit.meaning());
    ExitCode::from(exit.code())
}

fn run_all(config: Config) -> Exit {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(run::run(config));
            // A thread that waits for a server that is gone must not hold up the end of the process. Those that are just
            // ending are joined: the C library may crash where a thread is let go of at that moment (glibc bug 19951).
            runtime.shutdown_timeout(Duration::from_millis(100));
            exit
        }
        Err(error) => {
            tracing::error!(%error, "no async runtime");
            Exit::Failed
        }
    }
}
