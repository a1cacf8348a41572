//! BigQuery as a source: lists, describes, samples and opens sessions.

use arrow_array::RecordBatch;
use async_trait::async_trait;
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
    storage: Storage,
}

impl BigQuerySource {
    pub(crate) async fn new(client: Client) -> Result<Self> {
        let storage = Storage::new(&client).await?;
        Ok(Self { client, storage })
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
        let session = BigQuerySession::begin(self.client.clone(), self.storage.clone(), table).await;
        session.operation("sample")?.preview(rows).await.operation("sample")
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let session = BigQuerySession::begin(self.client.clone(), self.storage.clone(), table).await;
        Ok(Box::new(session.operation("begin")?))
    }
}
