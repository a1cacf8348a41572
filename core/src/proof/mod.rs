//! Proof of equality: figures of a table's columns that do not depend on the order of rows, made of the rows on
//! their way and, by the systems themselves, of the rows that they hold.
//!
//! The two sides are compared apart: what was read with what the source says it has (inside the read snapshot,
//! before anything is committed), and what was written with what the destination says it holds (after the
//! commit). What a cast may change in between is in the ledger, value by value. `docs/rfcs/0020-proof.md` says
//! what the figures can miss.

mod compare;
mod figures;
mod fold;
mod measure;
mod shared;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use compare::{ColumnProof, Proof, SideProof, Verdict};
pub use figures::{Checksum, ColumnFigures, TableFigures};
pub use fold::{Fold, code_of_bytes};
pub use measure::{Measure, SQUARE_MODULUS, SUM_MODULUS};
pub(crate) use shared::{Folds, SharedProof};

/// Characters of the lowest and the highest text that are compared.
pub const TEXT_CHARACTERS: usize = 80;

/// Whether a run proves that nothing was lost, doubled or changed on the way.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ProofLevel {
    /// No. The default.
    #[default]
    Off,
    /// Rows and NULLs of every column are counted on both sides: one query at the source and one at the
    /// destination.
    Counts,
    /// Also a checksum, the lowest and the highest value of every column whose values both sides can express.
    /// The systems read and hash the whole window for it.
    Values,
}

/// A float as figures print it: the shortest text that reads back as the same double; no sign before zero, which
/// systems order in different ways.
#[must_use]
pub fn float_text(float: f64) -> String {
    if float == 0.0 { "0.0".to_owned() } else { format!("{float:?}") }
}
