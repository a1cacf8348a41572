//! Numbers and booleans in text.

use arrow_buffer::i256;

use super::Misfit;

const INTEGER: Misfit = Misfit::Form("an integer");
const DECIMAL: Misfit = Misfit::Form("a decimal number");
const FLOAT: Misfit = Misfit::Form("a number");

/// Digits that a `u64` holds whatever they are.
const SAFE_DIGITS: usize = 18;

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    }
}

fn digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value <= 9).then_some(u64::from(value))
}

/// An optional sign and digits.
pub(in crate::schema) fn integer(text: &[u8]) -> Result<i64, Misfit> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return Err(INTEGER);
    }
    if digits.len() > SAFE_DIGITS {
        return long_integer(text, digits);
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(INTEGER);
        }
        value = value * 10 + i64::from(digit);
    }
    Ok(if negative { -value } else { value })
}

#[cold]
fn long_integer(text: &[u8], digits: &[u8]) -> Result<i64, Misfit> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(INTEGER);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Misfit::Range)
}

/// Powers of ten that a `u64` holds, by exponent.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Whether the unscaled `value` has at most `precision` digits.
pub(in crate::schema) fn fits128(value: i128, precision: u8) -> bool {
    10_u128.checked_pow(u32::from(precision)).is_none_or(|limit| value.unsigned_abs() < limit)
}

/// A decimal as its unscaled value: sign, digits with an optional point, optional exponent.
pub(in crate::schema) fn decimal128(text: &[u8], precision: u8, scale: u8) -> Result<i128, Misfit> {
    match short_value(text, precision, scale) {
        Some(value) => value,
        None => long_decimal(text, precision, scale)?.parse().map_err(|_| Misfit::Range),
    }
}

/// How numbers separate thousands, and their decimal point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schema) struct Separators {
    group: Option<char>,
    point: char,
}

impl Separators {
    /// Reads a format such as `,.` or, without a separator of thousands, `,`.
    pub(in crate::schema) fn new(format: &str) -> Option<Self> {
        let mut characters = format.chars();
        let (group, point) = match (characters.next(), characters.next(), characters.next()) {
            (Some(point), None, None) => (None, point),
            (Some(group), Some(point), None) if group != point => (Some(group), point),
            _ => return None,
        };
        let separates = |c| matches!(c, ',' | '.' | '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{202f}' | '_');
        (matches!(point, ',' | '.') && group.is_none_or(separates)).then_some(Self { group, point })
    }

    /// The number with a point and without groups; `None` where the groups are not of three digits, as in
    /// `1,23`, or begin with a zero.
    pub(in crate::schema) fn plain(self, text: &str) -> Option<String> {
        let (sign, unsigned) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.get(..1)?, rest),
            None => ("", text),
        };
        let (whole, fraction) = match unsigned.split_once(self.point) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut groups = whole.split(|c| Some(c) == self.group);
        let first = groups.next()?;
        let mut plain = format!("{sign}{first}");
        let mut grouped = false;
        for group in groups {
            if group.len() != 3 || !digits(group) {
                return None;
            }
            grouped = true;
            plain.push_str(group);
        }
        if !digits(first) || grouped && (first.len() > 3 || first.starts_with('0')) {
            return None;
        }
        if let Some(fraction) = fraction {
            if !digits(fraction) {
                return None;
            }
            plain.push('.');
            plain.push_str(fraction);
        }
        Some(plain)
    }
}

/// [`decimal128`] for wide types.
pub(in crate::schema) fn decimal256(text: &[u8], precision: u8, scale: u8) -> Result<i256, Misfit> {
    match short_value(text, precision, scale) {
        Some(value) => value.map(i256::from_i128),
        None => i256::from_string(&long_decimal(text, precision, scale)?).ok_or(Misfit::Range),
    }
}

#[inline]
fn short_value(text: &[u8], precision: u8, scale: u8) -> Option<Result<i128, Misfit>> {
    let value = match short_decimal(text, scale)? {
        Ok((negative, mantissa, power)) => {
            // Below 10^18 * 10^19, which an i128 holds.
            let value = i128::from(mantissa) * i128::from(power);
            if negative { -value } else { value }
        }
        Err(misfit) => return Some(Err(misfit)),
    };
    // 37 digits at most, so the check is needed only for narrower types.
    Some(if precision < 37 && !fits128(value, precision) { Err(Misfit::Range) } else { Ok(value) })
}

/// Sign, mantissa and factor of a plain decimal with few digits; `None` sends it to the general reader.
#[inline]
fn short_decimal(text: &[u8], scale: u8) -> Option<Result<(bool, u64, u64), Misfit>> {
    let (negative, digits) = split_sign(text);
    if digits.len() > SAFE_DIGITS {
        return None;
    }
    let mut mantissa: u64 = 0;
    let mut point = None;
    for (i, &byte) in digits.iter().enumerate() {
        match digit(byte) {
            Some(digit) => mantissa = mantissa * 10 + digit,
            None if byte == b'.' && point.is_none() => point = Some(i),
            None => return None,
        }
    }
    let fraction = point.map_or(0, |point| digits.len() - point - 1);
    if digits.len() == usize::from(point.is_some()) {
        return Some(Err(DECIMAL));
    }
    let scale_digits = usize::from(scale);
    if fraction <= scale_digits {
        return POWERS.get(scale_digits - fraction).map(|power| Ok((negative, mantissa, *power)));
    }
    // Zeros beyond the scale are no digits of the value.
    let power = POWERS.get(fraction - scale_digits)?;
    Some(if mantissa.is_multiple_of(*power) {
        Ok((negative, mantissa / power, 1))
    } else {
        Err(Misfit::Scale(scale))
    })
}

/// [`decimal128`], digits beyond the scale rounded half away from zero.
pub(in crate::schema) fn rounded_decimal128(text: &[u8], precision: u8, scale: u8) -> Result<i128, Misfit> {
    unscaled(text, precision, scale, true)?.parse().map_err(|_| Misfit::Range)
}

/// [`rounded_decimal128`] for wide types.
pub(in crate::schema) fn rounded_decimal256(text: &[u8], precision: u8, scale: u8) -> Result<i256, Misfit> {
    i256::from_string(&unscaled(text, precision, scale, true)?).ok_or(Misfit::Range)
}

#[cold]
fn long_decimal(text: &[u8], precision: u8, scale: u8) -> Result<String, Misfit> {
    unscaled(text, precision, scale, false)
}

/// The unscaled value as text, any number of digits; those beyond the scale do not fit, or are rounded.
fn unscaled(text: &[u8], precision: u8, scale: u8, round: bool) -> Result<String, Misfit> {
    let number = scan_number(text).ok_or(DECIMAL)?;
    let digits: Vec<u8> = number.integer.iter().chain(number.fraction).copied().collect();
    let leading = digits.iter().take_while(|&&byte| byte == b'0').count();
    let trailing = digits.iter().rev().take_while(|&&byte| byte == b'0').count();
    let Some(significant) = digits.get(leading..digits.len() - trailing).filter(|rest| !rest.is_empty())
    else {
        return Ok("0".to_owned());
    };
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    // value = significant * 10^shift, unscaled
    let shift = number.exponent - count(number.fraction.len()) + count(trailing) + i64::from(scale);
    let mut kept = significant.to_vec();
    if shift < 0 {
        if !round {
            return Err(Misfit::Scale(scale));
        }
        round_off(&mut kept, usize::try_from(-shift).unwrap_or(usize::MAX));
    }
    if kept == b"0" {
        return Ok("0".to_owned());
    }
    let zeros = usize::try_from(shift).unwrap_or(0);
    if kept.len().saturating_add(zeros) > usize::from(precision) {
        return Err(Misfit::Range);
    }
    let mut result = String::with_capacity(usize::from(precision) + 1);
    if number.negative {
        result.push('-');
    }
    result.extend(kept.iter().map(|&byte| char::from(byte)));
    result.extend(std::iter::repeat_n('0', zeros));
    Ok(result)
}

/// Takes the last `count` digits off, rounding half up.
fn round_off(digits: &mut Vec<u8>, count: usize) {
    let up = digits.len().checked_sub(count).is_some_and(|first| digits.get(first) >= Some(&b'5'));
    digits.truncate(digits.len().saturating_sub(count));
    if up {
        match digits.iter().rposition(|&byte| byte != b'9') {
            Some(place) => {
                digits.iter_mut().skip(place + 1).for_each(|byte| *byte = b'0');
                digits.iter_mut().skip(place).take(1).for_each(|byte| *byte += 1);
            }
            None => {
                digits.fill(b'0');
                digits.insert(0, b'1');
            }
        }
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
}

/// The parts of a number in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schema) struct Number<'a> {
    /// It begins with `-`.
    pub(in crate::schema) negative: bool,
    /// It begins with `+` or `-`.
    pub(in crate::schema) signed: bool,
    /// Digits before the point.
    pub(in crate::schema) integer: &'a [u8],
    /// There is a point.
    pub(in crate::schema) point: bool,
    /// Digits after it.
    pub(in crate::schema) fraction: &'a [u8],
    /// There is an exponent.
    pub(in crate::schema) scientific: bool,
    /// The exponent, at most 9,999 either way.
    pub(in crate::schema) exponent: i64,
}

/// Takes a number apart: sign, digits with an optional point and at least one digit, optional exponent.
pub(in crate::schema) fn scan_number(text: &[u8]) -> Option<Number<'_>> {
    let (negative, rest) = split_sign(text);
    let signed = rest.len() < text.len();
    let (integer, rest) = split_digits(rest);
    let (point, fraction, rest) = match rest {
        [b'.', after @ ..] => {
            let (fraction, rest) = split_digits(after);
            (true, fraction, rest)
        }
        _ => (false, &rest[..0], rest),
    };
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let (scientific, exponent) = match rest {
        [] => (false, 0),
        [b'e' | b'E', power @ ..] => {
            let (down, digits) = split_sign(power);
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let mut value: i64 = 0;
            for &byte in digits {
                value = (value * 10 + i64::from(byte - b'0')).min(9_999);
            }
            (true, if down { -value } else { value })
        }
        _ => return None,
    };
    Some(Number { negative, signed, integer, point, fraction, scientific, exponent })
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// A double: a number as [`scan_number`] takes it, `NaN`, `inf` or `Infinity` with an optional sign.
///
/// The text must be what the double says: printed with as many digits, it is the same number. So `0.1` is one,
/// and so are all digits of a double, but `0.12345678901234567891` has more than any double keeps. A number
/// too large or too small for any double is out of range.
pub(in crate::schema) fn float(text: &[u8]) -> Result<f64, Misfit> {
    let value = nearest_float(text)?;
    // The common case without another look: up to 15 digits, every double gives back.
    if text.len() <= SAFE_DOUBLE_DIGITS && (value.is_normal() || !value.is_finite()) {
        return Ok(value);
    }
    match scan_number(text) {
        Some(number) if !same_digits(value, &number) => Err(Misfit::Precision),
        _ => Ok(value),
    }
}

/// The double nearest to a number; see [`float`].
pub(in crate::schema) fn nearest_float(text: &[u8]) -> Result<f64, Misfit> {
    let value: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(FLOAT)?;
    if value.is_normal() || value.is_nan() {
        return Ok(value);
    }
    match scan_number(text) {
        Some(number) => {
            let zero = number.integer.iter().chain(number.fraction).all(|&byte| byte == b'0');
            if zero || (value != 0.0 && value.is_finite()) { Ok(value) } else { Err(Misfit::Range) }
        }
        // A spelled infinity.
        None => Ok(value),
    }
}

/// Significant digits that every double of normal size gives back.
const SAFE_DOUBLE_DIGITS: usize = 15;

/// Most digits that a double has when all of them are printed.
const MOST_DOUBLE_DIGITS: usize = 767;

/// Whether the finite `value`, printed with the digits that the number has, is the number.
fn same_digits(value: f64, number: &Number<'_>) -> bool {
    let digits = || number.integer.iter().chain(number.fraction).copied();
    let ahead = digits().take_while(|&byte| byte == b'0').count();
    let behind = digits().rev().take_while(|&byte| byte == b'0').count();
    let Some(length) = digits().count().checked_sub(ahead + behind).filter(|length| *length > 0) else {
        return value == 0.0;
    };
    if length <= SAFE_DOUBLE_DIGITS && value.is_normal() {
        return true;
    }
    if length > MOST_DOUBLE_DIGITS {
        return false;
    }
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let exponent = number.exponent + count(number.integer.len()) - 1 - count(ahead);
    let says = |printed: &str| {
        let Some((mantissa, power)) = printed.split_once('e') else { return false };
        power.parse() == Ok(exponent)
            && mantissa.bytes().filter(|byte| *byte != b'.').eq(digits().skip(ahead).take(length))
    };
    says(&format!("{:.*e}", length - 1, value.abs()))
        || half_way(value.abs(), length).is_some_and(|odd| says(&odd))
}

/// A double half-way between two numbers of so many digits is printed as either: 1278909305801778.25 ends in 2 where
/// it is rounded to even, and in 3 where somebody looked for the shortest text. This is the odd one.
fn half_way(value: f64, length: usize) -> Option<String> {
    let printed = format!("{value:.length$e}");
    let (mantissa, power) = printed.split_once('e')?;
    let kept = mantissa.strip_suffix('5')?;
    // Nothing may follow the five.
    let all = format!("{value:.*e}", MOST_DOUBLE_DIGITS - 1);
    if !all.starts_with(mantissa)
        || all.bytes().skip(mantissa.len()).take_while(|byte| *byte != b'e').any(|byte| byte != b'0')
    {
        return None;
    }
    // The point stands between both where there is one digit.
    let kept = kept.strip_suffix('.').unwrap_or(kept);
    let last = kept.bytes().next_back()?;
    let ahead = kept.get(..kept.len() - 1)?;
    Some(format!("{ahead}{}e{power}", char::from(last | 1)))
}

/// One of two words, compared without regard to case.
pub(in crate::schema) fn boolean(text: &str, yes: &str, no: &str) -> Result<bool, Misfit> {
    let is = |word: &str| {
        text.eq_ignore_ascii_case(word) || (!text.is_ascii() && text.to_lowercase() == word.to_lowercase())
    };
    if is(yes) {
        Ok(true)
    } else if is(no) {
        Ok(false)
    } else {
        Err(Misfit::Form("one of the two words of the boolean"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let good = [
            ("0", 0),
            ("-0", 0),
            ("+1", 1),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("0000000000000000000000012", 12),
        ];
        for (text, value) in good {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            "1_000",
            "0x1F",
            "1.0",
            "1e3",
            "\u{2212}1",
            "\u{661}",
            "\u{ff11}",
            "--1",
            "1 2",
            "12345678901234567x90",
        ] {
            assert_eq!(integer(text.as_bytes()), Err(INTEGER), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "18446744073709551615"] {
            assert_eq!(integer(text.as_bytes()), Err(Misfit::Range), "{text}");
        }
    }

    #[test]
    fn numbers_with_separators() {
        let plain = |format: &str, text: &str| Separators::new(format).unwrap().plain(text);
        for (format, text, expected) in [
            (",.", "1,234,567.89", Some("1234567.89")),
            (",.", "-1,234", Some("-1234")),
            (",.", "1234.5", Some("1234.5")),
            (",.", "0.5", Some("0.5")),
            (".,", "1.234,5", Some("1234.5")),
            (".,", "1.5", None),
            (",", "12,5", Some("12.5")),
            (",", "1,234,5", None),
            ("'.", "1'234.50", Some("1234.50")),
            ("\u{202f},", "1\u{202f}234,5", Some("1234.5")),
            (",.", "1,23", None),
            (",.", "12,34,567", None),
            (",.", "0,123", None),
            (",.", "1234,567", None),
            (",.", ",123", None),
            (",.", "1,234.", None),
            (",.", "1,234.5.6", None),
            (",.", "$1,234", None),
            (",.", "", None),
            (",.", "\u{661},234", None),
        ] {
            assert_eq!(plain(format, text).as_deref(), expected, "{format} {text}");
        }
        for format in ["", ",,", "a.", ".x", ",.,", "5."] {
            assert_eq!(Separators::new(format), None, "{format}");
        }
    }

    #[test]
    fn decimals() {
        let good = [
            ("0", 15, 2, 0),
            ("-0", 15, 2, 0),
            ("5.", 15, 2, 500),
            (".5", 15, 2, 50),
            ("-.5", 15, 2, -50),
            ("+1.1", 15, 2, 110),
            ("1.100", 15, 2, 110),
            ("1e2", 15, 2, 10_000),
            ("1.5E-1", 15, 2, 15),
            ("0e9999999999999", 15, 2, 0),
            ("9999999999999.99", 15, 2, 999_999_999_999_999),
            ("-9999999999999.99", 15, 2, -999_999_999_999_999),
            ("1234567890123456.78", 38, 9, 1_234_567_890_123_456_780_000_000),
            ("00000000000000000000000000000000000000000000000001", 5, 0, 1),
        ];
        for (text, precision, scale, value) in good {
            assert_eq!(decimal128(text.as_bytes(), precision, scale), Ok(value), "{text}");
            assert_eq!(decimal256(text.as_bytes(), precision, scale), Ok(i256::from_i128(value)), "{text}");
        }
        let most = "9".repeat(38);
        assert_eq!(decimal128(most.as_bytes(), 38, 0).unwrap(), 10_i128.pow(38) - 1);
        let bad = [
            ("", 15, 2, DECIMAL),
            (".", 15, 2, DECIMAL),
            ("-", 15, 2, DECIMAL),
            ("1.2.3", 15, 2, DECIMAL),
            ("1,234", 15, 2, DECIMAL),
            ("$5", 15, 2, DECIMAL),
            ("5%", 15, 2, DECIMAL),
            ("(5.00)", 15, 2, DECIMAL),
            ("5-", 15, 2, DECIMAL),
            ("1e", 15, 2, DECIMAL),
            ("NaN", 15, 2, DECIMAL),
            ("\u{2212}1", 15, 2, DECIMAL),
            ("1.001", 15, 2, Misfit::Scale(2)),
            ("1e-3", 15, 2, Misfit::Scale(2)),
            ("0.1234567891", 38, 9, Misfit::Scale(9)),
            ("10000000000000.00", 15, 2, Misfit::Range),
            ("1e400", 38, 9, Misfit::Range),
            ("999999999999999999999999999999.1", 38, 9, Misfit::Range),
        ];
        for (text, precision, scale, misfit) in bad {
            assert_eq!(decimal128(text.as_bytes(), precision, scale), Err(misfit), "{text}");
            assert_eq!(decimal256(text.as_bytes(), precision, scale), Err(misfit), "{text}");
        }
        let wide = format!("{}.{}", "9".repeat(38), "9".repeat(38));
        assert_eq!(decimal256(wide.as_bytes(), 76, 38).unwrap().to_string(), "9".repeat(76));
        assert_eq!(decimal256(format!("1{wide}").as_bytes(), 76, 38), Err(Misfit::Range));
    }

    #[test]
    fn short_and_general_decimals_agree() {
        for text in ["1.5", "-12.25", "0.001", "100", "99999.9", "1.0000", ".25", "7."] {
            for scale in [0, 1, 2, 9] {
                for precision in [3, 5, 38] {
                    let general = long_decimal(text.as_bytes(), precision, scale);
                    let general = general.map(|digits| digits.parse::<i128>().unwrap());
                    assert_eq!(
                        decimal128(text.as_bytes(), precision, scale),
                        general,
                        "{text} ({precision},{scale})"
                    );
                }
            }
        }
    }

    #[test]
    fn a_double_between_two_texts_is_either() {
        let value = f64::from_bits(4_832_974_437_764_378_825);
        for text in
            ["1278909305801778.2", "1278909305801778.3", "1278909305801778.25", "1.2789093058017783e15"]
        {
            assert_eq!(float(text.as_bytes()), Ok(value), "{text}");
        }
        assert_eq!(float(b"1278909305801778.24"), Err(Misfit::Precision));
    }

    #[test]
    fn floats() {
        assert_eq!(float(b"1e5"), Ok(1e5));
        assert_eq!(float(b"-0").map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!(float(b"1e-310"), Ok(1e-310));
        assert!(float(b"NaN").unwrap().is_nan());
        assert_eq!(float(b"-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(float(b"inf"), Ok(f64::INFINITY));
        for text in ["1e309", "-1e400", "1E-400"] {
            assert_eq!(float(text.as_bytes()), Err(Misfit::Range), "{text}");
        }
        for text in ["", "e5", "0x1p3", "1_0", "1,5", "\u{2212}1"] {
            assert_eq!(float(text.as_bytes()), Err(FLOAT), "{text}");
        }
    }

    #[test]
    fn booleans() {
        assert_eq!(boolean("TRUE", "true", "false"), Ok(true));
        assert_eq!(boolean("n", "Y", "N"), Ok(false));
        assert_eq!(boolean("\u{41d}\u{435}\u{442}", "\u{434}\u{430}", "\u{43d}\u{435}\u{442}"), Ok(false));
        assert!(boolean("maybe", "yes", "no").is_err());
    }
}
