//! Exact readers of text values. They never round, wrap or guess: what does not fit is a [`Misfit`].
//!
//! Casts and detection use the same readers, so a type that detection proposes is a type that loads.

mod json;
mod number;
mod time;

use std::fmt;

pub(in crate::schema) use json::json;
pub(in crate::schema) use number::{
    Number, Separators, boolean, decimal128, decimal256, fits128, float, integer, nearest_float,
    rounded_decimal128, rounded_decimal256, scan_number,
};
pub(in crate::schema) use time::{
    MAX_DAYS, MAX_MICROS, MICROS_PER_DAY, MIN_DAYS, MIN_MICROS, TimeFormat, Want,
};

/// Why a value does not fit a type. Displayed after "it".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schema) enum Misfit {
    /// The text does not have the form; what was expected.
    Form(&'static str),
    /// Beyond the range of the type.
    Range,
    /// More digits after the point than the scale.
    Scale(u8),
    /// Finer than a microsecond.
    SubMicrosecond,
    /// More digits than a double keeps.
    Precision,
    /// NaN or infinite.
    NotFinite,
    /// A list with a NULL in it.
    NullElement,
    /// A NULL in a REQUIRED field of a record.
    RequiredField,
}

impl Misfit {
    /// The stable name, as in quarantine tables and reports.
    pub(in crate::schema) fn code(self) -> &'static str {
        match self {
            Self::Form(_) => "form",
            Self::Range => "range",
            Self::Scale(_) => "scale",
            Self::SubMicrosecond => "sub_microsecond",
            Self::Precision => "precision",
            Self::NotFinite => "not_finite",
            Self::NullElement => "null_element",
            Self::RequiredField => "required_field",
        }
    }

    /// Whether a value near by fits.
    pub(in crate::schema) fn can_round(self) -> bool {
        matches!(self, Self::Scale(_) | Self::SubMicrosecond | Self::Precision)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(expected) => write!(f, "is not {expected}"),
            Self::Range => f.write_str("is out of range"),
            Self::Scale(0) => f.write_str("has digits after the point"),
            Self::Scale(scale) => write!(f, "has more than {scale} digits after the point"),
            Self::SubMicrosecond => f.write_str("is finer than a microsecond"),
            Self::Precision => f.write_str("has more digits than a FLOAT64 keeps"),
            Self::NotFinite => f.write_str("is not a finite number"),
            Self::NullElement => f.write_str("has a NULL element, which an array cannot hold"),
            Self::RequiredField => f.write_str("has a NULL in a REQUIRED field"),
        }
    }
}
