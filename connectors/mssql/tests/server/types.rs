//! Values of every type at their edges. They are written as T-SQL literals, which the server's own parser reads, and
//! compared with what those literals say.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_schema::DataType;
use transload_core::connector::ReadPlan;
use transload_core::proof::{Fold, ProofLevel};
use transload_core::schema::Extension;
use transload_testkit::Cell;

use super::support::{Place, place, read_plan, texts};

/// Makes a table of one column with literals, reads it, and compares with the texts that are expected; NULL comes last.
/// What is read is proven as in a run, too.
async fn check(place: &Place, type_text: &str, values: &[(&str, &str)]) {
    let rows: Vec<_> =
        values.iter().enumerate().map(|(id, (literal, _))| format!("({id}, {literal})")).collect();
    place.run(&format!("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, c {type_text} NULL)")).await;
    place.run(&format!("INSERT INTO $.t VALUES {}", rows.join(", "))).await;
    place.run(&format!("INSERT INTO $.t VALUES ({}, NULL)", values.len())).await;
    let session = place.begin("t").await;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    assert!(batch.column(1).is_null(values.len()), "{type_text}");
    let found = texts(&batch, 1);
    for ((literal, expected), found) in values.iter().zip(&found) {
        let found = found.as_deref().map(short);
        assert_eq!(found.as_deref(), Some(short(expected).as_str()), "{type_text}: {literal}");
    }
    prove(session.as_ref(), &batch, type_text).await;
    session.close().await.unwrap();
    place.run("DROP TABLE $.t").await;
}

/// A time without zeros at its end; every other text as it is.
fn short(text: &str) -> String {
    let (time, zone) = text.strip_suffix("+00").map_or((text, ""), |time| (time, "+00"));
    match time.rsplit_once('.') {
        Some((seconds, fraction)) if seconds.len() >= 8 && seconds.contains(':') => {
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{seconds}{dot}{fraction}{zone}")
        }
        _ => text.to_owned(),
    }
}

async fn prove(
    session: &dyn transload_core::connector::ReadSession,
    batch: &arrow_array::RecordBatch,
    what: &str,
) {
    let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
    fold.add(batch).unwrap();
    let server = session.figures(&ReadPlan::default(), ProofLevel::Values).await;
    let (read, server) = (fold.finish(), server.unwrap_or_else(|error| panic!("{what}: {error}")));
    assert_eq!(read.rows, server.rows, "{what}");
    for (read, server) in read.columns.iter().zip(&server.columns) {
        assert_eq!(read.values, server.values, "{what}");
        assert!(server.checksum.is_none() || read.checksum == server.checksum, "{what}: {read:?} {server:?}");
        assert!(server.min.is_none() || read.min == server.min, "{what}: {read:?} {server:?}");
        assert!(server.max.is_none() || read.max == server.max, "{what}: {read:?} {server:?}");
    }
}

/// Literals that say what is read.
async fn plain(place: &Place, type_text: &str, values: &[&str]) {
    let values: Vec<_> = values.iter().map(|value| (*value, *value)).collect();
    check(place, type_text, &values).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn integers() {
    let place = place().await;
    check(&place, "BIT", &[("0", "false"), ("1", "true"), ("17", "true")]).await;
    plain(&place, "TINYINT", &["0", "127", "128", "255"]).await;
    plain(&place, "SMALLINT", &["-32768", "-1", "0", "32767"]).await;
    plain(&place, "INT", &["-2147483648", "-1", "0", "2147483647"]).await;
    plain(&place, "BIGINT", &["-9223372036854775808", "-1", "0", "9223372036854775807"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_and_money() {
    let place = place().await;
    plain(&place, "DECIMAL(1,0)", &["-9", "0", "9"]).await;
    plain(&place, "NUMERIC(9,9)", &["-0.999999999", "0.000000001"]).await;
    plain(&place, "DECIMAL(19,4)", &["-999999999999999.9999", "0.0001", "999999999999999.9999"]).await;
    plain(&place, "DECIMAL(28,9)", &["-9999999999999999999.999999999", "0.000000001"]).await;
    let most = "99999999999999999999999999999999999999";
    check(&place, "DECIMAL(38,0)", &[(most, most), (&format!("-{most}"), &format!("-{most}")), ("0", "0")])
        .await;
    let fraction = format!("0.{most}");
    check(
        &place,
        "DECIMAL(38,38)",
        &[(&fraction, &fraction), (&format!("-{fraction}"), &format!("-{fraction}"))],
    )
    .await;
    plain(&place, "MONEY", &["-922337203685477.5808", "-0.0001", "0.0000", "922337203685477.5807"]).await;
    plain(&place, "SMALLMONEY", &["-214748.3648", "0.0001", "214748.3647"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floats() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL, f FLOAT NULL, r REAL NULL, s FLOAT(24) NULL)").await;
    place
        .run(
            "INSERT INTO $.t VALUES (0, 1.7976931348623157e308, 3.4028235e38, 1.5e0), (1, 2.2250738585072014e-308, \
             1.17549435e-38, -1.5e0), (2, 0.1e0, 0.1e0, 0e0), (3, NULL, NULL, NULL)",
        )
        .await;
    let session = place.begin("t").await;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let (f, r) = (
        batch.column(1).as_primitive::<arrow_array::types::Float64Type>(),
        batch.column(2).as_primitive::<arrow_array::types::Float32Type>(),
    );
    assert_eq!(f.iter().collect::<Vec<_>>(), [Some(f64::MAX), Some(f64::MIN_POSITIVE), Some(0.1), None]);
    assert_eq!(r.iter().collect::<Vec<_>>(), [Some(f32::MAX), Some(f32::MIN_POSITIVE), Some(0.1), None]);
    assert_eq!(batch.column(3).data_type(), &DataType::Float32);
    prove(session.as_ref(), &batch, "floats").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_and_times() {
    let place = place().await;
    check(
        &place,
        "DATE",
        &[("'0001-01-01'", "0001-01-01"), ("'2024-02-29'", "2024-02-29"), ("'9999-12-31'", "9999-12-31")],
    )
    .await;
    check(&place, "TIME(0)", &[("'00:00:00'", "00:00:00.000000"), ("'23:59:59'", "23:59:59.000000")]).await;
    check(
        &place,
        "TIME(7)",
        &[("'00:00:00.0000001'", "00:00:00.000000"), ("'23:59:59.9999999'", "23:59:59.999999")],
    )
    .await;
    for scale in 0..=7_usize {
        let digits = "1234567".get(..scale).unwrap();
        let (dot, shown) = if scale == 0 { ("", "") } else { (".", digits.get(..scale.min(6)).unwrap()) };
        let literal = format!("'2024-02-29T23:59:58{dot}{digits}'");
        let expected = format!("2024-02-29 23:59:58{dot}{shown}");
        check(&place, &format!("DATETIME2({scale})"), &[(&literal, &expected)]).await;
    }
    check(
        &place,
        "DATETIME2(7)",
        &[
            ("'0001-01-01T00:00:00'", "0001-01-01 00:00:00"),
            ("'1969-12-31T23:59:59.9999999'", "1969-12-31 23:59:59.999999"),
            ("'9999-12-31T23:59:59.9999999'", "9999-12-31 23:59:59.999999"),
        ],
    )
    .await;
    check(
        &place,
        "DATETIME",
        &[
            ("'1753-01-01T00:00:00.000'", "1753-01-01 00:00:00"),
            ("'2024-01-01T00:00:00.003'", "2024-01-01 00:00:00.003"),
            ("'2024-01-01T00:00:00.007'", "2024-01-01 00:00:00.007"),
            ("'9999-12-31T23:59:59.997'", "9999-12-31 23:59:59.997"),
        ],
    )
    .await;
    check(
        &place,
        "SMALLDATETIME",
        &[("'1900-01-01T00:00:00'", "1900-01-01 00:00:00"), ("'2079-06-06T23:59:00'", "2079-06-06 23:59:00")],
    )
    .await;
    check(
        &place,
        "DATETIMEOFFSET(7)",
        &[
            ("'2024-01-01T00:30:00.1234567+05:30'", "2023-12-31 19:00:00.123456+00"),
            ("'2024-01-01T00:30:00-14:00'", "2024-01-01 14:30:00+00"),
            ("'9999-12-31T23:59:59.9999999+00:00'", "9999-12-31 23:59:59.999999+00"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventh_digit_may_be_kept_as_text() {
    let mut place = place().await;
    place.used.connection = place.used.connection.clone().option("seventh_digit", "text");
    check(&place, "TIME(7)", &[("'23:59:59.9999999'", "23:59:59.9999999")]).await;
    check(&place, "DATETIME2(7)", &[("'2024-01-01T10:00:00.1234567'", "2024-01-01 10:00:00.1234567")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_kind() {
    let place = place().await;
    let long = "größe 😀 ".repeat(2000);
    let long_literal = format!("N'{long}'");
    for (type_text, padded) in [
        ("NVARCHAR(30)", "it's ]] \u{1F600}"),
        ("NCHAR(5)", "ab   "),
        ("NVARCHAR(MAX)", &long),
        ("NTEXT", "größe"),
        ("VARCHAR(30) COLLATE Latin1_General_CI_AS", "größe €"),
        ("VARCHAR(30) COLLATE Cyrillic_General_CI_AS", "при"),
        ("VARCHAR(30) COLLATE Japanese_CI_AS", "日本"),
        ("VARCHAR(60) COLLATE Latin1_General_100_BIN2_UTF8", "日本 😀"),
        ("CHAR(5)", "ab   "),
        ("VARCHAR(MAX) COLLATE Latin1_General_CI_AS", "é"),
        ("TEXT", "plain"),
    ] {
        let literal = format!("N'{}'", padded.replace('\'', "''"));
        let literal = if padded == long { &long_literal } else { &literal };
        check(
            &place,
            type_text,
            &[
                (literal, padded),
                (
                    if type_text.contains("CHAR(5)") { "'     '" } else { "''" },
                    if type_text.contains("CHAR(5)") { "     " } else { "" },
                ),
            ],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_identifiers() {
    let place = place().await;
    place
        .run(
            "CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, b BINARY(4) NULL, v VARBINARY(8) NULL, m VARBINARY(MAX) NULL, \
             i IMAGE NULL, u UNIQUEIDENTIFIER NULL, r ROWVERSION)",
        )
        .await;
    place
        .run(
            "INSERT INTO $.t (id, b, v, m, i, u) VALUES (1, 0x01, 0x00FF, 0x, 0xABCDEF, \
             '0E984725-C51C-4BF4-9960-E1C80E27ABA0'), (2, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let session = place.begin("t").await;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let bytes = |column: usize| batch.column(column).as_binary::<i32>();
    assert_eq!(bytes(1).value(0), [1, 0, 0, 0], "padded with zeros");
    assert_eq!(
        (bytes(2).value(0), bytes(3).value(0), bytes(4).value(0)),
        (&[0, 255][..], &[][..], &[0xab, 0xcd, 0xef][..])
    );
    assert_eq!(batch.column(5).as_string::<i32>().value(0), "0e984725-c51c-4bf4-9960-e1c80e27aba0");
    for column in 1..=5 {
        assert!(batch.column(column).is_null(1), "{column}");
    }
    let versions = batch.column(6).as_fixed_size_binary();
    assert!(versions.value(0) < versions.value(1), "one after the other, as unsigned numbers");
    prove(session.as_ref(), &batch, "bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_say_their_types() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, v SQL_VARIANT NULL)").await;
    let values = [
        ("CAST(5 AS INT)", "int", "5"),
        ("CAST(-0.05 AS DECIMAL(10,2))", "decimal", "-0.05"),
        ("CAST(N'größe' AS NVARCHAR(20))", "nvarchar", "größe"),
        ("CAST('2024-01-01T10:00:00.1234567' AS DATETIME2(7))", "datetime2", "2024-01-01 10:00:00.1234567"),
        ("CAST(1 AS BIT)", "bit", "1"),
        ("CAST(0x00FF AS VARBINARY(2))", "varbinary", "0x00ff"),
    ];
    for (id, (literal, ..)) in values.iter().enumerate() {
        place.run(&format!("INSERT INTO $.t VALUES ({id}, {literal})")).await;
    }
    place.run("INSERT INTO $.t VALUES (99, NULL)").await;
    let batch = place.read("t").await.unwrap();
    let rows = transload_testkit::arrow::rows(&batch).unwrap();
    for (row, (literal, name, text)) in rows.iter().zip(values) {
        let Cell::Record(fields) = &row[1] else { panic!("{row:?}") };
        let found: Vec<_> = fields.iter().map(|(_, cell)| cell.to_plain().unwrap()).collect();
        assert_eq!(found, [name, text], "{literal}");
    }
    assert_eq!(rows.last().unwrap()[1], Cell::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_and_clr_types() {
    let place = place().await;
    place
        .run(
            "CREATE TABLE $.t (id INT NOT NULL PRIMARY KEY, x XML NULL, h HIERARCHYID NULL, g GEOGRAPHY NULL, m GEOMETRY NULL)",
        )
        .await;
    place
        .run(
            "INSERT INTO $.t VALUES (1, N'<a>größe</a>', hierarchyid::Parse('/1/2/'), \
             geography::STGeomFromText('POINT (10 50)', 4326), geometry::STGeomFromText('POINT (1 2)', 3857)), \
             (2, NULL, NULL, NULL, NULL), \
             (3, NULL, hierarchyid::GetRoot(), geography::STGeomFromText('POINT (10 50)', 4269), NULL)",
        )
        .await;
    let session = place.begin("t").await;
    assert_eq!(session.table().columns[3].extension, Some(Extension::GeoWkt));
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
    assert_eq!((text(1, 0), text(2, 0), text(2, 2)), ("<a>größe</a>".into(), "/1/2/".into(), "/".into()));
    assert_eq!((text(3, 0), text(3, 2)), ("POINT (10 50)".into(), "SRID=4269;POINT (10 50)".into()));
    let point = batch.column(4).as_binary::<i32>().value(0);
    assert_eq!(point.get(..9), Some(&[1, 1, 0, 0, 0x20, 0x11, 0x0f, 0, 0][..]), "extended, of SRID 3857");
    for column in 1..=4 {
        assert!(batch.column(column).is_null(1), "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_pair_of_surrogates_follows_the_policy() {
    let place = place().await;
    place.run("CREATE TABLE $.t (id INT NOT NULL, t NVARCHAR(10) NULL)").await;
    place.run("INSERT INTO $.t VALUES (1, CAST(0x61003DD8 AS NVARCHAR(10)))").await;
    let error = place.read("t").await.unwrap_err();
    assert!(
        error.message().contains("`t`") && error.hint_text().unwrap().contains("invalid_text"),
        "{error}"
    );
    let lenient = place.connection().option("invalid_text", "replace");
    let batch = super::support::read_by(&lenient, &place.table("t")).await.unwrap();
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "a\u{fffd}");
}

/// The proposals for every type, beside the reference of all types.
#[tokio::test(flavor = "multi_thread")]
async fn types_agree_with_the_reference() {
    let place = place().await;
    let types = [
        "BIT",
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "DECIMAL(10,2)",
        "DECIMAL(38,9)",
        "NUMERIC(38,0)",
        "NUMERIC(38,38)",
        "MONEY",
        "SMALLMONEY",
        "REAL",
        "FLOAT",
        "FLOAT(24)",
        "DATE",
        "TIME(3)",
        "TIME(7)",
        "SMALLDATETIME",
        "DATETIME",
        "DATETIME2(3)",
        "DATETIME2(7)",
        "DATETIMEOFFSET(3)",
        "DATETIMEOFFSET(7)",
        "CHAR(3)",
        "VARCHAR(9)",
        "VARCHAR(MAX)",
        "TEXT",
        "NCHAR(3)",
        "NVARCHAR(9)",
        "NVARCHAR(MAX)",
        "NTEXT",
        "BINARY(3)",
        "VARBINARY(9)",
        "VARBINARY(MAX)",
        "IMAGE",
        "ROWVERSION",
        "UNIQUEIDENTIFIER",
        "XML",
        "SQL_VARIANT",
        "HIERARCHYID",
        "GEOMETRY",
        "GEOGRAPHY",
        "SYSNAME",
    ];
    let columns: Vec<_> = types.iter().enumerate().map(|(index, text)| format!("c{index} {text}")).collect();
    place.run(&format!("CREATE TABLE $.t ({})", columns.join(", "))).await;
    let described = place.source().await.describe(&place.table("t")).await.unwrap();
    assert_eq!(described.columns.len(), types.len());
    let mapping = transload_core::SchemaMapper::default().map(&described, None).unwrap();
    let mut differences = Vec::new();
    for column in &mapping.columns {
        let said = transload_core::SchemaMapper::for_type("sqlserver", &column.source_type);
        let said = said.map_or_else(|error| error.to_string(), |said| said.bigquery_type.to_string());
        if said != column.bigquery_type.to_string() {
            differences.push((column.source_type.clone(), column.bigquery_type.to_string(), said));
        }
    }
    // The reference takes no column for one of SRID 4326; here each value says its own.
    let geography = ("geography", "GEOGRAPHY", "BYTES");
    let found: Vec<_> =
        differences.iter().map(|(text, own, said)| (text.as_str(), own.as_str(), said.as_str())).collect();
    assert_eq!(found, [geography]);
}
