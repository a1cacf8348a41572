//! The source: discovery, samples, and beginning sessions.

use async_trait::async_trait;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Settled, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _, Secret};
use transload_sql::quote_literal;

use crate::catalog::{
    Described, SCHEMAS_SQL, describe_sql, described, lock_sql, names_sql, schema_info, table_info, tables_sql,
};
use crate::config::PostgresConfig;
use crate::connect::{Connect, Opened, text};
use crate::dialect::Dialect;
use crate::session::PostgresSession;
use crate::settled::{notes_sql, settled};

#[derive(Debug)]
pub(crate) struct PostgresSource {
    connect: Connect,
}

impl PostgresSource {
    pub(crate) fn new(config: &PostgresConfig, secret: Option<&Secret>) -> Result<Self> {
        Ok(Self { connect: Connect::new(config, secret, Dialect::Postgres)? })
    }

    /// A connection inside a read-only snapshot, and the table as that snapshot sees it.
    async fn begun(&self, table: &TableRef) -> Result<(Opened, Described)> {
        let opened = self.connect.open().await?;
        let described = self.described(&opened, table).await?;
        Ok((opened, described))
    }

    /// Locks the table, takes the snapshot of a connection, and describes the table in it: one round trip.
    async fn described(&self, opened: &Opened, table: &TableRef) -> Result<Described> {
        let (describe, mut begin) = (describe_sql(table)?, self.connect.begin(None)?);
        for lock in lock_sql(table)? {
            let results = match opened.batch(&format!("{begin}; {lock}{describe}")).await {
                Err(error) if !lock.is_empty() && is_refused(&error) => {
                    begin = format!("ROLLBACK; {}", self.connect.begin(None)?);
                    continue;
                }
                results => results.with("table", table)?,
            };
            return match described(table, &results)? {
                Ok(described) => Ok(described),
                Err(missing) => Err(missing.error(table, &opened.batch(&names_sql(table)?).await?)),
            };
        }
        Err(Error::internal("no way to begin was left"))
    }
}

/// Whether the server refused a statement for what it names: a table that is not there, of another kind, or closed.
pub(crate) fn is_refused(error: &Error) -> bool {
    error.context_value("sqlstate").is_some_and(|code| code.starts_with("42") || code.starts_with("3F"))
}

#[async_trait]
impl Source for PostgresSource {
    async fn check(&self) -> Result<ServerInfo> {
        let (opened, results) = self.connect.ask("SHOW server_version").await?;
        let row = results.last().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Error::internal("the server gave no version"))?;
        let version = format!("PostgreSQL {}", text(row, "server_version")?);
        Ok(ServerInfo { version, tls: Some(opened.is_tls()) })
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let (_opened, results) = self.connect.ask(SCHEMAS_SQL).await?;
        results.last().into_iter().flatten().map(schema_info).collect()
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let exists = match schema {
            Some(schema) => format!("SELECT FROM pg_namespace WHERE nspname = {}", quote_literal(schema)?),
            None => "SELECT".to_owned(),
        };
        let (_opened, results) = self.connect.ask(&format!("{exists}; {}", tables_sql(schema)?)).await?;
        let [.., found, _, tables] = results.as_slice() else {
            return Err(Error::internal("the catalog gave too few results"));
        };
        match schema {
            Some(schema) if found.is_empty() => {
                Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                    .with("schema", schema)
                    .hint("list the schemas with schemas()"))
            }
            _ => tables.iter().map(table_info).collect(),
        }
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.begun(table).await?.1.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let (opened, described) = self.begun(table).await?;
        Ok(Box::new(PostgresSession::new(self.connect.clone(), opened, described)))
    }

    async fn begin_settled(&self, table: &TableRef, cursor: &str) -> Result<(Box<dyn ReadSession>, Settled)> {
        let opened = self.connect.open().await?;
        let notes = opened.batch(&notes_sql(table)?).await.with("table", table)?;
        let described = self.described(&opened, table).await?;
        let settled = settled(described.table.column(cursor)?, &notes).with("table", table)?;
        let session = PostgresSession::new(self.connect.clone(), opened, described);
        Ok((Box::new(session), settled))
    }
}
