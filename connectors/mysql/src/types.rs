//! The one table from the types of MySQL and MariaDB to Arrow. Pure.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use transload_core::schema::Confidence::{self, Low, Medium};
use transload_core::schema::{Extension, Lossless, TypeNote, Warning};

use crate::config::ZeroDates;
use crate::protocol::column_type as on_wire;

/// How a column of the binary protocol is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Int8,
    Int16,
    Int32,
    Int64,
    /// Unsigned, of so many bytes (1, 2 or 4), widened to 64 bits with a sign.
    Unsigned(u8),
    /// Unsigned, of 8 bytes, as a decimal.
    Unsigned64,
    Float4,
    Float8,
    /// Digits into 128 bits, with precision and scale.
    Decimal128(u8, i8),
    /// The same into 256 bits.
    Decimal256(u8, i8),
    /// One bit.
    Bool,
    /// Up to 63 bits.
    Bits,
    /// 64 bits, as a decimal.
    Bits64,
    Year,
    Date,
    /// Without zone.
    DateTime,
    /// UTC, which is the session's zone.
    Timestamp,
    /// A length of time as text, with so many digits of a second.
    TimeText(u8),
    /// The day as text, whatever it is.
    DateText,
    /// The same with a time of so many digits.
    DateTimeText(u8),
    Text,
    Bytes,
    /// Well-known text, of coordinates of SRID 4326.
    WellKnownText,
    /// Extended well-known binary.
    Geometry,
    /// Singles, one behind the other.
    Vector,
}

/// The layout of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A length ahead of the bytes.
    Counted,
    /// Nothing: a column that is always NULL.
    Absent,
}

impl Shape {
    /// Of a column as a result defines it.
    pub(crate) fn of(kind: u8) -> Self {
        match kind {
            on_wire::TINY => Self::Fixed(1),
            on_wire::SHORT | on_wire::YEAR => Self::Fixed(2),
            on_wire::LONG | on_wire::INT24 | on_wire::FLOAT => Self::Fixed(4),
            on_wire::LONGLONG | on_wire::DOUBLE => Self::Fixed(8),
            on_wire::NULL => Self::Absent,
            _ => Self::Counted,
        }
    }
}

impl Wire {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Int8 => DataType::Int8,
            Self::Int16 | Self::Year => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 | Self::Unsigned(_) | Self::Bits => DataType::Int64,
            Self::Unsigned64 | Self::Bits64 => DataType::Decimal128(20, 0),
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal128(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Decimal256(precision, scale) => DataType::Decimal256(precision, scale),
            Self::Bool => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimeText(_) | Self::DateText | Self::DateTimeText(_) | Self::Text | Self::WellKnownText => {
                DataType::Utf8
            }
            Self::Bytes | Self::Geometry => DataType::Binary,
            Self::Vector => DataType::List(Arc::new(Field::new("item", DataType::Float32, true))),
        }
    }

    /// Whether a result's column of this type is what this decodes: a table that was altered is found out here.
    pub(crate) fn takes(self, kind: u8, unsigned: bool) -> bool {
        use on_wire as t;
        match self {
            Self::Int8 => kind == t::TINY && !unsigned,
            Self::Int16 => kind == t::SHORT && !unsigned,
            Self::Int32 => matches!(kind, t::LONG | t::INT24) && !unsigned,
            Self::Int64 => kind == t::LONGLONG && !unsigned,
            Self::Unsigned(1) => kind == t::TINY && unsigned,
            Self::Unsigned(2) => kind == t::SHORT && unsigned,
            Self::Unsigned(_) => matches!(kind, t::LONG | t::INT24) && unsigned,
            Self::Unsigned64 => kind == t::LONGLONG && unsigned,
            Self::Float4 => kind == t::FLOAT,
            Self::Float8 => kind == t::DOUBLE,
            Self::Year => kind == t::YEAR,
            Self::Date | Self::DateText => kind == t::DATE,
            Self::DateTime | Self::Timestamp | Self::DateTimeText(_) => {
                matches!(kind, t::DATETIME | t::TIMESTAMP)
            }
            Self::TimeText(_) => kind == t::TIME,
            _ => {
                Shape::of(kind) == Shape::Counted
                    && !matches!(kind, t::DATE | t::TIME | t::DATETIME | t::TIMESTAMP)
            }
        }
    }
}

/// A column's type as the catalog names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CatalogType {
    /// `decimal`
    pub(crate) name: String,
    /// `decimal(65,30) unsigned`
    pub(crate) text: String,
    /// Bits of a BIT, digits of a DECIMAL.
    pub(crate) precision: u64,
    pub(crate) scale: u64,
    /// Digits of a second.
    pub(crate) fraction: u8,
    /// A check says that every value is JSON.
    pub(crate) json: bool,
    pub(crate) srid: Option<u32>,
}

/// How a column is read, and what to say of it.
#[derive(Debug, Clone)]
pub(crate) struct ReadAs {
    pub(crate) wire: Wire,
    pub(crate) extension: Option<Extension>,
    /// Whether the column can be a cursor: its order is that of its Arrow values.
    pub(crate) ordered: bool,
    pub(crate) note: TypeNote,
}

fn plain(wire: Wire) -> ReadAs {
    use Wire::{
        Bits, Bits64, Date, DateTime, Decimal128, Int8, Int16, Int32, Int64, Timestamp, Unsigned, Unsigned64,
    };
    // A YEAR is compared with a number as if that had two digits.
    let ordered = matches!(
        wire,
        Int8 | Int16
            | Int32
            | Int64
            | Unsigned(_)
            | Unsigned64
            | Decimal128(..)
            | Bits
            | Bits64
            | Date
            | DateTime
            | Timestamp
    );
    ReadAs { wire, extension: None, ordered, note: TypeNote::default() }
}

impl ReadAs {
    fn confidence(mut self, confidence: Confidence) -> Self {
        self.note.confidence = confidence;
        self
    }

    fn conditional(mut self) -> Self {
        self.note.lossless = Lossless::Conditional;
        self
    }

    fn warn(mut self, code: &str, text: &str) -> Self {
        self.note.warnings.push(Warning::new(code, text));
        self
    }

    fn reason(mut self, reason: &str) -> Self {
        self.note.reason = Some(reason.to_owned());
        self
    }

    fn extension(mut self, extension: Extension) -> Self {
        self.extension = Some(extension);
        self
    }

    fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }
}

/// How a type is read. Every type has an answer: what has no row of its own is read as the text that the server
/// prints.
pub(crate) fn read_as(catalog: &CatalogType, zero_dates: ZeroDates) -> ReadAs {
    let unsigned = catalog.text.contains(" unsigned");
    match catalog.name.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => integer(catalog, unsigned),
        "decimal" | "numeric" => decimal(catalog),
        "float" => plain(Wire::Float4)
            .confidence(Medium)
            .conditional()
            .warn("W_FLOAT_APPROX", "a single widens exactly to a double but prints with more digits"),
        "double" | "real" => plain(Wire::Float8),
        "bit" => match catalog.precision {
            0 | 1 => plain(Wire::Bool),
            2..=63 => plain(Wire::Bits).reason("the bits as a number"),
            _ => plain(Wire::Bits64)
                .confidence(Medium)
                .warn("W_UNSIGNED", "64 bits need more than a signed integer"),
        },
        "year" => plain(Wire::Year),
        "date" | "datetime" | "timestamp" => calendar(catalog, zero_dates),
        "time" => plain(Wire::TimeText(catalog.fraction))
            .warn(
                "W_TIME_RANGE",
                "TIME is a length of time, from -838:59:59 to 838:59:59; a TIME of BigQuery is of one day",
            )
            .reason("a length of time as the server prints it"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(catalog),
        "enum" => plain(Wire::Text)
            .conditional()
            .warn("W_ENUM_ORDER", "the order of the labels is not kept")
            .reason("the label as text"),
        "set" => plain(Wire::Text).warn("W_SET", "the members are one text with commas"),
        "json" => json(),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            plain(Wire::Bytes).warn("W_SIZE", "up to 4 GB, and a row of BigQuery takes 100 MB")
        }
        "uuid" | "inet4" | "inet6" => plain(Wire::Text),
        "vector" => plain(Wire::Vector).confidence(Medium).conditional(),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => geometry(catalog),
        _ => plain(Wire::Text)
            .confidence(Low)
            .warn("W_OPAQUE", "a type that transload does not know, as the text that the server prints"),
    }
}

fn integer(catalog: &CatalogType, unsigned: bool) -> ReadAs {
    let wire = match (catalog.name.as_str(), unsigned) {
        ("tinyint", false) => Wire::Int8,
        ("smallint", false) => Wire::Int16,
        ("bigint", false) => Wire::Int64,
        (_, false) => Wire::Int32,
        ("tinyint", true) => Wire::Unsigned(1),
        ("smallint", true) => Wire::Unsigned(2),
        ("bigint", true) => {
            return plain(Wire::Unsigned64)
                .warn("W_UNSIGNED", "up to 18446744073709551615, for which INT64 is too small");
        }
        (_, true) => Wire::Unsigned(4),
    };
    match catalog.text.as_str() {
        "tinyint(1)" => {
            plain(wire).reason("tinyint(1) holds -128 to 127, so it is no BOOL unless the job says so")
        }
        _ => plain(wire),
    }
}

/// BIGNUMERIC has 38 digits before the point and as many behind it.
fn decimal(catalog: &CatalogType) -> ReadAs {
    let whole = catalog.precision.saturating_sub(catalog.scale);
    match (u8::try_from(catalog.precision), i8::try_from(catalog.scale)) {
        (Ok(precision @ 1..=38), Ok(scale @ 0..)) => plain(Wire::Decimal128(precision, scale)),
        (Ok(precision @ 39..=76), Ok(scale @ 0..=38)) if whole <= 38 => {
            plain(Wire::Decimal256(precision, scale))
        }
        _ => plain(Wire::Text).warn("W_NUM_RANGE", "more digits than BIGNUMERIC has; text keeps them all"),
    }
}

fn calendar(catalog: &CatalogType, zero_dates: ZeroDates) -> ReadAs {
    if zero_dates == ZeroDates::Text {
        let wire = if catalog.name == "date" { Wire::DateText } else { Wire::DateTimeText(catalog.fraction) };
        return plain(wire)
            .warn("W_ZERO_DATE", "as text, since `zero_dates` of the connection says so")
            .reason("dates that no calendar has stay what they are");
    }
    let wire = match catalog.name.as_str() {
        "date" => Wire::Date,
        "datetime" => Wire::DateTime,
        _ => Wire::Timestamp,
    };
    let what = match zero_dates {
        ZeroDates::Null => {
            "zero and partial dates are read as NULL, since `zero_dates` of the connection says so"
        }
        _ => "zero and partial dates end the read; see `zero_dates` of the connection",
    };
    plain(wire).conditional().warn("W_ZERO_DATE", what)
}

fn text(catalog: &CatalogType) -> ReadAs {
    if catalog.json {
        return json();
    }
    let read = plain(Wire::Text).ordered();
    if catalog.name == "char" {
        return read.conditional().warn("W_CHAR_PAD", "the server strips trailing blanks of CHAR");
    }
    read
}

fn json() -> ReadAs {
    plain(Wire::Text)
        .extension(Extension::Json)
        .confidence(Medium)
        .conditional()
        .warn("W_JSON_NUM", "numbers beyond what BigQuery's JSON holds lose digits there")
}

fn geometry(catalog: &CatalogType) -> ReadAs {
    if catalog.srid == Some(4326) {
        return plain(Wire::WellKnownText)
            .extension(Extension::GeoWkt)
            .confidence(Medium)
            .conditional()
            .warn("W_GEO_PLANAR", "edges are straight on a plane here and geodesics in BigQuery");
    }
    plain(Wire::Geometry)
        .warn("W_GEO_SRID", "not declared as SRID 4326: extended well-known binary, with its SRID")
}

/// Precision, scale and digits of a second of a type's text.
pub(crate) fn numbers(text: &str) -> (Option<u64>, Option<u64>) {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
    let mut numbers =
        inner.into_iter().flat_map(|inner| inner.split(',')).map(|number| number.trim().parse().ok());
    (numbers.next().flatten(), numbers.next().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(text: &str) -> CatalogType {
        let (precision, scale) = numbers(text);
        CatalogType {
            name: text.split(['(', ' ']).next().unwrap().to_owned(),
            text: text.to_owned(),
            precision: precision.unwrap_or(0),
            scale: scale.unwrap_or(0),
            fraction: u8::try_from(precision.unwrap_or(0)).unwrap_or(0),
            ..CatalogType::default()
        }
    }

    /// The rows of `type_mapping.csv`: what the catalog says, and the Arrow type.
    #[test]
    fn every_type_has_its_arrow_type() {
        let utc = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (text, arrow) in [
            ("tinyint(1)", DataType::Int8),
            ("tinyint(4)", DataType::Int8),
            ("smallint(6)", DataType::Int16),
            ("mediumint(9)", DataType::Int32),
            ("int(11)", DataType::Int32),
            ("int", DataType::Int32),
            ("tinyint(3) unsigned", DataType::Int64),
            ("smallint(5) unsigned zerofill", DataType::Int64),
            ("mediumint(8) unsigned", DataType::Int64),
            ("int(10) unsigned", DataType::Int64),
            ("bigint(20)", DataType::Int64),
            ("bigint(20) unsigned", DataType::Decimal128(20, 0)),
            ("decimal(10,0)", DataType::Decimal128(10, 0)),
            ("decimal(38,2) unsigned", DataType::Decimal128(38, 2)),
            ("decimal(65,30)", DataType::Decimal256(65, 30)),
            ("decimal(65,38)", DataType::Decimal256(65, 38)),
            ("decimal(65,0)", DataType::Utf8),
            ("float", DataType::Float32),
            ("float(7,3)", DataType::Float32),
            ("double", DataType::Float64),
            ("double unsigned", DataType::Float64),
            ("bit(1)", DataType::Boolean),
            ("bit(2)", DataType::Int64),
            ("bit(63)", DataType::Int64),
            ("bit(64)", DataType::Decimal128(20, 0)),
            ("year(4)", DataType::Int16),
            ("date", DataType::Date32),
            ("datetime(6)", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("timestamp", utc()),
            ("time(3)", DataType::Utf8),
            ("char(3)", DataType::Utf8),
            ("varchar(3)", DataType::Utf8),
            ("longtext", DataType::Utf8),
            ("enum('a','b')", DataType::Utf8),
            ("set('a','b')", DataType::Utf8),
            ("json", DataType::Utf8),
            ("binary(16)", DataType::Binary),
            ("varbinary(3)", DataType::Binary),
            ("longblob", DataType::Binary),
            ("uuid", DataType::Utf8),
            ("inet4", DataType::Utf8),
            ("inet6", DataType::Utf8),
            ("point", DataType::Binary),
            ("a_type_to_come", DataType::Utf8),
        ] {
            assert_eq!(read_as(&catalog(text), ZeroDates::Refuse).wire.arrow(), arrow, "{text}");
        }
        let point = CatalogType { srid: Some(4326), ..catalog("point") };
        assert_eq!(read_as(&point, ZeroDates::Refuse).extension, Some(Extension::GeoWkt));
        let json = CatalogType { json: true, ..catalog("longtext") };
        assert_eq!(read_as(&json, ZeroDates::Refuse).extension, Some(Extension::Json));
        for text in ["date", "datetime(6)", "timestamp"] {
            assert_eq!(read_as(&catalog(text), ZeroDates::Text).wire.arrow(), DataType::Utf8);
        }
    }

    #[test]
    fn a_result_of_another_type_is_found_out() {
        use on_wire as t;
        assert!(Wire::Int32.takes(t::LONG, false) && Wire::Int32.takes(t::INT24, false));
        assert!(!Wire::Int32.takes(t::LONG, true) && !Wire::Int32.takes(t::LONGLONG, false));
        assert!(Wire::Text.takes(252, false) && !Wire::Text.takes(t::DATE, false));
        assert!(!Wire::Date.takes(t::DATETIME, false) && Wire::Timestamp.takes(t::TIMESTAMP, true));
    }
}
