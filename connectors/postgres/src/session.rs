//! One read session: a snapshot, and reads inside it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_postgres::{CancelToken, Client, CopyOutStream};
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, BatchStream};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::schema::{ColumnSchema, CursorValue, TableSchema};
use transload_core::{Error, Result};
use transload_sql::quote_literal;

use crate::catalog::Described;
use crate::connect::{Connect, batch, text};
use crate::copy::CopyDecoder;
use crate::error::error;
use crate::filter::{comparable, condition, select};
use crate::types::{ReadAs, Wire};

/// How a session begins. One round trip together with the description of the table.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Fewer pages than this are not worth a second connection (8 MiB).
const PAGES_WORTH_A_SPLIT: u64 = 1024;

pub(crate) struct PostgresSession {
    connect: Connect,
    described: Described,
    own: Own,
}

impl std::fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSession").field("table", &self.described.quoted).finish_non_exhaustive()
    }
}

/// The connection that began the session. One read at a time goes over it; others open their own.
#[derive(Clone)]
struct Own {
    connection: Arc<Mutex<OwnConnection>>,
    /// A dropped read is being cancelled: the connection will be free soon.
    ending: Arc<AtomicBool>,
}

struct OwnConnection {
    client: Client,
    /// Whether the savepoint is set that reads go back to.
    saved: bool,
    /// The exported snapshot, once there is one.
    snapshot: Option<String>,
}

impl OwnConnection {
    /// What goes ahead of a read. A read that failed or was cancelled aborts its transaction, and the
    /// snapshot would be lost with it; a savepoint keeps both.
    fn begin_read(&mut self) -> &'static str {
        match std::mem::replace(&mut self.saved, true) {
            false => "SAVEPOINT reading",
            true => "ROLLBACK TO SAVEPOINT reading",
        }
    }

    /// The id under which other connections find the snapshot. It cannot be exported from within a
    /// savepoint.
    async fn exported_snapshot(&mut self) -> Result<String> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
        let leave = match std::mem::take(&mut self.saved) {
            true => "ROLLBACK TO SAVEPOINT reading; RELEASE SAVEPOINT reading; ",
            false => "",
        };
        let results = batch(&self.client, &format!("{leave}SELECT pg_export_snapshot() AS id")).await?;
        let row = results.last().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Error::internal("no snapshot was exported"))?;
        Ok(self.snapshot.insert(text(row, "id")?.to_owned()).clone())
    }
}

impl PostgresSession {
    pub(crate) fn new(connect: Connect, client: Client, described: Described) -> Self {
        let connection = OwnConnection { client, saved: false, snapshot: None };
        let own = Own { connection: Arc::new(Mutex::new(connection)), ending: Arc::default() };
        Self { connect, described, own }
    }

    fn column(&self, name: &str) -> Result<(&ColumnSchema, &ReadAs)> {
        // The error names the nearest column.
        let column = self.described.table.column(name)?;
        let mut all = self.described.table.columns.iter().zip(&self.described.reads);
        all.find(|(known, _)| known.name == column.name).ok_or_else(|| Error::internal("a column vanished"))
    }

    fn columns(&self, names: &[String]) -> Result<Vec<(&ColumnSchema, &ReadAs)>> {
        if names.is_empty() {
            return Ok(self.described.table.columns.iter().zip(&self.described.reads).collect());
        }
        names.iter().map(|name| self.column(name)).collect()
    }

    /// `COPY (SELECT ...) TO STDOUT` for a plan and a range of pages. `sampled` is a TABLESAMPLE clause.
    fn copy_sql(&self, plan: &ReadPlan, pages: &Pages, sampled: &str) -> Result<String> {
        let mut list = Vec::new();
        for (column, read) in self.columns(&plan.columns)? {
            list.push(select(&column.name, read.select)?);
        }
        let mut conditions = pages.conditions();
        if let Some(filter) = &plan.filter {
            let (column, read) = self.column(&filter.column)?;
            conditions.extend(condition(filter, column, read)?);
        }
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let limit = plan.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let (list, source) = (list.join(", "), &self.described.quoted);
        Ok(format!("COPY (SELECT {list} FROM {source}{sampled}{filter}{limit}) TO STDOUT (FORMAT binary)"))
    }

    fn wires(&self, plan: &ReadPlan) -> Result<Vec<Wire>> {
        Ok(self.columns(&plan.columns)?.into_iter().map(|(_, read)| read.wire).collect())
    }
}

/// A range of pages: `lo` inclusive, `hi` exclusive; the last range is open, so that pages that came after
/// the estimate are read too.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pages {
    lo: u64,
    hi: Option<u64>,
}

impl Pages {
    const ALL: Self = Self { lo: 0, hi: None };

    fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if self.lo > 0 {
            conditions.push(format!("ctid >= '({},0)'::tid", self.lo));
        }
        if let Some(hi) = self.hi {
            conditions.push(format!("ctid < '({hi},0)'::tid"));
        }
        conditions
    }

    fn of(part: &Value) -> Result<Self> {
        let pages = |key: &str| part.get(key).and_then(Value::as_u64);
        pages("lo")
            .map(|lo| Self { lo, hi: pages("hi") })
            .ok_or_else(|| Error::config("a split without its pages"))
    }
}

#[async_trait]
impl ReadSession for PostgresSession {
    fn table(&self) -> &TableSchema {
        &self.described.table
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let (column, read) = self.column(column)?;
        let value = comparable(column, read)?;
        let sql = format!(
            "COPY (SELECT min({value}), max({value}), count(*) - count({value}) FROM {}) TO STDOUT (FORMAT binary)",
            self.described.quoted
        );
        let wires = [read.wire, read.wire, Wire::Int8];
        let fields = ["min", "max", "nulls"].into_iter().zip(wires);
        let fields: Vec<_> = fields.map(|(name, wire)| Field::new(name, wire.arrow(), true)).collect();
        let mut decoder = CopyDecoder::new(Arc::new(Schema::new(fields)), &wires, BATCH_ROWS, BATCH_BYTES);
        let mut own = self.own.connection.lock().await;
        let begin = own.begin_read();
        let mut chunks = Box::pin(copy_out(&own.client, begin, &sql).await?);
        while let Some(chunk) = chunks.next().await {
            decoder.feed(&chunk.map_err(error)?)?;
        }
        let row = decoder.finish()?.ok_or_else(|| Error::internal("an aggregate without a row"))?;
        let nulls = match CursorValue::from_array(row.column(2), 0)? {
            Some(CursorValue::Int(nulls)) => u64::try_from(nulls).unwrap_or(0),
            _ => 0,
        };
        Ok(CursorSummary {
            min: CursorValue::from_array(row.column(0), 0)?,
            max: CursorValue::from_array(row.column(1), 0)?,
            nulls,
        })
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        // Unknown columns and impossible filters are told here, before anything is read.
        self.copy_sql(plan, &Pages::ALL, "")?;
        let most = (self.described.pages / PAGES_WORTH_A_SPLIT).max(1);
        let parallel = u64::try_from(plan.parallelism.max(1)).unwrap_or(1).min(most);
        // A limit is for the table, not for each of its parts.
        let count = if plan.limit.is_some() { 1 } else { parallel };
        let split =
            |index: u64, part| Split { index: usize::try_from(index).unwrap_or(0), plan: plan.clone(), part };
        if count == 1 {
            return Ok(vec![split(0, json!({"lo": 0}))]);
        }
        let snapshot = self.own.connection.lock().await.exported_snapshot().await?;
        let step = self.described.pages / count + 1;
        let part = |index: u64| {
            let hi = (index + 1 < count).then(|| step * (index + 1));
            split(index, json!({"lo": step * index, "hi": hi, "snapshot": snapshot}))
        };
        Ok((0..count).map(part).collect())
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        let sql = self.copy_sql(&split.plan, &Pages::of(&split.part)?, "")?;
        let lease = self.lease(&split.part).await?;
        self.stream(&sql, &split.plan, lease).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // A read-only transaction has nothing to commit; ending it tells whether the connection still lives.
        // A read that somebody still holds keeps the connection until it is dropped.
        match self.own.connection.try_lock() {
            Ok(own) => own.client.batch_execute("ROLLBACK").await.map_err(error),
            Err(_) => Ok(()),
        }
    }
}

impl PostgresSession {
    /// Percent of the pages in which about twice `rows` rows are expected, for tables worth it.
    pub(crate) fn sample_share(&self, rows: usize) -> Option<f64> {
        let estimate = self.described.table.rows_estimate.filter(|estimate| *estimate > 0)?;
        let share = rows as f64 * 2.0 / estimate as f64 * 100.0;
        (self.described.pages > PAGES_WORTH_A_SPLIT / 8 && share < 25.0).then_some(share.max(0.01))
    }

    /// Up to `rows` rows: of a share of the pages, spread over the table, or the first ones.
    pub(crate) async fn read_sample(&self, rows: usize, share: Option<f64>) -> Result<BatchStream> {
        let plan = ReadPlan { limit: u64::try_from(rows).ok(), ..ReadPlan::default() };
        let sampled = share.map(|share| format!(" TABLESAMPLE SYSTEM ({share:.4})")).unwrap_or_default();
        let sql = self.copy_sql(&plan, &Pages::ALL, &sampled)?;
        let own = Arc::clone(&self.own.connection).lock_owned().await;
        self.stream(&sql, &plan, Lease::Own(own)).await
    }

    async fn stream(&self, sql: &str, plan: &ReadPlan, mut lease: Lease) -> Result<BatchStream> {
        let schema = self.described.table.arrow_schema_of(&plan.columns)?;
        let bytes = if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes };
        let decoder = CopyDecoder::new(schema, &self.wires(plan)?, BATCH_ROWS, bytes);
        let chunks = match &mut lease {
            Lease::Own(own) => {
                let begin = own.begin_read();
                copy_out(&own.client, begin, sql).await?
            }
            Lease::Other { client, join } => copy_out(client, join, sql).await?,
        };
        let token = lease.client().cancel_token();
        let running = Running {
            connect: self.connect.clone(),
            ending: Arc::clone(&self.own.ending),
            query: Some((token, lease)),
        };
        let reading = Reading { chunks: Box::pin(chunks), decoder, running };
        Ok(Box::pin(stream::unfold(Some(reading), Reading::next)))
    }

    /// The session's own connection if it is free, else a further one that joins the snapshot.
    async fn lease(&self, part: &Value) -> Result<Lease> {
        if let Ok(own) = Arc::clone(&self.own.connection).try_lock_owned() {
            return Ok(Lease::Own(own));
        }
        if self.own.ending.load(Ordering::Acquire) {
            return Ok(Lease::Own(Arc::clone(&self.own.connection).lock_owned().await));
        }
        let Some(snapshot) = part.get("snapshot").and_then(Value::as_str) else {
            // Waiting would be for ever if the caller polls the first read only after this one.
            return Err(Error::config("two reads of a session at once that was planned for one")
                .hint("plan with a parallelism above 1, or end the first read"));
        };
        let client = self.connect.open().await?;
        let join = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", quote_literal(snapshot)?);
        Ok(Lease::Other { client, join })
    }
}

/// Sends a statement and a COPY behind it without waiting for the answer in between.
async fn copy_out(client: &Client, first: &str, sql: &str) -> Result<CopyOutStream> {
    let (first, chunks) = tokio::join!(biased; client.batch_execute(first), client.copy_out(sql));
    first.map_err(error)?;
    chunks.map_err(error)
}

/// The connection that a split is read over.
enum Lease {
    /// The session's own, locked for this read.
    Own(OwnedMutexGuard<OwnConnection>),
    /// A further one, with what joins it to the snapshot.
    Other { client: Client, join: String },
}

impl Lease {
    fn client(&self) -> &Client {
        match self {
            Self::Own(own) => &own.client,
            Self::Other { client, .. } => client,
        }
    }
}

/// A query that runs at the server. Dropping it midway cancels the query there, and frees the connection only
/// when the cancel has arrived, so that it cannot hit what is asked next.
struct Running {
    connect: Connect,
    ending: Arc<AtomicBool>,
    query: Option<(CancelToken, Lease)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((token, lease)) = self.query.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connect = self.connect.clone();
        let ending = matches!(lease, Lease::Own(_)).then(|| Arc::clone(&self.ending));
        if let Some(ending) = &ending {
            ending.store(true, Ordering::Release);
        }
        runtime.spawn(async move {
            connect.cancel(token).await;
            drop(lease);
            if let Some(ending) = ending {
                ending.store(false, Ordering::Release);
            }
        });
    }
}

struct Reading {
    chunks: Pin<Box<CopyOutStream>>,
    decoder: CopyDecoder,
    running: Running,
}

impl Reading {
    /// The next batch; `None` as state ends the stream.
    async fn next(state: Option<Self>) -> Option<(Result<RecordBatch>, Option<Self>)> {
        let mut this = state?;
        match this.step().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(this))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn step(&mut self) -> Result<Option<RecordBatch>> {
        while self.running.query.is_some() {
            match self.chunks.next().await {
                Some(Ok(chunk)) => {
                    if let Some(batch) = self.decoder.feed(&chunk)? {
                        return Ok(Some(batch));
                    }
                }
                // Either way the query has ended, and there is nothing to cancel.
                Some(Err(failure)) => {
                    self.running.query = None;
                    return Err(error(failure));
                }
                None => {
                    self.running.query = None;
                    return self.decoder.finish();
                }
            }
        }
        Ok(None)
    }
}
