//! Discovery.

use transload_core::ErrorKind;
use transload_core::connector::TableKind;
use transload_core::schema::TableRef;

use super::support::{open, place};

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_with_what_is_known_of_them() {
    let place = place().await;
    place.numbers(100, 10).await;
    place.run("CREATE VIEW $.v AS SELECT id FROM $.t").await;
    let source = place.source().await;
    let tables = source.tables(Some(&place.schema)).await.unwrap();
    let found: Vec<_> =
        tables.iter().map(|info| (info.table.name.as_str(), info.kind, info.readable)).collect();
    assert_eq!(found, [("t", TableKind::Table, true), ("v", TableKind::View, true)]);
    assert_eq!(tables[0].rows_estimate, Some(100));
    assert!(tables[0].bytes.is_some_and(|bytes| bytes > 0), "{:?}", tables[0]);
    assert!(source.schemas().await.unwrap().iter().any(|schema| schema.name == place.schema));
    assert!(source.tables(None).await.unwrap().iter().any(|info| info.table == place.table("v")));
    let error = source.tables(Some("no such schema")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_keys() {
    let place = place().await;
    place
        .run(
            "CREATE TABLE $.t (a INT IDENTITY(1,1) NOT NULL, b NVARCHAR(20) NOT NULL DEFAULT 'x', c DECIMAL(10,2) NULL, \
             d AS (a + 1), e DATETIME2(3) NULL, PRIMARY KEY (b, a), UNIQUE (c))",
        )
        .await;
    let table = place.source().await.describe(&place.table("t")).await.unwrap();
    assert_eq!(
        (table.primary_key, table.unique_keys),
        (vec!["b".into(), "a".into()], vec![vec!["c".into()]])
    );
    let names: Vec<_> =
        table.columns.iter().map(|column| (column.name.as_str(), column.source_type.as_str())).collect();
    assert_eq!(
        names,
        [("a", "int"), ("b", "nvarchar(20)"), ("c", "decimal(10,2)"), ("d", "int"), ("e", "datetime2(3)")]
    );
    let [a, b, c, d, e] = table.columns.as_slice() else { panic!("{:?}", table.columns) };
    assert!(!a.nullable && !b.nullable && c.nullable && e.nullable);
    assert!(b.default.as_deref().is_some_and(|default| default.contains('x')), "{b:?}");
    assert!(d.generated && d.note.warnings.iter().any(|warning| warning.code == "W_GENERATED"), "{d:?}");
    assert!(c.indexed && !b.indexed && !e.indexed, "text is compared by its bytes, which no index serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_with_what_is_near() {
    let place = place().await;
    place.run("CREATE TABLE $.customers (id INT NOT NULL)").await;
    let source = place.source().await;
    let error = source.describe(&place.table("customer")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint_text().unwrap().contains("customers"), "{error}");
    let error = source.describe(&TableRef::new("no such schema", "t")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("schema"), "{error}");
    let elsewhere = place.connection().option("database", "no_such_database");
    let error = open(&elsewhere).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let wrong = place.connection().password(transload_core::Secret::new("wrong-Secret-1".to_owned()));
    let error = open(&wrong).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!format!("{error:?}").contains("wrong-Secret-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_names() {
    let place = place().await;
    let name = "it's ]] a \"table\"; DROP TABLE x -- \u{1F600}";
    let quoted = format!("[{}]", name.replace(']', "]]"));
    place
        .run(&format!(
            "CREATE TABLE $.{quoted} ({quoted} INT NOT NULL PRIMARY KEY, [b]]c] NVARCHAR(10) NULL)"
        ))
        .await;
    place.run(&format!("INSERT INTO $.{quoted} VALUES (7, N'x')")).await;
    let batch = place.read(name).await.unwrap();
    assert_eq!((batch.num_rows(), batch.schema().field(0).name().as_str()), (1, name));
    assert_eq!(batch.schema().field(1).name(), "b]c");
}
