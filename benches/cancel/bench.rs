//! How long a run takes to stop: `make bench-cancel`. Cancels runs from PostgreSQL into a Parquet dataset at random
//! moments, by their handle and by dropping their future, and looks at what is left: at the server, in the folder,
//! in the table. Fails if one stop takes more than a second, or leaves anything.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's output is its interface")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::{Client, NoTls};
use transload::{CancelHandle, Connection, EtlJob, Phase, RunStatus, Runner, default_registry};

const MOST: Duration = Duration::from_secs(1);

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no async runtime: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(measure()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn number(name: &str, default: u64) -> AnyResult<u64> {
    std::env::var(name).map_or(Ok(default), |text| Ok(text.parse()?))
}

/// SplitMix64: the same moments for the same seed.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

struct Bench {
    admin: Client,
    lake: PathBuf,
    runner: Runner,
    job: EtlJob,
    phase: Arc<Mutex<Phase>>,
    rows: u64,
}

/// How one stop went.
struct Stop {
    phase: Phase,
    took: Duration,
    outcome: String,
}

async fn measure() -> AnyResult<bool> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let (rounds, seed) = (number("BENCH_ROUNDS", 60)?, number("BENCH_SEED", clock)?);
    let rows = number("BENCH_ROWS", 1_000_000)?;
    let bench = prepare(rows).await?;
    let began = Instant::now();
    let whole = bench.runner.run(&bench.job).await;
    if whole.status != RunStatus::Succeeded {
        return Err(whole.to_json().to_string().into());
    }
    let length = began.elapsed();
    println!("{rows} rows take {:.1} s; {rounds} runs are stopped, seed {seed}", length.as_secs_f64());
    let (mut state, mut slowest, mut good) = (seed, BTreeMap::<String, Stop>::new(), true);
    for round in 0..rounds {
        let after = length.mul_f64(random(&mut state) * 1.05);
        let stop = if round % 2 == 0 { bench.cancel(after).await? } else { bench.drop_run(after).await? };
        let left = bench.left_over().await?;
        if stop.took > MOST || !left.is_empty() {
            good = false;
            println!(
                "round {round}, after {after:?}: {:?} in {}; left over: {left:?}",
                stop.took,
                stop.phase.as_str()
            );
        }
        let key = format!(
            "{} in {}, {}",
            if round % 2 == 0 { "cancel" } else { "drop" },
            stop.phase.as_str(),
            stop.outcome
        );
        if slowest.get(&key).is_none_or(|known| known.took < stop.took) {
            slowest.insert(key, stop);
        }
    }
    for (what, stop) in &slowest {
        println!("{what:<34} slowest {:>6.0} ms", stop.took.as_secs_f64() * 1000.0);
    }
    let worst = slowest.values().map(|stop| stop.took).max().unwrap_or_default();
    println!(
        "slowest stop: {:.0} ms: {}",
        worst.as_secs_f64() * 1000.0,
        if good { "ok" } else { "NOT GOOD" }
    );
    std::fs::remove_dir_all(&bench.lake)?;
    Ok(good)
}

async fn prepare(rows: u64) -> AnyResult<Bench> {
    let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL")?;
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let columns: String =
        (0..5).map(|i| format!(", g * {i} AS i{i}, g / 7.0 AS n{i}, md5((g * {i})::text) AS t{i}")).collect();
    admin
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS bench_narrow_{rows} AS
               SELECT g::bigint AS id{columns} FROM generate_series(1, {rows}) g; ANALYZE bench_narrow_{rows}"
        ))
        .await?;
    let lake = Path::new(&std::env::var("BENCH_WORK")?).join("lake");
    let _ = std::fs::remove_dir_all(&lake);
    let shop = Connection::from_url(&format!("{url}?tls=disable"))?.named("shop");
    let phase = Arc::new(Mutex::new(Phase::Connect));
    let seen = Arc::clone(&phase);
    let runner = Runner::new(default_registry())
        .connection(shop.option("application_name", "bench_cancel"))
        .connection(Connection::new("lake", "dataset").option("path", lake.to_string_lossy()))
        .on_progress(move |progress| {
            if progress.phase != Phase::Done {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = progress.phase;
            }
        });
    let job = EtlJob::builder("cancelled")
        .from("shop", &format!("public.bench_narrow_{rows}"))
        .into("lake", "raw", "t")
        .replace();
    Ok(Bench { admin, lake, runner, job: job.build()?, phase, rows })
}

impl Bench {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels by the handle; the run says itself when it has stopped.
    async fn cancel(&self, after: Duration) -> AnyResult<Stop> {
        let cancel = CancelHandle::new();
        let runner = self.runner.clone().cancel_with(&cancel);
        let cancelling = async {
            tokio::time::sleep(after).await;
            let phase = self.phase();
            cancel.cancel();
            (phase, Instant::now())
        };
        let run = async {
            let report = runner.run(&self.job).await;
            (report, Instant::now())
        };
        let ((phase, asked), (report, ended)) = tokio::join!(cancelling, run);
        match report.status {
            RunStatus::Failed => return Err(report.to_json().to_string().into()),
            RunStatus::Cancelled if report.committed => return Err("a cancelled run has committed".into()),
            _ => {}
        }
        let took = ended.saturating_duration_since(asked);
        Ok(Stop { phase, took, outcome: report.status.as_str().to_owned() })
    }

    /// Drops the future; it has stopped when the server has no session of it.
    async fn drop_run(&self, after: Duration) -> AnyResult<Stop> {
        let ended = tokio::time::timeout(after, self.runner.run(&self.job)).await.is_ok();
        let (phase, asked) = (self.phase(), Instant::now());
        while self.sessions().await? > 0 && asked.elapsed() < MOST * 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let outcome = if ended { "succeeded" } else { "dropped" };
        Ok(Stop { phase, took: asked.elapsed(), outcome: outcome.to_owned() })
    }

    async fn sessions(&self) -> AnyResult<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench_cancel'";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    /// What should not be there: sessions at the server, staged files, a table that is not whole.
    async fn left_over(&self) -> AnyResult<Vec<String>> {
        let mut left = Vec::new();
        // The server notices a closed connection a moment later; files of a dropped run go in the background.
        for _ in 0..100 {
            left.clear();
            let sessions = self.sessions().await?;
            if sessions > 0 {
                left.push(format!("{sessions} sessions"));
            }
            let staged = files(&self.lake).into_iter().filter(|path| {
                let inside = path.strip_prefix(&self.lake).unwrap_or(path);
                let hidden =
                    inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
                hidden && !path.ends_with("lock")
            });
            left.extend(staged.map(|path| path.display().to_string()));
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut rows = 0;
        for path in files(&self.lake.join("raw/t")) {
            if path.extension().is_some_and(|extension| extension == "parquet") {
                let reader = parquet::file::reader::SerializedFileReader::new(std::fs::File::open(path)?)?;
                rows += parquet::file::reader::FileReader::metadata(&reader).file_metadata().num_rows();
            }
        }
        if u64::try_from(rows)? != self.rows {
            left.push(format!("{rows} rows in the table"));
        }
        Ok(left)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
