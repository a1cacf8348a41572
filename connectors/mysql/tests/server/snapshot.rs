//! One snapshot over several connections while others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::TryStreamExt as _;
use futures::future::join_all;
use transload_core::Connection;
use transload_core::connector::{ReadPlan, ReadSession};

use super::own::Own;
use super::support::{Place, open, place, place_at};

/// Accounts whose sum never changes, and 40 MB of rows.
fn accounts(place: &Place) {
    place.run(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, amount BIGINT, t CHAR(250)); \
         INSERT INTO t SELECT seq, 100, REPEAT('x', 250) FROM seq_1_to_150000; ANALYZE TABLE t",
    );
}

/// Moves amounts between far ends of the table, one transaction after the other, until told to stop.
fn writer(place: &Place, stop: &Arc<AtomicBool>, pause: &str) -> std::thread::JoinHandle<()> {
    let (stop, admin, schema) = (
        Arc::clone(stop),
        transload_testkit::mariadb::Mariadb::of(&place.connection()),
        place.schema.clone(),
    );
    let transfer = format!(
        "SET @from = 1 + FLOOR(RAND() * 75000), @to = 75001 + FLOOR(RAND() * 75000); START TRANSACTION; \
         UPDATE t SET amount = amount - 1 WHERE id = @from; {pause} UPDATE t SET amount = amount + 1 WHERE id = @to; COMMIT; "
    );
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            admin.run(&format!("USE {schema}; {}", transfer.repeat(40))).unwrap();
        }
    })
}

/// The sum over all splits, read at once.
async fn sum(session: &dyn ReadSession, splits: usize) -> i64 {
    let plan = ReadPlan { parallelism: splits, columns: vec!["amount".into()], ..ReadPlan::default() };
    let parts = session.splits(&plan).await.unwrap();
    assert_eq!(parts.len(), splits);
    let sums = join_all(parts.iter().map(|part| async {
        let batches: Vec<_> = session.read(part).await.unwrap().try_collect().await.unwrap();
        batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
            .sum::<i64>()
    }));
    sums.await.iter().sum()
}

async fn sums_are_kept(place: &Place, connection: &Connection, rounds: usize, pause: &str) {
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(place, &stop, pause);
    let source = open(connection).await.unwrap();
    let mut found = Vec::new();
    for _ in 0..rounds {
        let session = source.begin(&place.table("t")).await.unwrap();
        found.push((session.cursor_summary("id").await.unwrap().max, sum(session.as_ref(), 2).await));
        session.close().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    assert!(found.iter().all(|(_, sum)| *sum == 15_000_000), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_of_a_lock_makes_one_snapshot() {
    let place = place();
    accounts(&place);
    // However long the writer is held up in the middle of a transaction.
    let locking = place.connection().option("shared_snapshot", "lock").option("lock_timeout", 60);
    sums_are_kept(&place, &locking, 10, "").await;
    // Also while transactions are half done when the lock is asked for.
    sums_are_kept(&place, &locking, 5, "DO SLEEP(0.02);").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_position_in_the_binary_log_is_one_snapshot() {
    let own = Own::start(&["--log-bin=bin", "--server-id=1", "--binlog-format=ROW", "--log-slave-updates"]);
    let place = place_at(own.connection());
    accounts(&place);
    let by_log = place.connection().option("shared_snapshot", "binlog");
    // Between commits that leave room, all connections begin at one position.
    let session = open(&by_log).await.unwrap().begin(&place.table("t")).await.unwrap();
    place.run("UPDATE t SET amount = 0");
    assert_eq!(sum(session.as_ref(), 2).await, 15_000_000);
    session.close().await.unwrap();
    place.run("UPDATE t SET amount = 100");
    let auto = place.connection().option("lock_timeout", 60);
    sums_are_kept(&place, &auto, 6, "").await;
}

async fn splits_of(connection: &Connection, place: &Place, table: &str) -> usize {
    let session = open(connection).await.unwrap().begin(&place.table(table)).await.unwrap();
    let plan = ReadPlan { parallelism: 4, ..ReadPlan::default() };
    session.splits(&plan).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_way_one_connection_reads() {
    let place = place();
    accounts(&place);
    place.run("CREATE TABLE m ENGINE = MyISAM AS SELECT * FROM t; ALTER TABLE m ADD PRIMARY KEY (id); CREATE VIEW v AS SELECT * FROM t");
    assert_eq!(splits_of(&place.connection(), &place, "t").await, 2);
    assert_eq!(splits_of(&place.connection().option("shared_snapshot", "never"), &place, "t").await, 1);
    // This server does not log what it gets from a primary.
    assert_eq!(splits_of(&place.connection().option("shared_snapshot", "binlog"), &place, "t").await, 1);
    assert_eq!(splits_of(&place.connection().option("session_connections", 1), &place, "t").await, 1);
    let limits =
        transload_core::ConnectionLimits { parallel_reads: std::num::NonZero::new(1), ..Default::default() };
    assert_eq!(splits_of(&place.connection().limited(limits), &place, "t").await, 1);
    assert_eq!(splits_of(&place.connection(), &place, "m").await, 1, "no transactions, no snapshot");
    assert_eq!(splits_of(&place.connection(), &place, "v").await, 1);
    // A user who may read and not lock.
    let user = format!("reader_{}", place.schema);
    let user = &user[..30];
    place.run(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON t TO {user}@'%'"));
    let reader = place.connection().option("username", user).option("database", place.schema.as_str());
    let splits = splits_of(&reader.password(transload_core::Secret::new("secret")), &place, "t").await;
    place.run(&format!("DROP USER {user}@'%'"));
    assert_eq!(splits, 1);
}

/// A transaction that wrote and does not end holds the lock up; readers go on over one connection, and other writers
/// were held up for no longer than `lock_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_does_not_come_is_given_up() {
    let place = place();
    accounts(&place);
    let holder = place.hold("START TRANSACTION; UPDATE t SET amount = 0 WHERE id = 1");
    let impatient = place.connection().option("lock_timeout", 1).option("shared_snapshot", "lock");
    assert_eq!(splits_of(&impatient, &place, "t").await, 1);
    assert!(holder.holds(), "the session did not wait for the end of the transaction");
    holder.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_table_as_it_is() {
    let place = place();
    place.run("CREATE TABLE t (id INT PRIMARY KEY, c INT); INSERT INTO t VALUES (1, 2)");
    let session = place.begin("t").await;
    let admin = transload_testkit::mariadb::Mariadb::of(&place.connection());
    let schema = place.schema.clone();
    let altering =
        std::thread::spawn(move || admin.run(&format!("USE {schema}; ALTER TABLE t MODIFY c TEXT")));
    let waits = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' AND state LIKE '%metadata lock%'",
        place.schema
    );
    while !altering.is_finished() && place.cell(&waits) == "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!altering.is_finished(), "the change waits for the session");
    let plan = ReadPlan::default();
    assert_eq!(super::support::read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 1);
    session.close().await.unwrap();
    altering.join().unwrap().unwrap();
}
