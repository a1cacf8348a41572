//! How a type is spelled: a name and arguments.

use crate::schema::bigquery::top_level_parts;

/// `timestamp(6) with time zone` is the name `timestamp with time zone` with the argument `6`;
/// `map<text,int>` is `map` with two; `int[]` is `[]` with the argument `int`. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spelling {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// Of a row only: what must be true of the arguments, as in `numeric(p,s) with s<0`.
    pub(super) with: Option<String>,
}

/// Letters that stand for any argument in the spelling of a row.
const VARIABLES: [&str; 12] = ["p", "s", "m", "d", "n", "b", "f", "fsp", "fmt", "t", "k", "v"];

/// Ends of the spelling of a row that say nothing of how a type is written.
const REMARKS: [&str; 3] = [" and aliases", " and subtypes", " on INT32/INT64/FLBA/BYTE_ARRAY"];

impl Spelling {
    /// Reads what a catalog or a person wrote.
    pub(super) fn of_text(text: &str) -> Self {
        Self::read(text, false)
    }

    /// Reads the spelling of a row, where a bracket after a blank is a remark.
    pub(super) fn of_row(text: &str) -> Self {
        let (text, with) = match text.split_once(" with ") {
            Some((text, with)) if with.contains(['<', '>']) => (text, Some(with.to_owned())),
            _ => (text, None),
        };
        let text = REMARKS.iter().fold(text, |text, remark| text.trim_end_matches(remark));
        let mut spelling = Self::read(text, true);
        spelling.with = with;
        if spelling.arguments.iter().any(|argument| argument.starts_with('\'') || argument == "fields") {
            spelling.arguments = vec!["...".to_owned()];
        }
        spelling
    }

    fn read(text: &str, remarks: bool) -> Self {
        let text = text.trim();
        if let Some((item, rest)) = text.rsplit_once('[')
            && (rest == "]" || remarks && rest.starts_with("] ("))
        {
            return Self::one("[]", item);
        }
        if let Some(base) = strip_prefix(text, "domain over ") {
            return Self::one("domain", base);
        }
        let (mut name, mut arguments, mut group) = (String::new(), Vec::new(), String::new());
        let mut depth = 0_usize;
        let mut remark = false;
        for character in text.chars() {
            match character {
                '(' | '<' if depth == 0 => {
                    depth = 1;
                    remark = remarks && name.ends_with(' ');
                }
                ')' | '>' if depth == 1 => {
                    depth = 0;
                    if !remark {
                        arguments.extend(top_level_parts(&group));
                    }
                    group.clear();
                }
                _ if depth == 0 => name.push(character),
                _ => {
                    match character {
                        '(' | '<' => depth += 1,
                        ')' | '>' => depth -= 1,
                        _ => {}
                    }
                    group.push(character);
                }
            }
        }
        let words: Vec<&str> = name.split_whitespace().filter(|word| *word != "zerofill").collect();
        Self { name: words.join(" ").to_lowercase(), arguments, with: None }
    }

    fn one(name: &str, argument: &str) -> Self {
        let argument = argument.trim().to_owned();
        Self { name: name.to_owned(), arguments: vec![argument], with: None }
    }

    /// How well this spelling of a row fits `asked`: the more it says itself, the better.
    pub(super) fn fit(&self, asked: &Self) -> Option<usize> {
        if self.name != asked.name {
            return None;
        }
        if self.arguments.is_empty() {
            return Some(if asked.arguments.is_empty() { 9 } else { 2 });
        }
        if self.arguments.iter().any(|argument| argument == "...") {
            return Some(2);
        }
        if asked.arguments.len() > self.arguments.len() {
            return None;
        }
        // The spelling of a row, asked for as it stands.
        if self.arguments == asked.arguments {
            return Some(20);
        }
        let mut fit = 0;
        for (index, own) in self.arguments.iter().enumerate() {
            fit += match asked.arguments.get(index) {
                Some(given) => fit_argument(index, own, given)?,
                // `NUMBER(10)` is `NUMBER(10,0)`; without any argument, all are open.
                None if asked.arguments.is_empty() && is_variable(index, own) => 0,
                None if !asked.arguments.is_empty() => fit_argument(index, own, "0")?,
                None => return None,
            };
        }
        Some(fit + usize::from(self.with.is_some()) * 5 + 1)
    }
}

fn is_variable(index: usize, argument: &str) -> bool {
    // `Timestamp(s, tz)` means seconds: a scale never comes first.
    let argument = argument.to_lowercase();
    VARIABLES.contains(&argument.as_str()) && (index > 0 || !matches!(argument.as_str(), "s" | "d"))
}

fn fit_argument(index: usize, own: &str, given: &str) -> Option<usize> {
    let number = given.parse::<i64>().ok();
    if own.eq_ignore_ascii_case(given) {
        return Some(5);
    }
    if own == "-s" {
        return number.filter(|number| *number < 0).map(|_| 4);
    }
    if let Some((from, to)) = own.split_once("..") {
        let (from, to) = (from.parse::<i64>().ok()?, to.parse::<i64>().ok()?);
        return number.filter(|number| (from..=to).contains(number)).map(|_| 4);
    }
    (is_variable(index, own) && given != "*").then_some(2)
}

/// Without regard to case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
