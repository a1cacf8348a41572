//! The ends of the crash test: sources that somebody writes to, and targets that are read by nothing of transload.

mod source;
mod target;

use std::collections::BTreeMap;

pub use source::{Changes, Source};
pub use target::Target;
pub use transload_google::install_crypto_provider;

/// Rows `(id, at, what)` with how often they occur.
pub type Rows = BTreeMap<(i64, i64, String), i64>;

/// How many rows of `all` are missing in `some`.
#[must_use]
pub fn missing(all: &Rows, some: &Rows) -> i64 {
    all.iter().map(|(row, count)| (count - some.get(row).copied().unwrap_or(0)).max(0)).sum()
}
