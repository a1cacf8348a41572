//! Whether a text is a JSON document that BigQuery keeps as it is.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Misfit;

/// Deepest nesting that BigQuery takes.
const MAX_DEPTH: usize = 500;

/// Digits that a double keeps; BigQuery stores numbers beyond 64-bit integers as doubles.
const DOUBLE_DIGITS: usize = 17;

/// Bytes of a plain number that has at most the 15 digits that every double gives back, or is a short integer.
const SAFE_LENGTH: usize = 16;

/// Checks a text: strict JSON, at most 500 levels, integers from -2^63 to 2^64-1, other numbers with at
/// most 17 significant digits that a double gives back, no lone surrogate, no key twice in an object. Anything
/// else would be refused or changed.
pub(in crate::schema) fn json(text: &[u8]) -> Result<(), Misfit> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    IgnoredAny::deserialize(&mut reader).and_then(|_| reader.end()).map_err(|_| Misfit::Form("JSON"))?;
    let mut depth = 0_usize;
    let mut keys = Keys::default();
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'"' => {
                let behind = skip_string(after)?;
                // What a colon follows is a key, since the syntax is right.
                if behind.trim_ascii_start().first() == Some(&b':') {
                    keys.add(rest.get(..rest.len() - behind.len()).unwrap_or_default());
                }
                behind
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Misfit::Form("JSON of at most 500 levels"));
                }
                if *byte == b'{' {
                    keys.open();
                }
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if *byte == b'}' {
                    keys.close()?;
                }
                after
            }
            b'-' | b'0'..=b'9' => {
                let length = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .count();
                let (number, after) = rest.split_at(length);
                check_number(number)?;
                after
            }
            _ => after,
        };
    }
    Ok(())
}

/// Keys of an object that are compared with each other rather than sorted.
const FEW_KEYS: usize = 8;

/// The keys of the objects that are open.
#[derive(Default)]
struct Keys<'a> {
    keys: Vec<Cow<'a, [u8]>>,
    /// Where those of each object begin.
    objects: Vec<usize>,
}

impl<'a> Keys<'a> {
    fn open(&mut self) {
        self.objects.push(self.keys.len());
    }

    /// Adds a key with its quotes. Two spellings of one key are the same key.
    fn add(&mut self, quoted: &'a [u8]) {
        let plain =
            if quoted.contains(&b'\\') { serde_json::from_slice::<String>(quoted).ok() } else { None };
        self.keys.push(match plain {
            Some(plain) => Cow::Owned(format!("\"{plain}\"").into_bytes()),
            None => Cow::Borrowed(quoted),
        });
    }

    fn close(&mut self) -> Result<(), Misfit> {
        let first = self.objects.pop().unwrap_or_default();
        let keys = self.keys.get_mut(first..).unwrap_or_default();
        let twice = if keys.len() <= FEW_KEYS {
            (1..keys.len()).any(|i| keys.iter().take(i).any(|key| Some(key) == keys.get(i)))
        } else {
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair.first() == pair.last())
        };
        self.keys.truncate(first);
        if twice { Err(Misfit::DuplicateKey) } else { Ok(()) }
    }
}

/// What follows the closing quote of a valid JSON string.
fn skip_string(mut text: &[u8]) -> Result<&[u8], Misfit> {
    let lone = Misfit::Form("JSON without lone surrogates");
    loop {
        match text {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'u', rest @ ..] => {
                let (first, rest) = rest.split_at_checked(4).ok_or(lone)?;
                text = rest;
                if is_surrogate(first, b"cdef") {
                    return Err(lone);
                }
                if is_surrogate(first, b"89ab") {
                    match rest {
                        [b'\\', b'u', a, b, c, d, after @ ..] if is_surrogate(&[*a, *b, *c, *d], b"cdef") => {
                            text = after;
                        }
                        _ => return Err(lone),
                    }
                }
            }
            [b'\\', _, after @ ..] | [_, after @ ..] => text = after,
            // Cannot be: the syntax was checked before.
            [] => return Err(Misfit::Form("JSON")),
        }
    }
}

fn is_surrogate(hex: &[u8], second: &[u8]) -> bool {
    matches!(hex, [b'd' | b'D', digit, ..] if second.contains(&digit.to_ascii_lowercase()))
}

fn check_number(text: &[u8]) -> Result<(), Misfit> {
    if text.len() <= SAFE_LENGTH && !text.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return Ok(());
    }
    let number = super::scan_number(text).ok_or(Misfit::Form("JSON"))?;
    if !number.point && !number.scientific {
        let text = std::str::from_utf8(text).unwrap_or_default();
        if text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
            return Err(Misfit::Form("JSON with integers of at most 64 bits"));
        }
        return Ok(());
    }
    // Zeros at either end are no digits that a double would lose; jsonb keeps those of `numeric`.
    let digits = || number.integer.iter().chain(number.fraction);
    let zeros_ahead = digits().take_while(|&&byte| byte == b'0').count();
    let zeros_behind = digits().rev().take_while(|&&byte| byte == b'0').count();
    if digits().count().saturating_sub(zeros_ahead + zeros_behind) > DOUBLE_DIGITS {
        return Err(Misfit::Form("JSON with decimals of at most 17 digits"));
    }
    match super::float(text) {
        Ok(_) => Ok(()),
        Err(Misfit::Precision) => Err(Misfit::Form("JSON with decimals that a double keeps")),
        Err(_) => Err(Misfit::Form("JSON with numbers in the range of a double")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for text in [
            "{}",
            "[]",
            "null",
            "123",
            "\"x\"",
            " {\"a\": [1, -2.5e3, true]} ",
            "18446744073709551615",
            "-9223372036854775808",
            "[33.90000000000000000, 0.00000000000000000001, 1000000000000000000000.0, 0.00000000000000000000]",
            r#"{"a":"\ud83d\ude00 18446744073709551616 \" }}"}"#,
            &deep(500),
        ] {
            assert_eq!(json(text.as_bytes()), Ok(()), "{text}");
        }
        for text in [
            "",
            "{",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":NaN}",
            "[1] 2",
            "/* c */ {}",
            "{\"a\":18446744073709551616}",
            "[-9223372036854775809]",
            "[0.12345678901234567890]",
            "[1e400]",
            r#"["\ud83d"]"#,
            r#"["\ude00"]"#,
            "[9007199254740993.0]",
            "[0.12345678901234567]",
            &deep(501),
        ] {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn no_key_is_there_twice() {
        let many = |last: &str| {
            let members: Vec<String> = (0..40).map(|n| format!("\"k{n}\": {{\"k\": {n}}}")).collect();
            format!("{{{}, \"{last}\": [1]}}", members.join(", "))
        };
        for text in [
            r#"{"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": "a"}], "A": "b:"}"#,
            r#"[{"a": "b", "b": "a"}, {"a": 1}]"#,
            r#"{"a\"": 1, "a": 2, "": 3}"#,
            &many("k40"),
        ] {
            assert_eq!(json(text.as_bytes()), Ok(()), "{text}");
        }
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"b": {"x": 1, "y": 2, "x" : 3}}]"#,
            r#"{"a": {"c": 0}, "\u0061": 2}"#,
            r#"{"\u00e9": 1, "é": 2}"#,
            &many("k7"),
        ] {
            assert_eq!(json(text.as_bytes()), Err(Misfit::DuplicateKey), "{text}");
        }
    }
}
