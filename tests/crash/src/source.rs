//! Sources: one table `(id, at, what)` in SQLite or PostgreSQL, and a writer that never rests.

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use transload_testkit::{Done, need_env};

use crate::Rows;

/// What a writer may do, as the load strategy expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Rows change and get a new `at`.
    pub updates: bool,
    /// Rows go.
    pub deletes: bool,
}

/// A table that rows are read from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A database file.
    Sqlite(PathBuf),
    /// A schema of its own in the test server.
    Postgres(String),
}

/// The state of a writer. Every statement commits by itself, so a higher `at` is committed later, and an equal one
/// may be too.
#[derive(Debug)]
pub struct Writer {
    random: StdRng,
    changes: Changes,
    next_id: i64,
    clock: i64,
}

impl Writer {
    /// A writer of the initial state.
    #[must_use]
    pub fn new(seed: u64, changes: Changes) -> Self {
        Self { random: StdRng::seed_from_u64(seed), changes, next_id: 1, clock: 1 }
    }

    /// A statement that adds `rows` rows. Every third time the first ones tie with the highest `at`.
    fn insert(&mut self, table: &str, rows: usize) -> String {
        self.clock += i64::from(!self.random.random_bool(0.33));
        let mut values = Vec::with_capacity(rows);
        for _ in 0..rows {
            self.clock += i64::from(self.random.random_bool(0.2));
            let what = format!("{:016x}", self.random.random::<u64>()).repeat(self.random.random_range(0..4));
            values.push(format!("({}, {}, '{what}')", self.next_id, self.clock));
            self.next_id += 1;
        }
        format!("INSERT INTO {table} VALUES {}", values.join(", "))
    }

    /// The next statement.
    fn statement(&mut self, table: &str) -> String {
        let id = self.random.random_range(1..self.next_id);
        match self.random.random_range(0..4) {
            0 if self.changes.updates => {
                self.clock += 1;
                let (to, at) = (id + self.random.random_range(1..20), self.clock);
                format!("UPDATE {table} SET at = {at}, what = 'changed' WHERE id >= {id} AND id < {to}")
            }
            1 if self.changes.deletes => format!("DELETE FROM {table} WHERE id = {id} AND id > 1"),
            _ => {
                let rows = [1, 3, 50, 400][self.random.random_range(0..4)];
                self.insert(table, rows)
            }
        }
    }
}

impl Source {
    /// The connection named `shop`: a document, or a name and a URL.
    ///
    /// # Errors
    /// A missing server.
    pub fn connection(&self) -> Done<Value> {
        Ok(match self {
            Self::Sqlite(path) => json!({"name": "shop", "type": "sqlite", "path": path}),
            Self::Postgres(_) => json!({"name": "shop", "url": need_env("TRANSLOAD_TEST_POSTGRES_URL")?}),
        })
    }

    /// The `source` of the job document.
    #[must_use]
    pub fn table(&self) -> Value {
        match self {
            Self::Sqlite(_) => json!({"connection": "shop", "table": "orders"}),
            Self::Postgres(schema) => json!({"connection": "shop", "schema": schema, "table": "orders"}),
        }
    }

    /// Makes the table with `rows` rows, and gives its writer.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create(&self, seed: u64, changes: Changes, rows: usize) -> Done<Writer> {
        let mut writer = Writer::new(seed, changes);
        let columns = "(id bigint PRIMARY KEY, at bigint NOT NULL, what text NOT NULL)";
        match self {
            Self::Sqlite(path) => {
                let database = rusqlite::Connection::open(path)?;
                // Readers and the writer do not wait for one another.
                database.pragma_update(None, "journal_mode", "wal")?;
                database.execute_batch(&format!("CREATE TABLE orders {columns}"))?;
                database.execute_batch(&writer.insert("orders", rows))?;
            }
            Self::Postgres(schema) => {
                let client = client().await?;
                let sql = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders {columns}");
                client.batch_execute(&sql).await?;
                client.batch_execute(&writer.insert(&format!("{schema}.orders"), rows)).await?;
            }
        }
        Ok(writer)
    }

    /// Writes until `stop`, with short pauses.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_writing(
        &self,
        writer: &mut Writer,
        mut stop: tokio::sync::watch::Receiver<bool>,
    ) -> Done {
        let file = match self {
            Self::Sqlite(path) => {
                let database = rusqlite::Connection::open(path)?;
                database.busy_timeout(std::time::Duration::from_secs(10))?;
                database.pragma_update(None, "synchronous", "off")?;
                Some(database)
            }
            Self::Postgres(_) => None,
        };
        let server = if file.is_none() { Some(client().await?) } else { None };
        while !*stop.borrow_and_update() {
            match (self, &file, &server) {
                (Self::Sqlite(_), Some(file), _) => file.execute_batch(&writer.statement("orders"))?,
                (Self::Postgres(schema), _, Some(server)) => {
                    server.batch_execute(&writer.statement(&format!("{schema}.orders"))).await?;
                }
                _ => {}
            }
            let pause = std::time::Duration::from_millis(writer.random.random_range(1..30));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// All rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rows(&self) -> Done<Rows> {
        let mut rows = Rows::new();
        let mut add = |id, at, what| *rows.entry((id, at, what)).or_default() += 1;
        match self {
            Self::Sqlite(path) => {
                let database = rusqlite::Connection::open(path)?;
                let mut statement = database.prepare("SELECT id, at, what FROM orders")?;
                let found = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                for row in found {
                    let (id, at, what) = row?;
                    add(id, at, what);
                }
            }
            Self::Postgres(schema) => {
                let client = client().await?;
                let sql = format!("SELECT id, at, what FROM {schema}.orders");
                for row in client.query(&sql, &[]).await? {
                    add(row.get(0), row.get(1), row.get(2));
                }
            }
        }
        Ok(rows)
    }

    /// Removes what is not in the folder of the seed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drop(&self) -> Done {
        if let Self::Postgres(schema) = self {
            client().await?.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
        }
        Ok(())
    }
}

async fn client() -> Done<tokio_postgres::Client> {
    let url = need_env("TRANSLOAD_TEST_POSTGRES_URL")?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
