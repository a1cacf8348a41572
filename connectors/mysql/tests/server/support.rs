//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use futures::TryStreamExt as _;
use rand::Rng as _;
use transload_core::connector::{ReadPlan, ReadSession, Source};
use transload_core::schema::TableRef;
use transload_core::{Connection, Registry, Result};
use transload_mysql::Mysql;
use transload_testkit::fixture::Done;
use transload_testkit::mariadb::Mariadb;

/// The connection that the environment names.
pub(crate) fn connection() -> Connection {
    let url = std::env::var("TRANSLOAD_TEST_MARIADB_URL").expect(
        "TRANSLOAD_TEST_MARIADB_URL is not set: start the servers with connectors/testkit/services/up.sh",
    );
    Connection::from_url(&url).unwrap()
}

pub(crate) async fn open(connection: &Connection) -> Result<Arc<dyn Source>> {
    Registry::new().with(Mysql).source(connection).await
}

/// A database of one test.
pub(crate) struct Place {
    pub(crate) schema: String,
    connection: Connection,
    admin: Mariadb,
}

impl Place {
    /// Runs statements with the test's database as the one in use.
    pub(crate) fn run(&self, sql: &str) -> Vec<Vec<String>> {
        let run = self.admin.run(&format!("USE {}; {sql}", self.schema));
        run.unwrap_or_else(|error| panic!("{}: {error:?}", sql.chars().take(300).collect::<String>()))
    }

    pub(crate) fn cell(&self, sql: &str) -> String {
        self.run(sql).concat().concat()
    }

    pub(crate) fn table(&self, name: &str) -> TableRef {
        TableRef::new(&self.schema, name)
    }

    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    pub(crate) async fn source(&self) -> Arc<dyn Source> {
        open(&self.connection).await.unwrap()
    }

    pub(crate) async fn begin(&self, table: &str) -> Box<dyn ReadSession> {
        self.source().await.begin(&self.table(table)).await.unwrap()
    }

    /// All rows of a table as one batch.
    pub(crate) async fn read(&self, table: &str) -> Result<RecordBatch> {
        read_by(&self.connection, &self.table(table)).await
    }
}

/// A session that has done something and sleeps, so that its locks are held.
pub(crate) struct Holder {
    client: std::thread::JoinHandle<Done<Vec<Vec<String>>>>,
    admin: Mariadb,
    thread: String,
}

impl Holder {
    pub(crate) fn holds(&self) -> bool {
        !self.client.is_finished()
    }

    pub(crate) fn end(self) {
        assert!(self.holds(), "it slept for too short a time");
        self.admin.run(&format!("KILL {}", self.thread)).unwrap();
        self.client.join().unwrap().expect_err("it was killed");
    }
}

impl Place {
    /// Runs statements in a session that then sleeps for two minutes.
    pub(crate) fn hold(&self, sql: &str) -> Holder {
        let (admin, sql) = (self.admin.clone(), format!("USE {}; {sql}; DO SLEEP(120)", self.schema));
        let client = std::thread::spawn(move || admin.run(&sql));
        let asleep = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}' AND info = 'DO SLEEP(120)'",
            self.schema
        );
        loop {
            assert!(!client.is_finished(), "{:?}", client.join());
            let thread = self.cell(&asleep);
            if !thread.is_empty() {
                return Holder { client, admin: self.admin.clone(), thread };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A session that nobody closed would keep it, so that this would wait for ever.
        let drop = format!("SET lock_wait_timeout = 20; DROP DATABASE IF EXISTS {}", self.schema);
        let dropped = self.admin.run(&drop);
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}

/// A new database, which is dropped with what this gives.
pub(crate) fn place() -> Place {
    place_at(connection())
}

pub(crate) fn place_at(connection: Connection) -> Place {
    let schema = format!("transload_{:016x}", rand::rng().random::<u64>());
    let admin = Mariadb::of(&connection);
    admin.run(&format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4")).unwrap();
    Place { schema, connection, admin }
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

pub(crate) async fn read_by(connection: &Connection, table: &TableRef) -> Result<RecordBatch> {
    let session = open(connection).await?.begin(table).await?;
    read_plan(session.as_ref(), &ReadPlan::default()).await
}
