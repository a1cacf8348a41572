//! Whole runs whose source breaks in the middle: nothing is committed, and the next run brings the right rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;
use transload_core::schema::TableRef;
use transload_core::{CancelHandle, Connection, ErrorKind, EtlJob, RunReport, RunStatus, RunnerOptions};
use transload_testkit::proxy::{Break, Proxy, after_bytes};
use transload_testkit::wait::eventually;

use crate::lake::Lake;
use crate::own::Server;
use crate::support::open;

fn table() -> TableRef {
    TableRef::new("public", "t")
}

fn replace() -> EtlJob {
    Lake::job(table()).replace().build().unwrap()
}

fn append() -> EtlJob {
    Lake::job(table()).append("id").build().unwrap()
}

fn through(server: &Server, proxy: &Proxy) -> Connection {
    server
        .connection()
        .option("port", proxy.port())
        .option("tls", "disable")
        .option("application_name", "victim")
}

/// 1 kB a row: more than every buffer on the way, and several splits.
async fn insert(client: &Client, from: i64, to: i64) {
    client
        .batch_execute(&format!(
            "INSERT INTO t SELECT g, repeat(md5(g::text), 31) FROM generate_series({from}, {to}) g"
        ))
        .await
        .unwrap();
}

async fn create(client: &Client) {
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY, filler text)").await.unwrap();
    insert(client, 1, 30_000).await;
}

fn failed(report: &RunReport, kinds: &[ErrorKind]) {
    assert_eq!((report.status, report.committed), (RunStatus::Failed, false), "{:?}", report.error);
    let error = report.error.as_ref().unwrap();
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(error.is_retryable(), "{error}");
    assert!(error.hint_text().is_some(), "{error}");
}

/// Waits until a connection stalls in the middle of its rows, so that the run cannot end before the fault.
async fn stalled(proxy: &Proxy, before: u64) {
    eventually("a connection comes so far", || async { proxy.broken() > before }).await;
}

/// A run during which `fault` happens while rows are on their way.
async fn run_with<F: Future<Output = ()>>(
    (lake, shop, job, proxy): (&Lake, &Connection, &EtlJob, &Proxy),
    fault: impl FnOnce() -> F,
) -> RunReport {
    proxy.script(|| after_bytes(2_000_000, Break::Stall));
    let before = proxy.broken();
    let (report, ()) = tokio::join!(lake.run(shop, job), async {
        stalled(proxy, before).await;
        fault().await;
        // What stalls ends now; connections from now on pass.
        proxy.pass();
    });
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_runs_commit_nothing() {
    let server = Server::start("").await;
    let admin = server.admin().await;
    create(&admin).await;
    let proxy = Proxy::new(server.address()).await.unwrap();
    let shop = through(&server, &proxy);
    for (strategy, job) in [("replace", replace()), ("append", append())] {
        let lake = Lake::new();
        let mut rows = 30_000_i64;
        for round in 0..5 {
            let loaded = lake.ids();
            let report = match round {
                // The first two also hit a first load, with nothing there before.
                0 => {
                    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'";
                    run_with((&lake, &shop, &job, &proxy), || async {
                        admin.batch_execute(kill).await.unwrap()
                    })
                    .await
                }
                1 | 2 => {
                    let how = if round == 1 { Break::Close } else { Break::Reset };
                    proxy.script(move || after_bytes(2_000_000, how));
                    let report = lake.run(&shop, &job).await;
                    proxy.pass();
                    report
                }
                3 => {
                    proxy.script(|| after_bytes(2_000_000, Break::Stall));
                    let report = lake.run(&shop.clone().option("read_timeout", 1), &job).await;
                    proxy.pass();
                    report
                }
                // The lock of a change that came between holds the run up, until the server gives up on it.
                _ => {
                    admin.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
                    let report = lake.run(&server.connection().option("read_timeout", 1), &job).await;
                    admin.batch_execute("ROLLBACK").await.unwrap();
                    report
                }
            };
            failed(&report, &[ErrorKind::Unreachable, ErrorKind::Timeout]);
            assert!(lake.ids() == loaded, "{strategy} {round}: {} rows after a failed run", lake.ids().len());
            if round == 0 {
                // The next fault hits a first load too.
                continue;
            }
            let report = lake.load(&shop, &job).await;
            assert!(report.committed, "{strategy} {round}");
            assert_eq!(lake.ids(), (1..=rows).collect::<Vec<_>>(), "{strategy} {round}");
            insert(&admin, rows + 1, rows + 6000).await;
            rows += 6000;
        }
        admin.batch_execute("DELETE FROM t WHERE id > 30000").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begins_again_when_told_to() {
    let server = Server::start("").await;
    create(&server.admin().await).await;
    let proxy = Proxy::new(server.address()).await.unwrap();
    let (shop, lake) = (through(&server, &proxy), Lake::new());
    let options = RunnerOptions::default().parallelism(1).retries(2);
    let runner = lake.runner(&shop).options(options);
    // Each run has one connection: the first one breaks, later ones pass.
    let broken = Arc::new(AtomicBool::new(false));
    proxy.script(move || {
        let limit = if broken.swap(true, Ordering::Relaxed) { usize::MAX } else { 2_000_000 };
        after_bytes(limit, Break::Reset)
    });
    let report = runner.run(&append()).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Succeeded, 2), "{:?}", report.error);
    assert_eq!(lake.ids(), (1..=30_000).collect::<Vec<_>>());
    assert_eq!((report.rows.read, report.rows.written), (30_000, 30_000));

    proxy.script(|| after_bytes(2_000_000, Break::Reset));
    let report = runner.run(&replace()).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Failed, 3));
    // What does not pass by itself is not tried again.
    let missing = Lake::job(TableRef::new("public", "nowhere")).replace().build().unwrap();
    assert_eq!(runner.run(&missing).await.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_under_a_run() {
    let mut server = Server::start("").await;
    create(&server.admin().await).await;
    let (lake, job) = (Lake::new(), append());
    for mode in ["fast", "immediate"] {
        let proxy = Proxy::new(server.address()).await.unwrap();
        let shop = through(&server, &proxy);
        let loaded = lake.ids();
        let report = run_with((&lake, &shop, &job, &proxy), || server.stop(mode)).await;
        failed(&report, &[ErrorKind::Unreachable]);
        assert!(lake.ids() == loaded, "{mode}: {} rows after a failed run", lake.ids().len());
        // While it is down.
        let report = lake.run(&server.connection(), &job).await;
        failed(&report, &[ErrorKind::Unreachable]);
        server = server.start_again().await;
        lake.load(&server.connection(), &job).await;
        let admin = server.admin().await;
        let rows: i64 = admin.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
        assert_eq!(lake.ids(), (1..=rows).collect::<Vec<_>>(), "{mode}");
        insert(&admin, rows + 1, rows + 12_000).await;
    }
}

/// Waits until the server has noticed that the sessions of a run are gone.
async fn gone(admin: &Client) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'etl'";
    eventually("the sessions of a run that is over end", || async {
        admin.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_connections_left() {
    let server = Server::start("max_connections = 8\nsuperuser_reserved_connections = 2").await;
    let admin = server.admin().await;
    create(&admin).await;
    admin.batch_execute("CREATE ROLE etl LOGIN PASSWORD 'x'; GRANT SELECT ON t TO etl").await.unwrap();
    let shop = server.connection().option("username", "etl").password(transload_core::Secret::new("x"));
    let (lake, job) = (Lake::new(), replace());
    // Two are left: the session finds one, and not all of its further splits do. They wait for the first ones.
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(server.admin().await);
    }
    let report = lake.run(&shop, &job).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Succeeded, 1), "{:?}", report.error);
    assert_eq!(lake.ids(), (1..=30_000).collect::<Vec<_>>());
    // One split needs one connection; the other is for the sample.
    gone(&admin).await;
    let one = lake.runner(&shop).options(RunnerOptions::default().parallelism(1));
    let report = one.run(&job).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{:?}", report.error);
    gone(&admin).await;
    others.extend([server.admin().await, server.admin().await]);
    let report = lake.run(&shop, &job).await;
    failed(&report, &[ErrorKind::RateLimited]);
    assert_eq!(lake.ids(), (1..=30_000).collect::<Vec<_>>());
    drop(others);
}

/// How often the server has refused a connection of the role, by its log. The log is written by a process of its own,
/// so a line is waited for that comes after all of them.
async fn refusals(server: &Server, admin: &Client) -> i64 {
    let last = format!("nobody_{}", rand::random::<u64>());
    let nobody = server.connection().option("username", last.as_str());
    open(&nobody).await.unwrap().check().await.unwrap_err();
    let log = || async {
        let row = admin.query_one("SELECT pg_read_file('log/refusals')", &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    eventually("the log is written", || async { log().await.contains(&last) }).await;
    i64::try_from(log().await.matches("too many connections for role").count()).unwrap()
}

/// The server's log is the oracle for what it refused.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_a_role_may_not_open_wait_for_the_others() {
    let server =
        Server::start("logging_collector = on\nlog_directory = 'log'\nlog_filename = 'refusals'").await;
    let admin = server.admin().await;
    create(&admin).await;
    let mut before = 0;
    for limit in [1, 2, 3] {
        let role = format!(
            "DROP ROLE IF EXISTS etl; CREATE ROLE etl LOGIN PASSWORD 'x' CONNECTION LIMIT {limit}; GRANT pg_read_all_data TO etl"
        );
        admin.batch_execute(&role).await.unwrap();
        let shop = server.connection().option("username", "etl").password(transload_core::Secret::new("x"));
        let (lake, job) = (Lake::new(), replace());
        let report = lake.run(&shop, &job).await;
        assert_eq!(
            (report.status, report.attempts),
            (RunStatus::Succeeded, 1),
            "{limit}: {:?}",
            report.error
        );
        assert_eq!((report.rows.read, report.rows.written), (30_000, 30_000), "{limit}");
        assert_eq!(lake.ids(), (1..=30_000).collect::<Vec<_>>(), "{limit}");
        let now = refusals(&server, &admin).await;
        assert!(now > before, "the server refused nobody with a limit of {limit}");
        before = now;
        gone(&admin).await;
        // Told beforehand, nobody asks for more.
        let limits = serde_json::json!({"parallel_reads": limit});
        let told = shop.limited(serde_json::from_value(limits).unwrap());
        assert_eq!(lake.run(&told, &job).await.status, RunStatus::Succeeded);
        let now = refusals(&server, &admin).await;
        assert_eq!(now, before, "{limit}");
        gone(&admin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_run_can_be_cancelled() {
    let server = Server::start("").await;
    create(&server.admin().await).await;
    let proxy = Proxy::new(server.address()).await.unwrap();
    let shop = through(&server, &proxy);
    let (lake, job, cancel) = (Lake::new(), append(), CancelHandle::default());
    let runner = lake.runner(&shop).cancel_with(&cancel);
    proxy.script(|| after_bytes(2_000_000, Break::Stall));
    let (report, ()) = tokio::join!(runner.run(&job), async {
        stalled(&proxy, 0).await;
        cancel.cancel();
    });
    assert_eq!(report.status, RunStatus::Cancelled, "{:?}", report.error);
    assert_eq!(lake.ids(), [0; 0]);
    proxy.pass();
    lake.load(&shop, &job).await;
    assert_eq!(lake.ids().len(), 30_000);
}
