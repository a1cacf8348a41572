//! Snapshots, splits, batches, and reads that end before their time.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_select::concat::concat_batches;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt};
use transload_core::ErrorKind;
use transload_core::connector::{CursorFilter, ReadPlan, Split};
use transload_core::schema::{CursorValue, Nanos};
use transload_testkit::wait::eventually;

use crate::support::{Place, batches, connection, in_schema, open, read_plan};

fn ids(batch: &RecordBatch) -> Vec<i32> {
    batch.column(0).as_primitive::<Int32Type>().values().to_vec()
}

/// A table of 40 MB: more than every buffer on the way, and 4 splits.
async fn large(place: &Place) {
    place
        .run("CREATE TABLE large AS SELECT g AS id, repeat('x', 1000) AS filler FROM generate_series(1, 40000) g")
        .await;
}

#[tokio::test]
async fn empty_tables_and_tables_without_columns() {
    in_schema(|place| async move {
        place
            .run("CREATE TABLE empty (id int, t text); CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES")
            .await;
        let empty = place.read("empty").await.unwrap();
        assert_eq!((empty.num_rows(), empty.num_columns()), (0, 2));
        assert_eq!(place.source().await.sample(&place.table("empty"), 5).await.unwrap().num_rows(), 0);
        let bare = place.begin("bare").await;
        let read = batches(bare.as_ref(), &ReadPlan::default()).await.unwrap();
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    })
    .await;
}

#[tokio::test]
async fn batches_hold_the_same_rows_wherever_they_are_cut() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TABLE t AS SELECT g AS id, CASE WHEN g % 7 > 0 THEN repeat('ü', g % 50) END AS t,
                    CASE WHEN g % 5 > 0 THEN g / 3.0::numeric(10,4) END::numeric(12,4) AS n, g % 2 = 0 AS b,
                    CASE WHEN g % 11 > 0 THEN decode(md5(g::text), 'hex') END AS y, md5(g::text)::uuid AS u
                 FROM generate_series(1, 70000) g",
            )
            .await;
        let session = place.begin("t").await;
        let whole = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
        assert_eq!(whole.num_rows(), 70_000);
        for batch_bytes in [1000, 4096, 1 << 20] {
            let plan = ReadPlan { batch_bytes, ..ReadPlan::default() };
            let parts = batches(session.as_ref(), &plan).await.unwrap();
            assert!(parts.len() > 4, "{batch_bytes}: {} batches", parts.len());
            assert!(parts.iter().all(|part| part.num_rows() > 0));
            assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole, "{batch_bytes}");
        }
        let limit = ReadPlan {
            limit: Some(1),
            batch_bytes: 1,
            columns: vec!["u".into(), "id".into()],
            ..ReadPlan::default()
        };
        let one = read_plan(session.as_ref(), &limit).await.unwrap();
        assert_eq!((one.num_rows(), one.schema().field(0).name().as_str()), (1, "u"));
        session.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn splits_together_are_the_snapshot() {
    in_schema(|place| async move {
        large(&place).await;
        let session = place.begin("large").await;
        let plan = ReadPlan { parallelism: 4, columns: vec!["id".into()], ..ReadPlan::default() };
        // A read before the splits leaves a savepoint behind, from within which nothing can be exported.
        session.cursor_summary("id").await.unwrap();
        let splits = session.splits(&plan).await.unwrap();
        assert_eq!(splits.len(), 4);
        // What happens after the session began is not seen, on no connection.
        place.run("INSERT INTO large SELECT g, '' FROM generate_series(50001, 51000) g; DELETE FROM large WHERE id <= 1000; UPDATE large SET filler = ''").await;
        // A split is JSON.
        let splits: Vec<Split> = splits
            .iter()
            .map(|split| serde_json::from_str(&serde_json::to_string(split).unwrap()).unwrap())
            .collect();
        let streams = try_join_all(splits.iter().map(|split| session.read(split))).await.unwrap();
        let parts = try_join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>)).await.unwrap();
        assert!(parts.iter().all(|part| !part.is_empty()), "every split has rows");
        let mut all: Vec<i32> = parts.iter().flatten().flat_map(ids).collect();
        all.sort_unstable();
        assert_eq!(all, (1..=40_000).collect::<Vec<_>>());
        assert_eq!(session.cursor_summary("id").await.unwrap().max, Some(CursorValue::Int(40_000)));
        session.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_filter_and_a_limit_hold_over_splits() {
    in_schema(|place| async move {
        large(&place).await;
        let session = place.begin("large").await;
        let filter = CursorFilter {
            column: "id".into(),
            lo: Some(CursorValue::Int(39_000)),
            lo_inclusive: false,
            hi: Some(CursorValue::Int(39_500)),
            include_nulls: false,
        };
        let plan = ReadPlan { parallelism: 4, filter: Some(filter), ..ReadPlan::default() };
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 500);
        let plan = ReadPlan { limit: Some(123), ..plan };
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 123);
    })
    .await;
}

#[tokio::test]
async fn cursors_at_the_edges_of_their_types() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TABLE t (s smallint, d date, ts timestamp, tz timestamptz, x text, m money, n numeric, u uuid, e char(3));
                 INSERT INTO t VALUES (-32768, '0044-03-15 BC', '0044-03-15 12:00 BC', '0001-01-01 00:00+00', 'Z', 1, 9, gen_random_uuid(), 'a'),
                    (32767, '9999-12-31', '9999-12-31 23:59:59.999999', '10000-01-01 00:00+00', 'a', 2, 10, gen_random_uuid(), 'b'),
                    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
            )
            .await;
        let session = place.begin("t").await;
        for column in ["s", "d", "ts", "tz", "x", "m"] {
            let summary = session.cursor_summary(column).await.unwrap_or_else(|error| panic!("{column}: {error}"));
            assert_eq!(summary.nulls, 1, "{column}");
            // Each bound finds its own row, and nothing lies beyond it.
            for (value, other) in [(&summary.min, &summary.max), (&summary.max, &summary.min)] {
                assert_ne!(value, other);
                let filter = |lo_inclusive, include_nulls| CursorFilter {
                    column: column.into(),
                    lo: value.clone(),
                    lo_inclusive,
                    hi: value.clone(),
                    include_nulls,
                };
                for (filter, rows) in [(filter(true, false), 1), (filter(true, true), 2), (filter(false, false), 0)] {
                    let plan = ReadPlan { filter: Some(filter), ..ReadPlan::default() };
                    assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), rows, "{column} {plan:?}");
                }
            }
        }
        // Text is ordered by bytes, whatever the collation of the database.
        assert_eq!(session.cursor_summary("x").await.unwrap().min, Some(CursorValue::Text("Z".into())));
        // A bound between two microseconds excludes the one below it.
        let between = CursorFilter {
            column: "ts".into(),
            lo: Some(CursorValue::DateTime(Nanos(253_402_300_799_999_999_500))),
            lo_inclusive: true,
            hi: None,
            include_nulls: false,
        };
        let plan = ReadPlan { filter: Some(between), ..ReadPlan::default() };
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 0);
        // What is text only because Arrow has no better has no order.
        for column in ["n", "u", "e"] {
            assert_eq!(session.cursor_summary(column).await.unwrap_err().kind(), ErrorKind::Unsupported, "{column}");
        }
        assert_eq!(session.cursor_summary("tss").await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_killed_server_process_is_an_error() {
    in_schema(|place| async move {
        large(&place).await;
        let source = open(&connection().option("application_name", place.schema.as_str())).await.unwrap();
        let session = source.begin(&place.table("large")).await.unwrap();
        let plan = ReadPlan { batch_bytes: 100_000, ..ReadPlan::default() };
        let mut rows = session.read(&session.splits(&plan).await.unwrap()[0]).await.unwrap();
        let mut read = rows.next().await.unwrap().unwrap().num_rows();
        let killed = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{}'",
            place.schema
        );
        assert_eq!(place.number(&killed).await, 1);
        let error = loop {
            match rows.next().await {
                Some(Ok(batch)) => read += batch.num_rows(),
                Some(Err(error)) => break error,
                None => panic!("the stream ended early, after {read} rows, without an error"),
            }
        };
        assert!(read < 40_000);
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.is_retryable());
        assert!(rows.next().await.is_none());
        assert!(session.close().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_dropped_stream_stops_the_query_and_keeps_the_snapshot() {
    in_schema(|place| async move {
        place.run("CREATE VIEW slow AS SELECT g AS id, pg_sleep(CASE WHEN g > 2000 THEN 60 ELSE 0 END)::text AS s, repeat('x', 100) AS t FROM generate_series(1, 3000) g").await;
        place.run("CREATE TABLE t AS SELECT 1 AS id").await;
        let source = open(&connection().option("application_name", place.schema.as_str())).await.unwrap();
        let session = source.begin(&place.table("slow")).await.unwrap();
        let plan = ReadPlan { batch_bytes: 10_000, ..ReadPlan::default() };
        let mut rows = session.read(&session.splits(&plan).await.unwrap()[0]).await.unwrap();
        assert!(rows.next().await.unwrap().unwrap().num_rows() > 0);
        drop(rows);
        let active = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND state = 'active'", place.schema);
        eventually("the query ends", || async { place.number(&active).await == 0 }).await;
        // The session goes on, and a further connection still finds its snapshot.
        let plan = ReadPlan { limit: Some(100), ..ReadPlan::default() };
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 100);
        session.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_failing_read_leaves_the_session_usable() {
    in_schema(|place| async move {
        place.run("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 10) g; CREATE VIEW v AS SELECT id, 10 / (id - 5) AS x FROM t").await;
        let session = place.begin("v").await;
        let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.context_value("sqlstate")), (ErrorKind::Data, Some("22012")), "{error}");
        let plan = ReadPlan { columns: vec!["id".into()], ..ReadPlan::default() };
        assert_eq!(ids(&read_plan(session.as_ref(), &plan).await.unwrap()).len(), 10);
    })
    .await;
}

#[tokio::test]
async fn reading_cannot_write() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TABLE t (id int); CREATE FUNCTION add() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING id';
                 CREATE VIEW v AS SELECT add() AS id",
            )
            .await;
        place.run(&format!("ALTER FUNCTION add() SET search_path = {}", place.schema)).await;
        let error = place.read("v").await.unwrap_err();
        assert_eq!(error.context_value("sqlstate"), Some("25006"), "{error}");
        assert_eq!(place.number("SELECT count(*) FROM t").await, 0);
    })
    .await;
}

#[tokio::test]
async fn samples() {
    in_schema(|place| async move {
        large(&place).await;
        place.run("ANALYZE large; CREATE VIEW v AS SELECT * FROM large; CREATE TABLE few AS SELECT * FROM large LIMIT 3").await;
        let source = place.source().await;
        for (table, rows) in [("large", 200), ("v", 200), ("few", 3)] {
            let sample = source.sample(&place.table(table), 200).await.unwrap();
            assert_eq!(sample.num_rows(), rows, "{table}");
            assert_eq!(sample.schema(), source.describe(&place.table(table)).await.unwrap().arrow_schema());
        }
        // A share of the pages that has no row is no sample.
        for _ in 0..20 {
            assert_eq!(source.sample(&place.table("large"), 1).await.unwrap().num_rows(), 1);
        }
        // It comes from all over a large table.
        let sample = source.sample(&place.table("large"), 200).await.unwrap();
        assert!(ids(&sample).into_iter().max() > Some(1000), "{:?}", ids(&sample));
    })
    .await;
}
