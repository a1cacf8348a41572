//! What breaks while a table is read: each fault is an error of the right kind, and no read is silently short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use transload_core::connector::{ReadPlan, ReadSession, Split};
use transload_core::{Connection, ErrorKind, Result, Secret};
use transload_testkit::proxy::{Break, Proxy, Watch, after_bytes};
use transload_testkit::wait::{PATIENCE, eventually};

use crate::support::{Place, connection, in_schema, open, read_plan};

async fn proxy() -> Proxy {
    let config: tokio_postgres::Config = crate::support::url().parse().unwrap();
    Proxy::new(([127, 0, 0, 1], config.get_ports()[0]).into()).await.unwrap()
}

/// The test server behind a proxy, unencrypted, so that messages can be told apart on the way.
fn through(proxy: &Proxy) -> Connection {
    connection().option("host", "127.0.0.1").option("port", proxy.port()).option("tls", "disable")
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A whole read as the engine does it: begin, plan, read all, close. Gives the number of rows.
async fn read_all(shop: &Connection, place: &Place, table: &str) -> Result<usize> {
    let session = open(shop).await?.begin(&place.table(table)).await?;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await?;
    session.close().await?;
    Ok(batch.num_rows())
}

async fn read_split(session: &dyn ReadSession, split: &Split) -> Result<Vec<RecordBatch>> {
    session.read(split).await?.try_collect().await
}

fn lost(error: &transload_core::Error) {
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.hint_text().is_some(), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_is_never_a_short_read() {
    in_schema(|place| async move {
        place.run("CREATE TABLE t AS SELECT g AS id, 'x' || g AS t FROM generate_series(1, 12) g").await;
        let (proxy, bytes) = (proxy().await, Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&bytes);
        proxy.script(move || {
            let counted = Arc::clone(&counted);
            Box::new(move |piece| {
                counted.fetch_add(piece.len(), Ordering::Relaxed);
                None
            })
        });
        assert_eq!(read_all(&through(&proxy), &place, "t").await.unwrap(), 12);
        let total = bytes.load(Ordering::Relaxed);
        assert!(total > 1500, "{total}");
        // Every byte of the rows and of what comes after them, and a choice of those before.
        let cuts = (1..total).filter(|cut| cut % 97 == 1 || total - cut < 350);
        let (mut whole, mut errors) = (0, 0);
        for (n, cut) in cuts.enumerate() {
            let how = if n % 2 == 0 { Break::Close } else { Break::Reset };
            proxy.script(move || after_bytes(cut, how));
            match read_all(&through(&proxy), &place, "t").await {
                Ok(rows) => {
                    assert_eq!(rows, 12, "cut after {cut} of {total} bytes");
                    whole += 1;
                }
                Err(error) => {
                    lost(&error);
                    errors += 1;
                }
            }
        }
        assert!(errors > 300, "{errors} errors, {whole} whole reads");
    })
    .await;
}

/// Looks at the type of every message of the server; breaks the connection behind one that was waited for.
fn on_messages(mut seen: impl FnMut(u8) -> bool + Send + 'static, how: Break) -> Watch {
    let (mut skip, mut head, mut found) = (0_usize, Vec::new(), false);
    Box::new(move |piece| {
        for (at, byte) in piece.iter().enumerate() {
            if skip > 0 {
                skip -= 1;
            } else {
                head.push(*byte);
                if head.len() < 5 {
                    continue;
                }
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                skip = usize::try_from(length).unwrap() - 4;
                found |= seen(head[0]);
                head.clear();
            }
            if found && skip == 0 {
                found = false;
                return Some((at + 1, how));
            }
        }
        None
    })
}

/// Breaks a connection behind the n-th message of a type, counted from 1.
pub(crate) fn behind_message(kind: u8, n: usize, how: Break) -> Watch {
    let mut count = 0;
    let reached = move |found| {
        count += usize::from(found == kind);
        found == kind && count == n
    };
    on_messages(reached, how)
}

/// How often a server was asked over the connections that a script watches, the login left out.
pub(crate) fn count_round_trips(proxy: &Proxy) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    proxy.script(move || {
        let (counted, mut login) = (Arc::clone(&counted), true);
        let ready = move |kind| {
            if kind == b'Z' && !std::mem::take(&mut login) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            false
        };
        on_messages(ready, Break::Close)
    });
    asked
}

/// What a small table costs is its round trips.
#[tokio::test]
async fn round_trips_of_a_small_table() {
    in_schema(|place| async move {
        place.run("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g").await;
        let proxy = proxy().await;
        let asked = count_round_trips(&proxy);
        assert_eq!(read_all(&through(&proxy), &place, "t").await.unwrap(), 100);
        assert_eq!(asked.swap(0, Ordering::Relaxed), 3, "begin and describe, rows, end");
        let session = open(&through(&proxy)).await.unwrap().begin(&place.table("t")).await.unwrap();
        session.cursor_summary("id").await.unwrap();
        read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
        session.close().await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4, "and the range of the cursor");
    })
    .await;
}

#[tokio::test]
async fn a_cut_between_two_messages_is_never_a_short_read() {
    in_schema(|place| async move {
        place.run("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g").await;
        let proxy = proxy().await;
        // Data messages of COPY: one a row, and one for the end of the rows.
        for (kind, n) in [
            (b'H', 1), // no row
            (b'd', 1), // one row
            (b'd', 500),
            (b'd', 1000), // all rows, not their end
            (b'd', 1001), // all rows and their end
            (b'c', 1),    // the end of COPY
        ] {
            for how in [Break::Close, Break::Reset] {
                proxy.script(move || behind_message(kind, n, how));
                let error = read_all(&through(&proxy), &place, "t").await.unwrap_err();
                lost(&error);
            }
        }
        assert_eq!(proxy.broken(), 12);
        proxy.pass();
        assert_eq!(read_all(&through(&proxy), &place, "t").await.unwrap(), 1000);
    })
    .await;
}

async fn large(place: &Place) {
    place
        .run("CREATE TABLE large AS SELECT g AS id, repeat('x', 1000) AS filler FROM generate_series(1, 40000) g")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_connections_breaks() {
    in_schema(|place| async move {
        large(&place).await;
        let proxy = proxy().await;
        let session = open(&through(&proxy)).await.unwrap().begin(&place.table("large")).await.unwrap();
        let plan = ReadPlan { parallelism: 4, batch_bytes: 100_000, ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        // The first is read over the session's own connection, which is open already.
        let own = session.read(&splits[0]).await.unwrap();
        proxy.script(|| after_bytes(3_000_000, Break::Close));
        let others = join_all(splits[1..].iter().map(|split| read_split(session.as_ref(), split)));
        let (own, others) = tokio::join!(own.try_collect::<Vec<_>>(), others);
        assert!(rows(&own.unwrap()) > 5000);
        for other in others {
            lost(&other.unwrap_err());
        }
        // The session lives, and the snapshot with it: the splits can be read again.
        proxy.pass();
        let mut all = 0;
        for split in &splits {
            all += rows(&read_split(session.as_ref(), split).await.unwrap());
        }
        assert_eq!(all, 40_000);
        session.close().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_that_holds_the_snapshot_breaks() {
    in_schema(|place| async move {
        large(&place).await;
        let proxy = proxy().await;
        proxy.script(|| after_bytes(3_000_000, Break::Close));
        let session = open(&through(&proxy)).await.unwrap().begin(&place.table("large")).await.unwrap();
        proxy.pass();
        let plan = ReadPlan { parallelism: 4, batch_bytes: 100_000, ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        lost(&read_split(session.as_ref(), &splits[0]).await.unwrap_err());
        // The snapshot is gone with its transaction; nobody may read another one instead.
        for split in &splits[1..] {
            lost(&read_split(session.as_ref(), split).await.unwrap_err());
        }
        // The same for another worker, over a connection of its own.
        let begun = Instant::now();
        loop {
            let other = open(&through(&proxy)).await.unwrap().begin(&place.table("large")).await.unwrap();
            let held = other.read(&splits[0]).await;
            let error = read_split(other.as_ref(), &splits[1]).await.err();
            drop(held);
            match error {
                Some(error) => {
                    lost(&error);
                    break;
                }
                // The server has not noticed yet that the first connection is gone.
                None => assert!(begun.elapsed() < PATIENCE, "a snapshot outlives its transaction"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(session.close().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn silence_ends_with_read_timeout() {
    in_schema(|place| async move {
        large(&place).await;
        let proxy = proxy().await;
        let shop = through(&proxy).option("read_timeout", 1);
        // In the middle of the rows, of the description, and of the login.
        for bytes in [1_000_000, 2_000, 40] {
            proxy.script(move || after_bytes(bytes, Break::Stall));
            let begun = Instant::now();
            let shop = shop.clone().option("connect_timeout", 2);
            let error = read_all(&shop, &place, "large").await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{bytes}: {error}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{bytes}: {:?}", begun.elapsed());
            assert!(error.hint_text().unwrap().contains("timeout"), "{error}");
        }
        // A server that works for longer than that without a word is told apart by nobody.
        proxy.pass();
        place.run("CREATE VIEW slow AS SELECT 1 AS id, pg_sleep(3)::text AS s").await;
        let error = read_all(&shop, &place, "slow").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        // One that speaks up in between is waited for, also for longer than that in all.
        place.run("CREATE VIEW steady AS SELECT g AS id, pg_sleep(0.8)::text AS s, repeat('x', 10000) AS x FROM generate_series(1, 10) g").await;
        let shop = shop.option("read_timeout", 6);
        assert_eq!(read_all(&shop, &place, "steady").await.unwrap(), 10);
    })
    .await;
}

#[tokio::test]
async fn a_stalled_read_can_be_dropped() {
    in_schema(|place| async move {
        large(&place).await;
        let proxy = proxy().await;
        proxy.script(|| after_bytes(1_000_000, Break::Stall));
        let shop = through(&proxy).option("application_name", place.schema.as_str());
        let session = open(&shop).await.unwrap().begin(&place.table("large")).await.unwrap();
        let plan = ReadPlan { batch_bytes: 10_000, ..ReadPlan::default() };
        let mut stream = session.read(&session.splits(&plan).await.unwrap()[0]).await.unwrap();
        let until = tokio::time::timeout(Duration::from_millis(1500), async {
            while let Some(batch) = stream.next().await {
                batch.unwrap();
            }
        });
        until.await.expect_err("it stalls");
        let begun = Instant::now();
        drop(stream);
        drop(session);
        assert!(begun.elapsed() < Duration::from_secs(5));
        // A server that is stuck in sending hears of a cancel only when the way is free or gone.
        proxy.pass();
        let active = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND state = 'active'",
            place.schema
        );
        eventually("the query ends", || async { place.number(&active).await == 0 }).await;
    })
    .await;
}

/// A role of the test's own, which may read its tables.
async fn with_role(place: &Place, options: &str, grants: &str) -> Connection {
    let role = &place.schema;
    place
        .run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x' {options}; GRANT USAGE ON SCHEMA {role} TO {role}; {grants}"))
        .await;
    connection().option("username", role.as_str()).password(Secret::new("x"))
}

async fn drop_role(place: &Place) {
    place.run(&format!("DROP OWNED BY {0}; DROP ROLE {0}", place.schema)).await;
}

#[tokio::test]
async fn too_many_connections() {
    in_schema(|place| async move {
        large(&place).await;
        let grant = format!("GRANT SELECT ON large TO {}", place.schema);
        let shop = with_role(&place, "CONNECTION LIMIT 2", &grant).await;
        let session = open(&shop).await.unwrap().begin(&place.table("large")).await.unwrap();
        let plan = ReadPlan { parallelism: 4, ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        let (first, second) =
            (session.read(&splits[0]).await.unwrap(), session.read(&splits[1]).await.unwrap());
        let error = session.read(&splits[2]).await.err().expect("the role has two connections");
        let checked = open(&shop).await.unwrap().check().await.unwrap_err();
        let mut all = 0;
        for stream in [first, second] {
            all += rows(&stream.try_collect::<Vec<_>>().await.unwrap());
        }
        // When those two are done, there is room again, in the same snapshot.
        for split in &splits[2..] {
            all += rows(&read_split(session.as_ref(), split).await.unwrap());
        }
        drop(session);
        drop_role(&place).await;
        for error in [error, checked] {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true), "{error}");
            assert!(error.hint_text().unwrap().contains("parallelism"), "{error}");
        }
        assert_eq!(all, 40_000);
    })
    .await;
}

#[tokio::test]
async fn a_privilege_that_is_revoked_half_way() {
    in_schema(|place| async move {
        large(&place).await;
        let role = place.schema.clone();
        let shop = with_role(&place, "", &format!("GRANT SELECT ON large TO {role}")).await;
        let source = open(&shop).await.unwrap();
        let session = source.begin(&place.table("large")).await.unwrap();
        let plan = ReadPlan { parallelism: 2, ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        let running = session.read(&splits[0]).await.unwrap();
        place.run(&format!("REVOKE SELECT ON large FROM {role}")).await;
        // What runs goes on; what begins later is refused.
        let first = running.try_collect::<Vec<_>>().await.unwrap();
        let second = session.read(&splits[1]).await.err().expect("the privilege is gone");
        let summary = session.cursor_summary("id").await.unwrap_err();
        drop(session);
        drop_role(&place).await;
        assert!(rows(&first) > 10_000);
        for error in [second, summary] {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Permission, false), "{error}");
            assert!(error.hint_text().unwrap().contains("SELECT"), "{error}");
        }
    })
    .await;
}

/// Runs a change of a table in the background; tells whether it had to wait for the session.
async fn waits(place: &Place, sql: &str) -> tokio::task::JoinHandle<()> {
    let (client, sql, schema) = (crate::support::client().await, sql.to_owned(), place.schema.clone());
    let mut change = tokio::spawn(async move {
        client.batch_execute(&format!("SET search_path = {schema}; {sql}")).await.unwrap();
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut change).await;
    assert!(early.is_err(), "{early:?}: the table could be changed under a session");
    change
}

#[tokio::test]
async fn nobody_changes_a_table_between_its_description_and_its_rows() {
    in_schema(|place| async move {
        for (n, change) in [
            "DROP TABLE t",
            "TRUNCATE t",
            "ALTER TABLE t DROP COLUMN b",
            "ALTER TABLE t RENAME COLUMN b TO c",
            // Four bytes as before, that mean something else.
            "ALTER TABLE t ALTER id TYPE real",
            "ALTER TABLE t ADD c int DEFAULT random() * 100",
            "ALTER TABLE t RENAME TO other",
            "CLUSTER t USING t_pkey",
        ]
        .into_iter()
        .enumerate()
        {
            place.run("CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g").await;
            let session = place.begin("t").await;
            let change_is_waiting = waits(&place, change).await;
            let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
            assert_eq!((batch.num_rows(), batch.num_columns()), (100, 2), "{n} {change}");
            session.close().await.unwrap();
            change_is_waiting.await.unwrap();
            place.run("DROP TABLE IF EXISTS t, other").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_is_rewritten_while_a_session_begins_is_not_empty() {
    in_schema(|place| async move {
        let role = place.schema.clone();
        place
            .run(
                "CREATE TABLE t (id int, b text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
            )
            .await;
        // One may read all of the table, the other one column.
        let partly = with_role(&place, "", &format!("GRANT SELECT (id) ON t TO {role}")).await;
        let mut outcomes = Vec::new();
        for shop in [connection(), partly] {
            let name = format!("begins {}", rand::random::<u64>());
            let shop = shop.option("application_name", name.as_str());
            let (change, schema) = (crate::support::client().await, place.schema.clone());
            // The session begins while the change holds its lock, and goes on when the change is committed.
            let sql = "ALTER TABLE t ALTER b TYPE text USING b || 'y'; DELETE FROM t WHERE id > 50";
            change.batch_execute(&format!("SET search_path = {schema}; BEGIN; {sql}")).await.unwrap();
            let source = open(&shop).await.unwrap();
            let table = place.table("t");
            let begin = tokio::spawn(async move { source.begin(&table).await });
            let waits = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
            );
            eventually("the session waits for the lock", || async { place.number(&waits).await > 0 }).await;
            change.batch_execute("COMMIT").await.unwrap();
            let session = begin.await.unwrap();
            outcomes.push(match session {
                Ok(session) => read_plan(session.as_ref(), &ReadPlan::default()).await,
                Err(error) => Err(error),
            });
        }
        drop_role(&place).await;
        let [whole, partly] = outcomes.try_into().unwrap();
        assert_eq!(whole.unwrap().num_rows(), 50);
        let error = partly.expect_err("its snapshot is older than the rows");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    })
    .await;
}
