//! How long listing many tables takes: `cargo run -p transload-postgres --example list_tables [TABLES]`.
//!
//! Makes a database of its own on the server that `TRANSLOAD_TEST_POSTGRES_URL` names, and drops it.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::time::Instant;

use tokio_postgres::{Client, NoTls};
use transload_core::{Connection, Registry};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const DATABASE: &str = "transload_list_tables";

async fn client(url: &str) -> Outcome<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn measure(url: &str, tables: u32) -> Outcome {
    let admin = client(url).await?;
    // A transaction may not hold more locks than a few thousand.
    let some = |from: u32| {
        let table = |n| format!("CREATE TABLE t{n} (id bigint PRIMARY KEY, name text, at timestamptz);");
        (from..tables.min(from + 500)).map(table).collect::<String>()
    };
    for from in (0..tables).step_by(500) {
        admin.batch_execute(&some(from)).await?;
    }
    admin.batch_execute("ANALYZE").await?;
    let source =
        Registry::new().with(transload_postgres::Postgres).source(&Connection::from_url(url)?).await?;
    for _ in 0..5 {
        let began = Instant::now();
        let found = source.tables(None).await?.len();
        println!("{found} tables in {:?}, connecting included", began.elapsed());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let tables = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL")?;
    let (server, _) = url.rsplit_once('/').ok_or("the URL names no database")?;
    let admin = client(&url).await?;
    admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    let outcome = measure(&format!("{server}/{DATABASE}"), tables).await;
    admin.batch_execute(&format!("DROP DATABASE {DATABASE} WITH (FORCE)")).await?;
    outcome
}
