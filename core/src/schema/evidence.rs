//! What speaks for a type that was found in text.

use serde::{Deserialize, Serialize};

/// What the values of a sample said about one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Rows of the sample.
    #[serde(default)]
    pub sampled: usize,
    /// Values looked at, without NULL and null tokens.
    pub values: usize,
    /// Distinct ones among them.
    pub distinct: usize,
    /// Distinct ones that fit the type.
    pub matched: usize,
    /// `matched` of `distinct`, 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// Rows with blanks around their value, which are trimmed.
    #[serde(default)]
    pub padded: usize,
    /// Why another reading cannot be ruled out.
    #[serde(default)]
    pub ambiguity: Option<Ambiguity>,
    /// Texts that stand for no value and become NULL with this type, with their rows.
    #[serde(default)]
    pub null_tokens: Vec<NullToken>,
    /// Up to three that do not fit. Empty where values may not be shown.
    pub counter_examples: Vec<String>,
    /// Up to three that do.
    pub examples: Vec<String>,
}

/// Why more than one reading of the values is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ambiguity {
    /// No value shows whether the day or the month comes first.
    DateOrder,
    /// Years of two digits.
    Century,
    /// A comma or point may separate thousands or begin the fraction.
    Grouping,
    /// Digits that are a number as well as a date or an instant.
    NumberOrTime,
    /// 0 and 1 may be numbers.
    NumberOrBoolean,
    /// Only one of the two words of a boolean occurs.
    OnePolarity,
    /// There is one value only.
    Constant,
}

/// A text that stands for no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NullToken {
    /// The text, without blanks around it.
    pub text: String,
    /// Rows of the sample that have it.
    pub rows: usize,
}
