//! Finds types that text columns hide: integers, decimals, booleans, dates, times, JSON.
//!
//! Text stays text unless proven. What speaks for a type is a score with its evidence; whoever asks
//! decides what to do with it. The same values give the same answer in any order.

mod column;
mod dates;
mod encoded;
mod hints;
mod numbers;
mod semantics;
mod separated;
mod shapes;
#[cfg(test)]
mod tests;
mod words;

use self::column::Column;
use super::bigquery::BigQueryType;
use super::evidence::Evidence;
use super::mapping::Warning;
use super::recipe::Recipe;

/// What the text values of one column say about their type.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Values that are not NULL, null tokens among them.
    pub values: usize,
    /// Distinct ones, without null tokens; at most 50,000 are looked at.
    pub distinct: usize,
    /// NULLs.
    pub nulls: usize,
    /// Texts that usually stand for no value, with their rows, most frequent first. The empty text is one.
    pub null_tokens: Vec<(String, usize)>,
    /// Types that at least 95% of the values fit, best first. None means that the column is text.
    pub candidates: Vec<Candidate>,
    /// Why obvious types are no candidates, and what else was seen. The codes are stable.
    pub vetoes: Vec<Warning>,
    /// What the texts are, where no type of BigQuery is meant: `uuid`, `email`, `url`, `ip`, `mac`, `iban`,
    /// `hash`, `phone`, `wkt`, `xml`. At least 95% of the distinct values have that form.
    pub semantic: Option<&'static str>,
}

/// A type that the values of a column may have.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The type. Decimals have no parameters.
    pub bigquery_type: BigQueryType,
    /// How values are read.
    pub recipe: Recipe,
    /// How sure it is, 0 to 0.99.
    pub score: f64,
    /// One sentence.
    pub reason: String,
    /// What to look out for.
    pub warnings: Vec<Warning>,
    /// What was counted.
    pub evidence: Evidence,
}

impl Candidate {
    /// Texts that become NULL with this type, sorted.
    #[must_use]
    pub fn null_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> =
            self.evidence.null_tokens.iter().map(|token| token.text.clone()).collect();
        tokens.sort_unstable();
        tokens
    }
}

/// What the recognisers found.
#[derive(Debug, Default)]
struct Findings {
    candidates: Vec<Candidate>,
    notes: Vec<Warning>,
}

impl Findings {
    fn offer(&mut self, candidate: Option<Candidate>) {
        self.candidates.extend(candidate);
    }

    fn note(&mut self, code: &str, text: impl Into<String>) {
        self.notes.push(Warning::new(code, text));
    }
}

/// Looks for types in the values of a text column. `name` gives weak hints only.
///
/// Blanks around values do not count. Texts that stand for no value, such as `NA`, are set aside: the
/// candidates are those of the other values and name the texts that become NULL. The empty text always does.
///
/// The score is the lower end of the 95% interval of the share of distinct values that fit, with deductions.
/// Where the sample has seen nearly all distinct values there are, its rows count instead. It reaches 0.90,
/// from where types are applied, with 35 clean values at the earliest, and only where a value written back
/// would be the same text.
///
/// ```
/// use transload_core::schema::detect;
///
/// let values: Vec<String> = (1..=40).map(|day| format!("2024-01-{:02}", day % 28 + 1)).collect();
/// let detection = detect("day", values.iter().map(|value| Some(value.as_str())));
/// assert_eq!(detection.candidates[0].bigquery_type.to_string(), "DATE");
///
/// let codes = detect("zip", ["02134", "00501"].map(Some).into_iter());
/// assert!(codes.candidates.is_empty());
/// assert_eq!(codes.vetoes[0].code, "W_CODE");
/// ```
pub fn detect<'a>(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Detection {
    let column = Column::collect(name, values);
    let mut findings = Findings::default();
    if !column.values.is_empty() {
        words::json(&column, &mut findings);
        words::booleans(&column, &mut findings);
        dates::recognise(&column, &mut findings);
        numbers::recognise(&column, &mut findings);
    }
    let mut candidates = findings.candidates;
    candidates.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| rank(&a.bigquery_type).cmp(&rank(&b.bigquery_type)))
    });
    let semantic = if candidates.is_empty() { semantics::of(&column) } else { None };
    Detection {
        values: column.all_rows,
        distinct: column.values.len(),
        nulls: column.nulls,
        null_tokens: column.tokens.iter().map(|token| (token.text.to_owned(), token.rows)).collect(),
        candidates,
        vetoes: findings.notes,
        semantic,
    }
}

/// The more specific type comes first among equals.
fn rank(data_type: &BigQueryType) -> usize {
    ["JSON", "TIMESTAMP", "DATETIME", "DATE", "TIME", "BOOL", "INT64", "NUMERIC", "BIGNUMERIC", "FLOAT64"]
        .iter()
        .position(|name| *name == data_type.name())
        .unwrap_or(usize::MAX)
}
