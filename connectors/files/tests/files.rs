//! The connector against real files: folders, patterns, Parquet, splits, windows, changes.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryViewArray, DictionaryArray, Int32Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray, TimestampNanosecondArray,
};
use arrow_schema::DataType;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use rand::{Rng as _, SeedableRng as _};
use transload_core::connector::{CursorFilter, ReadPlan, ReadSession, Source, TableKind};
use transload_core::schema::{CursorValue, Nanos, TableRef};
use transload_core::{Connection, ErrorKind, Registry, Result, TestStatus};
use transload_files::Files;

async fn source(path: &Path, options: &str) -> Arc<dyn Source> {
    let connection = Connection::from_url(&format!("files:{}{options}", path.display())).unwrap();
    Registry::new().with(Files).source(&connection).await.unwrap()
}

fn table(name: &str) -> TableRef {
    TableRef::unqualified(name)
}

async fn run(session: &dyn ReadSession, plan: ReadPlan) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for split in session.splits(&plan).await? {
        // Splits travel as JSON.
        let split = serde_json::from_str(&serde_json::to_string(&split).unwrap()).unwrap();
        batches.extend(session.read(&split).await?.try_collect::<Vec<_>>().await?);
    }
    let schema = session.table().arrow_schema_of(&plan.columns)?;
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    Ok(arrow_select::concat::concat_batches(&schema, &batches)?)
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn texts(batch: &RecordBatch) -> Vec<Option<&str>> {
    batch.column(0).as_string::<i32>().iter().collect()
}

fn write_parquet(path: &Path, batch: &RecordBatch, group_rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = range.clone().map(|id| (id % 7 != 0).then(|| format!("name {id}"))).collect();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter([("id", ids), ("name", Arc::new(names) as ArrayRef)]).unwrap()
}

#[tokio::test]
async fn a_folder_lists_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_parquet(&root.join("orders/1.parquet"), &numbers(0..10), 4);
    for (name, text) in [
        ("a.csv", "x\n1\n"),
        ("sub/b.tsv", "x\ty\n1\t2\n"),
        (".hidden.csv", "x\n"),
        ("_tmp/c.csv", "x\n"),
        ("note.md", "x"),
        ("z.txt", "k v\n1 2\n"),
        ("broken.parquet", "no parquet"),
    ] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    let source = source(root, "").await;
    let tables = source.tables(None).await.unwrap();
    let names: Vec<_> = tables.iter().map(|info| (info.table.name.as_str(), info.rows_estimate)).collect();
    assert_eq!(
        names,
        [
            ("a.csv", Some(2)),
            ("broken.parquet", None),
            ("orders/1.parquet", Some(10)),
            ("sub/b.tsv", Some(2)),
            ("z.txt", Some(2))
        ]
    );
    assert!(tables.iter().all(|info| info.kind == TableKind::File && info.bytes.is_some()));
    assert!(tables[0].last_change.as_ref().unwrap().ends_with('Z'));
    let columns = |schema: &transload_core::schema::TableSchema| {
        schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    for (name, expected) in
        [("sub/b.tsv", vec!["x", "y"]), ("z.txt", vec!["k", "v"]), ("orders", vec!["id", "name"])]
    {
        assert_eq!(columns(&source.describe(&table(name)).await.unwrap()), expected);
    }
    for (name, kind) in [
        ("broken.parquet", ErrorKind::Data),
        ("missing.csv", ErrorKind::NotFound),
        ("sub", ErrorKind::NotFound),
        ("*.xlsx", ErrorKind::NotFound),
        ("../x.csv", ErrorKind::Config),
        ("/etc/passwd", ErrorKind::Config),
        ("note.md", ErrorKind::Config),
    ] {
        let error = source.describe(&table(name)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.hint_text().is_some());
    }
    assert_eq!(source.describe(&TableRef::new("s", "a.csv")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(source.tables(Some("s")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(source.schemas().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_single_file_is_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.unknown");
    fs::write(&path, "a;b\n1;2\n").unwrap();
    let source = source(&path, "?format=csv&delimiter=%3B").await;
    assert_eq!(source.tables(None).await.unwrap()[0].table.name, "data.unknown");
    assert_eq!(source.sample(&table("data.unknown"), 5).await.unwrap().num_columns(), 2);
    assert_eq!(source.describe(&table("other")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn tests_of_connections() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new().with(Files);
    let test = async |path: &Path| {
        let connection = Connection::new("f", "files").option("path", path.to_str().unwrap());
        registry.test(&connection, std::time::Duration::from_secs(9)).await
    };
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        let status = test(&path).await;
        assert_eq!((status.status, status.error.unwrap().kind()), (TestStatus::Failed, ErrorKind::NotFound));
    }
    fs::write(dir.path().join("a.csv"), "x\n").unwrap();
    assert_eq!(test(dir.path()).await.status, TestStatus::Ok);
}

#[tokio::test]
async fn many_files_are_one_table() {
    let dir = tempfile::tempdir().unwrap();
    for (number, name) in
        ["orders/a/1.parquet", "orders/a/2.parquet", "orders/b/3.parquet"].iter().enumerate()
    {
        let from = i64::try_from(number).unwrap() * 1000;
        write_parquet(&dir.path().join(name), &numbers(from..from + 1000), 100);
    }
    fs::write(dir.path().join("orders/_SUCCESS"), "").unwrap();
    let source = source(dir.path(), "").await;
    for name in ["orders", "orders/", "orders/**/*.parquet", "**/?.parquet"] {
        let session = source.begin(&table(name)).await.unwrap();
        assert_eq!(session.table().rows_estimate, Some(3000));
        for parallelism in [0, 1, 2, 3, 7, 100] {
            let plan = ReadPlan { parallelism, ..ReadPlan::default() };
            let splits = session.splits(&plan).await.unwrap();
            assert_eq!(splits.len(), parallelism.clamp(1, 30), "{parallelism}");
            let batch = run(session.as_ref(), plan).await.unwrap();
            assert_eq!(ids(&batch), (0..3000).collect::<Vec<_>>());
        }
    }
    assert_eq!(source.describe(&table("orders/a")).await.unwrap().rows_estimate, Some(2000));
    let other =
        RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    write_parquet(&dir.path().join("orders/c/4.parquet"), &other, 10);
    let error = source.begin(&table("orders")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("orders/c/4.parquet"), "{error}");
}

#[tokio::test]
async fn parquet_columns_limits_and_windows() {
    let dir = tempfile::tempdir().unwrap();
    write_parquet(&dir.path().join("t.parquet"), &numbers(0..5000), 700);
    let source = source(dir.path(), "").await;
    let session = source.begin(&table("t.parquet")).await.unwrap();
    assert!(!session.table().columns[0].nullable || session.table().columns[0].source_type.contains("INT64"));
    let summary = session.cursor_summary("id").await.unwrap();
    assert_eq!(
        (summary.min, summary.max, summary.nulls),
        (Some(CursorValue::Int(0)), Some(CursorValue::Int(4999)), 0)
    );
    let summary = session.cursor_summary("name").await.unwrap();
    assert_eq!((summary.max, summary.nulls), (Some(CursorValue::Text("name 999".into())), 715));
    let filter = |lo, hi| CursorFilter {
        column: "id".into(),
        lo: Some(CursorValue::Int(lo)),
        lo_inclusive: false,
        hi: Some(CursorValue::Int(hi)),
        include_nulls: false,
    };
    // The cursor is not among the columns, and the columns are not in the file's order.
    for columns in [vec![], vec!["name".to_owned(), "id".to_owned()], vec!["name".to_owned()]] {
        let plan =
            ReadPlan { columns, filter: Some(filter(699, 1400)), parallelism: 3, ..ReadPlan::default() };
        let batch = run(session.as_ref(), plan.clone()).await.unwrap();
        assert_eq!(batch.num_rows(), 701);
        let names = batch.column_by_name("name").unwrap().as_string::<i32>();
        assert_eq!((names.value(1), names.value(699)), ("name 701", "name 1399"));
        let limited = ReadPlan { limit: Some(10), ..plan };
        assert_eq!(session.splits(&limited).await.unwrap().len(), 1);
        assert_eq!(run(session.as_ref(), limited).await.unwrap().num_rows(), 10);
    }
    let unknown = ReadPlan { columns: vec!["nam".into()], ..ReadPlan::default() };
    assert_eq!(session.splits(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    let small = ReadPlan { batch_bytes: 1000, ..ReadPlan::default() };
    let split = session.splits(&small).await.unwrap().remove(0);
    assert!(session.read(&split).await.unwrap().count().await > 50);
    let sample = ids(&source.sample(&table("t.parquet"), 90).await.unwrap());
    assert!(sample.len() == 90 && sample[0] == 0 && sample[45] > 1000 && sample[89] > 4000, "{sample:?}");
}

#[tokio::test]
async fn views_large_and_dictionary_types_become_plain() {
    let dir = tempfile::tempdir().unwrap();
    let dictionary: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
    let times = TimestampNanosecondArray::from(vec![1, 2, i64::MAX]).with_timezone("Europe/Berlin");
    let columns: [(&str, ArrayRef); 5] = [
        ("large", Arc::new(LargeStringArray::from(vec!["a", "b", "c"]))),
        ("view", Arc::new(StringViewArray::from(vec!["a", "a longer text than twelve bytes", "c"]))),
        ("bytes", Arc::new(BinaryViewArray::from(vec![&b"a"[..], b"b", b"c"]))),
        ("dictionary", Arc::new(dictionary)),
        ("at", Arc::new(times)),
    ];
    write_parquet(&dir.path().join("t.parquet"), &RecordBatch::try_from_iter(columns).unwrap(), 10);
    let source = source(dir.path(), "").await;
    let session = source.begin(&table("t.parquet")).await.unwrap();
    let batch = run(session.as_ref(), ReadPlan::default()).await.unwrap();
    let types: Vec<_> = batch.columns().iter().map(|column| column.data_type().clone()).collect();
    assert_eq!(types[..4], [DataType::Utf8, DataType::Utf8, DataType::Binary, DataType::Utf8]);
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "a longer text than twelve bytes");
    assert_eq!(batch.column(3).as_string::<i32>().value(1), "y");
    let max = session.cursor_summary("at").await.unwrap().max;
    assert_eq!(max, Some(CursorValue::Timestamp(Nanos(i64::MAX.into()))));
    assert_eq!(session.cursor_summary("bytes").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn text_windows_compare_bytes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("t.csv"), "k,v\nb,1\n,2\nB,3\nc,4\n\"\",5\n").unwrap();
    let session = source(dir.path(), "").await.begin(&table("t.csv")).await.unwrap();
    let summary = session.cursor_summary("k").await.unwrap();
    let text = |text: &str| Some(CursorValue::Text(text.into()));
    assert_eq!((summary.min, summary.max, summary.nulls), (text(""), text("c"), 1));
    for (lo, lo_inclusive, hi, include_nulls, expected) in [
        (text("B"), true, text("b"), false, vec!["1", "3"]),
        (text("B"), false, None, true, vec!["1", "2", "4"]),
        (None, false, text("B"), false, vec!["3", "5"]),
    ] {
        let filter = CursorFilter { column: "k".into(), lo, lo_inclusive, hi, include_nulls };
        let plan = ReadPlan { columns: vec!["v".into()], filter: Some(filter), ..ReadPlan::default() };
        let batch = run(session.as_ref(), plan).await.unwrap();
        assert_eq!(texts(&batch), expected.into_iter().map(Some).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn text_without_quotes_is_split_and_text_with_quotes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("id,filler\r\n");
    (0..100_000).for_each(|id| text += &format!("{id},{}\r\n", "x".repeat(60)));
    fs::write(dir.path().join("t.csv"), &text).unwrap();
    let expected: Vec<String> = (0..100_000).map(|id| id.to_string()).collect();
    for (options, most) in [("", 1), ("?quote=", 4)] {
        let session = source(dir.path(), options).await.begin(&table("t.csv")).await.unwrap();
        let plan = ReadPlan { parallelism: 4, columns: vec!["id".into()], ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        assert!(splits.len() == most, "{} splits", splits.len());
        let batch = run(session.as_ref(), plan).await.unwrap();
        assert!(texts(&batch).into_iter().flatten().eq(expected.iter().map(String::as_str)));
    }
}

#[tokio::test]
async fn a_file_that_changes_during_a_session_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let text = format!("id,v\n{}", "1,something\n".repeat(300_000));
    for (change, splits_first) in [("append", true), ("append", false), ("replace", false), ("remove", false)]
    {
        fs::write(&path, &text).unwrap();
        let session = source(dir.path(), "").await.begin(&table("t.csv")).await.unwrap();
        let plan = ReadPlan { batch_bytes: 100_000, ..ReadPlan::default() };
        let split = session.splits(&plan).await.unwrap().remove(0);
        let mut stream = session.read(&split).await.unwrap();
        if splits_first {
            stream.next().await.unwrap().unwrap();
        }
        match change {
            "append" => fs::write(&path, format!("{text}2,late\n")).unwrap(),
            "replace" => {
                let new = dir.path().join(".new");
                fs::write(&new, text.replace('1', "7")).unwrap();
                fs::rename(new, &path).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{change}: {error}");
    }
}

#[tokio::test]
async fn splits_of_other_tables_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "x\n1\n").unwrap();
    fs::write(dir.path().join("b.csv"), "x\n1\n").unwrap();
    let source = source(dir.path(), "").await;
    let a = source.begin(&table("a.csv")).await.unwrap();
    let b = source.begin(&table("b.csv")).await.unwrap();
    let mut split = a.splits(&ReadPlan::default()).await.unwrap().remove(0);
    let read = |split: transload_core::connector::Split| async move {
        let stream = b.read(&split).await?;
        stream.try_collect::<Vec<_>>().await
    };
    split.part["pieces"][0]["file"] = "../../etc/passwd".into();
    assert_eq!(read(split).await.unwrap_err().kind(), ErrorKind::Config);
    let mut split = a.splits(&ReadPlan::default()).await.unwrap().remove(0);
    split.part = serde_json::json!({"elsewhere": 1});
    assert!(a.read(&split).await.is_err());
}

#[tokio::test]
async fn errors_in_the_middle_end_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "1,2\n".repeat(200_000);
    fs::write(dir.path().join("t.csv"), format!("a,b\n{rows}1,2,3\n{rows}")).unwrap();
    let session = source(dir.path(), "").await.begin(&table("t.csv")).await.unwrap();
    let split = session.splits(&ReadPlan::default()).await.unwrap().remove(0);
    let items: Vec<_> = session.read(&split).await.unwrap().collect().await;
    let (last, before) = items.split_last().unwrap();
    assert!(before.len() > 1 && before.iter().all(Result::is_ok));
    assert_eq!(last.as_ref().unwrap_err().context_value("line"), Some("200002"));
}

#[tokio::test]
async fn mutated_parquet_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write_parquet(&path, &numbers(0..200), 60);
    let good = fs::read(&path).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    let source = source(dir.path(), "").await;
    let mut refused = 0;
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        if random.random_bool(0.2) {
            bytes.truncate(random.random_range(0..bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();
        let outcome = match source.begin(&table("t.parquet")).await {
            Ok(session) => run(session.as_ref(), ReadPlan::default()).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            refused += 1;
            assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
        }
    }
    assert!(refused > 50);
}

/// Values that a page holds once and every row repeats must not make huge batches.
#[tokio::test]
async fn repeated_and_uneven_values_keep_batches_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(20_000);
    let repeated: StringArray = (0..3000).map(|_| Some(long.as_str())).collect();
    let uneven: StringArray =
        (0..3000).map(|row| Some(if row > 2900 { long.as_str() } else { "short" })).collect();
    for (name, values) in [("repeated", repeated), ("uneven", uneven)] {
        let batch = RecordBatch::try_from_iter([("v", Arc::new(values) as ArrayRef)]).unwrap();
        write_parquet(&dir.path().join(format!("{name}.parquet")), &batch, 10_000);
        let session = source(dir.path(), "").await.begin(&table(&format!("{name}.parquet"))).await.unwrap();
        let plan = ReadPlan { batch_bytes: 100_000, ..ReadPlan::default() };
        let split = session.splits(&plan).await.unwrap().remove(0);
        let batches: Vec<_> = session.read(&split).await.unwrap().try_collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3000);
        let largest = batches.iter().map(transload_core::batch::batch_bytes).max().unwrap();
        assert!(largest <= 200_000 + 2 * long.len(), "{name}: {largest}");
    }
}
