//! The one table from PostgreSQL's types to Arrow. Pure.

use arrow_schema::{DataType, TimeUnit};
use transload_core::schema::{Confidence, Extension, Lossless, TypeNote, Warning};

use crate::nested::{Bound, vector_arrow};

/// How the binary form of a column is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// One byte.
    Bool,
    /// Big-endian integer of 2 bytes.
    Int2,
    /// Of 4 bytes.
    Int4,
    /// Of 8 bytes.
    Int8,
    /// Unsigned, of 4 bytes.
    Oid,
    /// IEEE single.
    Float4,
    /// IEEE double.
    Float8,
    /// Base-10000 digits into 128 bits, with this scale.
    Decimal128(u8, i8),
    /// The same into 256 bits.
    Decimal256(u8, i8),
    /// Base-10000 digits into the text that the server prints.
    NumericText,
    /// UTF-8.
    Text,
    /// A version byte, then UTF-8.
    Jsonb,
    /// Bytes.
    Bytes,
    /// 16 bytes.
    Uuid,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01, without zone.
    DateTime,
    /// Microseconds since 2000-01-01 UTC.
    Timestamp,
    /// One byte of any encoding.
    Char,
    /// Flags and bounds.
    Range(Bound),
    /// A count, then IEEE singles.
    Vector,
    /// A count, then IEEE halves.
    HalfVector,
}

impl Wire {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal128(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Decimal256(precision, scale) => DataType::Decimal256(precision, scale),
            Self::NumericText | Self::Text | Self::Jsonb | Self::Char => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Range(bound) => bound.arrow(),
            Self::Vector | Self::HalfVector => vector_arrow(),
        }
    }
}

/// What is selected so that the server sends the wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    /// The column itself.
    Plain,
    /// `column::<type>`
    Cast(&'static str),
    /// `to_jsonb(column)::text`
    Jsonb,
    /// PostGIS: well-known text.
    WellKnownText,
}

/// How a column is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadAs {
    pub(crate) wire: Wire,
    pub(crate) select: Select,
    pub(crate) extension: Option<Extension>,
    /// Whether the column can be a cursor: what the server and the engine order alike, as values and not as
    /// the text of values.
    pub(crate) ordered: bool,
    pub(crate) note: TypeNote,
}

/// A type as the catalog names it, domains resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CatalogType<'a> {
    /// `pg_type.typname`.
    pub(crate) name: &'a str,
    /// `pg_type.typtype`: b(ase), c(omposite), e(num), r(ange), m(ultirange), p(seudo).
    pub(crate) sort: char,
    /// Whether it is an array type.
    pub(crate) array: bool,
    /// Type modifier, -1 for none.
    pub(crate) modifier: i32,
}

fn plain(wire: Wire) -> ReadAs {
    let ordered = matches!(
        wire,
        Wire::Int2
            | Wire::Int4
            | Wire::Int8
            | Wire::Decimal128(..)
            | Wire::Date
            | Wire::DateTime
            | Wire::Timestamp
    );
    ReadAs { wire, select: Select::Plain, extension: None, ordered, note: TypeNote::default() }
}

impl ReadAs {
    fn note(mut self, confidence: Confidence, lossless: Lossless, code: &str, text: &str) -> Self {
        self.note.confidence = confidence;
        self.note.lossless = lossless;
        self.note.warnings.push(Warning::new(code, text));
        self
    }

    fn ordered(mut self) -> Self {
        self.ordered = true;
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
}

fn cast(select: Select, wire: Wire) -> ReadAs {
    ReadAs { select, ..plain(wire) }
}

/// How a type is read. Every type has an answer: what has no row of its own is read as the text that the
/// server prints.
pub(crate) fn read_as(catalog: CatalogType<'_>) -> ReadAs {
    use Confidence::{High, Low, Medium};
    use Lossless::{Conditional, Yes};
    if catalog.array {
        return cast(Select::Jsonb, Wire::Text)
            .extension(Extension::Json)
            .note(Medium, Conditional, "W_ARRAY_DIMS", "PostgreSQL does not enforce an array's dimensions")
            .reason("arrays as JSON keep NULL elements and every dimension");
    }
    let as_text = || cast(Select::Cast("text"), Wire::Text).reason("the text that the server prints");
    match catalog.sort {
        'e' => {
            return plain(Wire::Text)
                .note(High, Conditional, "W_ENUM_ORDER", "the order of the labels is not kept")
                .reason("enum labels as text");
        }
        'c' => {
            return cast(Select::Jsonb, Wire::Text)
                .extension(Extension::Json)
                .note(Medium, Conditional, "W_NESTED", "a NULL row and a row of NULLs look alike")
                .reason("composite as JSON");
        }
        'r' | 'm' => {
            let bound = match catalog.name {
                "int4range" => Some(Bound::Int4),
                "int8range" => Some(Bound::Int8),
                "numrange" => Some(Bound::Numeric),
                _ => None,
            };
            if let Some(bound) = bound {
                return plain(Wire::Range(bound)).note(
                    Medium,
                    Yes,
                    "W_RANGE_KIND",
                    "BigQuery has ranges of dates and times only; this one is a record of its bounds",
                );
            }
            return as_text().note(Medium, Yes, "W_RANGE_KIND", "a range as text, bounds included");
        }
        _ => {}
    }
    match catalog.name {
        "bool" => plain(Wire::Bool),
        "int2" => plain(Wire::Int2),
        "int4" => plain(Wire::Int4),
        "int8" => plain(Wire::Int8),
        "oid" => plain(Wire::Oid),
        "float4" => plain(Wire::Float4).note(
            High,
            Yes,
            "W_FLOAT_APPROX",
            "a single widens exactly to a double but prints with more digits",
        ),
        "float8" => plain(Wire::Float8),
        "numeric" => numeric(catalog.modifier),
        "money" => cast(Select::Cast("numeric(19,2)"), Wire::Decimal128(19, 2)).note(
            Medium,
            Conditional,
            "W_LOCALE",
            "the number of decimals comes from the server's lc_monetary",
        ),
        "text" | "varchar" | "name" => plain(Wire::Text).ordered(),
        // Its binary form may name another encoding than the one it is sent in.
        "xml" => cast(Select::Cast("text"), Wire::Text),
        "bpchar" => plain(Wire::Text).note(
            High,
            Conditional,
            "W_CHAR_PAD",
            "trailing blanks mean nothing in PostgreSQL and something in BigQuery",
        ),
        "citext" => plain(Wire::Text).ordered().note(
            High,
            Conditional,
            "W_COLLATION",
            "comparisons become case-sensitive",
        ),
        "bytea" => plain(Wire::Bytes),
        "uuid" => plain(Wire::Uuid).extension(Extension::Uuid),
        "json" => plain(Wire::Text).extension(Extension::Json).note(
            Medium,
            Conditional,
            "W_JSON_ORDER",
            "white space, the order of keys and duplicate keys are not kept by BigQuery",
        ),
        "jsonb" => plain(Wire::Jsonb).extension(Extension::Json).note(
            High,
            Conditional,
            "W_JSON_NUM",
            "integers beyond 64 bits do not fit BigQuery's JSON",
        ),
        "date" => plain(Wire::Date).note(
            High,
            Conditional,
            "W_TS_RANGE",
            "infinity and years outside 1 to 9999 do not fit",
        ),
        "time" => plain(Wire::Time).note(High, Conditional, "W_TIME_24H", "24:00:00 does not fit"),
        "timestamp" => plain(Wire::DateTime).note(
            High,
            Conditional,
            "W_TS_RANGE",
            "infinity and years outside 1 to 9999 do not fit",
        ),
        "timestamptz" => plain(Wire::Timestamp).note(
            High,
            Conditional,
            "W_TS_RANGE",
            "infinity and years outside 1 to 9999 do not fit",
        ),
        "timetz" => as_text().note(High, Yes, "W_TZ_LOST", "the offset is part of the value"),
        "interval" => {
            as_text().note(High, Yes, "W_INTERVAL_PREVIEW", "ISO 8601 text; BigQuery's INTERVAL is a preview")
        }
        "geometry" | "geography" => {
            cast(Select::WellKnownText, Wire::Text).extension(Extension::GeoWkt).note(
                Medium,
                Conditional,
                "W_GEO_PLANAR",
                "straight edges become geodesics; only SRID 4326, two dimensions",
            )
        }
        "hstore" => cast(Select::Jsonb, Wire::Text).extension(Extension::Json).note(
            Medium,
            Conditional,
            "W_MAP",
            "the order of keys is not kept",
        ),
        "char" => plain(Wire::Char).note(
            Medium,
            Conditional,
            "W_OPAQUE",
            "a single byte, which need not be a character",
        ),
        "vector" | "halfvec" => plain(if catalog.name == "vector" { Wire::Vector } else { Wire::HalfVector })
            .note(Medium, Conditional, "W_ARRAY_NULL", "BigQuery stores a NULL vector as an empty one"),
        "bit" | "varbit" | "inet" | "cidr" | "macaddr" | "macaddr8" | "ltree" => as_text(),
        "point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle" => {
            as_text().note(High, Yes, "W_GEO_PLANAR", "a shape without unit on a plane is no geography")
        }
        "tsvector" | "tsquery" => as_text().note(High, Yes, "W_OPAQUE", "only a full-text engine reads it"),
        "pg_lsn" => {
            as_text().note(High, Yes, "W_TEXT_FORM", "hexadecimal in two parts, not in the order of its text")
        }
        "xid8" => as_text().note(Medium, Yes, "W_UNSIGNED", "an unsigned number of 64 bits"),
        _ => as_text().note(Low, Yes, "W_OPAQUE", "a type that transload does not know, as text"),
    }
}

/// `numeric(p,s)` by its modifier: ((p << 16) | (s & 0x7ff)) + 4, scale as 11-bit two's complement.
fn numeric(modifier: i32) -> ReadAs {
    let packed = modifier.wrapping_sub(4);
    if modifier < 4 {
        return plain(Wire::NumericText)
            .note(
                Confidence::High,
                Lossless::Yes,
                "W_NUM_UNBOUNDED",
                "numeric without precision may hold more digits than any BigQuery number",
            )
            .reason("text keeps every digit; override with NUMERIC or BIGNUMERIC if the values fit");
    }
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // A negative scale adds digits before the point; a scale above the precision means leading zeros.
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if precision <= 38 => plain(Wire::Decimal128(precision, scale)),
        (Ok(precision), Ok(scale)) if precision <= 76 => plain(Wire::Decimal256(precision, scale)),
        _ => plain(Wire::NumericText).note(
            Confidence::High,
            Lossless::Yes,
            "W_NUM_RANGE",
            "more digits than BIGNUMERIC holds",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str, modifier: i32) -> ReadAs {
        read_as(CatalogType { name, sort: 'b', array: false, modifier })
    }

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numerics_by_their_modifier() {
        for ((precision, scale), wire) in [
            ((15, 2), Wire::Decimal128(15, 2)),
            ((38, 0), Wire::Decimal128(38, 0)),
            ((39, 5), Wire::Decimal256(39, 5)),
            ((3, -2), Wire::Decimal128(5, 0)),
            ((3, 5), Wire::Decimal128(5, 5)),
            ((76, 38), Wire::Decimal256(76, 38)),
            ((100, 2), Wire::NumericText),
        ] {
            assert_eq!(base("numeric", modifier(precision, scale)).wire, wire, "({precision},{scale})");
        }
        assert_eq!(base("numeric", -1).wire, Wire::NumericText);
    }

    #[test]
    fn everything_has_an_answer() {
        assert_eq!(base("no_such_type", -1).select, Select::Cast("text"));
        assert_eq!(base("no_such_type", -1).note.confidence, Confidence::Low);
        let array = read_as(CatalogType { name: "_int4", sort: 'b', array: true, modifier: -1 });
        assert_eq!((array.select, array.extension), (Select::Jsonb, Some(Extension::Json)));
    }
}
