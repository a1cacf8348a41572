//! Exact numbers: integers of 128 bits with a number of digits after the point.

/// Bytes of a decimal on the wire, its sign among them.
pub(crate) fn decimal_bytes(precision: u8) -> u8 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

/// Bytes of a time of so many digits after the second.
pub(crate) fn time_bytes(scale: u8) -> u8 {
    match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    }
}

/// 10 to a power, up to 38.
pub(crate) fn power(exponent: u8) -> i128 {
    10_i128.checked_pow(u32::from(exponent)).unwrap_or(i128::MAX)
}

/// A number with other digits after the point, rounded half away from zero; `None` if it is too long.
pub(crate) fn rescale(value: i128, from: u8, to: u8) -> Option<i128> {
    if to >= from {
        return value.checked_mul(10_i128.checked_pow(u32::from(to - from))?);
    }
    let Some(divisor) = 10_i128.checked_pow(u32::from(from - to)) else { return Some(0) };
    let (quotient, rest) = (value / divisor, value % divisor);
    Some(if rest.abs() >= divisor - rest.abs() { quotient + value.signum() } else { quotient })
}

/// The same, cut off rather than rounded, as integers are made of decimals.
pub(crate) fn whole(value: i128, scale: u8) -> i128 {
    10_i128.checked_pow(u32::from(scale)).map_or(0, |divisor| value / divisor)
}

/// Whether so many digits are enough.
pub(crate) fn fits(value: i128, precision: u8) -> bool {
    value.unsigned_abs() < power(precision).unsigned_abs()
}

/// A number and its digits after the point, of a text such as `-12.50`, `.5` or `1e3` (which is no decimal: `None`).
pub(crate) fn parse(text: &str) -> Option<(i128, u8)> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let mut value = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    Some((if negative { -value } else { value }, u8::try_from(fraction.len()).ok()?))
}

pub(crate) fn format(value: i128, scale: u8) -> String {
    let digits = value.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// Digits that a number has.
pub(crate) fn digits(value: i128) -> u8 {
    u8::try_from(value.unsigned_abs().to_string().len()).unwrap_or(u8::MAX)
}

/// A float as T-SQL prints it in CONVERT: six digits for style 0, 8 or 16 with an exponent for styles 1 and 2, the
/// shortest text that is the same number for style 3.
pub(crate) fn format_float(value: f64, style: i64, single: bool) -> String {
    let with_digits = |digits: usize| {
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{mantissa}e{}{:03}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    match style {
        1 => with_digits(8),
        2 => with_digits(16),
        3 => {
            let shortest =
                if single { format!("{:e}", super::encode::single(value)) } else { format!("{value:e}") };
            let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let point = if mantissa.contains('.') { "" } else { ".0" };
            format!("{mantissa}{point}e{}{:03}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        _ => {
            let text = format!("{value:.5e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            if value != 0.0 && !(-5..6).contains(&exponent) {
                let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
                return format!("{mantissa}e{}{:03}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
            }
            let decimals = usize::try_from(5 - exponent).unwrap_or(0);
            let text = format!("{value:.decimals$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_printed_and_rounded() {
        for text in [
            "0",
            "-1",
            "12.50",
            "-0.05",
            "99999999999999999999999999999999999999",
            "0.00000000000000000000000000000000000001",
        ] {
            let (value, scale) = parse(text).unwrap();
            assert_eq!(format(value, scale), text);
        }
        assert_eq!(
            (parse(".5"), parse("5."), parse(""), parse("1e3"), parse(".")),
            (Some((5, 1)), Some((5, 0)), None, None, None)
        );
        assert_eq!(
            (rescale(25, 1, 0), rescale(-25, 1, 0), rescale(24, 1, 0), rescale(1, 0, 38)),
            (Some(3), Some(-3), Some(2), Some(power(38)))
        );
        assert_eq!(rescale(10, 0, 38), None);
    }

    #[test]
    fn floats_are_printed_as_the_styles_say() {
        assert_eq!(format_float(1.5, 0, false), "1.5");
        assert_eq!(format_float(1_234_567.0, 0, false), "1.23457e+006");
        assert_eq!(format_float(0.1, 3, false), "1.0e-001");
        assert_eq!(format_float(0.1, 2, false), "1.000000000000000e-001");
    }
}
