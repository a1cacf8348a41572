//! A destination that fails as a script says, around a real one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use tokio::sync::Notify;
use transload_core::connector::{
    Connector, Credentialed, Descriptor, Destination, Extent, KeyComparison, LoadOutcome, LoadPlan,
    LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, PrepareOutcome, ServerInfo, Source,
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
    /// The first batch of keys is refused.
    RefuseKeys,
    /// The commit fails and does nothing; the load is dropped.
    FailCommit,
    /// The commit is done, and then reported as failed.
    CommitThenFail,
    /// The commit has begun ([`Script::hung`] tells), waits for [`Script::go_on`] and is done a little later.
    SlowCommit,
    /// As [`Self::SlowCommit`], but it fails and does nothing.
    SlowCommitFails,
}

/// The script: one fault per load, in order; loads after its end go well.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<ScriptState>);

#[derive(Debug, Default)]
struct ScriptState {
    faults: Mutex<VecDeque<Fault>>,
    hung: Notify,
    go_on: Notify,
}

impl Script {
    /// A script of faults.
    #[must_use]
    pub fn new(faults: &[Fault]) -> Self {
        let faults = Mutex::new(faults.iter().copied().collect());
        Self(Arc::new(ScriptState { faults, ..ScriptState::default() }))
    }

    /// Waits until a write hangs, or a slow commit has begun.
    pub async fn hung(&self) {
        self.0.hung.notified().await;
    }

    /// Lets a slow commit go on.
    pub fn go_on(&self) {
        self.0.go_on.notify_one();
    }

    /// What a slow commit does first. The pause is for what was done before [`Self::go_on`] to reach the engine.
    async fn hesitate(&self) {
        self.0.hung.notify_one();
        self.0.go_on.notified().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
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
        extent: Extent<'_>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        self.inner.figures(target, extent, level).await
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
        let (writes, keeps) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Box::new(FaultyWriter { inner, fault: fault_now, writes, keeps, script }))
    }
}

#[derive(Debug)]
struct FaultyWriter {
    inner: Box<dyn LoadWriter>,
    fault: Fault,
    writes: AtomicU64,
    keeps: AtomicU64,
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

    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        let number = self.keeps.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::RefuseKeys if number == 0 => Err(fault("while keys were told")),
            _ => self.inner.keep(keys).await,
        }
    }

    async fn compare_keys(&self) -> Result<KeyComparison> {
        self.inner.compare_keys().await
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
            Fault::SlowCommit => {
                self.script.hesitate().await;
                self.inner.commit(record).await
            }
            Fault::SlowCommitFails => {
                self.script.hesitate().await;
                Err(fault("before the commit"))
            }
            _ => self.inner.commit(record).await,
        }
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
