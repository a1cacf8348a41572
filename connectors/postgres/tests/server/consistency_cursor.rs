//! Rows of transactions that are open when a window is decided, and commit after it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_postgres::Client;
use transload_core::job::{CursorBound, StepDocument};
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, EtlJob, RunReport, Secret};
use transload_testkit::wait::PATIENCE;

use crate::lake::Lake;
use crate::own::Server;
use crate::support::{client, connection, open};

/// A database of one test: the sessions of other tests must not hold its windows back.
async fn in_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Connection) -> F) {
    let name = format!("transload_{:016x}", rand::rng().random::<u64>());
    client().await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let outcome = tokio::spawn(test(connection().option("database", name.as_str()))).await;
    client().await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn client_of(shop: &Connection) -> Client {
    let mut config: tokio_postgres::Config = crate::support::url().parse().unwrap();
    let (client, connection) =
        config.dbname(shop.option_text("database").unwrap()).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn table() -> TableRef {
    TableRef::new("public", "t")
}

fn job(bound: CursorBound) -> EtlJob {
    Lake::job(table()).append("at").cursor_bound(bound).build().unwrap()
}

/// Warnings of the window, not those of types.
fn codes(report: &RunReport) -> Vec<&str> {
    let of_run = report.warnings.iter().filter(|(column, _)| column.is_none());
    of_run.map(|(_, warning)| warning.code.as_str()).collect()
}

/// Longer than the margin below which no time is trusted.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

const OLD: &str = "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz DEFAULT now());
    INSERT INTO t VALUES (0, now() - interval '1 hour')";

/// A row whose transaction is open during the first run, and one that was written after it and committed before.
async fn late_row(shop: &Connection, lake: &Lake, job: &EtlJob) -> (RunReport, RunReport) {
    let (late, other) = (client_of(shop).await, client_of(shop).await);
    run(&late, "BEGIN; INSERT INTO t (id) VALUES (1)").await;
    run(&other, "INSERT INTO t (id) VALUES (2)").await;
    settle().await;
    let during = lake.load(shop, job).await;
    run(&late, "COMMIT").await;
    settle().await;
    let after = lake.load(shop, job).await;
    (during, after)
}

#[tokio::test]
async fn a_table_that_was_created_again_is_told() {
    in_database(|shop| async move {
        let admin = client_of(&shop).await;
        run(&admin, OLD).await;
        let (lake, job) = (Lake::new(), job(CursorBound::Max));
        assert_eq!(codes(&lake.load(&shop, &job).await), [] as [&str; 0]);
        // What keeps the table keeps it: rewritten, renamed and back, emptied, with another column.
        for change in [
            "VACUUM FULL t",
            "ALTER TABLE t RENAME TO other; ALTER TABLE other RENAME TO t",
            "TRUNCATE t; INSERT INTO t VALUES (1, now())",
            "ALTER TABLE t ADD COLUMN more text",
        ] {
            run(&admin, change).await;
            assert_eq!(codes(&lake.load(&shop, &job).await), [] as [&str; 0], "{change}");
        }
        run(&admin, "DROP TABLE t").await;
        run(&admin, &OLD.replace("(0, now() - interval '1 hour')", "(7, now())")).await;
        let report = lake.load(&shop, &job).await;
        assert_eq!((codes(&report), report.rows.written), (vec!["W_SOURCE_RECREATED"], 1));
        // Told once: the next load knows the table.
        run(&admin, "INSERT INTO t VALUES (8, now())").await;
        assert_eq!(codes(&lake.load(&shop, &job).await), [] as [&str; 0]);
    })
    .await;
}

#[tokio::test]
async fn up_to_the_maximum_a_late_row_is_missed() {
    in_database(|shop| async move {
        run(&client_of(&shop).await, OLD).await;
        let (lake, job) = (Lake::new(), job(CursorBound::Max));
        let (during, after) = late_row(&shop, &lake, &job).await;
        assert_eq!((codes(&during), codes(&after)), (vec![], vec![]));
        // This is what `oldest_transaction` and `lag` are for.
        assert_eq!(lake.ids(), [0, 2]);
    })
    .await;
}

#[tokio::test]
async fn below_the_oldest_transaction_no_row_is_missed_and_none_comes_twice() {
    in_database(|shop| async move {
        run(&client_of(&shop).await, OLD).await;
        let (lake, job) = (Lake::new(), job(CursorBound::OldestTransaction));
        let (during, after) = late_row(&shop, &lake, &job).await;
        assert_eq!(during.rows.written, 1, "only the row from before the open transaction");
        assert_eq!((codes(&during), codes(&after)), (vec!["W_OPEN_TRANSACTION"], vec![]));
        let text = &during.warnings.iter().find(|(column, _)| column.is_none()).unwrap().1.text;
        // Since more than a second; how much more is the machine's.
        assert!(text.contains("open for ") && !text.contains("open for 0s"), "{text}");
        assert!(text.contains("idle in transaction"), "{text}");
        assert_eq!(lake.ids(), [0, 1, 2]);
        assert_eq!(lake.load(&shop, &job).await.rows.written, 0);
        assert_eq!(lake.ids(), [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_lag_above_the_longest_transaction_does_the_same() {
    in_database(|shop| async move {
        let admin = client_of(&shop).await;
        run(&admin, OLD).await;
        let lake = Lake::new();
        let lag = StepDocument::Duration("1m".to_owned());
        let job = Lake::job(table()).append("at").lag(lag).build().unwrap();
        let (during, _) = late_row(&shop, &lake, &job).await;
        assert_eq!((during.rows.written, codes(&during)), (1, vec![]));
        // The lag counts from the highest cursor, so a newer row lets the two go.
        assert_eq!(lake.ids(), [0]);
        run(&admin, "INSERT INTO t VALUES (3, now() + interval '2 minutes')").await;
        lake.load(&shop, &job).await;
        assert_eq!(lake.ids(), [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn an_open_transaction_is_told_in_every_run_that_waits_for_it() {
    in_database(|shop| async move {
        let (idle, other) = (client_of(&shop).await, client_of(&shop).await);
        run(&other, OLD).await;
        let (lake, job) = (Lake::new(), job(CursorBound::OldestTransaction));
        lake.load(&shop, &job).await;
        // It has written nothing yet, and still may.
        run(&idle, "BEGIN; SELECT 1").await;
        settle().await;
        for id in 1..4 {
            run(&other, &format!("INSERT INTO t (id) VALUES ({id})")).await;
            settle().await;
            let report = lake.load(&shop, &job).await;
            assert_eq!((report.rows.written, codes(&report)), (0, vec!["W_OPEN_TRANSACTION"]));
        }
        run(&idle, "INSERT INTO t (id) VALUES (9); COMMIT").await;
        settle().await;
        assert_eq!(codes(&lake.load(&shop, &job).await), [""; 0]);
        assert_eq!(lake.ids(), [0, 1, 2, 3, 9]);
    })
    .await;
}

/// A transaction that inserts, waits, and inserts again, over and over.
async fn write(client: Client, worker: i64, stop: Arc<AtomicBool>, value: &'static str) {
    let mut id = worker << 32;
    while !stop.load(Ordering::Relaxed) {
        let wait = |most| Duration::from_millis(rand::rng().random_range(0..most));
        run(&client, &format!("BEGIN; INSERT INTO t VALUES ({id}, {value})")).await;
        tokio::time::sleep(wait(400)).await;
        run(&client, &format!("INSERT INTO t VALUES ({}, {value}); COMMIT", id + 1)).await;
        tokio::time::sleep(wait(30)).await;
        id += 2;
    }
}

/// Transactions of every length begin and end at any moment of many runs.
async fn under_load(shop: Connection, column: &str, value: &'static str) {
    let admin = client_of(&shop).await;
    run(&admin, &format!("CREATE TABLE t (id bigint PRIMARY KEY, at {column})")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for worker in 1..=6 {
        writers.push(tokio::spawn(write(client_of(&shop).await, worker, Arc::clone(&stop), value)));
    }
    let (lake, job) = (Lake::new(), job(CursorBound::OldestTransaction));
    let begun = Instant::now();
    let (mut runs, mut committed) = (0, 0);
    // On a busy machine it takes longer until enough has happened.
    let most = Duration::from_secs(5)..PATIENCE;
    let mut rows = 0_i64;
    while begun.elapsed() < most.start || ((committed <= 5 || rows <= 100) && begun.elapsed() < most.end) {
        committed += u32::from(lake.load(&shop, &job).await.committed);
        runs += 1;
        rows = admin.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    }
    assert!(committed > 5, "{committed} of {runs} runs brought something");
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    settle().await;
    lake.load(&shop, &job).await;
    let rows = admin.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    let expected: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert!(expected.len() > 100, "{}", expected.len());
    assert_eq!(lake.ids(), expected, "after {runs} runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_under_load() {
    in_database(|shop| under_load(shop, "timestamptz", "now()")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_under_load_with_rounded_clocks() {
    in_database(|shop| under_load(shop, "timestamptz(1)", "clock_timestamp()")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_under_load_without_a_zone() {
    let column = "timestamp DEFAULT (now() AT TIME ZONE 'utc')";
    in_database(move |shop| under_load(shop, column, "DEFAULT")).await;
}

async fn refused(shop: &Connection, table: &TableRef) -> transload_core::Error {
    let error = open(shop).await.unwrap().begin_settled(table, "at").await.unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "{error}");
    error
}

#[tokio::test]
async fn what_cannot_be_known_is_refused() {
    in_database(|shop| async move {
        let admin = client_of(&shop).await;
        for (column, kind) in [
            ("bigint", ErrorKind::Unsupported),
            ("bigserial", ErrorKind::Unsupported),
            ("date DEFAULT current_date", ErrorKind::Unsupported),
            ("timestamp DEFAULT now()", ErrorKind::Unsupported),
            ("text", ErrorKind::Unsupported),
        ] {
            run(&admin, &format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint, at {column})")).await;
            let error = refused(&shop, &table()).await;
            assert_eq!(error.kind(), kind, "{column}: {error}");
            assert!(error.to_string().contains("load.lag"), "{column}: {error}");
        }
        run(&admin, "DROP TABLE t; CREATE TABLE t (id bigint, at timestamptz); CREATE MATERIALIZED VIEW m AS SELECT * FROM t").await;
        assert_eq!(refused(&shop, &TableRef::new("public", "m")).await.kind(), ErrorKind::Unsupported);
        let source = open(&shop).await.unwrap();
        let error = source.begin_settled(&table(), "att").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let error = source.begin_settled(&TableRef::new("public", "tt"), "at").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    })
    .await;
}

#[tokio::test]
async fn hidden_transactions_are_a_missing_grant() {
    in_database(|shop| async move {
        let admin = client_of(&shop).await;
        let role = shop.option_text("database").unwrap().to_owned();
        run(&admin, OLD).await;
        run(&admin, &format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON t TO {role}")).await;
        let limited = shop.clone().option("username", role.as_str()).password(Secret::new("x"));
        let hidden = refused(&limited, &table()).await;
        run(&admin, &format!("GRANT pg_read_all_stats TO {role}")).await;
        let seen = open(&limited).await.unwrap().begin_settled(&table(), "at").await;
        run(&admin, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
        assert_eq!(hidden.kind(), ErrorKind::Permission, "{hidden}");
        assert!(hidden.hint_text().unwrap().contains("pg_read_all_stats"), "{hidden}");
        seen.unwrap();
    })
    .await;
}

#[tokio::test]
async fn prepared_and_untracked_transactions_are_refused() {
    let mut server = Server::start("max_prepared_transactions = 2").await;
    let admin = server.admin().await;
    run(&admin, OLD).await;
    run(&admin, "BEGIN; INSERT INTO t (id) VALUES (1); PREPARE TRANSACTION 'p'").await;
    let error = refused(&server.connection(), &table()).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    run(&admin, "COMMIT PREPARED 'p'").await;
    drop(open(&server.connection()).await.unwrap().begin_settled(&table(), "at").await.unwrap());
    server.stop("fast").await;
    server.configure("track_activities = off");
    let server = server.start_again().await;
    let _other = server.admin().await;
    let error = refused(&server.connection(), &table()).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.hint_text().unwrap().contains("track_activities"), "{error}");
}
