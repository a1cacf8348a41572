//! Peak memory of runs at once: `make bench-memory`. `bench_memory prepare` fills the source; `bench_memory CASE
//! BUDGET_MIB` runs one case and fails if the process has needed more than the budget and a fixed overhead.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's output is its interface")]

mod slow;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use slow::Slow;
use tokio_postgres::NoTls;
use transload::connectors::dataset::Dataset;
use transload::{BatchStatus, Connection, EtlJob, MemoryBudget, RunAllOptions, Runner, default_registry};

/// What is not rows in flight: program and libraries, threads, read buffers of connections, catalogs, and what the
/// allocator keeps of freed memory.
const OVERHEAD_MIB: u64 = 96;

/// Jobs at once.
const JOBS: usize = 6;

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no async runtime: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.as_slice() {
            ["prepare"] => prepare().await.map(|()| true),
            [case, budget] => measure(case, budget.parse()?).await,
            _ => Err("usage: bench_memory prepare | narrow|wide|wide-slow BUDGET_MIB".into()),
        }
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn url() -> AnyResult<String> {
    Ok(std::env::var("TRANSLOAD_TEST_POSTGRES_URL")?)
}

/// 400 rows of 1 MB, and a million of 16 columns.
async fn prepare() -> AnyResult<()> {
    let (client, connection) = tokio_postgres::connect(&url()?, NoTls).await?;
    let connection = tokio::spawn(connection);
    let columns: String =
        (0..5).map(|i| format!(", g * {i} AS i{i}, g / 7.0 AS n{i}, md5((g * {i})::text) AS t{i}")).collect();
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS bench_wide AS
               SELECT g::bigint AS id, repeat(md5(g::text), 32768) AS body FROM generate_series(1, 400) g;
             CREATE TABLE IF NOT EXISTS bench_narrow AS
               SELECT g::bigint AS id{columns} FROM generate_series(1, 1000000) g;
             ANALYZE bench_wide; ANALYZE bench_narrow"
        ))
        .await?;
    drop(client);
    connection.await??;
    Ok(())
}

/// A figure of this process, in KiB.
fn status(field: &str) -> AnyResult<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(field)).ok_or("no such figure")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

async fn measure(case: &str, budget_mib: usize) -> AnyResult<bool> {
    let (table, pause) = match case {
        "narrow" => ("bench_narrow", Duration::ZERO),
        "wide" => ("bench_wide", Duration::ZERO),
        "wide-slow" => ("bench_wide", Duration::from_millis(60)),
        other => return Err(format!("no case is named {other}").into()),
    };
    let lake = std::path::Path::new(&std::env::var("BENCH_WORK")?).join(format!("lake-{case}"));
    let _ = std::fs::remove_dir_all(&lake);
    let registry = default_registry().with(Slow::new(Dataset, pause));
    let budget = MemoryBudget::new(budget_mib * 1024 * 1024);
    let runner = Runner::new(registry)
        .memory_budget(&budget)
        .connection(Connection::from_url(&format!("{}?tls=disable", url()?))?.named("shop"))
        .connection(Connection::new("lake", "dataset").option("path", lake.to_string_lossy()));
    let job = |number: usize| {
        let name = format!("{table}_{number}");
        EtlJob::builder(&name)
            .from("shop", &format!("public.{table}"))
            .into("lake", "raw", &name)
            .replace()
            .build()
    };
    let jobs = (0..JOBS).map(job).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let options = RunAllOptions::default().concurrency(JOBS).per_connection(JOBS);
    let batch = runner.run_all(&jobs, options).await;
    let seconds = began.elapsed().as_secs_f64();
    let _ = std::fs::remove_dir_all(&lake);
    if batch.status != BatchStatus::Succeeded {
        return Err(batch.to_json().to_string().into());
    }
    let (peak, limit) = (status("VmHWM")?.div_ceil(1024), u64::try_from(budget_mib)? + OVERHEAD_MIB);
    let verdict = if peak <= limit { "ok" } else { "TOO MUCH" };
    println!(
        "{case:<10} {JOBS} jobs at once, budget {budget_mib:>3} MiB: peak {peak:>3} MiB of {limit} ({OVERHEAD_MIB} overhead), \
         {:>5} MB read in {seconds:>5.1} s: {verdict}",
        batch.totals.bytes_read / 1_000_000
    );
    Ok(peak <= limit)
}
