//! A session: one connection in one read transaction, on a thread of its own.

use std::sync::mpsc as jobs;
use std::thread;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::stream;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{BatchStream, Error, Result, ResultExt as _};

use crate::connect::Database;
use crate::query;
use crate::read::Reader;

/// Batches that may wait between the reading thread and the consumer.
const WAITING: usize = 2;

/// Virtual machine instructions between two looks whether anybody still waits for the answer.
const PATIENCE: i32 = 100_000;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread that owns the connection. It ends, and the transaction with it, when this is dropped.
#[derive(Debug)]
struct Worker {
    jobs: jobs::Sender<Job>,
}

impl Worker {
    fn start(connection: Connection) -> Result<Self> {
        let (sender, receiver) = jobs::channel::<Job>();
        thread::Builder::new()
            .name("transload-sqlite".to_owned())
            .spawn(move || {
                let mut connection = connection;
                while let Ok(job) = receiver.recv() {
                    job(&mut connection);
                }
            })
            .map_err(|error| {
                Error::internal("cannot start the thread of an SQLite session").source_error(error)
            })?;
        Ok(Self { jobs: sender })
    }

    fn run(&self, job: Job) -> Result<()> {
        self.jobs.send(job).map_err(|_| thread_died())
    }
}

fn thread_died() -> Error {
    Error::internal("the thread that reads the SQLite database died").hint("report this with the log")
}

/// Interrupts the running statement as soon as `gone` says that nobody waits for it.
fn watch(
    connection: &mut Connection,
    gone: Option<impl FnMut() -> bool + Send + 'static>,
) -> rusqlite::Result<()> {
    connection.progress_handler(PATIENCE, gone)
}

/// A session over one table.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    reader: Reader,
    worker: Worker,
}

impl SqliteSession {
    /// Opens a connection, takes the snapshot and describes the table in it. Blocks.
    pub(crate) fn begin(database: Database, table: &TableRef) -> Result<Self> {
        let connection = database.open()?;
        let wrong = |error| database.error("begin to read", error).with("table", table);
        connection.execute_batch("BEGIN").map_err(wrong)?;
        // BEGIN alone takes no snapshot, the first read does. It comes before anything is described.
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
            .map_err(wrong)?;
        let table = database.describe(&connection, table)?;
        Ok(Self { worker: Worker::start(connection)?, reader: Reader { database, table } })
    }
}

#[async_trait]
impl ReadSession for SqliteSession {
    fn table(&self) -> &TableSchema {
        &self.reader.table.schema
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let (sender, receiver) = oneshot::channel();
        let (reader, column) = (self.reader.clone(), column.to_owned());
        self.worker.run(Box::new(move |connection| {
            // The statements are few and short with an index; without one the scan is worth finishing.
            let _ = sender.send(reader.summary(connection, &column));
        }))?;
        receiver.await.map_err(|_| thread_died())?.operation("cursor summary")
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let (sender, receiver) = oneshot::channel();
        let reader = self.reader.clone();
        self.worker.run(Box::new(move |connection| {
            let _ = sender.send(reader.sample(connection, rows));
        }))?;
        receiver.await.map_err(|_| thread_died())?
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        self.reader.table.schema.project(&plan.columns)?;
        query::read(&self.reader.table, &[], plan.filter.as_ref(), plan.limit)?;
        // SQLite cannot show one snapshot to two connections, so there is one reader.
        Ok(vec![Split { index: 0, plan: plan.clone(), part: serde_json::Value::Null }])
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        if split.index != 0 || !split.part.is_null() {
            return Err(Error::config("the split was not made by the sqlite connector")
                .hint("read it with a session on the connection that planned it"));
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        let (done, finished) = oneshot::channel();
        let (reader, plan) = (self.reader.clone(), split.plan.clone());
        self.worker.run(Box::new(move |connection| {
            let watched = sender.clone();
            let outcome = watch(connection, Some(move || watched.is_closed()))
                .map_err(|error| reader.database.error("read the table", error))
                .and_then(|()| {
                    reader.read(connection, &plan, &mut |batch| sender.blocking_send(Ok(batch)).is_ok())
                });
            // The handler holds a sender: without this the stream would never end.
            let _ = watch(connection, None::<fn() -> bool>);
            if let Err(error) = outcome {
                let _ = sender.blocking_send(Err(error.operation("read")));
            }
            let _ = done.send(());
        }))?;
        Ok(Box::pin(stream::unfold((receiver, Some(finished)), |(mut receiver, finished)| async move {
            match receiver.recv().await {
                Some(item) => Some((item, (receiver, finished))),
                // A thread that died closes the channel too: that must not look like the end of the data.
                None => match finished?.await {
                    Ok(()) => None,
                    Err(_) => Some((Err(thread_died()), (receiver, None))),
                },
            }
        })))
    }

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let (sender, receiver) = oneshot::channel();
        let (reader, plan) = (self.reader.clone(), plan.clone());
        self.worker.run(Box::new(move |connection| {
            let _ = sender.send(reader.figures(connection, &plan, level));
        }))?;
        receiver.await.map_err(|_| thread_died())?.operation("compute figures")
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let database = self.reader.database.clone();
        self.worker.run(Box::new(move |connection| {
            let _ = sender.send(connection.execute_batch("COMMIT"));
        }))?;
        let outcome = receiver.await.map_err(|_| thread_died())?;
        outcome.map_err(|error| database.error("end the session", error))
    }
}
