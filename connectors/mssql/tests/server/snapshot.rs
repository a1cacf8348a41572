//! What a session sees while others write, and what it says where it has no snapshot.

use transload_core::ErrorKind;
use transload_core::connector::ReadPlan;
use transload_core::schema::CursorValue;

use super::support::{Place, batches, open, place, read_plan};

/// Rows with numbers `i` from 1 on.
async fn many(place: &Place, rows: usize, values: &str) {
    let numbers = format!("WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows})");
    place.run(&format!("{numbers} INSERT INTO $.t SELECT {values} FROM n OPTION (MAXRECURSION 0)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_of_one_moment() {
    let place = place().await;
    place.numbers(100, 10).await;
    let session = place.begin("t").await;
    assert_eq!(session.no_snapshot(), None, "the test's database must allow SNAPSHOT isolation");
    place.run("DELETE FROM $.t WHERE id <= 50").await;
    place.run("INSERT INTO $.t VALUES (1000, 'new')").await;
    assert_eq!(session.cursor_summary("id").await.unwrap().max, Some(CursorValue::Int(100)));
    assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 100);
    session.close().await.unwrap();
    assert_eq!(place.read("t").await.unwrap().num_rows(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_snapshot_the_reason_is_told() {
    let place = place().await;
    place.numbers(10, 10).await;
    let plain = place.connection().option("isolation", "read_committed");
    let session = open(&plain).await.unwrap().begin(&place.table("t")).await.unwrap();
    assert!(session.no_snapshot().is_some_and(|reason| reason.contains("READ COMMITTED")));
    place.run("INSERT INTO $.t VALUES (1000, 'new')").await;
    assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 11);
    // Nothing is left open that a writer would wait for.
    place.run("DROP TABLE $.t").await;
    session.close().await.unwrap();
}

/// 40 MB, over several connections that begin while somebody writes all the time: rows are moved from one end of the
/// table to the other, so that two moments would have other sums.
#[tokio::test(flavor = "multi_thread")]
async fn several_connections_see_one_moment() {
    let place = place().await;
    // The test server estimates a row's bytes by its columns, a real one by its pages: this is 48 MB for both.
    place.run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, t CHAR(8000) NULL, n INT NOT NULL, w VARCHAR(8000) NULL)").await;
    many(&place, 6000, "i, REPLICATE('x', 8000), 1, NULL").await;
    let (admin, schema) = (place.admin.clone(), place.schema.clone());
    let writer = tokio::spawn(async move {
        for round in 0..200 {
            let (up, down) = (round % 3000 + 1, 6000 - round % 3000);
            let sql = format!(
                "BEGIN TRANSACTION; UPDATE {schema}.t SET n = n + 1 WHERE id = {up}; \
                 UPDATE {schema}.t SET n = n - 1 WHERE id = {down}; COMMIT TRANSACTION"
            );
            // A writer may have to wait, or lose.
            let _ = admin.run(&sql).await;
        }
    });
    let mut connections = 0;
    for _ in 0..3 {
        let session = place.begin("t").await;
        let plan = ReadPlan { parallelism: 4, columns: vec!["id".into(), "n".into()], ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        connections = connections.max(splits.len());
        let (mut rows, mut sum) = (0, 0);
        for batch in batches(session.as_ref(), &plan).await.unwrap() {
            use arrow_array::cast::AsArray as _;
            rows += batch.num_rows();
            let column = batch.column(1).as_primitive::<arrow_array::types::Int32Type>();
            sum += column.values().iter().map(|n| i64::from(*n)).sum::<i64>();
        }
        assert_eq!((rows, sum), (6000, 6000));
        session.close().await.unwrap();
    }
    writer.await.unwrap();
    let tables = place.source().await.tables(Some(&place.schema)).await.unwrap();
    assert!(connections > 1, "a table of 48 MB is worth more than one connection: {:?}", tables[0]);
}

/// Somebody who has written and not committed keeps the lock from being had; then one connection reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_had_costs_connections_only() {
    let place = place().await;
    place
        .run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, t CHAR(8000) NULL, w VARCHAR(8000) NULL)")
        .await;
    many(&place, 5000, "i, REPLICATE('x', 8000), NULL").await;
    let mut writer = place.admin.client().await;
    let sql = format!("BEGIN TRANSACTION; UPDATE {}.t SET t = 'y' WHERE id = 1", place.schema);
    writer.simple_query(sql).await.unwrap().into_results().await.unwrap();
    let patient = place.connection().option("snapshot_lock_timeout", 1);
    let session = open(&patient).await.unwrap().begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { parallelism: 4, ..ReadPlan::default() };
    assert_eq!(session.splits(&plan).await.unwrap().len(), 1);
    assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 5000);
    writer.simple_query("ROLLBACK TRANSACTION").await.unwrap().into_results().await.unwrap();
}

/// A reader that waits for a lock gives up after `lock_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_somebody_else_is_a_conflict() {
    let place = place().await;
    place.numbers(10, 10).await;
    let mut writer = place.admin.client().await;
    let sql =
        format!("BEGIN TRANSACTION; SELECT COUNT(*) AS n FROM {}.t WITH (TABLOCKX, HOLDLOCK)", place.schema);
    writer.simple_query(sql).await.unwrap().into_results().await.unwrap();
    let impatient = place.connection().option("isolation", "read_committed").option("lock_timeout", 1);
    let error = open(&impatient).await.unwrap().begin(&place.table("t")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    writer.simple_query("ROLLBACK TRANSACTION").await.unwrap().into_results().await.unwrap();
}
