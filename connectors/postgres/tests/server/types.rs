//! Every type with its edges, compared with what the server prints.

use transload_core::ErrorKind;

use crate::support::in_schema;
use crate::types_cases::{CREATE_TYPES, Letters, built_in};
use crate::types_oracle::in_database;

#[tokio::test]
async fn every_type_arrives_as_the_server_has_it() {
    in_database("ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", &[], |database| async move {
        database.run(CREATE_TYPES).await;
        database.check(built_in(Letters::All), 200).await;
    })
    .await;
}

#[tokio::test]
async fn values_that_arrow_cannot_hold_are_errors_that_name_the_column() {
    in_schema(|place| async move {
        place.run("CREATE DOMAIN amount AS numeric(12,3)").await;
        for (i, (type_name, value)) in [
            ("date", "infinity"),
            ("date", "-infinity"),
            ("timestamp", "infinity"),
            ("timestamptz", "-infinity"),
            ("timestamp", "294276-12-31 23:59:59.999999"),
            ("timestamp", "294247-01-10 04:00:54.775808"),
            ("timestamptz", "294276-12-31 23:59:59.999999+00"),
            ("timestamptz", "infinity"),
            ("numeric(38,38)", "NaN"),
            ("amount", "NaN"),
            ("time", "24:00"),
            ("numeric(10,2)", "NaN"),
            ("numeric(40,2)", "NaN"),
        ]
        .into_iter()
        .enumerate()
        {
            place
                .run(&format!(
                    "CREATE TABLE t{i} (\"the column\" {type_name}); INSERT INTO t{i} VALUES ('{value}')"
                ))
                .await;
            let error = place.read(&format!("t{i}")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data, "{type_name} {value}: {error}");
            assert_eq!(error.context_value("column"), Some("the column"), "{type_name} {value}: {error}");
            assert!(error.hint_text().is_some() && !error.is_retryable());
        }
    })
    .await;
}
