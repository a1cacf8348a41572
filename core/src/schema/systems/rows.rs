//! The rows of `data/type_mapping.csv`.

use std::sync::LazyLock;

use super::condition::Condition;
use super::spelling::Spelling;
use super::warnings;
use crate::schema::mapping::{Confidence, Lossless, Warning};

/// What one type of one system becomes under one condition. Within a source type the first row whose
/// condition holds wins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeRow {
    /// The system, for example `oracle`.
    pub system: String,
    /// The type as the system's manual spells it, for example `NUMBER(p,s)`.
    pub source_type: String,
    /// When the row holds.
    pub condition: String,
    /// Arrow type of the values.
    pub arrow_type: String,
    /// Type at BigQuery.
    pub bigquery_type: String,
    /// Whether every value survives.
    pub lossless: Lossless,
    /// How sure the mapping is.
    pub confidence: Confidence,
    /// What to look out for.
    pub warnings: Vec<Warning>,
    /// Ranges and edge cases.
    pub notes: String,
    /// Where it is documented.
    pub reference: String,
    pub(super) spelling: Spelling,
    pub(super) when: Condition,
    /// A special case, written `case: condition`, which goes before the general rows of its type.
    pub(super) special: bool,
}

impl TypeRow {
    /// Whether the type's text alone does not decide that the row holds: the values do, the catalog, or the
    /// person. Such a row is advice: it is offered, never chosen.
    #[must_use]
    pub fn is_advice(&self) -> bool {
        self.when == Condition::Proof
    }

    fn read(cells: Vec<String>) -> Option<Self> {
        let [
            system,
            source_type,
            condition,
            arrow_type,
            bigquery_type,
            lossless,
            confidence,
            warning,
            notes,
            reference,
        ] = <[String; 10]>::try_from(cells).ok()?;
        let lossless = match lossless.as_str() {
            "yes" => Lossless::Yes,
            "conditional" => Lossless::Conditional,
            "no" => Lossless::No,
            _ => return None,
        };
        let confidence = match confidence.as_str() {
            "high" => Confidence::High,
            "medium" => Confidence::Medium,
            "low" => Confidence::Low,
            _ => return None,
        };
        Some(Self {
            spelling: Spelling::of_row(&source_type),
            special: condition.contains(": "),
            when: Condition::read(&condition),
            warnings: warnings::read(&warning),
            system,
            source_type,
            condition,
            arrow_type,
            bigquery_type,
            lossless,
            confidence,
            notes,
            reference,
        })
    }
}

/// All rows, in the order of the file.
pub(super) static ROWS: LazyLock<Vec<TypeRow>> = LazyLock::new(|| {
    let text = include_str!("../../../data/type_mapping.csv");
    text.lines().skip(1).filter_map(|line| TypeRow::read(cells(line))).collect()
});

/// Another spelling of a type: system, spelling, and the spelling of a row.
pub(super) static SPELLINGS: LazyLock<Vec<[String; 3]>> = LazyLock::new(|| {
    let text = include_str!("../../../data/type_spellings.csv");
    text.lines().skip(1).filter_map(|line| cells(line).try_into().ok()).collect()
});

/// The cells of one line of CSV. No cell of ours spans lines.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quoted) {
            ('"', true) if characters.peek() == Some(&'"') => {
                characters.next();
                push(&mut cells, '"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => cells.push(String::new()),
            _ => push(&mut cells, character),
        }
    }
    cells
}

fn push(cells: &mut [String], character: char) {
    if let Some(cell) = cells.last_mut() {
        cell.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row() {
        let lines = include_str!("../../../data/type_mapping.csv").lines().count() - 1;
        assert_eq!((lines, ROWS.len()), (881, 881));
        let lines = include_str!("../../../data/type_spellings.csv").lines().count() - 1;
        assert_eq!(lines, SPELLINGS.len());
    }

    #[test]
    fn quoted_cells() {
        assert_eq!(cells("a,\"b,\"\"c\"\"\",,d"), ["a", "b,\"c\"", "", "d"]);
    }
}
