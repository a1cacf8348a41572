//! What the figures of both sides say.

use schemars::JsonSchema;
use serde::Serialize;

use super::figures::{ColumnFigures, TableFigures};

/// Whether two sides hold the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All figures that both sides have are equal, and rows are among them.
    Equal,
    /// Nothing could be compared; the reason says why.
    NotCompared,
    /// Some figure differs.
    Different,
}

impl Verdict {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotCompared => "not_compared",
            Self::Different => "different",
        }
    }
}

/// The proof of one run: what was read against the source, what was written against the destination.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Proof {
    /// `different` if a side is, `equal` if both are.
    pub verdict: Verdict,
    /// The rows that were read, and those of the source in the same window and snapshot.
    pub source: SideProof,
    /// The rows that were written (with those of the window that earlier loads wrote), and those of the
    /// destination in the same window.
    pub destination: SideProof,
}

/// The proof of one side.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SideProof {
    /// Whether both have the same.
    pub verdict: Verdict,
    /// Why nothing was compared, or what differs, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Rows that passed through the run.
    pub rows: u64,
    /// Rows that the system counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_there: Option<u64>,
    /// Its columns.
    pub columns: Vec<ColumnProof>,
    /// Seconds that the system's query took.
    pub seconds: f64,
}

/// The proof of one column.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ColumnProof {
    /// Its name on this side.
    pub column: String,
    /// Whether both have the same.
    pub verdict: Verdict,
    /// What was compared: `values`, `checksum`, `min`, `max`.
    pub compared: Vec<&'static str>,
    /// What differs, of the same names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub different: Vec<&'static str>,
    /// The figures of the rows that passed through the run.
    pub figures: ColumnFigures,
    /// The system's figures, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<ColumnFigures>,
}

impl Proof {
    /// Of two sides.
    #[must_use]
    pub fn new(source: SideProof, destination: SideProof) -> Self {
        Self { verdict: source.verdict.max(destination.verdict), source, destination }
    }
}

impl SideProof {
    /// A side of which nothing could be compared.
    #[must_use]
    pub fn not_compared(passed: TableFigures, names: &[String], reason: impl Into<String>) -> Self {
        let mut side = Self::compare(passed.clone(), &passed, names, 0.0);
        side.verdict = Verdict::NotCompared;
        side.reason = Some(reason.into());
        side.rows_there = None;
        for column in &mut side.columns {
            column.verdict = Verdict::NotCompared;
            column.compared.clear();
        }
        side
    }

    /// Compares what passed through the run with what the system says. Only figures that both have count.
    #[must_use]
    pub fn compare(passed: TableFigures, there: &TableFigures, names: &[String], seconds: f64) -> Self {
        let (rows, rows_there) = (passed.rows, there.rows);
        let columns: Vec<_> = names
            .iter()
            .zip(passed.columns)
            .zip(&there.columns)
            .map(|((name, figures), there)| ColumnProof::new(name, figures, there))
            .collect();
        let wrong: Vec<&str> = columns
            .iter()
            .filter(|column| column.verdict == Verdict::Different)
            .map(|column| column.column.as_str())
            .collect();
        let reason = if rows != rows_there {
            Some(format!("{rows} rows passed and {rows_there} are there"))
        } else if wrong.is_empty() {
            None
        } else {
            Some(format!("columns with other values: {}", wrong.join(", ")))
        };
        let verdict = if reason.is_some() { Verdict::Different } else { Verdict::Equal };
        Self { verdict, reason, rows, rows_there: Some(rows_there), columns, seconds }
    }
}

impl ColumnProof {
    fn new(name: &str, figures: ColumnFigures, there: &ColumnFigures) -> Self {
        let text = |value: &Option<String>| value.clone();
        let checks = [
            ("values", both(figures.values, there.values, |a, b| a == b)),
            ("checksum", both(figures.checksum, there.checksum, |a, b| a == b)),
            ("min", both(text(&figures.min), text(&there.min), |a, b| a == b)),
            ("max", both(text(&figures.max), text(&there.max), |a, b| a == b)),
        ];
        let compared: Vec<_> =
            checks.iter().filter(|(_, equal)| equal.is_some()).map(|(name, _)| *name).collect();
        let different: Vec<_> =
            checks.iter().filter(|(_, equal)| *equal == Some(false)).map(|(name, _)| *name).collect();
        let verdict = match (compared.is_empty(), different.is_empty()) {
            (true, _) => Verdict::NotCompared,
            (_, true) => Verdict::Equal,
            _ => Verdict::Different,
        };
        let there = (!different.is_empty()).then(|| there.clone());
        Self { column: name.to_owned(), verdict, compared, different, figures, there }
    }
}

fn both<T>(ours: Option<T>, there: Option<T>, equal: impl Fn(&T, &T) -> bool) -> Option<bool> {
    Some(equal(&ours?, &there?))
}
