//! Where PostgreSQL and Redshift part ways in what sessions send.

use transload_core::Result;
use transload_sql::{quote_literal, quote_literal_without_escapes};

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Redshift,
}

impl Dialect {
    /// Makes the text forms of values independent of how server, database and user are set.
    pub(crate) fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "timezone = 'UTC'",
                "datestyle = 'ISO, YMD'",
                "intervalstyle = iso_8601",
                "extra_float_digits = 3",
                "bytea_output = hex",
                "xmloption = content",
                "quote_all_identifiers = off",
                // Statements about the catalog are estimated far too high: compiling them took 0.4 s, running
                // them 2 ms.
                "jit = off",
                "idle_in_transaction_session_timeout = 0",
            ],
            // It has no others of these, and refuses 3 digits.
            Self::Redshift => &["timezone = 'UTC'", "datestyle = 'ISO, YMD'", "extra_float_digits = 2"],
        }
    }

    /// A value as a literal of a type, from its text.
    pub(crate) fn typed(self, text: &str, to: Cast) -> Result<String> {
        let name = match (self, to) {
            (Self::Postgres, Cast::Int8) => "bigint".to_owned(),
            (Self::Postgres, Cast::Numeric) => "numeric".to_owned(),
            (Self::Postgres, Cast::Timestamp) => "timestamp".to_owned(),
            // A search path may lead elsewhere.
            (Self::Postgres, to) => format!("pg_catalog.{}", to.name()),
            // To Redshift a bare `numeric` has 18 digits and none after the point.
            (Self::Redshift, Cast::Numeric) => {
                let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                format!("numeric(38,{scale})")
            }
            (Self::Redshift, to) => to.name().to_owned(),
        };
        Ok(format!("{}::{name}", self.literal(text)?))
    }

    /// A text as a literal.
    pub(crate) fn literal(self, text: &str) -> Result<String> {
        match self {
            Self::Postgres => quote_literal(text),
            // It has no `E''`.
            Self::Redshift => quote_literal_without_escapes(text),
        }
    }
}

/// What a bound is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    Int8,
    Numeric,
    Date,
    Timestamp,
    Timestamptz,
    Text,
}

impl Cast {
    fn name(self) -> &'static str {
        match self {
            Self::Int8 => "bigint",
            Self::Numeric => "numeric",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Text => "text",
        }
    }
}
