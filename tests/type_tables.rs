//! What connectors make of their systems' types, beside the reference of all types: the server itself creates the
//! columns and names their types. Needs `TRANSLOAD_TEST_POSTGRES_URL` and `TRANSLOAD_TEST_MARIADB_URL`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use transload::schema::{ColumnMapping, TableRef};
use transload::{Connection, SchemaMapper, default_registry};

/// The connector's proposal for every column of a table, and what the reference says of the same type text.
async fn both(connection: &Connection, system: &str, table: &TableRef) -> Vec<(ColumnMapping, String)> {
    let source = default_registry().source(connection).await.unwrap();
    let described = source.describe(table).await.unwrap();
    let mapping = SchemaMapper::default().map(&described, None).unwrap();
    let said = |column: &ColumnMapping| match SchemaMapper::for_type(system, &column.source_type) {
        Ok(said) => {
            let repeated = if said.mode.as_str() == "REPEATED" { " REPEATED" } else { "" };
            format!("{}{repeated}", said.bigquery_type)
        }
        Err(error) => format!("{:?}", error.kind()),
    };
    mapping.columns.into_iter().map(|column| (column.clone(), said(&column))).collect()
}

/// Columns for which the two differ: type text, the connector's type, the reference's.
fn differences(both: &[(ColumnMapping, String)]) -> Vec<(String, String, String)> {
    both.iter()
        .filter(|(own, said)| own.bigquery_type.to_string() != *said)
        .map(|(own, said)| (own.source_type.clone(), own.bigquery_type.to_string(), said.clone()))
        .collect()
}

/// Types of a plain server, as a person writes them.
const POSTGRES: [&str; 78] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "smallserial",
    "serial",
    "bigserial",
    "real",
    "double precision",
    "numeric(10,0)",
    "numeric(12,2)",
    "numeric(38,9)",
    "numeric(38,2)",
    "numeric(5,5)",
    "numeric(38,38)",
    "numeric(60,30)",
    "numeric(100,10)",
    "numeric(3,-2)",
    "numeric(38,-1)",
    "numeric(3,5)",
    "numeric(30,45)",
    "numeric",
    "money",
    "character varying(20)",
    "character varying",
    "text",
    "character(10)",
    "bpchar",
    "\"char\"",
    "name",
    "bytea",
    "bit(1)",
    "bit(8)",
    "bit varying(8)",
    "date",
    "time",
    "time(3)",
    "time with time zone",
    "timestamp",
    "timestamp(0)",
    "timestamp with time zone",
    "timestamp(3) with time zone",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "jsonpath",
    "xml",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tsrange",
    "tstzrange",
    "datemultirange",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "tsvector",
    "tsquery",
    "oid",
    "xid",
    "xid8",
    "pg_lsn",
    "tid",
    "regclass",
    "integer[]",
    "text[]",
    "numeric[]",
    "int2vector",
];

#[tokio::test]
async fn postgresql() {
    let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL").expect(
        "TRANSLOAD_TEST_POSTGRES_URL is not set: start the servers with connectors/testkit/services/up.sh",
    );
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let schema = format!("type_tables_{}", std::process::id());
    let columns: Vec<String> =
        POSTGRES.iter().enumerate().map(|(index, text)| format!("c{index} {text}")).collect();
    client
        .batch_execute(&format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
             CREATE TYPE {schema}.mood AS ENUM ('good', 'bad');
             CREATE DOMAIN {schema}.price AS numeric(9,2);
             CREATE TABLE {schema}.types ({}, mood {schema}.mood, price {schema}.price)",
            columns.join(", ")
        ))
        .await
        .unwrap();
    let both =
        both(&Connection::from_url(&url).unwrap(), "postgresql", &TableRef::new(&schema, "types")).await;
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    assert_eq!(both.len(), POSTGRES.len() + 2);
    // The reference knows no types of users; the catalog resolves them.
    let (own, known): (Vec<_>, Vec<_>) =
        both.into_iter().partition(|(column, _)| column.source_type.starts_with(&schema));
    let own: Vec<String> = own.iter().map(|(column, _)| column.bigquery_type.to_string()).collect();
    assert_eq!(own, ["STRING", "NUMERIC(9,2)"]);
    // The name of a class says more than its number, which another server does not have.
    assert_eq!(differences(&known), [("regclass".to_owned(), "STRING".to_owned(), "INT64".to_owned())]);
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("types.db");
    let types = [
        "INT",
        "INTEGER",
        "TINYINT",
        "UNSIGNED BIG INT",
        "CHARACTER(20)",
        "VARCHAR(255)",
        "NCHAR(55)",
        "TEXT",
        "CLOB",
        "BLOB",
        "REAL",
        "DOUBLE",
        "FLOAT",
        "NUMERIC",
        "DECIMAL(10,2)",
        "BOOLEAN",
        "DATE",
        "DATETIME",
        "TIMESTAMP",
    ];
    let columns: Vec<String> =
        types.iter().enumerate().map(|(index, text)| format!("c{index} {text}")).collect();
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(&format!("CREATE TABLE types ({})", columns.join(", "))).unwrap();
    let connection = Connection::from_json(serde_json::json!({"type": "sqlite", "path": path})).unwrap();
    let both = both(&connection, "sqlite", &TableRef::unqualified("types")).await;
    let found = differences(&both);
    let found: Vec<(&str, &str, &str)> =
        found.iter().map(|(text, own, said)| (text.as_str(), own.as_str(), said.as_str())).collect();
    // The declaration is taken at its word, and every value is checked; the reference waits for a profile.
    assert_eq!(found, [("DECIMAL(10,2)", "NUMERIC(10,2)", "STRING"), ("BOOLEAN", "BOOL", "STRING")]);
}

#[tokio::test]
async fn mariadb() {
    let url = std::env::var("TRANSLOAD_TEST_MARIADB_URL").expect(
        "TRANSLOAD_TEST_MARIADB_URL is not set: start the servers with connectors/testkit/services/up.sh",
    );
    let connection = Connection::from_url(&url).unwrap();
    let types = [
        "TINYINT(1)",
        "TINYINT",
        "SMALLINT",
        "MEDIUMINT",
        "INT",
        "BIGINT",
        "TINYINT UNSIGNED",
        "SMALLINT UNSIGNED",
        "MEDIUMINT UNSIGNED",
        "INT UNSIGNED",
        "BIGINT UNSIGNED",
        "DECIMAL(10,2)",
        "DECIMAL(38,9)",
        "DECIMAL(38,2)",
        "DECIMAL(65,30)",
        "DECIMAL(65,38)",
        "DECIMAL(65,0)",
        "FLOAT",
        "FLOAT(7,3)",
        "DOUBLE",
        "BIT(1)",
        "BIT(8)",
        "BIT(64)",
        "YEAR",
        "DATE",
        "DATETIME(6)",
        "DATETIME",
        "TIMESTAMP(3) NULL",
        "TIME(6)",
        "TIME",
        "CHAR(3)",
        "VARCHAR(9)",
        "TINYTEXT",
        "TEXT",
        "MEDIUMTEXT",
        "LONGTEXT",
        "ENUM('a','b')",
        "SET('a','b')",
        "BINARY(16)",
        "VARBINARY(9)",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "JSON",
        "UUID",
        "INET4",
        "INET6",
        "GEOMETRY",
        "POINT",
        "POLYGON",
    ];
    let client = transload_testkit::mariadb::Mariadb::of(&connection);
    let schema = format!("type_tables_{}", std::process::id());
    let columns: Vec<String> =
        types.iter().enumerate().map(|(index, text)| format!("c{index} {text}")).collect();
    client
        .run(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.types ({})", columns.join(", ")))
        .unwrap();
    let both = both(&connection, "mariadb", &TableRef::new(&schema, "types")).await;
    client.run(&format!("DROP DATABASE {schema}")).unwrap();
    assert_eq!(both.len(), types.len());
    let found = differences(&both);
    let found: Vec<(&str, &str, &str)> =
        found.iter().map(|(text, own, said)| (text.as_str(), own.as_str(), said.as_str())).collect();
    // The catalog calls JSON a longtext; only its check tells.
    assert_eq!(found, [("longtext", "JSON", "STRING")]);
}
