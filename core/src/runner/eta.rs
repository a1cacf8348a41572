//! How far a run is among its ranges, and how long the rest will take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::window::Range;

/// Before this time an estimate says nothing.
const EARLIEST: Duration = Duration::from_secs(1);

/// What an estimate is made of.
#[derive(Debug, Default)]
pub(super) struct Eta {
    /// The share of the whole that each range is.
    shares: Vec<f64>,
    /// Ranges that are loaded.
    done: usize,
    /// When the first range began.
    began: Option<Instant>,
    /// Rows of the range that is being loaded, if known.
    expected_rows: Option<u64>,
}

impl Eta {
    pub(super) fn decided(&mut self, ranges: &VecDeque<Range>) {
        // Half-open and lonely ends have no length; texts have none at all. Then every range counts the same.
        let length = |range: &Range| match (&range.lo, &range.hi) {
            (Some(lo), Some(hi)) => hi.distance(lo),
            _ => None,
        };
        let known: Vec<f64> = ranges.iter().filter_map(length).collect();
        let usual = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let lengths: Vec<f64> = ranges.iter().map(|range| length(range).unwrap_or(usual)).collect();
        let total: f64 = lengths.iter().sum();
        let even = 1.0 / lengths.len().max(1) as f64;
        self.shares = lengths.iter().map(|length| if total > 0.0 { length / total } else { even }).collect();
    }

    pub(super) fn begin(&mut self, now: Instant, expected_rows: Option<u64>) {
        self.began.get_or_insert(now);
        self.expected_rows = expected_rows;
    }

    pub(super) fn range_done(&mut self) {
        self.done += 1;
    }

    /// The number of the range, how many there are, and the seconds that are left.
    pub(super) fn tell(&self, now: Instant, rows_read: u64) -> (u64, u64, Option<f64>) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let ranges = self.shares.len().max(1);
        let range = (self.done + 1).min(ranges);
        (count(range), count(ranges), self.left(now, rows_read))
    }

    fn left(&self, now: Instant, rows_read: u64) -> Option<f64> {
        let spent = now.duration_since(self.began?);
        let done = match self.expected_rows {
            // An estimate may be too low.
            Some(rows) if rows > 0 => (rows_read as f64 / rows as f64).min(1.0),
            _ => self.shares.iter().take(self.done).sum(),
        };
        (done > 0.0 && spent >= EARLIEST).then(|| spent.as_secs_f64() * (1.0 - done).max(0.0) / done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Place;
    use super::*;
    use crate::schema::CursorValue;

    fn range(lo: Option<i64>, hi: i64) -> Range {
        let (lo, hi) = (lo.map(CursorValue::Int), Some(CursorValue::Int(hi)));
        Range {
            place: Place::Top,
            lo,
            lo_inclusive: true,
            hi,
            hi_inclusive: true,
            hi_loaded: false,
            nulls: false,
        }
    }

    #[test]
    fn ranges_count_by_their_length() {
        let (mut eta, begin) = (Eta::default(), Instant::now());
        assert_eq!(eta.tell(begin, 0), (1, 1, None));
        eta.decided(&VecDeque::from([range(Some(0), 30), range(Some(30), 60), range(Some(60), 100)]));
        eta.begin(begin, None);
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(eta.tell(at(9), 5), (1, 3, None));
        eta.range_done();
        let (range, ranges, left) = eta.tell(at(30), 5);
        assert_eq!((range, ranges, left.unwrap().round()), (2, 3, 70.0));
        eta.range_done();
        eta.range_done();
        assert_eq!(eta.tell(at(90), 5), (3, 3, Some(0.0)));
    }

    #[test]
    fn an_open_beginning_counts_as_much_as_the_others() {
        let mut eta = Eta::default();
        eta.decided(&VecDeque::from([range(None, 30), range(Some(30), 60)]));
        assert_eq!(eta.shares, [0.5, 0.5]);
        eta.decided(&VecDeque::from([range(Some(3), 3)]));
        assert_eq!(eta.shares, [1.0]);
    }

    #[test]
    fn one_range_counts_by_the_rows_that_the_source_estimates() {
        let (mut eta, begin) = (Eta::default(), Instant::now());
        eta.decided(&VecDeque::from([range(None, 30)]));
        eta.begin(begin, Some(1000));
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(eta.tell(at(10_000), 250).2, Some(30.0));
        assert_eq!(eta.tell(at(999), 250).2, None);
        assert_eq!(eta.tell(at(10_000), 2500).2, Some(0.0));
    }
}
