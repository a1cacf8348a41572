//! Numbers that stand for dates and instants: `20240125`, seconds since 1970.

use super::Findings;
use super::column::{Column, Draft};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse;
use crate::schema::evidence::Ambiguity;
use crate::schema::recipe::Recipe;

/// 1990 to 2049 in seconds since 1970: what a number must be to pass for an instant.
const EPOCH_SECONDS: std::ops::Range<i64> = 631_152_000..2_524_608_000;

pub(super) fn recognise(column: &Column<'_>, findings: &mut Findings) {
    compact_dates(column, findings);
    epochs(column, findings);
}

/// Whether a text is a date of eight digits in the years 1900 to 2100.
pub(super) fn is_compact_date(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    let (8, Some(year), Some(month), Some(day)) = (text.len(), number(0..4), number(4..6), number(6..8))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (1900..=2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
}

/// Whether integers are dates or instants by their name as well as by their values.
pub(super) fn reads_as_time(column: &Column<'_>, dates: bool) -> bool {
    let epoch = |digits, unit| column.all(|text| is_epoch(text, digits, unit));
    (hints_at_dates(column) && dates)
        || (hints_at_instants(column) && EPOCHS.iter().any(|(digits, unit, _, _)| epoch(*digits, *unit)))
}

fn hints_at_dates(column: &Column<'_>) -> bool {
    column.hints.date && !column.hints.period
}

fn hints_at_instants(column: &Column<'_>) -> bool {
    hints_at_dates(column) && !column.hints.identifier
}

fn compact_dates(column: &Column<'_>, findings: &mut Findings) {
    if !hints_at_dates(column) || !column.all(is_compact_date) {
        return;
    }
    let format = "%Y%m%d".to_owned();
    let what = format!("dates of the format {format}");
    let draft =
        Draft::new(BigQueryType::Date, Recipe::ParseDate { format }, column.tally(is_compact_date), what)
            .cap(true, 0.80)
            .ambiguous(true, Ambiguity::NumberOrTime)
            .bonus(true)
            .warn(true, "W_AMBIG", "the values read as integers too; the name speaks for dates");
    findings.offer(column.candidate(draft));
}

/// Digits, units of a second, and how they are read.
const EPOCHS: [(usize, i64, Recipe, &str); 2] =
    [(10, 1, Recipe::EpochSeconds, "seconds"), (13, 1000, Recipe::EpochMillis, "milliseconds")];

fn is_epoch(text: &str, digits: usize, unit: i64) -> bool {
    text.len() == digits
        && parse::integer(text.as_bytes()).is_ok_and(|value| EPOCH_SECONDS.contains(&(value / unit)))
}

/// Seconds or milliseconds since 1970 in a column whose name says that it holds times.
fn epochs(column: &Column<'_>, findings: &mut Findings) {
    if !hints_at_instants(column) {
        return;
    }
    for (digits, unit, name) in [(16, 1_000_000, "microseconds"), (19, 1_000_000_000, "nanoseconds")] {
        if column.all(|text| is_epoch(text, digits, unit)) {
            findings.note("W_UNIT", format!("integers that may be {name} since 1970"));
        }
    }
    for (digits, unit, recipe, name) in EPOCHS {
        let fits = |text: &str| is_epoch(text, digits, unit);
        if !column.all(fits) {
            continue;
        }
        let draft = Draft::new(
            BigQueryType::Timestamp,
            recipe,
            column.tally(fits),
            format!("{name} since 1970 between 1990 and 2049"),
        )
        .cap(true, 0.80)
        .ambiguous(true, Ambiguity::NumberOrTime)
        .bonus(true)
        .warn(true, "W_UNIT", "the values read as integers too; the name speaks for times");
        findings.offer(column.candidate(draft));
    }
}
