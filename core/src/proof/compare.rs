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
        let mut ours = passed.columns.into_iter();
        let mut theirs = there.columns.iter().cloned();
        // A column that one side says nothing of is named as not compared.
        let columns: Vec<_> = names
            .iter()
            .map(|name| {
                ColumnProof::new(name, ours.next().unwrap_or_default(), theirs.next().unwrap_or_default())
            })
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
    fn new(name: &str, figures: ColumnFigures, there: ColumnFigures) -> Self {
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
        let there = (!different.is_empty()).then_some(there);
        Self { column: name.to_owned(), verdict, compared, different, figures, there }
    }
}

fn both<T>(ours: Option<T>, there: Option<T>, equal: impl Fn(&T, &T) -> bool) -> Option<bool> {
    Some(equal(&ours?, &there?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};

    use super::super::{Fold, ProofLevel};
    use super::*;

    fn figures(column: ArrayRef) -> TableFigures {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
        fold.add(&batch).unwrap();
        fold.finish()
    }

    fn compared(ours: ArrayRef, theirs: ArrayRef) -> SideProof {
        SideProof::compare(figures(ours), &figures(theirs), &["c".to_owned()], 0.0)
    }

    fn numbers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn one_changed_value_of_any_type_is_seen() {
        let decimals = |last| {
            let values = Decimal128Array::from(vec![1_i128 << 100, last]);
            Arc::new(values.with_precision_and_scale(38, 9).unwrap()) as ArrayRef
        };
        let floats = |last| Arc::new(Float64Array::from(vec![1.5, last])) as ArrayRef;
        let pairs = [
            (numbers(&[Some(1), Some(5), Some(9)]), numbers(&[Some(1), Some(6), Some(9)]), vec!["checksum"]),
            (numbers(&[Some(1), None]), numbers(&[Some(1), Some(1)]), vec!["values", "checksum"]),
            (texts(&["a", "b", "c"]), texts(&["a", "bb", "c"]), vec!["checksum"]),
            (texts(&["a", ""]), texts(&["a", "z"]), vec!["checksum", "min", "max"]),
            (decimals(7), decimals(8), vec!["checksum", "min"]),
            (floats(2.0), floats(2.000_000_000_000_000_4), vec!["checksum", "max"]),
        ];
        for (ours, theirs, different) in pairs {
            let side = compared(ours, theirs);
            assert_eq!(side.columns[0].different, different, "{side:?}");
            assert_eq!(side.verdict, Verdict::Different);
            assert_eq!(side.reason.as_deref(), Some("columns with other values: c"));
            assert!(side.columns[0].there.is_some(), "the other side's figures are told");
        }
    }

    #[test]
    fn values_that_make_up_for_each_other_are_seen_by_the_squares() {
        let side = compared(numbers(&[Some(0), Some(4), Some(6), Some(9)]), numbers(&[0, 5, 5, 9].map(Some)));
        assert_eq!(side.columns[0].different, ["checksum"]);
        // Two steps of the first modulus apart: only the squares differ.
        let far = 2 * ((1_i64 << 31) - 1);
        let side = compared(numbers(&[0, 7, far + 8].map(Some)), numbers(&[0, far + 7, far + 8].map(Some)));
        assert_eq!(side.columns[0].different, ["checksum"]);
        let (ours, theirs) = (side.columns[0].figures.checksum, side.columns[0].there.as_ref());
        assert_eq!(ours.unwrap().sum, theirs.unwrap().checksum.unwrap().sum);
    }

    #[test]
    fn lost_and_doubled_rows_are_seen_and_the_order_of_rows_is_not() {
        let rows = numbers(&[3, 1, 2].map(Some));
        assert_eq!(compared(rows.clone(), numbers(&[1, 2, 3].map(Some))).verdict, Verdict::Equal);
        for other in [numbers(&[3, 1].map(Some)), numbers(&[3, 1, 2, 2].map(Some))] {
            let side = compared(rows.clone(), other.clone());
            assert_eq!(side.verdict, Verdict::Different);
            let there = other.len();
            assert_eq!(side.reason, Some(format!("3 rows passed and {there} are there")));
        }
    }

    #[test]
    fn figures_that_a_side_does_not_have_are_not_compared() {
        let names = ["a".to_owned(), "b".to_owned()];
        let ours = figures(numbers(&[Some(1)]));
        let there = TableFigures { rows: 1, columns: vec![ColumnFigures::default()] };
        let side = SideProof::compare(ours, &there, &names, 0.0);
        let verdicts: Vec<_> = side.columns.iter().map(|column| column.verdict).collect();
        assert_eq!(verdicts, [Verdict::NotCompared, Verdict::NotCompared], "and neither is left out");
        assert_eq!(side.verdict, Verdict::Equal, "the rows were counted");
    }
}
