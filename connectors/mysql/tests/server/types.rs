//! Values of every type, at their edges and at random, compared with what the server prints of them.

use arrow_array::RecordBatch;
use rand::Rng as _;
use transload_core::connector::ReadPlan;
use transload_core::proof::{Fold, ProofLevel};
use transload_core::schema::Extension;
use transload_testkit::generate::Seeded;
use transload_testkit::{Cell, Float};

use super::support::{Place, place, read_plan};

/// How the server is asked for a value, as text.
const PRINTED: &str = "CAST(c AS CHAR)";

/// Makes a table of one column, reads it, and compares each row. What is read is proven as in a run, too.
pub(crate) async fn check(place: &Place, type_text: &str, literals: &[String], asked: &str) -> RecordBatch {
    place.run(&format!(
        "SET sql_mode = 'ALLOW_INVALID_DATES'; DROP TABLE IF EXISTS t; \
         CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, c {type_text} NULL)"
    ));
    for literals in literals.chunks(500) {
        let rows: Vec<_> = literals.iter().map(|literal| format!("({literal})")).collect();
        place.run(&format!(
            "SET sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO t (c) VALUES {}",
            rows.join(", ")
        ));
    }
    place.run("INSERT INTO t (c) VALUES (NULL)");
    let session = place.begin("t").await;
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let expected = place.run(&format!("SELECT id, HEX({asked}) FROM t ORDER BY id"));
    assert_eq!(batch.num_rows(), expected.len(), "{type_text}");
    let mut found: Vec<_> = transload_testkit::arrow::rows(&batch).unwrap();
    found.sort_by_key(|row| row[0].clone());
    for (row, expected) in found.iter().zip(&expected) {
        let printed = match &row[1] {
            // The shortest text of a single is not that of the double.
            Cell::Float(Float(value)) => Some(value.to_string()),
            Cell::Timestamp(_) => row[1].to_plain().map(|text| text.replace("+00", "")),
            Cell::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Cell::Bool(value) => Some(u8::from(*value).to_string()),
            cell => cell.to_plain(),
        };
        let bytes = match &row[1] {
            Cell::Bytes(bytes) => Some(bytes.clone()),
            _ => printed.clone().map(String::into_bytes),
        };
        let hex = bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
        let same = match (&row[1], hex.as_deref()) {
            (Cell::Float(Float(value)), _) => float(&expected[1]).to_bits() == value.to_bits(),
            (_, hex) => hex.unwrap_or("NULL") == expected[1],
        };
        assert!(same, "{type_text}: {:?} was read, the server prints {}", row, text(&expected[1]));
    }
    let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
    fold.add(&batch).unwrap();
    let (read, server) =
        (fold.finish(), session.figures(&ReadPlan::default(), ProofLevel::Values).await.unwrap());
    assert_eq!(read.rows, server.rows, "{type_text}");
    for (read, server) in read.columns.iter().zip(&server.columns) {
        assert_eq!(read.values, server.values, "{type_text}");
        assert!(
            server.checksum.is_none() || read.checksum == server.checksum,
            "{type_text}: {read:?} {server:?}"
        );
        assert!(server.min.is_none() || read.min == server.min, "{type_text}: {read:?} {server:?}");
        assert!(server.max.is_none() || read.max == server.max, "{type_text}: {read:?} {server:?}");
    }
    batch
}

fn text(hex: &str) -> String {
    let bytes = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = bytes.map_while(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn float(hex: &str) -> f64 {
    text(hex).parse().unwrap_or(f64::NAN)
}

fn literals(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// A text as a literal that needs no escaping.
fn hex_of(bytes: &[u8]) -> String {
    format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn integers() {
    let place = place();
    let mut seeded = Seeded::from_env();
    for (name, bits) in [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)] {
        let half = 1_i128 << (bits - 1);
        for (suffix, low, high) in [("", -half, half - 1), (" UNSIGNED", 0, 2 * half - 1)] {
            let mut values = vec![low, low + 1, 0, 1, high - 1, high];
            values.extend((0..200).map(|_| seeded.rng.random_range(low..=high)));
            let values: Vec<_> = values.iter().map(i128::to_string).collect();
            check(&place, &format!("{name}{suffix}"), &values, PRINTED).await;
        }
    }
    check(&place, "TINYINT(1)", &literals(&["0", "1", "2", "-128", "127"]), PRINTED).await;
    check(&place, "INT(6) ZEROFILL", &literals(&["0", "42", "4294967295"]), "CAST(c + 0 AS CHAR)").await;
    check(&place, "BOOLEAN", &literals(&["TRUE", "FALSE", "-1"]), PRINTED).await;
    check(&place, "YEAR", &literals(&["0", "1901", "2155", "'00'", "'69'", "70"]), "CAST(c + 0 AS CHAR)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals() {
    let place = place();
    let mut seeded = Seeded::from_env();
    let shapes = [
        (1, 0),
        (5, 5),
        (15, 2),
        (18, 4),
        (19, 0),
        (20, 9),
        (38, 0),
        (38, 9),
        (38, 38),
        (39, 1),
        (65, 30),
        (65, 38),
        (65, 0),
    ];
    for (digits, scale) in shapes {
        let mut values = vec!["0".to_owned(), "-0".to_owned()];
        for _ in 0..100 {
            let whole: String = (0..seeded.rng.random_range(0..=digits - scale))
                .map(|_| seeded.rng.random_range(b'0'..=b'9') as char)
                .collect();
            let fraction: String = (0..seeded.rng.random_range(0..=scale))
                .map(|_| seeded.rng.random_range(b'0'..=b'9') as char)
                .collect();
            let sign = if seeded.rng.random() { "-" } else { "" };
            values.push(format!("{sign}0{whole}.{fraction}0"));
        }
        let most = format!("{}.{}0", "9".repeat(digits - scale), "9".repeat(scale));
        values.extend([format!("-0{most}"), format!("0{most}")]);
        check(&place, &format!("DECIMAL({digits},{scale})"), &values, PRINTED).await;
    }
    check(
        &place,
        "DECIMAL(10,2) UNSIGNED ZEROFILL",
        &literals(&["0", "1.5", "99999999.99"]),
        "CAST(c + 0 AS CHAR)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floats() {
    let place = place();
    let mut seeded = Seeded::from_env();
    let mut doubles = literals(&[
        "0",
        "-0.0e0",
        "1.7976931348623157e308",
        "-1.7976931348623157e308",
        "2.2250738585072014e-308",
        "4.9e-324",
        "0.1",
        "1e22",
        "9007199254740993",
    ]);
    doubles.extend(
        (0..300)
            .map(|_| f64::from_bits(seeded.rng.random()))
            .filter(|f| f.is_finite())
            .map(|f| format!("{f:e}")),
    );
    check(&place, "DOUBLE", &doubles, PRINTED).await;
    let mut singles = literals(&["0", "16777217", "3.4028234e38", "-3.4028234e38", "1.17549435e-38", "0.1"]);
    singles.extend(
        (0..300)
            .map(|_| f32::from_bits(seeded.rng.random()))
            .filter(|f| f.is_normal())
            .map(|f| format!("{f:e}")),
    );
    // As text, the server rounds a single to six digits.
    check(&place, "FLOAT", &singles, "CAST(c + 0.0E0 AS CHAR)").await;
    check(&place, "FLOAT(7,3)", &literals(&["1.2345", "-9999.999"]), "CAST(c + 0.0E0 AS CHAR)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bits() {
    let place = place();
    let mut seeded = Seeded::from_env();
    for width in [1_u32, 2, 7, 8, 9, 31, 32, 63, 64] {
        let most = u64::MAX >> (64 - width);
        let mut values = vec![0, 1, most];
        values.extend((0..50).map(|_| seeded.rng.random_range(0..=most)));
        let values: Vec<_> = values.iter().map(u64::to_string).collect();
        check(&place, &format!("BIT({width})"), &values, "CAST(c + 0 AS CHAR)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes() {
    let place = place();
    let mut seeded = Seeded::from_env();
    let mut values = literals(&["''", "X'00'", "X'FF00FF'", "'it''s'"]);
    values.extend((0..50).map(|_| hex_of(&(0..16).map(|_| seeded.rng.random()).collect::<Vec<u8>>())));
    for name in [
        "BINARY(16)",
        "VARBINARY(20)",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "CHAR(16) CHARACTER SET binary",
        "TEXT CHARACTER SET binary",
    ] {
        check(&place, name, &values, "c").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_character_set() {
    let place = place();
    let texts = ["", " ", "plain", "tab\tnewline\nquote'\\", "größe", "NULL"];
    let wide = ["日本語", "🚀 emoji", "\u{10ffff}", "a\u{301}"];
    for set in ["latin1", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32", "utf16le", "cp1250"] {
        let all = texts.iter().chain(wide.iter().filter(|text| {
            let basic = text.chars().all(|c| u32::from(c) <= 0xffff);
            match set {
                "latin1" | "cp1250" => false,
                "utf8mb3" | "ucs2" => basic,
                _ => true,
            }
        }));
        let values: Vec<_> =
            all.map(|text| format!("CONVERT(_utf8mb4 {} USING {set})", hex_of(text.as_bytes()))).collect();
        for name in ["VARCHAR(30)", "TEXT", "LONGTEXT", "CHAR(30)"] {
            let asked = "CONVERT(c USING utf8mb4)";
            check(&place, &format!("{name} CHARACTER SET {set}"), &values, asked).await;
        }
    }
    let latin = check(
        &place,
        "VARCHAR(9) CHARACTER SET latin1",
        &literals(&["X'80E9FF'"]),
        "CONVERT(c USING utf8mb4)",
    )
    .await;
    assert_eq!(
        transload_testkit::arrow::rows(&latin).unwrap()[0][1],
        Cell::text("€éÿ"),
        "latin1 is Windows-1252"
    );
    for (set, bytes) in [("sjis", "X'93FA'"), ("gbk", "X'C4E3'"), ("big5", "X'A741'"), ("koi8r", "X'D2D5'")] {
        check(
            &place,
            &format!("VARCHAR(9) CHARACTER SET {set}"),
            &literals(&[bytes]),
            "CONVERT(c USING utf8mb4)",
        )
        .await;
    }
    // The same text under collations that take much for equal.
    for collation in ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin", "utf8mb4_nopad_bin"] {
        check(
            &place,
            &format!("VARCHAR(9) COLLATE {collation}"),
            &literals(&["'a'", "'A'", "'á'", "'a '"]),
            PRINTED,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_sets() {
    let place = place();
    check(
        &place,
        "ENUM('a', 'it''s', 'größe', '')",
        &literals(&["'a'", "'it''s'", "'größe'", "''"]),
        PRINTED,
    )
    .await;
    check(&place, "SET('x', 'y', 'größe')", &literals(&["''", "'x'", "'x,größe'", "'y,x'"]), PRINTED).await;
    check(&place, "ENUM('é') CHARACTER SET latin1", &literals(&["'é'"]), "CONVERT(c USING utf8mb4)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_uuids() {
    let place = place();
    check(
        &place,
        "UUID",
        &literals(&[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'123e4567-e89b-12d3-a456-426655440000'",
        ]),
        PRINTED,
    )
    .await;
    check(&place, "INET6", &literals(&["'::'", "'::ffff:1.2.3.4'", "'2001:db8::ff00:42:8329'"]), PRINTED)
        .await;
    check(&place, "INET4", &literals(&["'0.0.0.0'", "'255.255.255.255'"]), PRINTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_known_by_its_check() {
    let place = place();
    let documents =
        literals(&["'{}'", "'{\"b\": 1, \"a\": [1, 2], \"b\": 2}'", "'\"größe\"'", "'null'", "'1e400'"]);
    check(&place, "JSON", &documents, PRINTED).await;
    let described = place.begin("t").await;
    assert_eq!(described.table().columns[1].extension, Some(Extension::Json));
    place.run("CREATE TABLE plain (c LONGTEXT, `odd``name` LONGTEXT CHECK (JSON_VALID(`odd``name`)))");
    let described = place.begin("plain").await;
    let found: Vec<_> = described.table().columns.iter().map(|column| column.extension).collect();
    assert_eq!(found, [None, Some(Extension::Json)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn geometries() {
    let place = place();
    let shapes = [
        "POINT(1 2)",
        "POINT(-0.1 0.30000000000000004)",
        "LINESTRING(0 0,1 1,2 0)",
        "POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 2,1 1))",
        "MULTIPOINT(1 2,3 4)",
        "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
        "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))",
        "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))",
    ];
    let planar: Vec<_> = shapes.iter().map(|shape| format!("ST_GeomFromText('{shape}')")).collect();
    // Without a SRID, extended well-known binary is the plain one.
    check(&place, "GEOMETRY", &planar, "ST_AsWKB(c)").await;
    let projected: Vec<_> = shapes.iter().map(|shape| format!("ST_GeomFromText('{shape}', 3857)")).collect();
    let asked = "CONCAT(X'01', SUBSTR(ST_AsWKB(c), 2, 3), X'20', X'110F0000', SUBSTR(ST_AsWKB(c), 6))";
    check(&place, "GEOMETRY", &projected, asked).await;
    let earth: Vec<_> = shapes.iter().map(|shape| format!("ST_GeomFromText('{shape}', 4326)")).collect();
    place.run(
        "DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, c GEOMETRY REF_SYSTEM_ID = 4326)",
    );
    for literal in earth.iter().chain(&planar) {
        place.run(&format!("INSERT INTO t (c) VALUES ({literal})"));
    }
    let session = place.begin("t").await;
    assert_eq!(session.table().columns[1].extension, Some(Extension::GeoWkt));
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    for row in transload_testkit::arrow::rows(&batch).unwrap() {
        let [Cell::Int(id), Cell::Text(text)] = row.as_slice() else { panic!("{row:?}") };
        let same = place.cell(&format!(
            "SELECT ST_AsWKB(ST_GeomFromText('{text}')) = ST_AsWKB(c) FROM t WHERE id = {id}"
        ));
        assert_eq!(same, "1", "{text}");
    }
    place.run("INSERT INTO t (c) VALUES (ST_GeomFromText('POINT(1 2)', 3857))");
    let error = place.read("t").await.unwrap_err();
    assert!(error.message().contains("SRID") && error.context_value("column") == Some("c"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_kind() {
    let place = place();
    place.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id * 2) VIRTUAL, s INT AS (id * 3) STORED, \
         hidden INT INVISIBLE DEFAULT 7, z LONGTEXT COMPRESSED, \
         a TIMESTAMP(6) GENERATED ALWAYS AS ROW START, b TIMESTAMP(6) GENERATED ALWAYS AS ROW END, \
         PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING; \
         INSERT INTO t (id, z) VALUES (1, REPEAT('x', 1000)), (2, NULL)",
    );
    let session = place.begin("t").await;
    let columns = &session.table().columns;
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "v", "s", "hidden", "z", "a", "b"]);
    assert_eq!(columns.iter().map(|c| c.generated).collect::<Vec<_>>()[..4], [false, true, true, false]);
    assert!(columns[3].note.warnings.iter().any(|warning| warning.code == "W_HIDDEN"));
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let rows = transload_testkit::arrow::rows(&batch).unwrap();
    assert_eq!(rows[0][..4], [Cell::Int(1), Cell::Int(2), Cell::Int(3), Cell::Int(7)]);
    assert_eq!(rows[0][4], Cell::Text("x".repeat(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beyond_a_packet() {
    let place = place();
    let sizes = [
        0_usize, 16_777_200, 16_777_205, 16_777_206, 16_777_207, 16_777_208, 16_777_215, 20_000_000,
        34_000_000,
    ];
    place.run("CREATE TABLE t (id INT PRIMARY KEY, c LONGBLOB, d VARCHAR(9))");
    for (id, size) in sizes.iter().enumerate() {
        place.run(&format!("INSERT INTO t VALUES ({id}, REPEAT('ab', {size} DIV 2), 'after')"));
    }
    let batch = place.read("t").await.unwrap();
    let rows = transload_testkit::arrow::rows(&batch).unwrap();
    assert_eq!(rows.len(), sizes.len());
    for (row, size) in rows.iter().zip(sizes) {
        let Cell::Bytes(bytes) = &row[1] else { panic!() };
        assert_eq!(bytes.len(), size / 2 * 2);
        assert!(bytes.chunks(2).all(|pair| pair == b"ab") && row[2] == Cell::text("after"));
    }
}
