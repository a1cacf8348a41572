//! One read session: one connection, one transaction, one cursor at a time.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::json;
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, BatchStream};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::schema::TableSchema;
use transload_core::{Error, Result};

use crate::catalog::Described;
use crate::connect::{Connect, Opened};
use crate::copy::CopyDecoder;
use crate::dialect::Dialect;
use crate::reading::{Lease, Own};
use crate::select::{batch_bytes_of, collect_sample, summary};

pub(super) struct RedshiftSession {
    described: Described,
    own: Own,
    fetch_rows: u64,
}

impl std::fmt::Debug for RedshiftSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedshiftSession").field("table", &self.described.quoted).finish_non_exhaustive()
    }
}

impl RedshiftSession {
    pub(super) fn new(connect: Connect, opened: Opened, described: Described, fetch_rows: u64) -> Self {
        Self { described, own: Own::new(connect, opened), fetch_rows }
    }

    async fn rows(&self, plan: &ReadPlan) -> Result<BatchStream> {
        let sql = self.described.select_sql(Dialect::Redshift, plan, Vec::new(), "")?;
        let (schema, wires) = self.described.wires(plan)?;
        let decoder = CopyDecoder::of_answers(schema, &wires, BATCH_ROWS, batch_bytes_of(plan));
        // No other connection sees the snapshot, and waiting would be for ever if the caller polls the first read
        // only after this one.
        let mut own = self.own.free().await.ok_or_else(|| {
            Error::config("two reads of a Redshift session at once").hint("end the first read")
        })?;
        let answer = own.query(&sql, self.fetch_rows, decoder).await?;
        self.own.stream(answer, Lease::Own(own)).await
    }
}

#[async_trait]
impl ReadSession for RedshiftSession {
    fn table(&self) -> &TableSchema {
        &self.described.table
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let (sql, schema, wires) = self.described.summary_sql(Dialect::Redshift, column)?;
        let decoder = CopyDecoder::of_answers(schema, &wires, BATCH_ROWS, BATCH_BYTES);
        let mut own = self.own.lock().await;
        let answer = own.query(&sql, 0, decoder).await?;
        summary(self.own.stream(answer, Lease::Own(own)).await?).await
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let reading = self.rows(&ReadPlan::sample(rows)).await?;
        Ok(collect_sample(reading, &self.described, rows).await?.0)
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        // Unknown columns and impossible filters are told here, before anything is read.
        self.described.select_sql(Dialect::Redshift, plan, Vec::new(), "")?;
        Ok(vec![Split { index: 0, plan: plan.clone(), part: json!({}) }])
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        self.rows(&split.plan).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.own.close().await
    }
}
