//! One read session: a snapshot, and reads inside it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use transload_core::batch::{BatchStream, SAMPLE_BYTES, collect_upto, spread};
use transload_core::connector::{CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::TableSchema;
use transload_core::{Error, Result};
use transload_sql::figures::{COLUMNS_PER_QUERY, parse};
use transload_sql::ranges::{BYTES_WORTH_A_SPLIT, Ranges, even, statements};
use transload_sql::wire::{Connection as _, Lease, Pool};

use crate::catalog::Described;
use crate::channel::Answer;
use crate::connect::Opened;
use crate::error::{number_of, snapshot_lost};
use crate::reading::{Busy, Reading};
use crate::rows::RowDecoder;
use crate::snapshot::END;
use crate::splits::Key;

/// Places of a table from which a sample is taken.
const SAMPLE_PLACES: u64 = 8;

/// The session's connections.
#[derive(Clone)]
struct Connections {
    /// Whether every connection holds a snapshot, which ends with its transaction.
    snapshot: bool,
    pool: Pool<Opened>,
}

pub(crate) struct MssqlSession {
    described: Arc<Described>,
    connections: Connections,
    /// Why what it reads is not of one moment; `None` if it is.
    no_snapshot: Option<&'static str>,
}

impl std::fmt::Debug for MssqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MssqlSession").field("table", &self.described.quoted).finish_non_exhaustive()
    }
}

impl Connections {
    /// The session's first connection, once it is free, for questions.
    async fn ask(&self, sql: &str) -> Result<Vec<Answer>> {
        let lease = self.pool.first().await?;
        self.check(&lease)?;
        let mut busy = Busy::new(lease, self.pool.ending());
        let answers = busy.channel()?.query(sql).await;
        busy.done();
        answers
    }

    /// Whether what is asked now is of the session's moment.
    fn check(&self, lease: &Lease<Opened>) -> Result<()> {
        let lost = self.snapshot && !lease.is_lost() && !lease.channel.is_in_transaction();
        if lost { Err(snapshot_lost()) } else { Ok(()) }
    }

    /// The batches of a query.
    async fn read(&self, sql: String, decoder: RowDecoder) -> Result<BatchStream> {
        let lease = self.pool.lease().await?;
        self.check(&lease)?;
        Reading::begin(&sql, decoder, lease, self.pool.ending()).await?.stream().await
    }
}

impl MssqlSession {
    pub(crate) fn new(opened: Vec<Opened>, described: Described, no_snapshot: Option<&'static str>) -> Self {
        let connections = Connections { snapshot: no_snapshot.is_none(), pool: Pool::new(opened) };
        Self { described: Arc::new(described), connections, no_snapshot }
    }

    /// A stream of each statement after the other.
    async fn chained(&self, plan: &ReadPlan, conditions: Vec<Vec<String>>) -> Result<BatchStream> {
        let mut statements = Vec::new();
        for conditions in conditions {
            let sql = self.described.select_sql(plan, conditions)?;
            statements.push((sql, self.described.decoder(plan)?));
        }
        let mut statements = statements.into_iter();
        let Some((sql, decoder)) = statements.next() else {
            return Err(Error::internal("a split without a statement"));
        };
        // Errors of the first are told here.
        let first = self.connections.read(sql, decoder).await?;
        if statements.len() == 0 {
            return Ok(first);
        }
        let connections = self.connections.clone();
        let rest = stream::iter(statements.map(Ok)).and_then(move |(sql, decoder)| {
            let connections = connections.clone();
            async move { connections.read(sql, decoder).await }
        });
        Ok(Box::pin(first.chain(rest.try_flatten())))
    }

    /// Where a plan is cut into so many ranges.
    async fn ranges(&self, plan: &ReadPlan, key: &Key<'_>, count: u64) -> Result<Ranges> {
        let summary = self.cursor_summary_of(key).await?;
        let Some(span) = summary.and_then(|summary| key.span(&summary, plan)) else { return Ok(Ranges::ALL) };
        // Inside a window nothing is known of how many rows it has.
        if plan.filter.as_ref().is_some_and(|filter| filter.lo.is_some()) {
            return Ok(key.ranges(even(span, count)));
        }
        // Servers that have no histograms, and users who may not see them, get ranges of even width.
        let cuts = match self.connections.ask(&key.histogram_sql(&self.described)?).await {
            Ok(answers) => match answers.last() {
                Some(answer) => key.cuts(answer, span, count)?,
                None => Vec::new(),
            },
            Err(error) if number_of(&error).is_some() && !error.is_retryable() => {
                tracing::debug!(%error, "a table is cut without its histogram");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(key.ranges(if cuts.is_empty() { even(span, count) } else { cuts }))
    }

    /// What the server says of a key.
    async fn cursor_summary_of(&self, key: &Key<'_>) -> Result<Option<CursorSummary>> {
        let answers = self.connections.ask(&self.described.summary_sql(key.name())?).await?;
        Ok(self.described.summary(key.name(), &answers).ok())
    }

    /// A sample from several places of a large table; `None` where there is no key to find them by.
    async fn spread_sample(&self, rows: usize) -> Result<Option<Vec<RecordBatch>>> {
        let estimate = self.described.table.rows_estimate.unwrap_or(0);
        let enough = usize::try_from(estimate).unwrap_or(usize::MAX) > rows.saturating_mul(4);
        let Some(key) = self.described.key_for(&ReadPlan::default()).filter(|_| enough) else {
            return Ok(None);
        };
        let places = usize::try_from(SAMPLE_PLACES).unwrap_or(1);
        let plan = ReadPlan::sample(rows.div_ceil(places));
        let summary = self.cursor_summary_of(&key).await?;
        let Some(span) = summary.and_then(|summary| key.span(&summary, &plan)) else { return Ok(None) };
        let mut batches = Vec::new();
        for split in key.ranges(even(span, SAMPLE_PLACES)).splits(places, &plan) {
            for conditions in self.described.conditions(&split.part)? {
                let stream = self.chained(&plan, vec![conditions]).await?;
                collect_upto(stream, &mut batches, SAMPLE_BYTES / places).await?;
            }
        }
        let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
        // Where keys lie in heaps, some places are empty.
        Ok((found >= rows / 2).then_some(batches))
    }
}

#[async_trait]
impl ReadSession for MssqlSession {
    fn table(&self) -> &TableSchema {
        &self.described.table
    }

    fn object(&self) -> Option<&str> {
        Some(&self.described.object)
    }

    fn no_snapshot(&self) -> Option<&str> {
        self.no_snapshot
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let answers = self.connections.ask(&self.described.summary_sql(column)?).await?;
        self.described.summary(column, &answers)
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let batches = match self.spread_sample(rows).await? {
            Some(batches) => batches,
            None => {
                let mut batches = Vec::new();
                let stream = self.chained(&ReadPlan::sample(rows), vec![Vec::new()]).await?;
                collect_upto(stream, &mut batches, SAMPLE_BYTES).await?;
                batches
            }
        };
        spread(&concat_batches(&self.described.table.arrow_schema(), &batches)?, rows)
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        // Unknown columns and impossible filters are told here, before anything is read.
        self.described.select_sql(plan, Vec::new())?;
        let most = usize::try_from(self.described.bytes / BYTES_WORTH_A_SPLIT).unwrap_or(usize::MAX).max(1);
        let count = plan.parallelism.max(1).min(most).min(self.connections.pool.size());
        let pieces = statements(self.described.table.rows_estimate).max(u64::try_from(count).unwrap_or(1));
        // A limit is for the table, not for each of its parts.
        let key = self
            .described
            .key_for(plan)
            // Without a snapshot one statement sees more of one moment than several would.
            .filter(|_| plan.limit.is_none() && pieces > 1 && self.no_snapshot.is_none());
        let ranges = match key {
            Some(key) => self.ranges(plan, &key, pieces).await?,
            None => Ranges::ALL,
        };
        Ok(ranges.splits(count, plan))
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        self.chained(&split.plan, self.described.conditions(&split.part)?).await
    }

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let columns = self.described.measured(plan, level)?;
        let mut figures = TableFigures::default();
        for part in columns.chunks(COLUMNS_PER_QUERY) {
            let answers = self.connections.ask(&self.described.figures_sql(plan, part)?).await?;
            let row = answers.last().and_then(|answer| answer.rows.first());
            let row = row.ok_or_else(|| Error::internal("an aggregate without a row"))?;
            let (rows, columns) = parse(row, part)?;
            figures.rows = rows;
            figures.columns.extend(columns);
        }
        Ok(figures)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // There is nothing to commit; ending the transaction tells whether the connection still lives. A read that
        // somebody still holds keeps its connection until it is dropped.
        for mut own in self.connections.pool.free().filter(|own| !own.is_lost()) {
            own.channel.query(END).await?;
        }
        Ok(())
    }
}
