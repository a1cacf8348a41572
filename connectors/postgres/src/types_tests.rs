//! The rows of the reference table that apply to PostgreSQL, as they are read here.

use super::*;
use crate::nested::Bound;
use arrow_schema::TimeUnit::Microsecond;

fn base(name: &str, modifier: i32) -> ReadAs {
    read_as(&CatalogType::built_in(name, modifier))
}

fn of(home: Home, name: &str, kind: Kind) -> CatalogType {
    CatalogType { home, kind, ..CatalogType::built_in(name, -1) }
}

fn extension(extension: &str, name: &str, modifier: i32) -> CatalogType {
    let home = Home::Extension { name: extension.to_owned(), schema: "ext".to_owned() };
    CatalogType { modifier, ..of(home, name, Kind::Base) }
}

fn array(element: CatalogType) -> CatalogType {
    of(Home::BuiltIn, "_x", Kind::Array(Box::new(element)))
}

fn modifier(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | (scale & 0x7ff)) + 4
}

/// `Y`es or `C`onditional, `H`igh, `M`edium or `L`ow, and the codes of the warnings, one line.
fn told(read: &ReadAs) -> String {
    let lossless = match read.note.lossless {
        Lossless::Yes => 'Y',
        Lossless::Conditional => 'C',
        Lossless::No => 'N',
    };
    let confidence = match read.note.confidence {
        Confidence::High => 'H',
        Medium => 'M',
        Low => 'L',
    };
    let codes = read.note.warnings.iter().map(|warning| format!(" {}", warning.code));
    format!("{lossless}{confidence}{}", codes.collect::<String>())
}

#[test]
fn every_built_in_type_as_the_reference_table_has_it() {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, FixedSizeBinary, Float32, Float64, Int16, Int32, Int64, UInt32,
        Utf8,
    };
    let zoned = DataType::Timestamp(Microsecond, Some("UTC".into()));
    let rows = [
        ("bool", Boolean, "YH"),
        ("int2", Int16, "YH"),
        ("int4", Int32, "YH"),
        ("int8", Int64, "YH"),
        ("float4", Float32, "YH W_FLOAT_APPROX"),
        ("float8", Float64, "YH"),
        ("numeric", Utf8, "YH W_NUM_UNBOUNDED"),
        ("money", Decimal128(19, 2), "CM W_LOCALE"),
        ("varchar", Utf8, "YH"),
        ("text", Utf8, "YH"),
        ("bpchar", Utf8, "CH W_CHAR_PAD"),
        ("char", Utf8, "CM W_OPAQUE"),
        ("name", Utf8, "YH"),
        ("bytea", Binary, "YH W_SIZE"),
        ("bit", Utf8, "YH"),
        ("varbit", Utf8, "YH"),
        ("date", Date32, "CH W_TS_INF W_TS_RANGE"),
        ("time", DataType::Time64(Microsecond), "CH W_TIME_24H"),
        ("timetz", Utf8, "YH W_TZ_LOST"),
        ("timestamp", DataType::Timestamp(Microsecond, None), "CH W_TS_INF W_TS_RANGE"),
        ("timestamptz", zoned, "CH W_TS_INF W_TS_RANGE"),
        ("interval", Utf8, "YH W_INTERVAL_PREVIEW"),
        ("uuid", FixedSizeBinary(16), "YH"),
        ("json", Utf8, "CM W_JSON_ORDER W_JSON_NUM"),
        ("jsonb", Utf8, "CH W_JSON_NUM"),
        ("jsonpath", Utf8, "YH W_OPAQUE"),
        ("xml", Utf8, "YH"),
        ("inet", Utf8, "YH"),
        ("cidr", Utf8, "YH"),
        ("macaddr", Utf8, "YH"),
        ("macaddr8", Utf8, "YH"),
        ("point", Utf8, "YH W_GEO_PLANAR"),
        ("line", Utf8, "YH W_GEO_PLANAR"),
        ("lseg", Utf8, "YH W_GEO_PLANAR"),
        ("box", Utf8, "YH W_GEO_PLANAR"),
        ("path", Utf8, "YH W_GEO_PLANAR"),
        ("polygon", Utf8, "YH W_GEO_PLANAR"),
        ("circle", Utf8, "YH W_GEO_PLANAR"),
        ("tsvector", Utf8, "YH W_OPAQUE"),
        ("tsquery", Utf8, "YH W_OPAQUE"),
        ("oid", UInt32, "YH W_UNSIGNED"),
        ("xid", UInt32, "YH W_UNSIGNED"),
        ("cid", UInt32, "YH W_UNSIGNED"),
        ("regclass", Utf8, "YH W_TEXT_FORM"),
        ("regtype", Utf8, "YH W_TEXT_FORM"),
        ("xid8", Utf8, "YM W_UNSIGNED"),
        ("pg_snapshot", Utf8, "YM W_UNSIGNED"),
        ("txid_snapshot", Utf8, "YM W_UNSIGNED"),
        ("pg_lsn", Utf8, "YH W_TEXT_FORM"),
        ("tid", Utf8, "YM W_OPAQUE"),
        ("int2vector", Utf8, "YM W_OPAQUE"),
        ("oidvector", Utf8, "YM W_OPAQUE"),
        ("aclitem", Utf8, "YM W_OPAQUE"),
        ("pg_node_tree", Utf8, "YM W_OPAQUE"),
        ("pg_ndistinct", Utf8, "YM W_OPAQUE"),
        ("pg_dependencies", Utf8, "YM W_OPAQUE"),
        ("pg_mcv_list", Utf8, "YM W_OPAQUE"),
        ("anyarray", Utf8, "YL W_OPAQUE"),
    ];
    for (name, arrow, notes) in rows {
        let read = base(name, -1);
        assert_eq!((read.wire.arrow(), told(&read).as_str()), (arrow, notes), "{name}");
        let extension = match name {
            "json" | "jsonb" => Some(Extension::Json),
            "uuid" => Some(Extension::Uuid),
            _ => None,
        };
        assert_eq!(read.extension, extension, "{name}");
    }
    assert_eq!(told(&base("bit", 1)), "YM W_BOOL_ASSUMED");
    assert_eq!(told(&base("bit", 8)), "YH");
}

#[test]
fn every_numeric_as_the_reference_table_has_it() {
    use Wire::{Decimal128, Decimal256, NumericText};
    for ((precision, scale), wire, notes) in [
        ((15, 2), Decimal128(15, 2), "CH W_NUM_SPECIAL"),
        ((18, 0), Decimal128(18, 0), "CH W_NUM_SPECIAL"),
        ((38, 0), Decimal128(38, 0), "CH W_NUM_SPECIAL"),
        ((38, 2), Decimal128(38, 2), "CH W_NUM_SPECIAL"),
        ((38, 9), Decimal128(38, 9), "CH W_NUM_SPECIAL"),
        ((39, 0), NumericText, "YH W_NUM_RANGE"),
        ((39, 1), Decimal256(39, 1), "CH W_NUM_SPECIAL"),
        ((76, 38), Decimal256(76, 38), "CH W_NUM_SPECIAL"),
        ((76, 39), NumericText, "YH W_NUM_RANGE"),
        ((77, 38), NumericText, "YH W_NUM_RANGE"),
        ((65, 0), NumericText, "YH W_NUM_RANGE"),
        ((1000, 500), NumericText, "YH W_NUM_RANGE"),
        ((5, 5), Decimal128(5, 5), "CH W_NUM_PARAM W_NUM_SPECIAL"),
        ((38, 38), Decimal128(38, 38), "CH W_NUM_PARAM W_NUM_SPECIAL"),
        ((3, -2), Decimal128(5, 0), "CM W_NUM_NEGSCALE W_NUM_SPECIAL"),
        ((28, -10), Decimal128(38, 0), "CM W_NUM_NEGSCALE W_NUM_SPECIAL"),
        ((38, -1), NumericText, "YM W_NUM_NEGSCALE"),
        ((1, -1000), NumericText, "YM W_NUM_NEGSCALE"),
        ((3, 5), Decimal128(5, 5), "CM W_NUM_NEGSCALE W_NUM_SPECIAL"),
        ((3, 38), Decimal128(38, 38), "CM W_NUM_NEGSCALE W_NUM_SPECIAL"),
        ((3, 39), NumericText, "YM W_NUM_NEGSCALE"),
        ((3, 1000), NumericText, "YM W_NUM_NEGSCALE"),
    ] {
        let read = base("numeric", modifier(precision, scale));
        assert_eq!((read.wire, told(&read).as_str()), (wire, notes), "({precision},{scale})");
    }
}

#[test]
fn made_types_as_the_reference_table_has_them() {
    let built_in = |name, kind| of(Home::BuiltIn, name, kind);
    let int4 = || CatalogType::built_in("int4", -1);
    let pair = || of(Home::User, "pair", Kind::Composite(vec![("a".into(), int4())]));
    let user = |name, kind| of(Home::User, name, kind);
    let json = Some(Extension::Json);
    let rows = [
        (user("mood", Kind::Enum), Wire::Text, None, "CH W_ENUM_ORDER"),
        (pair(), Wire::Text, json, "CM W_NESTED"),
        (array(int4()), Wire::Text, json, "CH W_ARRAY_DIMS"),
        (array(CatalogType::built_in("text", -1)), Wire::Text, json, "CH W_ARRAY_DIMS"),
        (array(CatalogType::built_in("numeric", -1)), Wire::Text, json, "CM W_ARRAY_DIMS W_JSON_NUM"),
        (array(CatalogType::built_in("int8", -1)), Wire::Text, json, "CM W_ARRAY_DIMS W_JSON_NUM"),
        (array(CatalogType::built_in("bytea", -1)), Wire::Text, json, "CM W_ARRAY_DIMS W_JSON_NUM"),
        (array(CatalogType::built_in("date", -1)), Wire::Text, json, "CM W_ARRAY_DIMS W_JSON_NUM"),
        (array(CatalogType::built_in("timestamptz", -1)), Wire::Text, json, "CM W_ARRAY_DIMS W_JSON_NUM"),
        (array(pair()), Wire::Text, json, "CM W_ARRAY_DIMS"),
        (built_in("int4range", Kind::Range), Wire::Range(Bound::Int4), None, "YM W_RANGE_KIND"),
        (built_in("int8range", Kind::Range), Wire::Range(Bound::Int8), None, "YM W_RANGE_KIND"),
        (built_in("numrange", Kind::Range), Wire::Range(Bound::Numeric), None, "YM W_RANGE_KIND"),
        (built_in("daterange", Kind::Range), Wire::Text, None, "YH"),
        (built_in("tsrange", Kind::Range), Wire::Text, None, "YH"),
        (built_in("tstzrange", Kind::Range), Wire::Text, None, "YH"),
        (user("int4range", Kind::Range), Wire::Text, None, "YL W_OPAQUE"),
        (built_in("int4multirange", Kind::Multirange), Wire::Text, None, "YM W_OPAQUE"),
        (extension("citext", "citext", -1), Wire::Text, None, "CH W_COLLATION"),
        (extension("hstore", "hstore", -1), Wire::Text, json, "CM W_MAP"),
        (extension("ltree", "ltree", -1), Wire::Text, None, "YH W_OPAQUE"),
        (extension("ltree", "lquery", -1), Wire::Text, None, "YH W_OPAQUE"),
        (extension("ltree", "ltxtquery", -1), Wire::Text, None, "YH W_OPAQUE"),
        (extension("cube", "cube", -1), Wire::Text, None, "YH W_TEXT_FORM"),
        (extension("seg", "seg", -1), Wire::Text, None, "YH W_TEXT_FORM"),
        (extension("isn", "isbn13", -1), Wire::Text, None, "YH W_TEXT_FORM"),
        (extension("vector", "vector", 3), Wire::Vector, None, "CM"),
        (extension("vector", "halfvec", 3), Wire::HalfVector, None, "CM"),
        (extension("vector", "sparsevec", 5), Wire::Text, None, "CM W_OPAQUE"),
        (extension("postgis_raster", "raster", -1), Wire::Bytes, None, "YL W_OPAQUE W_SIZE"),
        (extension("intarray", "query_int", -1), Wire::Text, None, "YL W_OPAQUE"),
        // Types of the user that are called like others are no such types.
        (user("date", Kind::Base), Wire::Text, None, "YL W_OPAQUE"),
        (user("hstore", Kind::Base), Wire::Text, None, "YL W_OPAQUE"),
        (extension("other", "vector", -1), Wire::Text, None, "YL W_OPAQUE"),
    ];
    for (catalog, wire, extension, notes) in rows {
        let read = read_as(&catalog);
        assert_eq!((read.wire, told(&read).as_str()), (wire, notes), "{catalog:?}");
        assert_eq!(read.extension, extension, "{catalog:?}");
    }
    let list = DataType::List(std::sync::Arc::new(arrow_schema::Field::new("item", DataType::Float32, true)));
    assert_eq!((Wire::Vector.arrow(), Wire::HalfVector.arrow()), (list.clone(), list));
}

#[test]
fn shapes_by_their_modifier() {
    // As PostGIS packs them: 1107460 is (Point,4326), from `pg_attribute` of a real server.
    let packed = |srid: i32, sort: i32, z_and_m: i32| (srid << 8) | (sort << 2) | z_and_m;
    assert_eq!(packed(4326, 1, 0), 1_107_460);
    let wkt = (Wire::Text, Some(Extension::GeoWkt));
    let ewkb = (Wire::Bytes, None);
    for (name, modifier, expected, notes) in [
        ("geometry", packed(4326, 1, 0), wkt, "CM W_GEO_PLANAR"),
        ("geometry", packed(4326, 0, 0), wkt, "CM W_GEO_PLANAR"),
        ("geometry", packed(4326, 7, 0), wkt, "CM W_GEO_PLANAR"),
        ("geometry", packed(4326, 10, 0), ewkb, "YH W_GEO_SRID"),
        ("geometry", packed(4326, 1, 2), ewkb, "YH W_GEO_SRID"),
        ("geometry", packed(4326, 1, 1), ewkb, "YH W_GEO_SRID"),
        ("geometry", packed(3857, 1, 0), ewkb, "YH W_GEO_SRID"),
        ("geometry", packed(0, 1, 0), ewkb, "YH W_GEO_SRID"),
        ("geometry", -1, ewkb, "YH W_GEO_SRID"),
        ("geography", -1, wkt, "CH W_GEO_DIM"),
        ("geography", packed(4326, 3, 0), wkt, "CH W_GEO_DIM"),
        ("geography", packed(4326, 1, 2), ewkb, "YH W_GEO_SRID"),
        ("geography", packed(4267, 1, 0), ewkb, "YH W_GEO_SRID"),
    ] {
        let read = read_as(&extension("postgis", name, modifier));
        assert_eq!(
            ((read.wire, read.extension), told(&read).as_str()),
            (expected, notes),
            "{name} {modifier}"
        );
    }
}
