//! One read session: a snapshot, and reads inside it.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::{Value, json};
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, BatchStream, SAMPLE_BYTES, spread};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::TableSchema;
use transload_core::{Error, Result};
use transload_sql::figures::{COLUMNS_PER_QUERY, parse};

use crate::catalog::Described;
use crate::connect::{Connect, Opened, Peer};
use crate::copy::CopyDecoder;
use crate::dialect::Dialect;
use crate::figures::figures as figures_of;
use crate::reading::{Lease, Own};
use crate::select::{batch_bytes_of, collect_sample, summary};

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

impl PostgresSession {
    pub(crate) fn new(connect: Connect, opened: Opened, described: Described) -> Self {
        let peer = opened.peer().clone();
        let own = Own::new(connect.clone(), opened);
        Self { connect, peer, described, own }
    }

    /// `COPY (SELECT ...) TO STDOUT` for a plan and a range of pages. `sampled` is a TABLESAMPLE clause.
    fn copy_sql(&self, plan: &ReadPlan, pages: &Pages, sampled: &str) -> Result<String> {
        let select = self.described.select_sql(Dialect::Postgres, plan, pages.conditions(), sampled)?;
        Ok(format!("COPY ({select}) TO STDOUT (FORMAT binary)"))
    }

    fn decoder(&self, plan: &ReadPlan) -> Result<CopyDecoder> {
        let (schema, wires) = self.described.wires(plan)?;
        Ok(CopyDecoder::new(schema, &wires, BATCH_ROWS, batch_bytes_of(plan)))
    }
}

/// A share of a table is chosen to hold this many times the rows that are wanted: its pages are drawn by chance, and one
/// that is just large enough is often too small.
const SAMPLED: f64 = 3.0;

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

    fn object(&self) -> Option<&str> {
        self.described.oid.as_deref()
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let (sql, schema, wires) = self.described.summary_sql(Dialect::Postgres, column)?;
        let decoder = CopyDecoder::new(schema, &wires, BATCH_ROWS, BATCH_BYTES);
        let sql = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
        let lease = Lease::Own(self.own.lock().await);
        summary(self.stream(&sql, decoder, lease).await?).await
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        for share in [self.sample_share(rows), None] {
            // What a share of the pages brings more than wanted is thinned out, not cut off at the end.
            let limit = if share.is_some() { rows.saturating_mul(8) } else { rows };
            let reading = self.read_sample(limit, share.as_deref()).await?;
            let (sample, full) = collect_sample(reading, &self.described, rows.div_ceil(2)).await?;
            // A share of the pages may hold too few rows; then the first ones do.
            if share.is_none() || full {
                return spread(&sample, rows);
            }
        }
        Err(Error::internal("no way to sample was left"))
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
        let snapshot = self.own.lock().await.exported_snapshot().await?;
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

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let columns = self.described.measured(plan, level)?;
        let mut figures = TableFigures::default();
        for part in columns.chunks(COLUMNS_PER_QUERY) {
            let (sql, schema, wires) = self.described.figures_sql(plan, part)?;
            let decoder = CopyDecoder::new(schema, &wires, BATCH_ROWS, BATCH_BYTES);
            let sql = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            let lease = Lease::Own(self.own.lock().await);
            let answer = figures_of(self.stream(&sql, decoder, lease).await?).await?;
            let (rows, columns) = parse(&answer, part)?;
            figures.rows = rows;
            figures.columns.extend(columns);
        }
        Ok(figures)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.own.close().await
    }
}

impl PostgresSession {
    /// How a table is sampled that has more rows than wanted: by pages, or, where there are few pages, by rows.
    /// [`SAMPLED`] times as many as wanted, or what the bytes of a sample hold.
    fn sample_share(&self, rows: usize) -> Option<String> {
        let estimate = self.described.table.rows_estimate.filter(|estimate| *estimate > 0)?;
        let pages = self.described.pages;
        let page_rows = estimate as f64 / pages.max(1) as f64;
        let affordable = (SAMPLE_BYTES / PAGE_BYTES) as f64 * page_rows;
        let percent = (rows as f64 * SAMPLED).min(affordable) / estimate as f64 * 100.0;
        if pages == 0 || rows as f64 >= estimate as f64 {
            return None;
        }
        let method = if pages > PAGES_WORTH_A_SPLIT { "SYSTEM" } else { "BERNOULLI" };
        Some(format!(" TABLESAMPLE {method} ({:.7})", percent.clamp(0.000_001, 100.0)))
    }

    /// Up to `rows` rows: of a share of the pages, spread over the table, or the first ones.
    async fn read_sample(&self, rows: usize, share: Option<&str>) -> Result<BatchStream> {
        let plan = ReadPlan::sample(rows);
        let sql = self.copy_sql(&plan, &Pages::ALL, share.unwrap_or_default())?;
        let lease = Lease::Own(self.own.lock().await);
        self.stream(&sql, self.decoder(&plan)?, lease).await
    }

    async fn stream(&self, sql: &str, decoder: CopyDecoder, mut lease: Lease) -> Result<BatchStream> {
        let copy = lease.copy(sql, decoder).await?;
        self.own.stream(copy, lease).await
    }

    /// The session's own connection if it is free, else a further one that joins the snapshot.
    async fn lease(&self, part: &Value) -> Result<Lease> {
        if let Some(own) = self.own.free().await {
            return Ok(Lease::Own(own));
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
