//! What breaks while a table is read: each fault is an error of the right kind, and no read is silently short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use transload_core::connector::ReadPlan;
use transload_core::{Connection, ErrorKind, Result};
use transload_testkit::port::KeptPort;
use transload_testkit::proxy::{Break, Proxy, after_bytes};

use super::support::{Place, open, place, read_plan};

/// A proxy before the server, which must take connections without encryption, so that what is cut are its own messages.
async fn proxy(place: &Place) -> (Proxy, Connection) {
    let document = place.connection().to_json();
    let port = document["port"].as_u64().unwrap_or(1433);
    let host = document["host"].as_str().unwrap().to_owned();
    let server = tokio::net::lookup_host((host, u16::try_from(port).unwrap())).await.unwrap().next().unwrap();
    let proxy = Proxy::new(server).await.unwrap();
    let through = place
        .connection()
        .option("host", "127.0.0.1")
        .option("port", proxy.port())
        .option("encrypt", "disable");
    (proxy, through)
}

/// A whole read as the engine does it: begin, plan, read all, close. Gives the number of rows.
async fn read_all(shop: &Connection, place: &Place) -> Result<usize> {
    let session = open(shop).await?.begin(&place.table("t")).await?;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await?;
    session.close().await?;
    Ok(batch.num_rows())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_anywhere_is_never_a_short_read() {
    let place = place().await;
    place.numbers(12, 20).await;
    let (proxy, shop) = proxy(&place).await;
    let bytes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&bytes);
    proxy.script(move || {
        let counted = Arc::clone(&counted);
        Box::new(move |piece| {
            counted.fetch_add(piece.len(), Ordering::Relaxed);
            None
        })
    });
    assert_eq!(read_all(&shop, &place).await.unwrap(), 12);
    let total = bytes.load(Ordering::Relaxed);
    assert!(total > 1000, "{total}");
    // Every byte of the rows and of what comes after them, and a choice of those before.
    let cuts = (1..total).filter(|cut| cut % 29 == 1 || total - cut < 300);
    let (mut whole, mut errors) = (0, 0);
    for (n, cut) in cuts.enumerate() {
        let how = if n % 2 == 0 { Break::Close } else { Break::Reset };
        proxy.script(move || after_bytes(cut, how));
        match read_all(&shop, &place).await {
            Ok(rows) => {
                assert_eq!(rows, 12, "cut after {cut} of {total} bytes");
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unreachable, "cut after {cut} of {total}: {error}");
                assert!(error.is_retryable() && error.hint_text().is_some(), "{error}");
                errors += 1;
            }
        }
    }
    assert!(errors > 250, "{errors} errors, {whole} whole reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_a_limit() {
    let place = place().await;
    place.numbers(5000, 200).await;
    let (proxy, shop) = proxy(&place).await;
    proxy.script(|| after_bytes(100_000, Break::Stall));
    let began = Instant::now();
    let error = read_all(&shop.option("read_timeout", 1), &place).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_and_one_that_is_not_there() {
    let place = place().await;
    let (proxy, shop) = proxy(&place).await;
    proxy.script(|| after_bytes(0, Break::Stall));
    let error = open(&shop.option("connect_timeout", 1)).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let port = KeptPort::any().unwrap();
    let nobody = place.connection().option("host", "127.0.0.1").option("port", port.number());
    let error = open(&nobody).await.unwrap().check().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
}

/// Two megabytes more than any socket holds, so that the server still sends when it is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_somebody_kills() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, t VARCHAR(8000) NULL)").await;
    place.more_numbers(1..4001, 8000).await;
    // One connection, whose number is the highest of ours.
    let shop = place.connection().option("session_connections", 1);
    let session = open(&shop).await.unwrap().begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { batch_bytes: 1 << 18, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    let mut stream = session.read(&splits[0]).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let ours = match place.used.own {
        Some(_) => String::new(),
        // Other tests read there too.
        None => format!(" AND s.host_process_id = {}", std::process::id()),
    };
    let sql = "SELECT MAX(CAST(s.session_id AS int)) AS id FROM sys.dm_exec_sessions AS s WHERE s.program_name = N'transload'";
    let reader = place.cell(&format!("{sql}{ours}")).await;
    place.run(&format!("KILL {reader}")).await;
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a killed read ended as if it were whole"),
        }
    };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
    assert!(session.cursor_summary("id").await.is_err(), "its snapshot is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_meanwhile() {
    let place = place().await;
    place.numbers(10, 10).await;
    let plain = place.connection().option("isolation", "read_committed");
    let session = open(&plain).await.unwrap().begin(&place.table("t")).await.unwrap();
    place.run("DROP TABLE $.t").await;
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // The connection is as good as before.
    place.numbers(10, 10).await;
    assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 10);
    place.run("DROP TABLE $.t").await;
    place.run("CREATE TABLE $.t (id BIGINT NOT NULL, t VARCHAR(10) NULL)").await;
    place.run("INSERT INTO $.t VALUES (1, 'x')").await;
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
    assert!(error.message().contains("`id`"), "{error}");
}
