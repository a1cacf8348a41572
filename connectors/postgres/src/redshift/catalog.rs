//! What Redshift's catalog says of schemas, tables and columns.
//!
//! Sources: Redshift's developer guide on SVV_TABLES, SVV_COLUMNS, SVV_REDSHIFT_COLUMNS and SVV_TABLE_INFO, and the
//! catalog of PostgreSQL 8.0. Some of these live on the leader node and some on the others, so that no statement joins
//! two of them; that is done here.

use std::collections::HashMap;

use transload_core::connector::{SchemaInfo, TableInfo, TableKind};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::quote_literal_without_escapes as literal;

use super::types;
use crate::catalog::{Described, quoted};
use crate::connect::{optional, text};

type Row = tokio_postgres::SimpleQueryRow;

/// Where Redshift looks for a table without a schema, unless somebody changed the search path.
const DEFAULT_SCHEMA: &str = "public";

/// The table with its schema.
pub(super) fn qualified(table: &TableRef) -> TableRef {
    TableRef::new(table.schema.as_deref().unwrap_or(DEFAULT_SCHEMA), &table.name)
}

/// Schemas of users: `name` is the column that holds the name of the schema.
fn not_the_systems(name: &str) -> String {
    format!("substring({name}, 1, 3) <> 'pg_' AND {name} NOT IN ('information_schema', 'catalog_history')")
}

pub(super) fn schemas_sql() -> String {
    format!(
        "SELECT nspname AS name, obj_description(oid, 'pg_namespace') AS comment FROM pg_namespace WHERE {}",
        not_the_systems("nspname")
    )
}

pub(super) fn schemas(rows: &[Row]) -> Result<Vec<SchemaInfo>> {
    let info = |row| {
        let comment = optional(row, "comment")?.map(str::to_owned);
        Ok(SchemaInfo { name: text(row, "name")?.to_owned(), comment })
    };
    let mut found = rows.iter().map(info).collect::<Result<Vec<_>>>()?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Three statements: the schema itself, its tables, who may read what. External tables have no line in the last.
pub(super) fn tables_sql(schema: Option<&str>) -> Result<String> {
    let of = |name: &str| match schema {
        Some(schema) => Ok::<_, Error>(format!("{name} = {}", literal(schema)?)),
        None => Ok(not_the_systems(name)),
    };
    Ok(format!(
        "SELECT nspname AS name FROM pg_namespace WHERE {namespace};
         SELECT table_schema AS schema, table_name AS name, table_type AS kind, remarks AS comment
         FROM svv_tables WHERE {tables};
         {readable} AND {namespace}",
        namespace = of("nspname")?,
        tables = of("table_schema")?,
        readable = READABLE,
    ))
}

/// Asked by ids: those of a schema that somebody drops at that moment have no answer, its name would be an error.
const READABLE: &str = "SELECT n.nspname AS schema, c.relname AS name,
            has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v')";

/// Rows and megabytes. By itself only superusers may see them, and empty tables have no line.
pub(super) const SIZES_SQL: &str = "SELECT \"schema\" AS schema, \"table\" AS name,
            coalesce(estimated_visible_rows, tbl_rows) AS rows, size AS megabytes FROM svv_table_info";

/// The tables, from the answers of [`tables_sql`] and, if this user may see them, of [`SIZES_SQL`].
pub(super) fn tables(tables: &[Row], readable: &[Row], sizes: &[Row]) -> Result<Vec<TableInfo>> {
    let (readable, sizes) = (by_name(readable)?, by_name(sizes)?);
    let info = |row| {
        let table = name_of(row)?;
        let known = sizes.get(&table);
        // Sizes are decimals in some versions.
        let number = |column| {
            let text = known.map(|row| optional(row, column)).transpose()?.flatten();
            Ok::<_, Error>(text.and_then(|text| text.split('.').next()?.parse::<u64>().ok()))
        };
        Ok(TableInfo {
            readable: match readable.get(&table) {
                Some(row) => optional(row, "readable")? == Some("t"),
                None => true,
            },
            rows_estimate: number("rows")?,
            bytes: number("megabytes")?.map(|megabytes| megabytes.saturating_mul(1 << 20)),
            comment: optional(row, "comment")?.filter(|comment| !comment.is_empty()).map(str::to_owned),
            ..TableInfo::new(table, kind(text(row, "kind")?))
        })
    };
    let mut found = tables.iter().map(info).collect::<Result<Vec<_>>>()?;
    found.sort_by(|one, other| one.table.cmp(&other.table));
    Ok(found)
}

fn name_of(row: &Row) -> Result<TableRef> {
    Ok(TableRef::new(text(row, "schema")?, text(row, "name")?))
}

fn by_name(rows: &[Row]) -> Result<HashMap<TableRef, &Row>> {
    rows.iter().map(|row| Ok((name_of(row)?, row))).collect()
}

fn kind(kind: &str) -> TableKind {
    let kind = kind.to_uppercase();
    if kind.contains("EXTERNAL") {
        TableKind::Foreign
    } else if kind.contains("MATERIALIZED") {
        TableKind::MaterializedView
    } else if kind.contains("VIEW") {
        TableKind::View
    } else {
        TableKind::Table
    }
}

/// What keeps a table as it is: planning to read it locks it until the transaction ends. Without that, for saying
/// what is wrong.
pub(super) fn lock_sql(table: &TableRef) -> Result<[String; 2]> {
    Ok([format!("EXPLAIN SELECT 1 FROM {}; ", quoted(table)?), String::new()])
}

/// Six statements: schema, table, who may read it, columns, keys, and the column that rows are sorted by.
pub(super) fn describe_sql(table: &TableRef, database: &str) -> Result<String> {
    let (schema, name) = (literal(table.schema.as_deref().unwrap_or_default())?, literal(&table.name)?);
    Ok(format!(
        "SELECT nspname AS name FROM pg_namespace WHERE nspname = {schema};
         SELECT remarks AS comment FROM svv_tables WHERE table_schema = {schema} AND table_name = {name};
         {READABLE} AND n.nspname = {schema} AND c.relname = {name};
         SELECT column_name AS name, data_type, character_maximum_length AS length, numeric_precision AS digits,
            numeric_scale AS scale, is_nullable, column_default AS default_text, remarks AS comment
         FROM svv_columns WHERE table_schema = {schema} AND table_name = {name} ORDER BY ordinal_position;
         SELECT k.oid AS key, k.contype AS sort, k.conkey AS numbers, a.attnum AS number, a.attname AS name
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(k.conkey)
         WHERE k.contype IN ('p', 'u') AND n.nspname = {schema} AND c.relname = {name} ORDER BY k.oid, a.attnum;
         SELECT column_name AS name FROM svv_redshift_columns
         WHERE database_name = {} AND schema_name = {schema} AND table_name = {name} AND abs(sortkey) = 1",
        literal(database)?
    ))
}

/// Names to choose the nearest from when a table is missing: of its schema's tables, and of the schemas.
pub(super) fn names_sql(table: &TableRef) -> Result<String> {
    let schema = literal(table.schema.as_deref().unwrap_or_default())?;
    Ok(format!(
        "SELECT table_name AS name FROM svv_tables WHERE table_schema = {schema} LIMIT 10000; {}",
        schemas_sql()
    ))
}

/// Reads the answers of [`describe_sql`]; the other way round, whether the schema of the missing table exists.
pub(super) fn described(table: &TableRef, results: &[Vec<Row>]) -> Result<Result<Described, bool>> {
    let [.., schemas, tables, readable, columns, keys, sorted] = results else {
        return Err(Error::internal("the catalog gave too few results"));
    };
    let Some(row) = tables.first() else { return Ok(Err(!schemas.is_empty())) };
    if let Some(row) = readable.first()
        && optional(row, "readable")? != Some("t")
    {
        return Err(Error::new(ErrorKind::Permission, format!("table {table} may not be read by this user"))
            .with("table", table)
            .hint("grant SELECT on it, and USAGE on its schema"));
    }
    let (mut found, mut reads) = (Vec::with_capacity(columns.len()), Vec::with_capacity(columns.len()));
    for row in columns {
        let owned = |column| Ok::<_, Error>(optional(row, column)?.map(str::to_owned));
        let digits = optional(row, "digits")?.zip(optional(row, "scale")?);
        let type_text = types::type_text(text(row, "data_type")?, optional(row, "length")?, digits);
        let (mut column, read) = types::column(text(row, "name")?, &type_text);
        column.nullable = optional(row, "is_nullable")? != Some("NO");
        column.default = owned("default_text")?.filter(|default| !default.is_empty());
        column.comment = owned("comment")?.filter(|comment| !comment.is_empty());
        for row in sorted {
            column.indexed |= text(row, "name")? == column.name;
        }
        found.push(column);
        reads.push(read);
    }
    let mut schema = TableSchema::new(table.clone(), found);
    schema.comment = optional(row, "comment")?.filter(|comment| !comment.is_empty()).map(str::to_owned);
    add_keys(&mut schema, keys)?;
    Ok(Ok(Described { quoted: quoted(table)?, table: schema, reads, pages: 0, oid: None }))
}

/// A line for each column of each key, with the numbers of the key's columns in their order, as `{2,1}`.
fn add_keys(table: &mut TableSchema, rows: &[Row]) -> Result<()> {
    let mut unique: Vec<(String, Vec<(usize, String)>)> = Vec::new();
    let mut primary = Vec::new();
    for row in rows {
        let (numbers, number) = (text(row, "numbers")?, text(row, "number")?);
        let order = numbers.trim_matches(['{', '}']).split(',').position(|other| other == number);
        let column = (order.unwrap_or(usize::MAX), text(row, "name")?.to_owned());
        if text(row, "sort")? == "p" {
            primary.push(column);
            continue;
        }
        let key = text(row, "key")?;
        match unique.last_mut().filter(|(known, _)| known == key) {
            Some((_, columns)) => columns.push(column),
            None => unique.push((key.to_owned(), vec![column])),
        }
    }
    let names = |mut columns: Vec<(usize, String)>| {
        columns.sort();
        columns.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    table.primary_key = names(primary);
    table.unique_keys = unique.into_iter().map(|(_, columns)| names(columns)).collect();
    Ok(())
}
