//! The five fields of cron, as Cloud Scheduler and the crons of Unix agree on them.

use jiff::civil::Date;

use super::wrong;
use crate::error::{Error, Result};

/// What a schedule means. In every set, bit n stands for the number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) minutes: u64,
    pub(super) hours: u64,
    /// The hours begin with `*`: the schedule goes through the day rather than to a time of it.
    pub(super) all_hours: bool,
    pub(super) days: Days,
    /// 1 is January.
    pub(super) months: u64,
}

/// Which days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    /// Of the month (1 to 31) and of the week (0 is Sunday); `None` is unrestricted. If both are there, either
    /// is enough.
    Cron { of_month: Option<u64>, of_week: Option<u64> },
    /// This day of the month, or the last one of a shorter month.
    OrLast(u8),
}

impl Days {
    pub(super) fn cron(of_month: Option<u64>, of_week: Option<u64>) -> Self {
        Self::Cron { of_month, of_week }
    }

    fn has(self, date: Date) -> bool {
        let of_month = |days: u64| has(days, date.day());
        let of_week = |days: u64| has(days, date.weekday().to_sunday_zero_offset());
        match self {
            Self::Cron { of_month: None, of_week: None } => true,
            Self::Cron { of_month: Some(days), of_week: None } => of_month(days),
            Self::Cron { of_month: None, of_week: Some(days) } => of_week(days),
            Self::Cron { of_month: Some(month), of_week: Some(week) } => of_month(month) || of_week(week),
            Self::OrLast(day) => {
                date.day()
                    == i8::try_from(day).map_or(date.days_in_month(), |day| day.min(date.days_in_month()))
            }
        }
    }
}

fn has(set: u64, number: i8) -> bool {
    (set >> number) & 1 == 1
}

/// The numbers of a set, the lowest first.
pub(super) fn numbers(set: u64) -> impl Iterator<Item = i8> {
    (0..64).filter(move |number| has(set, *number))
}

/// What a field may hold.
struct Kind {
    name: &'static str,
    low: u8,
    high: u8,
    /// Names of three letters, for the numbers from `low` on.
    names: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind { name: "minute", low: 0, high: 59, names: &[] },
    Kind { name: "hour", low: 0, high: 23, names: &[] },
    Kind { name: "day of month", low: 1, high: 31, names: &[] },
    Kind {
        name: "month",
        low: 1,
        high: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    // 7 is Sunday too, which `number` knows.
    Kind { name: "day of week", low: 0, high: 6, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] },
];

/// The most days of each month.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Fields {
    pub(super) const ALL_MONTHS: u64 = 0b1_1111_1111_1110;

    /// Reads five fields. What crons read differently is refused with what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let texts: Vec<_> = text.split_whitespace().collect();
        let [minute, hour, of_month, month, of_week] = texts[..] else {
            return Err(wrong("cron", format!("has {} fields, not five: `{text}`", texts.len())).hint(
                "write minute, hour, day of month, month and day of week, for example \"0 2 * * MON-FRI\"",
            ));
        };
        let [minute_kind, hour_kind, of_month_kind, month_kind, of_week_kind] = &KINDS;
        let restricted = |kind: &Kind, text: &str| {
            let set = kind.set(text)?;
            Ok::<_, Error>((text != "*").then_some(set))
        };
        let fields = Self {
            minutes: minute_kind.set(minute)?,
            hours: hour_kind.set(hour)?,
            all_hours: hour.starts_with('*'),
            days: Days::cron(restricted(of_month_kind, of_month)?, restricted(of_week_kind, of_week)?),
            months: month_kind.set(month)?,
        };
        if let Days::Cron { of_month: Some(_), of_week: Some(_) } = fields.days
            && (of_month.starts_with('*') || of_week.starts_with('*'))
        {
            return Err(wrong("cron", format!("has both kinds of days and a `*` in them: `{text}`"))
                .hint("crons differ in what that means; write the range, for example 1-31/2, or `*` for one of them"));
        }
        if !fields.happens() {
            return Err(wrong("cron", format!("names a day that no month has: `{text}`"))
                .hint("check day of month and month"));
        }
        Ok(fields)
    }

    /// Whether it means this day.
    pub(super) fn on(&self, date: Date) -> bool {
        has(self.months, date.month()) && self.days.has(date)
    }

    /// Whether there is any day that it means.
    fn happens(&self) -> bool {
        let Days::Cron { of_month: Some(days), of_week: None } = self.days else { return true };
        (1..).zip(MONTH_DAYS).any(|(month, last)| has(self.months, month) && days & ((2 << last) - 1) != 0)
    }
}

impl Kind {
    fn wrong(&self, text: &str, why: &str) -> Error {
        wrong("cron", format!("has a {} that {why}: `{text}`", self.name))
    }

    /// A list of numbers, ranges and steps.
    fn set(&self, text: &str) -> Result<u64> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    fn item(&self, text: &str) -> Result<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((low, high)) => (self.number(low, text)?, self.number(high, text)?),
            None if step.is_some() => {
                return Err(self.wrong(text, "has a step but no range").hint(format!(
                    "write where it ends, for example {range}-{}/{}",
                    self.high,
                    step.unwrap_or("2")
                )));
            }
            None => {
                let number = self.number(range, text)?;
                (number, number)
            }
        };
        if low > high {
            return Err(self
                .wrong(text, "ends before it begins")
                .hint("write two ranges with a comma between"));
        }
        let step = match step {
            None => 1,
            Some(step) => digits(step).filter(|step| (1..=high - low).contains(step)).ok_or_else(|| {
                self.wrong(text, "has an impossible step").hint(format!("write 1 to {}", high - low))
            })?,
        };
        // 7 is 0, Sunday.
        let number = |number: u8| if number > self.high { self.low } else { number };
        Ok((low..=high).step_by(usize::from(step)).fold(0, |set, at| set | 1 << number(at)))
    }

    fn number(&self, text: &str, item: &str) -> Result<u8> {
        let named = || (self.low..).zip(self.names).find(|(_, name)| text.eq_ignore_ascii_case(name));
        let high = if self.high == 6 { 7 } else { self.high };
        digits(text)
            .filter(|number| (self.low..=high).contains(number))
            .or_else(|| named().map(|(number, _)| number))
            .ok_or_else(|| {
                let names = if self.names.is_empty() {
                    String::new()
                } else {
                    format!(", or {} to {}", self.names[0], self.names[self.names.len() - 1])
                };
                self.wrong(item, "is not understood")
                    .hint(format!("write {} to {high}{names}, or `*`", self.low))
            })
    }
}

/// A number of one or two digits.
fn digits(text: &str) -> Option<u8> {
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}
