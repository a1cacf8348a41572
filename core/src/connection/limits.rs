//! How much may be asked of a system at once.

use std::num::NonZero;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document;
use crate::error::Result;

/// How much the engine may ask of one system at once: `limits` of a connection document. What is not set is not
/// limited. They hold for all runs of a [`Runner`](crate::Runner) and its clones together.
///
/// ```
/// use transload_core::{Connection, ConnectionLimits};
///
/// let shop = Connection::from_json(serde_json::json!({
///     "name": "shop", "type": "memory", "limits": {"parallel_reads": 2, "rows_per_second": 50_000},
/// }))?;
/// assert_eq!(shop.limits().parallel_reads, std::num::NonZero::new(2));
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConnectionLimits {
    /// Most splits (parts of tables) that are read at once. Each needs a connection of its own in most systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_reads: Option<NonZero<usize>>,
    /// Most jobs of one `run_all` that read from the system, or load into it, at once; it wins over the
    /// `per_connection` of that call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_jobs: Option<NonZero<usize>>,
    /// Most rows read a second, counted by batches: a batch arrives at once and is paid for by a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<NonZero<u64>>,
    /// Most bytes of Arrow data read a second, counted like rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<NonZero<u64>>,
}

impl ConnectionLimits {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// `config` for an unknown field, and for 0 or anything that is no whole number.
    pub fn from_json(value: Value) -> Result<Self> {
        document::parse("connection document: `limits`", value)
    }
}
