//! Recipes: how the text of a value becomes a value of a type. Plain data, part of a mapping.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How each value becomes one of the target type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recipe {
    /// The value is of the type already, or is widened without loss.
    Direct,
    /// Any value to its canonical text.
    ToText,
    /// Text to an integer: digits with an optional sign, blanks around trimmed.
    ParseInteger,
    /// Text to a decimal with a point; digits beyond the scale do not fit.
    ParseDecimal,
    /// Text to a double: digits, point, exponent, `NaN`, `Infinity`.
    ParseFloat,
    /// Text to a number with separators of thousands, or with another decimal point.
    ParseGrouped {
        /// The separator of thousands, if there is one, and the decimal point: `,.` or `.,` or `,`.
        format: String,
    },
    /// Text to a boolean by two words, compared without regard to case.
    ParseBool {
        /// The word for true.
        yes: String,
        /// The word for false.
        no: String,
    },
    /// Text to a date by a `strptime` format.
    ParseDate {
        /// For example `%Y-%m-%d` or `%Y%m%d`.
        format: String,
    },
    /// Text to a time of day by a `strptime` format.
    ParseTime {
        /// For example `%H:%M:%S%.f`.
        format: String,
    },
    /// Text to date and time without zone by a `strptime` format.
    ParseDateTime {
        /// For example `%Y-%m-%d %H:%M:%S%.f`.
        format: String,
    },
    /// Text with an offset to an instant by a `strptime` format.
    ParseTimestamp {
        /// For example `%Y-%m-%dT%H:%M:%S%.f%:z`.
        format: String,
    },
    /// Text that must be a JSON document.
    ParseJson,
    /// Integer to boolean: 0 and 1 only.
    IntegerToBool,
    /// Seconds since 1970-01-01 to an instant.
    EpochSeconds,
    /// Milliseconds since 1970-01-01 to an instant.
    EpochMillis,
}

impl Recipe {
    /// The stable name, as in its JSON form.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ToText => "to_text",
            Self::ParseInteger => "parse_integer",
            Self::ParseDecimal => "parse_decimal",
            Self::ParseFloat => "parse_float",
            Self::ParseGrouped { .. } => "parse_grouped",
            Self::ParseBool { .. } => "parse_bool",
            Self::ParseDate { .. } => "parse_date",
            Self::ParseTime { .. } => "parse_time",
            Self::ParseDateTime { .. } => "parse_date_time",
            Self::ParseTimestamp { .. } => "parse_timestamp",
            Self::ParseJson => "parse_json",
            Self::IntegerToBool => "integer_to_bool",
            Self::EpochSeconds => "epoch_seconds",
            Self::EpochMillis => "epoch_millis",
        }
    }

    /// The `format` of an override that gives this recipe, where it has one.
    #[must_use]
    pub fn format(&self) -> Option<String> {
        match self {
            Self::ParseBool { yes, no } => Some(format!("{yes}/{no}")),
            Self::ParseGrouped { format }
            | Self::ParseDate { format }
            | Self::ParseTime { format }
            | Self::ParseDateTime { format }
            | Self::ParseTimestamp { format } => Some(format.clone()),
            _ => None,
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("as it is"),
            Self::ToText => f.write_str("as text"),
            Self::ParseInteger | Self::ParseDecimal | Self::ParseFloat => f.write_str("parsed as a number"),
            Self::ParseJson => f.write_str("checked as JSON"),
            Self::IntegerToBool => f.write_str("from 0 and 1"),
            Self::EpochSeconds => f.write_str("from seconds since 1970"),
            Self::EpochMillis => f.write_str("from milliseconds since 1970"),
            _ => write!(f, "by format {}", self.format().unwrap_or_default()),
        }
    }
}
