//! Running jobs.

use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Function, PromiseRaw};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use transload::document::parse_str;
use transload::runner::{JsonLines, ProgressLine};
use transload::schema::TargetColumn;
use transload::{CancelHandle, Error, EtlJob, MemoryBudget, Progress, RunAllOptions, Runner, RunnerOptions};

use crate::REGISTRY;
use crate::connection::NativeConnection;
use crate::error::{Throw as _, error_json};
use crate::job::NativeJob;
use crate::mapper::mapping_json;

/// Options of a runner; what is missing keeps the engine's default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Bytes that rows in flight may occupy.
    memory_bytes: Option<usize>,
    /// Splits read at once.
    parallelism: Option<usize>,
    /// Rows sampled for type detection.
    sample_rows: Option<usize>,
    /// How often a run begins again after an error that may pass by itself.
    retries: u32,
    /// How long one job may take in all.
    deadline_ms: Option<u64>,
}

/// Options of a run of many jobs; what is missing keeps the engine's default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct AllOptions {
    /// Jobs at once in all.
    concurrency: Option<usize>,
    /// Jobs at once of one connection.
    per_connection: Option<usize>,
}

/// Sets the memory that all runs of the process share.
///
/// # Errors
/// `config` if it is set or in use already.
#[napi]
pub fn set_memory_budget(bytes: i64) -> napi::Result<()> {
    let bytes = usize::try_from(bytes).map_err(|_| Error::config("a memory budget cannot be negative"));
    bytes.and_then(MemoryBudget::set_process).or_throw()
}

/// Cancels one run.
#[napi(js_name = "CancelHandle")]
#[derive(Debug, Default)]
pub struct NativeCancelHandle(CancelHandle);

#[napi]
impl NativeCancelHandle {
    /// A fresh handle.
    #[napi(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Runs jobs.
#[napi(js_name = "Runner")]
#[derive(Debug)]
pub struct NativeRunner(Runner);

#[napi]
impl NativeRunner {
    /// A runner without connections. `options` is a JSON text.
    ///
    /// # Errors
    /// `config` for unknown or wrong options.
    #[napi(constructor)]
    pub fn new(options: String) -> napi::Result<Self> {
        let wanted: Options = parse_str("runner options", &options).or_throw()?;
        let mut options = RunnerOptions::default();
        if let Some(bytes) = wanted.memory_bytes {
            options = options.memory_bytes(bytes);
        }
        if let Some(splits) = wanted.parallelism {
            options = options.parallelism(splits);
        }
        if let Some(rows) = wanted.sample_rows {
            options = options.sample_rows(rows);
        }
        options = options.retries(wanted.retries);
        if let Some(limit) = wanted.deadline_ms {
            options = options.deadline(Duration::from_millis(limit));
        }
        Ok(Self(Runner::new(REGISTRY.clone()).options(options)))
    }

    /// Adds a connection under its name.
    #[napi]
    pub fn add(&mut self, connection: &NativeConnection) {
        self.0 = self.0.clone().connection(connection.0.clone());
    }

    /// Runs a job to its end. Gives the JSON text of `{report, error}`, and never fails: what went wrong is
    /// in `error`. `on_progress` gets JSON texts, the last one of phase `done`. `show` is `line`, `json` or empty.
    ///
    /// # Errors
    /// Only those of calling into Node.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn run<'env>(
        &self,
        env: &'env Env,
        job: &NativeJob,
        cancel: &NativeCancelHandle,
        on_progress: Option<Function<'_, String, ()>>,
        show: String,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let runner = self.watched(cancel, on_progress, &show)?;
        let job = job.0.clone();
        env.spawn_future(async move {
            let report = runner.run(&job).await;
            let error = report.error.as_ref().map(error_json);
            Ok(json!({"report": report.to_json(), "error": error}).to_string())
        })
    }

    /// Runs many jobs, given as the JSON text of a list, to their ends. Gives the JSON text of the report.
    /// `on_progress` gets JSON texts, one of phase `done` for every job that is enabled.
    ///
    /// # Errors
    /// `config` for wrong jobs or options.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn run_all<'env>(
        &self,
        env: &'env Env,
        jobs: String,
        options: String,
        cancel: &NativeCancelHandle,
        on_progress: Option<Function<'_, String, ()>>,
        show: String,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let wanted: AllOptions = parse_str("options of runAll", &options).or_throw()?;
        let mut options = RunAllOptions::default();
        if let Some(jobs) = wanted.concurrency {
            options = options.concurrency(jobs);
        }
        if let Some(jobs) = wanted.per_connection {
            options = options.per_connection(jobs);
        }
        let documents: Vec<serde_json::Value> = serde_json::from_str(&jobs)?;
        let jobs: transload::Result<Vec<EtlJob>> = documents.into_iter().map(EtlJob::from_json).collect();
        let jobs = jobs.or_throw()?;
        let runner = self.watched(cancel, on_progress, &show)?;
        env.spawn_future(async move { Ok(runner.run_all(&jobs, options).await.to_json().to_string()) })
    }

    /// The mapping that a run of the job would use; see `mapper::mapping_json`.
    ///
    /// # Errors
    /// Those of opening, describing and mapping.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn propose<'env>(&self, env: &'env Env, job: &NativeJob) -> napi::Result<PromiseRaw<'env, String>> {
        let (runner, job) = (self.0.clone(), job.0.clone());
        env.spawn_future(async move {
            let mapping = runner.propose(&job).await;
            mapping
                .map(|mapping| mapping_json(&mapping))
                .map_err(|error| error.with("job", job.name()))
                .or_throw()
        })
    }

    /// Compares the table at the destination with the one that the job needs; gives a JSON text.
    ///
    /// # Errors
    /// Those of [`Self::propose`].
    #[napi(ts_return_type = "Promise<string>")]
    pub fn validate<'env>(&self, env: &'env Env, job: &NativeJob) -> napi::Result<PromiseRaw<'env, String>> {
        let (runner, job) = (self.0.clone(), job.0.clone());
        env.spawn_future(async move {
            let check =
                runner.validate(&job).await.map_err(|error| error.with("job", job.name())).or_throw()?;
            Ok(check.to_json().to_string())
        })
    }

    /// Creates or evolves the target table without loading rows; gives it as a JSON text.
    ///
    /// # Errors
    /// Those of [`Self::propose`], and `schema_changed`.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn prepare<'env>(&self, env: &'env Env, job: &NativeJob) -> napi::Result<PromiseRaw<'env, String>> {
        let (runner, job) = (self.0.clone(), job.0.clone());
        env.spawn_future(async move {
            let target =
                runner.prepare(&job).await.map_err(|error| error.with("job", job.name())).or_throw()?;
            let columns: Vec<_> = target.columns.iter().map(TargetColumn::to_bigquery_json).collect();
            Ok(json!({
                "dataset": target.target.dataset,
                "table": target.target.table,
                "description": target.description,
                "columns": columns,
            })
            .to_string())
        })
    }
}

impl NativeRunner {
    /// A runner that `cancel` cancels and that tells its progress.
    fn watched(
        &self,
        cancel: &NativeCancelHandle,
        on_progress: Option<Function<'_, String, ()>>,
        show: &str,
    ) -> napi::Result<Runner> {
        let runner = self.0.clone().cancel_with(&cancel.0);
        let (line, lines) = match show {
            "line" => (Some(ProgressLine::new()), None),
            "json" => (None, Some(JsonLines::new(std::io::stderr()))),
            _ => (None, None),
        };
        let callback = match on_progress {
            Some(function) => {
                Some(function.build_threadsafe_function::<String>().callee_handled::<false>().build()?)
            }
            None => None,
        };
        if line.is_none() && lines.is_none() && callback.is_none() {
            return Ok(runner);
        }
        Ok(runner.on_progress(move |progress: &Progress| {
            if let Some(line) = &line {
                line.show(progress);
            }
            if let Some(lines) = &lines {
                lines.write(progress);
            }
            if let Some(callback) = &callback {
                callback.call(progress.to_json().to_string(), ThreadsafeFunctionCallMode::NonBlocking);
            }
        }))
    }
}
