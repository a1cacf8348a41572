//! Whole runs into a dataset.

use transload_core::proof::{ProofLevel, Verdict};
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, EtlJob, Registry, RunStatus, Runner, RunnerOptions};
use transload_mssql::Mssql;
use transload_testkit::proxy::{Break, Proxy, after_bytes};

use super::support::place;

fn runner(shop: &Connection, lake: &tempfile::TempDir) -> Runner {
    let lake = Connection::new("lake", "dataset").option("path", lake.path().to_string_lossy());
    Runner::new(Registry::new().with(Mssql).with(transload_dataset::Dataset))
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
async fn many_kinds_of_columns_are_loaded_and_proven() {
    let place = place().await;
    place
        .run(
            "CREATE TABLE $.t (id BIGINT NOT NULL PRIMARY KEY, a TINYINT NULL, b DECIMAL(20,4) NULL, c MONEY NULL, d FLOAT NULL, \
             e BIT NULL, f DATE NULL, g DATETIME2(3) NULL, h DATETIMEOFFSET(0) NULL, i TIME(3) NULL, j NVARCHAR(50) NULL, \
             k VARCHAR(50) NULL, l VARBINARY(20) NULL, m UNIQUEIDENTIFIER NULL, n DATETIME NULL)",
        )
        .await;
    for begin in (0..3000).step_by(500) {
        let rows: Vec<_> = (begin..begin + 500)
            .map(|n| {
                format!(
                    "({n}, {}, {n}.0007, -{n}.5, {n}.25, {}, '2024-01-{:02}', '2024-01-01T10:00:{:02}.123', \
                     '2024-01-01T10:00:{:02}+02:00', '10:00:{:02}.5', N'größe {n}', 'plain {n}', 0x{n:08x}, \
                     '0E984725-C51C-4BF4-9960-{n:012x}', '2024-01-01T00:00:00.{:03}')",
                    n % 256,
                    n % 2,
                    n % 31 + 1,
                    n % 60,
                    n % 60,
                    n % 60,
                    [0, 3, 7][n % 3]
                )
            })
            .collect();
        place.run(&format!("INSERT INTO $.t VALUES {}", rows.join(", "))).await;
    }
    place.run("INSERT INTO $.t (id) VALUES (10000)").await;
    let lake = tempfile::tempdir().unwrap();
    let report = runner(&place.connection(), &lake).run(&replace(place.table("t"))).await;
    assert_eq!((report.status, report.rows.written), (RunStatus::Succeeded, 3001), "{}", report.to_json());
    assert_eq!(report.proof.as_ref().unwrap().verdict, Verdict::Equal, "{}", report.to_json());
    assert!(report.warnings.iter().all(|(_, warning)| warning.code != "W_NO_SNAPSHOT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_snapshot_says_so() {
    let place = place().await;
    place.numbers(100, 10).await;
    let shop = place.connection().option("isolation", "read_committed");
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&shop, &lake);
    let report = runner.run(&replace(place.table("t"))).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{}", report.to_json());
    assert!(
        report.warnings.iter().any(|(_, warning)| warning.code == "W_NO_SNAPSHOT"),
        "{}",
        report.to_json()
    );
    let document = serde_json::json!({
        "name": "deletes", "source": {"connection": "shop", "schema": place.schema, "table": "t"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "deletes"},
        "load": {"strategy": "merge", "key": ["id"], "cursor": "id", "detect_deletes": {"policy": "remove"}}
    });
    let report = runner.run(&EtlJob::from_json(document).unwrap()).await;
    assert_eq!(report.error.unwrap().kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_rowversion_load_each_change_once() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, r ROWVERSION)").await;
    place.run("INSERT INTO $.t (id, n) VALUES (1, 1), (2, 1), (3, 1)").await;
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&place.connection(), &lake);
    let document = serde_json::json!({
        "name": "changes", "source": {"connection": "shop", "schema": place.schema, "table": "t"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "changes"},
        "load": {"strategy": "merge", "key": ["id"], "cursor": "r", "cursor_bound": "oldest_transaction"}
    });
    let job = EtlJob::from_json(document).unwrap();
    let report = runner.run(&job).await;
    assert_eq!((report.status, report.rows.written), (RunStatus::Succeeded, 3), "{}", report.to_json());
    place.run("UPDATE $.t SET n = 2 WHERE id = 2").await;
    place.run("INSERT INTO $.t (id, n) VALUES (4, 1)").await;
    let report = runner.run(&job).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{}", report.to_json());
    // The row at the boundary is read again.
    assert!((2..=3).contains(&report.rows.written), "{}", report.to_json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_connection_breaks_goes_on_or_commits_nothing() {
    let place = place().await;
    place.numbers(4000, 200).await;
    let document = place.connection().to_json();
    let port = u16::try_from(document["port"].as_u64().unwrap_or(1433)).unwrap();
    let host = document["host"].as_str().unwrap().to_owned();
    let server = tokio::net::lookup_host((host, port)).await.unwrap().next().unwrap();
    let proxy = Proxy::new(server).await.unwrap();
    proxy.script(|| after_bytes(200_000, Break::Reset));
    let shop = place
        .connection()
        .option("host", "127.0.0.1")
        .option("port", proxy.port())
        .option("encrypt", "disable");
    let lake = tempfile::tempdir().unwrap();
    let runner = runner(&shop, &lake);
    let report = runner.run(&replace(place.table("t"))).await;
    assert!(!report.committed && report.status == RunStatus::Failed, "{}", report.to_json());
    assert_eq!(report.error.unwrap().kind(), ErrorKind::Unreachable);
    proxy.pass();
    let report = runner.run(&replace(place.table("t"))).await;
    assert_eq!((report.status, report.rows.written), (RunStatus::Succeeded, 4000), "{}", report.to_json());
}
