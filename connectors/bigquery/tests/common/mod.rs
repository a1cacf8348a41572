//! What the tests share that run against the emulator, and partly against a real project (`make test-bigquery-live`).

#![expect(unreachable_pub, reason = "several test binaries share it")]
#![allow(dead_code, reason = "each test file uses its own share")]

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use transload_core::{Connection, EtlJob, Registry, RunReport, Runner, RunnerOptions, Secret};
use transload_testkit::{Done, Failure, need_env};

pub const URL: &str = "TRANSLOAD_TEST_BIGQUERY_URL";
pub const PROJECT: &str = "TRANSLOAD_TEST_BIGQUERY_PROJECT";
pub const GRPC: &str = "TRANSLOAD_TEST_BIGQUERY_GRPC";
/// An access token, for a real project.
const TOKEN: &str = "TRANSLOAD_TEST_BIGQUERY_TOKEN";
const GOOGLE: &str = "https://bigquery.googleapis.com";

/// Whether a real project is behind the tests.
pub fn is_google() -> bool {
    std::env::var(URL).is_ok_and(|url| url == GOOGLE)
}

/// The access token, for a real project.
pub fn token() -> Option<Secret> {
    std::env::var(TOKEN).ok().map(Secret::new)
}

/// A connection to the emulator, with nothing between, or to the real project.
pub fn connection(name: &str) -> Done<Connection> {
    let mut connection = Connection::new(name, "bigquery").option("project", need_env(PROJECT)?);
    if let Some(token) = token() {
        connection = connection.password(token);
    }
    if is_google() {
        return Ok(connection);
    }
    Ok(connection.option("endpoint", need_env(URL)?).option("storage_endpoint", need_env(GRPC)?))
}

/// Where the emulator's API is.
pub fn base() -> Done<String> {
    Ok(format!("{}/bigquery/v2/projects/{}", need_env(URL)?, need_env(PROJECT)?))
}

/// The emulator's address, for a proxy.
pub fn address() -> Done<SocketAddr> {
    let url = need_env(URL)?;
    Ok(url.trim_start_matches("http://").trim_end_matches('/').parse()?)
}

/// A connection named `warehouse` to BigQuery at `endpoint`.
pub fn warehouse(endpoint: &str) -> Done<Connection> {
    Ok(Connection::new("warehouse", "bigquery")
        .option("endpoint", endpoint)
        .option("project", need_env(PROJECT)?))
}

/// A runner with the connections that the tests use.
pub fn runner(connections: impl IntoIterator<Item = Connection>) -> Runner {
    let registry = Registry::new().with(transload_bigquery::BigQuery).with(transload_sqlite::Sqlite);
    let runner = Runner::new(registry).options(RunnerOptions::default().parallelism(1));
    connections.into_iter().fold(runner, Runner::connection)
}

/// A request with the token, where there is one.
pub fn authorized(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match std::env::var(TOKEN) {
        Ok(token) => request.bearer_auth(token),
        Err(_) => request,
    }
}

/// Status and body of an answer. Where two statements commit at the same moment, the emulator refuses one of them as a
/// whole; that one is made again.
pub async fn answer(request: reqwest::RequestBuilder) -> Done<(u16, Value)> {
    let request = authorized(request).build()?;
    let client = reqwest::Client::new();
    let mut tries = 0;
    loop {
        let again = request.try_clone().ok_or_else(|| Failure::new("a request that streams"))?;
        let response = client.execute(again).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        tries += 1;
        if status != 400 || !text.contains("Failed to commit DuckLake transaction") || tries == 10 {
            return Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))));
        }
    }
}

/// All rows of a query as texts; `None` if its table does not exist.
pub async fn query(sql: &str) -> Done<Option<Vec<Vec<Option<String>>>>> {
    let client = reqwest::Client::new();
    let body = json!({"query": sql, "useLegacySql": false, "timeoutMs": 100_000,
        "formatOptions": {"useInt64Timestamp": true}});
    let (status, mut page) = answer(client.post(format!("{}/queries", base()?)).json(&body)).await?;
    if status == 404 {
        return Ok(None);
    }
    let mut rows = Vec::new();
    loop {
        if page["jobComplete"] != json!(true) {
            return Err(Failure::new(format!("{sql}: {page}")));
        }
        for row in page["rows"].as_array().cloned().unwrap_or_default() {
            let cells = row["f"].as_array().cloned().unwrap_or_default();
            rows.push(cells.iter().map(|cell| cell["v"].as_str().map(str::to_owned)).collect());
        }
        let Some(token) = page["pageToken"].as_str().filter(|token| !token.is_empty()) else { break };
        let text = |field: &str| page["jobReference"][field].as_str().unwrap_or_default().to_owned();
        let next = client.get(format!("{}/queries/{}", base()?, text("jobId"))).query(&[
            ("pageToken", token),
            ("location", &text("location")),
            ("formatOptions.useInt64Timestamp", "true"),
        ]);
        page = answer(next).await?.1;
    }
    Ok(Some(rows))
}

/// The names of the tables of a dataset.
pub async fn tables(dataset: &str) -> Done<Vec<String>> {
    let url = format!("{}/datasets/{dataset}/tables?maxResults=1000", base()?);
    let (_, body) = answer(reqwest::Client::new().get(url)).await?;
    let tables = body["tables"].as_array().cloned().unwrap_or_default();
    Ok(tables.iter().filter_map(|t| t["tableReference"]["tableId"].as_str().map(str::to_owned)).collect())
}

/// Drops a dataset and all in it.
pub async fn drop_dataset(dataset: &str) -> Done {
    let url = format!("{}/datasets/{dataset}?deleteContents=true", base()?);
    let (status, body) = answer(reqwest::Client::new().delete(url)).await?;
    if status < 300 || status == 404 { Ok(()) } else { Err(Failure::new(format!("{status}: {body}"))) }
}

/// A shop with orders, and a dataset of its own.
pub struct Shop {
    pub folder: tempfile::TempDir,
    pub dataset: String,
}

impl Shop {
    pub fn new(name: &str, rows: u32) -> Done<Self> {
        transload_google::install_crypto_provider();
        let shop = Self {
            folder: tempfile::tempdir()?,
            dataset: format!("load_{name}_{:08x}", rand::random::<u32>()),
        };
        shop.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, day TEXT NOT NULL, what TEXT)")?;
        shop.run(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             INSERT INTO orders SELECT i, date('2026-01-01', (i % 30) || ' days'), hex(randomblob(40)) FROM n"
        ))?;
        Ok(shop)
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    pub fn run(&self, sql: &str) -> Done {
        Ok(rusqlite::Connection::open(self.database())?.execute_batch(sql)?)
    }

    pub fn job(&self, load: Value) -> Done<EtlJob> {
        Ok(EtlJob::from_json(json!({
            "name": "orders",
            "source": {"connection": "shop", "table": "orders"},
            "destination": {"connection": "warehouse", "dataset": self.dataset, "table": "orders"},
            "load": load,
            "mapping": {"detect_types": false, "overrides": {"day": {"type": "DATE"}}},
        }))?)
    }

    pub async fn load(&self, warehouse: Connection, load: Value) -> Done<RunReport> {
        self.run_job(warehouse, &self.job(load)?.to_json()?).await
    }

    /// Runs a job from `shop` into `warehouse`.
    pub async fn run_job(&self, warehouse: Connection, job: &Value) -> Done<RunReport> {
        let shop = Connection::new("shop", "sqlite").option("path", self.database().to_string_lossy());
        // Little memory, so that small files do what large ones do.
        let options = RunnerOptions::default().parallelism(1).memory_bytes(16 << 20);
        Ok(runner([shop, warehouse]).options(options).run(&EtlJob::from_json(job.clone())?).await)
    }

    /// The target holds what the source holds.
    pub async fn same(&self) -> Done {
        let database = rusqlite::Connection::open(self.database())?;
        let mut statement = database.prepare("SELECT id, day, what FROM orders ORDER BY id")?;
        let rows = statement.query_map((), |row| {
            Ok(vec![Some(row.get::<_, i64>(0)?.to_string()), Some(row.get(1)?), row.get(2)?])
        })?;
        let expected: Vec<Vec<Option<String>>> = rows.collect::<Result<_, _>>()?;
        let sql = format!("SELECT id, day, what FROM `{}`.`orders` ORDER BY id", self.dataset);
        let found = query(&sql).await?.ok_or_else(|| Failure::new("there is no table"))?;
        if found == expected {
            return Ok(());
        }
        Err(Failure::new(format!("{} rows are there, {} should be", found.len(), expected.len())))
    }

    /// Nothing staged is left; drops the dataset.
    pub async fn end(self) -> Done {
        let tables = tables(&self.dataset).await?;
        assert!(!tables.iter().any(|name| name.starts_with("_tl_")), "{tables:?}");
        drop_dataset(&self.dataset).await
    }
}

/// The destination `warehouse` of a [`Shop`], without anything between.
pub fn emulator() -> Done<Connection> {
    connection("warehouse")
}
