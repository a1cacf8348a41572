//! Dates, times of day, timestamps, and numbers that stand for them.

use super::column::{Column, Draft, is_zero_date};
use super::shapes::{ClockShape, DateForm, DateShape, Offset, Order, Spelling, clock, date, date_and_clock};
use super::{Findings, encoded};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse::{Misfit, TimeFormat, Want};
use crate::schema::evidence::Ambiguity;
use crate::schema::recipe::Recipe;

/// Share of the distinct values that must have a form before it is looked at closely.
const WORTH_A_LOOK: f64 = 0.9;

pub(super) fn recognise<'a>(column: &Column<'a>, findings: &mut Findings) {
    // What has no digit anywhere is no time; most text is told apart by this alone.
    if !column.values.iter().any(|value| value.text.bytes().any(|byte| byte.is_ascii_digit())) {
        return;
    }
    dates(column, findings);
    instants(column, findings);
    times(column, findings);
    encoded::recognise(column, findings);
    if findings.candidates.is_empty() {
        other_forms(column, findings);
    }
}

/// Dates that are read only if a job names their format.
fn other_forms(column: &Column<'_>, findings: &mut Findings) {
    let weekday = |text: &str| {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let start = text.get(..3).unwrap_or_default();
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        DAYS.iter().any(|day| day.eq_ignore_ascii_case(start))
            && (letters == 3 || text.get(3..letters).is_some_and(|rest| rest.ends_with("day")))
            && text.bytes().filter(u8::is_ascii_digit).count() >= 3
    };
    let log = |text: &str| {
        let text = text.trim_start_matches('[');
        text.split_once(':').is_some_and(|(day, time)| {
            day.len() == 11
                && date(day).is_some()
                && clock(&time.replace("] ", "").replace(']', "")).is_some()
        })
    };
    let zoned = |text: &str| {
        text.rsplit_once(' ').is_some_and(|(moment, zone)| {
            zone.starts_with(|first: char| first.is_ascii_alphabetic()) && date_and_clock(moment).is_some()
        })
    };
    let text = if column.all(weekday) {
        "dates with the day of the week, as in RFC 2822; BigQuery's PARSE_TIMESTAMP reads them by \
         `%a, %d %b %Y %H:%M:%S %z`"
    } else if column.all(log) {
        "times as web servers log them; BigQuery's PARSE_TIMESTAMP reads them by `%d/%b/%Y:%H:%M:%S %z`"
    } else if column.all(zoned) {
        "times with the name of a zone; BigQuery's PARSE_TIMESTAMP reads them by `%F %H:%M:%E*S %Z`"
    } else {
        return;
    };
    findings.note("W_DATE_FORM", text);
}

/// Days that programs write where there is none: the first and the last that they know.
fn sentinels(column: &Column<'_>) -> Option<String> {
    const DAYS: [&str; 5] = ["1900-01-01", "1970-01-01", "1753-01-01", "9999-12-31", "2999-12-31"];
    let found = column
        .values
        .iter()
        .filter(|value| value.rows > 1 && value.text.get(..10).is_some_and(|day| DAYS.contains(&day)));
    // The most frequent; of equals the first, whatever the order of rows.
    let found = found.max_by(|a, b| a.rows.cmp(&b.rows).then(b.text.cmp(a.text)))?;
    Some(format!("`{}` ({} times) often stands for no date; it is kept", found.text, found.rows))
}

fn enough(count: usize, column: &Column<'_>) -> bool {
    count > 0 && count as f64 >= WORTH_A_LOOK * column.values.len() as f64
}

/// How often each form occurs, and what proves that the day or the month comes first.
#[derive(Debug, Default)]
struct Forms {
    counts: Vec<(DateForm, usize)>,
    day_proofs: usize,
    month_proofs: usize,
    padded: usize,
    bare: usize,
    full_names: usize,
    short_names: usize,
    odd_case: usize,
    reversible: usize,
    total: usize,
}

impl Forms {
    fn add(&mut self, shape: &DateShape) {
        self.total += 1;
        for form in shape.forms.iter().flatten() {
            match self.counts.iter_mut().find(|(known, _)| known == form) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((*form, 1)),
            }
        }
        if let [Some(only), None] | [None, Some(only)] = shape.forms
            && !only.month_name
        {
            match only.order {
                Order::Day => self.day_proofs += 1,
                Order::Month => self.month_proofs += 1,
                Order::Year => {}
            }
        }
        let Spelling { padded, bare, full_name, short_name, odd_case } = shape.spelling;
        self.padded += usize::from(padded);
        self.bare += usize::from(bare);
        self.full_names += usize::from(full_name);
        self.short_names += usize::from(short_name);
        self.odd_case += usize::from(odd_case);
        self.reversible += usize::from(shape.reversible);
    }

    fn full(&self) -> bool {
        self.full_names > 0 && self.short_names == 0
    }

    /// Values that a format would spell another way.
    fn respelt(&self) -> bool {
        (self.padded > 0 && self.bare > 0)
            || (self.full_names > 0 && self.short_names > 0)
            || self.odd_case > 0
    }

    fn conflict(&self) -> bool {
        self.day_proofs > 0 && self.month_proofs > 0
    }

    /// The most frequent forms: one, or two where nothing proves the order of day and month.
    fn best(&self) -> Vec<DateForm> {
        let most = self.counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let mut best: Vec<DateForm> =
            self.counts.iter().filter(|(_, count)| *count == most).map(|(form, _)| *form).collect();
        // Independent of the order of rows.
        best.sort_by_key(|form| (form.order == Order::Month, form.format(false)));
        best
    }

    fn draft<'a>(&self, draft: Draft<'a>, form: DateForm, column: &Column<'_>) -> Draft<'a> {
        let unresolved =
            self.day_proofs == 0 && self.month_proofs == 0 && !form.month_name && form.order != Order::Year;
        let zeros = column.tokens.iter().any(|token| is_zero_date(token.text));
        let reversible = form.short_year && self.reversible == self.total;
        let sentinel = sentinels(column);
        draft
            .times(form.short_year, 0.90)
            .cap(form.short_year || self.respelt(), 0.85)
            .cap(unresolved || reversible, 0.60)
            .ambiguous(unresolved || reversible, Ambiguity::DateOrder)
            .ambiguous(form.short_year, Ambiguity::Century)
            .warn(sentinel.is_some(), "W_SENTINEL", sentinel.unwrap_or_default())
            .cap(column.values.len() < 5, 0.85)
            .bonus(column.hints.date)
            .warn(
                unresolved,
                "W_AMBIG",
                "no value shows whether the day or the month comes first; set the format",
            )
            .warn(form.short_year, "W_AMBIG", "years of two digits are read as 1969 to 2068")
            .warn(zeros, "W_ZERO_DATE", "dates of zeros stand for no date")
    }
}

const FINER: &str = "times finer than a microsecond fit no type of BigQuery, so they stay text";

const CONFLICT: &str = "some values show that the day comes first, others the month, so the dates stay text";

fn dates(column: &Column<'_>, findings: &mut Findings) {
    let mut forms = Forms::default();
    let mut patience = column.patience();
    for value in &column.values {
        if let Some(shape) = date(value.text) {
            forms.add(&shape);
        } else if patience.ends() {
            return;
        }
    }
    if !enough(forms.total, column) {
        return;
    }
    if forms.conflict() {
        findings.note("W_AMBIG", CONFLICT);
        return;
    }
    for form in forms.best() {
        let format = form.format(forms.full());
        let Ok(reader) = TimeFormat::new(&format, Want::Date) else { continue };
        let tally = column.tally(|text| reader.date(text.as_bytes()).is_ok());
        let what = format!("dates of the format {format}");
        let draft = Draft::new(BigQueryType::Date, Recipe::ParseDate { format }, tally, what);
        findings.offer(column.candidate(forms.draft(draft, form, column)));
    }
}

/// What the clocks of a column have in common.
#[derive(Debug, Default)]
struct Clocks {
    total: usize,
    with_seconds: usize,
    fractions: usize,
    /// Fewest and most digits of the fraction.
    least_fraction: usize,
    most_fraction: usize,
    trailing_zeros: bool,
    meridiem: usize,
    tight: usize,
    commas: usize,
    bare: usize,
    padded: usize,
    zulu: usize,
    named: usize,
    zero: usize,
    other: usize,
}

impl Clocks {
    fn add(&mut self, shape: &ClockShape) {
        self.least_fraction =
            if self.total == 0 { shape.fraction } else { self.least_fraction.min(shape.fraction) };
        self.most_fraction = self.most_fraction.max(shape.fraction);
        self.total += 1;
        self.with_seconds += usize::from(shape.seconds);
        self.fractions += usize::from(shape.fraction > 0);
        self.trailing_zeros |= shape.trailing_zero;
        self.meridiem += usize::from(shape.meridiem);
        self.tight += usize::from(shape.tight);
        self.commas += usize::from(shape.comma);
        self.bare += usize::from(shape.bare);
        self.padded += usize::from(!shape.bare && shape.hour < 10);
        match shape.offset {
            Some(Offset::Zulu) => self.zulu += 1,
            Some(Offset::Named) => self.named += 1,
            Some(Offset::Zero) => self.zero += 1,
            Some(Offset::Other) => self.other += 1,
            None => {}
        }
    }

    fn offsets(&self) -> usize {
        self.zulu + self.named + self.zero + self.other
    }

    fn mixed_seconds(&self) -> bool {
        self.with_seconds > 0 && self.with_seconds < self.total
    }

    fn mixed_meridiem(&self) -> bool {
        self.meridiem > 0 && self.meridiem < self.total
    }

    fn respelt(&self) -> bool {
        self.mixed_seconds()
            || (self.bare > 0 && self.padded > 0)
            || (self.trailing_zeros && self.least_fraction < self.most_fraction)
            || self.named > 0
            // Where the offset is lost anyway, how zero was spelt is no further loss.
            || (self.other == 0 && self.zulu > 0 && self.zulu < self.offsets())
    }

    fn format(&self) -> String {
        let hour = if self.meridiem > 0 { "%I" } else { "%H" };
        let seconds = match (self.with_seconds > 0, self.meridiem > 0 && self.fractions == 0) {
            (false, _) => "",
            (true, _) if self.commas > 0 => ":%S,%f",
            (true, true) => ":%S",
            (true, false) => ":%S%.f",
        };
        let meridiem = match (self.meridiem, self.tight) {
            (0, _) => "",
            (_, 0) => " %p",
            _ => "%p",
        };
        let offset = if self.offsets() > 0 { "%:z" } else { "" };
        format!("{hour}:%M{seconds}{meridiem}{offset}")
    }
}

/// Dates with a time of day.
#[derive(Debug, Default)]
struct Instants {
    forms: Forms,
    clocks: Clocks,
    /// `T`, `t`, blanks, ` - `.
    links: [usize; 4],
}

impl Instants {
    /// `None` where too many values are no instants.
    fn of(column: &Column<'_>) -> Option<Self> {
        let mut found = Self::default();
        let mut patience = column.patience();
        for value in &column.values {
            if let Some((date, link, clock)) = date_and_clock(value.text) {
                found.forms.add(&date);
                found.clocks.add(&clock);
                let place = match link {
                    "T" => 0,
                    "t" => 1,
                    link if link.contains('-') => 3,
                    _ => 2,
                };
                if let Some(count) = found.links.get_mut(place) {
                    *count += 1;
                }
            } else if patience.ends() {
                return None;
            }
        }
        Some(found)
    }

    fn respelt(&self) -> bool {
        let kinds = self.links.iter().filter(|count| **count > 0).count();
        let lower = self.links.get(1).is_some_and(|count| *count > 0);
        kinds > 1 || lower || self.clocks.respelt()
    }

    fn format(&self, form: DateForm) -> String {
        let link = match self.links {
            [_, _, _, dashes] if dashes > 0 => " - ",
            [t, lower, blanks, _] if t + lower > blanks => "T",
            _ => " ",
        };
        format!("{}{link}{}", form.format(self.forms.full()), self.clocks.format())
    }
}

fn instants(column: &Column<'_>, findings: &mut Findings) {
    let Some(found) = Instants::of(column) else { return };
    let clocks = &found.clocks;
    if !enough(clocks.total, column) {
        return;
    }
    if found.forms.conflict() {
        findings.note("W_AMBIG", CONFLICT);
        return;
    }
    if clocks.offsets() > 0 && clocks.offsets() < clocks.total {
        findings.note("W_AMBIG", "some times have an offset and some have none, so they stay text");
        return;
    }
    let zoned = clocks.offsets() > 0;
    let want = if zoned { Want::Timestamp } else { Want::DateTime };
    for form in found.forms.best() {
        let format = found.format(form);
        let Ok(reader) = TimeFormat::new(&format, want) else { continue };
        let mut finer = false;
        let tally = column.tally(|text| {
            let read = reader.date_time(text.as_bytes());
            finer |= read == Err(Misfit::SubMicrosecond);
            // Only what is no time at all is a miss: which values are seen before it gives up is chance.
            matches!(read, Ok(_) | Err(Misfit::SubMicrosecond))
        });
        if finer && !tally.given_up {
            findings.note("W_TS_NS", FINER);
            return;
        }
        let what = format!("times of the format {format}");
        let (bigquery_type, recipe) = if zoned {
            (BigQueryType::Timestamp, Recipe::ParseTimestamp { format })
        } else {
            (BigQueryType::DateTime, Recipe::ParseDateTime { format })
        };
        let draft = Draft::new(bigquery_type, recipe, tally, what).cap(found.respelt(), 0.85).warn(
            clocks.other > 0,
            "W_TZ_LOST",
            "the instant is kept, the offset that it was written with is not",
        );
        findings.offer(column.candidate(found.forms.draft(draft, form, column)));
    }
}

/// `-12:00:00`, `24:00`, `838:59:59`: a duration, or a time that no TIME holds.
fn is_duration(text: &str) -> bool {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let Some((hours, rest)) = rest.split_once(':') else { return false };
    let digits = hours.bytes().all(|byte| byte.is_ascii_digit()) && (1..=4).contains(&hours.len());
    let minutes = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_digit());
    digits
        && rest.split(':').count() <= 2
        && rest.split(':').all(minutes)
        && (negative || hours.parse::<u32>().is_ok_and(|hours| hours > 23))
}

fn times(column: &Column<'_>, findings: &mut Findings) {
    let mut clocks = Clocks::default();
    let mut durations = 0;
    let mut patience = column.patience();
    for value in &column.values {
        if is_duration(value.text) {
            durations += 1;
        } else if let Some(shape) = clock(value.text)
            && shape.offset.is_none()
        {
            clocks.add(&shape);
        } else if patience.ends() {
            return;
        }
    }
    if !enough(clocks.total + durations, column) {
        return;
    }
    if durations > 0 {
        findings
            .note("W_TIME_24H", "values of 24 hours and more, or below zero, are durations and stay text");
        return;
    }
    if clocks.mixed_seconds() || clocks.mixed_meridiem() {
        return;
    }
    let format = clocks.format();
    let Ok(reader) = TimeFormat::new(&format, Want::Time) else { return };
    let mut finer = false;
    let tally = column.tally(|text| {
        let read = reader.time(text.as_bytes());
        finer |= read == Err(Misfit::SubMicrosecond);
        matches!(read, Ok(_) | Err(Misfit::SubMicrosecond))
    });
    if finer && !tally.given_up {
        findings.note("W_TS_NS", FINER);
        return;
    }
    let what = format!("times of day of the format {format}");
    let draft = Draft::new(BigQueryType::Time, Recipe::ParseTime { format }, tally, what)
        .cap(clocks.respelt(), 0.85)
        .cap(column.values.len() < 5, 0.85);
    findings.offer(column.candidate(draft));
}
