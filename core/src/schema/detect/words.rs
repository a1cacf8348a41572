//! Booleans and JSON.

use super::Findings;
use super::column::{Column, Draft};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse::{self, Misfit};
use crate::schema::evidence::Ambiguity;
use crate::schema::recipe::Recipe;

/// Pairs of words for true and false.
const PAIRS: [(&str, &str); 13] = [
    ("true", "false"),
    ("t", "f"),
    ("yes", "no"),
    ("y", "n"),
    ("on", "off"),
    ("1", "0"),
    ("ja", "nein"),
    ("oui", "non"),
    ("si", "no"),
    ("s\u{ed}", "no"),
    ("sim", "n\u{e3}o"),
    ("sim", "nao"),
    ("ja", "nej"),
];

/// How many of them are English or digits; the others are offered only, because words of another language may
/// mean something else.
const ENGLISH: usize = 6;

/// Spellings (`Yes`, `YES`, `yes`, ...) that a boolean column can have at most.
const MAX_SPELLINGS: usize = 16;

pub(super) fn booleans(column: &Column<'_>, findings: &mut Findings) {
    if column.values.len() > MAX_SPELLINGS {
        return;
    }
    for (place, (yes, no)) in PAIRS.into_iter().enumerate() {
        let is = |text: &str, word: &str| {
            text.eq_ignore_ascii_case(word) || (!word.is_ascii() && text.to_lowercase() == word)
        };
        // A third value, however rare, means that this is no boolean.
        if !column.all(|text| is(text, yes) || is(text, no)) {
            continue;
        }
        let foreign = place >= ENGLISH;
        let spelt = |word: &str| {
            let mut found: Vec<&str> =
                column.values.iter().map(|v| v.text).filter(|text| is(text, word)).collect();
            found.sort_unstable();
            found
        };
        let (trues, falses) = (spelt(yes), spelt(no));
        // The recipe keeps the column's own spelling.
        let first =
            |found: &[&str], word: &str| found.first().map_or(word.to_owned(), |&text| text.to_owned());
        let recipe = Recipe::ParseBool { yes: first(&trues, yes), no: first(&falses, no) };
        let digits = yes == "1";
        let what = format!("one of {yes} and {no}");
        let mut draft = Draft::new(BigQueryType::Bool, recipe, column.tally(|_| true), what)
            .times(digits && !column.hints.boolean, 0.55)
            .times(yes.len() == 1 && !digits, 0.97)
            .cap(trues.is_empty() || falses.is_empty(), 0.65)
            .ambiguous(trues.is_empty() || falses.is_empty(), Ambiguity::OnePolarity)
            .cap(foreign, 0.85)
            // Slovenia and Norway.
            .cap(foreign && column.all(|text| text == "SI" || text == "NO"), 0.65)
            .ambiguous(digits, Ambiguity::NumberOrBoolean)
            .cap(trues.len() > 1 || falses.len() > 1, 0.85)
            .bonus(column.hints.boolean)
            .warn(digits, "W_BOOL_ASSUMED", "0 and 1 may be numbers");
        draft.by_rows = true;
        findings.offer(column.candidate(draft));
        return;
    }
}

pub(super) fn json(column: &Column<'_>, findings: &mut Findings) {
    // Numbers and quoted strings are JSON too, but only documents make a column one of JSON.
    let document = |text: &str| text.starts_with(['{', '[']);
    if !column.values.iter().any(|value| document(value.text)) {
        return;
    }
    let mut damaged: Option<(&str, Misfit)> = None;
    for value in &column.values {
        match parse::json(value.text.as_bytes()) {
            Ok(()) => {}
            Err(Misfit::Form("JSON")) => return,
            // The values come in no order; the smallest is named.
            Err(misfit) if damaged.as_ref().is_none_or(|(text, _)| value.text < *text) => {
                damaged = Some((value.text, misfit));
            }
            Err(_) => {}
        }
    }
    if let Some((_, misfit)) = damaged {
        findings.note("W_JSON_NUM", format!("JSON that BigQuery would change or refuse: a value {misfit}"));
        return;
    }
    // `1.5` and `[294]` are both JSON, but a column of numbers with remarks is no column of documents.
    let documents = column.values.iter().filter(|value| document(value.text)).count();
    let mut draft =
        Draft::new(BigQueryType::Json, Recipe::ParseJson, column.tally(|_| true), "JSON documents")
            .cap(documents * 100 < column.values.len() * 95, 0.60)
            .times(column.values.len() < 8, 0.95)
            .warn(
                true,
                "W_JSON_ORDER",
                "JSON keeps neither blanks nor the order of keys, and the first of equal keys",
            );
    // `null` is a document too.
    draft.takes_tokens = column.spelt_tokens().all(|token| token.text == "null");
    findings.offer(column.candidate(draft));
}
