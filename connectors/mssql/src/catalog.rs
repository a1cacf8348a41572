//! What the catalog says of schemas, tables and columns.

use transload_core::connector::{SchemaInfo, TableInfo, TableKind};
use transload_core::document::nearest;
use transload_core::schema::{ColumnSchema, TableRef, TableSchema, Warning};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::{quote_bracketed, quote_national};

use crate::channel::Answer;
use crate::config::MssqlConfig;
use crate::connect::Server;
use crate::error::number_of;
use crate::types::{CatalogType, ReadAs, read_as};

/// A table as its catalog describes it, with what reading it needs.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) table: TableSchema,
    /// One per column of `table`.
    pub(crate) reads: Vec<ReadAs>,
    /// [schema].[table]
    pub(crate) quoted: String,
    /// The server's number of the table.
    pub(crate) id: i64,
    /// The same as text, which tells it from another one of the same name.
    pub(crate) object: String,
    /// Bytes of the rows.
    pub(crate) bytes: u64,
    pub(crate) is_table: bool,
    /// Columns that an index begins with, with the index's name; the primary key's first.
    pub(crate) leading: Vec<(String, String)>,
    /// Whether there are collations of UTF-8.
    pub(crate) utf8: bool,
    pub(crate) replace: bool,
}

/// The table's name as SQL; without a schema the user's own decides.
pub(crate) fn quoted(table: &TableRef) -> Result<String> {
    let name = quote_bracketed(&table.name)?;
    match &table.schema {
        Some(schema) => Ok(format!("{}.{name}", quote_bracketed(schema)?)),
        None => Ok(name),
    }
}

/// What begins a snapshot, and tells what the user may not.
pub(crate) fn touch_sql(quoted: &str) -> String {
    format!("SELECT COUNT(*) AS touched FROM (SELECT TOP (1) 1 AS one FROM {quoted}) AS x")
}

/// The columns and tables of [`tables_sql`], with what it asks further.
fn tables_of(server: &Server, further: &str, wanted: &str) -> String {
    // A dedicated pool counts rows in each of its distributions, and its views of that need a privilege.
    let (rows, bytes) = if server.is_synapse() {
        ("CAST(NULL AS bigint)".to_owned(), "CAST(NULL AS bigint)".to_owned())
    } else {
        let of = "p.object_id = o.object_id AND p.index_id IN (0, 1)";
        (
            format!("(SELECT SUM(p.rows) FROM sys.partitions AS p WHERE {of})"),
            format!(
                "(SELECT SUM(a.total_pages) * 8192 FROM sys.partitions AS p \
                 JOIN sys.allocation_units AS a ON a.container_id = p.partition_id WHERE {of})"
            ),
        )
    };
    format!(
        "SELECT CAST(o.object_id AS int) AS id, s.name AS schema_name, o.name AS table_name, RTRIM(o.type) AS kind, \
         {rows} AS row_count, {bytes} AS bytes, CAST(e.value AS nvarchar(4000)) AS comment{further} \
         FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
         LEFT JOIN sys.extended_properties AS e ON e.class = 1 AND e.major_id = o.object_id AND e.minor_id = 0 \
         AND e.name = N'MS_Description' WHERE {wanted}"
    )
}

/// Which table, as a condition over `s` and `o`.
fn of_table(table: &TableRef) -> Result<String> {
    let schema = match &table.schema {
        Some(schema) => quote_national(schema)?,
        None => "SCHEMA_NAME()".to_owned(),
    };
    let name = quote_national(&table.name)?;
    Ok(format!("s.name = {schema} AND o.name = {name} AND o.type IN ('U', 'V')"))
}

/// The table, its columns, its indexes.
pub(crate) fn describe_sql(table: &TableRef, server: &Server) -> Result<String> {
    let wanted = of_table(table)?;
    let periods = match server.has_periods() {
        true => "CAST(c.is_hidden AS int) AS hidden, CAST(c.generated_always_type AS int) AS period",
        false => "0 AS hidden, 0 AS period",
    };
    Ok(format!(
        "{};\n\
         SELECT o.name AS table_name, c.name AS name, y.name AS type_name, b.name AS base_name, \
         CAST(c.max_length AS int) AS max_length, CAST(c.[precision] AS int) AS [precision], CAST(c.scale AS int) AS scale, \
         CAST(c.is_nullable AS int) AS nullable, CAST(c.is_identity AS int) AS identity_column, \
         CAST(c.is_computed AS int) AS computed, CAST(c.is_sparse AS int) AS sparse, \
         CAST(c.is_column_set AS int) AS column_set, {periods}, c.collation_name AS collation, \
         d.definition AS default_text, CAST(e.value AS nvarchar(4000)) AS comment \
         FROM sys.columns AS c JOIN sys.objects AS o ON o.object_id = c.object_id \
         JOIN sys.schemas AS s ON s.schema_id = o.schema_id JOIN sys.types AS y ON y.user_type_id = c.user_type_id \
         LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id \
         LEFT JOIN sys.default_constraints AS d ON d.object_id = c.default_object_id \
         LEFT JOIN sys.extended_properties AS e ON e.class = 1 AND e.major_id = c.object_id \
         AND e.minor_id = c.column_id AND e.name = N'MS_Description' WHERE {wanted} ORDER BY c.column_id;\n\
         SELECT o.name AS table_name, i.name AS index_name, CAST(i.index_id AS int) AS id, \
         CAST(i.is_primary_key AS int) AS is_primary, CAST(i.is_unique AS int) AS is_unique, c.name AS name \
         FROM sys.indexes AS i JOIN sys.objects AS o ON o.object_id = i.object_id \
         JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
         JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id \
         JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id WHERE {wanted} \
         AND i.type IN (1, 2) AND i.is_disabled = 0 AND i.has_filter = 0 AND k.key_ordinal > 0 \
         ORDER BY i.is_primary_key DESC, i.index_id, k.key_ordinal",
        tables_of(server, "", &wanted)
    ))
}

/// Names to choose the nearest from when a table is missing.
pub(crate) fn names_sql(table: &TableRef) -> Result<String> {
    let schema = match &table.schema {
        Some(schema) => quote_national(schema)?,
        None => "SCHEMA_NAME()".to_owned(),
    };
    Ok(format!(
        "SELECT o.name AS name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
         WHERE s.name = {schema} AND o.type IN ('U', 'V');\nSELECT s.name AS name FROM sys.schemas AS s"
    ))
}

/// What is told of a table that is not there, or may not be read. `names` are the answers of [`names_sql`].
pub(crate) fn missing(table: &TableRef, refused: Error, names: &[Answer]) -> Error {
    let [.., tables, schemas] = names else { return refused.with("table", table) };
    let is_there = |schema: &String| schemas.rows.iter().flatten().flatten().any(|known| known == schema);
    let (what, wanted, known) = match &table.schema {
        Some(schema) if !is_there(schema) => (format!("schema {schema} does not exist"), schema, schemas),
        _ => (format!("table {table} does not exist"), &table.name, tables),
    };
    let hint = match nearest(wanted, known.rows.iter().flatten().flatten().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "check the name and the grants, or list the tables with tables()".to_owned(),
    };
    Error::new(ErrorKind::NotFound, what).with("table", table).hint(hint).source_error(refused)
}

/// Whether an error says that a table is not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    number_of(error) == Some(208)
}

fn owned(answer: &Answer, row: &[Option<String>], column: &str) -> Result<Option<String>> {
    Ok(answer.cell(row, column)?.filter(|text| !text.is_empty()).map(str::to_owned))
}

/// Reads the answers of [`describe_sql`], which are the last ones.
pub(crate) fn described(
    table: &TableRef,
    answers: &[Answer],
    server: &Server,
    options: &MssqlConfig,
) -> Result<Described> {
    let [.., tables, columns, indexes] = answers else {
        return Err(Error::internal("the catalog gave too few results"));
    };
    // The catalog compares names as the database's collation does; where that has case, only one fits.
    let exact =
        tables.rows.iter().find(|row| tables.cell(row, "table_name").ok().flatten() == Some(&table.name));
    let row = exact.or(tables.rows.first()).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("table {table} is not in the catalog"))
            .with("table", table)
            .hint("only tables and views can be read")
    })?;
    let name = tables.text(row, "table_name")?;
    let of_table = |answer: &Answer| {
        let all = answer.rows.iter();
        let mine = all.filter(|row| answer.cell(row, "table_name").ok().flatten() == Some(name));
        mine.cloned().collect::<Vec<_>>()
    };
    let real = TableRef::new(tables.text(row, "schema_name")?, name);
    let (mut found, mut reads) = (Vec::new(), Vec::new());
    for row in of_table(columns) {
        let (column, read) = column(columns, &row, server, options)?;
        found.push(column);
        reads.push(read);
    }
    let id = tables.number(row, "id")?.unwrap_or(0);
    let mut described = Described {
        quoted: quoted(&real)?,
        table: TableSchema::new(real, found),
        reads,
        id,
        object: id.to_string(),
        bytes: tables.number(row, "bytes")?.unwrap_or(0),
        is_table: tables.text(row, "kind")? == "U",
        leading: Vec::new(),
        utf8: server.has_utf8(),
        replace: options.invalid_text == crate::config::InvalidText::Replace,
    };
    described.table.rows_estimate = tables.number(row, "row_count")?;
    described.table.comment = owned(tables, row, "comment")?;
    described.add_keys(indexes, &of_table(indexes))?;
    Ok(described)
}

fn column(
    answer: &Answer,
    row: &[Option<String>],
    server: &Server,
    options: &MssqlConfig,
) -> Result<(ColumnSchema, ReadAs)> {
    let catalog = CatalogType {
        name: answer.text(row, "type_name")?.to_ascii_lowercase(),
        base: answer.cell(row, "base_name")?.unwrap_or_default().to_ascii_lowercase(),
        length: answer.number(row, "max_length")?.unwrap_or(0),
        precision: answer.number(row, "precision")?.unwrap_or(0),
        scale: answer.number(row, "scale")?.unwrap_or(0),
    };
    let mut read = read_as(&catalog, options);
    let mut warn = |code: &str, text: &str| read.note.warnings.push(Warning::new(code, text));
    let computed = answer.is(row, "computed")?;
    if computed {
        warn("W_GENERATED", "the values are copied, the expression is not");
    }
    if answer.is(row, "hidden")? {
        warn("W_HIDDEN", "the column is hidden: SELECT * does not show it");
    }
    if answer.number(row, "period")? == Some(2) {
        warn("W_PERIOD", "9999-12-31 23:59:59.9999999 means that the row is current");
    }
    if answer.is(row, "sparse")? {
        warn("W_SPARSE", "a sparse column: nearly always NULL");
    }
    if answer.is(row, "column_set")? {
        warn("W_COLUMN_SET", "the sparse columns once more, as XML");
    }
    if matches!(read.wire, crate::types::Wire::Text | crate::types::Wire::Coded) && !server.has_utf8() {
        // Only collations of UTF-8 compare as the engine does.
        read.ordered = false;
    }
    let mut column = ColumnSchema::new(answer.text(row, "name")?, catalog.text(), read.wire.arrow());
    column.extension = read.extension;
    column.nullable = answer.cell(row, "nullable")? != Some("0");
    column.comment = owned(answer, row, "comment")?;
    column.default = owned(answer, row, "default_text")?;
    column.generated = computed || answer.number(row, "period")?.unwrap_or(0) > 0;
    column.note = read.note.clone();
    Ok((column, read))
}

impl Described {
    /// The index rows of the table, index by index.
    fn add_keys(&mut self, indexes: &Answer, rows: &[Vec<Option<String>>]) -> Result<()> {
        for index in rows.chunk_by(|a, b| indexes.cell(a, "id").ok() == indexes.cell(b, "id").ok()) {
            let Some(first) = index.first() else { continue };
            self.leads(indexes.text(first, "name")?, indexes.cell(first, "index_name")?.unwrap_or_default());
            let columns = index
                .iter()
                .map(|row| indexes.text(row, "name").map(str::to_owned))
                .collect::<Result<_>>()?;
            if indexes.is(first, "is_primary")? {
                self.table.primary_key = columns;
            } else if indexes.is(first, "is_unique")? {
                self.table.unique_keys.push(columns);
            }
        }
        Ok(())
    }

    /// An index begins with a column. It serves a cursor unless that is text, which cursors compare by bytes.
    fn leads(&mut self, name: &str, index: &str) {
        self.leading.push((name.to_owned(), index.to_owned()));
        for (column, read) in self.table.columns.iter_mut().zip(&self.reads) {
            if column.name == name && read.ordered && column.data_type != arrow_schema::DataType::Utf8 {
                column.indexed = true;
            }
        }
    }
}

pub(crate) const SCHEMAS: &str = "SELECT s.name AS name, CAST(e.value AS nvarchar(4000)) AS comment \
    FROM sys.schemas AS s LEFT JOIN sys.extended_properties AS e ON e.class = 3 AND e.major_id = s.schema_id \
    AND e.minor_id = 0 AND e.name = N'MS_Description' \
    WHERE s.schema_id < 16384 AND s.name NOT IN (N'sys', N'INFORMATION_SCHEMA', N'guest')";

pub(crate) fn schema_info(answer: &Answer, row: &[Option<String>]) -> Result<SchemaInfo> {
    Ok(SchemaInfo { name: answer.text(row, "name")?.to_owned(), comment: owned(answer, row, "comment")? })
}

/// Two statements: whether the schema exists, and the tables; `None` lists every schema.
pub(crate) fn tables_sql(schema: Option<&str>, server: &Server) -> Result<String> {
    let readable = ", CAST(HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), N'OBJECT', N'SELECT') AS int) \
                    AS readable";
    let (exists, wanted) = match schema {
        Some(schema) => {
            let name = quote_national(schema)?;
            (
                format!("SELECT s.name AS name FROM sys.schemas AS s WHERE s.name = {name}"),
                format!(" AND s.name = {name}"),
            )
        }
        None => ("SELECT N'all' AS name".to_owned(), String::new()),
    };
    let wanted = format!("o.type IN ('U', 'V') AND o.is_ms_shipped = 0{wanted}");
    Ok(format!("{exists};\n{}", tables_of(server, readable, &wanted)))
}

pub(crate) fn table_info(answer: &Answer, row: &[Option<String>]) -> Result<TableInfo> {
    let kind = if answer.text(row, "kind")? == "V" { TableKind::View } else { TableKind::Table };
    let table = TableRef::new(answer.text(row, "schema_name")?, answer.text(row, "table_name")?);
    Ok(TableInfo {
        readable: answer.is(row, "readable")?,
        rows_estimate: answer.number(row, "row_count")?,
        bytes: answer.number(row, "bytes")?,
        comment: owned(answer, row, "comment")?,
        ..TableInfo::new(table, kind)
    })
}
