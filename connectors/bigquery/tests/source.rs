//! Every type there and back through the emulator, and whole jobs from BigQuery.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, IntervalMonthDayNano};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, Field, Fields};
use futures::TryStreamExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use transload_bigquery::BigQuery;
use transload_core::connector::{Deletes, LoadRecord, LoadRequest, OnSchemaChange, ReadPlan, WriteMode};
use transload_core::schema::{BigQueryType, Mode, TableRef, TargetColumn, TargetRef, TargetTable};
use transload_core::{Connection, ErrorKind, EtlJob, Registry, Runner};
use transload_testkit::need_env;
use transload_testkit::proxy::{Break, Proxy, after_bytes};

const DATASET: &str = "transload_source_tests";

fn connection() -> Connection {
    transload_google::install_crypto_provider();
    common::connection("emulator").unwrap()
}

fn registry() -> Registry {
    Registry::new().with(BigQuery).with(transload_dataset::Dataset)
}

fn unique(what: &str) -> String {
    format!("{what}_{:08x}", rand::random::<u32>())
}

/// Runs a statement on the emulator.
async fn sql(statement: &str) -> Value {
    let body = json!({"query": statement, "useLegacySql": false, "timeoutMs": 100_000});
    let url = format!("{}/queries", common::base().unwrap());
    let (_, answer) = common::answer(reqwest::Client::new().post(url).json(&body)).await.unwrap();
    assert_eq!(answer["jobComplete"], json!(true), "{statement}: {answer}");
    answer
}

fn struct_of(data_type: &BigQueryType, columns: Vec<ArrayRef>, valid: Vec<bool>) -> ArrayRef {
    let DataType::Struct(fields) = data_type.arrow_type() else { panic!("{data_type} is no record") };
    Arc::new(StructArray::try_new(fields, columns, Some(NullBuffer::from(valid))).unwrap())
}

fn text(values: [Option<&str>; 4]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn texts(lists: [Option<Vec<&str>>; 4]) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for items in lists {
        let items = items.map(|items| items.into_iter().map(Some).collect::<Vec<_>>());
        list.append_option(items);
    }
    Arc::new(list.finish())
}

/// The same text in every row where a list is wanted: NULL lists do not survive, as BigQuery has it.
fn numbers(lists: [Vec<i64>; 4]) -> ArrayRef {
    let mut list = ListBuilder::new(Int64Builder::new());
    for items in lists {
        list.append_value(items.into_iter().map(Some));
    }
    Arc::new(list.finish())
}

/// Digits of a decimal at a scale.
fn big(digits: &str) -> i256 {
    digits.parse().unwrap()
}

const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;

/// A column of each type, with four rows: edges, edges, plain, NULL.
fn columns() -> Vec<(&'static str, &'static str, Mode, ArrayRef)> {
    let decimal = |precision, scale, values: [Option<i128>; 4]| -> ArrayRef {
        let values = Decimal128Array::from(values.to_vec());
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
    };
    // The emulator keeps 20 digits before the point and 18 after it, of BigQuery's 38 and 38.
    let bignumeric = Decimal256Array::from(vec![
        Some(big(&format!("{}{}", "9".repeat(38), "0".repeat(20)))),
        Some(big(&format!("-{}{}", "9".repeat(38), "0".repeat(20)))),
        Some(big(&format!("1{}", "0".repeat(20)))),
        None,
    ]);
    let micros = |values: [Option<i64>; 4]| TimestampMicrosecondArray::from(values.to_vec());
    let moments = [Some(FIRST), Some(LAST), Some(-1), None];
    let range = |element: &str, starts: ArrayRef, ends: ArrayRef| {
        let data_type = format!("RANGE<{element}>").parse().unwrap();
        struct_of(&data_type, vec![starts, ends], vec![true, true, true, false])
    };
    // The emulator stores intervals in Parquet, which has no negative ones and 32 bits of milliseconds.
    let interval = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
    let record: BigQueryType = NESTED.parse().unwrap();
    let mut columns: Vec<(&str, &str, Mode, ArrayRef)> = vec![
        ("id", "INT64", Mode::Required, Arc::new(Int64Array::from(vec![0, 1, 2, 3]))),
        (
            "i",
            "INT64",
            Mode::Nullable,
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), Some(0), None])),
        ),
        (
            "f",
            "FLOAT64",
            Mode::Nullable,
            Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(f64::NEG_INFINITY), Some(5e-324), None])),
        ),
        (
            "n",
            "NUMERIC",
            Mode::Nullable,
            decimal(38, 9, [Some(10_i128.pow(38) - 1), Some(1 - 10_i128.pow(38)), Some(1), None]),
        ),
        (
            "np",
            "NUMERIC(10,2)",
            Mode::Nullable,
            decimal(10, 2, [Some(9_999_999_999), Some(-9_999_999_999), Some(1), None]),
        ),
        ("b", "BIGNUMERIC", Mode::Nullable, Arc::new(bignumeric.with_precision_and_scale(76, 38).unwrap())),
        (
            "o",
            "BOOL",
            Mode::Nullable,
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None])),
        ),
        (
            "s",
            "STRING",
            Mode::Nullable,
            text([Some(""), Some("a\u{0}b 🦀\u{10ffff}"), Some("line\nend '\\"), None]),
        ),
        (
            "y",
            "BYTES",
            Mode::Nullable,
            Arc::new(BinaryArray::from(vec![Some(&b""[..]), Some(&[0, 255][..]), Some(&b"x"[..]), None])),
        ),
        (
            "d",
            "DATE",
            Mode::Nullable,
            Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), Some(0), None])),
        ),
        ("dt", "DATETIME", Mode::Nullable, Arc::new(micros(moments))),
        (
            "ti",
            "TIME",
            Mode::Nullable,
            Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_999), Some(1), None])),
        ),
        ("ts", "TIMESTAMP", Mode::Nullable, Arc::new(micros(moments).with_timezone("UTC"))),
        (
            "j",
            "JSON",
            Mode::Nullable,
            text([Some("{\"a\":[1,null,\"x\"]}"), Some("18446744073709551615"), Some("null"), None]),
        ),
        (
            "g",
            "GEOGRAPHY",
            Mode::Nullable,
            text([Some("POINT(1 2)"), Some("LINESTRING(0 0, 1 1)"), Some("POINT(-180 90)"), None]),
        ),
        (
            "v",
            "INTERVAL",
            Mode::Nullable,
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                interval(120_000, 3_660_000, 4_294_967_000_000_000),
                interval(14, 3, 14_706_789_000_000),
                interval(0, 0, 0),
                None,
            ])),
        ),
        (
            "rd",
            "RANGE<DATE>",
            Mode::Nullable,
            range(
                "DATE",
                Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(0), None])),
                Arc::new(Date32Array::from(vec![Some(2_932_896), None, None, None])),
            ),
        ),
        (
            "rt",
            "RANGE<TIMESTAMP>",
            Mode::Nullable,
            range(
                "TIMESTAMP",
                Arc::new(micros([Some(FIRST), None, Some(-1), None]).with_timezone("UTC")),
                Arc::new(micros([Some(LAST), Some(0), None, None]).with_timezone("UTC")),
            ),
        ),
        (
            "rdt",
            "RANGE<DATETIME>",
            Mode::Nullable,
            range(
                "DATETIME",
                Arc::new(micros([Some(FIRST), None, Some(-1), None])),
                Arc::new(micros([Some(LAST), Some(0), None, None])),
            ),
        ),
    ];
    columns.push((
        "ls",
        "STRING",
        Mode::Repeated,
        texts([Some(vec!["", "b"]), Some(vec![]), Some(vec!["🦀"]), None]),
    ));
    columns.push((
        "li",
        "INT64",
        Mode::Repeated,
        numbers([vec![i64::MIN, i64::MAX], vec![], vec![0], vec![]]),
    ));
    columns.push(("r", NESTED, Mode::Nullable, nested(&record)));
    columns.push(("lr", "RECORD<x INT64, y ARRAY<STRING>>", Mode::Repeated, repeated()));
    columns
}

const NESTED: &str =
    "RECORD<n INT64, j JSON, v INTERVAL, rd RANGE<DATE>, l ARRAY<STRING>, deep RECORD<z TIMESTAMP>>";

/// A record with every type that needs turning.
fn nested(record: &BigQueryType) -> ArrayRef {
    let interval = IntervalMonthDayNano::new(1, 2, 3_000_000);
    let starts: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), Some(1), None, None]));
    let ends: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, None, None]));
    let range =
        struct_of(&"RANGE<DATE>".parse().unwrap(), vec![starts, ends], vec![true, true, false, false]);
    let times =
        TimestampMicrosecondArray::from(vec![Some(FIRST), Some(LAST), None, None]).with_timezone("UTC");
    let deep = struct_of(
        &"RECORD<z TIMESTAMP>".parse().unwrap(),
        vec![Arc::new(times)],
        vec![true, true, true, false],
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None])),
        text([Some("[]"), Some("{\"k\":1}"), None, None]),
        Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None, None, None])),
        range,
        // In a record, too, a list is never NULL.
        texts([Some(vec!["a", "b"]), Some(vec![]), Some(vec![]), Some(vec![])]),
        deep,
    ];
    struct_of(record, columns, vec![true, true, true, false])
}

fn repeated() -> ArrayRef {
    let record: BigQueryType = "RECORD<x INT64, y ARRAY<STRING>>".parse().unwrap();
    let inner = struct_of(
        &record,
        vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])),
            texts([Some(vec!["a"]), Some(vec![]), Some(vec!["b", "c"]), Some(vec![""])]),
        ],
        vec![true; 4],
    );
    let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([2, 0, 2, 0]);
    Arc::new(arrow_array::ListArray::try_new(item, offsets, inner, None).unwrap())
}

fn target(table: &str) -> (TargetTable, RecordBatch) {
    let (mut target, mut arrays) = (Vec::new(), Vec::new());
    for (name, data_type, mode, array) in columns() {
        let data_type: BigQueryType = data_type.parse().unwrap();
        target.push(TargetColumn { name: name.into(), data_type, mode, description: None });
        arrays.push(array);
    }
    let target = TargetTable::new(TargetRef::new(DATASET, table), target);
    let fields: Fields = target.columns.iter().map(TargetColumn::to_field).collect();
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    (target, RecordBatch::try_new(schema, arrays).unwrap())
}

/// Makes a table with the rows of [`columns`] through the file load path.
async fn loaded(table: &str) -> (TargetTable, RecordBatch) {
    let destination = registry().destination(&connection()).await.unwrap();
    destination.ensure_dataset(DATASET).await.unwrap();
    let (target, batch) = target(table);
    destination.prepare(&target, OnSchemaChange::Freeze).await.unwrap();
    let request = LoadRequest {
        target: target.clone(),
        mode: WriteMode::Append,
        deletes: Deletes::default(),
        load_id: format!("1-{table}"),
        job: table.to_owned(),
        memory_budget: 64 << 20,
        options: serde_json::Map::new(),
    };
    let writer = destination.begin_load(request).await.unwrap();
    writer.write(batch.clone()).await.unwrap();
    let record = LoadRecord {
        load_id: format!("1-{table}"),
        job: table.to_owned(),
        job_name: table.to_owned(),
        sequence: 1,
        strategy: "append".to_owned(),
        rows: 4,
        committed_at: "2024-01-31T10:00:00Z".to_owned(),
        ..LoadRecord::default()
    };
    assert_eq!(writer.commit(record).await.unwrap().inserted, 4);
    (target, batch)
}

/// All rows of a table as one batch, by `id`.
async fn read(table: &TableRef) -> RecordBatch {
    let stream = registry().read(&connection(), table, &ReadPlan::default()).await.unwrap();
    let schema = Arc::clone(stream.schema());
    let batches: Vec<RecordBatch> = stream.into_batches().try_collect().await.unwrap();
    let batch = arrow_select::concat::concat_batches(&schema, &batches).unwrap();
    let ids = batch.column_by_name("id").unwrap().as_any().downcast_ref::<Int64Array>().unwrap();
    let mut order: Vec<u64> = (0..u64::try_from(ids.len()).unwrap()).collect();
    order.sort_by_key(|row| ids.value(usize::try_from(*row).unwrap()));
    let order = arrow_array::UInt64Array::from(order);
    arrow_select::take::take_record_batch(&batch, &order).unwrap()
}

/// A NULL list is an empty one at BigQuery.
fn without_null_lists(array: &ArrayRef) -> ArrayRef {
    match array.as_any().downcast_ref::<arrow_array::ListArray>() {
        Some(list) => {
            let DataType::List(item) = list.data_type() else { panic!("a list is a list") };
            let (item, offsets) = (Arc::clone(item), list.offsets().clone());
            Arc::new(arrow_array::ListArray::try_new(item, offsets, Arc::clone(list.values()), None).unwrap())
        }
        None => Arc::clone(array),
    }
}

fn assert_same(read: &RecordBatch, written: &RecordBatch) {
    assert_eq!(read.num_rows(), written.num_rows());
    for (field, column) in written.schema().fields().iter().zip(written.columns()) {
        let got = read.column_by_name(field.name()).unwrap();
        // Extension types of nested fields are metadata; values and layout must be equal.
        assert!(got.data_type().equals_datatype(column.data_type()), "{}: {}", field.name(), got.data_type());
        // Under one type they can be compared; what lies below a NULL record means nothing then.
        let got = got.to_data().into_builder().data_type(column.data_type().clone()).build().unwrap();
        let (got, wanted) = (without_null_lists(&arrow_array::make_array(got)), without_null_lists(column));
        assert!(*got == *wanted, "{}: {got:?} in place of {wanted:?}", field.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_through_our_own_source() {
    let table = unique("types");
    let (_, written) = loaded(&table).await;
    let read = read(&TableRef::new(DATASET, &table)).await;
    assert_same(&read, &written);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_described_as_it_was_declared() {
    let table = unique("described");
    let (target, _) = loaded(&table).await;
    let source = registry().source(&connection()).await.unwrap();
    let described = source.describe(&TableRef::new(DATASET, &table)).await.unwrap();
    let mapping = transload_core::SchemaMapper::default().map(&described, None).unwrap();
    for (column, wanted) in mapping.columns.iter().zip(&target.columns) {
        assert_eq!((&column.bigquery_type, column.mode), (&wanted.data_type, wanted.mode), "{}", wanted.name);
        assert_eq!(column.target_name, wanted.name);
    }
    let text = |name: &str| described.column(name).unwrap().source_type.clone();
    assert_eq!(text("np"), "NUMERIC(10,2)");
    assert_eq!(text("rd"), "RANGE<DATE>");
    assert_eq!(text("lr"), "ARRAY<STRUCT<x INT64, y ARRAY<STRING>>>");
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_own_client_reads_the_same() {
    let table = unique("python");
    loaded(&table).await;
    let python = need_env("TRANSLOAD_TEST_BIGQUERY_PYTHON").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/read_table.py");
    let url = need_env("TRANSLOAD_TEST_BIGQUERY_URL").unwrap();
    let project = need_env("TRANSLOAD_TEST_BIGQUERY_PROJECT").unwrap();
    let output =
        Command::new(python).args(["-I", script, &url, &project]).arg(format!("{DATASET}.{table}")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let expected: Value = serde_json::from_str(include_str!("python/expected.json")).unwrap();
    let names: Vec<&str> = columns().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(rows.len(), 4);
    for (number, row) in rows.iter().enumerate() {
        for (index, name) in names.iter().enumerate() {
            assert_eq!(row[index], expected[name][number], "{name}, row {number}");
        }
    }
}

/// A runner from BigQuery into BigQuery and into a dataset in `folder`.
fn runner(folder: &std::path::Path) -> Runner {
    let dataset = Connection::new("lake", "dataset").option("path", folder.to_string_lossy());
    Runner::new(registry()).connection(connection()).connection(dataset)
}

fn job(from: &str, into: &str, connection: &str, load: &Value) -> EtlJob {
    let job = json!({
        "name": format!("{from} to {into}"),
        "source": {"connection": "emulator", "schema": DATASET, "table": from},
        "destination": {"connection": connection, "dataset": DATASET, "table": into},
        "load": load,
    });
    EtlJob::from_json(job).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_copied_into_bigquery_as_it_is() {
    let (from, into) = (unique("from"), unique("into"));
    let (target, written) = loaded(&from).await;
    let folder = tempfile::tempdir().unwrap();
    let job = job(&from, &into, "emulator", &json!({"strategy": "replace"}));
    let report = runner(folder.path()).run(&job).await;
    assert!(report.error.is_none(), "{:?}", report.error);
    let destination = registry().destination(&connection()).await.unwrap();
    let copied = destination.table(&TargetRef::new(DATASET, &into)).await.unwrap().unwrap();
    for (got, wanted) in copied.columns.iter().zip(&target.columns) {
        assert_eq!((&got.name, &got.data_type, got.mode), (&wanted.name, &wanted.data_type, wanted.mode));
    }
    assert_same(&read(&TableRef::new(DATASET, &into)).await, &written);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_merges_follow_a_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let runner = runner(folder.path());
    let destination = registry().destination(&connection()).await.unwrap();
    destination.ensure_dataset(DATASET).await.unwrap();
    for (strategy, load) in [
        ("append", json!({"strategy": "append", "cursor": "at"})),
        ("merge", json!({"strategy": "merge", "cursor": "at", "key": ["id"]})),
    ] {
        let (from, into) = (unique(strategy), unique(strategy));
        sql(&format!("CREATE TABLE {DATASET}.{from} (id INT64 NOT NULL, at TIMESTAMP, what STRING)")).await;
        let insert = |rows: &str| format!("INSERT {DATASET}.{from} (id, at, what) VALUES {rows}");
        sql(&insert("(1, TIMESTAMP '2026-01-01 00:00:00.000001+00', 'a'), (2, TIMESTAMP '2026-01-02 00:00:00+00', 'b')")).await;
        let job = job(&from, &into, "emulator", &load);
        let first = runner.run(&job).await;
        assert!(first.error.is_none(), "{:?}", first.error);
        assert_eq!(first.rows.written, 2, "{strategy}");
        sql(&insert(
            "(3, TIMESTAMP '2026-01-02 00:00:00+00', 'c'), (4, TIMESTAMP '2026-01-03 00:00:00+00', 'd')",
        ))
        .await;
        if strategy == "merge" {
            sql(&format!(
                "UPDATE {DATASET}.{from} SET what = 'B', at = TIMESTAMP '2026-01-04 00:00:00+00' WHERE id = 2"
            ))
            .await;
        }
        let second = runner.run(&job).await;
        assert!(second.error.is_none(), "{:?}", second.error);
        let (source, copy) = (TableRef::new(DATASET, &from), TableRef::new(DATASET, &into));
        let (source, copy) = (read(&source).await, read(&copy).await);
        assert_eq!(source.columns(), copy.columns(), "{strategy}");
        let third = runner.run(&job).await;
        assert!(third.error.is_none(), "{:?}", third.error);
        assert_eq!(read(&TableRef::new(DATASET, &into)).await.num_rows(), 4, "{strategy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_read_through_a_query() {
    let (table, view) = (unique("base"), unique("view"));
    loaded(&table).await;
    sql(&format!("CREATE VIEW {DATASET}.{view} AS SELECT id, s, ts FROM {DATASET}.{table} WHERE id < 3"))
        .await;
    let source = registry().source(&connection()).await.unwrap();
    let view = TableRef::new(DATASET, view);
    assert_eq!(source.sample(&view, 2).await.unwrap().num_rows(), 2);
    let session = source.begin(&view).await.unwrap();
    let summary = session.cursor_summary("id").await.unwrap();
    assert_eq!(summary.max.unwrap().to_string(), "2");
    // What comes later belongs to later sessions.
    sql(&format!("INSERT {DATASET}.{table} (id) VALUES (-1)")).await;
    let mut rows = 0;
    for split in session.splits(&ReadPlan::default()).await.unwrap() {
        let batches: Vec<_> = session.read(&split).await.unwrap().try_collect().await.unwrap();
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    assert_eq!(rows, 3);
    assert_eq!(read(&view).await.num_rows(), 4);
    let listed = source.tables(Some(DATASET)).await.unwrap();
    let kind = |name: &str| listed.iter().find(|info| info.table.name == name).unwrap().kind.as_str();
    assert_eq!((kind(&table), kind(&view.name)), ("table", "view"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_tell_sizes_and_descriptions_tell_keys_and_pruning() {
    let table = unique("partitioned");
    let source = registry().source(&connection()).await.unwrap();
    registry().destination(&connection()).await.unwrap().ensure_dataset(DATASET).await.unwrap();
    sql(&format!(
        "CREATE TABLE {DATASET}.{table} (id INT64 NOT NULL OPTIONS(description='the key'), day DATE, who STRING(5), \
         PRIMARY KEY (id) NOT ENFORCED) PARTITION BY day CLUSTER BY who OPTIONS(description='orders')"
    ))
    .await;
    sql(&format!("INSERT {DATASET}.{table} (id, day, who) VALUES (1, DATE '2026-01-01', 'a')")).await;
    let tables = source.tables(Some(DATASET)).await.unwrap();
    let info = tables.iter().find(|info| info.table.name == table).unwrap();
    assert_eq!((info.kind.as_str(), info.rows_estimate), ("partitioned", Some(1)));
    assert!(info.last_change.is_some() && info.bytes.is_some());
    let described = source.describe(&info.table).await.unwrap();
    assert_eq!((described.comment.as_deref(), described.rows_estimate), (Some("orders"), Some(1)));
    assert_eq!(described.primary_key, ["id"]);
    let column = |name: &str| described.column(name).unwrap().clone();
    assert_eq!(column("id").comment.as_deref(), Some("the key"));
    assert_eq!([column("id").indexed, column("day").indexed, column("who").indexed], [false, true, true]);
    assert_eq!(column("who").source_type, "STRING(5)");
}

/// All ids of a table, read through `storage`.
async fn ids(table: &TableRef, storage: u16) -> transload_core::Result<Vec<i64>> {
    let connection = connection().option("storage_endpoint", format!("http://127.0.0.1:{storage}"));
    let stream = registry().read(&connection, table, &ReadPlan::default()).await?;
    let batches: Vec<RecordBatch> = stream.into_batches().try_collect().await?;
    let ids = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    let mut ids: Vec<i64> = batches.iter().flat_map(ids).collect();
    ids.sort_unstable();
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_go_on_or_fail_and_are_never_short() {
    const ROWS: i64 = 250_000;
    let table = unique("broken");
    registry().destination(&connection()).await.unwrap().ensure_dataset(DATASET).await.unwrap();
    sql(&format!(
        "CREATE TABLE {DATASET}.{table} AS SELECT i AS id, TO_HEX(MD5(CAST(i AS STRING))) AS what \
         FROM UNNEST(GENERATE_ARRAY(1, {ROWS})) AS i"
    ))
    .await;
    let table = TableRef::new(DATASET, table);
    let grpc = need_env(common::GRPC).unwrap();
    let proxy = Proxy::new(grpc.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let all: Vec<i64> = (1..=ROWS).collect();
    for how in [Break::Reset, Break::Close] {
        // Each connection gets twice as far as the one before: some break before a message is whole, some behind.
        let (before, bytes) = (proxy.broken(), AtomicUsize::new(300_000));
        proxy.script(move || {
            after_bytes(bytes.fetch_add(bytes.load(Ordering::Relaxed), Ordering::Relaxed), how)
        });
        assert!(ids(&table, proxy.port()).await.unwrap() == all, "{how:?}: rows are missing or doubled");
        assert!(proxy.broken() > before + 2, "{how:?}: {} broke", proxy.broken() - before);
        // None gets as far as one message.
        proxy.script(move || after_bytes(100_000, how));
        let error = ids(&table, proxy.port()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    }
    proxy.pass();
    assert_eq!(ids(&table, proxy.port()).await.unwrap().len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_becomes_a_parquet_dataset() {
    let (from, into) = (unique("from"), unique("into"));
    let (_, written) = loaded(&from).await;
    let folder = tempfile::tempdir().unwrap();
    for strategy in
        [json!({"strategy": "replace"}), json!({"strategy": "merge", "key": ["id"], "restart": true})]
    {
        let report = runner(folder.path()).run(&job(&from, &into, "lake", &strategy)).await;
        assert!(report.error.is_none(), "{:?}", report.error);
        let warned = report.warnings.iter().find(|(_, warning)| warning.code == "W_INTERVAL_TEXT");
        assert!(warned.unwrap().1.text.ends_with("v, r"), "{warned:?}");
    }
    let mut batches = Vec::new();
    let loads = std::fs::read_dir(folder.path().join(DATASET).join(&into)).unwrap();
    for load in loads.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(load).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "parquet") {
                let file = std::fs::File::open(file).unwrap();
                let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
                batches.extend(reader.map(Result::unwrap));
            }
        }
    }
    let read = arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();
    let texts =
        |array: &ArrayRef| array.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>();
    let column = |name: &str| Arc::clone(read.column_by_name(name).unwrap());
    assert_eq!(
        texts(&column("v")),
        [Some("P10000Y3660000DT1193H2M47S"), Some("P1Y2M3DT4H5M6.789S"), Some("PT0S"), None]
            .map(|text| text.map(str::to_owned))
    );
    let nested = texts(column("r").as_struct().column_by_name("v").unwrap());
    assert_eq!(nested[0].as_deref(), Some("P1M2DT0.003S"));
    let others: Vec<usize> = (0..written.num_columns())
        .filter(|i| !["v", "r"].contains(&written.schema().field(*i).name().as_str()))
        .collect();
    assert_same(&read, &written.project(&others).unwrap());
}
