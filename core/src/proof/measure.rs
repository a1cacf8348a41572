//! How the values of a column become numbers that can be added up.

use arrow_schema::DataType;

/// Modulus of [`Checksum::sum`](super::Checksum): 2^31 - 1, a prime, so that sums of 4 billion rows stay below 2^63.
pub const SUM_MODULUS: i64 = 2_147_483_647;

/// Modulus of [`Checksum::squares`](super::Checksum): the largest prime below 2^16, so that squares of 2 billion
/// rows stay below 2^63.
pub const SQUARE_MODULUS: i64 = 65_521;

/// What stands for a value in a checksum: its *code*, an integer that every system can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// Integers, booleans (0 and 1), dates (days since 1970), times and timestamps (units of the Arrow type since
    /// midnight or 1970): the number itself.
    Integer,
    /// Decimals: the value times ten to the power of this scale.
    Decimal(i8),
    /// Floating point: the bits of the double, as a signed integer.
    Float,
    /// Texts: the first 60 bits of the MD5 of their UTF-8.
    Text,
    /// Bytes: the same of the bytes.
    Bytes,
    /// Lists, records and whatever has no form that two systems share: only NULLs are counted.
    Presence,
}

impl Measure {
    /// The measure of a column of an Arrow type.
    #[must_use]
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..) => Self::Integer,
            data_type if data_type.is_integer() => Self::Integer,
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => Self::Decimal(*scale),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            _ => Self::Presence,
        }
    }
}
