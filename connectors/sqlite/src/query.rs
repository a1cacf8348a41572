//! The statements that read a table. Names are quoted, values are bound.

use rusqlite::types::Value;
use transload_core::connector::CursorFilter;
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::quote_identifier;

use crate::catalog::Table;
use crate::types::Reading;

/// A statement and its values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

/// A column of the table that is read. The alias keeps SQLite from taking an unknown name for a text.
pub(crate) fn column(name: &str) -> Result<String> {
    Ok(format!("t.{}", quote_identifier(name)?))
}

fn from(table: &Table) -> Result<String> {
    Ok(format!("\"main\".{} AS t", quote_identifier(&table.schema.table.name)?))
}

/// The columns at `fields`, and the row number last if there is one.
pub(crate) fn select(table: &Table, fields: &[usize], tail: &str) -> Result<String> {
    let names = fields.iter().filter_map(|field| table.schema.columns.get(*field));
    let mut list = names.map(|c| column(&c.name)).collect::<Result<Vec<_>>>()?;
    list.extend(table.rowid.map(|rowid| format!("t.{rowid}")));
    Ok(format!("SELECT {} FROM {}{tail}", list.join(", "), from(table)?))
}

/// The statement of a read plan.
pub(crate) fn read(
    table: &Table,
    fields: &[usize],
    filter: Option<&CursorFilter>,
    limit: Option<u64>,
) -> Result<Query> {
    let mut values = Vec::new();
    let mut tail = range(table, filter, &mut values)?;
    if let Some(limit) = limit {
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        tail += &format!(" LIMIT ?{}", values.len());
    }
    Ok(Query { sql: select(table, fields, &tail)?, values })
}

/// Expressions over the rows of a range.
pub(crate) fn figures(table: &Table, list: &[String], filter: Option<&CursorFilter>) -> Result<Query> {
    let mut values = Vec::new();
    let tail = range(table, filter, &mut values)?;
    Ok(Query { sql: format!("SELECT {} FROM {}{tail}", list.join(", "), from(table)?), values })
}

/// ` WHERE ...` of a range; empty if every row is in it.
fn range(table: &Table, filter: Option<&CursorFilter>, values: &mut Vec<Value>) -> Result<String> {
    let condition = filter.map(|filter| condition(table, filter, values)).transpose()?.flatten();
    Ok(condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default())
}

fn condition(table: &Table, filter: &CursorFilter, values: &mut Vec<Value>) -> Result<Option<String>> {
    let (own, reading) = cursor(table, &filter.column)?;
    let name = column(&own.name)?;
    let ordered = ordered(&name, reading);
    let mut bound = |value: &CursorValue, operator: &str| -> Result<String> {
        values.push(native(value, own, reading)?);
        Ok(format!("{ordered} {operator} ?{}", values.len()))
    };
    let mut range = Vec::new();
    if let Some(lo) = &filter.lo {
        range.push(bound(lo, if filter.lo_inclusive { ">=" } else { ">" })?);
    }
    if let Some(hi) = &filter.hi {
        range.push(bound(hi, "<=")?);
    }
    Ok(match (range.is_empty(), filter.include_nulls) {
        (true, true) => None,
        (true, false) => Some(format!("{name} IS NOT NULL")),
        (false, false) => Some(range.join(" AND ")),
        (false, true) => Some(format!("(({}) OR {name} IS NULL)", range.join(" AND "))),
    })
}

/// Texts are compared by their bytes, whatever collation the column declares.
fn ordered(name: &str, reading: Reading) -> String {
    match reading {
        Reading::Text => format!("{name} COLLATE BINARY"),
        Reading::AnyAsText => format!("CAST({name} AS TEXT) COLLATE BINARY"),
        _ => name.to_owned(),
    }
}

/// A column that can be a cursor, and how it is read.
pub(crate) fn cursor<'a>(table: &'a Table, name: &str) -> Result<(&'a ColumnSchema, Reading)> {
    let own = table.schema.column(name)?;
    let at = table.schema.columns.iter().position(|column| column.name == name);
    match at.and_then(|at| table.readings.get(at)) {
        Some(reading) if CursorValue::supports(&own.data_type) => Ok((own, *reading)),
        _ => Err(Error::unsupported(format!(
            "the column `{name}` of type {} cannot be a cursor",
            if own.source_type.is_empty() { "none" } else { &own.source_type }
        ))
        .with("column", name)
        .hint("choose an integer, decimal or text column")),
    }
}

/// A bound as SQLite stores such values.
fn native(value: &CursorValue, own: &ColumnSchema, reading: Reading) -> Result<Value> {
    let native = match (reading, value) {
        (Reading::Integer, CursorValue::Int(value)) => Some(Value::Integer(*value)),
        // Above every integer there is; as a double it still is.
        (Reading::Integer, CursorValue::UInt(_)) => Some(Value::Real(f64::INFINITY)),
        (Reading::Decimal(_, scale), CursorValue::Decimal(_, own)) if scale == *own => stored_decimal(value),
        (Reading::Text | Reading::AnyAsText, CursorValue::Text(text)) => Some(Value::Text(text.clone())),
        _ => None,
    };
    native.ok_or_else(|| {
        Error::new(
            ErrorKind::SchemaChanged,
            format!(
                "the cursor column `{}` has the type {}, but the range is of the type {}",
                own.name,
                own.data_type,
                value.type_name()
            ),
        )
        .with("column", &own.name)
        .hint("the column's type has changed since the last run: run a full refresh")
    })
}

/// Whole decimals are stored as INTEGER where they fit, others as the nearest double.
fn stored_decimal(value: &CursorValue) -> Option<Value> {
    let text = value.to_string();
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => &text,
    };
    match whole.parse::<i64>() {
        Ok(integer) => Some(Value::Integer(integer)),
        Err(_) => text.parse().ok().map(Value::Real),
    }
}

/// The least and the greatest value, each in a statement that an index answers at once.
pub(crate) fn extremes(table: &Table, name: &str) -> Result<(String, String)> {
    let (own, reading) = cursor(table, name)?;
    let from = from(table)?;
    let name = ordered(&column(&own.name)?, reading);
    Ok((format!("SELECT min({name}) FROM {from}"), format!("SELECT max({name}) FROM {from}")))
}

/// How many rows have no cursor value.
pub(crate) fn count_nulls(table: &Table, name: &str) -> Result<String> {
    Ok(format!("SELECT count(*) FROM {} WHERE {} IS NULL", from(table)?, column(name)?))
}

/// Lowest and highest row number.
pub(crate) fn rowid_range(table: &Table, rowid: &str) -> Result<String> {
    let from = from(table)?;
    Ok(format!("SELECT (SELECT min(t.{rowid}) FROM {from}), (SELECT max(t.{rowid}) FROM {from})"))
}
