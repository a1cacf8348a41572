//! What all tests of the dataset share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test file uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use transload_core::connector::{
    Connector as _, Credentialed, Deletes, Destination, LoadOutcome, LoadRecord, LoadRequest, LoadWriter,
    WriteMode,
};
use transload_core::schema::{BigQueryType, Mode, TargetColumn, TargetRef, TargetTable};
use transload_core::{Connection, Result};
use transload_dataset::Dataset;

pub async fn open(root: &Path) -> Arc<dyn Destination> {
    open_with(Connection::new("d", "dataset").option("path", root.to_str().unwrap()).option("durable", false))
        .await
}

pub async fn open_with(connection: Connection) -> Arc<dyn Destination> {
    Dataset.destination(Credentialed { connection, secret: None }).await.unwrap()
}

pub fn column(name: &str, data_type: &str, mode: Mode) -> TargetColumn {
    let data_type: BigQueryType = data_type.parse().unwrap();
    TargetColumn { name: name.to_owned(), data_type, mode, description: None }
}

pub fn table_of(columns: Vec<TargetColumn>) -> TargetTable {
    TargetTable::new(TargetRef::new("raw", "orders"), columns)
}

/// `id INT64 REQUIRED, note STRING`.
pub fn orders() -> TargetTable {
    table_of(vec![column("id", "INT64", Mode::Required), column("note", "STRING", Mode::Nullable)])
}

pub fn batch(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>());
    let notes: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
    RecordBatch::try_new(orders().arrow_schema(), vec![ids, notes]).unwrap()
}

pub fn record(job: &str, load_id: &str, sequence: u64) -> LoadRecord {
    LoadRecord {
        load_id: load_id.to_owned(),
        job: job.to_owned(),
        job_name: format!("job {job}"),
        sequence,
        strategy: "any".to_owned(),
        mapping_hash: "hash".to_owned(),
        committed_at: "2026-01-01T00:00:00Z".to_owned(),
        engine: transload_core::VERSION.to_owned(),
        ..LoadRecord::default()
    }
}

pub fn request(target: &TargetTable, mode: WriteMode, load_id: &str) -> LoadRequest {
    LoadRequest {
        target: target.clone(),
        mode,
        deletes: Deletes::default(),
        load_id: load_id.to_owned(),
        job: "a".to_owned(),
        memory_budget: 64 << 20,
        options: serde_json::Map::new(),
    }
}

pub fn merge_by(key: &[&str], order_by: Option<&str>) -> WriteMode {
    WriteMode::Merge {
        key: key.iter().map(|&name| name.to_owned()).collect(),
        order_by: order_by.map(str::to_owned),
    }
}

pub async fn begin(to: &Arc<dyn Destination>, mode: WriteMode, load_id: &str) -> Result<Box<dyn LoadWriter>> {
    to.begin_load(request(&orders(), mode, load_id)).await
}

/// One whole load of batches in a table's own schema.
pub async fn load(
    to: &Arc<dyn Destination>,
    target: &TargetTable,
    mode: WriteMode,
    (job, load_id, sequence): (&str, &str, u64),
    batches: Vec<RecordBatch>,
) -> Result<LoadOutcome> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let writer = to.begin_load(request(target, mode, load_id)).await?;
    for batch in batches {
        writer.write(batch).await?;
    }
    let mut record = record(job, load_id, sequence);
    record.rows = u64::try_from(rows).unwrap();
    writer.commit(record).await
}

pub fn table_folder(root: &Path) -> PathBuf {
    root.join("raw").join("orders")
}

/// What the glob `table/*/*.parquet` finds; any error of listing is the caller's.
pub fn parts(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for load in std::fs::read_dir(table_folder(root))? {
        let load = load?.path();
        // Not `is_dir`: a folder that went away between the two listings must be an error, not silence.
        if load.file_name().unwrap().to_str().unwrap().starts_with("load=") {
            for file in std::fs::read_dir(load)? {
                let path = file?.path();
                if path.extension().is_some_and(|ending| ending == "parquet") {
                    parts.push(path);
                }
            }
        }
    }
    parts.sort();
    Ok(parts)
}

pub fn read_part(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(|batch| batch.unwrap()).collect()
}

/// All rows of `orders`, sorted.
pub fn rows(root: &Path) -> Vec<(i64, Option<String>)> {
    let mut rows = Vec::new();
    for part in parts(root).unwrap() {
        for batch in read_part(&part) {
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().clone();
            let notes = batch.column_by_name("note").unwrap().as_string::<i32>().clone();
            for row in 0..batch.num_rows() {
                rows.push((ids.value(row), notes.is_valid(row).then(|| notes.value(row).to_owned())));
            }
        }
    }
    rows.sort();
    rows
}

pub fn ids(root: &Path) -> Vec<i64> {
    rows(root).into_iter().map(|row| row.0).collect()
}

/// A small generator, so that a seed names a case for ever.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}
