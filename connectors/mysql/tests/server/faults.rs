//! What breaks while a table is read: each fault is an error of the right kind, and no read is silently short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use transload_core::connector::ReadPlan;
use transload_core::{Connection, ErrorKind, Result};
use transload_testkit::proxy::{Break, Proxy, after_bytes};
use transload_testkit::wait::eventually;

use super::own::Own;
use super::support::{Place, connection, open, place, place_at, read_plan};

async fn proxy() -> Proxy {
    let port = connection().to_json()["port"].as_u64().unwrap();
    Proxy::new(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await.unwrap()
}

/// The test server behind a proxy, unencrypted, so that what is cut are its own messages.
fn through(proxy: &Proxy, place: &Place) -> Connection {
    place.connection().option("port", proxy.port()).option("tls", "disable")
}

/// A whole read as the engine does it: begin, plan, read all, close. Gives the number of rows.
async fn read_all(shop: &Connection, place: &Place, table: &str) -> Result<usize> {
    let session = open(shop).await?.begin(&place.table(table)).await?;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await?;
    session.close().await?;
    Ok(batch.num_rows())
}

fn lost(error: &transload_core::Error) {
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.hint_text().is_some(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_anywhere_is_never_a_short_read() {
    let place = place();
    place.run(
        "CREATE TABLE t (id INT, t VARCHAR(20)); INSERT INTO t SELECT seq, CONCAT('x', seq) FROM seq_1_to_12",
    );
    for zipped in [false, true] {
        let (proxy, bytes) = (proxy().await, Arc::new(AtomicUsize::new(0)));
        let shop = through(&proxy, &place).option("compression", zipped);
        let counted = Arc::clone(&bytes);
        proxy.script(move || {
            let counted = Arc::clone(&counted);
            Box::new(move |piece| {
                counted.fetch_add(piece.len(), Ordering::Relaxed);
                None
            })
        });
        assert_eq!(read_all(&shop, &place, "t").await.unwrap(), 12);
        let total = bytes.load(Ordering::Relaxed);
        assert!(total > 1000, "{total}");
        // Every byte of the rows and of what comes after them, and a choice of those before.
        let cuts = (1..total).filter(|cut| cut % 29 == 1 || total - cut < 300);
        let (mut whole, mut errors) = (0, 0);
        for (n, cut) in cuts.enumerate() {
            let how = if n % 2 == 0 { Break::Close } else { Break::Reset };
            proxy.script(move || after_bytes(cut, how));
            match read_all(&shop, &place, "t").await {
                Ok(rows) => {
                    assert_eq!(rows, 12, "cut after {cut} of {total} bytes");
                    whole += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unreachable, "cut after {cut} of {total}: {error}");
                    errors += 1;
                }
            }
        }
        assert!(errors > 250, "{errors} errors, {whole} whole reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_a_limit() {
    let place = place();
    place.run("CREATE TABLE t (id INT, t CHAR(200)); INSERT INTO t SELECT seq, 'x' FROM seq_1_to_20000");
    let proxy = proxy().await;
    proxy.script(|| after_bytes(100_000, Break::Stall));
    let shop = through(&proxy, &place).option("read_timeout", 1);
    let began = Instant::now();
    let error = read_all(&shop, &place, "t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// A table of 60 MB, which no socket buffers.
fn large(place: &Place) {
    place.run(
        "CREATE TABLE t (id INT PRIMARY KEY, t CHAR(250)); INSERT INTO t SELECT seq, REPEAT('x', 250) FROM seq_1_to_200000; \
         ANALYZE TABLE t",
    );
}

/// The connection that reads a table of this place.
async fn running(place: &Place) -> String {
    let sql = format!(
        "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT `id`%`{}`%' AND command <> 'Killed' \
         ORDER BY id DESC LIMIT 1",
        place.schema
    );
    eventually("a read is under way", || async { !place.cell(&sql).is_empty() }).await;
    place.cell(&sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_somebody_kills() {
    let place = place();
    large(&place);
    for (how, kind, retryable) in
        [("CONNECTION", ErrorKind::Unreachable, true), ("QUERY", ErrorKind::Timeout, false)]
    {
        let session = place.begin("t").await;
        let plan = ReadPlan { batch_bytes: 1 << 18, ..ReadPlan::default() };
        let splits = session.splits(&plan).await.unwrap();
        let mut stream = session.read(&splits[0]).await.unwrap();
        stream.next().await.unwrap().unwrap();
        place.run(&format!("KILL {how} {}", running(&place).await));
        let error = loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("a killed read ended as if it were whole"),
            }
        };
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
        let again = session.read(&splits[0]).await;
        match how {
            // Another statement of the same session still sees its snapshot.
            "QUERY" => {
                let rows: Vec<_> = again.unwrap().try_collect().await.unwrap();
                assert_eq!(rows.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 200_000);
            }
            _ => assert!(session.cursor_summary("id").await.is_err(), "its snapshot is gone"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back() {
    let mut own = Own::start(&[]);
    let place = place_at(own.connection());
    large(&place);
    let session = place.begin("t").await;
    let plan = ReadPlan { batch_bytes: 1 << 18, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    let mut stream = session.read(&splits[0]).await.unwrap();
    stream.next().await.unwrap().unwrap();
    own.kill();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    lost(&error);
    let error = open(&own.connection()).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    own.restart();
    assert_eq!(read_all(&own.connection(), &place, "t").await.unwrap(), 200_000);
}

/// A destination that takes no rows for longer than the server's own `net_write_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_is_waited_for() {
    let own = Own::start(&["--net-write-timeout=1"]);
    let place = place_at(own.connection());
    large(&place);
    let session = place.begin("t").await;
    let short = open(&place.connection().option("net_write_timeout", 1)).await.unwrap();
    let short = short.begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { batch_bytes: 1 << 18, ..ReadPlan::default() };
    let mut rows = Vec::new();
    let mut streams = Vec::new();
    for session in [&session, &short] {
        let splits = session.splits(&plan).await.unwrap();
        streams.push(session.read(&splits[0]).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(3500)).await;
    // The server has given up the one that asked for it; the other one is still there.
    let reads = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT `id`%`{}`%'",
        place.schema
    );
    eventually("one read is left", || async { place.cell(&reads) == "1" }).await;
    for stream in streams {
        let read = stream.try_collect::<Vec<_>>().await;
        rows.push(read.map(|batches| batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>()));
    }
    assert_eq!(*rows[0].as_ref().unwrap(), 200_000);
    lost(rows[1].as_ref().unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_are_held() {
    let place = place();
    place.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    let holder = place.hold("LOCK TABLES t WRITE");
    let variables = serde_json::json!({"lock_wait_timeout": "1"});
    let error = read_all(&place.connection().option("variables", variables), &place, "t").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable(), error.is_overload()),
        (ErrorKind::Conflict, true, true),
        "{error}"
    );
    // Without a limit, it waits.
    let shop = place.connection();
    let waiting = tokio::time::timeout(Duration::from_secs(2), read_all(&shop, &place, "t")).await;
    assert!(waiting.is_err(), "{waiting:?}");
    holder.end();
    assert_eq!(read_all(&shop, &place, "t").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections() {
    let own = Own::start(&["--max-connections=10"]);
    let place = place_at(own.connection());
    large(&place);
    let source = open(&own.connection()).await.unwrap();
    let mut held = Vec::new();
    let error = loop {
        assert!(held.len() < 20);
        match source.begin(&place.table("t")).await {
            Ok(session) => held.push(session),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.is_retryable(), error.is_overload()),
        (ErrorKind::RateLimited, true, true),
        "{error}"
    );
    // The later sessions had no connections to share a snapshot with, and read over one.
    let session = held.pop().unwrap();
    assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 200_000);
    drop(held);
}
