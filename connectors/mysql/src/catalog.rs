//! What the catalog says of schemas, tables and columns.

use transload_core::connector::{SchemaInfo, TableInfo, TableKind};
use transload_core::document::nearest;
use transload_core::schema::{ColumnSchema, TableRef, TableSchema, Warning};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::quote_backquoted;

use crate::channel::Answer;
use crate::config::ZeroDates;
use crate::connect::text_literal;
use crate::error::code_of;
use crate::protocol::Flavour;
use crate::types::{CatalogType, ReadAs, numbers, read_as};

/// A table as its catalog describes it, with what reading it needs.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) table: TableSchema,
    /// One per column of `table`.
    pub(crate) reads: Vec<ReadAs>,
    /// `schema`.`table`
    pub(crate) quoted: String,
    /// Bytes of the rows, as the server estimates them.
    pub(crate) bytes: u64,
    /// Whether its engine has transactions. Of a view nobody knows.
    pub(crate) transactional: bool,
    /// Columns that a complete index begins with, with the index's name; the primary key's first.
    pub(crate) leading: Vec<(String, String)>,
}

/// The table's name as SQL; without a schema the connection's database decides.
pub(crate) fn quoted(table: &TableRef) -> Result<String> {
    let name = quote_backquoted(&table.name)?;
    match &table.schema {
        Some(schema) => Ok(format!("{}.{name}", quote_backquoted(schema)?)),
        None => Ok(name),
    }
}

fn schema_literal(schema: Option<&String>) -> String {
    schema.map_or_else(|| "DATABASE()".to_owned(), |schema| text_literal(schema))
}

/// The table, its columns, its indexes, its checks, the SRIDs of its columns. The first statement reads nothing: it
/// takes the lock that keeps the table from being altered while the session's transaction lasts, and tells what the
/// user may not.
pub(crate) fn describe_sql(table: &TableRef, flavour: Flavour) -> Result<String> {
    let (name, schema) = (text_literal(&table.name), schema_literal(table.schema.as_ref()));
    let of = |schema_column: &str, table_column: &str| {
        format!("{schema_column} = {schema} AND {table_column} = {name}")
    };
    let of_table = of("table_schema", "table_name");
    // MySQL has no checks by table name and needs none: its JSON is a type.
    let (checks, srids) = match flavour {
        Flavour::Mariadb => (
            format!(
                "SELECT table_name AS table_name, constraint_name AS name, check_clause AS clause \
                 FROM information_schema.check_constraints WHERE {}",
                of("constraint_schema", "table_name")
            ),
            format!(
                // Asked by its other columns, `g_table_...`, the server opens every table of every database.
                "SELECT f_table_name AS table_name, g_geometry_column AS name, srid AS srid \
                 FROM information_schema.geometry_columns WHERE {}",
                of("f_table_schema", "f_table_name")
            ),
        ),
        Flavour::Mysql => {
            ("SELECT 1 FROM DUAL WHERE FALSE".to_owned(), "SELECT 1 FROM DUAL WHERE FALSE".to_owned())
        }
    };
    let further = match flavour {
        // 5.7 has no such column; then this fails, and the caller asks without it.
        Flavour::Mysql => ", srs_id AS srid",
        Flavour::Mariadb => "",
    };
    Ok(format!(
        "SELECT 1 FROM {} LIMIT 0;
         SELECT t.table_schema AS table_schema, t.table_name AS table_name, t.table_type AS kind, t.engine AS engine, \
            t.table_rows AS row_count, t.data_length AS bytes, t.table_comment AS comment, e.transactions AS transactions \
         FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine \
         WHERE t.table_schema = {schema} AND t.table_name = {name};
         SELECT table_name AS table_name, column_name AS name, column_type AS type_text, data_type AS data_type, \
            is_nullable AS nullable, column_default AS default_text, extra AS extra, column_comment AS comment, \
            generation_expression AS expression, datetime_precision AS fraction{further} \
         FROM information_schema.columns WHERE {of_table} ORDER BY ordinal_position;
         SELECT table_name AS table_name, index_name AS index_name, non_unique AS non_unique, seq_in_index AS position, \
            column_name AS name, sub_part AS sub_part, index_type AS index_type \
         FROM information_schema.statistics WHERE {of_table} ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index;
         {checks};
         {srids}",
        quoted(table)?
    ))
}

/// Names to choose the nearest from when a table is missing.
pub(crate) fn names_sql(table: &TableRef) -> String {
    format!(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = {} LIMIT 10000; \
         SELECT schema_name AS name FROM information_schema.schemata",
        schema_literal(table.schema.as_ref())
    )
}

/// What is told of a table that is not there, or may not be read. `names` are the answers of [`names_sql`].
pub(crate) fn missing(table: &TableRef, refused: Error, names: &[Answer]) -> Error {
    if !matches!(code_of(&refused), Some(1146 | 1049)) {
        return refused.with("table", table);
    }
    let [.., tables, schemas] = names else { return refused.with("table", table) };
    let is_there = |schema: &String| schemas.rows.iter().flatten().flatten().any(|known| known == schema);
    let (what, wanted, known) = match &table.schema {
        Some(schema) if !is_there(schema) => (format!("schema {schema} does not exist"), schema, schemas),
        _ => (format!("table {table} does not exist"), &table.name, tables),
    };
    let hint = match nearest(wanted, known.rows.iter().flatten().flatten().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "check the name, or list the tables with tables()".to_owned(),
    };
    Error::new(ErrorKind::NotFound, what).with("table", table).hint(hint).source_error(refused)
}

fn owned(answer: &Answer, row: &[Option<String>], column: &str) -> Result<Option<String>> {
    Ok(answer.cell(row, column)?.filter(|text| !text.is_empty()).map(str::to_owned))
}

/// Reads the answers of [`describe_sql`].
pub(crate) fn described(
    table: &TableRef,
    answers: &[Answer],
    flavour: Flavour,
    zero_dates: ZeroDates,
) -> Result<Described> {
    let [.., tables, columns, indexes, checks, srids] = answers else {
        return Err(Error::internal("the catalog gave too few results"));
    };
    // The catalog compares names without case, and where the file system has case, two tables may differ in it only.
    let exact =
        tables.rows.iter().find(|row| tables.cell(row, "table_name").ok().flatten() == Some(&table.name));
    let row = exact.or(tables.rows.first()).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("table {table} is not in the catalog"))
            .with("table", table)
            .hint("only tables and views can be read")
    })?;
    let (schema, name) = (tables.text(row, "table_schema")?, tables.text(row, "table_name")?);
    let of_table = |answer: &Answer| {
        let all = answer.rows.iter();
        let mine = all.filter(|row| answer.cell(row, "table_name").ok().flatten() == Some(name));
        mine.cloned().collect::<Vec<_>>()
    };
    let real = TableRef::new(schema, name);
    let mut found = Vec::new();
    let mut reads = Vec::new();
    for row in of_table(columns) {
        let column = Column { answer: columns, row: &row, checks, srids, table: name, flavour };
        let (column, read) = column.read(zero_dates)?;
        found.push(column);
        reads.push(read);
    }
    let mut described = Described {
        quoted: quoted(&real)?,
        table: TableSchema::new(real, found),
        reads,
        bytes: tables.number(row, "bytes")?.unwrap_or(0),
        transactional: tables.cell(row, "transactions")? == Some("YES"),
        leading: Vec::new(),
    };
    described.table.rows_estimate = tables.number(row, "row_count")?;
    let is_view = tables.text(row, "kind")?.ends_with("VIEW");
    described.table.comment = owned(tables, row, "comment")?.filter(|_| !is_view);
    described.add_keys(indexes, &of_table(indexes))?;
    Ok(described)
}

/// A row of the catalog's columns, and what else is known of it.
struct Column<'a> {
    answer: &'a Answer,
    row: &'a [Option<String>],
    checks: &'a Answer,
    srids: &'a Answer,
    table: &'a str,
    flavour: Flavour,
}

impl Column<'_> {
    fn read(&self, zero_dates: ZeroDates) -> Result<(ColumnSchema, ReadAs)> {
        let (answer, row) = (self.answer, self.row);
        let (name, type_text) = (answer.text(row, "name")?, answer.text(row, "type_text")?);
        let (precision, scale) = numbers(type_text);
        let catalog = CatalogType {
            name: answer.text(row, "data_type")?.to_ascii_lowercase(),
            text: type_text.to_ascii_lowercase(),
            precision: precision.unwrap_or(0),
            scale: scale.unwrap_or(0),
            fraction: answer.number(row, "fraction")?.unwrap_or(0),
            json: self.is_json(name)?,
            srid: self.srid(name)?,
        };
        let mut read = read_as(&catalog, zero_dates);
        let extra = answer.cell(row, "extra")?.unwrap_or_default().to_ascii_uppercase();
        let expression = owned(answer, row, "expression")?;
        let mut warn = |code: &str, text: &str| read.note.warnings.push(Warning::new(code, text));
        if expression.is_some() {
            warn("W_GENERATED", "the values are copied, the expression is not");
        }
        if extra.contains("INVISIBLE") {
            warn("W_HIDDEN", "the column is invisible: SELECT * does not show it");
        }
        let mut column = ColumnSchema::new(name, type_text, read.wire.arrow());
        column.extension = read.extension;
        // A date that is NULL by policy may be in a column that has no NULL.
        let hides =
            zero_dates == ZeroDates::Null && read.note.warnings.iter().any(|w| w.code == "W_ZERO_DATE");
        column.nullable = answer.cell(row, "nullable")? != Some("NO") || hides;
        column.comment = owned(answer, row, "comment")?;
        column.default = owned(answer, row, "default_text")?
            .filter(|text| self.flavour == Flavour::Mysql || text != "NULL");
        column.generated = expression.is_some();
        column.note = read.note.clone();
        Ok((column, read))
    }

    /// JSON of MariaDB is LONGTEXT with a check, which has the column's name.
    fn is_json(&self, column: &str) -> Result<bool> {
        let (checks, valid) = (self.checks, format!("json_valid({})", quote_backquoted(column)?));
        for row in &checks.rows {
            if checks.text(row, "table_name")? == self.table && checks.text(row, "name")? == column {
                return Ok(checks.text(row, "clause")?.trim_start_matches('(').starts_with(&valid));
            }
        }
        Ok(false)
    }

    fn srid(&self, column: &str) -> Result<Option<u32>> {
        if self.answer.columns.iter().any(|name| name == "srid") {
            return self.answer.number(self.row, "srid");
        }
        let srids = self.srids;
        for row in &srids.rows {
            if srids.text(row, "table_name")? == self.table && srids.text(row, "name")? == column {
                return srids.number(row, "srid");
            }
        }
        Ok(None)
    }
}

impl Described {
    /// The index rows of the table, index by index.
    fn add_keys(&mut self, indexes: &Answer, rows: &[Vec<Option<String>>]) -> Result<()> {
        for index in
            rows.chunk_by(|a, b| indexes.cell(a, "index_name").ok() == indexes.cell(b, "index_name").ok())
        {
            let Some(first) = index.first() else { continue };
            let name = indexes.text(first, "index_name")?;
            // Parts of a column, and expressions, which have no name.
            let whole = |row: &Vec<Option<String>>| {
                Ok::<_, Error>(
                    indexes.cell(row, "sub_part")?.is_none() && indexes.cell(row, "name")?.is_some(),
                )
            };
            if indexes.cell(first, "index_type")? == Some("BTREE") && whole(first)? {
                self.leads(indexes.text(first, "name")?, name);
            }
            let mut columns = Vec::new();
            for row in index {
                if whole(row)? {
                    columns.push(indexes.text(row, "name")?.to_owned());
                }
            }
            if indexes.cell(first, "non_unique")? != Some("0") || columns.len() != index.len() {
                continue;
            }
            if name == "PRIMARY" {
                self.table.primary_key = columns;
            } else {
                self.table.unique_keys.push(columns);
            }
        }
        Ok(())
    }

    /// A complete index begins with a column. It serves a cursor unless that is text, which cursors compare by bytes.
    fn leads(&mut self, name: &str, index: &str) {
        self.leading.push((name.to_owned(), index.to_owned()));
        for (column, read) in self.table.columns.iter_mut().zip(&self.reads) {
            if column.name == name && read.ordered && column.data_type != arrow_schema::DataType::Utf8 {
                column.indexed = true;
            }
        }
    }
}

const OWN: &str = "('information_schema', 'mysql', 'performance_schema', 'sys')";

pub(crate) fn schemas_sql(flavour: Flavour) -> String {
    let comment = if flavour == Flavour::Mariadb { "schema_comment" } else { "''" };
    format!(
        "SELECT schema_name AS name, {comment} AS comment FROM information_schema.schemata \
         WHERE schema_name NOT IN {OWN} ORDER BY BINARY schema_name"
    )
}

pub(crate) fn schema_info(answer: &Answer, row: &[Option<String>]) -> Result<SchemaInfo> {
    Ok(SchemaInfo { name: answer.text(row, "name")?.to_owned(), comment: owned(answer, row, "comment")? })
}

/// Two statements: whether the schema exists, and the tables; `None` lists every schema but the server's.
///
/// Who may read a table follows from the user's own privileges: global ones, of the schema (whose name may hold
/// wildcards), of the table, of a column. Those of roles are not looked at.
pub(crate) fn tables_sql(schema: Option<&str>) -> String {
    let (exists, wanted) = match schema {
        Some(schema) => {
            let literal = text_literal(schema);
            (
                format!("SELECT 1 FROM information_schema.schemata WHERE schema_name = {literal}"),
                format!("t.table_schema = {literal}"),
            )
        }
        None => ("SELECT 1".to_owned(), format!("t.table_schema NOT IN {OWN}")),
    };
    let me = "CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')";
    let granted = |from: &str, condition: &str| {
        format!(
            "EXISTS (SELECT 1 FROM information_schema.{from} p WHERE p.privilege_type = 'SELECT' AND p.grantee = {me}{condition})"
        )
    };
    let of_table = " AND p.table_schema = t.table_schema AND p.table_name = t.table_name";
    let readable = [
        granted("user_privileges", ""),
        granted("schema_privileges", " AND t.table_schema LIKE p.table_schema"),
        granted("table_privileges", of_table),
        granted("column_privileges", of_table),
    ]
    .join(" OR ");
    format!(
        "{exists}; SELECT t.table_schema AS table_schema, t.table_name AS table_name, t.table_type AS kind, t.engine AS engine, \
            t.table_rows AS row_count, t.data_length AS bytes, t.table_comment AS comment, t.create_options AS options, \
            DATE_FORMAT(t.update_time, '%Y-%m-%dT%H:%i:%sZ') AS changed, ({readable}) AS readable \
         FROM information_schema.tables t \
         WHERE {wanted} AND t.table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') \
         ORDER BY BINARY t.table_schema, BINARY t.table_name"
    )
}

pub(crate) fn table_info(answer: &Answer, row: &[Option<String>]) -> Result<TableInfo> {
    let options = answer.cell(row, "options")?.unwrap_or_default();
    let engine = answer.cell(row, "engine")?.unwrap_or_default().to_ascii_uppercase();
    let kind = match answer.text(row, "kind")? {
        "VIEW" => TableKind::View,
        _ if matches!(engine.as_str(), "FEDERATED" | "CONNECT" | "SPIDER" | "S3") => TableKind::Foreign,
        _ if options.contains("partitioned") => TableKind::Partitioned,
        _ => TableKind::Table,
    };
    let table = TableRef::new(answer.text(row, "table_schema")?, answer.text(row, "table_name")?);
    Ok(TableInfo {
        readable: answer.cell(row, "readable")? == Some("1"),
        rows_estimate: answer.number(row, "row_count")?,
        bytes: answer.number(row, "bytes")?,
        last_change: owned(answer, row, "changed")?,
        comment: owned(answer, row, "comment")?.filter(|_| kind != TableKind::View),
        ..TableInfo::new(table, kind)
    })
}
