//! What every destination must do.

mod deletes;
mod load;
mod merge;
mod prepare;
mod record;

use std::sync::Arc;

use transload_core::connector::{
    Deletes, Destination, LoadOutcome, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, WriteMode,
};
use transload_core::schema::{BigQueryType, Mode, TargetTable};

use crate::cell::{Cell, Row};
use crate::fixture::{Done, Failure};
use crate::suite::{Cases, Ctx};
use crate::table::{same_rows, target, target_forms, to_batch};

pub(crate) fn add(cases: &mut Cases) {
    if cases.subject().destination.is_none() {
        return;
    }
    prepare::add(cases);
    load::add(cases);
    merge::add(cases);
    deletes::add(cases);
    record::add(cases);
}

/// Memory that the suite gives to writers.
const BUDGET: usize = 32 * 1024 * 1024;

/// A table in preparation and the destination it is in.
struct Loading {
    ctx: Arc<Ctx>,
    destination: Arc<dyn Destination>,
    table: TargetTable,
}

impl Loading {
    /// Prepares the table `(id INT64, what STRING, at INT64)`.
    async fn prepared(ctx: &Arc<Ctx>) -> Done<Self> {
        let columns = [
            ("id", BigQueryType::Int64, Mode::Nullable),
            ("what", BigQueryType::String, Mode::Nullable),
            ("at", BigQueryType::Int64, Mode::Nullable),
        ];
        Self::prepare(ctx, target(&ctx.dataset(), "loaded", &columns)).await
    }

    async fn prepare(ctx: &Arc<Ctx>, table: TargetTable) -> Done<Self> {
        let destination = ctx.open_destination().await?;
        destination.ensure_dataset(&table.target.dataset).await?;
        destination.prepare(&table, OnSchemaChange::Evolve).await?;
        Ok(Self { ctx: Arc::clone(ctx), destination, table })
    }

    async fn begin(&self, mode: WriteMode, load_id: &str) -> transload_core::Result<Box<dyn LoadWriter>> {
        self.begin_deleting(mode, Deletes::default(), load_id).await
    }

    async fn begin_deleting(
        &self,
        mode: WriteMode,
        deletes: Deletes,
        load_id: &str,
    ) -> transload_core::Result<Box<dyn LoadWriter>> {
        let (target, load_id) = (self.table.clone(), load_id.to_owned());
        let (job, options) = ("a".to_owned(), serde_json::Map::new());
        self.destination
            .begin_load(LoadRequest { target, mode, deletes, load_id, job, memory_budget: BUDGET, options })
            .await
    }

    async fn write(&self, writer: &dyn LoadWriter, rows: &[Row]) -> Done {
        Ok(writer.write(to_batch(&self.table.arrow_schema(), rows)?).await?)
    }

    /// A whole load of one batch.
    async fn load(&self, mode: WriteMode, rows: &[Row], record: LoadRecord) -> Done<LoadOutcome> {
        let writer = self.begin(mode, &record.load_id).await?;
        self.write(writer.as_ref(), rows).await?;
        Ok(writer.commit(record).await?)
    }

    /// Fails unless the table holds exactly these rows, as its readers see it.
    async fn holds(&self, what: &str, rows: &[Row]) -> Done {
        let read = self.ctx.loaded()?.read(&self.table).await.map_err(|f| f.during("read the table back"))?;
        let read =
            read.ok_or_else(|| Failure::new(format!("{what}: table {} is not there", self.table.target)))?;
        same_rows(&read, rows, &target_forms(&self.table)).map_err(|failure| failure.during(what))
    }
}

/// A record of a job's load.
fn record(job: &str, sequence: u64, rows: usize) -> LoadRecord {
    LoadRecord {
        load_id: format!("{sequence:06}-{job}"),
        job: job.to_owned(),
        job_name: format!("job {job}"),
        sequence,
        strategy: "append".to_owned(),
        rows: u64::try_from(rows).unwrap_or(u64::MAX),
        committed_at: "2024-01-31T10:00:00Z".to_owned(),
        engine: transload_core::VERSION.to_owned(),
        ..LoadRecord::default()
    }
}

/// Rows `(id, what, at)`.
fn rows(values: &[(i64, &str, i64)]) -> Vec<Row> {
    values.iter().map(|(id, what, at)| vec![Cell::Int(*id), Cell::text(*what), Cell::Int(*at)]).collect()
}
