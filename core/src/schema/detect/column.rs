//! The distinct values of a column, null tokens aside, and how they score a type.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Candidate;
use super::hints::Hints;
use crate::schema::bigquery::BigQueryType;
use crate::schema::evidence::{Ambiguity, Evidence, NullToken};
use crate::schema::mapping::Warning;
use crate::schema::recipe::Recipe;

/// Distinct values that are looked at; later ones are not.
const MAX_DISTINCT: usize = 50_000;

/// Examples that evidence keeps.
const EXAMPLES: usize = 3;

/// Characters of an example.
const EXCERPT: usize = 80;

/// Below this many distinct values the rows are what counts.
const FEW: usize = 8;

/// Tokens that stand for NULL in any column.
const STRONG: [&str; 5] = ["NULL", "null", "\\N", "<NULL>", "(null)"];

/// Tokens that stand for NULL in a column that is no text otherwise, in lower case.
const WEAK: [&str; 23] = [
    "na",
    "n/a",
    "#n/a",
    "nan",
    "none",
    "nil",
    "nat",
    "-",
    "--",
    ".",
    "?",
    "unknown",
    "missing",
    "null",
    "not available",
    "#div/0!",
    "#value!",
    "#ref!",
    "#name?",
    "#num!",
    "#null!",
    "(blank)",
    "<na>",
];

/// Those of them that may be data as well as not.
const VAGUE: [&str; 8] = ["-", "--", "?", ".", "unknown", "missing", "none", "nil"];

/// What some databases write for no date.
const ZERO_DATES: [&str; 3] = ["0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00"];

/// A distinct value, trimmed, and its rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) text: &'a str,
    pub(super) rows: usize,
}

/// A column as the recognisers see it.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) hints: Hints,
    pub(super) values: Vec<Value<'a>>,
    /// Rows of `values`.
    pub(super) rows: usize,
    /// Tokens that stand for NULL, the empty text among them, most frequent first.
    pub(super) tokens: Vec<Value<'a>>,
    /// Rows that are not NULL.
    pub(super) all_rows: usize,
    pub(super) nulls: usize,
    /// Rows with blanks around their value.
    pub(super) padded: usize,
    /// Share of further rows that would bring a value that is not among these, by Good and Turing: the values
    /// seen once, of all rows.
    unseen: f64,
}

impl<'a> Column<'a> {
    pub(super) fn collect(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let expected = values.size_hint().0.min(MAX_DISTINCT);
        let mut counts: HashMap<&'a str, usize, RandomState> =
            HashMap::with_capacity_and_hasher(expected, RandomState::default());
        let (mut nulls, mut all_rows, mut padded) = (0, 0, 0);
        for value in values {
            let Some(whole) = value else {
                nulls += 1;
                continue;
            };
            all_rows += 1;
            let text = whole.trim();
            padded += usize::from(text.len() < whole.len() && !text.is_empty());
            if let Some(count) = counts.get_mut(text) {
                *count += 1;
            } else if counts.len() < MAX_DISTINCT {
                counts.insert(text, 1);
            }
        }
        let mut column = Self {
            hints: Hints::of(name),
            values: Vec::with_capacity(counts.len()),
            rows: 0,
            tokens: Vec::new(),
            all_rows,
            nulls,
            padded,
            unseen: 1.0,
        };
        let mut once = 0;
        for (text, rows) in counts {
            let value = Value { text, rows };
            if is_token(text) {
                column.tokens.push(value);
            } else {
                column.rows += rows;
                once += usize::from(rows == 1);
                column.values.push(value);
            }
        }
        column.unseen = once as f64 / column.rows.max(1) as f64;
        column.tokens.sort_unstable_by(|a, b| b.rows.cmp(&a.rows).then(a.text.cmp(b.text)));
        column
    }

    /// Tokens that only a candidate takes for NULL: all but the empty text.
    pub(super) fn spelt_tokens(&self) -> impl Iterator<Item = &Value<'a>> {
        self.tokens.iter().filter(|token| !token.text.is_empty())
    }

    /// How many values may not be of a form that is worth a closer look.
    pub(super) fn patience(&self) -> Patience {
        Patience(self.values.len() / 10)
    }

    /// Counts which values `fits` accepts. Ends where they are too few for a candidate.
    pub(super) fn tally(&self, mut fits: impl FnMut(&'a str) -> bool) -> Tally<'a> {
        let mut tally = Tally::default();
        let mut patience = Patience(self.values.len() / 20);
        for value in &self.values {
            if fits(value.text) {
                tally.matched += 1;
                tally.matched_rows += value.rows;
                keep_smallest(&mut tally.examples, value.text);
            } else {
                keep_smallest(&mut tally.counter_examples, value.text);
                if patience.ends() {
                    tally.given_up = true;
                    break;
                }
            }
        }
        tally
    }

    /// Whether `fits` accepts every value, and there is one.
    pub(super) fn all(&self, mut fits: impl FnMut(&'a str) -> bool) -> bool {
        !self.values.is_empty() && self.values.iter().all(|value| fits(value.text))
    }

    fn vague_rows(&self) -> usize {
        self.tokens.iter().filter(|token| is_vague(token.text)).map(|token| token.rows).sum()
    }

    /// How sure it is that a further value fits, as the lower end of the 95% interval. Distinct values are
    /// independent observations; rows are, too, where there are few distinct values. Between both, rows count as
    /// far as the distinct values are known to be all there are.
    fn certainty(&self, draft: &Draft<'a>) -> f64 {
        let by_rows = lower_bound(draft.tally.matched_rows, self.rows);
        if self.values.len() < FEW || draft.by_rows {
            return by_rows;
        }
        let by_distinct = lower_bound(draft.tally.matched, self.values.len());
        self.unseen * by_distinct + (1.0 - self.unseen) * by_rows.max(by_distinct)
    }

    /// The scored candidate, unless too few values fit.
    pub(super) fn candidate(&self, draft: Draft<'a>) -> Option<Candidate> {
        let distinct = self.values.len();
        let most = |part: usize, whole: usize| whole > 0 && part as f64 >= 0.95 * whole as f64;
        // A value that does not fit may be one of a thousand distinct ones and yet fill every tenth row.
        if !most(draft.tally.matched, distinct) || !most(draft.tally.matched_rows, self.rows) {
            return None;
        }
        let certainty = self.certainty(&draft);
        let mut factor = draft.factor;
        let mut cap = draft.cap;
        let mut warnings = draft.warnings;
        let mut ambiguity = draft.ambiguity;
        let mut note = String::new();
        if draft.tally.matched < distinct {
            cap = cap.min(0.85);
        }
        if distinct == 1 {
            cap = cap.min(0.60);
            ambiguity = ambiguity.or(Some(Ambiguity::Constant));
        }
        let tokens: Vec<&Value<'a>> =
            if draft.takes_tokens { Vec::new() } else { self.spelt_tokens().collect() };
        if !tokens.is_empty() {
            if !is_of_time(&draft.bigquery_type) && tokens.iter().any(|token| is_zero_date(token.text)) {
                return None;
            }
            let vague = self.vague_rows();
            if vague * 5 > self.all_rows {
                factor *= 0.90;
            }
            // `unknown` may be an answer beside yes and no.
            if vague * 5 > self.all_rows || (vague > 0 && draft.bigquery_type == BigQueryType::Bool) {
                cap = cap.min(0.85);
            }
            let shown: Vec<String> = tokens
                .iter()
                .take(EXAMPLES)
                .map(|token| format!("`{}` ({} times)", token.text, token.rows))
                .collect();
            note = format!(", {} aside", shown.join(", "));
            warnings.push(Warning::new("W_NULL_TOKEN", format!("{} becomes NULL", shown.join(", "))));
        }
        let score = (certainty * factor + draft.bonus).clamp(0.0, 0.99).min(cap);
        let reason = if draft.tally.matched == distinct {
            format!("all {distinct} distinct values are {}{note}", draft.what)
        } else {
            format!("{} of {distinct} distinct values are {}{note}", draft.tally.matched, draft.what)
        };
        Some(Candidate {
            bigquery_type: draft.bigquery_type,
            recipe: draft.recipe,
            score,
            reason,
            warnings,
            evidence: Evidence {
                sampled: self.all_rows + self.nulls,
                values: self.rows,
                distinct,
                matched: draft.tally.matched,
                share: draft.tally.matched as f64 / distinct.max(1) as f64,
                padded: self.padded,
                ambiguity,
                null_tokens: tokens
                    .iter()
                    .map(|t| NullToken { text: t.text.to_owned(), rows: t.rows })
                    .collect(),
                counter_examples: draft.tally.counter_examples.iter().map(excerpt).collect(),
                examples: draft.tally.examples.iter().map(excerpt).collect(),
            },
        })
    }
}

fn is_vague(text: &str) -> bool {
    text.len() <= 7 && VAGUE.iter().any(|token| token.eq_ignore_ascii_case(text))
}

fn is_of_time(bigquery_type: &BigQueryType) -> bool {
    matches!(bigquery_type, BigQueryType::Date | BigQueryType::DateTime | BigQueryType::Timestamp)
}

fn is_token(text: &str) -> bool {
    // Values that begin with a digit are the rule and no token but for the zero dates.
    match text.as_bytes().first() {
        None => true,
        Some(b'1'..=b'9') => false,
        Some(b'0') => ZERO_DATES.contains(&text),
        Some(b'#') if text.len() >= 3 && text.bytes().all(|byte| byte == b'#') => true,
        Some(_) => {
            text.len() <= 13
                && (STRONG.contains(&text) || WEAK.iter().any(|token| token.eq_ignore_ascii_case(text)))
        }
    }
}

/// Whether a token is one that databases write for no date.
pub(super) fn is_zero_date(text: &str) -> bool {
    ZERO_DATES.contains(&text)
}

/// Keeps the three smallest, so that the answer does not depend on the order of rows.
fn keep_smallest<'a>(kept: &mut Vec<&'a str>, text: &'a str) {
    if kept.len() == EXAMPLES && kept.last().is_some_and(|last| text >= *last) {
        return;
    }
    let place = kept.iter().position(|other| text < *other).unwrap_or(kept.len());
    if place < EXAMPLES {
        kept.insert(place, text);
        kept.truncate(EXAMPLES);
    }
}

fn excerpt(text: &&str) -> String {
    text.chars().take(EXCERPT).collect()
}

/// Misses that a hypothesis survives; the one after them ends it, and the rest of the column need not be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(usize);

impl Patience {
    /// Counts a miss.
    pub(super) fn ends(&mut self) -> bool {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                false
            }
            None => true,
        }
    }
}

/// Which values fit a type.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    pub(super) matched: usize,
    pub(super) matched_rows: usize,
    pub(super) examples: Vec<&'a str>,
    pub(super) counter_examples: Vec<&'a str>,
    /// Whether it ended before it had seen every value.
    pub(super) given_up: bool,
}

/// A candidate before it is scored.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) bigquery_type: BigQueryType,
    pub(super) recipe: Recipe,
    pub(super) tally: Tally<'a>,
    /// What the values are, for the reason: "integers".
    pub(super) what: String,
    pub(super) factor: f64,
    pub(super) bonus: f64,
    pub(super) cap: f64,
    /// Rows count, however many distinct values there are.
    pub(super) by_rows: bool,
    /// The type has a value for the tokens that are there.
    pub(super) takes_tokens: bool,
    pub(super) warnings: Vec<Warning>,
    /// What other reading there is.
    pub(super) ambiguity: Option<Ambiguity>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        bigquery_type: BigQueryType,
        recipe: Recipe,
        tally: Tally<'a>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            bigquery_type,
            recipe,
            tally,
            what: what.into(),
            factor: 1.0,
            bonus: 0.0,
            cap: 0.99,
            by_rows: false,
            takes_tokens: false,
            warnings: Vec::new(),
            ambiguity: None,
        }
    }

    pub(super) fn times(mut self, applies: bool, factor: f64) -> Self {
        if applies {
            self.factor *= factor;
        }
        self
    }

    pub(super) fn cap(mut self, applies: bool, cap: f64) -> Self {
        if applies {
            self.cap = self.cap.min(cap);
        }
        self
    }

    /// Another reading fits too.
    pub(super) fn ambiguous(mut self, applies: bool, ambiguity: Ambiguity) -> Self {
        if applies {
            self.ambiguity.get_or_insert(ambiguity);
        }
        self
    }

    pub(super) fn bonus(mut self, applies: bool) -> Self {
        if applies {
            self.bonus = 0.05;
        }
        self
    }

    pub(super) fn warn(mut self, applies: bool, code: &str, text: impl Into<String>) -> Self {
        if applies {
            self.warnings.push(Warning::new(code, text));
        }
        self
    }
}

/// The lower end of the 95% Wilson interval of a share: `matched` of `total` seen.
pub(super) fn lower_bound(matched: usize, total: usize) -> f64 {
    const Z: f64 = 1.96;
    let n = total as f64;
    let p = matched as f64 / n;
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (p + Z * Z / (2.0 * n) - spread) / (1.0 + Z * Z / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_table_of_the_lower_bound() {
        for (n, clean) in [
            (1, 0.207),
            (4, 0.510),
            (8, 0.676),
            (16, 0.806),
            (20, 0.839),
            (30, 0.887),
            (50, 0.929),
            (500, 0.992),
            (1000, 0.996),
        ] {
            assert!((lower_bound(n, n) - clean).abs() < 0.0006, "{n}");
        }
        for (n, one_miss) in [(35, 0.855), (50, 0.895), (100, 0.946), (1000, 0.994)] {
            assert!((lower_bound(n - 1, n) - one_miss).abs() < 0.0006, "{n}");
        }
        assert!(lower_bound(34, 34) < 0.9 && lower_bound(35, 35) > 0.9);
    }
}
