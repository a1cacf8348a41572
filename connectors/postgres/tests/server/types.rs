//! Every type with its edges, compared with what the server prints.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use transload_core::ErrorKind;
use transload_core::connector::ReadPlan;
use transload_core::schema::Extension;

use crate::support::{in_schema, read_plan};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An Arrow value in the form of the oracle expression of its type.
fn render(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::Float32 => hex(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => hex(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        other => panic!("no rendering of {other}"),
    })
}

/// Arrow type, how the server tells the same value, and values.
fn cases() -> Vec<(&'static str, DataType, &'static str, Vec<&'static str>)> {
    use DataType::{Boolean, Decimal128, Decimal256, Utf8};
    let micros = || DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None);
    let zoned = || DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()));
    let time = || DataType::Time64(arrow_schema::TimeUnit::Microsecond);
    let printed = "format('%s', v)";
    let epoch = "(extract(epoch FROM v) * 1000000)::bigint::text";
    let big76 = "9999999999999999999999999999999999999999999999999999999999999999999999999999";
    vec![
        ("boolean", Boolean, "v::text", vec!["true", "false"]),
        ("smallint", DataType::Int16, "v::text", vec!["-32768", "0", "32767"]),
        ("integer", DataType::Int32, "v::text", vec!["-2147483648", "-1", "2147483647"]),
        (
            "bigint",
            DataType::Int64,
            "v::text",
            vec!["-9223372036854775808", "9007199254740993", "9223372036854775807"],
        ),
        ("oid", DataType::UInt32, "v::text", vec!["0", "4294967295"]),
        (
            "real",
            DataType::Float32,
            "encode(float4send(v), 'hex')",
            vec!["0.1", "-0", "NaN", "Infinity", "-Infinity", "1.4e-45", "3.4028235e38"],
        ),
        (
            "double precision",
            DataType::Float64,
            "encode(float8send(v), 'hex')",
            vec!["0.1", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308"],
        ),
        ("numeric(5)", Decimal128(5, 0), "v::text", vec!["-99999", "0", "10000", "20000", "99999"]),
        (
            "numeric(15,2)",
            Decimal128(15, 2),
            "v::text",
            vec![
                "0",
                "0.01",
                "-0.01",
                "0.10",
                "1",
                "10000",
                "10000.5",
                "123456789.12",
                "-9999999999999.99",
                "9999999999999.99",
            ],
        ),
        (
            "numeric(10,5)",
            Decimal128(10, 5),
            "v::text",
            vec!["0.00001", "0.00010", "-0.12345", "99999.99999", "10000.00001"],
        ),
        ("numeric(5,5)", Decimal128(5, 5), "v::text", vec!["0.99999", "-0.00001"]),
        ("numeric(3,5)", Decimal128(5, 5), "v::text", vec!["0.00999", "-0.00001"]),
        ("numeric(3,-2)", Decimal128(5, 0), "v::text", vec!["99900", "-100", "0"]),
        (
            "numeric(38,0)",
            Decimal128(38, 0),
            "v::text",
            vec!["99999999999999999999999999999999999999", "-1", "10000000000000000"],
        ),
        (
            "numeric(38,37)",
            Decimal128(38, 37),
            "v::text",
            vec!["-9.9999999999999999999999999999999999999", "0.0000000000000000000000000000000000001"],
        ),
        (
            "numeric(39,1)",
            Decimal256(39, 1),
            "v::text",
            vec!["99999999999999999999999999999999999999.9", "-0.1"],
        ),
        ("numeric(76)", Decimal256(76, 0), "v::text", vec![big76, "-1", "0"]),
        (
            "numeric",
            Utf8,
            "v::text",
            vec![
                "0",
                "0.00",
                "-0.000001",
                "1.10",
                "10000",
                "100000000",
                "12345678901234567890.000010000",
                "NaN",
                "Infinity",
                "-Infinity",
                "1e300",
                "-1e-300",
                "0.0001",
                "9999",
                "99999999.99990000",
            ],
        ),
        (
            "numeric(100,2)",
            Utf8,
            "v::text",
            vec!["1.50", "-12345678901234567890123456789012345678901234567890.12"],
        ),
        (
            "money",
            Decimal128(19, 2),
            "v::numeric::text",
            vec!["-92233720368547758.08", "0.01", "92233720368547758.07"],
        ),
        (
            "text",
            Utf8,
            printed,
            vec!["", " ", "naïve 🦀 \u{10ffff}", "back\\slash", "quote'\"", "line\nbreak\ttab"],
        ),
        ("varchar(5)", Utf8, printed, vec!["", "ünïcö"]),
        ("char(5)", Utf8, printed, vec!["ab", ""]),
        ("name", Utf8, printed, vec!["a name"]),
        ("\"char\"", Utf8, "v::text", vec!["x"]),
        ("xml", Utf8, "v::text", vec!["<a>ü</a>", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>"]),
        ("mood", Utf8, "v::text", vec!["ok", "very 'good'"]),
        ("bytea", DataType::Binary, "encode(v, 'hex')", vec!["", "\\x00ff5c", "\\xdeadbeef"]),
        (
            "date",
            DataType::Date32,
            "(v - date '1970-01-01')::text",
            vec!["1970-01-01", "0001-01-01", "9999-12-31", "4713-01-01 BC", "5874897-12-31", "2024-02-29"],
        ),
        ("time", time(), epoch, vec!["00:00", "23:59:59.999999", "12:34:56.5"]),
        (
            "timestamp",
            micros(),
            epoch,
            vec![
                "1970-01-01",
                "0001-01-01",
                "9999-12-31 23:59:59.999999",
                "1969-12-31 23:59:59.999999",
                "4713-01-01 BC",
                "294246-12-31 23:59:59.999999",
                "2000-01-01 00:00:00.000001",
            ],
        ),
        (
            "timestamptz",
            zoned(),
            epoch,
            vec!["1970-01-01 00:00+02", "0001-01-01 00:00+00", "9999-12-31 23:59:59.999999+00"],
        ),
        (
            "uuid",
            DataType::FixedSizeBinary(16),
            "replace(v::text, '-', '')",
            vec!["00112233-4455-6677-8899-aabbccddeeff"],
        ),
        (
            "json",
            Utf8,
            "v::text",
            vec!["{\"b\": 1,  \"a\":1e400, \"a\": \"\\u00fc\"}", "null", "0.10000000000000000555"],
        ),
        (
            "jsonb",
            Utf8,
            "v::text",
            vec!["{\"b\": 1, \"a\": [1, null, \"ü\"]}", "null", "18446744073709551616"],
        ),
        ("timetz", Utf8, "v::text", vec!["00:00+15:59:59", "12:34:56.789-08"]),
        ("bit(4)", Utf8, "v::text", vec!["0101"]),
        ("varbit", Utf8, "v::text", vec!["", "1"]),
        ("inet", Utf8, "v::text", vec!["10.0.0.1/8", "::1"]),
        ("cidr", Utf8, "v::text", vec!["2001:db8::/32"]),
        ("macaddr", Utf8, "v::text", vec!["08:00:2b:01:02:03"]),
        ("tsrange", Utf8, "v::text", vec!["[2024-01-01,infinity]"]),
        ("int4multirange", Utf8, "v::text", vec!["{}", "{[1,2),[5,9)}"]),
        ("tsvector", Utf8, "v::text", vec!["'a':1A 'b':2"]),
        ("pg_lsn", Utf8, "v::text", vec!["16/B374D848"]),
        ("point", Utf8, "v::text", vec!["(1,2.5)"]),
        ("polygon", Utf8, "v::text", vec!["((0,0),(1,1),(1,0))"]),
        ("xid8", Utf8, "v::text", vec!["18446744073709551615"]),
        ("positive", Decimal128(10, 2), "v::text", vec!["12.30"]),
        ("positive_of_positive", Decimal128(10, 2), "v::text", vec!["99999999.99"]),
        ("integer[]", Utf8, "to_jsonb(v)::text", vec!["{1,NULL,3}", "{}", "{{1,2},{3,4}}"]),
        ("text[]", Utf8, "to_jsonb(v)::text", vec!["{a,\"b,\\\"c\",NULL,\"NULL\"}"]),
        ("ints", Utf8, "to_jsonb(v)::text", vec!["{1,2}"]),
        ("pair", Utf8, "to_jsonb(v)::text", vec!["(1,\"a b\")", "(,)"]),
    ]
}

#[tokio::test]
async fn every_type_arrives_as_the_server_prints_it() {
    in_schema(|place| async move {
        place
            .run(
                "CREATE TYPE mood AS ENUM ('ok', 'very ''good'''); CREATE TYPE pair AS (a int, b text);
                 CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0); CREATE DOMAIN ints AS int[];
                 CREATE DOMAIN positive_of_positive AS positive NOT NULL DEFAULT 1",
            )
            .await;
        for (i, (type_name, arrow, oracle, values)) in cases().into_iter().enumerate() {
            place.run(&format!("CREATE TABLE t{i} (id int, v {type_name})")).await;
            let null = if type_name.starts_with("positive_of") { "" } else { ", (-1, NULL), (99, NULL)" };
            let mut rows = Vec::new();
            for (id, value) in values.iter().enumerate() {
                rows.push(format!("({id}, '{}'::{type_name})", value.replace('\'', "''")));
            }
            place.run(&format!("INSERT INTO t{i} VALUES {}{null}", rows.join(", "))).await;
            let batch =
                place.read(&format!("t{i}")).await.unwrap_or_else(|error| panic!("{type_name}: {error}"));
            assert_eq!(batch.column(1).data_type(), &arrow, "{type_name}");
            let expected = place
                .texts(&format!(
                    "SELECT CASE WHEN v IS DISTINCT FROM NULL THEN {oracle} END FROM t{i} ORDER BY ctid"
                ))
                .await;
            let found: Vec<_> = (0..batch.num_rows()).map(|row| render(batch.column(1), row)).collect();
            assert_eq!(found, expected, "{type_name}");
        }
    })
    .await;
}

#[tokio::test]
async fn extension_types() {
    in_schema(|place| async move {
        place.run("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public; CREATE EXTENSION IF NOT EXISTS citext SCHEMA public").await;
        place.run("CREATE TABLE t (h hstore, c citext); INSERT INTO t VALUES ('a=>1, b=>NULL', 'AbC')").await;
        let batch = place.read("t").await.unwrap();
        let value = |column: usize| render(batch.column(column), 0).unwrap();
        assert_eq!((value(0).as_str(), value(1).as_str()), (r#"{"a": "1", "b": null}"#, "AbC"));
        let table = place.source().await.describe(&place.table("t")).await.unwrap();
        assert_eq!(table.columns[0].extension, Some(Extension::Json));
        assert_eq!(table.columns[1].source_type, "citext");
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

#[tokio::test]
async fn values_that_arrow_cannot_hold_are_errors_that_name_the_column() {
    in_schema(|place| async move {
        for (i, (type_name, value)) in [
            ("date", "infinity"),
            ("date", "-infinity"),
            ("timestamp", "infinity"),
            ("timestamptz", "-infinity"),
            ("timestamp", "294276-12-31 23:59:59"),
            ("time", "24:00"),
            ("numeric(10,2)", "NaN"),
            ("numeric(50,2)", "NaN"),
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
