//! Whole runs into a dataset: what they load is proven, and a source that breaks in the middle commits nothing.

use std::time::Duration;

use transload_core::proof::{ProofLevel, Verdict};
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, EtlJob, Registry, RunStatus, Runner, RunnerOptions};
use transload_mysql::Mysql;
use transload_testkit::proxy::{Break, Proxy, after_bytes};

use super::own::Own;
use super::support::{place, place_at};

fn runner(shop: &Connection, lake: &tempfile::TempDir) -> Runner {
    let lake = Connection::new("lake", "dataset").option("path", lake.path().to_string_lossy());
    Runner::new(Registry::new().with(Mysql).with(transload_dataset::Dataset))
        .options(RunnerOptions::default().parallelism(2))
        .connection(shop.clone().named("shop"))
        .connection(lake)
}

fn replace(table: TableRef) -> EtlJob {
    EtlJob::builder("j")
        .from_table("shop", table)
        .into("lake", "raw", "t")
        .replace()
        .proof(ProofLevel::Values)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_column_is_loaded_and_proven() {
    let place = place();
    place.run(
        "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, a TINYINT, b INT UNSIGNED, c DECIMAL(20,4), d DECIMAL(65,30), e DOUBLE, f FLOAT, \
         g BIT(5), h BIT(1), i DATE, j DATETIME(6), k TIMESTAMP(3) NULL, l TIME(6), m VARCHAR(99), n LONGTEXT CHARACTER SET latin1, \
         o BLOB, p ENUM('x', 'y'), q SET('x', 'y'), r JSON, s UUID, t INET6, u YEAR, v CHAR(9)); SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'; \
         INSERT INTO t SELECT seq, seq % 100 - 50, seq * 1000, seq / 7, -seq / 13, seq / 3, seq / 3, seq % 32, seq % 2, \
         '2000-01-01' + INTERVAL seq DAY, '2000-01-01' + INTERVAL seq * 1000001 MICROSECOND, FROM_UNIXTIME(seq * 1000.001), \
         SEC_TO_TIME(seq * 10 - 50000), CONCAT('größe ', seq), CONCAT('é', seq), UNHEX(MD5(seq)), 'y', 'x,y', JSON_OBJECT('i', seq), UUID(), \
         '::1', 1901 + seq % 200, ' a ' FROM seq_1_to_10000; \
         INSERT INTO t (id) SELECT 20000 + seq FROM seq_1_to_100",
    );
    let lake = tempfile::tempdir().unwrap();
    let report = runner(&place.connection(), &lake).run(&replace(place.table("t"))).await;
    assert_eq!((report.status, report.rows.written), (RunStatus::Succeeded, 10_100), "{}", report.to_json());
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
}

/// 60 MB, which is several splits.
const ROWS: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, filler CHAR(250)); \
    INSERT INTO t SELECT seq, REPEAT(MD5(seq), 7) FROM seq_1_to_200000; ANALYZE TABLE t";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_in_the_middle_commits_nothing() {
    let mut own = Own::start(&[]);
    let place = place_at(own.connection());
    place.run(ROWS);
    let port = own.connection().to_json()["port"].as_u64().unwrap();
    let proxy = Proxy::new(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await.unwrap();
    let shop = own.connection().option("port", proxy.port()).option("tls", "disable");
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&shop, &lake);
    let job = replace(place.table("t"));
    proxy.script(|| after_bytes(5_000_000, Break::Stall));
    let crash = async {
        while proxy.broken() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        own.kill();
        proxy.pass();
    };
    let (report, ()) = tokio::join!(runner.run(&job), crash);
    assert_eq!((report.status, report.committed), (RunStatus::Failed, false), "{}", report.to_json());
    let error = report.error.unwrap();
    assert!(error.kind() == ErrorKind::Unreachable && error.is_retryable(), "{error}");
    own.restart();
    let report = runner.run(&job).await;
    assert_eq!((report.committed, report.rows.written), (true, 200_000), "{}", report.to_json());
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_several_that_is_killed_commits_nothing() {
    let place = place();
    place.run(ROWS);
    let port = place.connection().to_json()["port"].as_u64().unwrap();
    let proxy = Proxy::new(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await.unwrap();
    let shop = place.connection().option("port", proxy.port()).option("tls", "disable");
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&shop, &lake);
    // Each connection is reset behind its first rows.
    proxy.script(|| after_bytes(3_000_000, Break::Reset));
    let report = runner.run(&replace(place.table("t"))).await;
    assert_eq!((report.status, report.committed), (RunStatus::Failed, false), "{}", report.to_json());
    assert!(report.error.unwrap().is_retryable());
    proxy.script(|| Box::new(|_| None));
    let report = runner.run(&replace(place.table("t"))).await;
    assert_eq!((report.committed, report.rows.written), (true, 200_000), "{}", report.to_json());
}

/// Windows that follow one another while rows come.
#[tokio::test(flavor = "multi_thread")]
async fn appends_bring_every_row_once() {
    let place = place();
    place.run(
        "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, at DATETIME(6), note TEXT, KEY (at))",
    );
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&place.connection(), &lake);
    for cursor in ["id", "at"] {
        let job = EtlJob::builder(cursor)
            .from_table("shop", place.table("t"))
            .into("lake", "raw", cursor)
            .append(cursor)
            .proof(ProofLevel::Values)
            .build()
            .unwrap();
        let mut written = 0;
        for round in 0..4 {
            place.run(&format!(
                "INSERT INTO t (at, note) SELECT '2024-01-01' + INTERVAL {round} * 1000 + seq DIV 3 MICROSECOND, 'x' FROM seq_1_to_300"
            ));
            let report = runner.run(&job).await;
            assert_eq!(report.status, RunStatus::Succeeded, "{}", report.to_json());
            written += report.rows.written;
            assert_eq!(report.proof.map(|proof| proof.verdict), Some(Verdict::Equal));
        }
        assert_eq!(written.to_string(), place.cell("SELECT COUNT(*) FROM t"), "{cursor}");
        place.run("DELETE FROM t");
    }
}
