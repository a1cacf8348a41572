//! A destination that fails as a script says, around a real one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use tokio::sync::Notify;
use transload_core::connector::{
    Connector, Credentialed, CursorFilter, Descriptor, Destination, LoadOutcome, LoadPlan, LoadRecord,
    LoadRequest, LoadWriter, OnSchemaChange, PrepareOutcome, ServerInfo, Source,
};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{TargetRef, TargetTable, Warning};
use transload_core::{Connection, Error, ErrorKind, Result};

/// What goes wrong in one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// `begin_load` fails.
    RefuseBegin,
    /// The n-th batch, counted from 0, is refused.
    RefuseWrite(u64),
    /// The n-th batch, counted from 0, is never taken: the write hangs until it is dropped.
    HangAtWrite(u64),
    /// The commit fails and does nothing; the load is dropped.
    FailCommit,
    /// The commit is done, and then reported as failed.
    CommitThenFail,
}

/// The script: one fault per load, in order; loads after its end go well.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<ScriptState>);

#[derive(Debug, Default)]
struct ScriptState {
    faults: Mutex<VecDeque<Fault>>,
    hung: Notify,
}

impl Script {
    /// A script of faults.
    #[must_use]
    pub fn new(faults: &[Fault]) -> Self {
        let faults = Mutex::new(faults.iter().copied().collect());
        Self(Arc::new(ScriptState { faults, hung: Notify::new() }))
    }

    /// Waits until a write hangs.
    pub async fn hung(&self) {
        self.0.hung.notified().await;
    }

    fn next(&self) -> Fault {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None)
    }
}

/// The error that faults give.
fn fault(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the connection was lost {what} (an injected fault)"))
        .hint("run again")
}

/// A connector whose destinations fail as a script says.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn Connector>,
    script: Script,
}

impl Faulty {
    /// Wraps a connector.
    pub fn new(inner: impl Connector + 'static, script: &Script) -> Self {
        Self { inner: Arc::new(inner), script: script.clone() }
    }
}

#[async_trait]
impl Connector for Faulty {
    fn descriptor(&self) -> Descriptor {
        self.inner.descriptor()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        self.inner.validate(connection)
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        self.inner.source(target).await
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        let inner = self.inner.destination(target).await?;
        Ok(Arc::new(FaultyDestination { inner, script: self.script.clone() }))
    }
}

#[derive(Debug)]
struct FaultyDestination {
    inner: Arc<dyn Destination>,
    script: Script,
}

#[async_trait]
impl Destination for FaultyDestination {
    async fn check(&self) -> Result<ServerInfo> {
        self.inner.check().await
    }

    fn check_options(&self, options: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
        self.inner.check_options(options)
    }

    async fn ensure_dataset(&self, dataset: &str) -> Result<()> {
        self.inner.ensure_dataset(dataset).await
    }

    async fn table(&self, target: &TargetRef) -> Result<Option<TargetTable>> {
        self.inner.table(target).await
    }

    async fn prepare(&self, target: &TargetTable, policy: OnSchemaChange) -> Result<PrepareOutcome> {
        self.inner.prepare(target, policy).await
    }

    async fn withdraw(&self, target: &TargetRef) -> Result<bool> {
        self.inner.withdraw(target).await
    }

    async fn plan_load(&self, plan: LoadPlan<'_>) -> Result<Vec<Warning>> {
        self.inner.plan_load(plan).await
    }

    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>> {
        self.inner.last_load(target, job).await
    }

    async fn figures(
        &self,
        target: &TargetTable,
        window: Option<&CursorFilter>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        self.inner.figures(target, window, level).await
    }

    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>> {
        self.inner.last_loads(target, job_name).await
    }

    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>> {
        let fault_now = self.script.next();
        if fault_now == Fault::RefuseBegin {
            return Err(fault("before the load began"));
        }
        let inner = self.inner.begin_load(request).await?;
        let script = self.script.clone();
        Ok(Box::new(FaultyWriter { inner, fault: fault_now, writes: AtomicU64::new(0), script }))
    }
}

#[derive(Debug)]
struct FaultyWriter {
    inner: Box<dyn LoadWriter>,
    fault: Fault,
    writes: AtomicU64,
    script: Script,
}

#[async_trait]
impl LoadWriter for FaultyWriter {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::RefuseWrite(n) if n == number => Err(fault("while rows were written")),
            Fault::HangAtWrite(n) if n == number => {
                self.script.0.hung.notify_one();
                std::future::pending().await
            }
            _ => self.inner.write(batch).await,
        }
    }

    async fn seal(&self) -> Result<()> {
        self.inner.seal().await
    }

    async fn commit(self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        match self.fault {
            Fault::FailCommit => Err(fault("before the commit")),
            Fault::CommitThenFail => {
                self.inner.commit(record).await?;
                Err(fault("after the commit"))
            }
            _ => self.inner.commit(record).await,
        }
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
