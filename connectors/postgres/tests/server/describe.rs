//! The catalog: schemas, tables, columns, keys.

use transload_core::ErrorKind;
use transload_core::connector::TableKind;
use transload_core::schema::TableRef;

use crate::support::in_schema;

#[tokio::test]
async fn a_table_with_everything() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TABLE orders (
                    region text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, email varchar(200) UNIQUE,
                    total numeric(12,2) NOT NULL DEFAULT 1.5, twice numeric GENERATED ALWAYS AS (total * 2) STORED,
                    gone int, code text COLLATE \"C\" UNIQUE, at timestamptz, a int, b int, part int, PRIMARY KEY (id, region), UNIQUE (b, a));
                 ALTER TABLE orders DROP COLUMN gone;
                 CREATE INDEX ON orders (at); CREATE INDEX ON orders (part) WHERE part > 5; CREATE INDEX ON orders (lower(region));
                 CREATE UNIQUE INDEX ON orders (a) WHERE a > 0;
                 COMMENT ON TABLE orders IS 'what people buy'; COMMENT ON COLUMN orders.total IS 'in euro';
                 INSERT INTO orders (region, total) SELECT 'x', g FROM generate_series(1, 500) g; ANALYZE orders",
            )
            .await;
        let table = place.source().await.describe(&place.table("orders")).await.unwrap();
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["region", "id", "email", "total", "twice", "code", "at", "a", "b", "part"]);
        assert_eq!(table.primary_key, ["id", "region"]);
        assert_eq!(table.unique_keys, [vec!["email".to_owned()], vec!["code".to_owned()], vec!["b".to_owned(), "a".to_owned()]]);
        assert_eq!((table.rows_estimate, table.comment.as_deref()), (Some(500), Some("what people buy")));
        let column = |name: &str| table.column(name).unwrap();
        assert_eq!(column("email").source_type, "character varying(200)");
        assert_eq!(column("total").default.as_deref(), Some("1.5"));
        assert_eq!(column("total").comment.as_deref(), Some("in euro"));
        assert!(!column("total").nullable && column("email").nullable && !column("id").nullable);
        assert!(column("twice").generated && !column("total").generated);
        let indexed: Vec<_> = table.columns.iter().filter(|column| column.indexed).map(|column| column.name.as_str()).collect();
        // `email` has an index, but not in the order of its bytes, in which a text cursor is compared.
        assert_eq!(indexed, ["id", "code", "at", "b"]);
        // Without a schema the search path decides.
        place.run(&format!("CREATE TABLE public.{}_t (id int)", place.schema)).await;
        let found = place.source().await.describe(&TableRef::unqualified(format!("{}_t", place.schema))).await;
        place.run(&format!("DROP TABLE public.{}_t", place.schema)).await;
        assert_eq!(found.unwrap().table.schema.as_deref(), Some("public"));
    })
    .await;
}

#[tokio::test]
async fn kinds_of_tables() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TABLE a (id int); INSERT INTO a VALUES (1); COMMENT ON TABLE a IS 'first';
                 CREATE VIEW b AS SELECT * FROM a; CREATE MATERIALIZED VIEW c AS SELECT * FROM a;
                 CREATE TABLE d (id int) PARTITION BY RANGE (id); CREATE TABLE d1 PARTITION OF d FOR VALUES FROM (0) TO (10);
                 INSERT INTO d VALUES (3), (4); CREATE SEQUENCE s; CREATE INDEX ON a (id); ANALYZE a, d1;
                 CREATE EXTENSION IF NOT EXISTS file_fdw",
            )
            .await;
        let server = &place.schema;
        place.run(&format!("CREATE SERVER {server} FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE e (t text) SERVER {server} OPTIONS (program 'echo hello')")).await;
        let source = place.source().await;
        let tables = source.tables(Some(&place.schema)).await.unwrap();
        let found: Vec<_> = tables.iter().map(|info| (info.table.name.as_str(), info.kind)).collect();
        let kinds = [
            ("a", TableKind::Table),
            ("b", TableKind::View),
            ("c", TableKind::MaterializedView),
            ("d", TableKind::Partitioned),
            ("e", TableKind::Foreign),
        ];
        assert_eq!(found, kinds);
        assert_eq!((tables[0].comment.as_deref(), tables[1].bytes), (Some("first"), None));
        assert_eq!((tables[0].rows_estimate, tables[0].bytes), (Some(1), Some(8192)));
        // Nobody has counted the materialised view, and nothing but its partitions counts the partitioned table.
        assert_eq!((tables[2].rows_estimate, tables[2].bytes), (None, None));
        assert_eq!((tables[3].rows_estimate, tables[3].bytes), (Some(2), Some(8192)));
        for (table, rows) in [("a", Some(1)), ("b", None), ("c", None), ("d", Some(2))] {
            assert_eq!(source.describe(&place.table(table)).await.unwrap().rows_estimate, rows, "{table}");
        }
        assert!(tables[0].last_analyzed.as_deref().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')));
        assert_eq!((&tables[0].last_vacuumed, &tables[1].last_analyzed, &tables[0].last_change), (&None, &None, &None));
        let read: Vec<_> = futures::future::join_all(kinds.iter().map(|(name, _)| place.read(name))).await;
        let rows: Vec<_> = read.into_iter().map(|batch| batch.unwrap().num_rows()).collect();
        place.run(&format!("DROP SERVER {server} CASCADE")).await;
        assert_eq!(rows, [1, 1, 1, 2, 1]);
        assert!(source.tables(None).await.unwrap().iter().any(|info| info.table == place.table("a")));
        let schemas = source.schemas().await.unwrap();
        assert!(schemas.iter().any(|info| info.name == place.schema));
        assert!(!schemas.iter().any(|info| info.name.starts_with("pg_") || info.name == "information_schema"));
    })
    .await;
}

#[tokio::test]
async fn names_that_nobody_likes() {
    in_schema(|place| async move {
        let name = "a\"b; DROP TABLE x; -- ünï \\ ' %s";
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        place.run(&format!("CREATE TABLE {quoted} ({quoted} int); INSERT INTO {quoted} VALUES (7)")).await;
        let session = place.begin(name).await;
        let summary = session.cursor_summary(name).await.unwrap();
        assert_eq!(summary.max.map(|max| max.to_string()).as_deref(), Some("7"));
        assert_eq!(place.read(name).await.unwrap().num_rows(), 1);
        let error = place.source().await.describe(&TableRef::new("x", "a\0b")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_comes_near() {
    in_schema(|place| async move {
        place.run("CREATE TABLE orders (total int); CREATE SEQUENCE counter").await;
        let source = place.source().await;
        let missing = |table: TableRef| {
            let source = &source;
            async move { source.describe(&table).await.unwrap_err() }
        };
        let error = missing(place.table("ordres")).await;
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::NotFound, Some("did you mean `orders`?")));
        assert!(error.message().contains("table") && error.message().contains("ordres"), "{error}");
        let schema = format!("{}x", place.schema);
        let error = missing(TableRef::new(&schema, "orders")).await;
        let near = format!("did you mean `{}`?", place.schema);
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::NotFound, Some(near.as_str())));
        assert!(error.message().contains("schema"), "{error}");
        assert_eq!(missing(place.table("counter")).await.kind(), ErrorKind::NotFound);
        assert_eq!(source.tables(Some(&schema)).await.unwrap_err().kind(), ErrorKind::NotFound);
        let session = place.begin("orders").await;
        let error = session.cursor_summary("totla").await.unwrap_err();
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::NotFound, Some("did you mean `total`?")));
    })
    .await;
}
