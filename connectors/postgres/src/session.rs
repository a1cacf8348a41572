//! One read session: a snapshot, and reads inside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use futures::{TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, BatchStream, SAMPLE_BYTES, batch_bytes, spread};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::schema::{ColumnSchema, CursorValue, TableSchema};
use transload_core::{Error, Result};

use crate::catalog::Described;
use crate::connect::{Connect, Opened, Peer, text};
use crate::copy::CopyDecoder;
use crate::copy_stream::CopyStream;
use crate::filter::{comparable, condition, select};
use crate::types::{ReadAs, Wire};

/// How long a cancelled query may take to end.
const CANCELLING: Duration = Duration::from_secs(10);

/// Fewer pages than this are not worth a second connection (8 MiB).
const PAGES_WORTH_A_SPLIT: u64 = 1024;

/// Bytes of a page, as nearly every server is built.
const PAGE_BYTES: usize = 8192;

pub(crate) struct PostgresSession {
    connect: Connect,
    peer: Peer,
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
    opened: Opened,
    /// Whether the savepoint is set that reads go back to.
    saved: bool,
    /// The exported snapshot, once there is one.
    snapshot: Option<String>,
}

impl OwnConnection {
    /// Begins a COPY. A read that failed or was cancelled aborts its transaction, and the snapshot would be
    /// lost with it; a savepoint ahead of each read keeps both.
    async fn copy(&mut self, sql: &str, decoder: CopyDecoder) -> Result<CopyStream> {
        let ahead = match std::mem::replace(&mut self.saved, true) {
            false => "SAVEPOINT reading",
            true => "ROLLBACK TO SAVEPOINT reading",
        };
        CopyStream::begin(&self.opened, &format!("{ahead}; {sql}"), decoder).await
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
        let results = self.opened.batch(&format!("{leave}SELECT pg_export_snapshot() AS id")).await?;
        let row = results.last().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Error::internal("no snapshot was exported"))?;
        Ok(self.snapshot.insert(text(row, "id")?.to_owned()).clone())
    }
}

impl PostgresSession {
    pub(crate) fn new(connect: Connect, opened: Opened, described: Described) -> Self {
        let peer = opened.peer().clone();
        let connection = OwnConnection { opened, saved: false, snapshot: None };
        let own = Own { connection: Arc::new(Mutex::new(connection)), ending: Arc::default() };
        Self { connect, peer, described, own }
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
            list.push(select(&column.name, &read.select)?);
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

    fn decoder(&self, plan: &ReadPlan) -> Result<CopyDecoder> {
        let schema = self.described.table.arrow_schema_of(&plan.columns)?;
        let wires: Vec<_> = self.columns(&plan.columns)?.into_iter().map(|(_, read)| read.wire).collect();
        let bytes = if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes };
        Ok(CopyDecoder::new(schema, &wires, BATCH_ROWS, bytes))
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
        let decoder = CopyDecoder::new(Arc::new(Schema::new(fields)), &wires, BATCH_ROWS, BATCH_BYTES);
        let own = Arc::clone(&self.own.connection).lock_owned().await;
        let mut reading = Box::pin(self.stream(&sql, decoder, Lease::Own(own)).await?);
        let row = reading.try_next().await?.ok_or_else(|| Error::internal("an aggregate without a row"))?;
        while reading.try_next().await?.is_some() {}
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

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        for share in [self.sample_share(rows), None] {
            // What a share of the pages brings more than wanted is thinned out, not cut off at the end.
            let limit = if share.is_some() { rows.saturating_mul(4) } else { rows };
            let mut reading = self.read_sample(limit, share.as_deref()).await?;
            batches.clear();
            let (mut found, mut bytes) = (0, 0);
            while bytes < SAMPLE_BYTES
                && let Some(batch) = reading.try_next().await?
            {
                found += batch.num_rows();
                bytes += batch_bytes(&batch);
                batches.push(batch);
            }
            // A share of the pages may hold too few rows; then the first ones do.
            if share.is_none() || found > rows / 2 || bytes >= SAMPLE_BYTES {
                break;
            }
        }
        spread(&concat_batches(&self.described.table.arrow_schema(), &batches)?, rows)
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
        self.stream(&sql, self.decoder(&split.plan)?, lease).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // A read-only transaction has nothing to commit; ending it tells whether the connection still lives.
        // A read that somebody still holds keeps the connection until it is dropped.
        match self.own.connection.try_lock() {
            Ok(own) => own.opened.batch("ROLLBACK").await.map(|_| ()),
            Err(_) => Ok(()),
        }
    }
}

impl PostgresSession {
    /// How a table is sampled that has more rows than wanted: by pages, or, where there are few pages, by rows.
    /// About half more than wanted, or what the bytes of a sample hold.
    fn sample_share(&self, rows: usize) -> Option<String> {
        let estimate = self.described.table.rows_estimate.filter(|estimate| *estimate > 0)?;
        let pages = self.described.pages;
        let page_rows = estimate as f64 / pages.max(1) as f64;
        let affordable = (SAMPLE_BYTES / PAGE_BYTES) as f64 * page_rows;
        let percent = (rows as f64 * 1.5).min(affordable) / estimate as f64 * 100.0;
        if pages == 0 || percent >= 75.0 {
            return None;
        }
        let method = if pages > PAGES_WORTH_A_SPLIT { "SYSTEM" } else { "BERNOULLI" };
        Some(format!(" TABLESAMPLE {method} ({:.4})", percent.max(0.001)))
    }

    /// Up to `rows` rows: of a share of the pages, spread over the table, or the first ones.
    async fn read_sample(&self, rows: usize, share: Option<&str>) -> Result<BatchStream> {
        let plan = ReadPlan {
            limit: u64::try_from(rows).ok(),
            batch_bytes: SAMPLE_BYTES / 4,
            ..ReadPlan::default()
        };
        let sql = self.copy_sql(&plan, &Pages::ALL, share.unwrap_or_default())?;
        let own = Arc::clone(&self.own.connection).lock_owned().await;
        self.stream(&sql, self.decoder(&plan)?, Lease::Own(own)).await
    }

    async fn stream(&self, sql: &str, decoder: CopyDecoder, mut lease: Lease) -> Result<BatchStream> {
        let copy = match &mut lease {
            Lease::Own(own) => own.copy(sql, decoder).await?,
            Lease::Other { opened, join } => {
                CopyStream::begin(opened, &format!("{join}; {sql}"), decoder).await?
            }
        };
        let mut reading = Reading {
            running: Some((copy, lease)),
            connect: self.connect.clone(),
            ending: Arc::clone(&self.own.ending),
            runtime: Handle::current(),
        };
        // An error of the statement itself is told here and not with the first batch.
        let first = reading.next().await?;
        Ok(Box::pin(stream::try_unfold((first, reading), |(ahead, mut reading)| async move {
            let batch = match ahead {
                Some(batch) => Some(batch),
                None => reading.next().await?,
            };
            Ok(batch.map(|batch| (batch, (None, reading))))
        })))
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
        let opened = Box::new(self.connect.open_beside(&self.peer).await?);
        let join = self.connect.begin(Some(snapshot))?;
        Ok(Lease::Other { opened, join })
    }
}

/// The connection that a split is read over.
enum Lease {
    /// The session's own, locked for this read.
    Own(OwnedMutexGuard<OwnConnection>),
    /// A further one, with what joins it to the snapshot.
    Other { opened: Box<Opened>, join: String },
}

impl Lease {
    fn opened(&self) -> &Opened {
        match self {
            Self::Own(own) => &own.opened,
            Self::Other { opened, .. } => opened,
        }
    }
}

/// A query that runs at the server. Dropping it midway cancels the query there, and frees the connection only
/// when server and connection are done with it, so that the cancel cannot hit what is asked next.
struct Reading {
    running: Option<(CopyStream, Lease)>,
    connect: Connect,
    ending: Arc<AtomicBool>,
    /// The stream may be dropped by a thread that knows no runtime.
    runtime: Handle,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some((copy, _)) = &mut self.running else { return Ok(None) };
        let outcome = copy.next().await;
        if copy.is_over()
            && !matches!(outcome, Ok(Some(_)))
            && let Some((copy, _lease)) = self.running.take()
        {
            copy.end().await?;
        }
        outcome
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some((copy, lease)) = self.running.take() else { return };
        let connect = self.connect.clone();
        let ending = matches!(lease, Lease::Own(_)).then(|| Arc::clone(&self.ending));
        if let Some(ending) = &ending {
            ending.store(true, Ordering::Release);
        }
        self.runtime.spawn(async move {
            let (token, peer) = lease.opened().cancelling();
            connect.cancel(token, &peer).await;
            // If the server does not end the query, the connection is closed with `copy`.
            if let Ok(Err(error)) = tokio::time::timeout(CANCELLING, copy.end()).await {
                tracing::debug!(%error, "a cancelled query ended its connection");
            }
            drop(lease);
            if let Some(ending) = ending {
                ending.store(false, Ordering::Release);
            }
        });
    }
}
