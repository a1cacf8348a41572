//! Options of a Redshift connection.

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Connection, Error, Result};

use crate::config::{PostgresConfig, TargetSessionAttrs};

/// Where Redshift listens.
pub(super) const PORT: u16 = 5439;

/// Options of a Redshift connection: those of PostgreSQL, except that the default port is 5439 and
/// `target_session_attrs` is not there, and one more. The secret is the password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct RedshiftConfig {
    /// How to get there.
    #[serde(flatten)]
    pub server: PostgresConfig,
    /// Rows that are asked of the cursor at once. A cluster of one node refuses more than 1000; one of several is
    /// read with fewer round trips by more. 0 reads without a cursor: the leader node need not hold the whole result, and
    /// a reader that is slow holds up the query. Default: 1000.
    #[serde(default = "default_fetch_rows")]
    pub fetch_rows: u64,
}

fn default_fetch_rows() -> u64 {
    1000
}

impl RedshiftConfig {
    pub(super) fn of(connection: &Connection) -> Result<Self> {
        if connection.to_json().get("port").is_some() {
            return connection.config();
        }
        connection.clone().option("port", PORT).config()
    }

    /// Refuses values that no server could make sense of.
    pub(super) fn check(&self) -> Result<()> {
        self.server.check()?;
        if self.fetch_rows > 1_000_000 {
            return Err(Error::config("`fetch_rows` must be from 0 to 1000000").with("option", "fetch_rows"));
        }
        if self.server.target_session_attrs != TargetSessionAttrs::Any {
            return Err(Error::config("`target_session_attrs` means nothing to Redshift")
                .with("option", "target_session_attrs")
                .hint("leave it out"));
        }
        Ok(())
    }
}
