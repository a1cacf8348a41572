//! The values that come most often.

use arrow_array::ArrayRef;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};

use super::TopValue;
use crate::error::{Error, Result};
use crate::schema::to_text;

/// Room for different values. With fewer than three quarters of it in a column the counts are exact; with more, one may
/// be too low by 3.5 / 512 of the rows; the profile says by how much at most.
const FOLLOWED: usize = 512;

/// Values that a profile names.
const NAMED: usize = 10;

/// Longer texts do not take part, so that the memory stays bounded; what is this long seldom repeats.
const LONGEST: usize = 128;

/// Follows the most frequent values of a column (Misra and Gries, as Apache DataSketches has it).
#[derive(Debug, Clone)]
pub(super) struct TopValues(FrequentItemsSketch<String>);

impl TopValues {
    pub(super) fn new() -> Result<Self> {
        FrequentItemsSketch::new(FOLLOWED)
            .map(Self)
            .map_err(|error| Error::internal(format!("counting frequent values could not begin: {error}")))
    }

    pub(super) fn add(&mut self, column: &ArrayRef) -> Result<()> {
        let texts = to_text(column)?;
        for text in texts.iter().flatten().filter(|text| text.len() <= LONGEST) {
            self.0.update_ref(text);
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// The most frequent values that are certain to be among the most frequent, the first one first.
    pub(super) fn finish(&self) -> Vec<TopValue> {
        let mut rows = self.0.frequent_items(ErrorType::NoFalsePositives);
        // Equal counts in the order of the values, so that a profile does not depend on chance.
        rows.sort_by(|a, b| b.lower_bound().cmp(&a.lower_bound()).then_with(|| a.item().cmp(b.item())));
        rows.truncate(NAMED);
        rows.iter()
            .map(|row| TopValue {
                value: row.item().clone(),
                count: row.lower_bound(),
                error: row.upper_bound() - row.lower_bound(),
            })
            .collect()
    }
}
