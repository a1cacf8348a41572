//! BigQuery as a destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use google_cloud_bigquery_v2::model::Table;
use serde_json::{Map, Value, json};
use transload_core::connector::{
    CursorFilter, Destination, Extent, LoadPlan, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange,
    PrepareOutcome, ServerInfo, WriteMode,
};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{
    BigQueryType, ColumnSchema, Mode, TableCheck, TargetColumn, TargetRef, TargetTable, Warning,
};
use transload_core::{Error, ErrorKind, Result, ResultExt as _};

use crate::commit::records_of;
use crate::config::Way;
use crate::connect::Client;
use crate::gcs::Bucket;
use crate::limits::Recent;
use crate::load::{Load, safe_id, staging_prefix};
use crate::prune::Range;
use crate::sql::{self, LOADS_TABLE};
use crate::types;
use crate::writer::{Claim, Mode as LoadMode, Writer};
use crate::{encode, evolve, figures, filter, jobs, limits};

/// Pages of table names that a load looks through for what dead loads left.
const CLEAN_PAGES: usize = 5;

/// An opened BigQuery connection that tables are loaded into.
#[derive(Debug)]
pub(crate) struct BigQueryDestination {
    client: Client,
    /// Datasets that are known to have the table of load records.
    recorded: Mutex<BTreeSet<String>>,
    /// How often targets were loaded lately, as `last_load` saw it, so that planning a load asks nothing more.
    recent: Mutex<BTreeMap<TargetRef, Recent>>,
}

impl BigQueryDestination {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, recorded: Mutex::default(), recent: Mutex::default() }
    }

    fn loads_path(&self, dataset: &str) -> String {
        sql::path(&self.client.project, dataset, LOADS_TABLE)
    }

    /// Creates the table of load records unless it is there.
    async fn ensure_loads_table(&self, dataset: &str) -> Result<()> {
        if self.recorded.lock().unwrap_or_else(PoisonError::into_inner).contains(dataset) {
            return Ok(());
        }
        if self.client.table(dataset, LOADS_TABLE).await?.is_none() {
            let text = |name: &str| json!({"name": name, "type": "STRING", "mode": "REQUIRED"});
            let body: Table = jobs::from_json(json!({
                "description": "Loads that transload committed into this dataset. Do not edit: the next \
                                run continues from here.",
                "schema": {"fields": [
                    text("load_id"), text("target_table"), text("job"), text("job_name"),
                    {"name": "sequence", "type": "INTEGER", "mode": "REQUIRED"},
                    text("record"),
                    {"name": "committed_at", "type": "TIMESTAMP", "mode": "REQUIRED"},
                ]},
                "clustering": {"fields": ["target_table", "job"]},
            }))?;
            if let Err(error) = self.client.create_table(dataset, LOADS_TABLE, body).await {
                // Two first loads into a dataset create it at the same moment, and one of them is refused.
                if self.client.table(dataset, LOADS_TABLE).await?.is_none() {
                    return Err(error);
                }
            }
        }
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).insert(dataset.to_owned());
        Ok(())
    }

    /// Deletes staging tables that earlier loads of the job left. A load of the same job that another process still
    /// runs loses its staging table and fails without effect: the newest run wins.
    async fn clean_staging(&self, dataset: &str, prefix: &str, bucket: Option<&Bucket>) {
        if let Some(bucket) = bucket
            && let Err(error) = bucket.clean(prefix).await
        {
            tracing::warn!(%error, "old objects stay in the bucket until the next load");
        }
        let names = match self.client.table_names(dataset, CLEAN_PAGES).await {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(dataset, %error, "cannot look for old staging tables; they expire by themselves");
                return;
            }
        };
        for name in names.iter().filter(|name| name.starts_with(prefix)) {
            if let Err(error) = self.client.delete_table(dataset, name).await {
                tracing::warn!(dataset, table = name, %error, "an old staging table stays until it expires");
            }
        }
    }

    async fn is_committed(
        &self,
        target: &TargetRef,
        created: i64,
        location: &str,
        load_id: &str,
    ) -> Result<bool> {
        let query = format!(
            "SELECT COUNT(*) FROM {} WHERE load_id = {} AND {}",
            self.loads_path(&target.dataset),
            sql::literal(load_id),
            records_of(&target.table, created),
        );
        let rows = self.client.select(location, &query).await?;
        // A load that was taken for committed would not be loaded.
        let count = rows.first().and_then(|row| row.first()).and_then(|cell| cell.as_deref());
        let count: Option<u64> = count.and_then(|count| count.parse().ok());
        count.map(|count| count > 0).ok_or_else(|| {
            Error::new(ErrorKind::Unreachable, "the loads of the table could not be counted")
                .hint("run the job again")
        })
    }

    /// The newest load of every job whose records meet a condition.
    async fn newest_loads(&self, target: &TargetRef, condition: &str) -> Result<Vec<LoadRecord>> {
        sql::check_target(target)?;
        let operation = "read last load";
        let Some(table) = self.client.table(&target.dataset, &target.table).await.operation(operation)?
        else {
            return Ok(Vec::new());
        };
        // One row of counts, which has no record, and the records.
        let query = format!(
            "SELECT CAST(NULL AS STRING) AS record, COUNTIF(target_table = {name}) AS of_table, COUNT(*) AS of_all \
             FROM {loads} WHERE committed_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR) UNION ALL \
             (SELECT record, 0, 0 FROM {loads} WHERE {condition} AND {records} \
             QUALIFY ROW_NUMBER() OVER (PARTITION BY job ORDER BY sequence DESC, committed_at DESC) = 1)",
            loads = self.loads_path(&target.dataset),
            records = records_of(&target.table, table.creation_time),
            name = sql::literal(&target.table),
        );
        let rows = match self.client.select(self.location(&table), &query).await {
            Ok(rows) => rows,
            // No load was ever committed into this dataset.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.operation(operation).with("target", target)),
        };
        let mut records = Vec::new();
        for row in rows {
            let mut cells = row.into_iter();
            if let Some(record) = cells.next().flatten() {
                records.push(record);
                continue;
            }
            let mut count = || cells.next().flatten().and_then(|text| text.parse().ok()).unwrap_or(0);
            let recent = Recent { target: count(), dataset: count() };
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone(), recent);
        }
        let parsed = records.iter().map(|record| serde_json::from_str(record));
        parsed.collect::<std::result::Result<_, _>>().map_err(|error| {
            Error::data("the last load record cannot be read")
                .with("target", target)
                .source_error(error)
                .hint("it was edited, or written by a newer version of transload")
        })
    }

    fn location<'a>(&'a self, table: &'a Table) -> &'a str {
        if table.location.is_empty() {
            self.client.config.location.as_deref().unwrap_or("US")
        } else {
            &table.location
        }
    }
}

#[async_trait]
impl Destination for BigQueryDestination {
    async fn check(&self) -> Result<ServerInfo> {
        self.client.server_info().await.operation("check")
    }

    fn check_options(&self, options: &Map<String, Value>) -> Result<()> {
        self.client.config.way(options).map(|_| ())
    }

    async fn ensure_dataset(&self, dataset: &str) -> Result<()> {
        sql::check_dataset(dataset)?;
        // Asked first, because creating takes a right that loading into an existing dataset does not.
        if self.client.dataset(dataset).await.operation("ensure dataset")?.is_none() {
            self.client.create_dataset(dataset).await.operation("ensure dataset")?;
        }
        Ok(())
    }

    async fn table(&self, target: &TargetRef) -> Result<Option<TargetTable>> {
        sql::check_target(target)?;
        let table = self.client.table(&target.dataset, &target.table).await.operation("read table")?;
        Ok(table.map(|table| {
            let (found, foreign) = types::target_table(target, &table);
            for column in foreign {
                tracing::warn!(%target, column = column.name, data_type = column.data_type, "a column of a type that transload does not load is left out");
            }
            found
        }))
    }

    async fn validate(&self, target: &TargetTable) -> Result<TableCheck> {
        sql::check_target(&target.target)?;
        Box::pin(evolve::validate(&self.client, target)).await.operation("validate")
    }

    async fn prepare(&self, target: &TargetTable, policy: OnSchemaChange) -> Result<PrepareOutcome> {
        sql::check_target(&target.target)?;
        Box::pin(evolve::prepare(&self.client, target, policy)).await.operation("prepare")
    }

    /// BigQuery has no condition for a deletion: rows that somebody else adds between the look and the deletion
    /// are lost with the table, which this run has created moments before.
    async fn withdraw(&self, target: &TargetRef) -> Result<bool> {
        sql::check_target(target)?;
        let found = self.client.table(&target.dataset, &target.table).await.operation("withdraw table")?;
        let Some(table) = found else { return Ok(true) };
        if table.num_rows.unwrap_or(0) > 0 || table.streaming_buffer.is_some() {
            return Ok(false);
        }
        self.client.delete_table(&target.dataset, &target.table).await.operation("withdraw table")?;
        Ok(true)
    }

    async fn plan_load(&self, plan: LoadPlan<'_>) -> Result<Vec<Warning>> {
        limits::check_partitions(plan)?;
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = recent.get(&plan.target.target).copied().unwrap_or_default();
        Ok(recent.warning(&plan.target.target).into_iter().collect())
    }

    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>> {
        Ok(self.newest_loads(target, &format!("job = {}", sql::literal(job))).await?.pop())
    }

    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>> {
        self.newest_loads(target, &format!("job_name = {}", sql::literal(job_name))).await
    }

    async fn figures(
        &self,
        target: &TargetTable,
        extent: Extent<'_>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        let name = &target.target;
        sql::check_target(name)?;
        let operation = "compute figures";
        let table = self.client.table(&name.dataset, &name.table).await.operation(operation)?;
        let table = table.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the target table does not exist").with("target", name)
        })?;
        let schema = target.arrow_schema();
        let columns: Vec<_> = target
            .columns
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| {
                figures::measured(&column.name, &column.data_type, column.mode, field.data_type(), level)
            })
            .collect();
        let mut conditions: Vec<String> = evolve::every_partition(&table, "").into_iter().collect();
        let window =
            extent.window.map(|window| window_condition(window, extent.hi_open, target)).transpose()?;
        conditions.extend(window.flatten());
        conditions.extend(extent.unmarked_in.map(|mark| format!("{} IS NULL", sql::quote(mark))));
        let mut from = sql::path(&self.client.project, &name.dataset, &name.table);
        if !conditions.is_empty() {
            from = format!("{from} WHERE {}", conditions.join(" AND "));
        }
        let figures = figures::figures(&self.client, self.location(&table), &from, &columns).await;
        figures.operation(operation).map_err(|error| error.with("target", name))
    }

    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>> {
        let target = request.target.target.clone();
        let operation = "begin load";
        sql::check_target(&target)?;
        let claim = Claim::take(self.client.place_of(&target.dataset, &target.table))?;
        let table = self.client.table(&target.dataset, &target.table).await.operation(operation)?;
        let table = table.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the target table does not exist")
                .operation(operation)
                .with("target", &target)
                .hint("prepare the table before loading into it")
        })?;
        let mode = load_mode(&request, &table)?;
        let location = self.location(&table).to_owned();
        let staging_dataset =
            self.client.config.staging_dataset.clone().unwrap_or_else(|| target.dataset.clone());
        let prefix = staging_prefix(&self.client.project, &target, &request.job);
        let known = async {
            self.ensure_loads_table(&target.dataset).await?;
            self.is_committed(&target, table.creation_time, &location, &request.load_id).await
        };
        let way = self.client.config.way(&request.options)?;
        let bucket = Bucket::of(&self.client, &way)?;
        let clean = self.clean_staging(&staging_dataset, &prefix, bucket.as_ref());
        let (already, ()) = futures::join!(known, clean);
        let already = already.operation(operation).with("target", &target)?;
        let place = Place {
            client: &self.client,
            location,
            table: &table,
            prefix,
            dataset: staging_dataset,
            storage_write: way == Way::StorageWrite,
            load_id: request.load_id,
        };
        let mut memory = request.memory_budget;
        let columns = request.target.columns;
        let keys = match &mode {
            LoadMode::Merge { key, deletes, .. } if deletes.missing.is_some() => {
                // Keys are small, and come when the rows are nearly done.
                memory -= memory / 4;
                let columns = key.iter().map(|index| columns[*index].clone()).collect();
                let bucket = Bucket::of(&self.client, &way)?;
                Some(place.load(&target, columns, false, bucket, request.memory_budget / 4))
            }
            _ => None,
        };
        let load = Arc::new(place.load(&target, columns, mode.is_merge(), bucket, memory));
        Ok(Box::new(Writer::start(load, keys, mode, already, claim)))
    }
}

/// Where the staging tables of a load are made.
struct Place<'a> {
    client: &'a Client,
    location: String,
    table: &'a Table,
    prefix: String,
    dataset: String,
    storage_write: bool,
    load_id: String,
}

impl Place<'_> {
    /// One of them; `ordered` says that the order of its rows counts.
    fn load(
        &self,
        target: &TargetRef,
        columns: Vec<TargetColumn>,
        ordered: bool,
        bucket: Option<Bucket>,
        memory: usize,
    ) -> Load {
        let nonce = format!("{:016x}", rand::random::<u64>());
        let staging = types::staging_columns(&columns, ordered);
        Load {
            client: self.client.clone(),
            location: self.location.clone(),
            created: self.table.creation_time,
            every_partition: evolve::every_partition(self.table, "t."),
            stage_schema: encode::stage_schema(&staging),
            staging,
            staging_table: format!("{}{}_{nonce}", self.prefix, safe_id(&self.load_id)),
            staging_dataset: self.dataset.clone(),
            nonce,
            staged: AtomicBool::new(false),
            target: target.clone(),
            load_id: self.load_id.clone(),
            memory,
            storage_write: self.storage_write,
            bucket,
            objects: Mutex::default(),
            columns,
        }
    }
}

/// The rows of a window; `None` where that is every row.
fn window_condition(window: &CursorFilter, hi_open: bool, target: &TargetTable) -> Result<Option<String>> {
    let schema = target.arrow_schema();
    let found = target.columns.iter().zip(schema.fields());
    let mut found = found.filter(|(column, _)| column.name.eq_ignore_ascii_case(&window.column));
    let (column, field) =
        found.next().ok_or_else(|| Error::internal("the window is over a column that is not loaded"))?;
    let mut cursor = ColumnSchema::new(&column.name, column.data_type.to_string(), field.data_type().clone());
    cursor.bigquery_type = Some(column.data_type.clone());
    filter::condition(window, hi_open, &cursor)
}

fn load_mode(request: &LoadRequest, table: &Table) -> Result<LoadMode> {
    let target = &request.target;
    let index = |name: &str, role: &str| -> Result<usize> {
        let found = target.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        let index = found.ok_or_else(|| {
            Error::config(format!("the {role} `{name}` is not a column of the target"))
                .with("target", &target.target)
                .hint("use the column's name at the destination")
        })?;
        let column = &target.columns[index];
        let kind = &column.data_type;
        let unordered = matches!(
            kind,
            BigQueryType::Json
                | BigQueryType::Geography
                | BigQueryType::Interval
                | BigQueryType::Range(_)
                | BigQueryType::Record(_)
        );
        let inexact = role == "key" && *kind == BigQueryType::Float64;
        if unordered || inexact || column.mode == Mode::Repeated {
            return Err(Error::new(
                ErrorKind::TypeMapping,
                format!("the {role} `{name}` cannot be compared"),
            )
            .with("target", &target.target)
            .with("type", kind)
            .hint("BigQuery compares no JSON, GEOGRAPHY, RECORD, array, and no FLOAT64 as a key"));
        }
        Ok(index)
    };
    match &request.mode {
        WriteMode::Append => Ok(LoadMode::Append),
        WriteMode::Replace => Ok(LoadMode::Replace),
        WriteMode::Merge { key, order_by } => {
            if key.is_empty() {
                return Err(Error::config("a merge needs a key").with("target", &target.target));
            }
            let key = key.iter().map(|name| index(name, "key")).collect::<Result<Vec<_>>>()?;
            Ok(LoadMode::Merge {
                ranges: Range::of(table, &target.columns, &key),
                key,
                order_by: order_by.as_deref().map(|name| index(name, "order column")).transpose()?,
                deletes: request.deletes.clone(),
            })
        }
        _ => Err(Error::unsupported("BigQuery does not know this way of writing")),
    }
}
