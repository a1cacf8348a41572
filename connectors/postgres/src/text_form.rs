//! Values in the server's text format, which every server has for every type: Redshift's rows come in it.
//!
//! A session in UTC with `datestyle = ISO` prints them; see `Dialect::settings`.

use std::str::FromStr;

use crate::numeric::Unscaled;

type Decoded<T> = Result<T, &'static str>;

const NO_NUMBER: &str = "a number that cannot be read";
const NO_TIME: &str = "a date or time that cannot be read";
const RANGE: &str = "a date or time out of range";

/// `t` or `f`.
#[inline]
pub(crate) fn boolean(field: &[u8]) -> Decoded<bool> {
    match field {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err("a boolean that is neither t nor f"),
    }
}

/// An integer or a float; `NaN` and `Infinity` are floats.
#[inline]
pub(crate) fn number<T: FromStr>(field: &[u8]) -> Decoded<T> {
    std::str::from_utf8(field).ok().and_then(|text| text.parse().ok()).ok_or(NO_NUMBER)
}

/// A single, sent as the double that it is equal to: eight digits, which Redshift prints of a single, are too few.
#[inline]
pub(crate) fn single(field: &[u8]) -> Decoded<f32> {
    let double: f64 = number(field)?;
    #[expect(clippy::cast_possible_truncation, reason = "the double was a single")]
    let single = double as f32;
    if f64::from(single) == double || double.is_nan() { Ok(single) } else { Err(NO_NUMBER) }
}

/// The value times 10^scale. Exact: a digit below the scale is an error, not a rounding.
pub(crate) fn decimal<T: Unscaled>(field: &[u8], scale: i32) -> Decoded<T> {
    let (negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (mut value, mut missing, mut after_point, mut any) = (T::ZERO, scale, false, false);
    for byte in digits {
        match byte {
            b'.' if !after_point => after_point = true,
            b'0' if after_point && missing == 0 => {}
            b'0'..=b'9' if after_point && missing == 0 => {
                return Err("a numeric value with more digits after the point than its type declares");
            }
            b'0'..=b'9' => {
                missing -= i32::from(after_point);
                any = true;
                value = value.times_plus(10, u16::from(byte - b'0')).ok_or(TOO_LARGE)?;
            }
            _ if field == b"NaN" => return Err("NaN, which no decimal can hold"),
            _ => return Err(NO_NUMBER),
        }
    }
    if !any {
        return Err(NO_NUMBER);
    }
    for _ in 0..missing {
        value = value.times_plus(10, 0).ok_or(TOO_LARGE)?;
    }
    Ok(if negative { value.minus() } else { value })
}

const TOO_LARGE: &str = "a numeric value beyond its declared precision";

/// Hexadecimal digits, as Redshift prints VARBYTE, or with `\x` ahead of them, as PostgreSQL prints bytea.
pub(crate) fn bytes(field: &[u8], to: &mut Vec<u8>) -> Decoded<()> {
    let digits = field.strip_prefix(b"\\x").unwrap_or(field);
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("bytes that are half a byte too short");
    }
    for [high, low] in pairs {
        match (nibble(*high), nibble(*low)) {
            (Some(high), Some(low)) => to.push(high << 4 | low),
            _ => return Err("bytes that are not hexadecimal"),
        }
    }
    Ok(())
}

/// Days since 1970-01-01.
pub(crate) fn date(field: &[u8]) -> Decoded<i32> {
    let (field, before_christ) = era(field);
    let (days, rest) = days(field, before_christ)?;
    if rest.is_empty() { i32::try_from(days).map_err(|_| RANGE) } else { Err(NO_TIME) }
}

/// Microseconds since midnight; 24:00:00 is a day.
pub(crate) fn time(field: &[u8]) -> Decoded<i64> {
    match clock(field)? {
        (micros, []) => Ok(micros),
        _ => Err(NO_TIME),
    }
}

/// Microseconds since 1970-01-01.
pub(crate) fn timestamp(field: &[u8]) -> Decoded<i64> {
    match parts(field)? {
        (micros, []) => Ok(micros),
        _ => Err(NO_TIME),
    }
}

/// The same with the offset of UTC behind it.
pub(crate) fn timestamp_utc(field: &[u8]) -> Decoded<i64> {
    match parts(field)? {
        (micros, b"+00") => Ok(micros),
        _ => Err("a time that is not in UTC, though the session is"),
    }
}

fn parts(field: &[u8]) -> Decoded<(i64, &[u8])> {
    let (field, before_christ) = era(field);
    let (days, rest) = days(field, before_christ)?;
    let (micros, rest) = clock(rest.strip_prefix(b" ").ok_or(NO_TIME)?)?;
    let whole = days.checked_mul(86_400_000_000).and_then(|start| start.checked_add(micros));
    Ok((whole.ok_or(RANGE)?, rest))
}

fn era(field: &[u8]) -> (&[u8], bool) {
    match field.strip_suffix(b" BC") {
        Some(rest) => (rest, true),
        None => (field, false),
    }
}

/// Digits, and what stands behind them.
fn digits(field: &[u8]) -> Decoded<(i64, &[u8])> {
    let length = field.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = field.split_at(length);
    Ok((number(digits).map_err(|_| NO_TIME)?, rest))
}

/// The same after a separator.
fn after(separator: u8, field: &[u8]) -> Decoded<(i64, &[u8])> {
    match field {
        [first, rest @ ..] if *first == separator => digits(rest),
        _ => Err(NO_TIME),
    }
}

/// `YYYY-MM-DD` as days since 1970-01-01 of the proleptic Gregorian calendar, and what stands behind it.
///
/// The algorithm counts in eras of 400 years that begin on 1 March: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`.
fn days(field: &[u8], before_christ: bool) -> Decoded<(i64, &[u8])> {
    if matches!(field, b"infinity" | b"-infinity") {
        return Err("infinity, which no Arrow date or timestamp can hold");
    }
    let (year, rest) = digits(field)?;
    let (month, rest) = after(b'-', rest)?;
    let (day, rest) = after(b'-', rest)?;
    if !(1..=10_000_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(RANGE);
    }
    let year = if before_christ { 1 - year } else { year } - i64::from(month <= 2);
    let of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Ok((year.div_euclid(400) * 146_097 + in_era - 719_468, rest))
}

/// `HH:MM:SS` with up to six digits of a second, in microseconds, and what stands behind it.
fn clock(field: &[u8]) -> Decoded<(i64, &[u8])> {
    let (hour, rest) = digits(field)?;
    let (minute, rest) = after(b':', rest)?;
    let (second, rest) = after(b':', rest)?;
    if hour > 24 || minute > 59 || second > 60 {
        return Err(RANGE);
    }
    let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000;
    let Some(fraction) = rest.strip_prefix(b".") else { return Ok((micros, rest)) };
    let (part, rest) = digits(fraction)?;
    let missing = 6_usize.checked_sub(fraction.len() - rest.len()).ok_or("more than microseconds")?;
    Ok((micros + part * (0..missing).fold(1, |power, _| power * 10), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, scale, value) in [
            ("0", 0, Some(0)),
            ("0.00", 2, Some(0)),
            ("-12.5", 2, Some(-1250)),
            (".5", 1, Some(5)),
            ("0.50", 1, Some(5)),
            ("12", 3, Some(12_000)),
            (
                "99999999999999999999999999999999999999",
                0,
                Some(99_999_999_999_999_999_999_999_999_999_999_999_999),
            ),
            ("0.51", 1, None),
            ("", 0, None),
            ("-", 0, None),
            (".", 0, None),
            (".", 2, None),
            ("1.2.3", 2, None),
            ("1e5", 2, None),
            ("NaN", 2, None),
            ("999999999999999999999999999999999999999", 0, None),
        ] {
            assert_eq!(decimal::<i128>(text.as_bytes(), scale).ok(), value, "{text} at {scale}");
        }
        let wide = "1".repeat(60);
        assert_eq!(decimal::<arrow_buffer::i256>(wide.as_bytes(), 0).unwrap().to_string(), wide);
    }

    #[test]
    fn days_and_times_of_every_era() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2024-02-29", 19_782),
            ("2000-02-29", 11_016),
            ("0001-01-01", -719_162),
            ("0001-12-31 BC", -719_163),
            ("10000-01-01", 2_932_897),
        ] {
            assert_eq!(date(text.as_bytes()), Ok(days), "{text}");
        }
        assert_eq!(timestamp(b"1970-01-02 00:00:00.5"), Ok(86_400_500_000));
        assert_eq!(timestamp(b"1969-12-31 23:59:59.999999"), Ok(-1));
        assert_eq!(timestamp_utc(b"0001-12-31 00:00:00+00 BC"), Ok(-719_163 * 86_400_000_000));
        assert_eq!(time(b"24:00:00"), Ok(86_400_000_000));
        assert_eq!(time(b"23:59:59.000001"), Ok(86_399_000_001));
        for broken in ["", "2024", "2024-01-01x", "2024-13-01", "infinity", "-infinity", "0000-01-01"] {
            assert!(date(broken.as_bytes()).is_err(), "{broken}");
        }
        for broken in ["2024-01-01", "2024-01-01 00:00:00+02", "2024-01-01 00:00:00", "2024-01-01 1:2"] {
            assert!(timestamp_utc(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn other_values() {
        assert_eq!((boolean(b"t"), boolean(b"f"), boolean(b"true").is_err()), (Ok(true), Ok(false), true));
        assert_eq!(number::<i16>(b"-32768"), Ok(i16::MIN));
        assert!(number::<i16>(b"32768").is_err() && number::<i64>(b"").is_err());
        assert_eq!(number::<f64>(b"-Infinity"), Ok(f64::NEG_INFINITY));
        // What PostgreSQL with 17 digits prints of 0.1::float4::float8.
        assert_eq!(single(b"0.10000000149011612"), Ok(0.1));
        assert!(single(b"0.1").is_err() && single(b"NaN").unwrap().is_nan());
        for text in ["\\x00ff7A", "00FF7a"] {
            let mut found = Vec::new();
            bytes(text.as_bytes(), &mut found).unwrap();
            assert_eq!(found, [0, 255, 0x7a]);
        }
        for broken in ["0", "0g", "\\x1"] {
            assert!(bytes(broken.as_bytes(), &mut Vec::new()).is_err(), "{broken}");
        }
    }
}
