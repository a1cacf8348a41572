//! The behaviour suite on MariaDB. Tables are made with SQL texts through MariaDB's own client, so the server's own parser
//! decides what a value is.

use std::process::ExitCode;

use async_trait::async_trait;
use transload_core::Connection;
use transload_core::schema::TableRef;
use transload_mysql::Mysql;
use transload_testkit::mariadb::Mariadb;
use transload_testkit::{
    Cell, Done, Failure, Float, Kind, SourceFacts, SourceFixture, Subject, TestTable, need_env, run,
};

struct Server;

fn connection() -> Done<Connection> {
    Ok(Connection::from_url(&need_env("TRANSLOAD_TEST_MARIADB_URL")?)?)
}

fn client() -> Done<Mariadb> {
    Ok(Mariadb::of(&connection()?))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn qualified(table: &TableRef) -> String {
    format!("{}.{}", quoted(table.schema.as_deref().unwrap_or_default()), quoted(&table.name))
}

fn type_of(kind: Kind, in_key: bool) -> Done<&'static str> {
    Ok(match kind {
        Kind::Bool => "BIT(1)",
        Kind::Int => "BIGINT",
        Kind::Float => "DOUBLE",
        Kind::Decimal => "DECIMAL(18,4)",
        Kind::Text if in_key => "VARCHAR(700) COLLATE utf8mb4_nopad_bin",
        Kind::Text => "LONGTEXT",
        Kind::Bytes => "LONGBLOB",
        Kind::Date => "DATE",
        Kind::DateTime => "DATETIME(6)",
        Kind::Timestamp => "TIMESTAMP(6)",
        Kind::Json => "JSON",
        Kind::Time | Kind::Uuid => return Err(Failure::new(format!("no such column: {kind:?}"))),
    })
}

fn literal(cell: &Cell) -> String {
    match (cell, cell.to_plain()) {
        (Cell::Bool(value), _) => format!("b'{}'", u8::from(*value)),
        (Cell::Text(text), _) => {
            let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            format!("_utf8mb4 X'{hex}'")
        }
        (Cell::Bytes(bytes), _) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("X'{hex}'")
        }
        (Cell::Int(_) | Cell::Decimal(_) | Cell::Float(_), Some(text)) => text,
        (_, Some(text)) => format!("'{}'", text.strip_suffix("+00").unwrap_or(&text)),
        (_, None) => "NULL".to_owned(),
    }
}

fn insert(table: &TableRef, rows: &TestTable) -> Done {
    for rows in rows.rows.chunks(2000) {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", ")))
            .collect();
        client()?.run(&format!("INSERT INTO {} VALUES {}", qualified(table), rows.join(", ")))?;
    }
    Ok(())
}

/// Microseconds since 1970 between which a TIMESTAMP lies: one second after the epoch, and the end of 31 bits.
const INSTANTS: std::ops::Range<i64> = 1_000_000..2_147_483_648_000_000;

#[async_trait]
impl SourceFixture for Server {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            // TIME is a length of time and UUID a text; `server/types.rs` looks at both.
            kinds: Kind::ALL
                .iter()
                .copied()
                .filter(|kind| !matches!(kind, Kind::Time | Kind::Uuid))
                .collect(),
            primary_keys: true,
            not_null: true,
            ..SourceFacts::default()
        }
    }

    fn accepts_name(&self, name: &str) -> bool {
        // Names are of the basic plane, and do not end with a blank.
        name.chars().count() <= 55 && !name.ends_with(' ') && name.chars().all(|c| u32::from(c) <= 0xffff)
    }

    fn accepts(&self, kind: Kind, value: &Cell) -> bool {
        match (kind, value) {
            (Kind::Float, Cell::Float(Float(value))) => value.is_finite(),
            (Kind::Timestamp, Cell::Timestamp(micros)) => INSTANTS.contains(micros),
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
            parts.push(format!("{} {} {null}", quoted(&column.name), type_of(column.kind, in_key)?));
        }
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
        let schema = quoted(made.schema.as_deref().unwrap_or_default());
        client()?.run(&format!(
            "CREATE DATABASE {schema} CHARACTER SET utf8mb4; CREATE TABLE {} ({})",
            qualified(&made),
            parts.join(", ")
        ))?;
        insert(&made, table)?;
        Ok(made)
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        insert(table, rows)
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        let schema = table.schema.as_deref().ok_or_else(|| Failure::new("a table without a schema"))?;
        client()?.run(&format!("DROP DATABASE IF EXISTS {}", quoted(schema))).map(|_| ())
    }
}

fn main() -> ExitCode {
    run(&[Subject::new("mysql", Mysql, connection).source(Server)])
}
