//! Values do not depend on how the server, the database and the role are set, nor on the database's encoding.

use transload_core::ErrorKind;
use transload_core::connector::ReadPlan;

use crate::support::{in_schema, read_plan};
use crate::types_cases::{CREATE_TYPES, Letters, built_in};
use crate::types_oracle::{in_database, render};

/// Settings that change how values are printed or read where they are left alone.
const ODD: &[(&str, &str)] = &[
    ("timezone", "'Asia/Kathmandu'"),
    ("datestyle", "'German, DMY'"),
    ("intervalstyle", "'sql_standard'"),
    ("extra_float_digits", "-15"),
    ("bytea_output", "'escape'"),
    ("client_encoding", "'LATIN1'"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("xmloption", "'document'"),
    ("xmlbinary", "'hex'"),
    ("transform_null_equals", "on"),
    ("search_path", "shadows, pg_catalog"),
    ("default_transaction_isolation", "'serializable'"),
    ("row_security", "on"),
];

/// Objects that a search path finds before those of the system.
const SHADOWS: &str = "
    CREATE SCHEMA shadows; CREATE DOMAIN shadows.text AS pg_catalog.varchar(1); CREATE DOMAIN shadows.regclass AS pg_catalog.text;
    CREATE FUNCTION shadows.to_json(anyelement) RETURNS pg_catalog.json LANGUAGE sql AS $$ SELECT '\"shadow\"'::pg_catalog.json $$;
    CREATE FUNCTION shadows.to_json(pg_catalog.text[]) RETURNS pg_catalog.json LANGUAGE sql AS $$ SELECT '\"shadow\"'::pg_catalog.json $$";

async fn with_odd_settings(encoding: &str, letters: Letters) {
    let options = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
    in_database(&options, ODD, move |database| async move {
        database.run(CREATE_TYPES).await;
        database.run(SHADOWS).await;
        database.check(built_in(letters), 60).await;
    })
    .await;
}

#[tokio::test]
async fn odd_settings_in_a_utf8_database() {
    with_odd_settings("UTF8", Letters::All).await;
}

#[tokio::test]
async fn odd_settings_in_a_latin1_database() {
    with_odd_settings("LATIN1", Letters::Latin1).await;
}

#[tokio::test]
async fn odd_settings_in_an_sql_ascii_database() {
    with_odd_settings("SQL_ASCII", Letters::Ascii).await;
}

#[tokio::test]
async fn latin1_text_is_converted_by_the_server() {
    in_database("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", ODD, |database| async move {
        database
            .run(
                "CREATE TABLE place.\"Größe\" (\"straße\" text, e text[], j jsonb);
                 INSERT INTO place.\"Größe\" VALUES (chr(228) || chr(223), ARRAY[chr(228)], '{\"ä\": \"ß\"}');
                 COMMENT ON COLUMN place.\"Größe\".\"straße\" IS 'für Wörter'",
            )
            .await;
        let described = database.describe("Größe").await;
        assert_eq!(described.columns[0].name, "straße");
        assert_eq!(described.columns[0].comment.as_deref(), Some("für Wörter"));
        assert!(described.columns[0].note.warnings.is_empty());
        let batch = database.read("Größe").await.unwrap();
        let found = [0, 1, 2].map(|column| render(batch.column(column), 0).unwrap());
        assert_eq!(found, ["äß", "[\"ä\"]", "{\"ä\": \"ß\"}"]);
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_an_error_that_names_the_column() {
    in_database("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'", &[], |database| async move {
        // Latin-1 bytes in a database that checks nothing; and UTF-8, which is text.
        database
            .run(
                "CREATE TABLE place.good (id int, \"the text\" text); INSERT INTO place.good VALUES (1, convert_from('\\xc3a4', 'SQL_ASCII'));
                 CREATE TABLE place.bad (id int, \"the text\" text); INSERT INTO place.bad VALUES (1, 'fine'), (2, convert_from('\\xe4', 'SQL_ASCII'));
                 CREATE TABLE place.bads (id int, \"the text\" text[]); INSERT INTO place.bads SELECT id, ARRAY[\"the text\"] FROM place.bad;
                 CREATE TABLE place.bad_json (id int, \"the text\" jsonb); INSERT INTO place.bad_json SELECT id, to_jsonb(\"the text\") FROM place.bad",
            )
            .await;
        let batch = database.read("good").await.unwrap();
        assert_eq!(render(batch.column(1), 0).as_deref(), Some("ä"));
        let warned = database.describe("good").await;
        assert_eq!(warned.columns[1].note.warnings[0].code, "W_CHARSET");
        assert!(warned.columns[0].note.warnings.is_empty());
        for table in ["bad", "bads", "bad_json"] {
            let error = database.read(table).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data, "{error}");
            assert_eq!(error.context_value("column"), Some("the text"), "{error}");
            assert!(error.message().contains("UTF-8") && !error.is_retryable(), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn names_that_are_no_text_are_an_error_that_says_so() {
    in_database("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'", &[], |database| async move {
        database.run("CREATE TABLE place.fine (id int); CREATE TABLE place.bad (id int)").await;
        let comment = "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE place.bad IS %L', convert_from('\\xe4', 'SQL_ASCII')); END $$";
        database.run(comment).await;
        assert_eq!(database.describe("fine").await.columns.len(), 1);
        let error = database.read("bad").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Data, false), "{error}");
        assert!(error.message().contains("UTF8"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn settings_of_the_role_do_not_change_values() {
    in_schema(|place| async move {
        let role = place.schema.clone();
        place
            .run(&format!(
                "CREATE TABLE t (i interval, d timestamptz[], b bytea[]);
                 INSERT INTO t VALUES ('1 mon -1 day 02:03:04.5', '{{2024-01-01 00:00+00}}', '{{\\\\x00ff}}');
                 CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA {role} TO {role}; GRANT SELECT ON t TO {role};
                 ALTER ROLE {role} SET timezone = 'Asia/Tokyo'; ALTER ROLE {role} SET intervalstyle = 'sql_standard';
                 ALTER ROLE {role} SET bytea_output = 'escape'; ALTER ROLE {role} SET datestyle = 'German'"
            ))
            .await;
        let connection = crate::support::connection().option("username", role.as_str());
        let connection = connection.password(transload_core::Secret::new("x"));
        let read = async {
            let session = crate::support::open(&connection).await?.begin(&place.table("t")).await?;
            read_plan(session.as_ref(), &ReadPlan::default()).await
        };
        let batch = read.await;
        place.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
        let batch = batch.unwrap();
        let found: Vec<_> = (0..3).map(|column| render(batch.column(column), 0).unwrap()).collect();
        assert_eq!(found, ["P1M-1DT2H3M4.5S", r#"["2024-01-01T00:00:00+00:00"]"#, r#"["\\x00ff"]"#]);
    })
    .await;
}
