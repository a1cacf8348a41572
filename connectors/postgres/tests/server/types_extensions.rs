//! Types of extensions, created in a schema that no search path leads to.

use arrow_schema::DataType;
use rand::Rng as _;
use rand::rngs::StdRng;
use transload_core::schema::Extension;

use crate::types_cases::{Letters, array};
use crate::types_oracle::{Case, Database, in_database, render};

const UTF8: &str = "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";

/// Creates extensions in schema `Ext Types`, which is in the search path of the administrator only.
async fn create(database: &Database, extensions: &[&str]) {
    database.run("CREATE SCHEMA \"Ext Types\"").await;
    for extension in extensions {
        database.run(&format!("CREATE EXTENSION {extension} SCHEMA \"Ext Types\"")).await;
    }
    database.run("SET search_path = place, \"Ext Types\"").await;
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hstore(random: &mut StdRng) -> String {
    let pairs = (0..random.random_range(0..5)).map(|_| {
        let value =
            if random.random_bool(0.3) { "NULL".to_owned() } else { quoted(&Letters::All.text(random, 6)) };
        format!("{}=>{value}", quoted(&Letters::All.text(random, 6)))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn label(random: &mut StdRng) -> String {
    let letters: String =
        (0..random.random_range(1..6)).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    format!("{letters}_{}", random.random_range(0..9))
}

#[tokio::test]
async fn types_of_contrib() {
    in_database(UTF8, &[], |database| async move {
        create(&database, &["hstore", "citext", "ltree", "cube", "seg", "isn", "intarray"]).await;
        let cases = vec![
            // An object of strings and nulls gives the pairs back.
            Case::json(
                "hstore",
                "(SELECT coalesce(hstore(array_agg(key), array_agg(value)), '') FROM json_each_text(got::json))",
                &["a=>1, b=>NULL", "", "\"\"=>\"\"", "\"q\\\"uote\"=>\"NULL\""],
            )
            .generated(hstore),
            Case::text("citext", &["AbC", "", "ÄÖ"]).generated(|random| Letters::All.text(random, 20)),
            Case::text("ltree", &["", "Top.Science.Astronomy"]).generated(|random| {
                let labels: Vec<_> = (0..random.random_range(0..5)).map(|_| label(random)).collect();
                labels.join(".")
            }),
            Case::text("lquery", &["*.foo.*", "a|b.*{1,2}"]),
            Case::text("ltxtquery", &["Europe & Russia*@ & !Transportation"]),
            Case::text("cube", &["(1,2,3)", "(0.1,2),(3,1e300)", "0"])
                .generated(|random| format!("({},{})", random.random::<f64>(), random.random::<f64>())),
            Case::text("seg", &["5.0", "1.5 .. 6.50", "<5", "5(+-)0.3"]),
            Case::text("isbn", &["0-393-04002-X"]),
            Case::text("isbn13", &["978-0-393-04002-9"]),
            Case::text("issn", &["1436-4522"]),
            Case::text("ean13", &["978-0-393-04002-9"]),
            Case::text("upc", &["220356483481"]),
            Case::text("ismn", &["M-902600-00-2"]),
            Case::text("query_int", &["1&(2|3)"]),
            Case::array("hstore[]", &[]).generated(|_| "{}".to_owned()),
            Case::array("citext[]", &["{A,NULL}"]).generated(array(|random| Letters::All.text(random, 6))),
            Case::array("ltree[]", &["{a.b,NULL}"]),
            Case::array("isbn[]", &["{0-393-04002-X}"]),
        ];
        database.check(cases, 100).await;
        database
            .run("CREATE TABLE place.nested (h hstore[]); INSERT INTO place.nested VALUES (ARRAY['a=>1, b=>NULL', NULL]::hstore[])")
            .await;
        let batch = database.read("nested").await.unwrap();
        assert_eq!(render(batch.column(0), 0).unwrap(), r#"[{"a": "1", "b": null},null]"#);
    })
    .await;
}

/// Longitude and latitude with all their digits.
fn point(random: &mut StdRng) -> String {
    let tiny = if random.random_bool(0.1) { 1e-20 } else { 1.0 };
    format!("{} {}", random.random_range(-180.0..180.0) * tiny, random.random_range(-90.0..90.0_f64))
}

/// Well-known text of any shape but curves; `dimensions` beyond two are given to every point.
fn shape(random: &mut StdRng, tag: &str, extra: &str) -> String {
    let at = |random: &mut StdRng| format!("{}{extra}", point(random));
    let line = |random: &mut StdRng| format!("({}, {}, {})", at(random), at(random), at(random));
    match random.random_range(0..5) {
        0 => format!("POINT{tag} EMPTY"),
        1 => format!("LINESTRING{tag} {}", line(random)),
        2 => {
            let (a, b, c) = (at(random), at(random), at(random));
            format!("POLYGON{tag} (({a}, {b}, {c}, {a}))")
        }
        3 => {
            format!("GEOMETRYCOLLECTION{tag} (POINT{tag} ({}), LINESTRING{tag} {})", at(random), line(random))
        }
        _ => format!("POINT{tag} ({})", at(random)),
    }
}

#[tokio::test]
async fn shapes_of_postgis() {
    in_database(UTF8, &[], |database| async move {
        create(&database, &["postgis", "postgis_raster"]).await;
        // The text that arrives makes the same bytes; EWKB must be the server's own.
        let wkt = |type_name: &str, gives: &str, edges: &[&str]| {
            Case { extension: Some(Extension::GeoWkt), ..Case::json(type_name, gives, edges) }
        };
        let ewkb = |type_name: &str, edges: &[&str]| {
            Case::new(type_name, DataType::Binary, "encode(ST_AsEWKB(v::geometry), 'hex')", edges)
        };
        let world = |random: &mut StdRng| format!("SRID=4326;{}", shape(random, "", ""));
        let cases = vec![
            wkt(
                "geometry(Geometry,4326)",
                "ST_GeomFromText(got, 4326)",
                &["SRID=4326;POINT(0.1 0.30000000000000004)", "SRID=4326;POLYGON EMPTY", "SRID=4326;POINT(0 5e-324)", "SRID=4326;POINT(1e300 -1.7976931348623157e308)"],
            )
            .generated(world),
            wkt("geometry(Point,4326)", "ST_GeomFromText(got, 4326)", &["SRID=4326;POINT(1 2)", "SRID=4326;POINT EMPTY"]),
            wkt("geography", "ST_GeogFromText(got)", &["POINT(1 2)", "POINT Z (1 2 3)", "SRID=4267;POINT(0.1 0.30000000000000004)", "POLYGON EMPTY"])
                .generated(|random| shape(random, "", "")),
            wkt("geography(Geometry,4326)", "ST_GeogFromText(got)", &["POINT(1 2)"]).generated(world),
            ewkb(
                "geometry",
                &["POINT(1 2)", "SRID=4326;POINT(1 2)", "SRID=3857;POINT ZM (1 2 3 4)", "CIRCULARSTRING(0 0, 1 1, 1 0)", "TIN(((0 0,1 1,1 0,0 0)))", "POINT EMPTY"],
            )
            .generated(|random| format!("SRID=3857;{}", shape(random, " Z", " 0.1"))),
            ewkb("geometry(PointZ,4326)", &["SRID=4326;POINT Z (1 2 3)"]),
            ewkb("geometry(PointM,4326)", &["SRID=4326;POINT M (1 2 3)"]),
            ewkb("geometry(CurvePolygon,4326)", &["SRID=4326;CURVEPOLYGON((0 0,1 1,1 0,0 0))"]),
            ewkb("geometry(Geometry,3857)", &["SRID=3857;POINT(1 2)"]),
            ewkb("geography(PointZ,4326)", &["POINT Z (1 2 3)"]),
            ewkb("geography(Point,4267)", &["SRID=4267;POINT(1 2)"]),
            Case::array("geometry[]", &[]).generated(|_| "{}".to_owned()),
            Case::new("raster", DataType::Binary, "encode(v::bytea, 'hex')", &[
                // 1 x 1 without bands, from ST_MakeEmptyRaster(1, 1, 0, 0, 1).
                "0100000000000000000000F03F000000000000F0BF0000000000000000000000000000000000000000000000000000000000000000000000000100010 0"
                    .replace(' ', "").as_str(),
            ]),
            Case::text("box2d", &["BOX(0 0,1 1)"]),
            Case::text("box3d", &["BOX3D(0 0 0,1 1 1)"]),
        ];
        database.check(cases, 100).await;
        // Inside arrays and row types a shape keeps its system and every digit too.
        database
            .run(
                "CREATE TYPE place.site AS (name text, at geometry);
                 CREATE TABLE place.nested (g geometry[], s site);
                 INSERT INTO place.nested VALUES (ARRAY['SRID=3857;POINT(0.1 0.30000000000000004)', NULL]::geometry[],
                    ('a', 'SRID=3857;POINT(1 2)'))",
            )
            .await;
        let batch = database.read("nested").await.unwrap();
        let expected = database
            .texts("SELECT v FROM place.nested, LATERAL (VALUES (format('[\"%s\",null]', g[1])), (format('{\"name\":\"a\",\"at\":\"%s\"}', (s).at))) AS t(v)")
            .await;
        assert_eq!([0, 1].map(|column| render(batch.column(column), 0)).as_slice(), expected);
    })
    .await;
}
