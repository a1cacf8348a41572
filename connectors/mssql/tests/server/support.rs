//! What the tests share.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use futures::TryStreamExt as _;
use rand::Rng as _;
use transload_core::connector::{ReadPlan, ReadSession, Source};
use transload_core::schema::TableRef;
use transload_core::{Connection, Registry, Result};
use transload_mssql::Mssql;

use super::admin::{Admin, Used, used};

pub(crate) async fn open(connection: &Connection) -> Result<Arc<dyn Source>> {
    Registry::new().with(Mssql).source(connection).await
}

/// A schema of one test.
pub(crate) struct Place {
    pub(crate) schema: String,
    pub(crate) used: Used,
    pub(crate) admin: Admin,
}

/// A new schema at the server that is used.
pub(crate) async fn place() -> Place {
    place_at(used().await).await
}

pub(crate) async fn place_at(used: Used) -> Place {
    let schema = format!("transload_{:016x}", rand::rng().random::<u64>());
    let admin = Admin::of(&used.connection);
    admin.run(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    Place { schema, used, admin }
}

impl Place {
    /// Runs a batch; `$` stands for the test's schema.
    pub(crate) async fn run(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = sql.replace('$', &self.schema);
        let ran = self.admin.run(&sql).await;
        ran.unwrap_or_else(|error| panic!("{}: {error}", sql.chars().take(400).collect::<String>()))
    }

    pub(crate) async fn cell(&self, sql: &str) -> String {
        self.run(sql).await.concat().concat()
    }

    /// A table `t` of numbers from 1 on, with a text of so many characters.
    pub(crate) async fn numbers(&self, rows: usize, text: usize) {
        self.run(&format!("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, t VARCHAR({text}) NULL)")).await;
        self.more_numbers(1..rows + 1, text).await;
    }

    pub(crate) async fn more_numbers(&self, ids: std::ops::Range<usize>, text: usize) {
        let ids: Vec<usize> = ids.collect();
        for ids in ids.chunks(1000) {
            let rows: Vec<_> = ids.iter().map(|id| format!("({id}, '{}')", "x".repeat(text))).collect();
            self.run(&format!("INSERT INTO $.t VALUES {}", rows.join(", "))).await;
        }
    }

    pub(crate) fn table(&self, name: &str) -> TableRef {
        TableRef::new(&self.schema, name)
    }

    pub(crate) fn connection(&self) -> Connection {
        self.used.connection.clone()
    }

    pub(crate) async fn source(&self) -> Arc<dyn Source> {
        open(&self.used.connection).await.unwrap()
    }

    pub(crate) async fn begin(&self, table: &str) -> Box<dyn ReadSession> {
        self.source().await.begin(&self.table(table)).await.unwrap()
    }

    /// All rows of a table as one batch.
    pub(crate) async fn read(&self, table: &str) -> Result<RecordBatch> {
        read_by(&self.used.connection, &self.table(table)).await
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

pub(crate) async fn read_by(connection: &Connection, table: &TableRef) -> Result<RecordBatch> {
    let session = open(connection).await?.begin(table).await?;
    read_plan(session.as_ref(), &ReadPlan::default()).await
}

/// The values of a column of texts or numbers, as texts.
pub(crate) fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    let rows = transload_testkit::arrow::rows(batch).unwrap();
    rows.iter().map(|row| row[column].to_plain()).collect()
}
