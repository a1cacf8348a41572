//! The one table from the types of SQL Server to Arrow. Pure.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use transload_core::schema::Confidence::{self, Low, Medium};
use transload_core::schema::{Extension, Lossless, TypeNote, Warning};

use crate::config::{InvalidText, MssqlConfig, SeventhDigit};
use crate::wire::{WireType, ty};

/// How a column is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    /// Unsigned, of one byte, widened.
    Tiny,
    Int16,
    Int32,
    Int64,
    Float4,
    Float8,
    /// Precision and scale.
    Decimal(u8, i8),
    /// Four digits behind the point, in four or eight bytes.
    Money(u8),
    Date,
    Time,
    /// With so many digits of a second, as text.
    TimeText(u8),
    DateTime2,
    DateTime2Text(u8),
    DateTimeOffset,
    /// Ticks of 1/300 s.
    DateTime,
    SmallDateTime,
    Guid,
    /// UTF-16.
    Text,
    /// In the code page of the column's collation.
    Coded,
    Bytes,
    RowVersion,
    Variant,
    /// An SRID in four bytes ahead of well-known binary.
    Geometry,
}

impl Wire {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Tiny | Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Money(precision) => DataType::Decimal128(precision, 4),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::DateTime2 | Self::DateTime | Self::SmallDateTime => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Self::DateTimeOffset => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimeText(_) | Self::DateTime2Text(_) | Self::Guid | Self::Text | Self::Coded => {
                DataType::Utf8
            }
            Self::Bytes | Self::Geometry => DataType::Binary,
            Self::RowVersion => DataType::FixedSizeBinary(8),
            Self::Variant => DataType::Struct(variant_fields()),
        }
    }

    /// Whether a result's column of this type is what this decodes: a table that was altered is found out here.
    pub(crate) fn takes(self, found: &WireType) -> bool {
        let sized = |kinds: &[u8], nullable: u8, size: usize| {
            kinds.contains(&found.kind) || (found.kind == nullable && found.size == size)
        };
        match self {
            Self::Bool => sized(&[ty::BIT], ty::BIT_N, 1),
            Self::Tiny => sized(&[ty::INT1], ty::INT_N, 1),
            Self::Int16 => sized(&[ty::INT2], ty::INT_N, 2),
            Self::Int32 => sized(&[ty::INT4], ty::INT_N, 4),
            Self::Int64 => sized(&[ty::INT8], ty::INT_N, 8),
            Self::Float4 => sized(&[ty::REAL], ty::FLOAT_N, 4),
            Self::Float8 => sized(&[ty::FLOAT], ty::FLOAT_N, 8),
            Self::Decimal(precision, scale) => {
                matches!(found.kind, ty::DECIMAL_N | ty::NUMERIC_N)
                    && found.precision <= precision
                    && i8::try_from(found.scale) == Ok(scale)
            }
            Self::Money(19) => sized(&[ty::MONEY], ty::MONEY_N, 8),
            Self::Money(_) => sized(&[ty::SMALLMONEY], ty::MONEY_N, 4),
            Self::Date => found.kind == ty::DATE,
            Self::Time => found.kind == ty::TIME,
            Self::TimeText(scale) => found.kind == ty::TIME && found.scale == scale,
            Self::DateTime2 => found.kind == ty::DATETIME2,
            Self::DateTime2Text(scale) => found.kind == ty::DATETIME2 && found.scale == scale,
            Self::DateTimeOffset => found.kind == ty::DATETIMEOFFSET,
            Self::DateTime => sized(&[ty::DATETIME], ty::DATETIME_N, 8),
            Self::SmallDateTime => sized(&[ty::SMALLDATETIME], ty::DATETIME_N, 4),
            Self::Guid => found.kind == ty::GUID,
            Self::Text => matches!(found.kind, ty::NVARCHAR | ty::NCHAR | ty::NTEXT | ty::XML),
            Self::Coded => matches!(found.kind, ty::VARCHAR | ty::CHAR | ty::TEXT),
            Self::Bytes => matches!(found.kind, ty::VARBINARY | ty::BINARY | ty::IMAGE | ty::UDT),
            Self::RowVersion => matches!(found.kind, ty::VARBINARY | ty::BINARY) && found.size == 8,
            Self::Variant => found.kind == ty::VARIANT,
            Self::Geometry => found.kind == ty::VARBINARY,
        }
    }
}

/// What a `sql_variant` is: the name of its type, and the value as text.
pub(crate) fn variant_fields() -> Fields {
    let field = |name| Arc::new(Field::new(name, DataType::Utf8, true));
    Fields::from(vec![field("base_type"), field("value")])
}

/// A column's type as the catalog names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CatalogType {
    /// The type's own name, which may be of a user.
    pub(crate) name: String,
    /// The system's type below it; empty for CLR types.
    pub(crate) base: String,
    /// Bytes; -1 for `(max)`.
    pub(crate) length: i64,
    pub(crate) precision: u8,
    pub(crate) scale: u8,
}

impl CatalogType {
    /// The type that decides: a user's own stands for one of the system.
    pub(crate) fn system(&self) -> &str {
        let name = if self.base.is_empty() { &self.name } else { &self.base };
        if name == "timestamp" { "rowversion" } else { name }
    }

    /// `nvarchar(20)`
    pub(crate) fn text(&self) -> String {
        let name = self.system();
        match name {
            "decimal" | "numeric" => format!("{name}({},{})", self.precision, self.scale),
            "time" | "datetime2" | "datetimeoffset" => format!("{name}({})", self.scale),
            "char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary" => match self.length {
                -1 => format!("{name}(max)"),
                length if name.starts_with('n') => format!("{name}({})", length / 2),
                length => format!("{name}({length})"),
            },
            name => name.to_owned(),
        }
    }
}

/// How a column is read, and what to say of it.
#[derive(Debug, Clone)]
pub(crate) struct ReadAs {
    pub(crate) wire: Wire,
    /// What is selected in place of the column.
    pub(crate) select: Select,
    pub(crate) extension: Option<Extension>,
    /// Whether the column can be a cursor: its order is that of its Arrow values.
    pub(crate) ordered: bool,
    /// Whether texts may be longer than 8000 bytes.
    pub(crate) long: bool,
    pub(crate) note: TypeNote,
}

/// What is selected of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    Column,
    /// As text.
    Cast,
    /// As text, by the type's own method.
    ToText,
    /// Well-known text, with the SRID ahead where that is not 4326.
    WellKnownText,
    /// The SRID, and then well-known binary.
    WellKnownBinary,
}

fn plain(wire: Wire) -> ReadAs {
    use Wire::{
        Date, DateTime, DateTime2, DateTimeOffset, Decimal, Int16, Int32, Int64, Money, RowVersion,
        SmallDateTime, Tiny,
    };
    let ordered = matches!(
        wire,
        Tiny | Int16
            | Int32
            | Int64
            | Decimal(..)
            | Money(_)
            | Date
            | DateTime2
            | DateTimeOffset
            | DateTime
            | SmallDateTime
            | RowVersion
    );
    ReadAs { wire, select: Select::Column, extension: None, ordered, long: false, note: TypeNote::default() }
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

    fn lossy(mut self) -> Self {
        self.note.lossless = Lossless::No;
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

    fn select(mut self, select: Select) -> Self {
        self.select = select;
        self
    }
}

const TRUNCATED: &str = "the seventh digit of a second is cut off; see `seventh_digit` of the connection";

/// How a type is read. Every type has an answer: CLR types of users are read as their bytes.
pub(crate) fn read_as(catalog: &CatalogType, options: &MssqlConfig) -> ReadAs {
    match catalog.system() {
        "bit" => plain(Wire::Bool),
        "tinyint" => plain(Wire::Tiny).warn("W_UNSIGNED", "0 to 255"),
        "smallint" => plain(Wire::Int16),
        "int" => plain(Wire::Int32),
        "bigint" => plain(Wire::Int64),
        "decimal" | "numeric" => match (catalog.precision, i8::try_from(catalog.scale)) {
            (precision @ 1..=38, Ok(scale)) => plain(Wire::Decimal(precision, scale)),
            _ => plain(Wire::Decimal(38, 0)),
        },
        "money" => plain(Wire::Money(19)),
        "smallmoney" => plain(Wire::Money(10)),
        "real" => float(),
        "float" if catalog.precision > 0 && catalog.precision <= 24 => float(),
        "float" => plain(Wire::Float8),
        "date" | "time" | "datetime2" | "datetimeoffset" | "datetime" | "smalldatetime" => calendar(catalog, options),
        "uniqueidentifier" => plain(Wire::Guid)
            .warn("W_ENDIAN", "canonical text in lower case; the server orders it by other bytes first"),
        "char" | "varchar" | "text" | "nchar" | "nvarchar" | "ntext" => characters(catalog, options),
        "xml" => plain(Wire::Text).reason("the stored form, without declaration and insignificant blanks"),
        // Sent as it is to clients who say that they know the type, and we do not.
        "json" => plain(Wire::Text)
            .select(Select::Cast)
            .extension(Extension::Json)
            .confidence(Medium)
            .conditional()
            .warn("W_JSON_NUM", "numbers beyond what BigQuery's JSON holds lose digits there"),
        "vector" => {
            plain(Wire::Text).select(Select::Cast).confidence(Medium).reason("the array as JSON text")
        }
        "binary" | "varbinary" | "image" => {
            plain(Wire::Bytes).warn("W_SIZE", "up to 2 GB, and a row of BigQuery takes 100 MB")
        }
        "rowversion" => plain(Wire::RowVersion)
            .warn("W_NAME", "a counter of the database, which the catalog calls timestamp; a good cursor"),
        "sql_variant" => plain(Wire::Variant)
            .confidence(Low)
            .warn("W_MIXED", "each row has a type of its own, which is named beside the value"),
        "hierarchyid" => {
            plain(Wire::Text).select(Select::ToText).confidence(Medium).warn("W_TEXT_FORM", "the path, such as /1/2.1/")
        }
        "geography" => plain(Wire::Text)
            .select(Select::WellKnownText)
            .extension(Extension::GeoWkt)
            .confidence(Medium)
            .conditional()
            .warn("W_GEO_ORIENT", "a ring's direction says what is inside; curves, Z, M, FULLGLOBE and other SRIDs than 4326 are rejects"),
        "geometry" => plain(Wire::Geometry)
            .select(Select::WellKnownBinary)
            .warn("W_GEO_SRID", "extended well-known binary, with its SRID"),
        _ => plain(Wire::Bytes)
            .confidence(Low)
            .warn("W_OPAQUE", "a CLR type of the database, as its own bytes"),
    }
}

fn calendar(catalog: &CatalogType, options: &MssqlConfig) -> ReadAs {
    let text = options.seventh_digit == SeventhDigit::Text;
    match catalog.system() {
        "date" => plain(Wire::Date),
        "time" if catalog.scale == 7 && text => {
            plain(Wire::TimeText(7)).reason("text keeps the seventh digit")
        }
        "time" if catalog.scale == 7 => {
            plain(Wire::Time).lossy().confidence(Medium).warn("W_TS_NS", TRUNCATED)
        }
        "time" => plain(Wire::Time),
        "datetime2" if catalog.scale == 7 && text => {
            plain(Wire::DateTime2Text(7)).reason("text keeps the seventh digit")
        }
        "datetime2" if catalog.scale == 7 => {
            plain(Wire::DateTime2).lossy().confidence(Medium).warn("W_TS_NS", TRUNCATED)
        }
        "datetime2" => plain(Wire::DateTime2),
        "datetimeoffset" => {
            let read = plain(Wire::DateTimeOffset)
                .lossy()
                .warn("W_TZ_LOST", "the instant is kept, and the zone that it was written in is not");
            if catalog.scale == 7 { read.confidence(Medium).warn("W_TS_NS", TRUNCATED) } else { read }
        }
        "datetime" => plain(Wire::DateTime).conditional().warn(
            "W_TS_TICK",
            "values are ticks of 1/300 s, read as the server prints them: .000, .003, .007",
        ),
        _ => plain(Wire::SmallDateTime),
    }
}

fn float() -> ReadAs {
    plain(Wire::Float4)
        .conditional()
        .warn("W_FLOAT_APPROX", "a single widens exactly to a double but prints with more digits")
}

fn characters(catalog: &CatalogType, options: &MssqlConfig) -> ReadAs {
    let name = catalog.system();
    let wire = if name.starts_with('n') { Wire::Text } else { Wire::Coded };
    let what = match (wire, options.invalid_text) {
        (Wire::Text, InvalidText::Refuse) => "half a pair of surrogates ends the read; see `invalid_text`",
        (Wire::Text, InvalidText::Replace) => {
            "half a pair of surrogates becomes U+FFFD, as `invalid_text` says"
        }
        (_, InvalidText::Refuse) => {
            "decoded by the collation's code page; bytes that it does not have end the read"
        }
        (_, InvalidText::Replace) => {
            "decoded by the collation's code page; bytes that it does not have become U+FFFD"
        }
    };
    let mut read = plain(wire).conditional().warn("W_CHARSET", what);
    if matches!(name, "char" | "nchar") {
        read = read.warn("W_CHAR_PAD", "values are padded with blanks");
    }
    read.ordered = !matches!(name, "text" | "ntext");
    read.long = catalog.length == -1;
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn options(json: serde_json::Value) -> MssqlConfig {
        serde_json::from_value(json).unwrap()
    }

    fn catalog(text: &str) -> CatalogType {
        let (name, inner) =
            text.strip_suffix(')').and_then(|text| text.split_once('(')).unwrap_or((text, ""));
        let mut numbers = inner.split(',').map(|number| number.parse::<i64>());
        let first = if inner == "max" { -1 } else { numbers.next().and_then(Result::ok).unwrap_or(7) };
        let second = numbers.next().and_then(Result::ok).unwrap_or(0);
        let timed = matches!(name, "time" | "datetime2" | "datetimeoffset");
        let wide = if first > 0 && name.starts_with('n') && name != "numeric" { 2 } else { 1 };
        CatalogType {
            name: name.to_owned(),
            base: name.to_owned(),
            length: first * wide,
            precision: u8::try_from(first).unwrap_or(0),
            scale: u8::try_from(if timed { first } else { second }).unwrap_or(0),
        }
    }

    /// The rows of `type_mapping.csv`: what the catalog says, and the Arrow type.
    #[test]
    fn every_type_has_its_arrow_type() {
        let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let utc = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let options = options(serde_json::json!({}));
        for (text, arrow) in [
            ("bit", DataType::Boolean),
            ("tinyint", DataType::Int16),
            ("smallint", DataType::Int16),
            ("int", DataType::Int32),
            ("bigint", DataType::Int64),
            ("decimal(12,2)", DataType::Decimal128(12, 2)),
            ("numeric(38,38)", DataType::Decimal128(38, 38)),
            ("money", DataType::Decimal128(19, 4)),
            ("smallmoney", DataType::Decimal128(10, 4)),
            ("real", DataType::Float32),
            ("float(24)", DataType::Float32),
            ("float(53)", DataType::Float64),
            ("date", DataType::Date32),
            ("time(3)", DataType::Time64(TimeUnit::Microsecond)),
            ("time(7)", DataType::Time64(TimeUnit::Microsecond)),
            ("smalldatetime", micros()),
            ("datetime", micros()),
            ("datetime2(0)", micros()),
            ("datetime2(7)", micros()),
            ("datetimeoffset(7)", utc()),
            ("char(3)", DataType::Utf8),
            ("varchar(max)", DataType::Utf8),
            ("text", DataType::Utf8),
            ("nchar(3)", DataType::Utf8),
            ("nvarchar(max)", DataType::Utf8),
            ("ntext", DataType::Utf8),
            ("binary(3)", DataType::Binary),
            ("varbinary(max)", DataType::Binary),
            ("image", DataType::Binary),
            ("timestamp", DataType::FixedSizeBinary(8)),
            ("uniqueidentifier", DataType::Utf8),
            ("xml", DataType::Utf8),
            ("sql_variant", DataType::Struct(variant_fields())),
            ("hierarchyid", DataType::Utf8),
            ("geography", DataType::Utf8),
            ("geometry", DataType::Binary),
            ("json", DataType::Utf8),
            ("a_type_to_come", DataType::Binary),
        ] {
            assert_eq!(read_as(&catalog(text), &options).wire.arrow(), arrow, "{text}");
        }
        assert_eq!(read_as(&catalog("geography"), &options).extension, Some(Extension::GeoWkt));
    }

    #[test]
    fn the_seventh_digit_is_cut_or_kept_as_text() {
        let strict = options(serde_json::json!({"seventh_digit": "text"}));
        for text in ["time(7)", "datetime2(7)"] {
            assert_eq!(read_as(&catalog(text), &strict).wire.arrow(), DataType::Utf8);
            let read = read_as(&catalog(text), &options(serde_json::json!({})));
            assert_eq!((read.note.lossless, read.note.warnings[0].code.as_str()), (Lossless::No, "W_TS_NS"));
        }
        assert_eq!(read_as(&catalog("time(6)"), &strict).wire, Wire::Time);
    }

    #[test]
    fn types_are_written_as_the_server_writes_them() {
        for text in
            ["decimal(12,2)", "nvarchar(20)", "varchar(max)", "datetime2(3)", "varbinary(8)", "int", "xml"]
        {
            assert_eq!(catalog(text).text(), text);
        }
        assert_eq!(catalog("timestamp").text(), "rowversion");
    }
}
