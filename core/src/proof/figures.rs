//! The figures themselves.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Two sums over the codes of a column, NULLs left out; the remainders have the sign of the code, as in SQL.
///
/// The first tells values apart that differ anywhere in 2^31 - 1 steps, the second sees what keeps the first:
/// values that grew and shrank by the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Checksum {
    /// The sum of `code % SUM_MODULUS`; a text in JSON, whose numbers many readers keep as doubles.
    #[serde(serialize_with = "text")]
    #[schemars(with = "String")]
    pub sum: i64,
    /// The sum of `(code % SQUARE_MODULUS)^2`; a text in JSON.
    #[serde(serialize_with = "text")]
    #[schemars(with = "String")]
    pub squares: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl Checksum {
    /// Adds another part of the rows.
    pub fn add(&mut self, other: Self) {
        // Wrapping keeps the order of additions irrelevant even past 2 billion rows.
        self.sum = self.sum.wrapping_add(other.sum);
        self.squares = self.squares.wrapping_add(other.squares);
    }
}

/// What one column holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ColumnFigures {
    /// Rows in which it is not NULL; `None` where the system cannot tell a NULL (BigQuery's lists).
    pub values: Option<u64>,
    /// `None` where the values have no form that both sides share, and where only counts are wanted.
    pub checksum: Option<Checksum>,
    /// The lowest code (decimals and integers), float, or text cut to 80 characters; `None` without one, and for
    /// floats where one is NaN.
    pub min: Option<String>,
    /// The highest.
    pub max: Option<String>,
}

/// What a table, or a window of it, holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct TableFigures {
    /// Rows.
    pub rows: u64,
    /// Its columns, in the order in which they were asked for.
    pub columns: Vec<ColumnFigures>,
}
