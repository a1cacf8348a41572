//! What happens to values that a type cannot hold.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a value that does not fit the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectPolicy {
    /// The load fails and names column, value and row. Nothing is committed. The default.
    #[default]
    Fail,
    /// The value becomes NULL and is counted.
    Null,
    /// The value becomes NULL, and the source's value goes with key, column and reason into a table of its
    /// own beside the target.
    Quarantine,
    /// The column is a STRING, which takes every value as the text that the source gives. Of a whole job:
    /// only columns of which values may not fit, be it that their type was found in a sample or that the
    /// source's type holds more than BigQuery's.
    Text,
}

impl RejectPolicy {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Null => "null",
            Self::Quarantine => "quarantine",
            Self::Text => "text",
        }
    }

    /// Whether a value that does not fit becomes NULL.
    #[must_use]
    pub fn makes_null(self) -> bool {
        matches!(self, Self::Null | Self::Quarantine)
    }
}

impl fmt::Display for RejectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a value with more digits than the type of its column keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoundPolicy {
    /// It does not fit, and [`RejectPolicy`] decides. The default.
    #[default]
    Refuse,
    /// It is rounded and counted: decimals half away from zero, FLOAT64 to the nearest double; dates and
    /// times are cut to the microsecond before. JSON is never rounded.
    Round,
}
