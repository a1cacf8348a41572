//! The connector against real database files.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use futures::{StreamExt as _, TryStreamExt as _};
use rusqlite::Connection as Db;
use transload_core::connector::{CursorFilter, ReadPlan, ReadSession, Source};
use transload_core::schema::{CursorValue, TableRef};
use transload_core::{Connection, ErrorKind, Registry, Result, TestStatus};
use transload_sqlite::Sqlite;

struct TestDb {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl TestDb {
    fn new(sql: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let db = Db::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        Self { dir, path }
    }

    fn db(&self) -> Db {
        Db::open(&self.path).unwrap()
    }

    async fn source(&self) -> Arc<dyn Source> {
        source(&self.path, "").await.unwrap()
    }
}

fn connection(path: &Path, options: &str) -> Connection {
    Connection::from_url(&format!("sqlite:{}{options}", path.display())).unwrap()
}

async fn source(path: &Path, options: &str) -> Result<Arc<dyn Source>> {
    Registry::new().with(Sqlite).source(&connection(path, options)).await
}

fn table(name: &str) -> TableRef {
    TableRef::unqualified(name)
}

async fn run(session: &dyn ReadSession, plan: ReadPlan) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for split in session.splits(&plan).await? {
        batches.extend(session.read(&split).await?.try_collect::<Vec<_>>().await?);
    }
    let schema = session.table().arrow_schema_of(&plan.columns)?;
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    Ok(arrow_select::concat::concat_batches(&schema, &batches)?)
}

async fn read(source: &Arc<dyn Source>, name: &str) -> Result<RecordBatch> {
    run(source.begin(&table(name)).await?.as_ref(), ReadPlan::default()).await
}

fn ints(batch: &RecordBatch, column: usize) -> Vec<Option<i64>> {
    batch.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<&str>> {
    batch.column(column).as_string::<i32>().iter().collect()
}

#[tokio::test]
async fn every_storage_class_arrives_exactly() {
    let db = TestDb::new(
        "CREATE TABLE t(i INTEGER, r REAL, s VARCHAR(10), b BLOB, f BOOLEAN, d DECIMAL(10,2), day DATE, x);
         INSERT INTO t VALUES
           (9223372036854775807, 0.1, 'é', x'00ff', 1, 11.77, '2024-02-29', 'any'),
           (-9223372036854775808, 9e999, '', x'', 0, -5, 20240229, 1.5),
           (0, -0.0, 'a' || char(0) || 'b', zeroblob(3), 1, 0.1, 2460000.5, 7),
           (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    let source = db.source().await;
    let schema = source.describe(&table("t")).await.unwrap();
    let types: Vec<_> = schema.columns.iter().map(|column| column.data_type.clone()).collect();
    assert_eq!(
        types,
        [
            DataType::Int64,
            DataType::Float64,
            DataType::Utf8,
            DataType::Binary,
            DataType::Boolean,
            DataType::Decimal128(10, 2),
            DataType::Utf8,
            DataType::Utf8
        ]
    );
    assert_eq!(schema.columns[5].source_type, "DECIMAL(10,2)");
    let batch = read(&source, "t").await.unwrap();
    assert_eq!(ints(&batch, 0), [Some(i64::MAX), Some(i64::MIN), Some(0), None]);
    let reals: Vec<_> = batch.column(1).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(reals, [Some(0.1), Some(f64::INFINITY), Some(0.0), None]);
    assert_eq!(texts(&batch, 2), [Some("é"), Some(""), Some("a\0b"), None]);
    let blobs: Vec<_> = batch.column(3).as_binary::<i32>().iter().collect();
    assert_eq!(blobs, [Some(&[0, 0xff][..]), Some(&[]), Some(&[0, 0, 0]), None]);
    let flags: Vec<_> = batch.column(4).as_boolean().iter().collect();
    assert_eq!(flags, [Some(true), Some(false), Some(true), None]);
    let decimals: Vec<_> = batch.column(5).as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(decimals, [Some(1177), Some(-500), Some(10), None]);
    assert_eq!(texts(&batch, 6), [Some("2024-02-29"), Some("20240229"), Some("2460000.5"), None]);
    assert_eq!(texts(&batch, 7), [Some("any"), Some("1.5"), Some("7"), None]);
}

#[tokio::test]
async fn a_value_of_another_class_is_named_with_its_row() {
    for (kind, value, word) in [
        ("INTEGER", "'abc'", "'abc'"),
        ("INTEGER", "1.5", "1.5"),
        ("REAL", "'x'", "'x'"),
        ("TEXT", "x'0a0b'", "X'0A0B' (2 bytes)"),
        ("TEXT", "CAST(x'ff' AS TEXT)", "UTF-8"),
        ("BLOB", "'text'", "not a blob"),
        ("BOOLEAN", "2", "neither 0 nor 1"),
        ("BOOLEAN", "'true'", "'true'"),
        ("DECIMAL(5,2)", "1.125", "decimal places"),
        ("DECIMAL(5,2)", "1000", "precision"),
        ("DECIMAL(5,2)", "'n/a'", "not a number"),
    ] {
        let db = TestDb::new(&format!(
            "CREATE TABLE t(v {kind}); INSERT INTO t(rowid, v) VALUES (41, NULL), (42, {value})"
        ));
        let error = read(&db.source().await, "t").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert_eq!(
            (error.context_value("table"), error.context_value("column"), error.context_value("rowid")),
            (Some("t"), Some("v"), Some("42")),
            "{error}"
        );
        assert!(
            error.to_string().contains(word) && error.to_string().contains("on_type_mismatch"),
            "{error}"
        );
        // The way out that the hint names does work.
        let as_text = source(&db.path, "?on_type_mismatch=text").await.unwrap();
        let outcome = read(&as_text, "t").await;
        assert_eq!(outcome.is_ok(), word != "UTF-8", "{kind} {value}");
        if let Ok(batch) = outcome {
            assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 1));
        }
    }
}

#[tokio::test]
async fn hostile_names_are_only_names() {
    let hostile = [
        "a\"b",
        "select",
        "x; DROP TABLE t; --",
        "'",
        "Ünïcode 😀",
        "a b",
        "rowid",
        "_rowid_",
        "[x]",
        "`",
        "%s",
        "?1",
    ];
    let quoted: Vec<String> =
        hostile.iter().map(|name| format!("\"{}\" INTEGER", name.replace('"', "\"\""))).collect();
    for name in hostile {
        let sql = format!(
            "CREATE TABLE \"{0}\"({1}); INSERT INTO \"{0}\" DEFAULT VALUES",
            name.replace('"', "\"\""),
            quoted.join(", ")
        );
        let db = TestDb::new(&sql);
        let source = db.source().await;
        assert_eq!(source.tables(None).await.unwrap()[0].table.name, name);
        let session = source.begin(&table(name)).await.unwrap();
        let names: Vec<_> = session.table().columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, hostile);
        for column in hostile {
            let filter = CursorFilter {
                column: column.to_owned(),
                lo: None,
                lo_inclusive: false,
                hi: Some(CursorValue::Int(1)),
                include_nulls: true,
            };
            let plan =
                ReadPlan { columns: vec![column.to_owned()], filter: Some(filter), ..ReadPlan::default() };
            assert_eq!(run(session.as_ref(), plan).await.unwrap().num_rows(), 1);
            assert_eq!(session.cursor_summary(column).await.unwrap().nulls, 1);
        }
        assert_eq!(source.sample(&table(name), 3).await.unwrap().num_rows(), 1);
    }
}

#[tokio::test]
async fn the_catalog_tells_keys_indexes_and_kinds() {
    let db = TestDb::new(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE NOT NULL, at TEXT COLLATE NOCASE, n INT DEFAULT 5,
                             g INT AS (n * 2) STORED);
         CREATE INDEX by_at ON parent(at);
         CREATE INDEX by_n ON parent(n, code);
         CREATE UNIQUE INDEX some ON parent(code, n) WHERE n > 1;
         CREATE TABLE pair(b TEXT, a TEXT, v INT, PRIMARY KEY(a, b)) WITHOUT ROWID;
         CREATE TABLE loose(k TEXT PRIMARY KEY);
         CREATE TABLE strict_one(k TEXT PRIMARY KEY, v ANY) STRICT;
         CREATE VIEW v AS SELECT id, code, id + 1 AS next FROM parent;
         CREATE VIRTUAL TABLE words USING fts5(body);
         INSERT INTO parent(id, code) VALUES (1, 'x'), (2, 'y');
         INSERT INTO words VALUES ('hello world');
         ANALYZE",
    );
    let source = db.source().await;
    let tables = source.tables(None).await.unwrap();
    let names: Vec<_> = tables.iter().map(|info| (info.table.name.as_str(), info.kind.as_str())).collect();
    assert_eq!(
        names,
        [
            ("loose", "table"),
            ("pair", "table"),
            ("parent", "table"),
            ("strict_one", "table"),
            ("v", "view"),
            ("words", "table")
        ]
    );
    let parent = source.describe(&table("parent")).await.unwrap();
    assert_eq!(
        (parent.primary_key.as_slice(), parent.unique_keys.as_slice()),
        (&["id".to_owned()][..], &[vec!["code".to_owned()]][..])
    );
    let indexed: Vec<_> =
        parent.columns.iter().map(|c| (c.name.as_str(), c.indexed, c.nullable, c.generated)).collect();
    assert_eq!(
        indexed,
        [
            ("id", true, false, false),
            ("code", true, false, false),
            ("at", false, true, false),
            ("n", true, true, false),
            ("g", false, true, true)
        ]
    );
    assert_eq!((parent.columns[3].default.as_deref(), parent.rows_estimate), (Some("5"), Some(2)));
    let pair = source.describe(&table("pair")).await.unwrap();
    assert_eq!(pair.primary_key, ["a", "b"]);
    assert!(!pair.columns[0].nullable && !pair.columns[1].nullable && pair.columns[2].nullable);
    assert!(source.describe(&table("loose")).await.unwrap().columns[0].nullable);
    assert!(!source.describe(&table("strict_one")).await.unwrap().columns[0].nullable);
    let view = read(&source, "v").await.unwrap();
    assert_eq!((view.num_rows(), view.column(1).as_string::<i32>().value(1)), (2, "y"));
    assert_eq!(texts(&read(&source, "words").await.unwrap(), 0), [Some("hello world")]);
    for missing in [table("nope"), table("Parent"), table("sqlite_stat1"), TableRef::new("main", "parent")] {
        assert_eq!(source.describe(&missing).await.unwrap_err().kind(), ErrorKind::NotFound, "{missing}");
    }
    assert_eq!(source.tables(Some("main")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_session_does_not_see_what_is_committed_later() {
    let db = TestDb::new(
        "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
    );
    let source = db.source().await;
    let writer = db.db();
    let session = source.begin(&table("t")).await.unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3); DELETE FROM t WHERE id = 1").unwrap();
    assert_eq!(session.cursor_summary("id").await.unwrap().max, Some(CursorValue::Int(2)));
    writer.execute_batch("INSERT INTO t VALUES (4); ALTER TABLE t ADD COLUMN later").unwrap();
    assert_eq!(ints(&run(session.as_ref(), ReadPlan::default()).await.unwrap(), 0), [Some(1), Some(2)]);
    session.close().await.unwrap();
    assert_eq!(ints(&read(&source, "t").await.unwrap(), 0), [Some(2), Some(3), Some(4)]);
}

#[tokio::test]
async fn without_wal_a_session_holds_writers_off_and_lets_them_go() {
    let db = TestDb::new("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = db.source().await;
    let session = source.begin(&table("t")).await.unwrap();
    let writer = db.db();
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(writer.execute_batch("INSERT INTO t VALUES (2)").is_err());
    drop(session);
    // Dropping does not wait; the thread closes the connection soon.
    writer.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}

#[tokio::test]
async fn a_locked_database_is_a_conflict_worth_another_try() {
    let db = TestDb::new("CREATE TABLE t(id INTEGER)");
    let writer = db.db();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = source(&db.path, "?busy_timeout=1").await.unwrap().tables(None).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
}

#[tokio::test]
async fn files_that_are_no_databases() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.db");
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is no database, but it is long enough to hold a header ".repeat(20)).unwrap();
    for (path, kind) in [
        (&missing, ErrorKind::NotFound),
        (&text, ErrorKind::Data),
        (&dir.path().to_owned(), ErrorKind::Config),
    ] {
        let source = source(path, "").await.unwrap();
        let error = source.check().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint_text().is_some());
        assert_eq!(source.begin(&table("t")).await.unwrap_err().kind(), kind);
        let status =
            Registry::new().with(Sqlite).test(&connection(path, ""), std::time::Duration::from_secs(9)).await;
        assert_eq!(status.status, TestStatus::Failed);
    }
    assert!(!missing.exists(), "opening must not create a file");
}

#[tokio::test]
async fn reading_changes_nothing() {
    let db = TestDb::new("CREATE TABLE t(id INTEGER); INSERT INTO t VALUES (1)");
    let before = std::fs::read(&db.path).unwrap();
    let source = db.source().await;
    source.check().await.unwrap();
    read(&source, "t").await.unwrap();
    assert_eq!(std::fs::read(&db.path).unwrap(), before);
    let files: Vec<_> =
        std::fs::read_dir(db.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["t.db"]);
    assert!(source.check().await.unwrap().version.starts_with("SQLite 3."));
}

#[tokio::test]
async fn windows_over_integers_texts_and_decimals() {
    let db = TestDb::new(
        "CREATE TABLE t(i INTEGER, s TEXT COLLATE NOCASE, d DECIMAL(10,2), day DATETIME);
         INSERT INTO t VALUES (1, 'B', 1.10, '2024-01-01'), (2, 'a', 2, '2024-01-02 10:00:00'), (3, 'b', 10.5, '2024-01-03'),
                              (NULL, NULL, NULL, NULL)",
    );
    let source = db.source().await;
    let session = source.begin(&table("t")).await.unwrap();
    let text = |text: &str| CursorValue::Text(text.to_owned());
    let decimal = |unscaled: &str| CursorValue::Decimal(unscaled.to_owned(), 2);
    for (column, values) in [
        ("i", [CursorValue::Int(1), CursorValue::Int(2), CursorValue::Int(3)]),
        // By bytes: B, a, b, although the column declares another order.
        ("s", [text("B"), text("a"), text("b")]),
        ("d", [decimal("110"), decimal("200"), decimal("1050")]),
        ("day", [text("2024-01-01"), text("2024-01-02 10:00:00"), text("2024-01-03")]),
    ] {
        let summary = session.cursor_summary(column).await.unwrap();
        assert_eq!(
            (summary.min.as_ref(), summary.max.as_ref(), summary.nulls),
            (Some(&values[0]), Some(&values[2]), 1)
        );
        for (lo, lo_inclusive, hi, include_nulls, expected) in [
            (Some(0), false, Some(1), false, vec![Some(2)]),
            (Some(0), true, Some(1), false, vec![Some(1), Some(2)]),
            (Some(1), false, None, false, vec![Some(3)]),
            (None, false, Some(0), true, vec![Some(1), None]),
            (None, false, None, false, vec![Some(1), Some(2), Some(3)]),
            (None, false, None, true, vec![Some(1), Some(2), Some(3), None]),
            (Some(2), false, Some(2), false, vec![]),
        ] {
            let filter = CursorFilter {
                column: column.to_owned(),
                lo: lo.map(|at: usize| values[at].clone()),
                lo_inclusive,
                hi: hi.map(|at: usize| values[at].clone()),
                include_nulls,
            };
            // The cursor need not be among the columns.
            let plan =
                ReadPlan { columns: vec!["i".into()], filter: Some(filter.clone()), ..ReadPlan::default() };
            let batch = run(session.as_ref(), plan).await.unwrap();
            assert_eq!(ints(&batch, 0), expected, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn cursors_that_cannot_be_trusted_are_refused() {
    let db = TestDb::new(
        "CREATE TABLE t(i INTEGER, day DATE, r REAL, b BLOB);
         INSERT INTO t VALUES (1, 20240101, 1.0, x'00'), ('oops', '2024-01-01', 2.0, x'01');
         CREATE TABLE empty(i INTEGER)",
    );
    let source = db.source().await;
    let session = source.begin(&table("t")).await.unwrap();
    for (column, kind) in [
        ("i", ErrorKind::Data),
        ("day", ErrorKind::Unsupported),
        ("r", ErrorKind::Unsupported),
        ("b", ErrorKind::Unsupported),
        ("none", ErrorKind::NotFound),
    ] {
        let error = session.cursor_summary(column).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let filter = |value| CursorFilter {
        column: "i".into(),
        lo: Some(value),
        lo_inclusive: true,
        hi: None,
        include_nulls: false,
    };
    let plan = |value| ReadPlan { filter: Some(filter(value)), ..ReadPlan::default() };
    let error = session.splits(&plan(CursorValue::Text("1".into()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert_eq!(
        run(session.as_ref(), plan(CursorValue::UInt(u64::MAX))).await.unwrap_err().kind(),
        ErrorKind::Data
    );
    let empty = source.begin(&table("empty")).await.unwrap();
    assert_eq!(empty.cursor_summary("i").await.unwrap(), transload_core::connector::CursorSummary::default());
    assert_eq!(run(empty.as_ref(), ReadPlan::default()).await.unwrap().num_rows(), 0);
    assert_eq!(source.sample(&table("empty"), 10).await.unwrap().num_rows(), 0);
}

fn many() -> TestDb {
    TestDb::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
         INSERT INTO t WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 200000)
         SELECT v, 'row ' || v FROM n",
    )
}

#[tokio::test]
async fn large_tables_come_in_batches() {
    let db = many();
    let source = db.source().await;
    let session = source.begin(&table("t")).await.unwrap();
    let plan = ReadPlan { parallelism: 4, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    assert_eq!(splits.len(), 1);
    // A split survives its JSON form.
    let split = serde_json::from_str(&serde_json::to_string(&splits[0]).unwrap()).unwrap();
    let batches: Vec<_> = session.read(&split).await.unwrap().try_collect().await.unwrap();
    assert!(batches.len() > 2 && batches.iter().all(|batch| batch.num_rows() <= 65_536));
    let ids: Vec<_> = batches.iter().flat_map(|batch| ints(batch, 0)).collect();
    assert!(ids.into_iter().eq((1..=200_000).map(Some)));
    let small = ReadPlan {
        batch_bytes: 10_000,
        limit: Some(5000),
        columns: vec!["s".into(), "id".into()],
        ..ReadPlan::default()
    };
    let split = session.splits(&small).await.unwrap().remove(0);
    let batches: Vec<_> = session.read(&split).await.unwrap().try_collect().await.unwrap();
    assert!(batches.len() > 5);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 5000);
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "row 1");
}

#[tokio::test]
async fn a_dropped_stream_frees_the_session() {
    let db = many();
    let session = db.source().await.begin(&table("t")).await.unwrap();
    let plan = ReadPlan { batch_bytes: 1000, ..ReadPlan::default() };
    let split = session.splits(&plan).await.unwrap().remove(0);
    let mut stream = session.read(&split).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(session.cursor_summary("id").await.unwrap().max, Some(CursorValue::Int(200_000)));
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_stream_interrupts_a_statement_that_finds_nothing() {
    let db = TestDb::new(
        "CREATE VIEW slow AS WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 1000000000000)
         SELECT v FROM n WHERE v < 0; CREATE TABLE t(id INTEGER)",
    );
    let session = db.source().await.begin(&table("slow")).await.unwrap();
    let split = session.splits(&ReadPlan::default()).await.unwrap().remove(0);
    let mut stream = session.read(&split).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), stream.next()).await;
    assert!(waited.is_err());
    drop(stream);
    tokio::time::timeout(std::time::Duration::from_secs(60), session.close()).await.unwrap().unwrap();
}

#[tokio::test]
async fn samples_are_spread_over_the_row_numbers() {
    let db = many();
    let source = db.source().await;
    let ids: Vec<_> =
        ints(&source.sample(&table("t"), 100).await.unwrap(), 0).into_iter().flatten().collect();
    assert_eq!(ids.len(), 100);
    assert!(
        ids.is_sorted_by(|a, b| a < b) && ids[0] == 1 && ids[50] > 60_000 && ids[99] > 130_000,
        "{ids:?}"
    );
    assert_eq!(source.sample(&table("t"), 1_000_000).await.unwrap().num_rows(), 200_000);
    let gaps = TestDb::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY);
         INSERT INTO t VALUES (-9223372036854775808), (-5), (1), (2), (3), (9223372036854775807)",
    );
    assert_eq!(gaps.source().await.sample(&table("t"), 4).await.unwrap().num_rows(), 4);
    assert_eq!(gaps.source().await.sample(&table("t"), 100).await.unwrap().num_rows(), 6);
}

/// Broken databases give errors or rows, never a panic or a hang.
#[tokio::test]
async fn mutated_databases_never_panic() {
    use rand::{Rng as _, SeedableRng as _};
    let db = TestDb::new(
        "PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, d DECIMAL(5,2), b BLOB);
         INSERT INTO t VALUES (1, 'one', 1.5, x'01'), (2, 'two', 2, NULL), (3, 'three', 3.25, x'0203');
         CREATE INDEX i ON t(s)",
    );
    let good = std::fs::read(&db.path).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(3);
    let path = db.dir.path().join("broken.db");
    let mut failed = 0;
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        if random.random_bool(0.2) {
            bytes.truncate(random.random_range(0..bytes.len()));
        }
        std::fs::write(&path, &bytes).unwrap();
        let broken = source(&path, "?busy_timeout=1").await.unwrap();
        failed += usize::from(broken.tables(None).await.is_err());
        failed += usize::from(read(&broken, "t").await.is_err());
        let _ = broken.sample(&table("t"), 5).await;
        if let Ok(session) = broken.begin(&table("t")).await {
            let _ = session.cursor_summary("s").await;
        }
        let _ = std::fs::remove_file(db.dir.path().join("broken.db-journal"));
    }
    assert!(failed > 0);
}
