//! Values of every type, as tiberius reads them and as the server prints them.

use super::support::{cell, cells, connect, run, start};

#[tokio::test(flavor = "multi_thread")]
async fn values_are_read_as_they_were_written() {
    let server = start().await;
    let mut client = connect(&server).await;
    // Type, literal, what tiberius shows.
    let values = [
        ("bit", "1", "1"),
        ("tinyint", "255", "255"),
        ("smallint", "-32768", "-32768"),
        ("int", "-2147483648", "-2147483648"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        (
            "decimal(38, 10)",
            "-1234567890123456789012345678.0123456789",
            "-1234567890123456789012345678.0123456789",
        ),
        ("numeric(5, 5)", "0.12345", "0.12345"),
        ("real", "1.5", "1.5"),
        ("float", "-2.25e-10", "-0.000000000225"),
        (
            "uniqueidentifier",
            "'00112233-4455-6677-8899-aabbccddeeff'",
            "00112233-4455-6677-8899-AABBCCDDEEFF",
        ),
        ("char(5)", "'ab'", "ab   "),
        ("varchar(20)", "'café'", "café"),
        ("varchar(20) COLLATE Cyrillic_General_CI_AS", "N'Привет'", "Привет"),
        ("varchar(20) COLLATE Japanese_CI_AS", "N'テスト'", "テスト"),
        ("nchar(4)", "N'äb'", "äb  "),
        ("nvarchar(20)", "N'naïve 😀'", "naïve 😀"),
        ("nvarchar(max)", "REPLICATE(CAST(N'x' AS nvarchar(max)), 3)", "xxx"),
        ("varchar(max)", "'latin ü'", "latin ü"),
        ("varbinary(10)", "0x00FF10", "00FF10"),
        ("binary(4)", "0x0102", "01020000"),
        ("varbinary(max)", "0xCAFE", "CAFE"),
        ("text", "'old'", "old"),
        ("ntext", "N'old é'", "old é"),
        ("image", "0xBEEF", "BEEF"),
        ("xml", "N'<a b=\"1\">é</a>'", "<a b=\"1\">é</a>"),
    ];
    for (ty, literal, shown) in values {
        run(&mut client, &format!("CREATE TABLE t (a {ty} NOT NULL, b {ty} NULL, c {ty} NULL)")).await;
        run(&mut client, &format!("INSERT INTO t VALUES ({literal}, {literal}, NULL)")).await;
        let found = cells(&mut client, "SELECT a, b, c FROM t").await;
        assert_eq!(found, [[shown, shown, "-"]], "{ty}");
        run(&mut client, "DROP TABLE t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_printed_as_t_sql_prints_them() {
    let server = start().await;
    let mut client = connect(&server).await;
    let printed = [
        (
            "CAST(CAST('2024-01-31T12:34:56.1234567' AS datetime2(7)) AS varchar(40))",
            "2024-01-31 12:34:56.1234567",
        ),
        (
            "CAST(CAST('2024-01-31T12:34:56.1234567' AS datetime2(3)) AS varchar(40))",
            "2024-01-31 12:34:56.123",
        ),
        ("CAST(CAST('23:59:59.9999999' AS time(7)) AS varchar(40))", "23:59:59.9999999"),
        ("CAST(CAST('0001-01-01' AS date) AS varchar(40))", "0001-01-01"),
        (
            "CAST(CAST('2024-01-31T12:34:56.1234567+05:30' AS datetimeoffset(7)) AS varchar(40))",
            "2024-01-31 12:34:56.1234567 +05:30",
        ),
        ("CONVERT(varchar(40), CAST('2024-01-31T12:34:56.998' AS datetime), 121)", "2024-01-31 12:34:56.997"),
        ("CAST(CAST('2024-01-31T12:34:56' AS datetime) AS varchar(40))", "Jan 31 2024 12:34PM"),
        ("CONVERT(varchar(40), CAST('2024-01-31T12:34:30' AS smalldatetime), 120)", "2024-01-31 12:35:00"),
        ("CAST(CAST(-922337203685477.5808 AS money) AS varchar(40))", "-922337203685477.58"),
        ("CONVERT(varchar(40), CAST(1.23456 AS money), 2)", "1.2346"),
        ("CONVERT(varchar(10), 0x0AFF, 1)", "0x0AFF"),
        ("CAST(10 / 3 AS varchar(10))", "3"),
        ("CAST(10.0 / 3 AS varchar(20))", "3.333333"),
        ("CAST(hierarchyid::Parse('/1/2/') AS nvarchar(10))", "/1/2/"),
        ("geography::STGeomFromText('POINT (10 50)', 4326).STAsText()", "POINT (10 50)"),
        ("CAST(DATEDIFF(day, '19700101', CAST('2024-01-01' AS date)) AS varchar(10))", "19723"),
        (
            "CONVERT(varchar(40), HASHBYTES('MD5', CAST('abc' AS varchar(10))), 2)",
            "900150983CD24FB0D6963F7D28E17F72",
        ),
        ("CAST(SQL_VARIANT_PROPERTY(CAST(1.5 AS sql_variant), 'BaseType') AS varchar(20))", "numeric"),
        ("CASE WHEN 'ABC' = 'abc  ' THEN 'same' ELSE 'other' END", "same"),
        ("CASE WHEN 'ABC' COLLATE Latin1_General_BIN2 = 'abc' THEN 'same' ELSE 'other' END", "other"),
    ];
    for (expression, text) in printed {
        assert_eq!(cell(&mut client, &format!("SELECT {expression} AS x")).await, text, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_come_in_pieces_of_every_size() {
    let server = start().await;
    let mut client = connect(&server).await;
    for pieces in ["pieces 7 unknown", "pieces 7 known", "pieces 8040 unknown"] {
        run(&mut client, &format!("EXEC tds_test '{pieces}'")).await;
        let text = cell(&mut client, "SELECT REPLICATE(CAST(N'añ' AS nvarchar(max)), 10000)").await;
        assert_eq!(text, "añ".repeat(10_000), "{pieces}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_rows_are_rows() {
    let server = start().await;
    let mut client = connect(&server).await;
    let lineitem = cells(&mut client, "EXEC tds_test 'lineitem 3000'").await;
    assert_eq!((lineitem.len(), lineitem[2999][0].as_str(), lineitem[0].len()), (3000, "750", 16));
    let mixed = cells(&mut client, "EXEC tds_test 'mixed 3000'").await;
    let empty = mixed.iter().flatten().filter(|cell| *cell == "-").count();
    assert_eq!((mixed.len(), mixed[0].len()), (3000, 17));
    // A third of the cells; those of dates and times are not shown as `-`.
    assert!((8_000..14_000).contains(&empty), "{empty} cells are NULL");
}

#[tokio::test(flavor = "multi_thread")]
async fn unions_and_variants_keep_their_types() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(
        &mut client,
        "CREATE TABLE v (id int, a sql_variant);
         INSERT INTO v VALUES (1, 5), (2, N'fünf'), (3, CAST(1.50 AS decimal(9, 2))), (4, 0x0A),
             (5, CAST('2024-01-31' AS date)), (6, NULL)",
    )
    .await;
    let printed = "SELECT CAST(SQL_VARIANT_PROPERTY(a, 'BaseType') AS nvarchar(20)), CAST(a AS nvarchar(40)) FROM v ORDER BY id";
    let expected = [
        ["int", "5"],
        ["nvarchar", "fünf"],
        ["decimal", "1.50"],
        ["varbinary", "\u{A}"],
        ["date", "2024-01-31"],
        ["-", "-"],
    ];
    let found = cells(&mut client, printed).await;
    for (row, expected) in found.iter().zip(expected).filter(|(row, _)| row[0] != "varbinary") {
        assert_eq!(row, &expected);
    }
}
