//! Reads a table, counts its rows and throws them away, for measuring the ways to a server:
//! `time cargo run --release -p transload-postgres --example read_table -- 'postgresql://...' public lineitem 2`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::process::ExitCode;
use std::time::Instant;

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use transload_core::connector::ReadPlan;
use transload_core::schema::TableRef;
use transload_core::{Connection, Error, Registry, Result};

async fn read(url: &str, table: &TableRef, parallelism: usize) -> Result<usize> {
    let registry = Registry::new().with(transload_postgres::Postgres).with(transload_postgres::Redshift);
    let session = registry.source(&Connection::from_url(url)?).await?.begin(table).await?;
    let splits = session.splits(&ReadPlan { parallelism, ..ReadPlan::default() }).await?;
    let reads = splits.iter().map(|split| async {
        let mut rows = 0_usize;
        let mut batches = session.read(split).await?;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
        }
        Ok::<_, Error>(rows)
    });
    let rows = try_join_all(reads).await?.into_iter().sum();
    session.close().await?;
    Ok(rows)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, schema, name, parallelism @ ..] = arguments.as_slice() else {
        eprintln!("usage: read_table URL SCHEMA TABLE [CONNECTIONS]");
        return ExitCode::FAILURE;
    };
    let parallelism = parallelism.first().and_then(|text| text.parse().ok()).unwrap_or(1);
    let started = Instant::now();
    match read(url, &TableRef::new(schema, name), parallelism).await {
        Ok(rows) => {
            println!("{rows} rows in {:.2} s", started.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
