//! Columns like those of TPC-H's lineitem into a Parquet file: a load of this crate beside the parquet crate's writer
//! with the same settings. `cargo bench -p transload-dataset`.
#![expect(clippy::unwrap_used, reason = "a benchmark; a panic ends it")]

use std::fs::File;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::Runtime;
use transload_core::Connection;
use transload_core::connector::{
    Connector as _, Credentialed, Deletes, Destination, LoadRecord, LoadRequest, OnSchemaChange, WriteMode,
};
use transload_core::schema::{BigQueryType, Mode, TargetColumn, TargetRef, TargetTable};
use transload_dataset::Dataset;

const BATCHES: i64 = 4;
const ROWS: i64 = 64 * 1024;

/// A number without pattern.
fn mixed(row: i64) -> i64 {
    (row ^ (row >> 7)).wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(23) & 0x7fff_ffff
}

type Values = fn(std::ops::Range<i64>) -> ArrayRef;

fn kinds() -> Vec<(&'static str, &'static str, Values)> {
    vec![
        ("7 integers", "INT64", |rows| {
            Arc::new(Int64Array::from_iter_values(rows.map(|row| mixed(row) % 7)))
        }),
        ("10,000 integers", "INT64", |rows| {
            Arc::new(Int64Array::from_iter_values(rows.map(|row| mixed(row) % 10_000)))
        }),
        ("50 decimals", "NUMERIC(15,2)", |rows| {
            let values = rows.map(|row| i128::from(mixed(row) % 50 * 100));
            Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(15, 2).unwrap())
        }),
        ("2,500 dates", "DATE", |rows| {
            let days = rows.map(|row| i32::try_from(mixed(row) % 2500).unwrap());
            Arc::new(Date32Array::from_iter_values(days))
        }),
        ("3 letters", "STRING", |rows| {
            let letters = ["A", "N", "R"];
            let at = |row| usize::try_from(mixed(row) % 3).unwrap();
            Arc::new(StringArray::from_iter_values(rows.map(|row| letters[at(row)])))
        }),
        ("4 texts of 25 bytes", "STRING", |rows| {
            let texts = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
            let at = |row| usize::try_from(mixed(row) % 4).unwrap();
            Arc::new(StringArray::from_iter_values(rows.map(|row| format!("{:25}", texts[at(row)]))))
        }),
        ("comments", "STRING", |rows| {
            let words = ["carefully", "final", "deposits", "sleep", "quickly", "ironic", "packages", "about"];
            let word = |row: i64, n: i64| words[usize::try_from(mixed(row * 5 + n) % 8).unwrap()];
            let comment = |row| (0..2 + mixed(row) % 3).map(|n| word(row, n)).collect::<Vec<_>>().join(" ");
            Arc::new(StringArray::from_iter_values(rows.map(|row| format!("{} {row}", comment(row)))))
        }),
    ]
}

/// `number` makes it another load each time: one that is there already would not be put in place.
async fn load(to: &Arc<dyn Destination>, target: &TargetTable, number: u64, batches: &[RecordBatch]) {
    let load_id = number.to_string();
    let request = LoadRequest {
        target: target.clone(),
        mode: WriteMode::Replace,
        load_id: load_id.clone(),
        job: "bench".to_owned(),
        deletes: Deletes::default(),
        memory_budget: 256 << 20,
        options: serde_json::Map::new(),
    };
    let writer = to.begin_load(request).await.unwrap();
    for batch in batches {
        writer.write(batch.clone()).await.unwrap();
    }
    let record = LoadRecord { load_id, job: "bench".to_owned(), sequence: number, ..LoadRecord::default() };
    writer.commit(record).await.unwrap();
}

fn crate_alone(path: &std::path::Path, batches: &[RecordBatch]) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

fn encode(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for (name, data_type, values) in kinds() {
        let data_type: BigQueryType = data_type.parse().unwrap();
        let column =
            TargetColumn { name: "c".to_owned(), data_type, mode: Mode::Required, description: None };
        let target = TargetTable::new(TargetRef::new("bench", "t"), vec![column]);
        let batches: Vec<RecordBatch> = (0..BATCHES)
            .map(|batch| {
                let column = values(batch * ROWS..(batch + 1) * ROWS);
                RecordBatch::try_new(target.arrow_schema(), vec![column]).unwrap()
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let connection = Connection::new("d", "dataset")
            .option("path", path)
            .option("compression", "snappy")
            .option("durable", false);
        let to = runtime.block_on(Dataset.destination(Credentialed { connection, secret: None })).unwrap();
        runtime.block_on(to.prepare(&target, OnSchemaChange::Evolve)).unwrap();
        let mut number = 0;
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements((BATCHES * ROWS).unsigned_abs()));
        group.bench_function("parquet crate", |bench| {
            bench.iter(|| crate_alone(&folder.path().join("alone.parquet"), &batches));
        });
        group.bench_function("load", |bench| {
            bench.iter(|| {
                number += 1;
                runtime.block_on(load(&to, &target, number, &batches));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
