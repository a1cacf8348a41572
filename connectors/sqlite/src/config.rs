//! The options of a `sqlite` connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transload_core::{Error, Result};

/// What happens to a value whose storage class does not fit the declared type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTypeMismatch {
    /// The read fails and names table, column, row and value.
    #[default]
    Error,
    /// Every column of every table is read as text, so that nothing can mismatch. A blob appears as the SQL
    /// literal `X'0A'`.
    Text,
}

/// Options of a `sqlite` connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file. It must exist; opening never creates one.
    pub path: String,
    /// How long to wait for a lock that a writer holds, in milliseconds. Default: 5000.
    #[serde(default = "default_busy_timeout")]
    pub busy_timeout: u32,
    /// What happens to a value whose storage class does not fit its column. Default: `error`.
    #[serde(default)]
    pub on_type_mismatch: OnTypeMismatch,
}

fn default_busy_timeout() -> u32 {
    5000
}

impl SqliteConfig {
    /// Checks everything that can be checked without I/O.
    ///
    /// # Errors
    /// `config`, naming the option.
    pub fn validate(&self) -> Result<()> {
        if self.path.is_empty() || self.path.contains('\0') || self.path == ":memory:" {
            return Err(Error::config("option `path` of the sqlite connection must name a database file")
                .with("option", "path")
                .hint("write for example sqlite:path/to/file.db"));
        }
        if i32::try_from(self.busy_timeout).is_err() {
            return Err(Error::config("option `busy_timeout` of the sqlite connection is too long")
                .with("option", "busy_timeout")
                .hint("give milliseconds, for example 5000"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::Connection;

    fn config(url: &str) -> Result<SqliteConfig> {
        let config: SqliteConfig = Connection::from_url(url)?.config()?;
        config.validate().map(|()| config)
    }

    #[test]
    fn options() {
        let plain = config("sqlite:a.db").unwrap();
        assert_eq!((plain.busy_timeout, plain.on_type_mismatch), (5000, OnTypeMismatch::Error));
        let set = config("sqlite:a.db?busy_timeout=10&on_type_mismatch=text").unwrap();
        assert_eq!((set.busy_timeout, set.on_type_mismatch), (10, OnTypeMismatch::Text));
        for url in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?busy_timout=1",
            "sqlite:a?busy_timeout=4000000000",
            "sqlite:a?on_type_mismatch=null",
        ] {
            assert_eq!(config(url).unwrap_err().kind(), transload_core::ErrorKind::Config, "{url}");
        }
    }
}
