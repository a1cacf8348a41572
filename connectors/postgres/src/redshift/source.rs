//! The source: discovery, and beginning sessions.

use async_trait::async_trait;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _, Secret};

use super::catalog::{
    SIZES_SQL, describe_sql, described, lock_sql, names_sql, qualified, schemas, schemas_sql, tables,
    tables_sql,
};
use super::config::RedshiftConfig;
use super::session::RedshiftSession;
use crate::catalog::{Described, Missing};
use crate::connect::{Connect, Opened, text};
use crate::dialect::Dialect;
use crate::source::is_refused;

#[derive(Debug)]
pub(super) struct RedshiftSource {
    connect: Connect,
    database: String,
    fetch_rows: u64,
}

impl RedshiftSource {
    pub(super) fn new(config: &RedshiftConfig, secret: Option<&Secret>) -> Result<Self> {
        let server = &config.server;
        Ok(Self {
            connect: Connect::new(server, secret, Dialect::Redshift)?,
            database: server.database.as_ref().unwrap_or(&server.username).clone(),
            fetch_rows: config.fetch_rows,
        })
    }

    /// A connection inside a read-only snapshot, and the table as that snapshot sees it.
    async fn begun(&self, table: &TableRef) -> Result<(Opened, Described)> {
        let opened = self.connect.open().await?;
        let table = qualified(table);
        let (describe, mut begin) = (describe_sql(&table, &self.database)?, self.connect.begin(None)?);
        for lock in lock_sql(&table)? {
            let results = match opened.batch(&format!("{begin}; {lock}{describe}")).await {
                Err(error) if !lock.is_empty() && is_refused(&error) => {
                    begin = format!("ROLLBACK; {}", self.connect.begin(None)?);
                    continue;
                }
                results => results.with("table", &table)?,
            };
            return match described(&table, &results)? {
                Ok(described) => Ok((opened, described)),
                Err(schema_exists) => {
                    let names = opened.batch(&names_sql(&table)?).await?;
                    Err(Missing { schema_exists }.error(&table, &names))
                }
            };
        }
        Err(Error::internal("no way to begin was left"))
    }
}

#[async_trait]
impl Source for RedshiftSource {
    async fn check(&self) -> Result<ServerInfo> {
        let (opened, results) = self.connect.ask("SELECT version() AS version").await?;
        let row = results.last().and_then(|rows| rows.first());
        let version = text(row.ok_or_else(|| Error::internal("the server gave no version"))?, "version")?;
        let version = match version.split_once("Redshift ") {
            Some((_, number)) => format!("Amazon Redshift {number}"),
            None => version.to_owned(),
        };
        Ok(ServerInfo { version, tls: Some(opened.is_tls()) })
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let (_opened, results) = self.connect.ask(&schemas_sql()).await?;
        schemas(results.last().map(Vec::as_slice).unwrap_or_default())
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let (opened, results) = self.connect.ask(&tables_sql(schema)?).await?;
        let [.., schemas, found, readable] = results.as_slice() else {
            return Err(Error::internal("the catalog gave too few results"));
        };
        if let Some(schema) = schema
            && schemas.is_empty()
        {
            return Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                .with("schema", schema)
                .hint("list the schemas with schemas()"));
        }
        let sizes = match opened.batch(SIZES_SQL).await {
            Err(error) if error.kind() == ErrorKind::Permission => Vec::new(),
            sizes => sizes?.pop().unwrap_or_default(),
        };
        tables(found, readable, &sizes)
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.begun(table).await?.1.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let (opened, described) = self.begun(table).await?;
        Ok(Box::new(RedshiftSession::new(self.connect.clone(), opened, described, self.fetch_rows)))
    }
}
