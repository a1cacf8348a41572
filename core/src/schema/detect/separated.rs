//! Numbers with separators of thousands, a decimal comma, a currency: text that a recipe would read.

use super::column::{Column, Draft};
use super::numbers::identifier;
use super::{Candidate, Findings};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse::{Separators, scan_number};
use crate::schema::recipe::Recipe;

pub(super) fn recognise(column: &Column<'_>, findings: &mut Findings) {
    separated(column, findings);
    decorated(column, findings);
}

/// Numbers with separators. Commas between thousands are offered where no other reading fits; other forms
/// only get a note, because a comma may be the decimal point.
fn separated(column: &Column<'_>, findings: &mut Findings) {
    let mut grouped = 0;
    let fits = |text: &str| scan_number(text.as_bytes()).is_some();
    for value in &column.values {
        if has_groups(value.text) {
            grouped += 1;
        } else if !fits(value.text) {
            return;
        }
    }
    if grouped == 0 {
        return;
    }
    let reads = |format: &str| {
        Separators::new(format).is_some_and(|separators| column.all(|text| separators.plain(text).is_some()))
    };
    let format = [",.", "'."].into_iter().find(|format| reads(format));
    if let Some(format) = format.filter(|_| !reads(",") && !reads(".,")) {
        findings.offer(thousands(column, format));
        return;
    }
    const OTHERS: [&str; 7] = [".,", ",", " ,", "\u{a0},", "\u{202f},", " .", "'."];
    let fitting: Vec<String> = [",."]
        .iter()
        .chain(&OTHERS)
        .filter(|format| reads(format))
        .map(|format| format!("`{format}`"))
        .collect();
    if !fitting.is_empty() {
        let text = format!(
            "numbers with separators of thousands or a decimal comma stay text; override with NUMERIC and the \
             separators as format: {}",
            fitting.join(" or ")
        );
        findings.note("W_LOCALE", text);
    }
}

/// Numbers with a sign of percent, a currency, parentheses or a minus behind: text, with what would read them.
fn decorated(column: &Column<'_>, findings: &mut Findings) {
    let is_number = |text: &str| {
        let text = text.trim();
        scan_number(text.as_bytes()).is_some() || has_groups(text)
    };
    let symbol =
        |c: char| matches!(c, '$' | '\u{20ac}' | '\u{a3}' | '\u{a5}' | '\u{20b9}' | '\u{20bd}' | '\u{20a9}');
    let code = |part: &str| part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_uppercase());
    let percent = |text: &str| text.strip_suffix('%').is_some_and(is_number);
    let money = |text: &str| {
        let text = text.trim_start_matches('-');
        let plain = text.trim_matches(symbol);
        (plain.len() < text.len() && is_number(plain.trim_start_matches('-')))
            || text
                .split_once([' ', '\u{a0}'])
                .is_some_and(|(a, b)| (code(a) && is_number(b)) || (is_number(a) && code(b)))
    };
    let bracketed = |text: &str| {
        text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).is_some_and(is_number)
            || text.strip_suffix('-').is_some_and(is_number)
    };
    let all = |fits: &dyn Fn(&str) -> bool| {
        column.values.iter().any(|value| fits(value.text)) && column.all(|text| fits(text) || is_number(text))
    };
    let found = if all(&percent) {
        "per cent signs"
    } else if all(&money) {
        "a currency"
    } else if all(&bracketed) {
        "parentheses or a minus behind for what is below zero"
    } else {
        return;
    };
    findings.note(
        "W_TEXT_NUM",
        format!("numbers with {found} stay text; BigQuery's PARSE_NUMERIC reads them once such signs are taken out"),
    );
}

/// Never better than medium: written back, the value would have another form.
fn thousands(column: &Column<'_>, format: &str) -> Option<Candidate> {
    let separators = Separators::new(format)?;
    let plain = |text: &str| separators.plain(text);
    let part = |text: &str, index: usize| {
        let digits = plain(text).unwrap_or_default();
        digits.trim_start_matches(['-', '+']).split('.').nth(index).map_or(0, str::len)
    };
    let integer_digits = column.values.iter().map(|value| part(value.text, 0)).max().unwrap_or(0);
    let scale = column.values.iter().map(|value| part(value.text, 1)).max().unwrap_or(0);
    let bigquery_type = match (integer_digits, scale) {
        (..=27, ..=9) => BigQueryType::Numeric(None),
        (..=36, ..=38) => BigQueryType::BigNumeric(None),
        _ => return None,
    };
    let recipe = Recipe::ParseGrouped { format: format.to_owned() };
    let tally = column.tally(|text| plain(text).is_some());
    let draft = Draft::new(bigquery_type, recipe, tally, format!("numbers with separators like {format}"))
        .times(true, 0.85)
        .times(column.values.len() < 8, 0.95)
        .cap(true, 0.85)
        .cap(identifier(column), 0.60)
        .warn(true, "W_LOCALE", "separators of thousands are taken out");
    column.candidate(draft)
}

/// Digits with `,`, `.`, `'` or blanks between groups, and perhaps another separator before a fraction.
fn has_groups(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut groups = text.split([',', '.', '\'', ' ', '\u{a0}', '\u{202f}']);
    let first = groups.next().unwrap_or_default();
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest: Vec<&str> = groups.collect();
    is_digits(first)
        && !rest.is_empty()
        && rest.iter().all(|part| is_digits(part))
        && (text.contains(',') || first.len() <= 3)
        && rest.iter().rev().skip(1).all(|part| part.len() <= 3)
}
