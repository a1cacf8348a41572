//! Reads a table into Arrow and drops it: `cargo run --release --example read -- URL TABLE [OPTION=VALUE ...]`.
//!
//! `TABLE` is `schema.table` or `table`. Options: `parallelism=N` (default: cores, at most 4),
//! `columns=a,b`, `limit=N`, `batch_bytes=N`. Prints one JSON line on standard output:
//! `rows`, `batches`, `bytes` (of Arrow data), `seconds`. Exit code: 0, 1 (reading failed), 2 (wrong arguments).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's output is its interface")]

use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;
use transload::connector::ReadPlan;
use transload::schema::TableRef;
use transload::{Connection, Error, ErrorKind, Result, RunnerOptions, batch, default_registry};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|error| Error::internal("no async runtime").source_error(error))
        .and_then(|runtime| runtime.block_on(read(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.kind() == ErrorKind::Config { 2 } else { 1 })
        }
    }
}

async fn read(arguments: &[String]) -> Result<()> {
    let [url, table, options @ ..] = arguments else {
        return Err(Error::config("usage: read URL TABLE [OPTION=VALUE ...]"));
    };
    let connection = Connection::from_url(url)?;
    let table = match table.split_once('.') {
        Some((schema, name)) if connection.kind() != "files" => TableRef::new(schema, name),
        _ => TableRef::unqualified(table),
    };
    let plan = plan(options)?;
    let began = Instant::now();
    let (mut rows, mut batches, mut bytes) = (0_usize, 0_usize, 0_usize);
    let mut stream = default_registry().read(&connection, &table, &plan).await?;
    while let Some(batch) = stream.next().await? {
        rows += batch.num_rows();
        batches += 1;
        bytes += batch::batch_bytes(&batch);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", json!({"rows": rows, "batches": batches, "bytes": bytes, "seconds": seconds}));
    Ok(())
}

fn plan(options: &[String]) -> Result<ReadPlan> {
    let mut plan = ReadPlan { parallelism: RunnerOptions::default().parallelism, ..ReadPlan::default() };
    for option in options {
        let bad = || {
            Error::config(format!("unknown option `{option}`"))
                .hint("options: parallelism=N, columns=a,b, limit=N, batch_bytes=N")
        };
        let (key, value) = option.split_once('=').ok_or_else(bad)?;
        match key {
            "parallelism" => plan.parallelism = value.parse().map_err(|_| bad())?,
            "columns" => plan.columns = value.split(',').map(str::to_owned).collect(),
            "limit" => plan.limit = Some(value.parse().map_err(|_| bad())?),
            "batch_bytes" => plan.batch_bytes = value.parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        }
    }
    Ok(plan)
}
