//! The source: discovery, samples, and beginning sessions.

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use futures::StreamExt as _;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _, Secret};

use crate::catalog::{
    Described, SCHEMAS_SQL, describe_sql, described, names_sql, schema_info, table_info, tables_sql,
};
use crate::config::{PostgresConfig, TlsMode};
use crate::connect::{Connect, Opened, batch, text};
use crate::session::{BEGIN, PostgresSession};

#[derive(Debug)]
pub(crate) struct PostgresSource {
    connect: Connect,
    tls: TlsMode,
}

impl PostgresSource {
    pub(crate) fn new(config: PostgresConfig, secret: Option<Secret>) -> Result<Self> {
        Ok(Self { connect: Connect::new(&config, secret.as_ref())?, tls: config.tls })
    }

    /// A connection inside a read-only snapshot, and the table as that snapshot sees it.
    async fn begun(&self, table: &TableRef) -> Result<(Opened, Described)> {
        let opened = self.connect.open().await?;
        let results = batch(&opened.client, &format!("{BEGIN}; {}", describe_sql(table)?))
            .await
            .with("table", table)?;
        match described(table, &results)? {
            Ok(described) => Ok((opened, described)),
            Err(missing) => Err(missing.error(table, &batch(&opened.client, &names_sql(table)?).await?)),
        }
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn check(&self) -> Result<ServerInfo> {
        let Opened { client, .. } = self.connect.open().await?;
        let sql = "SELECT current_setting('server_version') AS version,
            coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls";
        let results = batch(&client, sql).await?;
        let row = results.first().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Error::internal("the server gave no version"))?;
        let tls = self.tls != TlsMode::Disable && text(row, "tls")? == "t";
        Ok(ServerInfo { version: format!("PostgreSQL {}", text(row, "version")?), tls: Some(tls) })
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let Opened { client, .. } = self.connect.open().await?;
        let results = batch(&client, SCHEMAS_SQL).await?;
        results.iter().flatten().map(schema_info).collect()
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let Opened { client, .. } = self.connect.open().await?;
        let mut sql = tables_sql(schema)?;
        if let Some(schema) = schema {
            let name = transload_sql::quote_literal(schema)?;
            sql.push_str(&format!("; SELECT count(*) AS found FROM pg_namespace WHERE nspname = {name}"));
        }
        let results = batch(&client, &sql).await?;
        if let (Some(schema), Some(row)) = (schema, results.get(1).and_then(|rows| rows.first()))
            && text(row, "found")? == "0"
        {
            return Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                .with("schema", schema)
                .hint("list the schemas with schemas()"));
        }
        results.first().into_iter().flatten().map(table_info).collect()
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.begun(table).await?.1.table)
    }

    async fn sample(&self, table: &TableRef, rows: usize) -> Result<RecordBatch> {
        let (opened, described) = self.begun(table).await?;
        let schema = described.table.arrow_schema();
        let session = PostgresSession::new(self.connect.clone(), opened, described);
        let mut batches = Vec::new();
        for share in [session.sample_share(rows), None] {
            let mut reading = session.read_sample(rows, share).await?;
            batches.clear();
            while let Some(batch) = reading.next().await {
                batches.push(batch?);
            }
            // A share of the pages may hold too few rows; then the first ones do.
            let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
            if share.is_none() || found >= rows {
                break;
            }
        }
        Ok(concat_batches(&schema, &batches)?)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let (opened, described) = self.begun(table).await?;
        Ok(Box::new(PostgresSession::new(self.connect.clone(), opened, described)))
    }
}
