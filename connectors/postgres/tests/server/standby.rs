//! Reading from a hot standby, and what its primary may do to a read there.

use std::time::Duration;

use arrow_array::RecordBatch;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use tokio_postgres::Client;
use transload_core::connector::{ReadPlan, ReadSession, Split};
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, Result, RunStatus};
use transload_testkit::wait::eventually;

use crate::lake::Lake;
use crate::own::Server;
use crate::support::open;

fn table() -> TableRef {
    TableRef::new("public", "t")
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Waits until the standby has applied everything that the primary has written.
async fn caught_up(primary: &Client, standby: &Client) {
    let written: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    eventually("the standby follows", || async { standby.query_one(&sql, &[]).await.unwrap().get(0) }).await;
}

struct Pair {
    primary: Server,
    standby: Server,
    writer: Client,
    reader: Client,
}

/// A primary and a standby, with a table of 40 MB.
async fn pair(settings: &str) -> Pair {
    let primary = Server::start("wal_level = replica\nautovacuum = off").await;
    let writer = primary.admin().await;
    run(
        &writer,
        "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz DEFAULT now(), filler text);
        INSERT INTO t (id, filler) SELECT g, repeat(md5(g::text), 31) FROM generate_series(1, 30000) g",
    )
    .await;
    let standby = primary.standby(settings).await;
    let reader = standby.admin().await;
    caught_up(&writer, &reader).await;
    Pair { primary, standby, writer, reader }
}

async fn read(session: &dyn ReadSession, splits: &[Split]) -> Result<Vec<RecordBatch>> {
    let streams = try_join_all(splits.iter().map(|split| session.read(split))).await?;
    let parts = try_join_all(streams.into_iter().map(|stream| stream.try_collect::<Vec<_>>())).await?;
    Ok(parts.into_iter().flatten().collect())
}

fn plan() -> ReadPlan {
    ReadPlan { parallelism: 2, batch_bytes: 200_000, ..ReadPlan::default() }
}

async fn begin(shop: &Connection) -> Box<dyn ReadSession> {
    open(shop).await.unwrap().begin(&table()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_gives_one_snapshot_over_several_connections() {
    let Pair { primary, standby, writer, reader } = pair("hot_standby_feedback = on").await;
    let shop = standby.connection();
    let session = begin(&shop).await;
    let splits = session.splits(&plan()).await.unwrap();
    assert_eq!(splits.len(), 2);
    run(&writer, "UPDATE t SET filler = filler || 'y' WHERE id % 3 = 0; DELETE FROM t WHERE id > 29000; INSERT INTO t (id) VALUES (99999)").await;
    caught_up(&writer, &reader).await;
    let read = read(session.as_ref(), &splits).await.unwrap();
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 30_000);
    assert_eq!(session.cursor_summary("id").await.unwrap().max.unwrap().to_string(), "30000");
    session.close().await.unwrap();
    // Whole runs, and samples.
    assert_eq!(open(&shop).await.unwrap().sample(&table(), 50).await.unwrap().num_rows(), 50);
    let (lake, job) = (Lake::new(), Lake::job(table()).append("id").build().unwrap());
    lake.load(&shop, &job).await;
    assert_eq!(lake.ids(), (1..=29_000).chain([99_999]).collect::<Vec<_>>());
    // What is open at the primary is not seen here.
    let error = open(&shop).await.unwrap().begin_settled(&table(), "at").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.hint_text().unwrap().contains("primary"), "{error}");
    drop((primary, standby));
}

fn conflict(error: &transload_core::Error) {
    assert!(error.is_retryable(), "{error}");
    let known = [(ErrorKind::Conflict, Some("40001")), (ErrorKind::Unreachable, None)];
    // A connection that joins the snapshot may find its exporter gone already.
    let too_late = error.message() == "the snapshot of this read is gone";
    assert!(too_late || known.contains(&(error.kind(), error.context_value("sqlstate"))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_that_removes_rows_under_a_read_is_a_conflict() {
    let Pair { primary, standby, writer, reader } = pair("max_standby_streaming_delay = 0").await;
    let shop = standby.connection();
    // Rows that the snapshot sees are removed for good.
    let session = begin(&shop).await;
    let splits = session.splits(&plan()).await.unwrap();
    let mut stream = session.read(&splits[0]).await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    run(&writer, "DELETE FROM t WHERE id % 2 = 0").await;
    run(&writer, "VACUUM t").await;
    caught_up(&writer, &reader).await;
    // The rest of this stream, or the next read, tells; whichever it is, no row may be missing in silence.
    let rest = stream.try_collect::<Vec<_>>().await;
    let next = read(session.as_ref(), &splits[1..]).await;
    let first = rest.as_ref().err().or(next.as_ref().err()).expect("the snapshot was broken by recovery");
    conflict(first);
    assert!(first.hint_text().is_some(), "{first}");
    drop(session);
    // The table is locked by a change, and the session ended for it.
    let session = begin(&shop).await;
    let splits = session.splits(&plan()).await.unwrap();
    run(&writer, "ALTER TABLE t ADD c int").await;
    caught_up(&writer, &reader).await;
    conflict(&read(session.as_ref(), &splits).await.unwrap_err());
    drop(session);
    // The next one sees what is there now.
    let session = begin(&shop).await;
    let splits = session.splits(&plan()).await.unwrap();
    let rows = read(session.as_ref(), &splits).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 15_000);
    session.close().await.unwrap();
    drop((primary, standby));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_recovery_breaks_commits_nothing() {
    let Pair { primary, standby, writer, reader } = pair("max_standby_streaming_delay = 0").await;
    let proxy = transload_testkit::proxy::Proxy::new(standby.address()).await.unwrap();
    let shop = standby.connection().option("port", proxy.port()).option("tls", "disable");
    let (lake, job) = (Lake::new(), Lake::job(table()).replace().build().unwrap());
    use transload_testkit::proxy::{Break, after_bytes};
    proxy.script(|| after_bytes(2_000_000, Break::Stall));
    let (report, ()) = tokio::join!(lake.run(&shop, &job), async {
        while proxy.broken() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        run(&writer, "DELETE FROM t WHERE id % 2 = 0").await;
        run(&writer, "VACUUM t").await;
        caught_up(&writer, &reader).await;
        proxy.pass();
    });
    assert_eq!((report.status, report.committed), (RunStatus::Failed, false));
    conflict(report.error.as_ref().unwrap());
    assert_eq!(lake.ids(), [0; 0]);
    lake.load(&shop, &job).await;
    assert_eq!(lake.ids(), (1..=30_000).filter(|id| id % 2 == 1).collect::<Vec<_>>());
    drop((primary, standby));
}
