//! Names that BigQuery takes as column names, made from any source name in one deterministic way.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};

/// Longest name in characters.
const MAX_CHARS: usize = 300;

/// What an empty name becomes.
const EMPTY: &str = "column";

/// Prefixes that BigQuery keeps for itself, in lower case. It renames `_field_` columns in queries.
/// `__root__`, also reserved, cannot come out, because runs of `_` collapse.
const RESERVED: [&str; 9] = [
    "_table_",
    "_file_",
    "_partition",
    "_row_timestamp",
    "_colidentifier",
    "_change_sequence_number",
    "_change_type",
    "_change_timestamp",
    "_field_",
];

/// The column name that `name` gets at the destination: letters, digits and `_` only, at most 300
/// characters, no leading digit, no reserved prefix.
///
/// Letters and digits of every script are kept (composed to NFC); anything else becomes `_`, runs of `_`
/// collapse, and a name without a letter or digit becomes `column`. A leading digit gets a `_` before it, a
/// reserved prefix a `c`. The result needs no quotes in SQL wherever the source's letters are ASCII. Two
/// names may become one: see [`target_names`].
///
/// ```
/// use transload_core::schema::target_name;
///
/// assert_eq!(target_name("Order ID"), "Order_ID");
/// assert_eq!(target_name("2nd"), "_2nd");
/// assert_eq!(target_name("_PARTITIONTIME"), "c_PARTITIONTIME");
/// ```
#[must_use]
pub fn target_name(name: &str) -> String {
    let composed = icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(name);
    let mut result = String::with_capacity(composed.len());
    for character in composed.chars() {
        let kept = character.is_alphanumeric() || is_mark(character);
        if kept {
            result.push(character);
        } else if !result.ends_with('_') {
            result.push('_');
        }
    }
    if !result.chars().any(char::is_alphanumeric) {
        return EMPTY.to_owned();
    }
    if result.starts_with(|first: char| first.is_numeric()) {
        result.insert(0, '_');
    }
    let lower = result.to_lowercase();
    if RESERVED.iter().any(|prefix| lower.starts_with(prefix)) {
        result.insert(0, 'c');
    }
    cut(&mut result, MAX_CHARS);
    result
}

/// [`target_name`] of every name, in order, with `_2`, `_3` and so on behind names that are taken.
/// BigQuery compares names without regard to case, so `ID` and `id` become `ID` and `id_2`.
///
/// The order decides who keeps the plain name; pass the columns in the order of the source.
pub fn target_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let plain: Vec<String> = names.into_iter().map(target_name).collect();
    numbered(plain, HashSet::new())
}

/// The same where some columns have been given a name (`Some`), which is checked and kept as it is.
///
/// # Errors
/// `type_mapping` for a given name that BigQuery does not take or that is given twice.
pub(super) fn target_names_beside<'a>(
    names: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<String>> {
    let names: Vec<(&str, Option<&str>)> = names.into_iter().collect();
    let mut given = HashSet::new();
    for name in names.iter().filter_map(|(_, given)| *given) {
        check_target_name(name)?;
        if !given.insert(name.to_lowercase()) {
            let text = format!("two columns are given the name `{name}`");
            return Err(Error::new(ErrorKind::TypeMapping, text)
                .hint("BigQuery compares names without regard to case; give one of them another name"));
        }
    }
    let plain = names.iter().filter(|(_, given)| given.is_none()).map(|(own, _)| target_name(own)).collect();
    let mut automatic = numbered(plain, given).into_iter();
    let name = |(_, given): (&str, Option<&str>)| match given {
        Some(given) => given.to_owned(),
        None => automatic.next().unwrap_or_default(),
    };
    Ok(names.into_iter().map(name).collect())
}

/// Numbers behind names that are taken, in order.
fn numbered(plain: Vec<String>, mut taken: HashSet<String>) -> Vec<String> {
    // A suffixed name must not take the plain name of a later column.
    let reserved: HashSet<String> = plain.iter().map(|name| name.to_lowercase()).collect();
    plain
        .into_iter()
        .map(|name| {
            if taken.insert(name.to_lowercase()) {
                return name;
            }
            let mut number = 2_usize;
            loop {
                let suffix = format!("_{number}");
                let mut candidate = name.clone();
                cut(&mut candidate, MAX_CHARS - suffix.len());
                candidate.push_str(&suffix);
                let lower = candidate.to_lowercase();
                if !reserved.contains(&lower) && taken.insert(lower) {
                    return candidate;
                }
                number += 1;
            }
        })
        .collect()
}

/// Whether a person may give a column this name: letters, digits, marks and `_`, no leading digit, no
/// reserved prefix, at most 300 characters.
///
/// # Errors
/// `type_mapping`, with the nearest possible name.
pub fn check_target_name(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.chars().count() > MAX_CHARS {
        "it has more than 300 characters"
    } else if !name.chars().all(|c| c == '_' || c.is_alphanumeric() || is_mark(c)) {
        "only letters, digits and `_` are possible"
    } else if name.starts_with(char::is_numeric) {
        "it begins with a digit"
    } else if is_reserved_name(name) {
        "BigQuery keeps this beginning for itself"
    } else {
        return Ok(());
    };
    let text = format!("`{name}` cannot be the name of a column: {reason}");
    Err(Error::new(ErrorKind::TypeMapping, text).hint(format!("possible is `{}`", target_name(name))))
}

/// Whether BigQuery keeps names of columns that begin like this one for itself, in any case.
#[must_use]
pub fn is_reserved_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    lower.starts_with("__root__") || RESERVED.iter().any(|prefix| lower.starts_with(prefix))
}

/// Combining marks that NFC leaves, for example Indic vowel signs: part of the letter before them.
fn is_mark(character: char) -> bool {
    matches!(u32::from(character), 0x0300..=0x036F | 0x0483..=0x0487 | 0x0591..=0x05BD | 0x064B..=0x065F
        | 0x0900..=0x0903 | 0x093A..=0x094F | 0x0981..=0x0983 | 0x09BC..=0x09CD | 0x0E31..=0x0E3A
        | 0x0E47..=0x0E4E | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20F0 | 0x3099..=0x309A)
}

fn cut(name: &mut String, characters: usize) {
    if let Some((end, _)) = name.char_indices().nth(characters) {
        name.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_names() {
        let long = "x".repeat(301);
        let cases = [
            ("id", "id"),
            ("Order ID", "Order_ID"),
            ("order.id", "order_id"),
            ("order - / id", "order_id"),
            ("2nd", "_2nd"),
            ("_PARTITIONTIME", "c_PARTITIONTIME"),
            ("_table_x", "c_table_x"),
            ("__ROOT__a", "_ROOT_a"),
            ("_Change_Type", "c_Change_Type"),
            ("_field_1", "c_field_1"),
            ("_private", "_private"),
            ("a__b", "a_b"),
            ("name\n", "name_"),
            ("\u{e9}", "\u{e9}"),
            ("e\u{301}", "\u{e9}"),
            ("Stra\u{df}e", "Stra\u{df}e"),
            ("\u{928}\u{93f}", "\u{928}\u{93f}"),
            ("", "column"),
            ("!!!", "column"),
            ("  ", "column"),
            ("_", "column"),
            ("select", "select"),
            ("%", "column"),
            ("price (EUR)", "price_EUR_"),
        ];
        for (name, expected) in cases {
            assert_eq!(target_name(name), expected, "{name:?}");
        }
        assert_eq!(target_name(&long), "x".repeat(300));
        assert_eq!(target_name(&"\u{e9}".repeat(400)).chars().count(), 300);
    }

    #[test]
    fn names_are_stable_under_a_second_pass() {
        for name in ["Order ID", "2nd", "_PARTITIONTIME", "e\u{301}", "", "__ROOT__", "a..b"] {
            let once = target_name(name);
            assert_eq!(target_name(&once), once, "{name:?}");
        }
    }

    #[test]
    fn given_names_are_checked_and_kept() {
        let names =
            |names: &[(&'static str, Option<&'static str>)]| target_names_beside(names.iter().copied());
        assert_eq!(
            names(&[("a", Some("b")), ("b", None), ("c", Some("x__y"))]).unwrap(),
            ["b", "b_2", "x__y"]
        );
        assert_eq!(names(&[("ID", None), ("x", Some("id"))]).unwrap(), ["ID_2", "id"]);
        assert!(
            names(&[("a", Some("id")), ("b", Some("ID"))]).unwrap_err().to_string().contains("two columns")
        );
        for (name, possible) in [
            ("Order ID", "Order_ID"),
            ("2nd", "_2nd"),
            ("_PARTITIONTIME", "c_PARTITIONTIME"),
            ("__ROOT__x", "_ROOT_x"),
            ("", "column"),
            ("a.b", "a_b"),
        ] {
            let error = check_target_name(name).unwrap_err().to_string();
            assert!(error.contains(&format!("possible is `{possible}`")), "{error}");
        }
        assert!(check_target_name(&"x".repeat(301)).is_err());
        check_target_name(&"x".repeat(300)).unwrap();
    }

    #[test]
    fn collisions_get_numbers_in_order() {
        assert_eq!(target_names(["ID", "id", "Id"]), ["ID", "id_2", "Id_3"]);
        assert_eq!(target_names(["a b", "a.b", "a_b_2"]), ["a_b", "a_b_3", "a_b_2"]);
        assert_eq!(target_names(["", "!", "column"]), ["column", "column_2", "column_3"]);
        let long = "x".repeat(301);
        let names = target_names([long.as_str(), long.as_str()]);
        assert_eq!(names[0].chars().count(), 300);
        assert_eq!(names[1].chars().count(), 300);
        assert!(names[1].ends_with("x_2"));
    }
}
