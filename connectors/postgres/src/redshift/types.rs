//! From Redshift's catalog to columns, by the reference of all types (`core/data/type_mapping.csv`).

use arrow_schema::{DataType, TimeUnit};
use transload_core::schema::{ColumnSchema, Confidence, Extension, Warning, look_up_type};

use crate::types::{ReadAs, Select, Wire, plain};

/// The type's text with what the catalog keeps beside it.
pub(super) fn type_text(name: &str, length: Option<&str>, digits: Option<(&str, &str)>) -> String {
    let name = name.trim();
    match (name.to_lowercase().as_str(), length, digits) {
        // External tables spell types out.
        (spelt, ..) if spelt.contains('(') => name.to_owned(),
        ("numeric" | "decimal", _, Some((precision, scale))) => format!("numeric({precision},{scale})"),
        ("character" | "character varying" | "char" | "varchar" | "binary varying", Some(length), _) => {
            format!("{name}({length})")
        }
        _ => name.to_owned(),
    }
}

/// A column of a type, and how it is read. What the reference does not know is read as the text that the server
/// sends.
pub(super) fn column(name: &str, type_text: &str) -> (ColumnSchema, ReadAs) {
    let known = look_up_type("redshift", type_text).and_then(|answer| answer.column(name));
    let known = known.ok().and_then(|column| Some((wire(&column.data_type)?, column)));
    let (wire, mut column) = known.unwrap_or_else(|| {
        let mut column = ColumnSchema::new(name, type_text, DataType::Utf8);
        column.note.confidence = Confidence::Low;
        column.note.reason = Some("the text that the server prints".to_owned());
        column.note.warnings.push(Warning::new("W_OPAQUE", "a type that transload does not know, as text"));
        (Wire::Text, column)
    });
    type_text.clone_into(&mut column.source_type);
    let select = match (wire, column.extension) {
        (Wire::Float4, _) => Select::Widened,
        (_, Some(Extension::GeoWkt)) => Select::RedshiftGeography,
        _ => Select::Plain,
    };
    // Not text: to Redshift `a` and `a ` are equal, to the engine they are not.
    let read = ReadAs { select, extension: column.extension, note: column.note.clone(), ..plain(wire) };
    (column, read)
}

fn wire(data_type: &DataType) -> Option<Wire> {
    Some(match data_type {
        DataType::Boolean => Wire::Bool,
        DataType::Int16 => Wire::Int2,
        DataType::Int32 => Wire::Int4,
        DataType::Int64 => Wire::Int8,
        DataType::Float32 => Wire::Float4,
        DataType::Float64 => Wire::Float8,
        DataType::Decimal128(precision, scale) => Wire::Decimal128(*precision, *scale),
        DataType::Decimal256(precision, scale) => Wire::Decimal256(*precision, *scale),
        DataType::Utf8 => Wire::Text,
        DataType::Binary => Wire::Bytes,
        DataType::Date32 => Wire::Date,
        DataType::Time64(TimeUnit::Microsecond) => Wire::Time,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Wire::DateTime,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Wire::Timestamp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type that Redshift documents, as SVV_COLUMNS spells it.
    #[test]
    fn every_documented_type_has_its_row() {
        for (name, length, digits, text, expected) in [
            ("smallint", None, None, "smallint", Wire::Int2),
            ("integer", None, None, "integer", Wire::Int4),
            ("bigint", None, None, "bigint", Wire::Int8),
            ("numeric", None, Some(("18", "2")), "numeric(18,2)", Wire::Decimal128(18, 2)),
            ("numeric", None, Some(("38", "37")), "numeric(38,37)", Wire::Decimal256(38, 37)),
            ("real", None, None, "real", Wire::Float4),
            ("double precision", None, None, "double precision", Wire::Float8),
            ("boolean", None, None, "boolean", Wire::Bool),
            ("character", Some("3"), None, "character(3)", Wire::Text),
            ("character varying", Some("65535"), None, "character varying(65535)", Wire::Text),
            ("date", None, None, "date", Wire::Date),
            ("time without time zone", None, None, "time without time zone", Wire::Time),
            ("time with time zone", None, None, "time with time zone", Wire::Text),
            ("timestamp without time zone", None, None, "timestamp without time zone", Wire::DateTime),
            ("timestamp with time zone", None, None, "timestamp with time zone", Wire::Timestamp),
            ("interval year to month", None, None, "interval year to month", Wire::Text),
            ("interval day to second", None, None, "interval day to second", Wire::Text),
            ("super", None, None, "super", Wire::Text),
            ("hllsketch", None, None, "hllsketch", Wire::Text),
            ("binary varying", Some("64000"), None, "binary varying(64000)", Wire::Bytes),
            ("binary varying", None, None, "binary varying", Wire::Bytes),
            ("geometry", None, None, "geometry", Wire::Text),
            ("geography", None, None, "geography", Wire::Text),
            ("oid", None, None, "oid", Wire::Int8),
            ("name", None, None, "name", Wire::Text),
        ] {
            assert_eq!(type_text(name, length, digits), text);
            let (column, read) = column("c", text);
            assert_eq!(read.wire, expected, "{text}");
            assert_eq!(column.data_type, read.wire.arrow(), "{text}");
            assert!(!column.note.warnings.iter().any(|warning| warning.text.contains("does not know")));
        }
        // Of external tables.
        assert_eq!(type_text("varchar(20)", Some("20"), None), "varchar(20)");
        assert_eq!(column("c", "decimal(10,2)").1.wire, Wire::Decimal128(10, 2));
        let (unknown, read) = column("c", "struct<a:int>");
        assert_eq!((read.wire, unknown.note.confidence), (Wire::Text, Confidence::Low));
    }

    #[test]
    fn extensions_and_cursors() {
        assert_eq!(column("c", "super").0.extension, Some(Extension::Json));
        assert_eq!(column("c", "geography").1.select, Select::RedshiftGeography);
        assert_eq!(column("c", "real").1.select, Select::Widened);
        for (text, ordered) in [("date", true), ("numeric(18,2)", true), ("character varying(9)", false)] {
            assert_eq!(column("c", text).1.ordered, ordered, "{text}");
        }
    }
}
