//! What the database says about its tables.

use rusqlite::{Connection, OptionalExtension as _, params};
use transload_core::connector::{TableInfo, TableKind};
use transload_core::schema::{ColumnSchema, TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result};

use crate::config::OnTypeMismatch;
use crate::connect::Database;
use crate::types::{Reading, reading};

/// A table and how its columns are read.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: TableSchema,
    pub(crate) readings: Vec<Reading>,
    /// The name by which the hidden row number can be asked for, where there is one.
    pub(crate) rowid: Option<&'static str>,
}

struct Entry {
    name: String,
    kind: String,
    without_rowid: bool,
    strict: bool,
}

/// Tables and views of the main database, without SQLite's own and without those that virtual tables keep
/// their data in.
const LIST: &str = "SELECT name, type, wr, strict FROM pragma_table_list \
     WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { name: row.get(0)?, kind: row.get(1)?, without_rowid: row.get(2)?, strict: row.get(3)? })
}

impl Database {
    /// Lists tables and views by name.
    pub(crate) fn tables(&self, connection: &Connection) -> Result<Vec<TableInfo>> {
        let list = || -> rusqlite::Result<Vec<Entry>> {
            connection.prepare(&format!("{LIST} ORDER BY name"))?.query_map([], entry)?.collect()
        };
        let entries = list().map_err(|error| self.error("list the tables", error))?;
        let info = |entry: Entry| {
            let kind = if entry.kind == "view" { TableKind::View } else { TableKind::Table };
            let rows_estimate = rows_estimate(connection, &entry.name);
            TableInfo { rows_estimate, ..TableInfo::new(TableRef::unqualified(entry.name), kind) }
        };
        Ok(entries.into_iter().map(info).collect())
    }

    /// Describes one table.
    pub(crate) fn describe(&self, connection: &Connection, table: &TableRef) -> Result<Table> {
        let wrong = |error| self.error("describe the table", error).with("table", table);
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("table {table} does not exist"))
                .with("table", table)
                .hint("check the name, or list the tables with tables()")
        };
        if table.schema.is_some() {
            return Err(missing().hint("SQLite has no schemas: leave the schema out"));
        }
        let found = connection.query_row(&format!("{LIST} AND name = ?1"), params![table.name], entry);
        let entry = found.optional().map_err(wrong)?.ok_or_else(missing)?;
        let columns = self.columns(connection, &entry).map_err(wrong)?;
        if columns.is_empty() {
            return Err(Error::unsupported(format!("table {table} has no columns that can be read"))
                .with("table", table)
                .hint("if it is a view, check that it works in the sqlite3 shell"));
        }
        let mut primary: Vec<(i64, String)> = Vec::new();
        let mut schema = TableSchema::new(table.clone(), Vec::new());
        let mut readings = Vec::new();
        for (column, reading, key) in columns {
            if key > 0 {
                primary.push((key, column.name.clone()));
            }
            schema.columns.push(column);
            readings.push(reading);
        }
        primary.sort();
        schema.primary_key = primary.into_iter().map(|(_, name)| name).collect();
        schema.rows_estimate = rows_estimate(connection, &entry.name);
        indexes(connection, &entry.name, &mut schema).map_err(wrong)?;
        integer_key(&mut schema, &entry);
        let rowid = rowid_name(&schema, &entry);
        Ok(Table { schema, readings, rowid })
    }

    /// Columns, how each is read, and its place in the primary key (0 for none).
    fn columns(
        &self,
        connection: &Connection,
        entry: &Entry,
    ) -> rusqlite::Result<Vec<(ColumnSchema, Reading, i64)>> {
        let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(params![entry.name])?;
        let mut columns = Vec::new();
        while let Some(row) = rows.next()? {
            let (declared, hidden): (Option<String>, i64) = (row.get(1)?, row.get(5)?);
            let declared = declared.unwrap_or_default();
            // 1 is a hidden column of a virtual table; 2 and 3 are generated ones.
            if hidden == 1 {
                continue;
            }
            let (own, note) = reading(&declared, entry.strict);
            let own = match self.on_type_mismatch {
                OnTypeMismatch::Error => own,
                OnTypeMismatch::Text => Reading::AnyAsText,
            };
            let mut column = ColumnSchema::new(row.get::<_, String>(0)?, declared, own.data_type());
            let key: i64 = row.get(4)?;
            // In rowid tables that are not STRICT, a primary key may hold NULL.
            let key_is_set = key > 0 && (entry.without_rowid || entry.strict);
            column.nullable = !(row.get::<_, bool>(2)? || key_is_set);
            column.default = row.get(3)?;
            column.generated = hidden > 1;
            column.note = note;
            columns.push((column, own, key));
        }
        Ok(columns)
    }
}

/// Unique keys, and which columns an index orders by their bytes.
fn indexes(connection: &Connection, table: &str, schema: &mut TableSchema) -> rusqlite::Result<()> {
    let mut lists =
        connection.prepare("SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1)")?;
    let mut columns = connection
        .prepare("SELECT name, coll, \"desc\" FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
    let mut rows = lists.query(params![table])?;
    while let Some(row) = rows.next()? {
        let (name, unique, origin, partial): (String, bool, String, bool) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        if partial {
            continue;
        }
        let key: Vec<(Option<String>, Option<String>)> = columns
            .query_map(params![name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        // Expressions have no name.
        let names: Option<Vec<String>> = key.iter().map(|(name, _)| name.clone()).collect();
        if let Some(names) = names
            && unique
            && origin != "pk"
        {
            schema.unique_keys.push(names);
        }
        if let Some((Some(first), collation)) = key.first()
            && collation.as_deref() == Some("BINARY")
            && let Some(column) = schema.columns.iter_mut().find(|column| &column.name == first)
        {
            column.indexed = true;
        }
    }
    schema.unique_keys.sort();
    schema.unique_keys.dedup();
    Ok(())
}

/// `INTEGER PRIMARY KEY` is the row number itself: never NULL, and the table is ordered by it.
fn integer_key(schema: &mut TableSchema, entry: &Entry) {
    let [key] = schema.primary_key.as_slice() else { return };
    if let Some(column) = schema.columns.iter_mut().find(|column| &column.name == key)
        && !entry.without_rowid
        && column.source_type.eq_ignore_ascii_case("INTEGER")
    {
        column.indexed = true;
        column.nullable = false;
    }
}

fn rowid_name(schema: &TableSchema, entry: &Entry) -> Option<&'static str> {
    if entry.without_rowid || entry.kind != "table" {
        return None;
    }
    let taken = |name: &&str| schema.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name))
}

/// Rows as the last ANALYZE counted them; SQLite knows no other number without counting.
fn rows_estimate(connection: &Connection, table: &str) -> Option<u64> {
    // The statistics table exists only after ANALYZE, so an error here is no error.
    let sql = "SELECT stat FROM sqlite_stat1 WHERE tbl = ?1 AND stat IS NOT NULL ORDER BY idx IS NOT NULL";
    let stat: String = connection.query_row(sql, params![table], |row| row.get(0)).ok()?;
    stat.split(' ').next()?.parse().ok()
}
