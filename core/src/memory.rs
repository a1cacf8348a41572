//! A connector in this process's memory: for tests, examples and trying things out.
//!
//! Type `memory`; the option `path` names a store, so that several can live beside each other. Tables are
//! gone when the last clone of the [`Memory`] value is.

mod merge;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::batch::{BatchStream, SAMPLE_BYTES, batch_bytes, split_by_bytes, spread};
use crate::connection::Connection;
use crate::connector::{
    Capability, Category, Connector, Credentialed, CursorSummary, Descriptor, Destination, Extent,
    KeyComparison, LoadOutcome, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, PrepareOutcome,
    ReadPlan, ReadSession, SchemaInfo, ServerInfo, Source, Split, TableInfo, TableKind, WriteMode,
    newest_by_job,
};
use crate::error::{Error, ErrorKind, Result};
use crate::proof::{Fold, ProofLevel, TableFigures};
use crate::schema::{ColumnSchema, CursorValue, TableRef, TableSchema, TargetRef, TargetTable};

/// The connector. Clones share their tables.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
/// use transload_core::memory::Memory;
///
/// let memory = Memory::default();
/// let ids = Arc::new(Int64Array::from(vec![1, 2])) as _;
/// memory.put("", "raw", "orders", RecordBatch::try_from_iter([("id", ids)])?)?;
/// assert_eq!(memory.rows("", "raw", "orders"), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Store>>>);

/// Options of a memory connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct MemoryConfig {
    /// Name of the store. Default: the empty name.
    #[serde(default)]
    pub path: String,
}

type Store = BTreeMap<TargetRef, StoredTable>;

#[derive(Debug, Clone)]
struct StoredTable {
    table: TableSchema,
    target: Option<TargetTable>,
    batch: RecordBatch,
    loads: Vec<LoadRecord>,
    loading: bool,
}

impl StoredTable {
    /// A table that was put in as Arrow and not prepared by a job.
    fn of_batch(key: &TargetRef, batch: RecordBatch) -> Self {
        let columns = batch.schema().fields().iter().map(|field| ColumnSchema::from_field(field)).collect();
        let table = TableSchema::new(TableRef::new(&key.dataset, &key.table), columns);
        Self { table, target: None, batch, loads: Vec::new(), loading: false }
    }

    fn prepared(target: TargetTable) -> Self {
        let batch = RecordBatch::new_empty(target.arrow_schema());
        let mut stored = Self::of_batch(&target.target, batch);
        stored.target = Some(target);
        stored
    }
}

impl Memory {
    fn stores(&self) -> MutexGuard<'_, BTreeMap<String, Store>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a table in, in place of one with the same name.
    ///
    /// # Errors
    /// None today; the signature leaves room for limits.
    pub fn put(&self, store: &str, dataset: &str, table: &str, batch: RecordBatch) -> Result<()> {
        let key = TargetRef::new(dataset, table);
        let stored = StoredTable::of_batch(&key, batch);
        self.stores().entry(store.to_owned()).or_default().insert(key, stored);
        Ok(())
    }

    /// All rows of a table.
    #[must_use]
    pub fn get(&self, store: &str, dataset: &str, table: &str) -> Option<RecordBatch> {
        let stores = self.stores();
        Some(stores.get(store)?.get(&TargetRef::new(dataset, table))?.batch.clone())
    }

    /// Number of rows of a table.
    #[must_use]
    pub fn rows(&self, store: &str, dataset: &str, table: &str) -> Option<usize> {
        self.get(store, dataset, table).map(|batch| batch.num_rows())
    }

    fn open(&self, target: &Credentialed) -> Result<OpenMemory> {
        let config: MemoryConfig = target.connection.config()?;
        Ok(OpenMemory { memory: self.clone(), store: config.path })
    }
}

#[async_trait]
impl Connector for Memory {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::DESTINATION
            .and(Capability::SOURCE.with_schemas().with_snapshot().with_cursor().with_figures());
        let capability = Capability { durable: false, ..capability };
        Descriptor::new("memory", "Memory of this process", Category::Memory, capability)
            .options_of::<MemoryConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        connection.config::<MemoryConfig>().map(|_| ())
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.open(&target)?))
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        Ok(Arc::new(self.open(&target)?))
    }
}

#[derive(Debug, Clone)]
struct OpenMemory {
    memory: Memory,
    store: String,
}

impl OpenMemory {
    fn with_store<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        f(self.memory.stores().entry(self.store.clone()).or_default())
    }

    fn find(&self, table: &TableRef) -> Result<StoredTable> {
        let key = TargetRef::new(table.schema.as_deref().unwrap_or_default(), &table.name);
        self.with_store(|store| store.get(&key).cloned()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("table {table} does not exist in memory"))
                .with("table", table)
                .hint("list the tables with tables()")
        })
    }
}

fn version() -> ServerInfo {
    ServerInfo { version: format!("transload {}", crate::VERSION), tls: None }
}

#[async_trait]
impl Source for OpenMemory {
    async fn check(&self) -> Result<ServerInfo> {
        Ok(version())
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let mut names: Vec<String> =
            self.with_store(|store| store.keys().map(|key| key.dataset.clone()).collect());
        names.dedup();
        Ok(names.into_iter().map(|name| SchemaInfo { name, comment: None }).collect())
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let tables: Vec<TableInfo> = self.with_store(|store| {
            let wanted = store.iter().filter(|(key, _)| schema.is_none_or(|schema| key.dataset == schema));
            wanted
                .map(|(_, stored)| TableInfo {
                    rows_estimate: u64::try_from(stored.batch.num_rows()).ok(),
                    bytes: u64::try_from(batch_bytes(&stored.batch)).ok(),
                    ..TableInfo::new(stored.table.table.clone(), TableKind::Table)
                })
                .collect()
        });
        match schema {
            Some(schema) if tables.is_empty() => {
                Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist in memory"))
                    .hint("list the schemas with schemas()"))
            }
            _ => Ok(tables),
        }
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.find(table)?.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        // The stored batch is immutable, so a clone of it is the snapshot.
        Ok(Box::new(MemorySession(self.find(table)?)))
    }
}

#[derive(Debug)]
struct MemorySession(StoredTable);

impl MemorySession {
    /// The rows of a plan, without its limit.
    fn wanted(&self, plan: &ReadPlan) -> Result<RecordBatch> {
        plan.filter.as_ref().map_or_else(|| Ok(self.0.batch.clone()), |filter| filter.select(&self.0.batch))
    }

    fn column_index(&self, name: &str) -> Result<usize> {
        self.0.table.column(name)?;
        self.0.batch.schema().index_of(name).map_err(Into::into)
    }
}

#[async_trait]
impl ReadSession for MemorySession {
    fn table(&self) -> &TableSchema {
        &self.0.table
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let array = self.0.batch.column(self.column_index(column)?);
        let mut summary = CursorSummary::default();
        for row in 0..array.len() {
            summary.add(CursorValue::from_array(array, row)?);
        }
        Ok(summary)
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        let sample = spread(&self.0.batch, rows)?;
        // Wide rows: fewer of them, but still from everywhere.
        let (bytes, found) = (batch_bytes(&sample), sample.num_rows());
        if bytes <= SAMPLE_BYTES {
            return Ok(sample);
        }
        let sample = spread(&sample, found / bytes.div_ceil(SAMPLE_BYTES))?;
        let piece = split_by_bytes(&sample, SAMPLE_BYTES).next();
        Ok(piece.unwrap_or(sample))
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        self.0.table.project(&plan.columns)?;
        Ok(vec![Split { index: 0, plan: plan.clone(), part: serde_json::Value::Null }])
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        let plan = &split.plan;
        let schema = self.0.table.arrow_schema_of(&plan.columns)?;
        let wanted = self.wanted(plan)?;
        let columns: Vec<_> =
            schema.fields().iter().map(|field| self.column_index(field.name())).collect::<Result<_>>()?;
        let limit = plan.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let batch = wanted.project(&columns)?.slice(0, limit.min(wanted.num_rows()));
        let bytes = if plan.batch_bytes == 0 { crate::batch::BATCH_BYTES } else { plan.batch_bytes };
        let pieces: Vec<_> = split_by_bytes(&batch, bytes).filter(|b| b.num_rows() > 0).map(Ok).collect();
        Ok(Box::pin(stream::iter(pieces)))
    }

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let schema = self.0.table.arrow_schema_of(&plan.columns)?;
        figures(&self.wanted(plan)?, &schema, level)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Destination for OpenMemory {
    async fn check(&self) -> Result<ServerInfo> {
        Ok(version())
    }

    async fn ensure_dataset(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn table(&self, target: &TargetRef) -> Result<Option<TargetTable>> {
        Ok(self.with_store(|store| store.get(target).and_then(|stored| stored.target.clone())))
    }

    async fn prepare(&self, target: &TargetTable, policy: OnSchemaChange) -> Result<PrepareOutcome> {
        target.layout.refuse("memory")?;
        self.with_store(|store| match store.get_mut(&target.target) {
            Some(StoredTable { target: Some(existing), batch, table, .. }) => {
                let (outcome, evolved) = target.evolve(existing, policy)?;
                if evolved != *existing {
                    *batch = widen(batch, &evolved)?;
                    *table = StoredTable::prepared(evolved.clone()).table;
                    *existing = evolved;
                }
                Ok(outcome)
            }
            _ => {
                store.insert(target.target.clone(), StoredTable::prepared(target.clone()));
                Ok(PrepareOutcome { created: true, ..PrepareOutcome::default() })
            }
        })
    }

    async fn withdraw(&self, target: &TargetRef) -> Result<bool> {
        Ok(self.with_store(|store| {
            let untouched = |stored: &&StoredTable| {
                stored.loads.is_empty() && !stored.loading && stored.batch.num_rows() == 0
            };
            store.get(target).filter(untouched).is_some() && store.remove(target).is_some()
        }))
    }

    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>> {
        Ok(self.with_store(|store| {
            let loads = store.get(target)?.loads.iter().filter(|load| load.job == job);
            loads.max_by_key(|load| load.sequence).cloned()
        }))
    }

    async fn figures(
        &self,
        target: &TargetTable,
        extent: Extent<'_>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        let stored = self.with_store(|store| store.get(&target.target).map(|stored| stored.batch.clone()));
        let stored = stored.ok_or_else(|| not_prepared(&target.target))?;
        figures(&extent.select(&stored)?, &target.arrow_schema(), level)
    }

    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>> {
        Ok(self.with_store(|store| {
            let loads = store.get(target).map(|stored| stored.loads.as_slice()).unwrap_or_default();
            newest_by_job(loads.iter().filter(|load| load.job_name == job_name).cloned())
        }))
    }

    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>> {
        self.with_store(|store| {
            let stored =
                store.get_mut(&request.target.target).ok_or_else(|| not_prepared(&request.target.target))?;
            if std::mem::replace(&mut stored.loading, true) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("another load into {} is in progress", request.target.target),
                )
                .hint("wait for it to end"));
            }
            Ok(())
        })?;
        Ok(Box::new(MemoryWriter {
            open: self.clone(),
            request,
            batches: Mutex::default(),
            keys: Mutex::default(),
        }))
    }
}

/// Of the columns that a schema names, wherever they stand.
fn figures(batch: &RecordBatch, schema: &SchemaRef, level: ProofLevel) -> Result<TableFigures> {
    let places = schema.fields().iter().map(|field| batch.schema_ref().index_of(field.name()));
    let mut fold = Fold::new(schema, level);
    fold.add(&batch.project(&places.collect::<std::result::Result<Vec<_>, _>>()?)?)?;
    Ok(fold.finish())
}

fn not_prepared(target: &TargetRef) -> Error {
    Error::new(ErrorKind::NotFound, format!("table {target} does not exist in memory"))
        .hint("call prepare first")
}

/// The batch with the columns of `target`, in its order; new ones are NULL.
fn widen(batch: &RecordBatch, target: &TargetTable) -> Result<RecordBatch> {
    let schema = target.arrow_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => arrow_array::new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[derive(Debug)]
struct MemoryWriter {
    open: OpenMemory,
    request: LoadRequest,
    batches: Mutex<Vec<RecordBatch>>,
    /// Those that the source has.
    keys: Mutex<Vec<RecordBatch>>,
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.open.with_store(|store| {
            if let Some(stored) = store.get_mut(&self.request.target.target) {
                stored.loading = false;
            }
        });
    }
}

#[async_trait]
impl LoadWriter for MemoryWriter {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }

    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(keys);
        Ok(())
    }

    async fn compare_keys(&self) -> Result<KeyComparison> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.with_store(|store| {
            let target = &self.request.target.target;
            let stored = store.get(target).ok_or_else(|| not_prepared(target))?;
            Ok(merge::compare(&stored.batch, &self.request, &keys)?.0)
        })
    }

    async fn commit(self: Box<Self>, mut record: LoadRecord) -> Result<LoadOutcome> {
        let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        let batches = std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner));
        let incoming = concat_batches(&self.request.target.arrow_schema(), &batches)?;
        self.open.with_store(|store| {
            let target = &self.request.target.target;
            let stored = store.get_mut(target).ok_or_else(|| not_prepared(target))?;
            if stored.loads.iter().any(|load| load.load_id == record.load_id) {
                return Ok(LoadOutcome { already_committed: true, ..LoadOutcome::default() });
            }
            let overtaken = |load: &LoadRecord| load.job == record.job && load.sequence >= record.sequence;
            if self.request.mode != WriteMode::Replace && stored.loads.iter().any(overtaken) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "another load of this job was committed meanwhile",
                )
                .retryable(true)
                .hint("run the job again; make sure that only one run at a time loads a table"));
            }
            let schema = stored.batch.schema();
            let full = stored.target.clone().unwrap_or_else(|| self.request.target.clone());
            let incoming = widen(&incoming, &full)?;
            let rows = u64::try_from(incoming.num_rows()).unwrap_or(u64::MAX);
            let mut outcome = LoadOutcome { inserted: rows, ..LoadOutcome::default() };
            outcome.bytes = u64::try_from(batch_bytes(&incoming)).unwrap_or(u64::MAX);
            stored.batch = match &self.request.mode {
                WriteMode::Replace => {
                    stored.loads.clear();
                    incoming
                }
                WriteMode::Append => concat_batches(&schema, [&stored.batch, &incoming])?,
                WriteMode::Merge { key, order_by } => {
                    let (_, kept) = merge::compare(&stored.batch, &self.request, &keys)?;
                    let there = kept.apply(&stored.batch, key, &incoming, &mut outcome)?;
                    let removed = self.request.deletes.removed();
                    merge::merge(&there, &incoming, key, order_by.as_deref(), removed, &mut outcome)?
                }
            };
            (record.deleted, record.marked) = (outcome.deleted, outcome.marked);
            stored.loads.push(record);
            Ok(outcome)
        })
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
