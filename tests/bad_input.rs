//! Wrong input through the facade: each gives one clear error of the right kind, that says what to do, and leaves
//! nothing half loaded. Cases with a server need `TRANSLOAD_TEST_POSTGRES_URL`.
//!
//! What is wrong in documents alone is in `connectors/testkit/cases` too, for every language.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transload::job::EtlJobBuilder;
use transload::{Connection, Error, ErrorKind, EtlJob, RunReport, RunStatus, Runner, default_registry};

/// A folder with `shop/` (files to read) and `lake/` (the dataset to load).
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shop")).unwrap();
        Self { folder }
    }

    fn shop(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        fs::write(self.shop().join(name), text).unwrap();
        self
    }

    fn files(&self) -> Connection {
        Connection::new("shop", "files").option("path", self.shop().to_string_lossy())
    }

    fn runner(&self, shop: Connection) -> Runner {
        let lake = Connection::new("lake", "dataset").option("path", self.lake().to_string_lossy());
        Runner::new(default_registry()).connection(shop.named("shop")).connection(lake)
    }

    /// Runs a job that must fail, with nothing loaded.
    async fn fails(&self, shop: Connection, job: EtlJobBuilder, kind: ErrorKind, says: &[&str]) -> Error {
        let report = self.runner(shop).run(&job.build().unwrap()).await;
        let error = clear(report, kind, says);
        assert_eq!(rows(&self.lake()), 0, "after: {error}");
        error
    }
}

/// The one error of a report: of this kind, saying these texts, with a hint.
fn clear(report: RunReport, kind: ErrorKind, says: &[&str]) -> Error {
    assert_eq!(report.status, RunStatus::Failed, "{}", report.to_json());
    assert!(!report.committed && report.rows.written == 0, "{}", report.to_json());
    let error = report.error.unwrap();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "no hint: {error}");
    for text in says {
        assert!(error.to_string().contains(text), "it does not say {text:?}: {error}");
    }
    assert!(error.to_string().len() < 1500, "a wall of text: {error}");
    error
}

/// Rows that readers of the lake see: those of every Parquet file outside hidden folders.
fn rows(folder: &Path) -> i64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut rows = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            rows += self::rows(&path);
        } else if path.extension().is_some_and(|ending| ending == "parquet") {
            let file = fs::File::open(&path).unwrap();
            let reader = parquet::file::serialized_reader::SerializedFileReader::new(file).unwrap();
            rows += parquet::file::reader::FileReader::metadata(&reader).file_metadata().num_rows();
        }
    }
    rows
}

fn job(table: &str) -> EtlJobBuilder {
    let table = transload::schema::TableRef::unqualified(table);
    EtlJob::builder("orders").from_table("shop", table).into("lake", "raw", "orders")
}

fn server() -> Connection {
    let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL").expect(
        "TRANSLOAD_TEST_POSTGRES_URL is not set: start the servers with connectors/testkit/services/up.sh",
    );
    Connection::from_url(&url).unwrap()
}

#[tokio::test]
async fn unreachable_host() {
    let world = World::new();
    let began = Instant::now();
    for (host, port) in [("127.0.0.1", 1), ("no-such-host.invalid", 5432)] {
        let shop = server().option("host", host).option("port", port);
        let error = world.fails(shop, job("pg_class"), ErrorKind::Unreachable, &[host]).await;
        assert!(error.is_retryable(), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn wrong_password_and_user() {
    let world = World::new();
    let shop = server().password(transload::Secret::new("wrong"));
    let error = world.fails(shop, job("pg_class"), ErrorKind::Auth, &[]).await;
    assert!(!error.is_retryable());
    let shop = server().option("username", "nobody_of_this_name");
    world.fails(shop, job("pg_class"), ErrorKind::Auth, &["nobody_of_this_name"]).await;
}

#[tokio::test]
async fn missing_database_schema_table() {
    let world = World::new();
    let shop = server().option("database", "no_such_database");
    world.fails(shop, job("t"), ErrorKind::NotFound, &["no_such_database"]).await;
    let from = |schema: &str, table: &str| {
        EtlJob::builder("j").from("shop", &format!("{schema}.{table}")).into("lake", "raw", "orders")
    };
    world.fails(server(), from("no_such_schema", "t"), ErrorKind::NotFound, &["no_such_schema"]).await;
    world.fails(server(), from("public", "no_such_table"), ErrorKind::NotFound, &["no_such_table"]).await;
    world.fails(world.files(), job("none.csv"), ErrorKind::NotFound, &["none.csv"]).await;
    let shop =
        Connection::new("shop", "sqlite").option("path", world.shop().join("none.db").to_string_lossy());
    world.fails(shop, job("t"), ErrorKind::NotFound, &["none.db"]).await;
}

#[tokio::test]
async fn missing_column() {
    let world = World::new();
    world.file("orders.csv", "id,name\n1,a\n");
    let near = ["`nmae`", "`name`"];
    world.fails(world.files(), job("orders.csv").columns(["id", "nmae"]), ErrorKind::NotFound, &near).await;
    world.fails(world.files(), job("orders.csv").append("nmae"), ErrorKind::NotFound, &near).await;
    world.fails(world.files(), job("orders.csv").merge(["nmae"], None), ErrorKind::NotFound, &near).await;
    let wrong = job("orders.csv").override_type("nmae", "STRING", None);
    world.fails(world.files(), wrong, ErrorKind::NotFound, &near).await;
    let wrong = EtlJob::builder("j").from("shop", "pg_catalog.pg_class").columns(["relnaem"]);
    let wrong = wrong.into("lake", "raw", "orders");
    world.fails(server(), wrong, ErrorKind::NotFound, &["`relnaem`", "`relname`"]).await;
}

#[test]
fn unknown_fields() {
    let mut document = job("t").build().unwrap().to_json().unwrap();
    document["load"]["curser"] = "id".into();
    let error = EtlJob::from_json(document).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.hint_text(), Some("did you mean `cursor`?"));
    let file = |kind: &str| Connection::new("c", kind).option("path", "x");
    let server = Connection::new("c", "postgresql").option("host", "h").option("username", "u");
    for (connection, option, near) in [
        (server, "databse", "database"),
        (file("dataset"), "compresion", "compression"),
        (file("sqlite"), "busy_timout", "busy_timeout"),
        (file("files"), "delimeter", "delimiter"),
    ] {
        default_registry().validate(&connection).unwrap();
        let error = default_registry().validate(&connection.option(option, "x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.hint_text(), Some(format!("did you mean `{near}`?").as_str()), "{error}");
    }
}

#[tokio::test]
async fn unsupported_overrides() {
    let world = World::new();
    world.file("orders.csv", "id,name\n1,a\n");
    for (data_type, format) in [("VARCHAR(10)", None), ("NUMERIC(50)", None), ("", None), ("BYTES(", None)] {
        let wrong = job("orders.csv").override_type("name", data_type, format);
        world.fails(world.files(), wrong, ErrorKind::TypeMapping, &[]).await;
    }
    let wrong = EtlJob::builder("j").from("shop", "pg_catalog.pg_class").columns(["oid", "relhasindex"]);
    let wrong = wrong.into("lake", "raw", "orders").override_type("relhasindex", "DATE", None);
    world.fails(server(), wrong, ErrorKind::TypeMapping, &["relhasindex", "BOOL"]).await;
}

#[tokio::test]
async fn files_that_are_not_what_they_say() {
    let world = World::new();
    let text = "this is a plain text that is longer than any header of a file format that might be in question, or so\n";
    world.file("text.parquet", text).file("short.parquet", "PAR1").file("empty.parquet", "");
    for name in ["text.parquet", "short.parquet", "empty.parquet"] {
        world.fails(world.files(), job(name), ErrorKind::Data, &[name]).await;
    }
    world.file("text.db", &text.repeat(20));
    let shop =
        Connection::new("shop", "sqlite").option("path", world.shop().join("text.db").to_string_lossy());
    world.fails(shop, job("t"), ErrorKind::Data, &["text.db"]).await;
    fs::write(world.shop().join("latin1.csv"), b"id,name\n1,caf\xe9\n").unwrap();
    world.fails(world.files(), job("latin1.csv"), ErrorKind::Data, &["UTF-8"]).await;
    world.file("ragged.csv", "id,name\n1,a\n2,b,c,d\n");
    world.fails(world.files(), job("ragged.csv"), ErrorKind::Data, &["ragged.csv"]).await;
    world.file("quote.csv", "id,name\n1,\"a\n2,b\n");
    world.fails(world.files(), job("quote.csv"), ErrorKind::Data, &["quote.csv"]).await;
}

#[tokio::test]
async fn empty_tables_and_nothing_new_are_no_errors() {
    let world = World::new();
    world.file("orders.csv", "id,name\n");
    let append = job("orders.csv").append("id").build().unwrap();
    let runner = world.runner(world.files());
    let report = runner.run(&append).await.into_result().unwrap();
    assert_eq!((report.rows.read, report.rows.written), (0, 0));
    world.file("orders.csv", "id,name\n1,a\n2,b\n");
    assert_eq!(runner.run(&append).await.into_result().unwrap().rows.written, 2);
    // Without rows past the watermark.
    let report = runner.run(&append).await.into_result().unwrap();
    assert_eq!((report.rows.written, report.committed), (0, false));
    assert_eq!(rows(&world.lake()), 2);
    // A file without even a header has no columns to load.
    world.file("nothing.csv", "");
    clear(runner.run(&job("nothing.csv").build().unwrap()).await, ErrorKind::Data, &["nothing.csv"]);
}

#[tokio::test]
async fn a_value_that_does_not_fit() {
    let world = World::new();
    let mut text = "id,amount\n".to_owned();
    for id in 0..5000 {
        text.push_str(&format!("{id},{id}.50\n"));
    }
    world.file("orders.csv", &format!("{text}5000,much\n"));
    let typed = || job("orders.csv").override_type("amount", "NUMERIC(10,2)", None);
    world.fails(world.files(), typed(), ErrorKind::Data, &["amount", "much"]).await;
    // The load before it stays as it was.
    world.file("orders.csv", &text);
    let runner = world.runner(world.files());
    runner.run(&typed().build().unwrap()).await.into_result().unwrap();
    world.file("orders.csv", "id,amount\n1,1.005\n");
    clear(runner.run(&typed().build().unwrap()).await, ErrorKind::Data, &["amount", "1.005"]);
    assert_eq!(rows(&world.lake()), 5000);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written() {
    let world = World::new();
    world.file("orders.csv", "id\n1\n");
    // A file where a folder should be; root may write everywhere else, so permissions would not do.
    fs::write(world.lake(), "a file").unwrap();
    let report = world.runner(world.files()).run(&job("orders.csv").build().unwrap()).await;
    clear(report, ErrorKind::Config, &["lake"]);
    fs::remove_file(world.lake()).unwrap();
    // `/proc` takes no folders from anyone.
    let lake = Connection::new("lake", "dataset").option("path", "/proc/transload-cannot-be-here");
    let report = world.runner(world.files()).connection(lake).run(&job("orders.csv").build().unwrap()).await;
    let error = report.error.expect("nobody may write below /proc");
    let kinds = [ErrorKind::Permission, ErrorKind::NotFound, ErrorKind::Config];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(error.hint_text().is_some() && error.to_string().contains("/proc"), "{error}");
}

/// Ctrl-C to the `run` program while rows move: exit code 1, a report that says `cancelled`, nothing loaded.
#[cfg(unix)]
#[test]
fn interrupt_in_the_middle() {
    let world = World::new();
    let both = json!({
        "connections": [
            {"name": "shop", "type": "files", "path": world.shop()},
            {"name": "lake", "type": "dataset", "path": world.lake()},
        ],
        "jobs": [job("orders.csv").build().unwrap().to_json().unwrap()],
    });
    let documents = world.folder.path().join("both.json");
    fs::write(&documents, both.to_string()).unwrap();
    // Large enough to be still under way when the signal comes, on any machine.
    let line = format!("7,{}\n", "abc ".repeat(60));
    world.file("orders.csv", &format!("id,name\n{}", line.repeat(1_200_000)));
    let mut child = std::process::Command::new(common::run_program())
        .arg(&documents)
        .env("RUST_LOG", "debug")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The log tells when rows begin to move.
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.lines().any(|line| line.contains("phase") && line.contains("load")) {
        let read = std::io::BufRead::read_line(&mut log, &mut seen).unwrap();
        assert!(read > 0, "the program ended before it loaded:\n{seen}");
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest = std::thread::spawn(move || std::io::read_to_string(log));
    let output = child.wait_with_output().unwrap();
    rest.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one report on standard output");
    assert_eq!(report["status"], "cancelled", "{report}");
    assert_eq!(report["committed"], false);
    assert_eq!(rows(&world.lake()), 0);
    let staged: Vec<_> = walk(&world.lake()).into_iter().filter(|path| path.ends_with(".parquet")).collect();
    assert!(staged.len() <= 1, "a cancelled run cleans up after itself: {staged:?}");
}

fn walk(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        paths.push(path.to_string_lossy().into_owned());
        if path.is_dir() {
            paths.extend(walk(&path));
        }
    }
    paths
}
