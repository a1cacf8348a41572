//! When a row holds: comparisons of digits are computed, prose is classified.

/// What a condition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Holds until a value says otherwise; every value is checked at run time.
    Assumed,
    /// Comparisons of the type's arguments, all of which must hold.
    Digits(Vec<Clause>),
    /// Holds only if a profile of the values, the catalog or the person says so.
    Proof,
}

/// Comparisons of which one must hold, for example `p-s>38 or s>38`.
pub(super) type Clause = Vec<Comparison>;

/// A chain such as `0<s<=9`, or a definition such as `d=p+s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    first: Sum,
    rest: Vec<(Operator, Sum)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// A sum such as `p-s` or `p+abs(s)`.
type Sum = Vec<(i64, Term)>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Number(i64),
    Variable(String),
    Absolute(String),
}

/// Values of the letters of a spelling.
pub(super) type Values = std::collections::BTreeMap<String, i64>;

/// Prose that holds by the type's text alone. Where it speaks of values, those are checked at run time and
/// what does not fit follows the reject policy.
const ASSUMED: [&str; 46] = [
    "always",
    "otherwise",
    "default",
    "default (datetime2 without p is 7)",
    "default precision is 9",
    "anything else",
    "wider",
    "no profile or profile fails",
    "no profile or out of INT64",
    "read as money::numeric",
    "every value is 0 or 1 by definition",
    "all finite and 0001-01-01..9999-12-31",
    "finite, years 1..9999",
    "years 1..9999",
    "no zero parts",
    "as JSON",
    "numeric identity",
    "text output function",
    "declared scale only (precision 38)",
    "fields all mappable, depth<=15",
    "2-D",
    "SRID 4326, 2-D, valid, lon -180..180 lat -90..90",
    "SRID 0 or projected",
    "one dimension",
    "no NULL elements",
    "no null elements",
    "schema-less mode",
    "name configured as TTL",
    "numeric family only (int32,int64)",
    "picosecond columns",
    "affinity INTEGER, full-scan typeof() only integer/null",
    "affinity TEXT",
    "affinity BLOB",
    "affinity REAL",
    "affinity NUMERIC, anything else",
    "profile finds more than one typeof() besides null",
    // Files: the kind of text that was found, the order of dates, the options that we set.
    "matches ^[+-]?(0 or [1-9][0-9]*)$, within i64, no leading zeros anywhere",
    "point decimal, digits fit NUMERIC rule with headroom",
    "one unambiguous locale for the whole column",
    "order unresolved",
    "both polarities present, single vocabulary",
    "100% parse and at least one object/array",
    "every value 00:00..23:59:59",
    "fits i64",
    "mapTargetType=ARRAY_OF_STRUCT",
    "explicit DATETIME schema supplied",
];

/// The same for cells of sheets and values of JSON.
const ASSUMED_OF_CELLS: [&str; 4] =
    ["integers only, abs<=2^53", "0<=x<1", "workbookPr date1904=1, otherwise", "mixed, nested or with null"];

impl Condition {
    pub(super) fn read(text: &str) -> Self {
        if ASSUMED.contains(&text) || ASSUMED_OF_CELLS.contains(&text) {
            return Self::Assumed;
        }
        let bare = without_remarks(text);
        let clauses = bare.replace(": ", ", ").replace(" and ", ", ");
        let clauses = clauses
            .split(", ")
            .map(|clause| clause.trim().trim_start_matches("else ").trim_end_matches(" otherwise"))
            .filter(|clause| !matches!(*clause, "otherwise" | "not NUMERIC-eligible"))
            .map(clause)
            .collect::<Option<Vec<_>>>();
        match clauses {
            Some(clauses) if clauses.is_empty() => Self::Assumed,
            Some(clauses) => Self::Digits(clauses),
            None => Self::Proof,
        }
    }

    /// Whether it holds for these values; `None` where one is not known.
    pub(super) fn holds(&self, values: &Values) -> Option<bool> {
        match self {
            Self::Assumed => Some(true),
            Self::Proof => Some(false),
            Self::Digits(clauses) => {
                let mut values = values.clone();
                for clause in clauses {
                    let results: Option<Vec<bool>> =
                        clause.iter().map(|comparison| comparison.holds(&mut values)).collect();
                    if !results?.contains(&true) {
                        return Some(false);
                    }
                }
                Some(true)
            }
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    text.split(" or ").map(|text| comparison(text.trim())).collect()
}

/// `0<s<=9` and the like; nothing else.
fn comparison(text: &str) -> Option<Comparison> {
    let mut rest = Vec::new();
    let start = text.find(['<', '>', '='])?;
    let (first, mut tail) = text.split_at(start);
    while !tail.is_empty() {
        let (operator, length) = match tail.as_bytes() {
            [b'<', b'=', ..] => (Operator::LessOrEqual, 2),
            [b'>', b'=', ..] => (Operator::GreaterOrEqual, 2),
            [b'<', ..] => (Operator::Less, 1),
            [b'>', ..] => (Operator::Greater, 1),
            _ => (Operator::Equal, 1),
        };
        tail = tail.get(length..)?;
        let end = tail.find(['<', '>', '=']).unwrap_or(tail.len());
        let (term, after) = tail.split_at(end);
        rest.push((operator, sum(term)?));
        tail = after;
    }
    Some(Comparison { first: sum(first)?, rest })
}

fn sum(text: &str) -> Option<Sum> {
    let mut terms = Vec::new();
    let mut sign = 1;
    for part in text.split_inclusive(['+', '-']) {
        let (term, next) = match part.strip_suffix('-') {
            Some(term) => (term, -1),
            None => (part.trim_end_matches('+'), 1),
        };
        terms.push((sign, self::term(term.trim())?));
        sign = next;
    }
    Some(terms)
}

fn term(text: &str) -> Option<Term> {
    if let Some(name) = text.strip_prefix("abs(").and_then(|rest| rest.strip_suffix(')')) {
        return Some(Term::Absolute(name.to_owned()));
    }
    if let Ok(number) = text.parse() {
        return Some(Term::Number(number));
    }
    matches!(text, "p" | "s" | "m" | "d" | "n").then(|| Term::Variable(text.to_owned()))
}

impl Comparison {
    fn holds(&self, values: &mut Values) -> Option<bool> {
        // The first mention of a letter that the spelling does not have defines it.
        if let ([(1, Term::Variable(name))], [(Operator::Equal, defined)]) =
            (self.first.as_slice(), self.rest.as_slice())
            && !values.contains_key(name)
        {
            let value = value(defined, values)?;
            values.insert(name.clone(), value);
            return Some(true);
        }
        let mut left = value(&self.first, values)?;
        for (operator, sum) in &self.rest {
            let right = value(sum, values)?;
            let holds = match operator {
                Operator::Less => left < right,
                Operator::LessOrEqual => left <= right,
                Operator::Greater => left > right,
                Operator::GreaterOrEqual => left >= right,
                Operator::Equal => left == right,
            };
            if !holds {
                return Some(false);
            }
            left = right;
        }
        Some(true)
    }
}

fn value(sum: &Sum, values: &Values) -> Option<i64> {
    sum.iter()
        .map(|(sign, term)| {
            let value = match term {
                Term::Number(number) => *number,
                Term::Variable(name) => *values.get(name)?,
                Term::Absolute(name) => values.get(name)?.abs(),
            };
            Some(sign * value)
        })
        .sum()
}

/// Without what stands in brackets, `abs(s)` excepted.
fn without_remarks(text: &str) -> String {
    let mut result = String::new();
    let mut depth = 0_usize;
    for character in text.replace("abs(s)", "abs{s}").chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => result.push(character),
            _ => {}
        }
    }
    result.replace("abs{s}", "abs(s)").replace(" :", ":").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_computed() {
        let cases = [
            ("s<=9 and p-s<=29", (38, 9), true),
            ("s<=9 and p-s<=29", (38, 2), false),
            ("s=0, p<=18", (18, 0), true),
            ("p-s=0 (e.g. numeric(5,5)): s<=9", (5, 5), true),
            ("p-s=0 (e.g. numeric(5,5)): s<=9", (5, 4), false),
            ("not NUMERIC-eligible, s<=38 and p-s<=38 (p<=76)", (38, 2), true),
            ("s>38 or p-s>38", (50, 39), true),
            ("d=p+abs(s): d<=29", (3, -2), true),
            ("d=p+abs(s): d<=29", (28, -2), false),
            ("0<s<=9 and p-s<=29", (10, 0), false),
            ("s>38 (scale may reach 127)", (10, 39), true),
            ("otherwise (always fits, p<=38)", (38, 38), true),
        ];
        for (text, (p, s), expected) in cases {
            let condition = Condition::read(text);
            let values = Values::from([("p".to_owned(), p), ("s".to_owned(), s)]);
            assert_eq!(condition.holds(&values), Some(expected), "{text} ({p},{s})");
        }
        assert_eq!(Condition::read("s<=9 and p-s<=29").holds(&Values::new()), None);
        for prose in ["profile fits", "SRID 4326", "user accepts approximation", "strict lossless"] {
            assert_eq!(Condition::read(prose), Condition::Proof, "{prose}");
        }
    }
}
