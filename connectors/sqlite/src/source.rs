//! The source: lists, describes, samples and opens sessions.

use async_trait::async_trait;
use rusqlite::Connection;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _};

use crate::config::SqliteConfig;
use crate::connect::Database;
use crate::session::SqliteSession;

/// One database.
#[derive(Debug)]
pub(crate) struct SqliteSource {
    database: Database,
}

impl SqliteSource {
    pub(crate) fn new(config: SqliteConfig) -> Self {
        Self { database: Database::new(config) }
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Database) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let database = self.database.clone();
        match tokio::task::spawn_blocking(move || work(database)).await {
            Ok(outcome) => outcome.operation(operation),
            Err(error) => {
                Err(Error::internal("the thread that reads the SQLite database died").source_error(error))
            }
        }
    }

    async fn connected<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Database, &Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(operation, |database| {
            let connection = database.open()?;
            work(database, &connection)
        })
        .await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn check(&self) -> Result<ServerInfo> {
        self.connected("check", |database, connection| {
            database.tables(connection)?;
            Ok(ServerInfo { version: format!("SQLite {}", rusqlite::version()), tls: None })
        })
        .await
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        Ok(Vec::new())
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        if let Some(schema) = schema {
            return Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                .operation("tables")
                .hint("SQLite has no schemas: leave the schema out"));
        }
        self.connected("tables", |database, connection| database.tables(connection)).await
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        let table = table.clone();
        self.connected("describe", move |database, connection| {
            Ok(database.describe(connection, &table)?.schema)
        })
        .await
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let table = table.clone();
        let session = self.blocking("begin", move |database| SqliteSession::begin(database, &table)).await?;
        Ok(Box::new(session))
    }
}
