//! BigQuery as a source: lists, describes, samples and opens sessions.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use tokio::sync::OnceCell;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Result, ResultExt as _};

use crate::catalog::Place;
use crate::connect::Client;
use crate::session::BigQuerySession;
use crate::storage::Storage;

/// An opened BigQuery connection that tables are read from.
#[derive(Debug)]
pub(crate) struct BigQuerySource {
    client: Client,
    /// Made when rows are read: tests of the connection and lists need no endpoint of the Storage API.
    storage: OnceCell<Storage>,
}

impl BigQuerySource {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, storage: OnceCell::new() }
    }

    async fn session(&self, table: &TableRef) -> Result<BigQuerySession> {
        let storage = self.storage.get_or_try_init(|| Storage::new(&self.client)).await?;
        BigQuerySession::begin(self.client.clone(), storage.clone(), table).await
    }
}

#[async_trait]
impl Source for BigQuerySource {
    async fn check(&self) -> Result<ServerInfo> {
        self.client.server_info().await.operation("check")
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        self.client.schemas().await.operation("schemas")
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        self.client.tables(schema).await.operation("tables")
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        let place = Place::new(&self.client, table).operation("describe")?;
        Ok(self.client.describe(table, &place).await.operation("describe")?.schema)
    }

    async fn sample(&self, table: &TableRef, rows: usize) -> Result<RecordBatch> {
        self.session(table).await.operation("sample")?.preview(rows).await.operation("sample")
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        Ok(Box::new(self.session(table).await.operation("begin")?))
    }
}
