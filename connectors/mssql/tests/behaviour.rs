//! The behaviour suite. Tables are made with SQL texts through another client, so the server's own parser decides what
//! a value is. `TRANSLOAD_SQLSERVER_URL` names the server, else it is the test server of this repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![expect(dead_code, reason = "the other tests ask the server itself")]

mod admin;

use std::process::ExitCode;
use std::sync::OnceLock;

use admin::{Admin, Used, used};
use async_trait::async_trait;
use transload_core::Connection;
use transload_core::schema::TableRef;
use transload_mssql::Mssql;
use transload_sql::{quote_bracketed, quote_national};
use transload_testkit::{
    Cell, Done, Failure, Float, Kind, SourceFacts, SourceFixture, Subject, TestTable, run,
};

struct Fixture;

static SERVER: OnceLock<(Used, tokio::runtime::Runtime)> = OnceLock::new();

/// The server, which runs in a runtime of its own as long as the tests do.
fn server() -> &'static Used {
    let start = || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        (std::thread::scope(|scope| scope.spawn(|| runtime.block_on(used())).join().unwrap()), runtime)
    };
    &SERVER.get_or_init(start).0
}

#[expect(clippy::unnecessary_wraps, reason = "the suite takes functions that may fail")]
fn connection() -> Done<Connection> {
    Ok(server().connection.clone())
}

async fn execute(sql: &str) -> Done {
    let ran = Admin::of(&server().connection).run(sql).await;
    ran.map(|_| ())
        .map_err(|error| Failure::new(format!("{error}: {}", sql.chars().take(300).collect::<String>())))
}

fn qualified(table: &TableRef) -> Done<String> {
    let schema = quote_bracketed(table.schema.as_deref().unwrap_or_default())?;
    Ok(format!("{schema}.{}", quote_bracketed(&table.name)?))
}

fn type_of(kind: Kind, in_key: bool) -> Done<&'static str> {
    Ok(match kind {
        Kind::Bool => "BIT",
        Kind::Int => "BIGINT",
        Kind::Float => "FLOAT",
        Kind::Decimal => "DECIMAL(18,4)",
        Kind::Text if in_key => "NVARCHAR(400) COLLATE Latin1_General_100_BIN2",
        Kind::Text => "NVARCHAR(MAX)",
        Kind::Bytes => "VARBINARY(MAX)",
        Kind::Date => "DATE",
        Kind::DateTime => "DATETIME2(6)",
        Kind::Timestamp => "DATETIMEOFFSET(6)",
        Kind::Time => "TIME(6)",
        Kind::Json | Kind::Uuid => return Err(Failure::new(format!("no such column: {kind:?}"))),
    })
}

fn literal(cell: &Cell) -> Done<String> {
    Ok(match (cell, cell.to_plain()) {
        (Cell::Bool(value), _) => u8::from(*value).to_string(),
        (Cell::Text(text), _) => quote_national(text)?,
        (Cell::Bytes(bytes), _) => {
            format!("0x{}", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        }
        (Cell::Float(Float(value)), _) => format!("{value:e}"),
        (Cell::Int(_) | Cell::Decimal(_), Some(text)) => text,
        (Cell::Timestamp(_), Some(text)) => format!("'{}+00:00'", text.strip_suffix("+00").unwrap_or(&text)),
        (_, Some(text)) => format!("'{text}'"),
        (_, None) => "NULL".to_owned(),
    })
}

async fn insert(table: &TableRef, rows: &TestTable) -> Done {
    // A constructor of rows takes a thousand.
    for rows in rows.rows.chunks(1000) {
        let mut texts = Vec::new();
        for row in rows {
            texts.push(format!("({})", row.iter().map(literal).collect::<Done<Vec<_>>>()?.join(", ")));
        }
        execute(&format!("INSERT INTO {} VALUES {}", qualified(table)?, texts.join(", "))).await?;
    }
    Ok(())
}

/// Years 1 to 9999, in microseconds since 1970.
const MOMENTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

#[async_trait]
impl SourceFixture for Fixture {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            // UNIQUEIDENTIFIER is a text, and JSON a type of 2025 only.
            kinds: Kind::ALL
                .iter()
                .copied()
                .filter(|kind| !matches!(kind, Kind::Json | Kind::Uuid))
                .collect(),
            primary_keys: true,
            not_null: true,
            ..SourceFacts::default()
        }
    }

    fn accepts_name(&self, name: &str) -> bool {
        // Blanks at the end are not compared.
        name.encode_utf16().count() <= 100 && !name.ends_with(' ')
    }

    fn accepts(&self, kind: Kind, value: &Cell) -> bool {
        match (kind, value) {
            // Whether a server keeps the sign of zero is nowhere said.
            (Kind::Float, Cell::Float(Float(value))) => {
                value.is_finite() && (*value != 0.0 || value.is_sign_positive())
            }
            (Kind::Timestamp, Cell::Timestamp(micros)) | (Kind::DateTime, Cell::DateTime(micros)) => {
                MOMENTS.contains(micros)
            }
            (Kind::Date, Cell::Date(days)) => (-719_162..=2_932_896).contains(days),
            _ => true,
        }
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        // A schema of its own, whose name is as odd as the table's.
        let made = TableRef::new(format!("suite {}", table.name), &table.name);
        let mut parts = Vec::new();
        for column in &table.columns {
            let null = if column.nullable { "NULL" } else { "NOT NULL" };
            let in_key = table.key.contains(&column.name);
            parts.push(format!(
                "{} {} {null}",
                quote_bracketed(&column.name)?,
                type_of(column.kind, in_key)?
            ));
        }
        let unique = |key: &String| {
            let at = table.columns.iter().position(|column| &column.name == key).unwrap_or_default();
            let mut values: Vec<_> = table.rows.iter().filter_map(|row| row.get(at)).collect();
            values.sort();
            values.windows(2).all(|pair| pair[0] != pair[1])
        };
        if !table.key.is_empty() && table.key.iter().all(unique) {
            let key = table.key.iter().map(|name| quote_bracketed(name)).collect::<Result<Vec<_>, _>>()?;
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        execute(&format!("CREATE SCHEMA {}", quote_bracketed(made.schema.as_deref().unwrap_or_default())?))
            .await?;
        execute(&format!("CREATE TABLE {} ({})", qualified(&made)?, parts.join(", "))).await?;
        insert(&made, table).await?;
        Ok(made)
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        insert(table, rows).await
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        let schema = table.schema.as_deref().ok_or_else(|| Failure::new("a table without a schema"))?;
        execute(&format!("DROP TABLE IF EXISTS {}", qualified(table)?)).await?;
        execute(&format!("DROP SCHEMA IF EXISTS {}", quote_bracketed(schema)?)).await
    }
}

fn main() -> ExitCode {
    run(&[Subject::new("sqlserver", Mssql, connection).source(Fixture)])
}
