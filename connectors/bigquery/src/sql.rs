//! SQL text: names, literals and the statements of a commit. No I/O.

use std::fmt::Write as _;

use transload_core::schema::{BigQueryType, Mode, TargetColumn, TargetRef};
use transload_core::{Error, Result};

/// Table that keeps the records of committed loads, in the dataset of the target.
pub(crate) const LOADS_TABLE: &str = "_transload_loads";
/// Column of a merge's staging table that holds the order in which rows were written.
pub(crate) const ORDER_COLUMN: &str = "written";

/// Quotes one part of a name. Every name in every statement goes through here.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", escape(name))
}

/// A string literal. Every value in every statement goes through here.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", escape(text))
}

/// Quoted names and string literals share one set of escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '`' | '"' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Line ends would end a literal; the others could be changed on their way.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The quoted path of a table.
pub(crate) fn path(project: &str, dataset: &str, table: &str) -> String {
    format!("{}.{}.{}", quote(project), quote(dataset), quote(table))
}

/// Refuses dataset names that BigQuery would refuse, before they become part of a request's path.
pub(crate) fn check_dataset(name: &str) -> Result<()> {
    let fine =
        (1..=1024).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fine {
        return Ok(());
    }
    Err(Error::config("this cannot be the name of a BigQuery dataset")
        .with("dataset", name)
        .hint("datasets have letters, digits and underscores; the project is an option of the connection"))
}

/// Refuses table names that BigQuery would refuse, and those that the connector keeps for itself.
pub(crate) fn check_target(target: &TargetRef) -> Result<()> {
    check_dataset(&target.dataset)?;
    let name = &target.table;
    let fine = (1..=1024).contains(&name.len())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    if !fine || name == LOADS_TABLE {
        return Err(Error::config("this cannot be the name of a BigQuery table that rows are loaded into")
            .with("target", target)
            .hint("tables have letters, digits, underscores, dashes and spaces"));
    }
    Ok(())
}

/// Name of the staging column of the target's column at `index`.
///
/// Staging columns have neutral names, so that no name of the target must survive Parquet.
pub(crate) fn stage_name(index: usize) -> String {
    format!("c{index}")
}

/// The type that a column has in the staging table: Parquet cannot carry JSON and GEOGRAPHY.
pub(crate) fn stage_type(data_type: &BigQueryType) -> BigQueryType {
    match data_type {
        BigQueryType::Json | BigQueryType::Geography => BigQueryType::String,
        other => other.clone(),
    }
}

/// The expression that turns the staged column into the target's.
pub(crate) fn converted(column: &TargetColumn, staged: &str) -> String {
    let convert = |value: &str| match column.data_type {
        BigQueryType::Json => Some(format!("PARSE_JSON({value}, wide_number_mode=>'exact')")),
        BigQueryType::Geography => Some(format!("ST_GEOGFROMTEXT({value})")),
        _ => None,
    };
    if column.mode != Mode::Repeated {
        return convert(staged).unwrap_or_else(|| staged.to_owned());
    }
    match convert("x") {
        Some(value) => {
            format!("ARRAY(SELECT {value} FROM UNNEST({staged}) AS x WITH OFFSET AS o ORDER BY o)")
        }
        None => staged.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};

    fn column(name: &str, data_type: BigQueryType, mode: Mode) -> TargetColumn {
        TargetColumn { name: name.to_owned(), data_type, mode, description: None }
    }

    /// Reads an escaped text back by BigQuery's lexical rules, written apart from `escape`.
    fn unescape(quoted: &str, mark: char) -> String {
        let inner = quoted.strip_prefix(mark).unwrap().strip_suffix(mark).unwrap();
        let mut text = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            assert!(c != mark && c != '\n' && c != '\r', "{quoted:?} ends early");
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().unwrap() {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                c @ ('\\' | '\'' | '`' | '"') => text.push(c),
                other => panic!("\\{other} is no escape that the encoder uses"),
            }
        }
        text
    }

    #[test]
    fn hostile_texts_survive_quoting() {
        let alphabet: Vec<char> =
            "ab'\"`\\\n\r\t\0;-/*%@?{}$é漢😀\u{2028}\u{feff}\u{7f}u0027".chars().collect();
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let length = random.random_range(0..12);
            let text: String =
                (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
            assert_eq!(unescape(&literal(&text), '\''), text);
            assert_eq!(unescape(&quote(&text), '`'), text);
        }
    }

    #[test]
    fn json_and_geography_are_converted() {
        let json = column("j", BigQueryType::Json, Mode::Nullable);
        assert_eq!(converted(&json, "s.c0"), "PARSE_JSON(s.c0, wide_number_mode=>'exact')");
        let list = column("j", BigQueryType::Geography, Mode::Repeated);
        assert!(converted(&list, "s.c1").starts_with("ARRAY(SELECT ST_GEOGFROMTEXT(x) FROM UNNEST(s.c1)"));
        let plain = column("t", BigQueryType::String, Mode::Repeated);
        assert_eq!(converted(&plain, "s.c2"), "s.c2");
    }

    #[test]
    fn names_that_would_leave_their_path_are_refused() {
        for name in ["", "a.b", "a/b", "..", "a`b", "a-b", "ü"] {
            assert!(check_dataset(name).is_err(), "{name}");
        }
        for name in ["", "a/b", "../x", "a.b", "a$20260101", "a`b", LOADS_TABLE, "a?b", "a\nb"] {
            assert!(check_target(&TargetRef::new("d", name)).is_err(), "{name}");
        }
        for name in ["orders", "Größe 2026-x", "_x"] {
            check_target(&TargetRef::new("d", name)).unwrap();
        }
    }
}
