//! What the catalog says of schemas, tables and columns.

use transload_core::connector::{SchemaInfo, TableInfo, TableKind};
use transload_core::document::nearest;
use transload_core::schema::{ColumnSchema, TableRef, TableSchema, Warning};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::{quote_identifier, quote_literal};

use crate::catalog_types::{Types, types_sql};
use crate::connect::{optional, text};
use crate::types::{ReadAs, read_as};

type Row = tokio_postgres::SimpleQueryRow;

/// A table as its catalog describes it, with what reading it needs.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) table: TableSchema,
    /// One per column of `table`.
    pub(crate) reads: Vec<ReadAs>,
    /// Pages on disk where rows can be found by ctid, else 0.
    pub(crate) pages: u64,
    /// The table's oid, where it stays while the table lives.
    pub(crate) oid: Option<String>,
    /// `"schema"."table"`
    pub(crate) quoted: String,
}

/// The table's name as SQL; without a schema the server's search path decides.
pub(crate) fn quoted(table: &TableRef) -> Result<String> {
    let name = quote_identifier(&table.name)?;
    match &table.schema {
        Some(schema) => Ok(format!("{}.{name}", quote_identifier(schema)?)),
        None => Ok(name),
    }
}

/// What keeps a table as it is while a session describes and reads it: a lock that only readers and writers of rows
/// get past. Without it, a column could change its type between the description and the rows, and a table that is
/// rewritten or emptied would look empty to an older snapshot.
///
/// The first way locks before the snapshot is taken. It is refused for materialised views, foreign tables, and users who
/// may read some columns only; the second way locks after it (and runs nothing), so the description looks whether the
/// table was rewritten in between. The last way locks nothing, and is for saying what is wrong.
pub(crate) fn lock_sql(table: &TableRef) -> Result<[String; 3]> {
    let name = quoted(table)?;
    Ok([
        format!("LOCK TABLE {name} IN ACCESS SHARE MODE; "),
        format!("EXPLAIN SELECT FROM {name}; "),
        String::new(),
    ])
}

/// Four statements: the table, its columns, its keys and indexes, the types of its columns.
///
/// Pages count only where a range of them can be read by itself: heap tables, and servers that scan ranges of
/// tuple ids (14 and later); elsewhere each split would scan the whole table. A range holds for each partition and
/// each child by itself, so the largest of them decides. If one of them is something else (a foreign table knows
/// neither our snapshot nor pages), there are no ranges. A text is compared by its bytes when
/// it is a cursor, which only an index in that order serves.
pub(crate) fn describe_sql(table: &TableRef) -> Result<String> {
    let name = quote_literal(&quoted(table)?)?;
    let schema = quote_literal(table.schema.as_deref().unwrap_or_default())?;
    Ok(format!(
        "SELECT c.oid, n.nspname, c.relname,
            CASE WHEN c.relkind = 'p' THEN (
                  SELECT sum(l.reltuples) FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid
                  WHERE l.relkind = 'r' AND l.reltuples >= 0)
               WHEN {COUNTED} THEN c.reltuples END::pg_catalog.int8 AS rows,
            CASE WHEN current_setting('server_version_num')::pg_catalog.int4 >= 140000 THEN (
               WITH RECURSIVE tree(oid) AS (SELECT c.oid
                  UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)
               SELECT CASE WHEN bool_and(m.relkind = 'p' OR m.relkind IN ('r', 'm') AND m.relam = 2)
                  THEN max(pg_relation_size(m.oid)) / current_setting('block_size')::pg_catalog.int4 END
               FROM tree JOIN pg_class m USING (oid)) END AS pages,
            obj_description(c.oid, 'pg_class') AS comment,
            has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT') AS readable,
            {schema} = '' OR EXISTS (SELECT FROM pg_namespace WHERE nspname = {schema}) AS schema_exists,
            c.relfilenode <> 0 AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) AS rewritten
         FROM (SELECT to_regclass({name}) AS oid) AS wanted
            LEFT JOIN pg_class c ON c.oid = wanted.oid AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
            LEFT JOIN pg_namespace n ON n.oid = c.relnamespace;
         SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type_text, a.attnotnull AS required,
            col_description(a.attrelid, a.attnum) AS comment, pg_get_expr(d.adbin, d.adrelid) AS default_text,
            a.attgenerated <> '' AS generated, a.atttypid AS type, a.atttypmod AS modifier,
            current_setting('server_encoding') = 'SQL_ASCII' AS any_bytes
         FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = to_regclass({name}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
         SELECT i.indisprimary AS is_primary, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AS is_unique,
            m.amname = 'btree' AND i.indpred IS NULL AND i.indcollation[0] IN (0, 950) AS is_ordered, k.position, a.attname AS name, i.indexrelid::pg_catalog.text AS index
         FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
            CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, position)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         WHERE i.indrelid = to_regclass({name}) AND i.indisvalid ORDER BY i.indisprimary DESC, i.indexrelid, k.position;
         {}",
        types_sql(&name)
    ))
}

/// Names to choose the nearest from when a table is missing: of its schema's tables, or of the schemas.
pub(crate) fn names_sql(table: &TableRef) -> Result<String> {
    let schema = match &table.schema {
        Some(schema) => quote_literal(schema)?,
        None => "ANY(current_schemas(false))".to_owned(),
    };
    Ok(format!(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = {schema} AND c.relkind IN ('r', 'v', 'm', 'p', 'f') LIMIT 10000;
         SELECT nspname AS name FROM pg_namespace WHERE nspname !~ '^pg_'"
    ))
}

fn truth(row: &Row, column: &str) -> Result<bool> {
    Ok(optional(row, column)? == Some("t"))
}

fn owned(row: &Row, column: &str) -> Result<Option<String>> {
    Ok(optional(row, column)?.map(str::to_owned))
}

/// Reads the answers of [`describe_sql`].
pub(crate) fn described(table: &TableRef, results: &[Vec<Row>]) -> Result<Result<Described, Missing>> {
    let [.., tables, columns, keys, types] = results else {
        return Err(Error::internal("the catalog gave too few results"));
    };
    let row = tables.first().ok_or_else(|| Error::internal("the catalog gave no answer"))?;
    let (Some(schema), Some(name)) = (owned(row, "nspname")?, owned(row, "relname")?) else {
        return Ok(Err(Missing { schema_exists: truth(row, "schema_exists")? }));
    };
    if !truth(row, "readable")? {
        return Err(Error::new(ErrorKind::Permission, format!("table {table} may not be read by this user"))
            .with("table", table)
            .hint("grant SELECT on it"));
    }
    if truth(row, "rewritten")? {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("table {table} was rewritten while it was looked at"),
        )
        .retryable(true)
        .with("table", table)
        .hint("run again"));
    }
    let mut described = Vec::with_capacity(columns.len());
    let mut reads = Vec::with_capacity(columns.len());
    let types = Types::read(types)?;
    for row in columns {
        let (column, read) = column(row, &types)?;
        described.push(column);
        reads.push(read);
    }
    let real = TableRef::new(schema, name);
    let mut found = TableSchema::new(real.clone(), described);
    found.comment = owned(row, "comment")?;
    found.rows_estimate = optional(row, "rows")?.and_then(|rows| rows.parse().ok());
    add_keys(&mut found, keys)?;
    let pages = optional(row, "pages")?.and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let oid = owned(row, "oid")?;
    Ok(Ok(Described { quoted: quoted(&real)?, table: found, reads, pages, oid }))
}

/// A table that is not there.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) schema_exists: bool,
}

impl Missing {
    /// The error, with the nearest name that there is. `names` are the answers of [`names_sql`].
    pub(crate) fn error(&self, table: &TableRef, names: &[Vec<Row>]) -> Error {
        let (what, wanted, known, hint) = match (&table.schema, self.schema_exists) {
            (Some(schema), false) => (
                format!("schema {schema} does not exist"),
                schema,
                names.get(1),
                "list the schemas with schemas()",
            ),
            _ => (
                format!("table {table} does not exist"),
                &table.name,
                names.first(),
                "check the name, or list the tables with tables()",
            ),
        };
        let known = known.into_iter().flatten().filter_map(|row| text(row, "name").ok());
        let hint = match nearest(wanted, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => hint.to_owned(),
        };
        Error::new(ErrorKind::NotFound, what).with("table", table).hint(hint)
    }
}

fn column(row: &Row, types: &Types) -> Result<(ColumnSchema, ReadAs)> {
    let modifier = text(row, "modifier")?.parse().unwrap_or(-1);
    let (catalog, domain) = types.resolve(text(row, "type")?, modifier)?;
    let mut read = read_as(&catalog);
    if truth(row, "any_bytes")? {
        read = read.unchecked(&catalog);
    }
    let mut warn = |code: &str, text: &str| read.note.warnings.push(Warning::new(code, text));
    let generated = truth(row, "generated")?;
    if domain {
        warn("W_CONSTRAINT", "the conditions of the domain are not enforced at the destination");
    }
    if generated {
        warn("W_GENERATED", "the values are copied, the expression is not");
    }
    let mut column = ColumnSchema::new(text(row, "name")?, text(row, "type_text")?, read.wire.arrow());
    column.extension = read.extension;
    column.nullable = !truth(row, "required")?;
    column.comment = owned(row, "comment")?;
    column.default = owned(row, "default_text")?;
    column.generated = generated;
    column.note = read.note.clone();
    Ok((column, read))
}

fn add_keys(table: &mut TableSchema, rows: &[Row]) -> Result<()> {
    let mut unique: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let name = text(row, "name")?;
        if text(row, "position")? == "1" && truth(row, "is_ordered")? {
            table
                .columns
                .iter_mut()
                .filter(|column| column.name == name)
                .for_each(|column| column.indexed = true);
        }
        if truth(row, "is_primary")? {
            table.primary_key.push(name.to_owned());
        } else if truth(row, "is_unique")? {
            let index = text(row, "index")?;
            match unique.last_mut().filter(|(known, _)| known == index) {
                Some((_, columns)) => columns.push(name.to_owned()),
                None => unique.push((index.to_owned(), vec![name.to_owned()])),
            }
        }
    }
    table.unique_keys = unique.into_iter().map(|(_, columns)| columns).collect();
    Ok(())
}

pub(crate) const SCHEMAS_SQL: &str = "SELECT nspname AS name, obj_description(oid, 'pg_namespace') AS comment
    FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname";

pub(crate) fn schema_info(row: &Row) -> Result<SchemaInfo> {
    Ok(SchemaInfo { name: text(row, "name")?.to_owned(), comment: owned(row, "comment")? })
}

/// One statement; `None` lists every schema but the system's.
///
/// Rows and pages are those of the last ANALYZE or VACUUM. Asking for the true size would open each file, and
/// wait for whoever rewrites a table. A partitioned table is the sum of its partitions, because nothing but a
/// manual ANALYZE counts it. Compiling the statement (`jit`) takes ten times longer than running it.
pub(crate) fn tables_sql(schema: Option<&str>) -> Result<String> {
    let wanted = match schema {
        Some(schema) => format!("n.nspname = {}", quote_literal(schema)?),
        None => "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'".to_owned(),
    };
    let (analyzed, vacuumed) = (last("analyze"), last("vacuum"));
    Ok(format!(
        "SET LOCAL jit = off;
         WITH leaves AS (
            SELECT root.oid, sum(l.reltuples) AS rows, sum(l.relpages + coalesce(t.relpages, 0)) AS pages
            FROM pg_class root CROSS JOIN LATERAL pg_partition_tree(root.oid) AS p
               JOIN pg_class l ON l.oid = p.relid LEFT JOIN pg_class t ON t.oid = l.reltoastrelid
            WHERE root.relkind = 'p' AND NOT root.relispartition AND l.relkind = 'r' AND l.reltuples >= 0
            GROUP BY root.oid)
         SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind,
            CASE WHEN c.relkind = 'p' THEN leaves.rows WHEN {COUNTED} THEN c.reltuples END::bigint AS rows,
            CASE WHEN c.relkind = 'p' THEN leaves.pages WHEN {COUNTED} THEN c.relpages + coalesce(t.relpages, 0) END
               * current_setting('block_size')::bigint AS bytes,
            has_schema_privilege(n.oid, 'USAGE')
               AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')) AS readable,
            {analyzed} AS analyzed, {vacuumed} AS vacuumed, d.description AS comment
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
            LEFT JOIN leaves ON leaves.oid = c.oid
            LEFT JOIN pg_description d
               ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
         WHERE {wanted} AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    ))
}

/// Whether rows and pages of `c` were ever counted. Before 14, 0 stood for both empty and never counted.
const COUNTED: &str = "c.relkind IN ('r', 'm') AND c.reltuples >= 0
               AND (c.relpages > 0 OR current_setting('server_version_num')::int >= 140000)";

/// When `c` was last analysed or vacuumed, by hand or not.
fn last(what: &str) -> String {
    format!(
        "to_char(greatest(pg_stat_get_last_{what}_time(c.oid), pg_stat_get_last_auto{what}_time(c.oid))
               AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    )
}

pub(crate) fn table_info(row: &Row) -> Result<TableInfo> {
    let number =
        |column| Ok::<_, Error>(optional(row, column)?.and_then(|number| number.parse::<u64>().ok()));
    let kind = match text(row, "kind")? {
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "p" => TableKind::Partitioned,
        "f" => TableKind::Foreign,
        _ => TableKind::Table,
    };
    Ok(TableInfo {
        readable: truth(row, "readable")?,
        rows_estimate: number("rows")?,
        bytes: number("bytes")?,
        last_analyzed: owned(row, "analyzed")?,
        last_vacuumed: owned(row, "vacuumed")?,
        comment: owned(row, "comment")?,
        ..TableInfo::new(TableRef::new(text(row, "schema")?, text(row, "name")?), kind)
    })
}
