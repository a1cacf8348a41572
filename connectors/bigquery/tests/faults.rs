//! Seeded runs against the emulator, with faults on the way and runners that are killed: no row may be lost or
//! doubled. Each seed is a job (append, merge or replace) over several rounds of changes at the source; each round
//! is tried until a run succeeds. After every attempt the target must hold the state before or after the round, and
//! nothing between; after the round it must equal the source.
//!
//! `make test-faults` runs 200 seeds. `TRANSLOAD_FAULT_SEEDS` says how many, `TRANSLOAD_FAULT_FIRST` from which on,
//! `TRANSLOAD_FAULT_SEED=17` runs one of them and says what failed on the way.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use transload_core::{Connection, EtlJob, RunStatus};
use transload_testkit::gcs::Gcs;
use transload_testkit::http::{FaultProxy, Harm, Reply, Request};
use transload_testkit::proxy::{Break, Proxy, after_bytes};
use transload_testkit::{Done, Failure, need_env};

/// A runner process gets its work here, as JSON.
const CHILD: &str = "TRANSLOAD_FAULT_CHILD";
const GRPC: &str = "TRANSLOAD_TEST_BIGQUERY_GRPC";
const ROOT: &str = "TRANSLOAD_TEST_BIGQUERY_GCS_ROOT";
/// Seeds of a normal test run.
const SEEDS: u64 = 12;
/// Seeds at work at the same time.
const PARALLEL: usize = 6;
const ROUNDS: u32 = 2;
/// Attempts of a round with faults; those after go well.
const HARMED_ATTEMPTS: u32 = 3;

/// Rows with how often they occur.
type Rows = BTreeMap<(i64, i64, String), i64>;

/// What all seeds together did.
#[derive(Debug, Default)]
struct Tally {
    runs: AtomicU64,
    killed: AtomicU64,
    failed: AtomicU64,
    harmed: AtomicU64,
    /// Seeds whose files went through Cloud Storage.
    stored: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
}

/// A Cloud Storage behind a proxy of its own.
struct Storage {
    /// Keeps the server running.
    _server: Gcs,
    proxy: FaultProxy,
    /// Where the objects of the seed's bucket are.
    folder: PathBuf,
}

impl Storage {
    async fn new(bucket: &str) -> Done<Self> {
        let root = PathBuf::from(need_env(ROOT)?);
        let server = Gcs::start(&root).await?;
        let proxy = FaultProxy::new(server.url().trim_start_matches("http://").parse()?).await?;
        Ok(Self { _server: server, proxy, folder: root.join(bucket) })
    }

    /// Objects that are there.
    fn objects(&self) -> Done<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![self.folder.clone()]);
        while let Some(folder) = folders.pop() {
            if !folder.exists() {
                continue;
            }
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }
}

struct Seed {
    number: u64,
    random: StdRng,
    strategy: &'static str,
    folder: tempfile::TempDir,
    proxy: FaultProxy,
    /// For every sixth seed, which goes through the Storage Write API.
    grpc: Option<Proxy>,
    /// For every seventh of the others, whose files wait in Cloud Storage.
    gcs: Option<Storage>,
    next_id: i64,
    clock: i64,
    /// The report of the last run, for failures.
    last: Value,
    tally: Arc<Tally>,
}

impl Seed {
    async fn new(number: u64, tally: Arc<Tally>) -> Done<Self> {
        let folder = tempfile::tempdir()?;
        let source = rusqlite::Connection::open(folder.path().join("shop.db"))?;
        source
            .execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT)")?;
        Ok(Self {
            number,
            random: StdRng::seed_from_u64(number),
            strategy: ["append", "merge", "replace"][usize::try_from(number % 3)?],
            folder,
            proxy: FaultProxy::new(common::address()?).await?,
            grpc: match number % 6 {
                5 => Some(Proxy::new(need_env(GRPC)?.trim_start_matches("http://").parse()?).await?),
                _ => None,
            },
            gcs: match (number % 7, number % 6) {
                (_, 5) => None,
                (3, _) => Some(Storage::new(&bucket(number)).await?),
                _ => None,
            },
            next_id: 1,
            clock: 1,
            last: Value::Null,
            tally,
        })
    }

    fn source(&self) -> Done<rusqlite::Connection> {
        Ok(rusqlite::Connection::open(self.folder.path().join("shop.db"))?)
    }

    fn dataset(&self) -> String {
        format!("faults_{}_{}", std::process::id(), self.number)
    }

    fn job(&self) -> Value {
        let load = match self.strategy {
            "append" => json!({"strategy": "append", "cursor": "at"}),
            "merge" => json!({"strategy": "merge", "key": ["id"], "cursor": "at"}),
            _ => json!({"strategy": "replace"}),
        };
        json!({
            "name": format!("seed {}", self.number),
            "source": {"connection": "shop", "table": "orders"},
            "destination": {"connection": "warehouse", "dataset": self.dataset(), "table": "orders"},
            "load": load,
            "mapping": {"detect_types": false},
        })
    }

    /// Proxies that answer requests of HTTP/1.
    fn proxies(&self) -> impl Iterator<Item = &FaultProxy> {
        std::iter::once(&self.proxy).chain(self.gcs.as_ref().map(|gcs| &gcs.proxy))
    }

    /// Work for a runner of its own process, or of this one.
    fn work(&self) -> Value {
        json!({
            "job": self.job(),
            "endpoint": self.proxy.url(),
            "database": self.folder.path().join("shop.db"),
            "storage_endpoint": self.grpc.as_ref().map(|proxy| format!("http://127.0.0.1:{}", proxy.port())),
            "gcs_endpoint": self.gcs.as_ref().map(|gcs| gcs.proxy.url()),
            "gcs_staging": format!("gs://{}/files", bucket(self.number)),
        })
    }

    /// Changes the source as the strategy expects it to change.
    fn change(&mut self) -> Done {
        let source = self.source()?;
        let transaction = source.unchecked_transaction()?;
        // Ties with the watermark are part of what must not be lost.
        let tie = self.random.random_bool(0.5);
        self.clock += i64::from(!tie);
        let count = [0, 1, 7, 200, 3000][self.random.random_range(0..5)];
        for _ in 0..count {
            self.clock += i64::from(self.random.random_bool(0.3));
            let what = format!("{:016x}", self.random.random::<u64>()).repeat(self.random.random_range(0..4));
            transaction
                .execute("INSERT INTO orders VALUES (?1, ?2, ?3)", (self.next_id, self.clock, &what))?;
            self.next_id += 1;
        }
        if self.strategy != "append" {
            for _ in 0..self.random.random_range(0..20) {
                let id = self.random.random_range(0..self.next_id);
                self.clock += 1;
                let change = "UPDATE orders SET at = ?2, what = 'changed' WHERE id = ?1";
                transaction.execute(change, (id, self.clock))?;
            }
        }
        if self.strategy == "replace" {
            let id = self.random.random_range(0..self.next_id);
            transaction.execute("DELETE FROM orders WHERE id = ?1 AND id > 1", (id,))?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn expected(&self) -> Done<Rows> {
        let source = self.source()?;
        let mut statement = source.prepare("SELECT id, at, what FROM orders")?;
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut expected = Rows::new();
        for row in rows {
            *expected.entry(row?).or_default() += 1;
        }
        Ok(expected)
    }

    async fn found(&self) -> Done<Rows> {
        let rows = common::query(&format!("SELECT id, at, what FROM `{}`.`orders`", self.dataset())).await?;
        let mut found = Rows::new();
        for row in rows.unwrap_or_default() {
            let [Some(id), Some(at), what] = row.as_slice() else {
                return Err(Failure::new(format!("{row:?} is no row of the source")));
            };
            let what = what.clone().unwrap_or_default();
            *found.entry((id.parse()?, at.parse()?, what)).or_default() += 1;
        }
        Ok(found)
    }

    /// Draws what happens to the requests of the next attempt.
    fn do_harm(&mut self) {
        let seed: u64 = self.random.random();
        let share = [0.0, 0.02, 0.1, 0.25][self.random.random_range(0..4)];
        for (proxy, salt) in self.proxies().zip(0_u64..) {
            proxy.script(harm(StdRng::seed_from_u64(seed.wrapping_add(salt)), share));
        }
    }

    /// Draws after how many bytes of answers the connections of the Storage Write API break.
    fn break_grpc(&mut self) {
        let Some(proxy) = &self.grpc else { return };
        let random = std::sync::Mutex::new(StdRng::seed_from_u64(self.random.random()));
        proxy.script(move || {
            let bytes = random.lock().map_or(1000, |mut random| random.random_range(1..2000));
            after_bytes(bytes, Break::Reset)
        });
    }

    fn pass(&self) {
        self.proxies().for_each(FaultProxy::pass);
        if let Some(proxy) = &self.grpc {
            proxy.pass();
        }
    }

    /// One attempt of a round: true if a run succeeded.
    async fn attempt(&mut self, number: u32) -> Done<bool> {
        if number >= HARMED_ATTEMPTS {
            self.pass();
            return self.here().await;
        }
        self.do_harm();
        self.break_grpc();
        match self.random.random_range(0..4) {
            0 | 1 => self.here().await,
            2 => {
                let pause = Duration::from_millis(self.random.random_range(0..2500));
                self.killed_after(pause).await
            }
            _ => self.two_at_once().await,
        }
    }

    /// A run in this process.
    async fn here(&mut self) -> Done<bool> {
        let report = run(&self.work()).await?;
        Ok(self.judge(report))
    }

    fn count(&mut self, succeeded: bool, report: &Value) {
        self.last = json!([report["rows"], report["warnings"], report["error"]]);
        self.tally.runs.fetch_add(1, Ordering::Relaxed);
        if !succeeded {
            self.tally.failed.fetch_add(1, Ordering::Relaxed);
            if std::env::var_os("TRANSLOAD_FAULT_SEED").is_some() {
                println!("seed {}: {}", self.number, report["error"]);
            }
        }
    }

    fn child(&self) -> Done<tokio::process::Child> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.env(CHILD, self.work().to_string());
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
    }

    /// A run in a process that is killed (SIGKILL) after a while, unless it ends before.
    async fn killed_after(&mut self, pause: Duration) -> Done<bool> {
        let mut child = self.child()?;
        if tokio::time::timeout(pause, child.wait()).await.is_err() {
            child.kill().await?;
            self.tally.runs.fetch_add(1, Ordering::Relaxed);
            self.tally.killed.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        Ok(self.judge(report(child).await?))
    }

    /// Two processes that run the same job at the same time.
    async fn two_at_once(&mut self) -> Done<bool> {
        let (one, two) = (self.child()?, self.child()?);
        let (one, two) = futures::join!(report(one), report(two));
        let (one, two) = (self.judge(one?), self.judge(two?));
        Ok(one || two)
    }

    fn judge(&mut self, report: Value) -> bool {
        let succeeded = report["status"] == json!("succeeded");
        self.count(succeeded, &report);
        succeeded
    }

    async fn round(&mut self) -> Done {
        let before = self.found().await?;
        self.change()?;
        let after = self.expected()?;
        let mut attempt = 0;
        loop {
            let succeeded = self.attempt(attempt).await?;
            let right = |found: &Rows| *found == after || !succeeded && *found == before;
            let found = self.found().await?;
            if !right(&found) {
                let lost = missing(&after, &found);
                let doubled = missing(&found, &after);
                self.tally.lost.fetch_add(u64::try_from(lost)?, Ordering::Relaxed);
                self.tally.doubled.fetch_add(u64::try_from(doubled)?, Ordering::Relaxed);
                return Err(Failure::new(format!(
                    "seed {} ({}), attempt {attempt} ({}): {lost} rows are missing and {doubled} too many; {} are \
                     there, {} were there before; last report: {}",
                    self.number,
                    self.strategy,
                    if succeeded { "succeeded" } else { "failed" },
                    found.values().sum::<i64>(),
                    before.values().sum::<i64>(),
                    self.last,
                )));
            }
            if succeeded {
                return Ok(());
            }
            attempt += 1;
            if attempt > HARMED_ATTEMPTS + 3 {
                return Err(Failure::new(format!("seed {}: no run succeeds any more", self.number)));
            }
        }
    }
}

/// Harms a share of the requests.
fn harm(mut random: StdRng, share: f64) -> impl FnMut(&Request) -> Harm + Send {
    move |_| {
        if !random.random_bool(share) {
            return Harm::None;
        }
        let failure = match random.random_range(0..4) {
            0 => Reply::google_error(500, "internalError", "injected"),
            1 => Reply::google_error(503, "backendError", "injected"),
            2 => Reply::google_error(403, "rateLimitExceeded", "injected"),
            _ => Reply::google_error(429, "rateLimitExceeded", "injected").header("retry-after", "0"),
        };
        match random.random_range(0..5) {
            0 => Harm::ResetBefore,
            1 => Harm::ResetAfter,
            2 => Harm::LoseReply,
            3 => Harm::ReplyBefore(failure),
            _ => Harm::ReplyAfter(Reply::google_error(503, "backendError", "injected")),
        }
    }
}

/// The bucket of a seed.
fn bucket(number: u64) -> String {
    format!("faults-{}-{number}", std::process::id())
}

/// The report of a runner process.
async fn report(child: tokio::process::Child) -> Done<Value> {
    let output = child.wait_with_output().await?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(format!("a runner process ended with {}: {error}", output.status)))
}

/// Rows of `all` that `some` does not have.
fn missing(all: &Rows, some: &Rows) -> i64 {
    all.iter().map(|(row, count)| (count - some.get(row).copied().unwrap_or(0)).max(0)).sum()
}

/// Runs a job and gives its report.
async fn run(work: &Value) -> Done<Value> {
    let text = |name: &str| work[name].as_str().unwrap_or_default();
    let shop = Connection::new("shop", "sqlite").option("path", text("database"));
    let warehouse = common::warehouse(text("endpoint"))?.option("file_mib", 1).option("retry_seconds", 20);
    let warehouse = match (work["storage_endpoint"].as_str(), work["gcs_endpoint"].as_str()) {
        (Some(endpoint), _) => {
            warehouse.option("storage_endpoint", endpoint).option("load_method", "storage_write")
        }
        (None, Some(endpoint)) => {
            warehouse.option("gcs_endpoint", endpoint).option("gcs_staging", text("gcs_staging"))
        }
        (None, None) => warehouse,
    };
    let job = EtlJob::from_json(work["job"].clone())?;
    Ok(common::runner([shop, warehouse]).run(&job).await.to_json())
}

async fn seed(number: u64, tally: Arc<Tally>) -> Done {
    let mut seed = Seed::new(number, tally).await?;
    let mut outcome = Ok(());
    for _ in 0..ROUNDS {
        outcome = seed.round().await;
        if outcome.is_err() {
            break;
        }
    }
    let harmed: u64 = seed.proxies().map(FaultProxy::harmed).sum();
    seed.tally.harmed.fetch_add(harmed, Ordering::Relaxed);
    if outcome.is_ok() && (number.is_multiple_of(5) || seed.gcs.is_some()) {
        // One more run: nothing staged is left behind.
        seed.pass();
        seed.change()?;
        if !seed.here().await? {
            return Err(Failure::new(format!("seed {number}: the run after all faults failed")));
        }
        let left: Vec<String> = common::tables(&seed.dataset())
            .await?
            .into_iter()
            .filter(|name| name.starts_with("_tl_"))
            .collect();
        if !left.is_empty() {
            return Err(Failure::new(format!("seed {number}: staging tables are left: {left:?}")));
        }
        let objects = seed.gcs.as_ref().map_or_else(|| Ok(Vec::new()), Storage::objects)?;
        if !objects.is_empty() {
            return Err(Failure::new(format!("seed {number}: objects are left: {objects:?}")));
        }
    }
    if let Some(gcs) = &seed.gcs {
        seed.tally.stored.fetch_add(1, Ordering::Relaxed);
        let _ = std::fs::remove_dir_all(&gcs.folder);
    }
    common::drop_dataset(&seed.dataset()).await?;
    outcome
}

async fn all_seeds() -> Done {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut waiting: Vec<u64> = match number("TRANSLOAD_FAULT_SEED") {
        Some(seed) => vec![seed],
        None => {
            let first = number("TRANSLOAD_FAULT_FIRST").unwrap_or(0);
            (first..first + number("TRANSLOAD_FAULT_SEEDS").unwrap_or(SEEDS)).rev().collect()
        }
    };
    let (count, tally) = (waiting.len(), Arc::new(Tally::default()));
    let (mut failures, mut done) = (Vec::new(), 0);
    let mut seeds = JoinSet::new();
    loop {
        while seeds.len() < PARALLEL
            && let Some(number) = waiting.pop()
        {
            seeds.spawn(seed(number, Arc::clone(&tally)));
        }
        match seeds.join_next().await {
            Some(Ok(Ok(()))) => done += 1,
            Some(Ok(Err(failure))) => failures.push(format!("{failure:?}")),
            Some(Err(error)) => failures.push(error.to_string()),
            None => break,
        }
    }
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{done} of {count} seeds well ({} through Cloud Storage), {} runs ({} killed, {} failed), {} requests \
         harmed: lost/doubled = {}/{}",
        get(&tally.stored),
        get(&tally.runs),
        get(&tally.killed),
        get(&tally.failed),
        get(&tally.harmed),
        get(&tally.lost),
        get(&tally.doubled),
    );
    if get(&tally.killed) == 0 && count >= 30 {
        failures.push("no runner was killed: the test has become tame".to_owned());
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

/// The work of a runner process: its report goes to stdout.
async fn child(work: &str) -> ExitCode {
    let report = match serde_json::from_str(work) {
        Ok(work) => run(&work).await,
        Err(error) => Err(error.into()),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(u8::from(report["status"] != json!(RunStatus::Succeeded.as_str())))
        }
        Err(failure) => {
            eprintln!("{failure:?}");
            ExitCode::from(2)
        }
    }
}

fn main() -> ExitCode {
    transload_google::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Ok(work) = std::env::var(CHILD) {
        return runtime.block_on(child(&work));
    }
    let trial = Trial::test("no_row_is_lost_or_doubled", move || {
        need_env(common::URL).map_err(|failure| Failed::from(format!("{failure:?}")))?;
        runtime.block_on(all_seeds()).map_err(|failure| Failed::from(format!("{failure:?}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
