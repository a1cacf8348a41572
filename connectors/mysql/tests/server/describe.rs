//! Discovery.

use transload_core::connector::TableKind;
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind};

use super::support::{connection, open, place};

fn limited() -> Connection {
    Connection::from_url(&std::env::var("TRANSLOAD_TEST_MARIADB_LIMITED_URL").expect("services/up.sh"))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_with_what_is_known_of_them() {
    let place = place();
    place.run(
        "CREATE TABLE b (id INT PRIMARY KEY) COMMENT 'größe'; INSERT INTO b SELECT seq FROM seq_1_to_1000; \
         CREATE VIEW a AS SELECT * FROM b; \
         CREATE TABLE p (id INT) PARTITION BY HASH (id) PARTITIONS 3; \
         CREATE TABLE v (id INT) WITH SYSTEM VERSIONING; CREATE SEQUENCE s; CREATE TABLE `B` (id INT); ANALYZE TABLE b",
    );
    let source = place.source().await;
    let tables = source.tables(Some(&place.schema)).await.unwrap();
    let found: Vec<_> = tables.iter().map(|info| (info.table.name.as_str(), info.kind)).collect();
    assert_eq!(
        found,
        [
            ("B", TableKind::Table),
            ("a", TableKind::View),
            ("b", TableKind::Table),
            ("p", TableKind::Partitioned),
            ("v", TableKind::Table),
        ]
    );
    let b = &tables[2];
    assert_eq!(b.comment.as_deref(), Some("größe"));
    assert!(b.rows_estimate.is_some_and(|rows| (500..2000).contains(&rows)), "{b:?}");
    assert!(b.bytes.is_some_and(|bytes| bytes > 10_000) && b.readable && b.last_change.is_some(), "{b:?}");
    assert_eq!(tables[1].comment, None, "a view has none");
    let schemas = source.schemas().await.unwrap();
    assert!(schemas.iter().any(|schema| schema.name == place.schema));
    assert!(schemas.iter().all(|schema| schema.name != "information_schema" && schema.name != "mysql"));
    assert!(source.tables(None).await.unwrap().iter().any(|info| info.table == place.table("a")));
    let error = source.tables(Some("no such schema")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Names that differ in case only are two tables.
    assert_eq!(source.describe(&place.table("B")).await.unwrap().table, place.table("B"));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_keys() {
    let place = place();
    place.run(
        "CREATE TABLE t (a INT NOT NULL COMMENT 'the first', b VARCHAR(20) NOT NULL DEFAULT 'x', c INT NULL, \
         d DATETIME DEFAULT CURRENT_TIMESTAMP, e INT NULL DEFAULT NULL, f TEXT, \
         PRIMARY KEY (b, a), UNIQUE u (c), KEY d (d), KEY prefix (f(5)), UNIQUE two (a, c))",
    );
    let table = place.source().await.describe(&place.table("t")).await.unwrap();
    assert_eq!(table.primary_key, ["b", "a"]);
    assert_eq!(table.unique_keys, [vec!["a".to_owned(), "c".into()], vec!["c".into()]]);
    let indexed: Vec<_> = table.columns.iter().filter(|c| c.indexed).map(|c| c.name.as_str()).collect();
    assert_eq!(indexed, ["a", "c", "d"], "text is compared by its bytes, which no index serves");
    let nullable: Vec<_> = table.columns.iter().map(|c| c.nullable).collect();
    assert_eq!(nullable, [false, false, true, true, true, true]);
    assert_eq!(table.columns[0].comment.as_deref(), Some("the first"));
    assert_eq!(table.columns[1].default.as_deref(), Some("'x'"));
    assert_eq!(table.columns[4].default, None);
    assert_eq!(table.columns[0].source_type, "int(11)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_with_the_nearest_name() {
    let place = place();
    place.run("CREATE TABLE orders (id INT, total INT)");
    let source = place.source().await;
    let error = source.describe(&place.table("order")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint_text().unwrap().contains("orders"), "{error}");
    let near = TableRef::new(place.schema.replace("transload_", "transloda_"), "orders");
    let error = source.describe(&near).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.hint_text().unwrap().contains(&place.schema),
        "{error}"
    );
    let error = place.begin("orders").await.cursor_summary("totl").await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.hint_text().unwrap().contains("total"), "{error}");
    let unqualified = place.connection().option("database", place.schema.as_str());
    let found = open(&unqualified).await.unwrap().describe(&TableRef::unqualified("orders")).await.unwrap();
    assert_eq!(found.table, place.table("orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_told_so() {
    let place = place();
    place.run("CREATE TABLE closed (id INT); CREATE TABLE open (id INT); CREATE TABLE part (a INT, b INT); INSERT INTO part VALUES (1, 2)");
    let source = open(&limited()).await.unwrap();
    let error = source.describe(&place.table("closed")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    place.run(
        "GRANT SELECT ON open TO limited@'%'; GRANT INSERT ON closed TO limited@'%'; GRANT SELECT (b) ON part TO limited@'%'",
    );
    let tables = source.tables(Some(&place.schema)).await.unwrap();
    let found: Vec<_> = tables.iter().map(|info| (info.table.name.as_str(), info.readable)).collect();
    let granted = source.describe(&place.table("open")).await;
    let error = source.describe(&place.table("closed")).await.unwrap_err();
    let part = source.begin(&place.table("part")).await.unwrap();
    let columns: Vec<_> = part.table().columns.iter().map(|column| column.name.clone()).collect();
    let rows = super::support::read_plan(part.as_ref(), &Default::default()).await.unwrap();
    place.run("REVOKE ALL, GRANT OPTION FROM limited@'%'");
    assert_eq!(found, [("closed", false), ("open", true), ("part", true)]);
    assert!(granted.is_ok());
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    assert_eq!((columns, rows.num_rows()), (vec!["b".to_owned()], 1));
    let all = open(&connection()).await.unwrap().tables(Some(&place.schema)).await.unwrap();
    assert!(all.iter().all(|info| info.readable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_broken_is_told() {
    let place = place();
    place.run("CREATE TABLE t (id INT); CREATE VIEW v AS SELECT id FROM t; DROP TABLE t");
    let error = place.source().await.describe(&place.table("v")).await.unwrap_err();
    assert_eq!(error.context_value("code"), Some("1356"), "{error}");
    assert!(place.source().await.tables(Some(&place.schema)).await.is_ok());
}
