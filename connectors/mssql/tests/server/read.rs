//! Reading: choice of columns, limits, windows, splits, dropped streams.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use futures::{StreamExt as _, TryStreamExt as _};
use transload_core::connector::{CursorFilter, ReadPlan, ReadSession};
use transload_core::schema::{CursorValue, Nanos};

use super::support::{batches, place, read_plan};

/// The ids that a plan reads, each once.
async fn ids(session: &dyn ReadSession, plan: &ReadPlan) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for batch in batches(session, plan).await.unwrap() {
        let column = batch.column_by_name("id").unwrap().as_primitive::<Int32Type>().clone();
        for id in column.iter().flatten() {
            assert!(found.insert(id), "{id} twice");
        }
    }
    found
}

fn filter(column: &str, lo: Option<CursorValue>, lo_inclusive: bool, hi: Option<CursorValue>) -> ReadPlan {
    let filter = CursorFilter { column: column.into(), lo, lo_inclusive, hi, include_nulls: false };
    ReadPlan { filter: Some(filter), ..ReadPlan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_limits_and_windows_are_the_servers_work() {
    let place = place().await;
    place.numbers(5000, 20).await;
    let session = place.begin("t").await;
    let plan = ReadPlan { columns: vec!["t".into(), "id".into()], limit: Some(7), ..ReadPlan::default() };
    let batch = read_plan(session.as_ref(), &plan).await.unwrap();
    assert_eq!((batch.num_rows(), batch.schema().field(0).name().as_str()), (7, "t"));
    let int = |value| Some(CursorValue::Int(value));
    let window = filter("id", int(10), false, int(20));
    assert_eq!(ids(session.as_ref(), &window).await, (11..=20).collect());
    let summary = session.cursor_summary("id").await.unwrap();
    assert_eq!((summary.min, summary.max, summary.nulls), (int(1), int(5000), 0));
}

/// Values of one microsecond differ by the digit that batches do not hold; a window has all of them or none.
#[tokio::test(flavor = "multi_thread")]
async fn windows_agree_with_batches_about_the_seventh_digit() {
    let place = place().await;
    place
        .run("CREATE TABLE $.t (id INT NOT NULL, a DATETIME2(7) NULL, o DATETIMEOFFSET(7) NULL, d DATETIME NULL)")
        .await;
    for id in 0..20 {
        let ticks = 1_234_560 + id;
        place
            .run(&format!(
                "INSERT INTO $.t VALUES ({id}, '2024-01-01T00:00:00.{ticks:07}', '2024-01-01T01:00:00.{ticks:07}+01:00', \
                 '2024-01-01T00:00:00.{:03}')",
                [0, 3, 7][id % 3] + id / 3 * 10
            ))
            .await;
    }
    place.run("INSERT INTO $.t VALUES (99, NULL, NULL, NULL)").await;
    let session = place.begin("t").await;
    for (column, low) in [("a", 10), ("o", 10), ("d", 0)] {
        let summary = session.cursor_summary(column).await.unwrap();
        assert_eq!(summary.nulls, 1);
        // What is read up to the highest is everything, and what is read behind it nothing.
        let upto = ids(session.as_ref(), &filter(column, None, true, summary.max.clone())).await;
        assert_eq!(upto, (0..20).collect(), "{column}");
        let behind = ids(session.as_ref(), &filter(column, summary.max.clone(), false, None)).await;
        assert!(behind.is_empty(), "{column}: {behind:?}");
        let from = ids(session.as_ref(), &filter(column, summary.max.clone(), true, None)).await;
        assert_eq!(from, if low == 10 { (10..20).collect() } else { BTreeSet::from([19]) }, "{column}");
        // Each value of a batch selects its own rows.
        let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
        let array = batch.column_by_name(column).unwrap();
        for row in 0..20 {
            let value = CursorValue::from_array(array, row).unwrap();
            let expected: BTreeSet<i32> = value
                .as_ref()
                .unwrap()
                .rows_in(array)
                .unwrap()
                .into_iter()
                .map(|row| i32::try_from(row).unwrap())
                .collect();
            assert_eq!(
                ids(session.as_ref(), &filter(column, value.clone(), true, value)).await,
                expected,
                "{column} {row}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rowversions_are_cursors_with_a_settled_bound() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, r ROWVERSION)").await;
    place.run("INSERT INTO $.t (id) VALUES (1), (2), (3)").await;
    let source = place.source().await;
    let (session, settled) = source.begin_settled(&place.table("t"), "r").await.unwrap();
    let CursorValue::Binary(upto) = &settled.upto else { panic!("{settled:?}") };
    let summary = session.cursor_summary("r").await.unwrap();
    let Some(CursorValue::Binary(max)) = &summary.max else { panic!("{summary:?}") };
    assert!(upto >= max, "nobody writes: {upto:?} {max:?}");
    assert_eq!(
        ids(session.as_ref(), &filter("r", None, true, Some(settled.upto.clone()))).await,
        (1..=3).collect()
    );
    place.run("UPDATE $.t SET id = 4 WHERE id = 1").await;
    let later = place.begin("t").await;
    assert_eq!(ids(later.as_ref(), &filter("r", summary.max, false, None)).await, BTreeSet::from([4]));
    let error = source.begin_settled(&place.table("t"), "id").await.unwrap_err();
    assert_eq!(error.kind(), transload_core::ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_frees_its_connection() {
    let place = place().await;
    place.numbers(20_000, 200).await;
    let session = place.begin("t").await;
    let plan = ReadPlan { batch_bytes: 1 << 16, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    for taken in 0..5 {
        let mut stream = session.read(&splits[0]).await.unwrap();
        for _ in 0..taken {
            stream.next().await.unwrap().unwrap();
        }
    }
    let rows: Vec<_> = session.read(&splits[0]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 20_000);
    assert!(rows.len() > 10, "batches are as small as was asked for");
    // A question that is dropped while it is asked does the same.
    for _ in 0..3 {
        let asking = session.cursor_summary("id");
        let _ = tokio::time::timeout(std::time::Duration::from_micros(200), asking).await;
    }
    assert_eq!(session.cursor_summary("id").await.unwrap().max, Some(CursorValue::Int(20_000)));
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_come_from_everywhere() {
    let place = place().await;
    place.numbers(5000, 20).await;
    let session = place.begin("t").await;
    let sample = session.sample(100).await.unwrap();
    assert!((50..=100).contains(&sample.num_rows()), "{}", sample.num_rows());
    let found: Vec<i32> = sample.column(0).as_primitive::<Int32Type>().values().to_vec();
    assert!(found.iter().any(|id| *id < 1000) && found.iter().any(|id| *id > 4000), "{found:?}");
}

/// A long read is a chain of statements over ranges of a key, and a key may be NULL.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_hold_every_row_once() {
    let place = place().await;
    place
        .run(
            "CREATE TABLE $.t (id INT NOT NULL, n INT NULL, d DECIMAL(10,2) NULL, a DATE NULL, m DATETIME2(7) NULL, \
             z DATETIMEOFFSET(7) NULL, o DATETIME NULL, s SMALLDATETIME NULL, c MONEY NULL)",
        )
        .await;
    let rows: Vec<_> = (1..=28)
        .map(|id| {
            format!(
                "({id}, {id}, {id}.05, '2024-01-{id:02}', '2024-01-{id:02}T10:00:00.1234567', \
                 '2024-01-{id:02}T10:00:00.1234567+05:00', '2024-01-{id:02}T10:00:00.007', '2024-01-{id:02}T10:01:00', {id}.0001)"
            )
        })
        .collect();
    place.run(&format!("INSERT INTO $.t VALUES {}", rows.join(", "))).await;
    place.run("INSERT INTO $.t (id) VALUES (29), (30)").await;
    let session = place.begin("t").await;
    let split = session.splits(&ReadPlan::default()).await.unwrap().remove(0);
    for (column, low) in [
        ("n", CursorValue::Int(10)),
        ("d", CursorValue::Decimal("1005".into(), 2)),
        ("a", CursorValue::Date(19_732)),
        ("m", CursorValue::DateTime(Nanos(1_704_880_800_123_456_000))),
        ("z", CursorValue::Timestamp(Nanos(1_704_862_800_123_456_000))),
        ("o", CursorValue::DateTime(Nanos(1_704_880_800_007_000_000))),
        ("s", CursorValue::DateTime(Nanos(1_704_880_860_000_000_000))),
        ("c", CursorValue::Decimal("100001".into(), 4)),
    ] {
        let low = serde_json::to_value(&low).unwrap();
        let of = |cuts: serde_json::Value| {
            let part = serde_json::json!({"column": column, "cuts": cuts});
            transload_core::connector::Split { part, ..split.clone() }
        };
        let count = async |cuts: serde_json::Value| {
            let batches: Vec<_> = session.read(&of(cuts)).await.unwrap().try_collect().await.unwrap();
            batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>()
        };
        // The value itself begins the second range; NULLs are in the first.
        assert_eq!(count(serde_json::json!([null, low])).await, 11, "{column}");
        assert_eq!(count(serde_json::json!([low, null])).await, 19, "{column}");
        assert_eq!(
            count(serde_json::json!([null, low, null])).await,
            30,
            "{column}: a chain of two statements"
        );
    }
    let wrong = transload_core::connector::Split { part: serde_json::json!({}), ..split };
    assert!(session.read(&wrong).await.is_err());
}
