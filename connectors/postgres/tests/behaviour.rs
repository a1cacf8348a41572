//! The behaviour suite on PostgreSQL, and of Redshift on PostgreSQL with a catalog that stands in for Redshift's
//! (`server/redshift_catalog.sql` says what that proves). Tables are made with SQL texts through `tokio-postgres`, so the
//! server's own parser decides what a value is.

#[path = "server/redshift_stand_in.rs"]
mod redshift_stand_in;

use std::process::ExitCode;

use async_trait::async_trait;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use transload_core::Connection;
use transload_core::schema::TableRef;
use transload_postgres::{Postgres, Redshift};
use transload_testkit::{
    Cell, Done, Failure, Kind, SourceFacts, SourceFixture, Subject, TestTable, need_env, run,
};

const URL: &str = "TRANSLOAD_TEST_POSTGRES_URL";

/// Where tables are made, and how their columns are declared.
struct Server {
    address: fn() -> Done<String>,
    redshift: bool,
}

async fn connect(address: &str) -> Done<Client> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(async move {
        // Its error is that of the query that was under way.
        let _ = connection.await;
    });
    Ok(client)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(table: &TableRef) -> String {
    format!("{}.{}", quoted(table.schema.as_deref().unwrap_or("public")), quoted(&table.name))
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Int => "bigint",
        Kind::Float => "double precision",
        Kind::Decimal => "numeric(18,4)",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Date => "date",
        Kind::DateTime => "timestamp",
        Kind::Timestamp => "timestamptz",
        Kind::Time => "time",
        Kind::Json => "json",
        Kind::Uuid => "uuid",
    }
}

/// One statement with an array of texts per column, which the server casts.
async fn insert(client: &Client, table: &TableRef, rows: &TestTable) -> Done {
    let columns: Vec<Vec<Option<String>>> = (0..rows.columns.len())
        .map(|i| rows.rows.iter().map(|row| row.get(i).and_then(Cell::to_plain)).collect())
        .collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|c| c as &(dyn ToSql + Sync)).collect();
    let list = |each: &dyn Fn(usize) -> String| (0..columns.len()).map(each).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO {} SELECT {} FROM unnest({}) AS x({})",
        qualified(table),
        list(&|i| format!("c{i}::{}", type_of(rows.columns[i].kind))),
        list(&|i| format!("${}::text[]", i + 1)),
        list(&|i| format!("c{i}")),
    );
    client.execute(&sql, &parameters).await?;
    Ok(())
}

#[async_trait]
impl SourceFixture for Server {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            // Redshift has no UUID.
            kinds: Kind::ALL.iter().copied().filter(|kind| !self.redshift || *kind != Kind::Uuid).collect(),
            primary_keys: true,
            not_null: true,
            text_cursors: !self.redshift,
            ..SourceFacts::default()
        }
    }

    fn accepts_name(&self, name: &str) -> bool {
        name.len() <= 55
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        // A schema of its own, whose name is as odd as the table's.
        let made = TableRef::new(format!("suite {}", table.name), &table.name);
        let mut parts: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                let null = if column.nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", quoted(&column.name), type_of(column.kind))
            })
            .collect();
        let unique = |key: &String| {
            let at = table.columns.iter().position(|column| &column.name == key).unwrap_or_default();
            let mut values: Vec<_> = table.rows.iter().filter_map(|row| row.get(at)).collect();
            values.sort();
            values.windows(2).all(|pair| pair[0] != pair[1])
        };
        if !table.key.is_empty() && table.key.iter().all(unique) {
            let key: Vec<_> = table.key.iter().map(|name| quoted(name)).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        let client = connect(&(self.address)()?).await?;
        let schema = quoted(made.schema.as_deref().unwrap_or_default());
        let sql = format!("CREATE SCHEMA {schema}; CREATE TABLE {} ({})", qualified(&made), parts.join(", "));
        client.batch_execute(&sql).await?;
        insert(&client, &made, table).await?;
        Ok(made)
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        insert(&connect(&(self.address)()?).await?, table, rows).await
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        let schema = table.schema.as_deref().ok_or_else(|| Failure::new("a table without a schema"))?;
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema));
        Ok(connect(&(self.address)()?).await?.batch_execute(&sql).await?)
    }
}

fn main() -> ExitCode {
    let url = || need_env(URL);
    let connection = move || Ok(Connection::from_url(&url()?)?);
    let stand_in = || Ok(redshift_stand_in::url(&need_env(URL)?));
    let redshift = move || Ok(redshift_stand_in::connection(&need_env(URL)?));
    run(&[
        Subject::new("postgres", Postgres, connection).source(Server { address: url, redshift: false }),
        Subject::new("redshift", Redshift, redshift).source(Server { address: stand_in, redshift: true }),
    ])
}
