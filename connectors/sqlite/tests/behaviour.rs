//! The behaviour suite on SQLite. Tables are made with `rusqlite`.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use rusqlite::types::Value;
use transload_core::Connection;
use transload_core::schema::TableRef;
use transload_sqlite::Sqlite;
use transload_testkit::{
    Cell, Done, Failure, Float, Kind, SourceFacts, SourceFixture, Subject, TestTable, run,
};

struct Database(PathBuf);

impl Database {
    fn open(&self) -> Done<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(&self.0)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        // Readers with a snapshot and a writer beside each other need the write-ahead log.
        connection.pragma_update(None, "journal_mode", "wal")?;
        Ok(connection)
    }

    fn insert(&self, table: &str, rows: &TestTable) -> Done {
        let mut connection = self.open()?;
        let transaction = connection.transaction()?;
        let marks = vec!["?"; rows.columns.len()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {} VALUES ({marks})", quoted(table)))?;
        for row in &rows.rows {
            insert.execute(rusqlite::params_from_iter(row.iter().map(value).collect::<Done<Vec<_>>>()?))?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn value(cell: &Cell) -> Done<Value> {
    Ok(match cell {
        Cell::Null => Value::Null,
        Cell::Bool(value) => Value::Integer((*value).into()),
        Cell::Int(value) => Value::Integer(*value),
        Cell::Float(Float(value)) => Value::Real(*value),
        // The column's affinity makes a number of it.
        Cell::Decimal(text) | Cell::Text(text) => Value::Text(text.clone()),
        Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
        other => return Err(Failure::new(format!("SQLite has no type for {other:?}"))),
    })
}

#[async_trait]
impl SourceFixture for Database {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            kinds: vec![Kind::Bool, Kind::Int, Kind::Float, Kind::Decimal, Kind::Text, Kind::Bytes],
            primary_keys: true,
            not_null: true,
            ..SourceFacts::default()
        }
    }

    fn accepts(&self, kind: Kind, value: &Cell) -> bool {
        match (kind, value) {
            // SQLite stores NaN as NULL.
            (Kind::Float, Cell::Float(Float(value))) => !value.is_nan(),
            // It stores decimals as doubles, which keep 15 digits.
            (Kind::Decimal, Cell::Decimal(text)) => text.chars().filter(char::is_ascii_digit).count() <= 15,
            _ => true,
        }
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        let mut parts: Vec<String> = Vec::new();
        for column in &table.columns {
            let declared = match column.kind {
                Kind::Bool => "BOOLEAN",
                Kind::Int => "BIGINT",
                Kind::Float => "REAL",
                Kind::Decimal => "DECIMAL(18,4)",
                Kind::Text => "TEXT",
                Kind::Bytes => "BLOB",
                other => return Err(Failure::new(format!("SQLite has no type for {other:?}"))),
            };
            let null = if column.nullable { "" } else { " NOT NULL" };
            parts.push(format!("{} {declared}{null}", quoted(&column.name)));
        }
        if !table.key.is_empty() {
            let key: Vec<_> = table.key.iter().map(|name| quoted(name)).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        let create = format!("CREATE TABLE {} ({})", quoted(&table.name), parts.join(", "));
        self.open()?.execute_batch(&create)?;
        Database::insert(self, &table.name, table)?;
        Ok(TableRef::unqualified(&table.name))
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        Database::insert(self, &table.name, rows)
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        Ok(self.open()?.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(&table.name)))?)
    }
}

fn main() -> ExitCode {
    let root = tempfile::tempdir().expect("a temporary folder");
    let database = Database(root.path().join("suite.db"));
    database.open().expect("a database");
    let connection = Connection::new("sqlite", "sqlite").option("path", database.0.to_string_lossy());
    run(&[Subject::new("sqlite", Sqlite, move || Ok(connection.clone())).source(database)])
}
