//! A destination that takes its time.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use transload::connector::{
    Connector, Credentialed, Descriptor, Destination, KeyComparison, LoadOutcome, LoadRecord, LoadRequest,
    LoadWriter, OnSchemaChange, PrepareOutcome, ServerInfo, Source,
};
use transload::schema::{TargetRef, TargetTable};
use transload::{Connection, Result};

/// Pauses before every write of another connector's loads.
#[derive(Debug, Clone)]
pub(crate) struct Slow<T> {
    inner: T,
    pause: Duration,
}

impl<T> Slow<T> {
    pub(crate) fn new(inner: T, pause: Duration) -> Self {
        Self { inner, pause }
    }
}

#[async_trait]
impl<C: Connector> Connector for Slow<C> {
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
        Ok(Arc::new(Slow::new(self.inner.destination(target).await?, self.pause)))
    }
}

#[async_trait]
impl Destination for Slow<Arc<dyn Destination>> {
    async fn check(&self) -> Result<ServerInfo> {
        self.inner.check().await
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

    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>> {
        self.inner.last_load(target, job).await
    }

    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>> {
        self.inner.last_loads(target, job_name).await
    }

    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>> {
        Ok(Box::new(Slow::new(self.inner.begin_load(request).await?, self.pause)))
    }
}

#[async_trait]
impl LoadWriter for Slow<Box<dyn LoadWriter>> {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        self.inner.write(batch).await
    }

    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        self.inner.keep(keys).await
    }

    async fn compare_keys(&self) -> Result<KeyComparison> {
        self.inner.compare_keys().await
    }

    async fn seal(&self) -> Result<()> {
        self.inner.seal().await
    }

    async fn commit(self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        self.inner.commit(record).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
