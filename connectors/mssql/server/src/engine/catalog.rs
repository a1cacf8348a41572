//! The registry of a database, and the catalog views over it.

use std::sync::atomic::Ordering;

use super::storage::Database;
use crate::types::collation::Collation;
use crate::types::{Kind, SqlType};

/// The registry. A table's rows are in the SQLite table `t{object_id}`, whose columns are `c{column_id}`, so that names
/// may be whatever a client makes up.
pub(super) const TABLES: &str = "
CREATE TABLE \"~schemas\" (schema_id INTEGER PRIMARY KEY, name COLLATE TSQL_CI UNIQUE);
INSERT INTO \"~schemas\" VALUES (1, 'dbo'), (2, 'guest'), (3, 'INFORMATION_SCHEMA'), (4, 'sys');
CREATE TABLE \"~objects\" (object_id INTEGER PRIMARY KEY AUTOINCREMENT, schema_id, name COLLATE TSQL_CI, type,
    parent_id DEFAULT 0, created, definition, row_count DEFAULT 0, row_width DEFAULT 0, temporal DEFAULT 0,
    UNIQUE (schema_id, name));
INSERT INTO \"~objects\" (object_id, schema_id, name, type, created) VALUES (245575913, 4, '~first', 'S', 0);
CREATE TABLE \"~columns\" (object_id, column_id, name COLLATE TSQL_CI, code, system_type_id, user_type_id, max_length,
    precision, scale, collation_name, nullable, identity_seed, identity_step, default_id DEFAULT 0, default_text,
    computed, persisted DEFAULT 0, sparse DEFAULT 0, column_set DEFAULT 0, hidden DEFAULT 0, period DEFAULT 0,
    PRIMARY KEY (object_id, column_id));
CREATE TABLE \"~indexes\" (object_id, index_id, name COLLATE TSQL_CI, type, is_unique, is_primary, is_constraint, filter,
    PRIMARY KEY (object_id, index_id));
CREATE TABLE \"~index_columns\" (object_id, index_id, position, column_id, key_ordinal, descending, included);
CREATE TABLE \"~properties\" (class, major_id, minor_id, name COLLATE TSQL_CI, value,
    PRIMARY KEY (class, major_id, minor_id, name));
CREATE TABLE \"~denied\" (user COLLATE TSQL_CI, object_id, UNIQUE (user, object_id));
";

/// A view of the catalog: its columns with their types, and a query whose columns have these names.
pub(super) struct View {
    pub(super) columns: Vec<(String, SqlType)>,
    pub(super) sql: String,
}

/// What a view is made of: its name, its columns and its query, in which `{db}` is the database's name.
type Definition = (&'static str, &'static str, &'static str);

const OBJECT_COLUMNS: &str = "name sysname, object_id int, principal_id int, schema_id int, parent_object_id int, \
    type char(2), type_desc nvarchar(60), create_date datetime, modify_date datetime, is_ms_shipped bit, \
    is_published bit, is_schema_published bit";

const OBJECTS: &str = "SELECT name, object_id, NULL AS principal_id, schema_id, parent_id AS parent_object_id, \
    CASE length(type) WHEN 1 THEN type || ' ' ELSE type END AS type, \
    CASE type WHEN 'U' THEN 'USER_TABLE' WHEN 'V' THEN 'VIEW' WHEN 'PK' THEN 'PRIMARY_KEY_CONSTRAINT' \
    WHEN 'UQ' THEN 'UNIQUE_CONSTRAINT' ELSE 'DEFAULT_CONSTRAINT' END AS type_desc, created AS create_date, \
    created AS modify_date, 0 AS is_ms_shipped, 0 AS is_published, 0 AS is_schema_published, definition, temporal, \
    row_count, row_width FROM \"~objects\" WHERE type <> 'S'";

const COLUMN_COLUMNS: &str = "object_id int, name sysname, column_id int, system_type_id tinyint, user_type_id int, \
    max_length smallint, precision tinyint, scale tinyint, collation_name sysname, is_nullable bit, is_ansi_padded bit, \
    is_rowguidcol bit, is_identity bit, is_computed bit, is_filestream bit, is_replicated bit, is_xml_document bit, \
    default_object_id int, is_sparse bit, is_column_set bit, generated_always_type tinyint, \
    generated_always_type_desc nvarchar(60), is_hidden bit, is_masked bit, encryption_type int";

const COLUMNS: &str = "SELECT object_id, name, column_id, system_type_id, user_type_id, max_length, precision, scale, \
    collation_name, nullable AS is_nullable, 1 AS is_ansi_padded, 0 AS is_rowguidcol, \
    identity_seed IS NOT NULL AS is_identity, computed IS NOT NULL AS is_computed, 0 AS is_filestream, \
    0 AS is_replicated, 0 AS is_xml_document, default_id AS default_object_id, sparse AS is_sparse, \
    column_set AS is_column_set, period AS generated_always_type, CASE period WHEN 1 THEN 'AS_ROW_START' \
    WHEN 2 THEN 'AS_ROW_END' ELSE 'NOT_APPLICABLE' END AS generated_always_type_desc, hidden AS is_hidden, \
    0 AS is_masked, NULL AS encryption_type, computed AS definition, persisted AS is_persisted, \
    identity_seed AS seed_value, identity_step AS increment_value FROM \"~columns\"";

/// Every table has the partition of its heap or clustered index, and one per further index; pages hold 8,060 bytes.
const PARTITIONS: &str = "SELECT 72057594000000000 + i.object_id * 256 + i.index_id AS partition_id, i.object_id, \
    i.index_id, 1 AS partition_number, 72057594000000000 + i.object_id * 256 + i.index_id AS hobt_id, \
    o.row_count AS rows, 0 AS data_compression, 'NONE' AS data_compression_desc, \
    (o.row_count * o.row_width + 8059) / 8060 AS pages FROM \"~indexes\" i \
    JOIN \"~objects\" o ON o.object_id = i.object_id";

const INDEX_COLUMNS: &str = "object_id int, name sysname, index_id int, type tinyint, type_desc nvarchar(60), \
    is_unique bit, data_space_id int, ignore_dup_key bit, is_primary_key bit, is_unique_constraint bit, \
    fill_factor tinyint, is_padded bit, is_disabled bit, is_hypothetical bit, allow_row_locks bit, allow_page_locks bit, \
    has_filter bit, filter_definition nvarchar(max)";

const INDEXES: &str = "SELECT object_id, name, index_id, type, CASE type WHEN 0 THEN 'HEAP' WHEN 1 THEN 'CLUSTERED' \
    ELSE 'NONCLUSTERED' END AS type_desc, is_unique, 1 AS data_space_id, 0 AS ignore_dup_key, \
    is_primary AS is_primary_key, is_constraint AS is_unique_constraint, 0 AS fill_factor, 0 AS is_padded, \
    0 AS is_disabled, 0 AS is_hypothetical, 1 AS allow_row_locks, 1 AS allow_page_locks, \
    filter IS NOT NULL AS has_filter, filter AS filter_definition FROM \"~indexes\"";

const INFORMATION_COLUMNS: &str = "SELECT {db} AS TABLE_CATALOG, s.name AS TABLE_SCHEMA, o.name AS TABLE_NAME, \
    c.name AS COLUMN_NAME, c.column_id AS ORDINAL_POSITION, c.default_text AS COLUMN_DEFAULT, \
    CASE c.nullable WHEN 1 THEN 'YES' ELSE 'NO' END AS IS_NULLABLE, y.name AS DATA_TYPE, \
    CASE WHEN c.max_length = -1 OR c.collation_name IS NULL AND c.system_type_id NOT IN (165, 173, 34) \
    THEN CASE c.max_length WHEN -1 THEN -1 END WHEN c.system_type_id IN (231, 239) THEN c.max_length / 2 \
    WHEN c.system_type_id IN (34, 35) THEN 2147483647 WHEN c.system_type_id = 99 THEN 1073741823 \
    ELSE c.max_length END AS CHARACTER_MAXIMUM_LENGTH, \
    CASE WHEN c.collation_name IS NOT NULL OR c.system_type_id IN (165, 173) THEN c.max_length END \
    AS CHARACTER_OCTET_LENGTH, \
    CASE WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122, 59, 62) THEN c.precision END \
    AS NUMERIC_PRECISION, \
    CASE WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122) THEN 10 \
    WHEN c.system_type_id IN (59, 62) THEN 2 END AS NUMERIC_PRECISION_RADIX, \
    CASE WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122) THEN c.scale END AS NUMERIC_SCALE, \
    CASE WHEN c.system_type_id IN (40, 41, 42, 43, 58, 61) THEN c.scale END AS DATETIME_PRECISION, \
    c.collation_name AS COLLATION_NAME FROM \"~columns\" c JOIN \"~objects\" o ON o.object_id = c.object_id \
    JOIN \"~schemas\" s ON s.schema_id = o.schema_id \
    LEFT JOIN ({types}) y ON y.user_type_id = c.user_type_id WHERE o.type IN ('U', 'V')";

const DEFINITIONS: [Definition; 26] = [
    (
        "sys.schemas",
        "name sysname, schema_id int, principal_id int",
        "SELECT name, schema_id, 1 AS principal_id FROM \"~schemas\"",
    ),
    ("sys.objects", "{objects}", "{OBJECTS}"),
    ("sys.all_objects", "{objects}", "{OBJECTS}"),
    (
        "sys.tables",
        "{objects}, max_column_id_used int, temporal_type tinyint, temporal_type_desc nvarchar(60), history_table_id int, is_memory_optimized bit, is_external bit",
        "SELECT *, 0 AS max_column_id_used, temporal AS temporal_type, CASE temporal WHEN 2 THEN 'SYSTEM_VERSIONED_TEMPORAL_TABLE' ELSE 'NON_TEMPORAL_TABLE' END AS temporal_type_desc, NULL AS history_table_id, 0 AS is_memory_optimized, 0 AS is_external FROM ({OBJECTS} AND type = 'U')",
    ),
    (
        "sys.views",
        "{objects}, with_check_option bit",
        "SELECT *, 0 AS with_check_option FROM ({OBJECTS} AND type = 'V')",
    ),
    ("sys.columns", "{columns}", "{COLUMNS}"),
    ("sys.all_columns", "{columns}", "{COLUMNS}"),
    (
        "sys.computed_columns",
        "{columns}, definition nvarchar(max), is_persisted bit",
        "{COLUMNS} WHERE computed IS NOT NULL",
    ),
    (
        "sys.identity_columns",
        "{columns}, seed_value bigint, increment_value bigint",
        "{COLUMNS} WHERE identity_seed IS NOT NULL",
    ),
    (
        "sys.types",
        "name sysname, system_type_id tinyint, user_type_id int, schema_id int, principal_id int, max_length smallint, precision tinyint, scale tinyint, collation_name sysname, is_nullable bit, is_user_defined bit, is_assembly_type bit, default_object_id int, rule_object_id int, is_table_type bit",
        "{types}",
    ),
    ("sys.indexes", "{indexes}", "{INDEXES}"),
    (
        "sys.index_columns",
        "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, partition_ordinal tinyint, is_descending_key bit, is_included_column bit",
        "SELECT object_id, index_id, position AS index_column_id, column_id, key_ordinal, 0 AS partition_ordinal, descending AS is_descending_key, included AS is_included_column FROM \"~index_columns\"",
    ),
    (
        "sys.key_constraints",
        "{objects}, unique_index_id int, is_system_named bit, is_enforced bit",
        "SELECT o.*, i.index_id AS unique_index_id, 0 AS is_system_named, 1 AS is_enforced FROM ({OBJECTS} AND type IN ('PK', 'UQ')) o JOIN \"~indexes\" i ON i.object_id = o.parent_object_id AND i.name = o.name COLLATE TSQL_CI",
    ),
    (
        "sys.default_constraints",
        "{objects}, parent_column_id int, definition nvarchar(max), is_system_named bit",
        "SELECT o.*, c.column_id AS parent_column_id, 1 AS is_system_named FROM ({OBJECTS} AND type = 'D') o JOIN \"~columns\" c ON c.default_id = o.object_id",
    ),
    (
        "sys.partitions",
        "partition_id bigint, object_id int, index_id int, partition_number int, hobt_id bigint, rows bigint, data_compression tinyint, data_compression_desc nvarchar(60)",
        "{PARTITIONS}",
    ),
    (
        "sys.allocation_units",
        "allocation_unit_id bigint, type tinyint, type_desc nvarchar(60), container_id bigint, data_space_id int, total_pages bigint, used_pages bigint, data_pages bigint",
        "SELECT partition_id + 100000000000 AS allocation_unit_id, 1 AS type, 'IN_ROW_DATA' AS type_desc, partition_id AS container_id, 1 AS data_space_id, pages + 1 AS total_pages, pages AS used_pages, pages AS data_pages FROM ({PARTITIONS})",
    ),
    (
        "sys.dm_db_partition_stats",
        "partition_id bigint, object_id int, index_id int, partition_number int, in_row_data_page_count bigint, in_row_used_page_count bigint, in_row_reserved_page_count bigint, lob_used_page_count bigint, lob_reserved_page_count bigint, used_page_count bigint, reserved_page_count bigint, row_count bigint",
        "SELECT partition_id, object_id, index_id, partition_number, pages AS in_row_data_page_count, pages AS in_row_used_page_count, pages + 1 AS in_row_reserved_page_count, 0 AS lob_used_page_count, 0 AS lob_reserved_page_count, pages AS used_page_count, pages + 1 AS reserved_page_count, rows AS row_count FROM ({PARTITIONS})",
    ),
    (
        "sys.extended_properties",
        "class tinyint, class_desc nvarchar(60), major_id int, minor_id int, name sysname, value sql_variant",
        "SELECT class, CASE class WHEN 0 THEN 'DATABASE' WHEN 1 THEN 'OBJECT_OR_COLUMN' ELSE 'SCHEMA' END AS class_desc, major_id, minor_id, name, value FROM \"~properties\"",
    ),
    (
        "sys.periods",
        "name sysname, period_type tinyint, period_type_desc nvarchar(60), object_id int, start_column_id int, end_column_id int",
        "SELECT 'SYSTEM_TIME' AS name, 1 AS period_type, 'SYSTEM_TIME_PERIOD' AS period_type_desc, a.object_id, a.column_id AS start_column_id, b.column_id AS end_column_id FROM \"~columns\" a JOIN \"~columns\" b ON b.object_id = a.object_id AND b.period = 2 WHERE a.period = 1",
    ),
    (
        "sys.sql_modules",
        "object_id int, definition nvarchar(max), uses_ansi_nulls bit, uses_quoted_identifier bit, is_schema_bound bit",
        "SELECT object_id, definition, 1 AS uses_ansi_nulls, 1 AS uses_quoted_identifier, 0 AS is_schema_bound FROM \"~objects\" WHERE type = 'V'",
    ),
    (
        "sys.stats",
        "object_id int, name sysname, stats_id int, auto_created bit, user_created bit, no_recompute bit, has_filter bit",
        "SELECT object_id, name, index_id AS stats_id, 0 AS auto_created, 0 AS user_created, 0 AS no_recompute, filter IS NOT NULL AS has_filter FROM \"~indexes\" WHERE index_id > 0",
    ),
    (
        "information_schema.schemata",
        "CATALOG_NAME sysname, SCHEMA_NAME sysname, SCHEMA_OWNER sysname",
        "SELECT {db} AS CATALOG_NAME, name AS SCHEMA_NAME, 'dbo' AS SCHEMA_OWNER FROM \"~schemas\"",
    ),
    (
        "information_schema.tables",
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, TABLE_TYPE varchar(10)",
        "SELECT {db} AS TABLE_CATALOG, s.name AS TABLE_SCHEMA, o.name AS TABLE_NAME, CASE o.type WHEN 'U' THEN 'BASE TABLE' ELSE 'VIEW' END AS TABLE_TYPE FROM \"~objects\" o JOIN \"~schemas\" s ON s.schema_id = o.schema_id WHERE o.type IN ('U', 'V')",
    ),
    (
        "information_schema.views",
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, VIEW_DEFINITION nvarchar(4000)",
        "SELECT {db} AS TABLE_CATALOG, s.name AS TABLE_SCHEMA, o.name AS TABLE_NAME, o.definition AS VIEW_DEFINITION FROM \"~objects\" o JOIN \"~schemas\" s ON s.schema_id = o.schema_id WHERE o.type = 'V'",
    ),
    (
        "information_schema.columns",
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, ORDINAL_POSITION int, COLUMN_DEFAULT nvarchar(4000), IS_NULLABLE varchar(3), DATA_TYPE sysname, CHARACTER_MAXIMUM_LENGTH int, CHARACTER_OCTET_LENGTH int, NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint, NUMERIC_SCALE int, DATETIME_PRECISION smallint, COLLATION_NAME sysname",
        "{INFORMATION_COLUMNS}",
    ),
    (
        "information_schema.key_column_usage",
        "CONSTRAINT_CATALOG sysname, CONSTRAINT_SCHEMA sysname, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, ORDINAL_POSITION int",
        "SELECT {db} AS CONSTRAINT_CATALOG, s.name AS CONSTRAINT_SCHEMA, i.name AS CONSTRAINT_NAME, {db} AS TABLE_CATALOG, s.name AS TABLE_SCHEMA, o.name AS TABLE_NAME, c.name AS COLUMN_NAME, k.key_ordinal AS ORDINAL_POSITION FROM \"~indexes\" i JOIN \"~objects\" o ON o.object_id = i.object_id JOIN \"~schemas\" s ON s.schema_id = o.schema_id JOIN \"~index_columns\" k ON k.object_id = i.object_id AND k.index_id = i.index_id JOIN \"~columns\" c ON c.object_id = k.object_id AND c.column_id = k.column_id WHERE i.is_primary = 1 OR i.is_constraint = 1",
    ),
];

/// A view by its name in lower case, `sys.tables`.
pub(super) fn view(name: &str, database: &Database) -> Option<View> {
    let (_, columns, sql) = DEFINITIONS.iter().find(|definition| definition.0 == name)?;
    let columns = columns
        .replace("{objects}", OBJECT_COLUMNS)
        .replace("{columns}", COLUMN_COLUMNS)
        .replace("{indexes}", INDEX_COLUMNS);
    let sql = sql
        .replace("{INFORMATION_COLUMNS}", INFORMATION_COLUMNS)
        .replace("{OBJECTS}", OBJECTS)
        .replace("{COLUMNS}", COLUMNS)
        .replace("{INDEXES}", INDEXES)
        .replace("{PARTITIONS}", PARTITIONS)
        .replace("{types}", &types())
        .replace("{db}", &text(&database.name));
    Some(View { columns: parse_columns(&columns), sql })
}

/// `sys.databases`, which is of the server.
pub(super) fn databases(all: &[std::sync::Arc<Database>]) -> View {
    let columns = "name sysname, database_id int, create_date datetime, compatibility_level tinyint, \
        collation_name sysname, user_access tinyint, is_read_only bit, state tinyint, state_desc nvarchar(60), \
        snapshot_isolation_state tinyint, snapshot_isolation_state_desc nvarchar(60), is_read_committed_snapshot_on bit";
    let rows: Vec<String> = all
        .iter()
        .map(|database| {
            let snapshot = database.snapshot.load(Ordering::Relaxed);
            format!(
                "SELECT {} AS name, {} AS database_id, 0 AS create_date, 160 AS compatibility_level, \
                 {} AS collation_name, 0 AS user_access, 0 AS is_read_only, 0 AS state, 'ONLINE' AS state_desc, \
                 {} AS snapshot_isolation_state, {} AS snapshot_isolation_state_desc, \
                 {} AS is_read_committed_snapshot_on",
                text(&database.name),
                database.number,
                text(Collation::default().name()),
                u8::from(snapshot),
                if snapshot { "'ON'" } else { "'OFF'" },
                u8::from(database.versioned.load(Ordering::Relaxed)),
            )
        })
        .collect();
    View { columns: parse_columns(columns), sql: rows.join(" UNION ALL ") }
}

/// `sys.dm_exec_sessions`: numbers, logins and programs.
pub(super) fn sessions(all: &[(u16, String, String)]) -> View {
    let columns =
        "session_id smallint, login_name nvarchar(128), program_name nvarchar(128), is_user_process bit";
    let rows: Vec<String> = all
        .iter()
        .map(|(number, login, program)| {
            let (login, program) = (text(login), text(program));
            format!("SELECT {number} AS session_id, {login} AS login_name, {program} AS program_name, 1 AS is_user_process")
        })
        .collect();
    View { columns: parse_columns(columns), sql: rows.join(" UNION ALL ") }
}

/// A text as a literal of SQLite.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Names of types that are none of their own here, with their numbers: `sysname` and those of later versions.
const FURTHER_TYPES: [(&str, u8, u16, i32); 3] =
    [("sysname", 231, 256, 256), ("json", 244, 244, -1), ("vector", 255, 255, -1)];

/// The number that `sys.columns` has for a type by its name.
pub(super) fn user_type_id(name: &str, kind: Kind) -> (u8, u16) {
    let further = FURTHER_TYPES.iter().find(|further| further.0 == name);
    further.map_or_else(|| (kind.system_id(), kind.user_id()), |further| (further.1, further.2))
}

fn types() -> String {
    let mut rows = Vec::new();
    let mut add = |name: &str, system: u8, user: u16, length: i32, kind: Option<Kind>| {
        let ty = kind.map(SqlType::of);
        let collation = match kind {
            Some(kind) if kind.is_text() && kind != Kind::Xml => text(Collation::default().name()),
            None => text(Collation::default().name()),
            _ => "NULL".to_owned(),
        };
        let precision = match kind {
            Some(Kind::Decimal | Kind::Numeric) => 38,
            _ => ty.map_or(0, |ty| ty.catalog_precision()),
        };
        let scale = match kind {
            Some(Kind::Decimal | Kind::Numeric) => 38,
            _ => ty.map_or(0, |ty| ty.catalog_scale()),
        };
        rows.push(format!(
            "SELECT {} AS name, {system} AS system_type_id, {user} AS user_type_id, 4 AS schema_id, NULL AS principal_id, \
             {length} AS max_length, {precision} AS precision, {scale} AS scale, {collation} AS collation_name, \
             1 AS is_nullable, 0 AS is_user_defined, {} AS is_assembly_type, 0 AS default_object_id, \
             0 AS rule_object_id, 0 AS is_table_type",
            text(name),
            u8::from(kind.is_some_and(Kind::is_udt)),
        ));
    };
    for kind in crate::types::all() {
        let length = kind.catalog_length();
        let length = if length == crate::types::MAX { -1 } else { i32::from(length) };
        add(kind.name(), kind.system_id(), kind.user_id(), length, Some(kind));
    }
    for (name, system, user, length) in FURTHER_TYPES {
        add(name, system, user, length, None);
    }
    rows.join(" UNION ALL ")
}

/// `name type, name type`, as the constants above have it.
fn parse_columns(text: &str) -> Vec<(String, SqlType)> {
    text.split(", ")
        .filter_map(|column| column.trim().split_once(' '))
        .map(|(name, ty)| (name.to_owned(), type_of(ty)))
        .collect()
}

fn type_of(text: &str) -> SqlType {
    let (name, length) = text.split_once('(').unwrap_or((text, ""));
    let kind = Kind::parse(name).unwrap_or(Kind::NVarChar);
    match length.trim_end_matches(')') {
        "" if name == "sysname" => SqlType::with_length(kind, 128),
        "" => SqlType::of(kind),
        "max" => SqlType::with_length(kind, crate::types::MAX),
        length => SqlType::with_length(kind, length.parse().unwrap_or(crate::types::MAX)),
    }
}
