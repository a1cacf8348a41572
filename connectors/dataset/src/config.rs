//! Options of a connection.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Connection, Error, Result};

/// How Parquet pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Small files at little cost.
    #[default]
    Zstd,
    /// Larger files, a little faster.
    Snappy,
    /// No compression.
    None,
}

/// Options of a dataset connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DatasetConfig {
    /// Root folder; created with the first load.
    pub path: PathBuf,
    /// Compression of Parquet pages. Default: `zstd`.
    #[serde(default)]
    pub compression: Compression,
    /// zstd level, 1 to 22. Default: 1.
    #[serde(default = "default_level")]
    pub compression_level: i32,
    /// Most rows of a row group. Default: 1,000,000.
    #[serde(default = "default_group_rows")]
    pub row_group_rows: usize,
    /// A new part file begins past this many encoded bytes. Default: 512 MiB.
    #[serde(default = "default_file_bytes")]
    pub file_bytes: usize,
    /// Sync files and folders before a load becomes visible. Default: true.
    #[serde(default = "default_durable")]
    pub durable: bool,
}

fn default_level() -> i32 {
    1
}

fn default_group_rows() -> usize {
    1_000_000
}

fn default_file_bytes() -> usize {
    512 * 1024 * 1024
}

fn default_durable() -> bool {
    true
}

impl DatasetConfig {
    pub(crate) fn of(connection: &Connection) -> Result<Self> {
        let config: Self = connection.config()?;
        let bad = |field: &str, what: &str| {
            Err(Error::config(format!("connection `{}`: `{field}` {what}", connection.name())))
        };
        if config.path.as_os_str().is_empty() {
            return bad("path", "is empty");
        }
        if !(1..=22).contains(&config.compression_level) {
            return bad("compression_level", "must be between 1 and 22");
        }
        if config.row_group_rows == 0 || config.file_bytes == 0 {
            return bad("row_group_rows and file_bytes", "must be at least 1");
        }
        Ok(config)
    }
}
