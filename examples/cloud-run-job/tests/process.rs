//! The real program as a process, from its environment to its exit code. The control plane is a server on a socket
//! that the tests script; databases, signals and the file system are real.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use transload_testkit::http::{Answer, HttpServer, Reply, Request};
use transload_testkit::port::KeptPort;
use transload_testkit::proxy::Proxy;
use transload_testkit::wait::{PATIENCE, eventually};

const TOKEN: &str = "t0ken-of-the-tests";
const SIGTERM: rustix::process::Signal = rustix::process::Signal::TERM;

/// A folder with a SQLite shop and room for a lake.
struct Place(TempDir);

impl Place {
    fn new(tables: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let shop = rusqlite::Connection::open(place.path("shop.db")).unwrap();
        for table in tables {
            shop.execute_batch(&format!(
                "CREATE TABLE {table} (id INTEGER PRIMARY KEY, total TEXT);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
                 INSERT INTO {table} SELECT i, i || '.50' FROM n;"
            ))
            .unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn connections(&self) -> Vec<Value> {
        vec![
            json!({"name": "shop", "type": "sqlite", "path": self.path("shop.db")}),
            json!({"name": "lake", "type": "dataset", "path": self.path("lake")}),
        ]
    }

    /// A file of jobs for this program.
    fn file(&self, jobs: &[Value]) -> PathBuf {
        let path = self.path("jobs.json");
        std::fs::write(&path, json!({"connections": self.connections(), "jobs": jobs}).to_string()).unwrap();
        path
    }

    /// Rows that readers of the lake see.
    fn rows(&self, table: &str) -> i64 {
        parquet_files(&self.path("lake").join("raw").join(table)).iter().map(|path| parquet_rows(path)).sum()
    }
}

/// Files that are visible: neither they nor their folders begin with a dot or an underscore.
fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with(['.', '_']))
        .flat_map(|path| if path.is_dir() { parquet_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect()
}

fn parquet_rows(path: &Path) -> i64 {
    use parquet::file::reader::FileReader as _;
    let file = parquet::file::reader::SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    file.metadata().file_metadata().num_rows()
}

fn job(table: &str) -> Value {
    json!({
        "name": table,
        "source": {"connection": "shop", "table": table},
        "destination": {"connection": "lake", "dataset": "raw", "table": table},
        "load": {"strategy": "append", "cursor": "id"},
    })
}

/// The program with these variables and no others.
fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transload-job"));
    command.env_clear().envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

struct Done {
    code: Option<i32>,
    entries: Vec<Value>,
    text: String,
}

impl Done {
    fn new(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        // Every line is an entry of Cloud Logging.
        let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for entry in &entries {
            assert!(["DEBUG", "INFO", "WARNING", "ERROR"].contains(&entry["severity"].as_str().unwrap()));
            assert!(entry["message"].is_string() && entry["time"].is_string(), "{entry}");
        }
        assert!(!text.contains(TOKEN), "{text}");
        Self { code: output.status.code(), entries, text }
    }

    fn says(&self, severity: &str, words: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry["severity"] == severity
                && entry["message"].as_str().is_some_and(|text| text.contains(words))
        })
    }

    /// The reports in the log.
    fn reports(&self) -> Vec<&Value> {
        self.entries.iter().filter_map(|entry| entry.get("report")).collect()
    }
}

async fn run(variables: &[(&str, &str)]) -> Done {
    let output = tokio::time::timeout(PATIENCE, program(variables).output()).await;
    Done::new(output.expect("the program hangs").unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A control plane with jobs by id. Reports and progress can be made to fail.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    jobs: BTreeMap<String, Value>,
    connections: Vec<Value>,
    reports: BTreeMap<String, Value>,
    /// The status of an answer to a report; 0 to put it down.
    report_status: u16,
    /// When a report that is refused may come again, in seconds, if that is said.
    retry_after: &'static str,
    /// The answer to everything, if there is one.
    answer: Option<Answer>,
    progress: usize,
    /// The name of a job whose runs shall stop.
    cancel: Option<String>,
}

impl Host {
    fn new(place: &Place, tables: &[&str]) -> Self {
        let host = Self::default();
        host.set(|state| {
            state.jobs =
                (1..).map(|id: u32| id.to_string()).zip(tables.iter().map(|table| job(table))).collect();
            state.connections = place.connections();
        });
        host
    }

    fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    async fn start(&self) -> HttpServer {
        let host = self.clone();
        HttpServer::start(move |request| {
            let answer = host.set(|state| state.answer.clone().unwrap_or_else(|| state.act(&request).into()));
            async move { answer }.boxed()
        })
        .await
        .unwrap()
    }

    /// The tables of the jobs that were reported as succeeded, as often as they were.
    fn succeeded(&self) -> Vec<String> {
        let mut jobs: Vec<_> = self.set(|state| {
            let done = state.reports.values().filter(|end| end["report"]["status"] == "succeeded");
            done.map(|end| end["report"]["job"].as_str().unwrap().to_owned()).collect()
        });
        jobs.sort();
        jobs
    }
}

impl State {
    fn act(&mut self, request: &Request) -> Reply {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Reply::json(401, &json!({"detail": "Invalid token."}));
        }
        let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
        let answer = |jobs: Vec<(&String, &Value)>| {
            let jobs: Vec<_> =
                jobs.iter().map(|(id, document)| json!({"id": id, "document": document})).collect();
            Reply::json(200, &json!({"jobs": jobs, "connections": self.connections}))
        };
        match path.as_slice() {
            ["v1", "jobs"] if request.target.contains("enabled=true") => answer(self.jobs.iter().collect()),
            ["v1", "jobs"] => {
                let asked = |id: &str| request.target.contains(&format!("id={id}"));
                answer(self.jobs.iter().filter(|(id, _)| asked(id)).collect())
            }
            ["v1", "jobs", id] => match self.jobs.get_key_value(*id) {
                Some(job) => answer(vec![job]),
                None => Reply::empty(404),
            },
            ["v1", "runs", _, "progress"] => {
                self.progress += 1;
                let cancel =
                    self.cancel.as_deref().is_some_and(|job| request.json()["progress"]["job"] == job);
                Reply::json(200, &json!({"cancel": cancel}))
            }
            ["v1", "runs", _, "report"] if self.report_status > 0 => {
                let reply = Reply::empty(self.report_status);
                if self.retry_after.is_empty() {
                    reply
                } else {
                    reply.header("retry-after", self.retry_after)
                }
            }
            ["v1", "runs", id, "report"] => {
                let known = self.reports.insert((*id).to_owned(), request.json());
                assert!(known.is_none_or(|known| known == request.json()), "two reports under one id");
                Reply::empty(204)
            }
            _ => Reply::empty(404),
        }
    }
}

fn variables<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("TRANSLOAD_CONTROL_PLANE_URL", url), ("TRANSLOAD_CONTROL_PLANE_TOKEN", TOKEN)];
    all.extend(more);
    all
}

#[tokio::test]
async fn exit_0_jobs_of_a_file() {
    let place = Place::new(&["orders", "customers", "old"]);
    let mut old = job("old");
    old["enabled"] = false.into();
    let file = place.file(&[job("orders"), job("customers"), old]);
    let done = run(&[("TRANSLOAD_JOBS_FILE", text(&file))]).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!((place.rows("orders"), place.rows("customers"), place.rows("old")), (100, 100, 0));
    let reports = done.reports();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["rows"]["written"], 100, "reports are objects in the log");
    assert!(done.says("INFO", "orders: 100 rows"));
    assert!(done.says("INFO", "transload-job ends: all jobs succeeded"));
    // By name also one that is not enabled; what is loaded is not loaded again.
    let done = run(&[("TRANSLOAD_JOBS_FILE", text(&file)), ("TRANSLOAD_JOBS", "old,orders")]).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!((place.rows("orders"), place.rows("old")), (100, 100));
}

#[tokio::test]
async fn exit_0_jobs_of_a_control_plane() {
    let place = Place::new(&["orders", "customers"]);
    let host = Host::new(&place, &["orders", "customers"]);
    let server = host.start().await;
    let done = run(&variables(&server.url(), &[("TRANSLOAD_JOBS", "all")])).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!((place.rows("orders"), place.rows("customers")), (100, 100));
    assert_eq!(host.succeeded(), ["customers", "orders"]);
    // One job, its token from a file.
    let token = place.path("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let url = server.url();
    let done = run(&[
        ("TRANSLOAD_CONTROL_PLANE_URL", url.as_str()),
        ("TRANSLOAD_CONTROL_PLANE_TOKEN_FILE", text(&token)),
        ("TRANSLOAD_JOBS", "1"),
    ])
    .await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!(host.succeeded(), ["customers", "orders", "orders"]);
}

#[tokio::test]
async fn exit_1_a_job_fails_and_the_others_run() {
    let place = Place::new(&["orders"]);
    let host = Host::new(&place, &["missing", "orders"]);
    host.set(|state| {
        state.jobs.insert("0".to_owned(), json!({"name": "wrong", "sorce": {}}));
    });
    let server = host.start().await;
    let done = run(&variables(&server.url(), &[])).await;
    assert_eq!(done.code, Some(1), "{}", done.text);
    assert_eq!(place.rows("orders"), 100);
    assert!(done.says("ERROR", "the job cannot run") && done.says("ERROR", "missing"));
    let kinds: Vec<_> = host.set(|state| {
        let ends = state.reports.values();
        ends.map(|end| (end["job_id"].clone(), end["error"]["kind"].clone(), end["report"]["status"].clone()))
            .collect()
    });
    assert_eq!(kinds.len(), 3);
    assert!(kinds.contains(&(json!("0"), json!("config"), Value::Null)), "{kinds:?}");
    assert!(kinds.contains(&(json!("1"), Value::Null, json!("failed"))), "{kinds:?}");
    assert!(kinds.contains(&(json!("2"), Value::Null, json!("succeeded"))), "{kinds:?}");
}

#[tokio::test]
async fn exit_2_the_configuration_is_wrong() {
    let place = Place::new(&["orders"]);
    let file = place.file(&[job("orders")]);
    let missing_connection = place.path("other.json");
    std::fs::write(&missing_connection, json!({"connections": [], "jobs": [job("orders")]}).to_string())
        .unwrap();
    let host = Host::new(&place, &["orders"]);
    let server = host.start().await;
    let url = server.url();
    for (variables, expected) in [
        (vec![], "neither TRANSLOAD_CONTROL_PLANE_URL nor TRANSLOAD_JOBS_FILE"),
        (vec![("TRANSLOAD_JOBS_FILE", "/nowhere.json")], "cannot be read"),
        (vec![("TRANSLOAD_JOBS_FILE", text(&missing_connection))], "no connection is named `shop`"),
        (
            vec![("TRANSLOAD_JOBS_FILE", text(&file)), ("TRANSLOAD_JOBS", "ordres")],
            "no job has the name `ordres`",
        ),
        (
            vec![("TRANSLOAD_CONTROL_PLANE_URL", url.as_str()), ("TRANSLOAD_CONTROL_PLANE_TOKEN", "wrong")],
            "refused the token",
        ),
        (variables(&url, &[("TRANSLOAD_JOBS", "77")]), "get job 77: the control plane does not know it"),
        (variables("http://control.example.com", &[]), "plain HTTP to another machine"),
    ] {
        let done = run(&variables).await;
        assert_eq!(done.code, Some(2), "{variables:?}: {}", done.text);
        assert!(done.says("ERROR", expected), "{variables:?}: {}", done.text);
    }
    assert_eq!(place.rows("orders"), 0);
    let done = run(&[("TRANSLOAD_JOBS_FILE", text(&file)), ("TRANSLOAD_JOB", "orders")]).await;
    assert!(done.code == Some(0) && done.says("WARNING", "did you mean TRANSLOAD_JOBS?"), "{}", done.text);
}

#[tokio::test]
async fn exit_3_the_control_plane_cannot_be_asked() {
    let hasty = [("TRANSLOAD_DEADLINE_SECONDS", "1")];
    let place = Place::new(&["orders"]);
    let host = Host::new(&place, &["orders"]);
    let server = host.start().await;
    for answer in [
        Answer::Close,
        Reply::empty(503).into(),
        Reply { body: b"<html>".to_vec(), ..Reply::empty(200) }.into(),
    ] {
        host.set(|state| state.answer = Some(answer));
        let done = run(&variables(&server.url(), &hasty)).await;
        assert_eq!(done.code, Some(3), "{}", done.text);
    }
    let nobody = KeptPort::any().unwrap();
    let url = format!("http://127.0.0.1:{}", nobody.number());
    let done = run(&variables(&url, &hasty)).await;
    assert_eq!(done.code, Some(3), "{}", done.text);
    assert!(done.says("ERROR", "the control plane did not answer"), "{}", done.text);
}

#[tokio::test]
async fn exit_4_a_report_waits_in_the_spool_for_the_next_start() {
    let place = Place::new(&["orders", "customers"]);
    let host = Host::new(&place, &["orders", "customers"]);
    let server = host.start().await;
    // Later than anybody waits.
    host.set(|state| (state.report_status, state.retry_after) = (503, "86400"));
    let spool = place.path("spool");
    let url = server.url();
    let with_spool = variables(&url, &[("TRANSLOAD_SPOOL", text(&spool))]);
    let done = run(&with_spool).await;
    assert_eq!(done.code, Some(4), "{}", done.text);
    assert_eq!((place.rows("orders"), place.rows("customers")), (100, 100), "the tables are right");
    let kept: Vec<_> = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept.len(), 2);
    // The next start delivers them, each under its own id, beside its own.
    host.set(|state| state.report_status = 0);
    let done = run(&with_spool).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert!(done.says("INFO", "2 reports of earlier runs were delivered"));
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    host.set(|state| {
        assert_eq!(state.reports.len(), 4);
        let ids: Vec<_> = state.reports.keys().map(|id| format!("{id}.json")).collect();
        assert!(kept.iter().all(|name| ids.iter().any(|id| **id == **name)), "{kept:?} {ids:?}");
        let written: u64 =
            state.reports.values().map(|end| end["report"]["rows"]["written"].as_u64().unwrap()).sum();
        assert_eq!(written, 200, "the first two loaded, the others found nothing new");
    });
}

#[tokio::test]
async fn three_tasks_run_every_job_once() {
    let tables: Vec<String> = (0..11).map(|table| format!("t{table}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let place = Place::new(&tables);
    let host = Host::new(&place, &tables);
    let server = host.start().await;
    let url = server.url();
    let task = |index| {
        let more = [
            ("CLOUD_RUN_TASK_INDEX", index),
            ("CLOUD_RUN_TASK_COUNT", "3"),
            ("CLOUD_RUN_TASK_ATTEMPT", "0"),
            ("CLOUD_RUN_EXECUTION", "etl-x7k2p"),
        ];
        let variables = variables(&url, &more);
        async move { run(&variables).await }
    };
    let (first, second, third) = tokio::join!(task("0"), task("1"), task("2"));
    for done in [&first, &second, &third] {
        assert_eq!(done.code, Some(0), "{}", done.text);
        assert!(!done.reports().is_empty(), "every task has some: {}", done.text);
    }
    let mut expected: Vec<_> = tables.iter().map(|table| (*table).to_owned()).collect();
    expected.sort();
    assert_eq!(host.succeeded(), expected, "each once");
    assert!(tables.iter().all(|table| place.rows(table) == 100));
    host.set(|state| {
        let end = state.reports.values().next().unwrap();
        assert_eq!((&end["task"]["execution"], &end["task"]["count"]), (&json!("etl-x7k2p"), &json!(3)));
    });
    // More tasks than jobs: the others have nothing to do, and that is fine.
    let more = [("CLOUD_RUN_TASK_INDEX", "999"), ("CLOUD_RUN_TASK_COUNT", "1000")];
    let done = run(&variables(&url, &more)).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
}

/// One table, cut into five shards, by three tasks at once. They meet at the table, which takes one load at a time.
#[tokio::test]
async fn three_tasks_share_a_table() {
    let place = Place::new(&["orders"]);
    let mut job = job("orders");
    job["load"]["shard_at"] = json!(["21", "41", "61", "81"]);
    let file = place.file(&[job]);
    let task = |index| {
        let variables = [
            ("TRANSLOAD_JOBS_FILE", text(&file)),
            ("TRANSLOAD_RETRIES", "50"),
            ("CLOUD_RUN_TASK_INDEX", index),
            ("CLOUD_RUN_TASK_COUNT", "3"),
        ];
        async move { run(&variables).await }
    };
    for expected in [100, 101] {
        let (first, second, third) = tokio::join!(task("0"), task("1"), task("2"));
        let mut shards = Vec::new();
        for done in [&first, &second, &third] {
            assert_eq!(done.code, Some(0), "{}", done.text);
            shards.extend(done.reports().iter().map(|report| report["shard"].as_u64().unwrap()));
        }
        shards.sort_unstable();
        assert_eq!((shards, place.rows("orders")), (vec![0, 1, 2, 3, 4], expected));
        let shop = rusqlite::Connection::open(place.path("shop.db")).unwrap();
        shop.execute("INSERT INTO orders SELECT max(id) + 1, '7.50' FROM orders", []).unwrap();
    }
}

/// A table in PostgreSQL, dropped at the end.
struct Table {
    name: String,
    url: String,
    client: tokio_postgres::Client,
}

impl Table {
    async fn new(rows: u64) -> Self {
        let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL").expect(
            "TRANSLOAD_TEST_POSTGRES_URL is not set: start the services, see connectors/testkit/services",
        );
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let id = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("job_process_{}_{id}", std::process::id());
        client
            .batch_execute(&format!(
                "CREATE TABLE {name} AS SELECT i::bigint AS id, repeat('x', 100) AS note FROM generate_series(1, {rows}) i"
            ))
            .await
            .unwrap();
        Self { name, url, client }
    }

    /// The connection document, leading through a proxy.
    fn connection(&self, port: u16) -> Value {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        let mut connection = json!({
            "name": "shop", "type": "postgresql", "host": "127.0.0.1", "port": port,
            "database": config.get_dbname().unwrap(), "username": config.get_user().unwrap(), "tls": "disable",
        });
        if config.get_password().is_some() {
            connection["credentials"] = "env:SHOP_PASSWORD".into();
        }
        connection
    }

    fn password(&self) -> String {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        config
            .get_password()
            .map(|password| String::from_utf8(password.to_vec()).unwrap())
            .unwrap_or_default()
    }

    fn address(&self) -> std::net::SocketAddr {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        std::net::SocketAddr::from(([127, 0, 0, 1], config.get_ports()[0]))
    }

    fn job(&self, name: &str) -> Value {
        let mut job = job("orders");
        job["name"] = name.into();
        job["source"]["schema"] = "public".into();
        job["source"]["table"] = self.name.clone().into();
        job
    }

    async fn drop(self) {
        self.client.batch_execute(&format!("DROP TABLE {}", self.name)).await.unwrap();
    }
}

/// Sends SIGTERM once `when` holds, and waits for the end.
async fn terminate(child: Child, when: impl Fn() -> bool) -> (Done, Duration) {
    eventually("it comes so far", || async { when() }).await;
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(id, SIGTERM).unwrap();
    let told = Instant::now();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    (Done::new(output.expect("the program does not end").unwrap()), told.elapsed())
}

/// While rows of PostgreSQL move: the first job is cut in the middle, the second one never begins.
#[tokio::test]
async fn exit_143_sigterm_during_a_run() {
    let table = Table::new(300_000).await;
    let place = Place::new(&[]);
    // The server's answers stop after a few megabytes, so that the run is surely in the middle.
    let (proxy, passed) = stalled(&table).await;
    let host = Host::new(&place, &[]);
    host.set(|state| {
        state.connections[0] = table.connection(proxy.port());
        state.jobs =
            [("1", "first"), ("2", "second")].map(|(id, name)| (id.to_owned(), table.job(name))).into();
    });
    let server = host.start().await;
    let (url, password) = (server.url(), table.password());
    let spool = place.path("spool");
    let more = [
        ("SHOP_PASSWORD", password.as_str()),
        ("TRANSLOAD_SPOOL", text(&spool)),
        ("TRANSLOAD_CONCURRENCY", "1"),
    ];
    let child = program(&variables(&url, &more)).spawn().unwrap();
    let (done, took) = terminate(child, || *passed.lock().unwrap() > 4 << 20).await;
    assert_eq!(done.code, Some(143), "{}", done.text);
    assert!(took < Duration::from_secs(9), "Cloud Run gives ten seconds, it took {took:?}");
    println!("SIGTERM to exit: {took:?}");
    assert_eq!(place.rows("orders"), 0, "nothing half loaded");
    assert!(done.says("WARNING", "2 of 2 jobs were cancelled or not begun"), "{}", done.text);
    let cancelled = || {
        host.set(|state| state.reports.values().filter(|end| end["report"]["status"] == "cancelled").count())
    };
    assert_eq!((cancelled(), host.set(|state| state.reports.len())), (1, 1), "{}", done.text);
    // The next start does it all.
    proxy.pass();
    let done = run(&variables(&url, &more)).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!((cancelled(), host.succeeded()), (1, vec!["first".to_owned(), "second".to_owned()]));
    table.drop().await;
}

/// Whether a report is kept there, and not only begun to be written.
fn has_report(spool: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(spool) else { return false };
    entries.any(|entry| entry.unwrap().path().extension().is_some_and(|extension| extension == "json"))
}

/// The control plane is gone when the process is told to stop: the report stays in the spool.
#[tokio::test]
async fn exit_143_sigterm_while_a_report_is_sent() {
    let place = Place::new(&["orders"]);
    let host = Host::new(&place, &["orders"]);
    host.set(|state| state.report_status = 503);
    let server = host.start().await;
    let (url, spool) = (server.url(), place.path("spool"));
    let variables = variables(&url, &[("TRANSLOAD_SPOOL", text(&spool))]);
    let child = program(&variables).spawn().unwrap();
    let (done, took) = terminate(child, || has_report(&spool)).await;
    assert_eq!(done.code, Some(143), "{}", done.text);
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_eq!(place.rows("orders"), 100, "it was committed");
    host.set(|state| state.report_status = 0);
    let done = run(&variables).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!(host.succeeded(), ["orders", "orders"]);
}

/// Killed between its commit and the answer of the control plane: the report is not lost.
#[tokio::test]
async fn a_process_killed_while_it_reports_loses_no_report() {
    let place = Place::new(&["orders"]);
    let host = Host::new(&place, &["orders"]);
    let server = host.start().await;
    host.set(|state| state.report_status = 503);
    let (url, spool) = (server.url(), place.path("spool"));
    let variables = variables(&url, &[("TRANSLOAD_SPOOL", text(&spool))]);
    let mut child = program(&variables).spawn().unwrap();
    eventually("a report is kept", || async { has_report(&spool) }).await;
    child.kill().await.unwrap();
    host.set(|state| state.report_status = 0);
    let done = run(&variables).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    let written: Vec<_> = host.set(|state| {
        state.reports.values().map(|end| end["report"]["rows"]["written"].as_u64().unwrap()).collect()
    });
    assert_eq!(written, [100, 0], "that of the killed process, and that of the next one");
}

/// A table that is read until its rows stop coming, and how many bytes have come.
async fn stalled(table: &Table) -> (Proxy, Arc<Mutex<usize>>) {
    let proxy = Proxy::new(table.address()).await.unwrap();
    let passed = Arc::new(Mutex::new(0_usize));
    let seen = Arc::clone(&passed);
    proxy.script(move || {
        let seen = Arc::clone(&seen);
        Box::new(move |piece: &[u8]| {
            let mut seen = seen.lock().unwrap();
            *seen += piece.len();
            (*seen > 4 << 20).then_some((0, transload_testkit::proxy::Break::Stall))
        })
    });
    (proxy, passed)
}

/// One job hangs; the other one's report does not wait for it, and a process that is killed then loses neither
/// that report nor a row.
#[tokio::test]
async fn reports_do_not_wait_for_other_jobs() {
    let table = Table::new(300_000).await;
    let place = Place::new(&["customers"]);
    let (proxy, _) = stalled(&table).await;
    let host = Host::new(&place, &[]);
    host.set(|state| {
        let mut slow = table.connection(proxy.port());
        slow["name"] = "slow".into();
        state.connections.push(slow);
        let mut hangs = table.job("hangs");
        hangs["source"]["connection"] = "slow".into();
        state.jobs = [("1".to_owned(), hangs), ("2".to_owned(), job("customers"))].into();
    });
    let server = host.start().await;
    let (url, password) = (server.url(), table.password());
    let more = [("SHOP_PASSWORD", password.as_str()), ("TRANSLOAD_CONCURRENCY", "2")];
    let mut child = program(&variables(&url, &more)).spawn().unwrap();
    eventually("a report while another job hangs", || async { !host.succeeded().is_empty() }).await;
    child.kill().await.unwrap();
    assert_eq!(host.succeeded(), ["customers"]);
    assert_eq!((place.rows("customers"), place.rows("orders")), (100, 0));
    proxy.pass();
    let done = run(&variables(&url, &more)).await;
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert_eq!((place.rows("customers"), place.rows("orders")), (100, 300_000));
    table.drop().await;
}

/// The control plane cancels one job and no other.
#[tokio::test]
async fn one_job_is_cancelled() {
    let table = Table::new(300_000).await;
    let place = Place::new(&["customers"]);
    let (proxy, _) = stalled(&table).await;
    let host = Host::new(&place, &["customers"]);
    host.set(|state| {
        let mut slow = table.connection(proxy.port());
        slow["name"] = "slow".into();
        state.connections.push(slow);
        let mut hangs = table.job("hangs");
        hangs["source"]["connection"] = "slow".into();
        state.jobs.insert("2".to_owned(), hangs);
        state.cancel = Some("hangs".to_owned());
    });
    let server = host.start().await;
    let (url, password) = (server.url(), table.password());
    let done = run(&variables(&url, &[("SHOP_PASSWORD", password.as_str())])).await;
    assert_eq!(done.code, Some(1), "{}", done.text);
    assert_eq!(host.succeeded(), ["customers"]);
    assert!(host.set(|state| state.reports.values().any(|end| end["report"]["status"] == "cancelled")));
    table.drop().await;
}

/// From the start of the process to the first query that reaches PostgreSQL. The figure is printed; the limit here
/// is only against a start that does something slow, since debug builds and busy machines are slower.
#[tokio::test]
async fn the_first_query_comes_soon() {
    let table = Table::new(10).await;
    let place = Place::new(&[]);
    let file = place.path("jobs.json");
    let mut all = Vec::new();
    for _ in 0..5 {
        let (port, mut queries) = first_query(table.address()).await;
        let connections =
            json!([table.connection(port), {"name": "lake", "type": "dataset", "path": place.path("lake")}]);
        std::fs::write(&file, json!({"connections": connections, "jobs": [table.job("first")]}).to_string())
            .unwrap();
        let begin = Instant::now();
        let password = table.password();
        let done = run(&[("TRANSLOAD_JOBS_FILE", text(&file)), ("SHOP_PASSWORD", password.as_str())]).await;
        assert_eq!(done.code, Some(0), "{}", done.text);
        all.push(queries.recv().await.unwrap() - begin);
    }
    all.sort();
    println!("start to first query: median {:?}, all {all:?}", all[2]);
    assert!(all[2] < Duration::from_secs(2), "{all:?}");
    table.drop().await;
}

/// A way to a server that notes when the first message after the login goes by.
async fn first_query(server: std::net::SocketAddr) -> (u16, tokio::sync::mpsc::UnboundedReceiver<Instant>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let upstream = tokio::net::TcpStream::connect(server).await.unwrap();
                let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
                let ((mut from, mut back), (mut answers, mut to)) =
                    (client.into_split(), upstream.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
                let mut bytes = vec![0; 1 << 16];
                while let Ok(length @ 1..) = from.read(&mut bytes).await {
                    // Queries and prepared statements; logins are `p` or have no letter.
                    if matches!(bytes[0], b'Q' | b'P') {
                        let _ = tell.send(Instant::now());
                    }
                    to.write_all(&bytes[..length]).await.unwrap();
                }
            });
        }
    });
    (port, told)
}
