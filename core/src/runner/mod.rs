//! Running jobs: plan, read, cast, load, commit, report.

mod batch;
mod boundary;
mod budget;
mod course;
mod deleting;
mod demotion;
mod eta;
mod governor;
mod history;
mod loss;
mod mapping;
mod options;
mod pipeline;
mod plan;
mod progress;
mod progress_out;
mod proving;
mod quarantine;
mod record;
mod report;
mod report_document;
mod retry;
mod run;
mod telemetry;
mod turns;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use batch::{BatchReport, BatchStatus, BatchTotals, RunAllOptions};
pub use budget::MemoryBudget;
pub use options::RunnerOptions;
pub use progress::{CancelHandle, Phase, Progress, SplitStates};
pub use progress_out::JsonLines;
#[cfg(feature = "progress")]
pub use progress_out::ProgressLine;
pub use report::{ColumnRejects, LoadedRange, PhaseTimes, QuarantineCount, RowCounts, RunReport, RunStatus};
pub use report_document::{BatchReportDocument, RunReportDocument, WarningDocument, WindowDocument};
pub use window::Window;

use tracing::{Instrument as _, Span};

use crate::connection::Connection;
use crate::connector::{Destination, Registry, Source};
use crate::error::{Error, Result};
use crate::job::EtlJob;
use crate::schema::{TableCheck, TableMapping, TargetTable};
use demotion::Demotions;
use governor::Governors;
use progress::{ProgressCallback, Tracker};
use retry::Stop;

/// Runs jobs. Holds the registry and the connections that jobs name; cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
/// use transload_core::{Connection, EtlJob, Registry, RunStatus, Runner, memory::Memory};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let memory = Memory::default();
/// let ids = Arc::new(Int64Array::from(vec![1, 2, 3])) as _;
/// memory.put("shop", "public", "orders", RecordBatch::try_from_iter([("id", ids)])?)?;
///
/// let runner = Runner::new(Registry::new().with(memory.clone()))
///     .connection(Connection::from_url("memory:shop")?.named("shop"))
///     .connection(Connection::from_url("memory:lake")?.named("lake"));
/// let job = EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders").append("id").build()?;
///
/// let report = runner.run(&job).await;
/// assert_eq!(report.status, RunStatus::Succeeded);
/// assert_eq!(report.rows.written, 3);
/// // A second run finds nothing new.
/// assert_eq!(runner.run(&job).await.rows.written, 0);
/// assert_eq!(memory.rows("lake", "raw", "orders"), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Runner {
    registry: Registry,
    connections: BTreeMap<String, Connection>,
    options: RunnerOptions,
    progress: Option<ProgressCallback>,
    cancel: CancelHandle,
    budget: Option<MemoryBudget>,
    governors: Governors,
}

impl Runner {
    /// A runner without connections.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            connections: BTreeMap::new(),
            options: RunnerOptions::default(),
            progress: None,
            cancel: CancelHandle::default(),
            budget: None,
            governors: Governors::default(),
        }
    }

    /// Adds a connection under its name; one with the same name is replaced.
    #[must_use]
    pub fn connection(mut self, connection: Connection) -> Self {
        self.connections.insert(connection.name().to_owned(), connection);
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: RunnerOptions) -> Self {
        self.options = options;
        self
    }

    /// Calls `callback` when the phase changes, about ten times a second while rows move, and at the end.
    /// It is called from the engine's threads and must not block.
    #[must_use]
    pub fn on_progress(mut self, callback: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(ProgressCallback(Arc::new(callback)));
        self
    }

    /// Lets `handle` cancel the runs of this runner.
    #[must_use]
    pub fn cancel_with(mut self, handle: &CancelHandle) -> Self {
        self.cancel = handle.clone();
        self
    }

    /// Shares the memory of `budget` instead of that of the process.
    #[must_use]
    pub fn memory_budget(mut self, budget: &MemoryBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The connection of a name.
    ///
    /// # Errors
    /// `config` if there is none; the error names the nearest or lists them.
    pub fn connection_named(&self, name: &str) -> Result<&Connection> {
        self.connections.get(name).ok_or_else(|| {
            let error = Error::config(format!("no connection is named `{name}`")).with("connection", name);
            let names = self.connections.keys().map(String::as_str);
            match crate::document::nearest(name, names.clone()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("connections: {}", names.collect::<Vec<_>>().join(", "))),
            }
        })
    }

    /// Runs one job to its end. Never fails: what went wrong is in the report.
    ///
    /// Dropping the future cancels the run; nothing half loaded stays visible.
    pub async fn run(&self, job: &EtlJob) -> RunReport {
        let span = telemetry::run_span(job);
        Box::pin(self.run_in(job, &span)).instrument(span.clone()).await
    }

    async fn run_in(&self, job: &EtlJob, span: &Span) -> RunReport {
        let _present = telemetry::Present::run();
        let tracker = Arc::new(Tracker::new(job.name(), span, self.progress.clone()));
        let mut report = RunReport::begin(job);
        let mut demotions = Demotions::default();
        let mut retries = 0;
        let stop = Stop::new(&self.cancel, self.options.deadline);
        let outcome = loop {
            let outcome = Box::pin(run::run(self, job, &stop, &tracker, &mut report, &mut demotions)).await;
            match outcome {
                Err(error) if demotions.demote(job, &error).await => {
                    report.begin_again(job);
                    tracker.begin_again();
                }
                Err(error) if error.is_retryable() && retries < self.options.retries => {
                    retries += 1;
                    let pause = retry::pause_of_run(report.attempts);
                    if !stop.allows(pause) {
                        break Err(error);
                    }
                    telemetry::run_again();
                    tracing::warn!(job = job.name(), attempt = report.attempts, ?pause, %error, "the run begins again");
                    tokio::select! {
                        biased;
                        error = stop.requested() => break Err(error),
                        () = tokio::time::sleep(pause) => {}
                    }
                    report.begin_again(job);
                    tracker.begin_again();
                }
                outcome => break outcome,
            }
        };
        report.finish(outcome.map_err(|error| error.with("job", job.name())), &tracker);
        tracker.finish(report.status);
        report
    }

    /// What the job would do with types: describes and samples the source and maps it, without loading.
    ///
    /// # Errors
    /// Those of opening, describing and mapping.
    pub async fn propose(&self, job: &EtlJob) -> Result<TableMapping> {
        Ok(self.proposal(job).await?.0)
    }

    /// Compares the table that is at the destination with the one that the job needs, without changing it.
    ///
    /// # Errors
    /// Those of [`Self::propose`].
    pub async fn validate(&self, job: &EtlJob) -> Result<TableCheck> {
        let (_, target, destination) = self.proposal(job).await?;
        destination.validate(&target).await
    }

    /// Creates or evolves the target table as the job needs it, without loading rows.
    ///
    /// # Errors
    /// Those of [`Self::propose`], and `schema_changed` where the existing table cannot take the rows.
    pub async fn prepare(&self, job: &EtlJob) -> Result<TargetTable> {
        let (_, target, destination) = self.proposal(job).await?;
        destination.ensure_dataset(&target.target.dataset).await?;
        destination.prepare(&target, job.on_schema_change()).await?;
        Ok(target)
    }

    /// The mapping of a job, the table that it needs, and where that is.
    async fn proposal(&self, job: &EtlJob) -> Result<(TableMapping, TargetTable, Arc<dyn Destination>)> {
        let (source, destination) = self.open(job).await?;
        let last = destination.last_load(&job.target(), &job.identity()).await?;
        let advise = mapping::wants_advice(job, destination.as_ref()).await?;
        let session = source.begin(&job.source_table()).await?;
        let sampling = mapping::Sampling { rows: self.options.sample_rows, advise };
        let mut none = Demotions::default();
        let mapping = mapping::map(session.as_ref(), job, last.as_ref(), sampling, &mut none).await?;
        session.close().await?;
        let target = mapping.wanted_table(job.target(), job.layout(), advise)?;
        Ok((mapping, target, destination))
    }

    async fn open(&self, job: &EtlJob) -> Result<(Arc<dyn Source>, Arc<dyn Destination>)> {
        let source = self.connection_named(job.source_connection())?;
        let destination = self.connection_named(job.destination_connection())?;
        let opened = tokio::try_join!(self.registry.source(source), self.registry.destination(destination))?;
        opened.1.check_options(job.destination_options())?;
        let of = |connection: &Connection| self.registry.connector(connection.kind());
        let (from, into) = (of(source)?.descriptor().capability, of(destination)?.descriptor().capability);
        deleting::check_ends(job, from, into)?;
        Ok(opened)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_batch;
#[cfg(test)]
mod tests_deletes;
