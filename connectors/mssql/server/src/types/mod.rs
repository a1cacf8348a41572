//! Types of SQL Server: their names, their numbers in the catalog, how they rank and how their values travel.

pub(crate) mod collation;
pub(crate) mod convert;
pub(crate) mod datum;
pub(crate) mod encode;
pub(crate) mod numbers;
pub(crate) mod print;
pub(crate) mod spatial;
pub(crate) mod temporal;
pub(crate) mod text;

use collation::Collation;

/// The length of `(max)`.
pub(crate) const MAX: u16 = u16::MAX;

/// A family of types. Numbers stand in for it inside of SQLite, so that their order must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Decimal,
    Numeric,
    SmallMoney,
    Money,
    Real,
    Float,
    Date,
    Time,
    DateTime2,
    DateTimeOffset,
    DateTime,
    SmallDateTime,
    UniqueIdentifier,
    Char,
    VarChar,
    Text,
    NChar,
    NVarChar,
    NText,
    Binary,
    VarBinary,
    Image,
    RowVersion,
    Xml,
    Variant,
    HierarchyId,
    Geography,
    Geometry,
    /// The value of a predicate, which no column can have.
    Boolean,
}

/// Name, `system_type_id`, `user_type_id`, `max_length` (0 where it depends), precision, and the rank of T-SQL by
/// which the lower type becomes the higher one.
type Row = (Kind, &'static str, u8, u16, u16, u8, u8);

#[rustfmt::skip]
const TABLE: [Row; 33] = [
    (Kind::Bit, "bit", 104, 104, 1, 1, 10),
    (Kind::TinyInt, "tinyint", 48, 48, 1, 3, 11),
    (Kind::SmallInt, "smallint", 52, 52, 2, 5, 12),
    (Kind::Int, "int", 56, 56, 4, 10, 13),
    (Kind::BigInt, "bigint", 127, 127, 8, 19, 14),
    (Kind::Decimal, "decimal", 106, 106, 0, 38, 17),
    (Kind::Numeric, "numeric", 108, 108, 0, 38, 17),
    (Kind::SmallMoney, "smallmoney", 122, 122, 4, 10, 15),
    (Kind::Money, "money", 60, 60, 8, 19, 16),
    (Kind::Real, "real", 59, 59, 4, 24, 18),
    (Kind::Float, "float", 62, 62, 8, 53, 19),
    (Kind::Date, "date", 40, 40, 3, 10, 21),
    (Kind::Time, "time", 41, 41, 0, 16, 20),
    (Kind::DateTime2, "datetime2", 42, 42, 0, 27, 24),
    (Kind::DateTimeOffset, "datetimeoffset", 43, 43, 0, 34, 25),
    (Kind::DateTime, "datetime", 61, 61, 8, 23, 23),
    (Kind::SmallDateTime, "smalldatetime", 58, 58, 4, 16, 22),
    (Kind::UniqueIdentifier, "uniqueidentifier", 36, 36, 16, 0, 8),
    (Kind::Char, "char", 175, 175, 0, 0, 4),
    (Kind::VarChar, "varchar", 167, 167, 0, 0, 5),
    (Kind::Text, "text", 35, 35, 16, 0, 5),
    (Kind::NChar, "nchar", 239, 239, 0, 0, 6),
    (Kind::NVarChar, "nvarchar", 231, 231, 0, 0, 7),
    (Kind::NText, "ntext", 99, 99, 16, 0, 7),
    (Kind::Binary, "binary", 173, 173, 0, 0, 1),
    (Kind::VarBinary, "varbinary", 165, 165, 0, 0, 2),
    (Kind::Image, "image", 34, 34, 16, 0, 2),
    (Kind::RowVersion, "timestamp", 189, 189, 8, 0, 3),
    (Kind::Xml, "xml", 241, 241, MAX, 0, 26),
    (Kind::Variant, "sql_variant", 98, 98, 8016, 0, 27),
    (Kind::HierarchyId, "hierarchyid", 240, 128, 892, 0, 28),
    (Kind::Geography, "geography", 240, 130, MAX, 0, 28),
    (Kind::Geometry, "geometry", 240, 129, MAX, 0, 28),
];

/// Every type that a column can have, as `sys.types` lists them (`sysname` not among them).
pub(crate) fn all() -> impl Iterator<Item = Kind> {
    TABLE.iter().map(|row| row.0)
}

impl Kind {
    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.0 == self)
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().map_or("boolean", |row| row.1)
    }

    pub(crate) fn system_id(self) -> u8 {
        self.row().map_or(0, |row| row.2)
    }

    pub(crate) fn user_id(self) -> u16 {
        self.row().map_or(0, |row| row.3)
    }

    /// What `sys.types` says of the length.
    pub(crate) fn catalog_length(self) -> u16 {
        match self {
            Self::Decimal | Self::Numeric => 17,
            Self::Time => 5,
            Self::DateTime2 => 8,
            Self::DateTimeOffset => 10,
            kind => kind.row().map(|row| row.4).filter(|&length| length > 0).unwrap_or(8000),
        }
    }

    pub(crate) fn rank(self) -> u8 {
        self.row().map_or(0, |row| row.6)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = match name.as_str() {
            "integer" => "int",
            "dec" => "decimal",
            "rowversion" => "timestamp",
            "character" => "char",
            "sysname" => "nvarchar",
            "json" | "vector" => "nvarchar",
            other => other,
        };
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        TABLE.iter().map(|row| row.0).find(|kind| *kind as u8 == number)
    }

    /// `char`, `varchar` and `text`, whose bytes are of a code page.
    pub(crate) fn is_narrow(self) -> bool {
        matches!(self, Self::Char | Self::VarChar | Self::Text)
    }

    /// `nchar`, `nvarchar` and `ntext`.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::NChar | Self::NVarChar | Self::NText)
    }

    pub(crate) fn is_text(self) -> bool {
        self.is_narrow() || self.is_wide() || self == Self::Xml
    }

    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::VarBinary | Self::Image | Self::RowVersion)
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::Bit | Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// Kept as scaled integers: decimals and money.
    pub(crate) fn is_scaled(self) -> bool {
        matches!(self, Self::Decimal | Self::Numeric | Self::SmallMoney | Self::Money)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::Real | Self::Float)
    }

    pub(crate) fn is_number(self) -> bool {
        self.is_integer() || self.is_scaled() || self.is_float()
    }

    pub(crate) fn is_temporal(self) -> bool {
        matches!(
            self,
            Self::Date
                | Self::Time
                | Self::DateTime2
                | Self::DateTimeOffset
                | Self::DateTime
                | Self::SmallDateTime
        )
    }

    pub(crate) fn is_udt(self) -> bool {
        matches!(self, Self::HierarchyId | Self::Geography | Self::Geometry)
    }
}

/// A type with all that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SqlType {
    pub(crate) kind: Kind,
    /// Of texts and binaries: bytes, or UTF-16 units of the `n` types; [`MAX`] for `(max)`.
    pub(crate) length: u16,
    pub(crate) precision: u8,
    /// Of decimals, and of times the digits of the fraction.
    pub(crate) scale: u8,
    pub(crate) collation: Collation,
}

impl SqlType {
    /// The type as it is without further words: `decimal` is `decimal(18, 0)`, `varchar` is `varchar(1)`.
    pub(crate) fn of(kind: Kind) -> Self {
        let (length, precision, scale) = match kind {
            Kind::Decimal | Kind::Numeric => (0, 18, 0),
            Kind::SmallMoney => (0, 10, 4),
            Kind::Money => (0, 19, 4),
            Kind::Bit => (0, 1, 0),
            Kind::TinyInt => (0, 3, 0),
            Kind::SmallInt => (0, 5, 0),
            Kind::Int => (0, 10, 0),
            Kind::BigInt => (0, 19, 0),
            Kind::Real => (0, 24, 0),
            Kind::Float => (0, 53, 0),
            Kind::Time | Kind::DateTime2 | Kind::DateTimeOffset => (0, 0, 7),
            Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar | Kind::Binary | Kind::VarBinary => {
                (1, 0, 0)
            }
            Kind::RowVersion => (8, 0, 0),
            _ => (MAX, 0, 0),
        };
        Self { kind, length, precision, scale, collation: Collation::default() }
    }

    pub(crate) fn with_length(kind: Kind, length: u16) -> Self {
        Self { length, ..Self::of(kind) }
    }

    pub(crate) fn decimal(precision: u8, scale: u8) -> Self {
        Self { precision, scale, ..Self::of(Kind::Decimal) }
    }

    pub(crate) fn with_scale(kind: Kind, scale: u8) -> Self {
        Self { scale, ..Self::of(kind) }
    }

    pub(crate) fn collated(self, collation: Collation) -> Self {
        Self { collation, ..self }
    }

    pub(crate) fn is_max(&self) -> bool {
        self.length == MAX
    }

    /// The number that stands for a type inside of SQLite.
    pub(crate) fn code(&self) -> i64 {
        let bytes = [self.kind as u8, self.precision, self.scale, self.collation.number()];
        i64::from(u32::from_le_bytes(bytes)) | i64::from(self.length) << 32
    }

    pub(crate) fn of_code(code: i64) -> Option<Self> {
        let [kind, precision, scale, collation, low, high, ..] = code.to_le_bytes();
        Some(Self {
            kind: Kind::of_number(kind)?,
            length: u16::from_le_bytes([low, high]),
            precision,
            scale,
            collation: Collation::of_number(collation)?,
        })
    }

    /// The user type in the meta data of a result: only `rowversion` has one here.
    pub(crate) fn user_type(&self) -> u32 {
        if self.kind == Kind::RowVersion { 80 } else { 0 }
    }

    /// `max_length` of `sys.columns`; -1 for `(max)`.
    pub(crate) fn catalog_length(&self) -> i64 {
        let of_time = |base: i64| base + i64::from(numbers::time_bytes(self.scale));
        match self.kind {
            Kind::Decimal | Kind::Numeric => i64::from(numbers::decimal_bytes(self.precision)),
            Kind::Time => of_time(0),
            Kind::DateTime2 => of_time(3),
            Kind::DateTimeOffset => of_time(5),
            Kind::Text | Kind::NText | Kind::Image => 16,
            Kind::Variant => 8016,
            Kind::HierarchyId => 892,
            Kind::RowVersion => 8,
            Kind::NChar | Kind::NVarChar if !self.is_max() => i64::from(self.length) * 2,
            Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar | Kind::Binary | Kind::VarBinary
                if !self.is_max() =>
            {
                i64::from(self.length)
            }
            kind => {
                kind.row().map_or(0, |row| if row.4 == 0 || row.4 == MAX { -1 } else { i64::from(row.4) })
            }
        }
    }

    /// `precision` of `sys.columns`.
    pub(crate) fn catalog_precision(&self) -> u8 {
        let of_time = |base: u8| base + if self.scale > 0 { self.scale + 1 } else { 0 };
        match self.kind {
            Kind::Date => 10,
            Kind::Time => of_time(8),
            Kind::DateTime2 => of_time(19),
            Kind::DateTimeOffset => of_time(26),
            Kind::DateTime => 23,
            Kind::SmallDateTime => 16,
            _ => self.precision,
        }
    }

    /// `scale` of `sys.columns`.
    pub(crate) fn catalog_scale(&self) -> u8 {
        if self.kind == Kind::DateTime { 3 } else { self.scale }
    }

    /// Whether its values come in pieces (PLP).
    pub(crate) fn is_partial(&self) -> bool {
        match self.kind {
            Kind::Xml => true,
            Kind::VarChar | Kind::NVarChar | Kind::VarBinary => self.is_max(),
            kind => kind.is_udt(),
        }
    }
}
