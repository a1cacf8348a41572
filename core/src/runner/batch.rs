//! Many jobs in one call: concurrency, fairness, one report.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Runner;
use super::budget::MemoryBudget;
use super::report::{RunReport, RunStatus};
use super::report_document::BatchReportDocument;
use super::turns::{Needs, Turns};
use crate::error::Error;
use crate::job::EtlJob;
use crate::schema::RejectPolicy;

/// How many jobs run at once in [`Runner::run_all`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunAllOptions {
    /// Jobs at once in all. Default: twice the number of cores, at most 8.
    pub concurrency: usize,
    /// Jobs at once that read from, or load into, one connection. Default: 4. `limits.parallel_jobs` of a
    /// connection wins over it.
    pub per_connection: usize,
}

impl Default for RunAllOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { concurrency: (cores * 2).min(8), per_connection: 4 }
    }
}

impl RunAllOptions {
    /// Sets how many jobs run at once in all; at least 1.
    #[must_use]
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// Sets how many jobs of one connection run at once; at least 1.
    #[must_use]
    pub fn per_connection(mut self, jobs: usize) -> Self {
        self.per_connection = jobs.max(1);
        self
    }
}

/// How the runs of many jobs ended together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchStatus {
    /// Every job succeeded or was skipped.
    Succeeded,
    /// Some jobs succeeded, others did not.
    Partial,
    /// No job succeeded.
    Failed,
    /// The caller cancelled, and what was still to be done was not done. Jobs that had ended keep their results.
    Cancelled,
}

impl BatchStatus {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Sums over the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct BatchTotals {
    /// Jobs that were given.
    pub jobs: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were cancelled, before or while they ran.
    pub cancelled: u64,
    /// Jobs that are disabled.
    pub skipped: u64,
    /// Rows read from the sources.
    pub rows_read: u64,
    /// Rows given to the destinations and committed.
    pub rows_written: u64,
    /// Bytes of Arrow data read.
    pub bytes_read: u64,
    /// Encoded bytes written or sent.
    pub bytes_written: u64,
}

/// What happened in one [`Runner::run_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchReport {
    /// How it ended.
    pub status: BatchStatus,
    /// Sums.
    pub totals: BatchTotals,
    /// One report a job, in the order in which the jobs were given.
    pub reports: Vec<RunReport>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl BatchReport {
    fn new(reports: Vec<RunReport>, started_at: Timestamp) -> Self {
        let count = |status| reports.iter().map(|report| u64::from(report.status == status)).sum();
        let sum = |of: fn(&RunReport) -> u64| reports.iter().map(of).fold(0, u64::saturating_add);
        let totals = BatchTotals {
            jobs: u64::try_from(reports.len()).unwrap_or(u64::MAX),
            succeeded: count(RunStatus::Succeeded),
            failed: count(RunStatus::Failed),
            cancelled: count(RunStatus::Cancelled),
            skipped: count(RunStatus::Skipped),
            rows_read: sum(|report| report.rows.read),
            rows_written: sum(|report| report.rows.written),
            bytes_read: sum(|report| report.bytes_read),
            bytes_written: sum(|report| report.bytes_written),
        };
        let status = match totals {
            BatchTotals { cancelled: 1.., .. } => BatchStatus::Cancelled,
            BatchTotals { failed: 0, .. } => BatchStatus::Succeeded,
            BatchTotals { succeeded: 0, .. } => BatchStatus::Failed,
            _ => BatchStatus::Partial,
        };
        Self { status, totals, reports, started_at, finished_at: Timestamp::now() }
    }

    /// The JSON form; its schema is in `docs/reference/batch_report.schema.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Plain data, which always can be serialised.
        serde_json::to_value(BatchReportDocument::from(self)).unwrap_or_default()
    }
}

impl Runner {
    /// Runs many jobs and reports on each, in the order given. Never fails: a job that fails, or panics, stops no
    /// other one.
    ///
    /// Source connections take turns, so that the many jobs of one do not hold up the few of another. Jobs into
    /// the same table run one after the other. A disabled job is not run; its report is `skipped` and says why.
    /// The memory that is to be had is shared evenly between the jobs that run at once. Progress of all jobs comes
    /// to the runner's callback, each with the name of its job.
    ///
    /// Cancelling, or dropping the future, stops all of them.
    ///
    /// ```
    /// use transload_core::{BatchStatus, Connection, EtlJob, Registry, RunAllOptions, RunStatus, Runner, memory::Memory};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let memory = Memory::default();
    /// # let ids = std::sync::Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3])) as _;
    /// # memory.put("shop", "public", "orders", arrow_array::RecordBatch::try_from_iter([("id", ids)])?)?;
    /// let runner = Runner::new(Registry::new().with(memory))
    ///     .connection(Connection::from_url("memory:shop")?.named("shop"))
    ///     .connection(Connection::from_url("memory:lake")?.named("lake"));
    /// let job = |table: &str| {
    ///     EtlJob::builder(table).from("shop", &format!("public.{table}")).into("lake", "raw", table).replace().build()
    /// };
    /// let batch = runner.run_all(&[job("orders")?, job("nowhere")?], RunAllOptions::default()).await;
    /// assert_eq!(batch.status, BatchStatus::Partial);
    /// assert_eq!(batch.reports[0].status, RunStatus::Succeeded);
    /// assert_eq!(batch.totals.failed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn run_all(&self, jobs: &[EtlJob], options: RunAllOptions) -> BatchReport {
        self.run_each(jobs, options, |_, runner| runner, |_, _| {}).await
    }

    /// [`Self::run_all`] for hosts that have something to do for each job, by its place in the list: `begin` may
    /// give the job's runner a progress callback and a cancel handle of its own when its turn has come, and `ended`
    /// gets its report at once rather than with those of all. Neither must block. Jobs whose turn does not come
    /// begin and end nowhere but in the batch's report.
    ///
    /// Cancelling this runner then keeps further jobs from beginning; those with a handle of their own go on until
    /// that is cancelled.
    pub async fn run_each(
        &self,
        jobs: &[EtlJob],
        options: RunAllOptions,
        begin: impl Fn(usize, Self) -> Self + Send + Sync,
        ended: impl Fn(usize, &RunReport) + Send + Sync,
    ) -> BatchReport {
        let started_at = Timestamp::now();
        let needs = jobs.iter().map(|job| job.is_enabled().then(|| self.needs(job))).collect();
        let most_of = |name: &str| {
            let limit = self.connections.get(name).and_then(|connection| connection.limits().parallel_jobs);
            limit.map_or(options.per_connection, std::num::NonZero::get)
        };
        let mut turns = Turns::new(needs, options.concurrency, most_of);
        let runner = self.with_share_of(turns.width());
        let mut reports: BTreeMap<usize, RunReport> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut running = BTreeMap::new();
        loop {
            if self.cancel.is_cancelled() {
                let left = turns.give_up().into_iter().filter_map(|index| Some((index, jobs.get(index)?)));
                reports.extend(left.map(|(index, job)| (index, self.not_run(job, Error::cancelled()))));
            }
            while let Some(index) = turns.next() {
                let Some(job) = jobs.get(index).cloned() else { continue };
                let runner = begin(index, runner.clone());
                let run = async move { Box::new(runner.run(&job).await) };
                let task = tasks.spawn(run.in_current_span());
                running.insert(task.id(), index);
            }
            // Cancelled runs end by themselves, and each tells what it had committed.
            let Some(outcome) = tasks.join_next_with_id().await else { break };
            let id = match &outcome {
                Ok((id, _)) => *id,
                Err(error) => error.id(),
            };
            let Some(index) = running.remove(&id) else { continue };
            turns.done(index);
            let report = match outcome {
                Ok((_, report)) => Some(*report),
                Err(died) => jobs.get(index).map(|job| self.not_run(job, panicked(died))),
            };
            if let Some(report) = &report {
                ended(index, report);
            }
            reports.extend(report.map(|report| (index, report)));
        }
        let in_order = jobs.iter().enumerate();
        let reports = in_order.map(|(index, job)| {
            // Only disabled jobs have none yet.
            reports.remove(&index).unwrap_or_else(|| RunReport::skipped(job))
        });
        BatchReport::new(reports.collect(), started_at)
    }

    fn needs(&self, job: &EtlJob) -> Needs {
        let destination = job.destination_connection();
        // Two names may lead to one place.
        let place = self.connections.get(destination).map_or_else(String::new, |known| known.fingerprint());
        let mut targets = BTreeSet::from([format!("{place} {}", job.target())]);
        let overrides = job.overrides().values();
        if job.on_reject() == RejectPolicy::Quarantine
            || overrides.into_iter().any(|column| column.on_reject == Some(RejectPolicy::Quarantine))
        {
            targets.insert(format!("{place} {}", job.quarantine_target()));
        }
        Needs { source: job.source_connection().to_owned(), destination: destination.to_owned(), targets }
    }

    /// A runner whose runs wish for their even share of the memory.
    fn with_share_of(&self, runs: usize) -> Self {
        let mut runner = self.clone();
        let budget = self.budget.as_ref().unwrap_or_else(|| MemoryBudget::process());
        let share = budget.total() / runs.max(1);
        runner.options = self.options.clone().memory_bytes(self.options.memory_bytes.min(share));
        runner
    }

    /// The report of a job that did not come to its end.
    fn not_run(&self, job: &EtlJob, error: Error) -> RunReport {
        let tracker = super::Tracker::new(job.name(), &tracing::Span::none(), self.progress.clone());
        let mut report = RunReport::begin(job);
        report.finish(Err(error.with("job", job.name())), &tracker);
        tracker.finish(report.status);
        report
    }
}

fn panicked(died: tokio::task::JoinError) -> Error {
    Error::internal("the run of this job died")
        .source_error(died)
        .hint("this is a defect of transload or of a connector: report it; nothing of the load is visible")
}
