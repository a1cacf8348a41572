//! Binary numerics: base-10000 digits into decimals, or into the text that the server prints.

use arrow_buffer::i256;

/// The header of a binary numeric and its base-10000 digits.
struct Numeric<'a> {
    digits: std::slice::ChunksExact<'a, u8>,
    /// Exponent of the first digit, in powers of 10000.
    weight: i32,
    negative: bool,
    /// Digits after the point that the server prints.
    display_scale: u16,
}

/// `None` for NaN and the infinities, with their text.
enum Parsed<'a> {
    Finite(Numeric<'a>),
    Special(&'static str),
}

#[inline]
fn parse_numeric(field: &[u8]) -> Result<Parsed<'_>, &'static str> {
    const BROKEN: &str = "a numeric value that cannot be read";
    let [n0, n1, w0, w1, s0, s1, d0, d1, digits @ ..] = field else { return Err(BROKEN) };
    let count = usize::from(u16::from_be_bytes([*n0, *n1]));
    if digits.len() != count * 2 {
        return Err(BROKEN);
    }
    let negative = match u16::from_be_bytes([*s0, *s1]) {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Ok(Parsed::Special("NaN")),
        0xD000 => return Ok(Parsed::Special("Infinity")),
        0xF000 => return Ok(Parsed::Special("-Infinity")),
        _ => return Err(BROKEN),
    };
    Ok(Parsed::Finite(Numeric {
        digits: digits.chunks_exact(2),
        weight: i16::from_be_bytes([*w0, *w1]).into(),
        negative,
        display_scale: u16::from_be_bytes([*d0, *d1]),
    }))
}

#[inline]
fn digit(pair: &[u8]) -> Result<u16, &'static str> {
    match pair {
        [high, low] => {
            let digit = u16::from_be_bytes([*high, *low]);
            if digit < 10_000 { Ok(digit) } else { Err("a numeric value with a broken digit") }
        }
        _ => Err("a numeric value with a broken digit"),
    }
}

/// What a decimal is counted in.
pub(crate) trait Unscaled: Sized + Copy {
    const ZERO: Self;
    fn times_plus(self, factor: u16, add: u16) -> Option<Self>;
    fn minus(self) -> Self;
}

impl Unscaled for i128 {
    const ZERO: Self = 0;

    #[inline]
    fn times_plus(self, factor: u16, add: u16) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(add.into())
    }

    fn minus(self) -> Self {
        -self
    }
}

impl Unscaled for i256 {
    const ZERO: Self = Self::ZERO;

    fn times_plus(self, factor: u16, add: u16) -> Option<Self> {
        self.checked_mul(Self::from_i128(factor.into()))?.checked_add(Self::from_i128(add.into()))
    }

    fn minus(self) -> Self {
        self.wrapping_neg()
    }
}

const POWERS: [u16; 4] = [1, 10, 100, 1000];

/// [`unscaled`] for what most columns hold: up to four base-10000 digits, so that everything fits 64 bits.
/// `None` where it does not apply, be it that the value is broken.
#[inline]
pub(crate) fn small(field: &[u8], scale: i32) -> Option<i64> {
    let [n0, n1, w0, w1, sign, 0, _, _, digits @ ..] = field else { return None };
    let count = u16::from_be_bytes([*n0, *n1]);
    if count > 4 || digits.len() != usize::from(count) * 2 || !matches!(sign, 0x00 | 0x40) {
        return None;
    }
    let mut value = 0_i64;
    for pair in digits.chunks_exact(2) {
        value = value * 10_000 + i64::from(digit(pair).ok()?);
    }
    let weight = i32::from(i16::from_be_bytes([*w0, *w1]));
    let exponent = scale + (weight + 1 - i32::from(count)) * 4;
    let value = match exponent {
        -3 => part::<1000>(value)?,
        -2 => part::<100>(value)?,
        -1 => part::<10>(value)?,
        _ => value.checked_mul((*POWERS.get(usize::try_from(exponent).ok()?)?).into())?,
    };
    Some(if *sign == 0 { value } else { -value })
}

/// The value divided, if nothing is left over. By a constant, since that is no division for the processor.
#[inline]
fn part<const BY: i64>(value: i64) -> Option<i64> {
    (value % BY == 0).then_some(value / BY)
}

/// The value times 10^scale. Exact: a digit below the scale is an error, not a rounding.
#[inline]
pub(crate) fn unscaled<T: Unscaled>(field: &[u8], scale: i32) -> Result<T, &'static str> {
    const TOO_LARGE: &str = "a numeric value beyond its declared precision";
    let Parsed::Finite(numeric) = parse_numeric(field)? else {
        return Err("NaN or Infinity, which no decimal can hold");
    };
    let mut value = T::ZERO;
    // Decimal exponent that `value` still has to be multiplied by.
    let mut exponent = scale + (numeric.weight + 1) * 4;
    for pair in numeric.digits {
        let digit = digit(pair)?;
        if exponent >= 4 {
            value = value.times_plus(10_000, digit).ok_or(TOO_LARGE)?;
            exponent -= 4;
            continue;
        }
        // The digit straddles the scale: only its upper part may be there.
        let kept = usize::try_from(exponent).unwrap_or(0);
        let below = POWERS.get(4 - kept.max(1)).copied().unwrap_or(1000);
        let (upper, rest) = if kept == 0 { (0, digit) } else { (digit / below, digit % below) };
        if rest != 0 {
            return Err("a numeric value with more digits after the point than its type declares");
        }
        value = value.times_plus(POWERS.get(kept).copied().unwrap_or(1), upper).ok_or(TOO_LARGE)?;
        exponent = 0;
    }
    while exponent > 0 {
        let step = usize::try_from(exponent.min(3)).unwrap_or(0);
        value = value.times_plus(POWERS.get(step).copied().unwrap_or(1), 0).ok_or(TOO_LARGE)?;
        exponent -= i32::try_from(step.max(1)).unwrap_or(1);
    }
    Ok(if numeric.negative { value.minus() } else { value })
}

/// The text that the server prints.
pub(crate) fn numeric_text(field: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let numeric = match parse_numeric(field)? {
        Parsed::Special(text) => {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        Parsed::Finite(numeric) => numeric,
    };
    if numeric.negative {
        out.push(b'-');
    }
    let mut digits = numeric.digits;
    // Digits that are left out at either end are zeros.
    let mut next = |wanted: bool| if wanted { digits.next().map_or(Ok(0), digit) } else { Ok(0) };
    if numeric.weight < 0 {
        out.push(b'0');
    } else {
        let first = four(next(true)?);
        let zeros = first.iter().take(3).take_while(|byte| **byte == b'0').count();
        out.extend_from_slice(first.get(zeros..).unwrap_or_default());
        for _ in 0..numeric.weight {
            out.extend_from_slice(&four(next(true)?));
        }
    }
    if numeric.display_scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(numeric.display_scale);
        let mut weight = -1;
        while out.len() < end {
            out.extend_from_slice(&four(next(weight <= numeric.weight)?));
            weight -= 1;
        }
        out.truncate(end);
    }
    Ok(())
}

/// A base-10000 digit as four decimal ones.
#[inline]
fn four(digit: u16) -> [u8; 4] {
    [1000, 100, 10, 1].map(|power| b'0' + u8::try_from(digit / power % 10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Binary numeric from its parts.
    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut field = Vec::new();
        field.extend_from_slice(&u16::try_from(digits.len()).unwrap().to_be_bytes());
        field.extend_from_slice(&weight.to_be_bytes());
        field.extend_from_slice(&sign.to_be_bytes());
        field.extend_from_slice(&scale.to_be_bytes());
        digits.iter().for_each(|digit| field.extend_from_slice(&digit.to_be_bytes()));
        field
    }

    fn text(field: &[u8]) -> String {
        let mut out = Vec::new();
        numeric_text(field, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numerics_are_exact() {
        // 12345.67 = 1 * 10000 + 2345 + 6700 / 10000
        let value = numeric(1, 0, 2, &[1, 2345, 6700]);
        assert_eq!(unscaled::<i128>(&value, 2), Ok(1_234_567));
        assert_eq!(unscaled::<i128>(&value, 5), Ok(1_234_567_000));
        assert_eq!(
            (small(&value, 2), small(&value, 5), small(&value, 1)),
            (Some(1_234_567), Some(1_234_567_000), None)
        );
        assert!(unscaled::<i128>(&value, 1).is_err());
        assert_eq!(text(&value), "12345.67");
        assert_eq!(unscaled::<i128>(&numeric(0, 0, 2, &[]), 2), Ok(0));
        assert_eq!(text(&numeric(0, 0, 2, &[])), "0.00");
        // -0.00012345 with weight -1
        let small = numeric(-1, 0x4000, 8, &[1, 2345]);
        assert_eq!(unscaled::<i128>(&small, 8), Ok(-12_345));
        assert_eq!(text(&small), "-0.00012345");
        // 20000000 has trailing zero digits left out
        let large = numeric(1, 0, 0, &[2000]);
        assert_eq!(unscaled::<i128>(&large, 0), Ok(20_000_000));
        assert_eq!(unscaled::<i256>(&large, 3), Ok(i256::from_i128(20_000_000_000)));
        assert_eq!(text(&large), "20000000");
        // scale -3..=0 of a digit that straddles
        let cents = numeric(0, 0, 1, &[7, 5000]);
        assert_eq!(unscaled::<i128>(&cents, 1), Ok(75));
        assert_eq!(unscaled::<i128>(&cents, 3), Ok(7500));
        assert!(unscaled::<i128>(&cents, 0).is_err());
        assert_eq!(text(&numeric(0, 0xC000, 0, &[])), "NaN");
        assert!(unscaled::<i128>(&numeric(0, 0xC000, 0, &[]), 2).is_err());
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        let mut short = 0;
        for _ in 0..100_000 {
            let count = random.random_range(0..6);
            let digits: Vec<u16> =
                (0..count).map(|_| [0, 1, 7000, 120, 9999][random.random_range(0..5)]).collect();
            let sign = if random.random() { 0x4000 } else { 0 };
            let field = numeric(random.random_range(-3..4), sign, 4, &digits);
            let scale = random.random_range(0..9);
            if let Some(value) = small(&field, scale) {
                assert_eq!(unscaled::<i128>(&field, scale), Ok(value.into()), "{field:?} at scale {scale}");
                short += 1;
            }
        }
        assert!(short > 10_000, "only {short} went the short way");
    }

    #[test]
    fn thirty_eight_digits_fit() {
        let nines = numeric(9, 0, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]);
        assert_eq!(unscaled::<i128>(&nines, 0), Ok(99_999_999_999_999_999_999_999_999_999_999_999_999));
        assert!(unscaled::<i128>(&nines, 2).is_err());
    }
}
