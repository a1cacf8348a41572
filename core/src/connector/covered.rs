//! Which cursor values a job has loaded: the interval ledger of RFC 17.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::LoadRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::CursorValue;

/// Cursor values that a job has loaded without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorInterval {
    /// Where it begins; `None` for the lowest value there can be.
    pub lo: Option<CursorValue>,
    /// Where it ends.
    pub hi: CursorValue,
    /// Rows equal to `hi` do not belong to it: the job had to end before them (`load.until`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hi_open: bool,
}

impl LoadRecord {
    /// What the job has loaded, as sorted intervals that do not touch; the last one ends at the watermark.
    ///
    /// A record of before intervals were kept tells only where its own window began. Of a first load that is all
    /// there is; of a later one everything below counts as loaded, since it may be.
    #[must_use]
    pub fn covered_intervals(&self) -> Vec<CursorInterval> {
        match &self.watermark {
            Some(hi) if self.covered.is_empty() => {
                let lo = if self.sequence <= 1 { self.window_lo.clone() } else { None };
                vec![CursorInterval { lo, hi: hi.clone(), hi_open: false }]
            }
            _ => self.covered.clone(),
        }
    }
}

/// What no load has brought, between two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Where it begins.
    pub(crate) lo: Option<CursorValue>,
    /// Rows equal to `lo` are missing, too.
    pub(crate) lo_inclusive: bool,
    /// Where the interval above it begins, which is loaded.
    pub(crate) hi: CursorValue,
}

/// The order of two cursor values.
///
/// # Errors
/// `schema_changed` if they are of different types.
pub(crate) fn order(a: &CursorValue, b: &CursorValue) -> Result<Ordering> {
    a.compare(b).ok_or_else(|| {
        Error::new(
            ErrorKind::SchemaChanged,
            format!("cursor values of type {} and {} have no order", a.type_name(), b.type_name()),
        )
        .hint("give the job a new name to start afresh, or restore the column's type")
    })
}

/// The order of two beginnings.
fn order_lo(a: Option<&CursorValue>, b: Option<&CursorValue>) -> Result<Ordering> {
    match (a, b) {
        (Some(a), Some(b)) => order(a, b),
        (a, b) => Ok(a.is_some().cmp(&b.is_some())),
    }
}

/// The intervals and one more. Intervals that share an end become one: what is loaded next to an end always begins
/// with the rows there, unless they are loaded.
pub(crate) fn cover(intervals: &[CursorInterval], new: CursorInterval) -> Result<Vec<CursorInterval>> {
    let mut covered = Vec::with_capacity(intervals.len() + 1);
    let mut new = new;
    let mut rest = intervals.iter();
    for interval in rest.by_ref() {
        let below = new.lo.as_ref().map_or(Ok(false), |lo| order(&interval.hi, lo).map(Ordering::is_lt))?;
        if below {
            covered.push(interval.clone());
            continue;
        }
        let above = interval.lo.as_ref().map_or(Ok(false), |lo| order(lo, &new.hi).map(Ordering::is_gt))?;
        if above {
            covered.push(new);
            covered.push(interval.clone());
            covered.extend(rest.cloned());
            return Ok(covered);
        }
        if order_lo(interval.lo.as_ref(), new.lo.as_ref())?.is_lt() {
            new.lo.clone_from(&interval.lo);
        }
        match order(&interval.hi, &new.hi)? {
            Ordering::Less => {}
            Ordering::Equal => new.hi_open &= interval.hi_open,
            Ordering::Greater => (new.hi, new.hi_open) = (interval.hi.clone(), interval.hi_open),
        }
    }
    covered.push(new);
    Ok(covered)
}

/// What is missing from `start` (`None`: from the lowest value) up to the last interval, lowest first.
pub(crate) fn gaps(intervals: &[CursorInterval], start: Option<&CursorValue>) -> Result<Vec<Gap>> {
    let mut gaps = Vec::new();
    // Up to here nothing is missing; rows equal to it are, as long as no interval has ended there.
    let (mut from, mut inclusive) = (start.cloned(), true);
    for interval in intervals {
        if let Some(lo) = &interval.lo
            && order_lo(from.as_ref(), Some(lo))?.is_lt()
        {
            gaps.push(Gap { lo: from.clone(), lo_inclusive: inclusive, hi: lo.clone() });
        }
        if order_lo(from.as_ref(), Some(&interval.hi))?.is_le() {
            (from, inclusive) = (Some(interval.hi.clone()), interval.hi_open);
        }
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(lo: Option<i64>, hi: i64) -> CursorInterval {
        CursorInterval { lo: lo.map(CursorValue::Int), hi: CursorValue::Int(hi), hi_open: false }
    }

    fn gap(lo: Option<i64>, lo_inclusive: bool, hi: i64) -> Gap {
        Gap { lo: lo.map(CursorValue::Int), lo_inclusive, hi: CursorValue::Int(hi) }
    }

    #[test]
    fn intervals_that_share_an_end_become_one() {
        let ledger = [interval(Some(2), 3), interval(Some(5), 9)];
        let with = |lo, hi| cover(&ledger, interval(lo, hi)).unwrap();
        assert_eq!(with(Some(3), 5), [interval(Some(2), 9)]);
        assert_eq!(with(Some(3), 4), [interval(Some(2), 4), interval(Some(5), 9)]);
        assert_eq!(with(Some(10), 12), [interval(Some(2), 3), interval(Some(5), 9), interval(Some(10), 12)]);
        assert_eq!(with(None, 1), [interval(None, 1), interval(Some(2), 3), interval(Some(5), 9)]);
        assert_eq!(with(None, 20), [interval(None, 20)]);
        assert_eq!(with(Some(6), 7), ledger);
        assert_eq!(cover(&[], interval(None, 0)).unwrap(), [interval(None, 0)]);
        let text = CursorInterval { lo: None, hi: CursorValue::Text("x".into()), hi_open: false };
        assert!(cover(&ledger, text).is_err());
    }

    #[test]
    fn rows_at_an_open_end_are_missing() {
        let open = |lo, hi| CursorInterval { hi_open: true, ..interval(lo, hi) };
        let ledger = cover(&[interval(Some(5), 9)], open(Some(2), 4)).unwrap();
        assert_eq!(gaps(&ledger, Some(&CursorValue::Int(2))).unwrap(), [gap(Some(4), true, 5)]);
        assert_eq!(cover(&ledger, open(Some(4), 5)).unwrap(), [interval(Some(2), 9)]);
        assert_eq!(cover(&[open(None, 4)], interval(Some(4), 4)).unwrap(), [interval(None, 4)]);
    }

    #[test]
    fn gaps_lie_between_the_start_and_the_last_interval() {
        let ledger = [interval(Some(2), 3), interval(Some(5), 9)];
        let from = |start: Option<i64>| gaps(&ledger, start.map(CursorValue::Int).as_ref()).unwrap();
        assert_eq!(from(None), [gap(None, true, 2), gap(Some(3), false, 5)]);
        assert_eq!(from(Some(0)), [gap(Some(0), true, 2), gap(Some(3), false, 5)]);
        assert_eq!(from(Some(2)), [gap(Some(3), false, 5)]);
        assert_eq!(from(Some(3)), [gap(Some(3), false, 5)]);
        assert_eq!(from(Some(4)), [gap(Some(4), true, 5)]);
        assert_eq!(from(Some(5)), []);
        // What lies past the last interval is the incremental part's.
        assert_eq!(from(Some(12)), []);
        assert_eq!(gaps(&[interval(None, 9)], None).unwrap(), []);
    }

    #[test]
    fn old_records_claim_no_less_than_they_may_have_loaded() {
        let record = |sequence| LoadRecord {
            sequence,
            window_lo: Some(CursorValue::Int(4)),
            watermark: Some(CursorValue::Int(9)),
            ..LoadRecord::default()
        };
        assert_eq!(record(1).covered_intervals(), [interval(Some(4), 9)]);
        assert_eq!(record(2).covered_intervals(), [interval(None, 9)]);
        assert_eq!(LoadRecord::default().covered_intervals(), []);
    }

    proptest! {
        /// Against sets of numbers: an interval is the values in it, and a value between two whole ones stands for
        /// what a shared end joins.
        #[test]
        fn the_ledger_is_the_union(parts in prop::collection::vec((0_i64..30, 0_i64..8), 0..8), start in 0_i64..30) {
            let mut ledger = Vec::new();
            let mut halves = std::collections::BTreeSet::new();
            for (lo, length) in parts {
                ledger = cover(&ledger, interval(Some(lo), lo + length)).unwrap();
                halves.extend(2 * lo..=2 * (lo + length));
            }
            let holds = |at: i64| ledger.iter().any(|interval: &CursorInterval| {
                let value = |value: &CursorValue| if let CursorValue::Int(value) = value { 2 * value } else { 0 };
                value(interval.lo.as_ref().unwrap()) <= at && at <= value(&interval.hi)
            });
            for at in -2..80 {
                prop_assert_eq!(holds(at), halves.contains(&at), "{} of {:?}", at, ledger);
            }
            for pair in ledger.windows(2) {
                prop_assert!(order(&pair[0].hi, pair[1].lo.as_ref().unwrap()).unwrap().is_lt());
            }
            // A gap is all that is not there between the start and the end of the ledger.
            let found = gaps(&ledger, Some(&CursorValue::Int(start))).unwrap();
            let end = halves.last().copied().unwrap_or(i64::MIN);
            for at in -2..80 {
                let missing = found.iter().any(|gap| {
                    let value = |value: &CursorValue| if let CursorValue::Int(value) = value { 2 * value } else { 0 };
                    let lo = value(gap.lo.as_ref().unwrap());
                    (lo < at || (gap.lo_inclusive && lo == at)) && at < value(&gap.hi)
                });
                prop_assert_eq!(missing, at >= 2 * start && at < end && !halves.contains(&at), "{} of {:?}", at, found);
            }
        }
    }
}
