//! The one table from PostgreSQL's types to Arrow. Pure.

use arrow_schema::{DataType, TimeUnit};
use transload_core::schema::Confidence::{self, Low, Medium};
use transload_core::schema::{Extension, Lossless, TypeNote, Warning};

use crate::json_form::JsonForm;
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Select {
    /// The column itself.
    Plain,
    /// `column::type`, of the system's schema.
    Cast(&'static str),
    /// As JSON text.
    Json(JsonForm),
    /// PostGIS, by its schema: well-known text with every digit.
    WellKnownText(String),
    /// The same of `geography`; what is not on WGS 84 names its system, so that no loader takes it.
    GeographyText(String),
    /// Text of a database that checks no text, as bytes: the server refuses to send it as text if it is none,
    /// and does not say which column it was.
    Unchecked(Box<Select>),
    /// `char(n)` with its blanks, which a cast to text drops.
    Padded,
    /// `real` as the double that it is equal to, which Redshift prints with all its digits.
    Widened,
    /// Redshift's geography as well-known text; 17 digits are all that a double has.
    RedshiftGeography,
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

/// A type as the catalog describes it, domains resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CatalogType {
    /// `pg_type.typname`.
    pub(crate) name: String,
    pub(crate) home: Home,
    pub(crate) kind: Kind,
    /// Type modifier, -1 for none; of an array, that of its elements.
    pub(crate) modifier: i32,
}

/// Where a type comes from: a name alone says nothing, anybody may create a type `date`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Home {
    /// The server itself.
    BuiltIn,
    /// An extension, and the schema that the type is in.
    Extension { name: String, schema: String },
    /// `CREATE TYPE`.
    User,
}

/// What sort of type it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Base,
    Enum,
    Range,
    Multirange,
    Array(Box<CatalogType>),
    /// Row types with their fields.
    Composite(Vec<(String, CatalogType)>),
}

impl CatalogType {
    /// A base type of the server.
    #[cfg(test)]
    pub(crate) fn built_in(name: &str, modifier: i32) -> Self {
        Self { name: name.to_owned(), home: Home::BuiltIn, kind: Kind::Base, modifier }
    }
}

/// The column itself.
pub(crate) fn plain(wire: Wire) -> ReadAs {
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

fn select(select: Select, wire: Wire) -> ReadAs {
    ReadAs { select, ..plain(wire) }
}

/// The text that the server prints.
fn as_text() -> ReadAs {
    select(Select::Cast("text"), Wire::Text).reason("the text that the server prints")
}

fn as_json(catalog: &CatalogType) -> ReadAs {
    select(Select::Json(JsonForm::of(catalog)), Wire::Text).extension(Extension::Json)
}

impl ReadAs {
    fn confidence(mut self, confidence: Confidence) -> Self {
        self.note.confidence = confidence;
        self
    }

    /// Not every value survives.
    fn conditional(mut self) -> Self {
        self.note.lossless = Lossless::Conditional;
        self
    }

    fn warn(mut self, code: &str, text: &str) -> Self {
        self.note.warnings.push(Warning::new(code, text));
        self
    }

    /// The same in a database of encoding SQL_ASCII.
    pub(crate) fn unchecked(mut self, catalog: &CatalogType) -> Self {
        if !matches!(self.wire, Wire::Text | Wire::Jsonb) {
            return self;
        }
        let padded = catalog.home == Home::BuiltIn && catalog.name == "bpchar";
        let select = if padded { Select::Padded } else { self.select };
        self.select = Select::Unchecked(Box::new(select));
        self.wire = Wire::Text;
        self.warn("W_CHARSET", "the database is SQL_ASCII: text may hold bytes that are not UTF-8")
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

/// How a type is read. Every type has an answer: what has no row of its own is read as the text that the
/// server prints.
pub(crate) fn read_as(catalog: &CatalogType) -> ReadAs {
    match &catalog.kind {
        Kind::Array(element) => array(catalog, element),
        Kind::Composite(_) => as_json(catalog)
            .confidence(Medium)
            .conditional()
            .warn("W_NESTED", "inside JSON, a field that is NULL and a field that is a row of NULLs differ")
            .reason("a row type as JSON takes fields of every name and type"),
        Kind::Enum => plain(Wire::Text)
            .conditional()
            .warn("W_ENUM_ORDER", "the order of the labels is not kept")
            .reason("enum labels as text"),
        Kind::Range => range(catalog),
        Kind::Multirange => as_text()
            .confidence(Medium)
            .warn("W_OPAQUE", "a set of ranges as the text that the server prints"),
        Kind::Base => match &catalog.home {
            Home::BuiltIn => built_in(&catalog.name, catalog.modifier),
            Home::Extension { name, schema } => of_extension(name, schema, catalog),
            Home::User => unknown(),
        },
    }
}

fn unknown() -> ReadAs {
    as_text().confidence(Low).warn("W_OPAQUE", "a type that transload does not know, as text")
}

fn array(catalog: &CatalogType, element: &CatalogType) -> ReadAs {
    let read = as_json(catalog)
        .conditional()
        .warn(
            "W_ARRAY_DIMS",
            "PostgreSQL does not enforce an array's dimensions; lower bounds other than 1 are not kept",
        )
        .reason("arrays as JSON keep NULL elements and every dimension");
    let number = matches!(element.name.as_str(), "int8" | "numeric" | "money" | "bytea")
        && element.home == Home::BuiltIn;
    let time = matches!(element.name.as_str(), "date" | "timestamp" | "timestamptz")
        && element.home == Home::BuiltIn;
    if number || time {
        return read
            .confidence(Medium)
            .warn("W_JSON_NUM", "the elements are strings, so that every digit is kept");
    }
    match element.kind {
        Kind::Base | Kind::Enum => read,
        _ => read.confidence(Medium),
    }
}

fn range(catalog: &CatalogType) -> ReadAs {
    let bound = match (&catalog.home, catalog.name.as_str()) {
        (Home::BuiltIn, "int4range") => Bound::Int4,
        (Home::BuiltIn, "int8range") => Bound::Int8,
        (Home::BuiltIn, "numrange") => Bound::Numeric,
        // BigQuery's own ranges have no empty one and no bounds but `[)`.
        (Home::BuiltIn, _) => return as_text(),
        _ => return as_text().confidence(Low).warn("W_OPAQUE", "a range of its own, as text"),
    };
    plain(Wire::Range(bound))
        .confidence(Medium)
        .warn("W_RANGE_KIND", "BigQuery has ranges of dates and times only; this is a record of bounds")
        .reason("a record of the bounds; a bound that is NULL is unbounded")
}

/// The types of `pg_catalog`.
fn built_in(name: &str, modifier: i32) -> ReadAs {
    match name {
        "bool" => plain(Wire::Bool),
        "int2" => plain(Wire::Int2),
        "int4" => plain(Wire::Int4),
        "int8" => plain(Wire::Int8),
        "oid" | "xid" | "cid" => plain(Wire::Oid).warn("W_UNSIGNED", "an unsigned number of 32 bits"),
        "float4" => plain(Wire::Float4)
            .warn("W_FLOAT_APPROX", "a single widens exactly to a double but prints with more digits"),
        "float8" => plain(Wire::Float8),
        "numeric" => numeric(modifier),
        // Not to numeric(19,2), which would round the money of a locale with three decimals.
        "money" => select(Select::Cast("numeric"), Wire::Decimal128(19, 2))
            .confidence(Medium)
            .conditional()
            .warn("W_LOCALE", "the number of decimals comes from the server's lc_monetary"),
        "text" | "varchar" | "name" => plain(Wire::Text).ordered(),
        "bpchar" => plain(Wire::Text)
            .conditional()
            .warn("W_CHAR_PAD", "trailing blanks mean nothing in PostgreSQL and something in BigQuery"),
        "char" => plain(Wire::Char)
            .confidence(Medium)
            .conditional()
            .warn("W_OPAQUE", "a single byte; one beyond ASCII is a backslash and its octal digits"),
        // Its binary form may name another encoding than the one it is sent in.
        "xml" => select(Select::Cast("text"), Wire::Text),
        "bytea" => plain(Wire::Bytes).warn("W_SIZE", "up to 1 GB, and a row of BigQuery takes 100 MB"),
        "uuid" => plain(Wire::Uuid).extension(Extension::Uuid),
        "json" => plain(Wire::Text)
            .extension(Extension::Json)
            .confidence(Medium)
            .conditional()
            .warn(
                "W_JSON_ORDER",
                "white space, the order of keys and duplicate keys are not kept by BigQuery",
            )
            .warn("W_JSON_NUM", JSON_NUM),
        "jsonb" => plain(Wire::Jsonb).extension(Extension::Json).conditional().warn("W_JSON_NUM", JSON_NUM),
        "date" => calendar(Wire::Date),
        "timestamp" => calendar(Wire::DateTime),
        "timestamptz" => calendar(Wire::Timestamp),
        "time" => plain(Wire::Time).conditional().warn("W_TIME_24H", "24:00:00 does not fit"),
        _ => built_in_text(name, modifier),
    }
}

const JSON_NUM: &str =
    "integers beyond 64 bits and numbers of more than 17 digits do not fit BigQuery's JSON";

fn calendar(wire: Wire) -> ReadAs {
    plain(wire)
        .conditional()
        .warn("W_TS_INF", "infinity does not fit")
        .warn("W_TS_RANGE", "years outside 1 to 9999 do not fit BigQuery")
}

/// Those of them that are read as the server prints them.
fn built_in_text(name: &str, modifier: i32) -> ReadAs {
    let read = as_text();
    match name {
        "timetz" => read.warn("W_TZ_LOST", "the offset is part of the value"),
        "interval" => read.warn("W_INTERVAL_PREVIEW", "ISO 8601 text; BigQuery's INTERVAL is a preview"),
        "bit" if modifier == 1 => {
            read.confidence(Medium).warn("W_BOOL_ASSUMED", "BOOL would fit, if that is what is meant")
        }
        "bit" | "varbit" | "inet" | "cidr" | "macaddr" | "macaddr8" => read,
        "point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle" => {
            read.warn("W_GEO_PLANAR", "a shape without unit on a plane is no geography")
        }
        "tsvector" | "tsquery" | "jsonpath" => read.warn("W_OPAQUE", "only its own engine reads it"),
        "pg_lsn" => read.warn("W_TEXT_FORM", "hexadecimal in two parts, not in the order of its text"),
        "xid8" | "pg_snapshot" | "txid_snapshot" => {
            read.confidence(Medium).warn("W_UNSIGNED", "unsigned numbers of 64 bits")
        }
        "tid" | "int2vector" | "oidvector" | "aclitem" | "pg_node_tree" | "pg_ndistinct"
        | "pg_dependencies" | "pg_mcv_list" => {
            read.confidence(Medium).warn("W_OPAQUE", "a type of the catalog, as text")
        }
        reg if reg.starts_with("reg") => {
            read.warn("W_TEXT_FORM", "the name; its number means something inside that database only")
        }
        _ => unknown(),
    }
}

/// The types of extensions, whatever schema they were created in.
fn of_extension(extension: &str, schema: &str, catalog: &CatalogType) -> ReadAs {
    match (extension, catalog.name.as_str()) {
        ("citext", "citext") => {
            plain(Wire::Text).ordered().conditional().warn("W_COLLATION", "comparisons become case-sensitive")
        }
        ("hstore", "hstore") => {
            as_json(catalog).confidence(Medium).conditional().warn("W_MAP", "the order of keys is not kept")
        }
        ("ltree", "ltree" | "lquery" | "ltxtquery") => {
            as_text().warn("W_OPAQUE", "only its own engine reads it")
        }
        ("cube", "cube") | ("seg", "seg") | ("isn", _) => {
            as_text().warn("W_TEXT_FORM", "leading zeros and check digits are part of the value")
        }
        ("vector", "vector") => vector(Wire::Vector),
        ("vector", "halfvec") => vector(Wire::HalfVector),
        ("vector", "sparsevec") => as_text()
            .confidence(Medium)
            .conditional()
            .warn("W_OPAQUE", "indices and values as the text that the server prints"),
        ("postgis", "geometry" | "geography") => shape(schema, catalog),
        ("postgis_raster", "raster") => select(Select::Cast("bytea"), Wire::Bytes)
            .confidence(Low)
            .warn("W_OPAQUE", "well-known binary of PostGIS")
            .warn("W_SIZE", "up to 1 GB, and a row of BigQuery takes 100 MB"),
        _ => unknown(),
    }
}

/// The mapper warns of arrays that are NULL.
fn vector(wire: Wire) -> ReadAs {
    plain(wire).confidence(Medium).conditional().reason("a list of its elements")
}

/// PostGIS's type modifier: SRID in 21 bits from bit 8 on, type of shape in 6 bits, then Z and M
/// (`TYPMOD_*` in PostGIS's liblwgeom.h).
fn shape(schema: &str, catalog: &CatalogType) -> ReadAs {
    /// The numbers of curves, surfaces and triangles begin here.
    const FIRST_CURVE: i32 = 8;
    let geography = catalog.name == "geography";
    let modifier = catalog.modifier;
    let (srid, sort, z_or_m) = ((modifier >> 8) & 0x1f_ffff, (modifier >> 2) & 0x3f, modifier & 3);
    let known = modifier >= 0 && srid == 4326 && z_or_m == 0 && sort < FIRST_CURVE;
    if geography && (known || modifier < 0) {
        return select(Select::GeographyText(schema.to_owned()), Wire::Text)
            .extension(Extension::GeoWkt)
            .conditional()
            .warn("W_GEO_DIM", "BigQuery takes two dimensions and SRID 4326 only");
    }
    if known {
        return select(Select::WellKnownText(schema.to_owned()), Wire::Text)
            .extension(Extension::GeoWkt)
            .confidence(Medium)
            .conditional()
            .warn("W_GEO_PLANAR", "straight edges become geodesics");
    }
    // The type's own binary form is EWKB.
    plain(Wire::Bytes)
        .warn("W_GEO_SRID", "EWKB, which holds SRID and all dimensions; GEOGRAPHY has neither")
        .reason("its declaration does not say SRID 4326 in two dimensions")
}

/// `numeric(p,s)` by its modifier: ((p << 16) | (s & 0x7ff)) + 4, scale as 11-bit two's complement.
fn numeric(modifier: i32) -> ReadAs {
    let packed = modifier.wrapping_sub(4);
    if modifier < 4 {
        return plain(Wire::NumericText)
            .warn(
                "W_NUM_UNBOUNDED",
                "numeric without precision may hold more digits than any BigQuery number",
            )
            .reason("text keeps every digit; override with NUMERIC or BIGNUMERIC if the values fit");
    }
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let odd = scale < 0 || scale > precision;
    // A negative scale adds digits before the point; a scale above the precision means leading zeros.
    let (digits, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    let read = match (u8::try_from(digits), i8::try_from(scale)) {
        (Ok(digits), Ok(scale)) if digits <= 38 => plain(Wire::Decimal128(digits, scale)),
        (Ok(digits), Ok(scale)) if scale <= 38 && i32::from(digits) - i32::from(scale) <= 38 => {
            plain(Wire::Decimal256(digits, scale))
        }
        _ if odd => plain(Wire::NumericText),
        _ => return plain(Wire::NumericText).warn("W_NUM_RANGE", "more digits than BIGNUMERIC holds"),
    };
    let read = match (odd, digits == scale) {
        (true, _) => {
            read.confidence(Medium).warn("W_NUM_NEGSCALE", "a scale below zero or above the precision")
        }
        (false, true) => read.warn("W_NUM_PARAM", "no digit before the point: BigQuery wants one"),
        (false, false) => read,
    };
    match read.wire {
        Wire::NumericText => read,
        _ => read.conditional().warn("W_NUM_SPECIAL", "NaN has no decimal"),
    }
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;
