//! The runs of a schedule, one after another, across changes of the clock.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use super::cron::{Fields, numbers};

/// After so many days without a run there is none: 29 February is at most eight years away.
const LONGEST_PAUSE: u32 = 9 * 366;

/// The instants of a schedule after another one, the earliest first.
pub(super) struct Upcoming {
    zone: TimeZone,
    fields: Fields,
    after: Timestamp,
    /// The next date to look at; `None` at the end of the calendar.
    date: Option<Date>,
    /// Runs of dates that were looked at.
    found: BTreeSet<Timestamp>,
    /// Days in a row without a run.
    pause: u32,
}

impl Upcoming {
    pub(super) fn new(zone: TimeZone, fields: Fields, after: Timestamp) -> Self {
        let today = after.to_zoned(zone.clone()).date();
        // Where clocks go back over midnight, the end of yesterday is still to come.
        let date = today.yesterday().unwrap_or(today);
        Self { zone, fields, after, date: Some(date), found: BTreeSet::new(), pause: 0 }
    }

    /// Whether no later date can have a run before this one. For clocks that go back over midnight, the date
    /// after it must have been looked at too.
    fn is_settled(&self, run: Timestamp) -> bool {
        let Some(next) = self.date else { return true };
        let Ok(after_it) = run.to_zoned(self.zone.clone()).date().checked_add(1.day()) else { return true };
        after_it < next
    }

    fn look_at(&mut self, date: Date) {
        if !self.fields.on(date) {
            return;
        }
        for hour in numbers(self.fields.hours) {
            for minute in numbers(self.fields.minutes) {
                self.add(date.at(hour, minute, 0, 0));
            }
        }
    }

    /// Adds the instants at which clocks show this time, or the one that stands for it.
    fn add(&mut self, time: DateTime) {
        let [first, second] = match self.zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(time).ok(), None],
            AmbiguousOffset::Fold { before, .. } if !self.fields.all_hours => {
                [before.to_timestamp(time).ok(), None]
            }
            AmbiguousOffset::Fold { before, after } => {
                [before.to_timestamp(time).ok(), after.to_timestamp(time).ok()]
            }
            AmbiguousOffset::Gap { .. } if self.fields.all_hours => [None, None],
            // With the offset after the change, the time lies before the change.
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(time).ok();
                let change = before_change.and_then(|at| self.zone.following(at).next());
                [change.map(|change| change.timestamp()), None]
            }
        };
        let after = self.after;
        self.found.extend([first, second].into_iter().flatten().filter(|run| *run > after));
    }
}

impl Iterator for Upcoming {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        loop {
            if let Some(run) = self.found.first().copied()
                && self.is_settled(run)
            {
                self.pause = 0;
                return self.found.pop_first();
            }
            let date = self.date?;
            self.look_at(date);
            self.date = date.tomorrow().ok();
            self.pause += 1;
            if self.pause > LONGEST_PAUSE {
                return self.found.pop_first();
            }
        }
    }
}
