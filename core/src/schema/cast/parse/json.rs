//! Whether a text is a JSON document that BigQuery keeps as it is.

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
/// most 17 significant digits that a double gives back, no lone surrogate. Anything else would be
/// refused or changed.
pub(in crate::schema) fn json(text: &[u8]) -> Result<(), Misfit> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    IgnoredAny::deserialize(&mut reader).and_then(|_| reader.end()).map_err(|_| Misfit::Form("JSON"))?;
    let mut depth = 0_usize;
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'"' => skip_string(after)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Misfit::Form("JSON of at most 500 levels"));
                }
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
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
            &deep(501),
        ] {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
