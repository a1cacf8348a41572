//! A schema per test, and reading whole tables.

use std::future::Future;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use futures::TryStreamExt as _;
use rand::Rng as _;
use tokio_postgres::{Client, NoTls};
use transload_core::connector::{ReadPlan, ReadSession, Source};
use transload_core::memory::Memory;
use transload_core::schema::TableRef;
use transload_core::{Connection, EtlJob, Registry, Result, Runner};
use transload_postgres::Postgres;

pub(crate) fn need_env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start the servers with connectors/testkit/services/up.sh")
    })
}

pub(crate) fn url() -> String {
    need_env("TRANSLOAD_TEST_POSTGRES_URL")
}

pub(crate) fn connection() -> Connection {
    Connection::from_url(&url()).unwrap()
}

pub(crate) async fn open(connection: &Connection) -> Result<Arc<dyn Source>> {
    Registry::new().with(Postgres).source(connection).await
}

/// A client that is not transload's.
pub(crate) async fn client() -> Client {
    connect(&url()).await
}

/// The same, at another address.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// A schema of one test.
pub(crate) struct Place {
    pub(crate) schema: String,
    pub(crate) admin: Client,
}

impl Place {
    pub(crate) async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn table(&self, name: &str) -> TableRef {
        TableRef::new(&self.schema, name)
    }

    pub(crate) async fn source(&self) -> Arc<dyn Source> {
        open(&connection()).await.unwrap()
    }

    pub(crate) async fn begin(&self, table: &str) -> Box<dyn ReadSession> {
        self.source().await.begin(&self.table(table)).await.unwrap()
    }

    /// All rows of a table as one batch.
    pub(crate) async fn read(&self, table: &str) -> Result<RecordBatch> {
        let session = self.source().await.begin(&self.table(table)).await?;
        read_plan(session.as_ref(), &ReadPlan::default()).await
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// Runs a test in a new schema, which is dropped whatever the test does.
pub(crate) async fn in_schema<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Place>) -> F) {
    let admin = client().await;
    let schema = format!("transload_{:016x}", rand::rng().random::<u64>());
    let place = Arc::new(Place { schema: schema.clone(), admin });
    place
        .run(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}, public; SET timezone = 'UTC'"))
        .await;
    let outcome = tokio::spawn(test(Arc::clone(&place))).await;
    client().await.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(crate) async fn batches(session: &dyn ReadSession, plan: &ReadPlan) -> Result<Vec<RecordBatch>> {
    let mut all = Vec::new();
    for split in session.splits(plan).await? {
        all.extend(session.read(&split).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(all)
}

pub(crate) async fn read_plan(session: &dyn ReadSession, plan: &ReadPlan) -> Result<RecordBatch> {
    let schema = session.table().arrow_schema_of(&plan.columns)?;
    Ok(concat_batches(&schema, &batches(session, plan).await?)?)
}

/// Loads a table as a job does: into a dataset of Parquet files, and into memory, which gives what arrived.
pub(crate) async fn load(shop: Connection, table: TableRef) -> RecordBatch {
    let lake = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let registry = Registry::new().with(Postgres).with(memory.clone()).with(transload_dataset::Dataset);
    let runner = Runner::new(registry)
        .connection(shop.named("shop"))
        .connection(Connection::new("lake", "dataset").option("path", lake.path().to_string_lossy()))
        .connection(Connection::new("memory", "memory"));
    for target in ["lake", "memory"] {
        let job = EtlJob::builder("j").from_table("shop", table.clone()).into(target, "raw", "t").replace();
        let report = runner.run(&job.build().unwrap()).await;
        assert!(report.committed, "{target}: {}", report.to_json());
    }
    memory.get("", "raw", "t").unwrap()
}
