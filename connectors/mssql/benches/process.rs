//! Reading a table, and loading it into Parquet, from the test server: seconds, CPU seconds and peak memory of the
//! reading process for a table and for one of four times its rows, and for rows of 1 MB. The server and each measured case
//! are processes of their own. Fails if memory passes its limit, or grows with the table.
//!
//! `cargo bench -p transload-mssql --bench process`. The test server makes each row from SQLite, which takes several times as
//! long as decoding it: CPU seconds and memory are the reader's own, wall time is the server's.
#![expect(clippy::print_stdout, reason = "this program's output is its interface")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use transload_core::connector::ReadPlan;
use transload_core::schema::TableRef;
use transload_core::{Connection, EtlJob, Registry, Runner, Secret};
use transload_dataset::Dataset;
use transload_mssql::Mssql;
use transload_tds_server::{Server, Settings};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

/// What this process is for; nothing for the one that starts the others.
const PART: &str = "TRANSLOAD_BENCH_PART";
const URL: &str = "TRANSLOAD_BENCH_URL";
const PASSWORD: &str = "TRANSLOAD_BENCH_PASSWORD";

/// Name, columns, values by the row's number `i`, rows.
const TABLES: [(&str, &str, &str, u64); 3] = [
    ("small", LINEITEM, LINEITEM_VALUES, 250_000),
    ("large", LINEITEM, LINEITEM_VALUES, 1_000_000),
    (
        "wide",
        "id int NOT NULL PRIMARY KEY, v varchar(max) NULL",
        "i, REPLICATE(CAST('y' AS varchar(max)), 1000000)",
        200,
    ),
];

/// The columns of TPC-H lineitem, its first one as the key.
const LINEITEM: &str = "id bigint NOT NULL PRIMARY KEY, l_partkey int NOT NULL, l_suppkey int NOT NULL, \
    l_linenumber int NOT NULL, l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, \
    l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
    l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, \
    l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment nvarchar(44) NOT NULL";

/// Widths as in TPC-H, but few different values: memory is measured here, and no encoding.
const LINEITEM_VALUES: &str = "i, i % 200000, i % 10000, i % 7, i % 50, i % 100000, 0.07, 0.02, 'R', 'F', '1994-01-02', \
    '1994-03-04', '1994-05-06', 'DELIVER IN PERSON', 'TRUCK', N'carefully final deposits detect'";

/// Most memory of a reader.
const LIMIT_MIB: u64 = 256;

/// How much more memory four times the rows may take.
const GROWTH_MIB: u64 = 32;

fn main() -> AnyResult<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match std::env::var(PART) {
        Err(_) => compare(),
        Ok(part) => match part.split_once(' ') {
            None => runtime.block_on(serve()),
            Some((how, table)) => runtime.block_on(measured(how, table)),
        },
    }
}

/// A server with the tables, until standard input ends.
async fn serve() -> AnyResult<()> {
    let server = Server::start(Settings::default()).await?;
    for (table, columns, values, rows) in TABLES {
        server.run(&format!("CREATE TABLE dbo.{table} ({columns})")).await?;
        let numbers = format!("WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows})");
        server
            .run(&format!("{numbers} INSERT INTO dbo.{table} SELECT {values} FROM n OPTION (MAXRECURSION 0)"))
            .await?;
    }
    println!("sqlserver://sa@{}/shop?encrypt=disable {}", server.address(), server.password());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await??;
    Ok(())
}

/// Reads a table, or loads it, and prints what that took.
async fn measured(how: &str, table: &str) -> AnyResult<()> {
    let shop = Connection::from_url(&std::env::var(URL)?)?.password(Secret::new(std::env::var(PASSWORD)?));
    let began = Instant::now();
    let rows = if how == "read" {
        let registry = Registry::new().with(Mssql);
        let mut reading = registry.read(&shop, &TableRef::new("dbo", table), &ReadPlan::default()).await?;
        let mut rows = 0;
        while let Some(batch) = reading.next().await? {
            rows += batch.num_rows() as u64;
        }
        rows
    } else {
        let folder = tempfile::tempdir()?;
        let lake = Connection::new("lake", "dataset").option("path", folder.path().to_string_lossy());
        let runner = Runner::new(Registry::new().with(Mssql).with(Dataset));
        let runner = runner.connection(shop.named("shop")).connection(lake);
        let job = EtlJob::builder(table).from_table("shop", TableRef::new("dbo", table));
        let report = runner.run(&job.into("lake", "raw", table).replace().build()?).await;
        let report = report.into_result()?;
        report.rows.written
    };
    println!("{rows} {:.2} {:.2} {}", began.elapsed().as_secs_f64(), cpu_seconds()?, peak_mib()?);
    Ok(())
}

fn compare() -> AnyResult<()> {
    let mut server = child("serve", &[])?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no output of the server")?).read_line(&mut line)?;
    let (url, password) = line.trim().split_once(' ').ok_or("the server did not start")?;
    let given = [(URL, url), (PASSWORD, password)];
    println!("{:<6}{:<8}{:>10}{:>10}{:>10}{:>10}", "", "table", "rows", "seconds", "CPU s", "peak MiB");
    let mut failures = Vec::new();
    for how in ["read", "load"] {
        let mut peaks = Vec::new();
        for (table, _, _, rows) in TABLES {
            let output = child(&format!("{how} {table}"), &given)?.wait_with_output()?;
            let text = String::from_utf8(output.stdout)?;
            let fields: Vec<&str> = text.split_whitespace().collect();
            let [found, seconds, cpu, peak] = *fields else {
                return Err(format!("{how} {table}: {text}").into());
            };
            println!("{how:<6}{table:<8}{found:>10}{seconds:>10}{cpu:>10}{peak:>10}");
            let peak: u64 = peak.parse()?;
            peaks.push(peak);
            if found.parse::<u64>()? != rows {
                failures.push(format!("{how} {table}: {found} rows of {rows}"));
            }
            if peak > LIMIT_MIB {
                failures.push(format!("{how} {table}: {peak} MiB, the limit is {LIMIT_MIB}"));
            }
        }
        if let [small, large, _] = *peaks
            && large > small + GROWTH_MIB
        {
            failures.push(format!("{how}: four times the rows take {large} MiB in place of {small}"));
        }
    }
    drop(server.stdin.take());
    server.wait()?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

fn child(part: &str, given: &[(&str, &str)]) -> AnyResult<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(PART, part).envs(given.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu_seconds() -> AnyResult<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?.1;
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
}

fn peak_mib() -> AnyResult<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?.div_ceil(1024))
}
