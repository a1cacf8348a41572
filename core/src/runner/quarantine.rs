//! Values that did not fit go into a table of their own, by a load of its own that is committed before that
//! of the rows: whatever ends the run, no value is lost. RFC 10 tells why this needs nothing of destinations.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use arrow_select::concat::concat_batches;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::batch::batch_bytes;
use crate::connector::{
    BoundaryRows, Deletes, Destination, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, WriteMode,
};
use crate::error::{Error, ErrorKind, Result};
use crate::job::EtlJob;
use crate::schema::{
    AddedColumn, AddedColumns, AddedValue, Caster, MapperOptions, RejectPolicy, SchemaMapper, TargetRef,
    TargetTable, quarantine_table,
};

/// Bytes of values that wait to be written together.
const FLUSH_BYTES: usize = 256 * 1024;

/// The quarantine of one run.
pub(super) struct Quarantine {
    destination: Arc<dyn Destination>,
    target: TargetTable,
    on_schema_change: OnSchemaChange,
    options: Map<String, Value>,
    /// Adds load id and time.
    caster: Caster,
    /// Of the load that the values are kept out of.
    load_id: String,
    memory_budget: usize,
    record: LoadRecord,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: Option<Begun>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    rows: u64,
    /// Sum of the hashes of the rows, so that their order does not matter.
    digest: u128,
}

struct Begun {
    writer: Box<dyn LoadWriter>,
    load_id: String,
    last: Option<LoadRecord>,
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) table: TargetRef,
    pub(super) rows: u64,
}

impl Quarantine {
    /// Prepares for values that may come. A table that is there already is checked now; a missing one is
    /// created with the first value.
    pub(super) async fn plan(
        destination: &Arc<dyn Destination>,
        job: &EtlJob,
        load_id: &str,
        memory_budget: usize,
    ) -> Result<Self> {
        let source = quarantine_table();
        let added =
            |value, text: &str| AddedColumn { value, data_type: None, description: Some(text.to_owned()) };
        let added = AddedColumns::from([
            ("_load_id".to_owned(), added(AddedValue::LoadId, "the load that the value was kept out of")),
            ("_loaded_at".to_owned(), added(AddedValue::LoadedAt, "when this attempt at it began")),
        ]);
        let options = MapperOptions { detect_types: false, ..MapperOptions::default() };
        let mapping = SchemaMapper::new(options).with_added(added).map(&source, None)?;
        let target = mapping.target_table(job.quarantine_target());
        let on_schema_change = job.on_schema_change();
        if destination.table(&target.target).await?.is_some() {
            destination
                .prepare(&target, on_schema_change)
                .await
                .map_err(|error| other_table(error, &target))?;
        }
        let caster = Caster::new(&mapping, &source.arrow_schema(), RejectPolicy::Fail)?;
        let record = LoadRecord {
            job: job.identity(),
            job_name: job.name().to_owned(),
            strategy: "append".to_owned(),
            mapping_hash: mapping.hash(),
            engine: crate::VERSION.to_owned(),
            ..LoadRecord::default()
        };
        Ok(Self {
            destination: Arc::clone(destination),
            target,
            on_schema_change,
            options: job.destination_options().clone(),
            // The time of this attempt, which tells its values from those of an earlier one.
            caster: caster.for_load(load_id, Timestamp::now()),
            load_id: load_id.to_owned(),
            memory_budget,
            record,
            state: Mutex::default(),
        })
    }

    /// Keeps values: rows of [`quarantine_table`].
    pub(super) async fn write(&self, values: RecordBatch) -> Result<()> {
        let mut state = self.state.lock().await;
        state.rows += u64::try_from(values.num_rows()).unwrap_or(u64::MAX);
        state.digest = state.digest.wrapping_add(digest(&values));
        state.waiting_bytes += batch_bytes(&values);
        state.waiting.push(values);
        if state.waiting_bytes >= FLUSH_BYTES { self.flush(&mut state).await } else { Ok(()) }
    }

    async fn flush(&self, state: &mut State) -> Result<()> {
        let waiting = std::mem::take(&mut state.waiting);
        state.waiting_bytes = 0;
        let Some(first) = waiting.first() else { return Ok(()) };
        let (batch, _) = self.caster.cast(&concat_batches(&first.schema(), &waiting)?)?;
        if state.begun.is_none() {
            state.begun = Some(self.begin().await?);
        }
        match &state.begun {
            Some(begun) => begun.writer.write(batch).await,
            None => Ok(()),
        }
    }

    async fn begin(&self) -> Result<Begun> {
        let last = self.destination.last_load(&self.target.target, &self.record.job).await?;
        self.destination
            .prepare(&self.target, self.on_schema_change)
            .await
            .map_err(|error| other_table(error, &self.target))?;
        // An earlier attempt of the same load may have got as far as its quarantine, and no further.
        let before =
            last.as_ref().and_then(|last| last.load_id.strip_prefix(&self.load_id)?.strip_prefix("-q"));
        let attempt = before.and_then(|number| number.parse::<u32>().ok()).unwrap_or(0) + 1;
        let load_id = format!("{}-q{attempt}", self.load_id);
        let request = LoadRequest {
            target: self.target.clone(),
            mode: WriteMode::Append,
            deletes: Deletes::default(),
            load_id: load_id.clone(),
            job: self.record.job.clone(),
            memory_budget: self.memory_budget,
            options: self.options.clone(),
        };
        let writer = self.destination.begin_load(request).await?;
        Ok(Begun { writer, load_id, last })
    }

    /// Commits the values. `None` if there were none.
    ///
    /// An earlier attempt of the same load that committed exactly these values is not repeated.
    pub(super) async fn commit(self) -> Result<Option<Kept>> {
        let mut state = self.state.lock().await;
        self.flush(&mut state).await?;
        let State { begun, rows, digest, .. } = std::mem::take(&mut *state);
        let Some(Begun { writer, load_id, last }) = begun else { return Ok(None) };
        let boundary = BoundaryRows {
            columns: self.target.columns.iter().map(|column| column.name.clone()).collect(),
            hashes: BTreeMap::from([(format!("{digest:032x}"), rows)]),
            nulls: BTreeMap::new(),
        };
        let kept = Kept { table: self.target.target.clone(), rows };
        let same_load = |last: &LoadRecord| {
            last.load_id.strip_prefix(&self.load_id).is_some_and(|rest| rest.starts_with("-q"))
        };
        if last.as_ref().is_some_and(|last| same_load(last) && last.boundary == boundary) {
            writer.abort().await?;
            return Ok(Some(kept));
        }
        let record = LoadRecord {
            load_id,
            sequence: last.map_or(1, |last| last.sequence + 1),
            boundary,
            rows,
            committed_at: Timestamp::now().to_string(),
            ..self.record.clone()
        };
        writer.commit(record).await?;
        Ok(Some(kept))
    }

    /// Drops the values.
    pub(super) async fn abort(self) -> Result<()> {
        match self.state.into_inner().begun {
            Some(begun) => begun.writer.abort().await,
            None => Ok(()),
        }
    }
}

fn other_table(error: Error, target: &TargetTable) -> Error {
    if error.kind() != ErrorKind::SchemaChanged {
        return error;
    }
    let text = format!("table {} is there and cannot take values of the quarantine", target.target);
    Error::new(ErrorKind::SchemaChanged, text)
        .with("target", &target.target)
        .source_error(error)
        .hint("name another table in mapping.quarantine_table")
}

/// Sum of the hashes of the rows.
fn digest(values: &RecordBatch) -> u128 {
    let columns: Vec<_> = values.columns().iter().map(|column| column.as_string::<i32>()).collect();
    let hash = |row: usize| {
        let mut hasher = blake3::Hasher::new();
        for column in &columns {
            if column.is_null(row) {
                hasher.update(&[0]);
            } else {
                // The length makes ("a", "bc") and ("ab", "c") different.
                hasher.update(&[1]);
                hasher.update(&column.value(row).len().to_le_bytes());
                hasher.update(column.value(row).as_bytes());
            }
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        u128::from_le_bytes(bytes)
    };
    (0..values.num_rows()).map(hash).fold(0, u128::wrapping_add)
}
