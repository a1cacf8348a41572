//! Numbers: integers, decimals, doubles, and digits that are codes.

use std::collections::HashSet;

use super::column::{Column, Draft};
use super::{Candidate, Findings};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse::{self, Number, Separators, scan_number};
use crate::schema::recipe::Recipe;

/// Digits of a double that always survive.
const DOUBLE_DIGITS: usize = 17;

/// What the number-shaped values have in common.
#[derive(Debug, Default)]
struct Shape {
    /// Values that are numbers of any kind.
    numbers: usize,
    integers: usize,
    /// With a point, without an exponent.
    pointed: usize,
    scientific: usize,
    /// Infinities and NaN (a `NaN` alone is a null token).
    special: usize,
    leading_zeros: usize,
    beyond_i64: bool,
    /// `+1`, `-0`, `.5`, `5.`: the same number has another standard spelling.
    odd_spelling: bool,
    /// Most digits before the point, among integers and decimals.
    integer_digits: usize,
    scale: usize,
    /// Fewest digits after the point.
    least_scale: usize,
    /// A decimal ends in 0.
    trailing_zeros: bool,
    /// Most significant digits.
    digits: usize,
    /// Every pointed value could be thousands with a separator: `1.234`.
    groups: bool,
    /// The one length of all values, if there is one.
    length: Option<usize>,
}

impl Shape {
    fn of(column: &Column<'_>) -> Self {
        let mut shape = Self {
            least_scale: usize::MAX,
            groups: true,
            length: column.values.first().map(|value| value.text.len()),
            ..Self::default()
        };
        for value in &column.values {
            if shape.length != Some(value.text.len()) {
                shape.length = None;
            }
            match scan_number(value.text.as_bytes()) {
                Some(number) => shape.add(value.text, &number),
                None if is_special(value.text) => shape.special += 1,
                None => {}
            }
        }
        shape
    }

    fn add(&mut self, text: &str, number: &Number<'_>) {
        self.numbers += 1;
        let significant =
            number.integer.iter().chain(number.fraction).skip_while(|&&byte| byte == b'0').count();
        self.digits = self.digits.max(significant);
        if number.scientific {
            self.scientific += 1;
            return;
        }
        if number.integer.len() > 1 && number.integer.first() == Some(&b'0') {
            self.leading_zeros += 1;
        }
        self.odd_spelling |= (number.signed && !number.negative)
            || (number.negative && significant == 0)
            || number.integer.is_empty()
            || (number.point && number.fraction.is_empty());
        self.integer_digits = self.integer_digits.max(number.integer.len());
        self.scale = self.scale.max(number.fraction.len());
        self.least_scale = self.least_scale.min(number.fraction.len());
        if number.point {
            self.pointed += 1;
            // `1.0` is how programs write a whole number among others; `1.10` is not.
            self.trailing_zeros |= number.fraction.len() > 1 && number.fraction.last() == Some(&b'0');
            self.groups &= number.fraction.len() == 3
                && (1..=3).contains(&number.integer.len())
                && number.integer.first() != Some(&b'0');
        } else {
            self.integers += 1;
            self.beyond_i64 |= parse::integer(text.as_bytes()).is_err();
        }
    }
}

fn is_special(text: &str) -> bool {
    text.len() <= 9 && parse::float(text.as_bytes()).is_ok_and(|value| !value.is_finite())
}

pub(super) fn recognise<'a>(column: &Column<'a>, findings: &mut Findings) {
    let shape = Shape::of(column);
    let numbers = shape.numbers + shape.special;
    if numbers == 0 || (numbers as f64) < 0.9 * column.values.len() as f64 {
        separated(column, findings);
        return;
    }
    if shape.leading_zeros > 0 {
        findings.note(
            "W_CODE",
            format!(
                "leading zeros: {} distinct values begin with 0, so they are codes and stay text",
                shape.leading_zeros
            ),
        );
        return;
    }
    if shape.pointed == 0 && shape.scientific == 0 && shape.special == 0 {
        integers(column, &shape, findings);
        return;
    }
    if shape.integers > 0 && shape.special == 0 {
        // A few decimals among many integers: offered, but never better than the decimal.
        integers(column, &shape, findings);
    }
    decimals(column, &shape, findings);
    doubles(column, &shape, findings);
}

/// Key-like digits: the name says so, or every value has a check digit.
fn identifier(column: &Column<'_>) -> bool {
    column.hints.identifier && !column.hints.amount
}

fn integers<'a>(column: &Column<'a>, shape: &Shape, findings: &mut Findings) {
    if shape.pointed == 0 && has_check_digits(column, shape) {
        findings.note(
            "W_CODE",
            "check digits: the values end in one as card, account and article numbers do, so they stay text",
        );
        return;
    }
    let (bigquery_type, digits, recipe) = match shape.integer_digits {
        _ if !shape.beyond_i64 => (BigQueryType::Int64, 19, Recipe::ParseInteger),
        ..=29 => (BigQueryType::Numeric(None), 29, Recipe::ParseDecimal),
        30..=38 => (BigQueryType::BigNumeric(None), 38, Recipe::ParseDecimal),
        _ => {
            findings.note("W_NUM_RANGE", "integers of more than 38 digits fit no number type");
            return;
        }
    };
    let tally = column.tally(|text| {
        scan_number(text.as_bytes())
            .is_some_and(|number| !number.point && !number.scientific && number.integer.len() <= digits)
    });
    let key = identifier(column);
    let fixed = shape.length.is_some_and(|length| length >= 9);
    let dates = shape.length == Some(8) && column.all(super::dates::is_compact_date);
    let what = if shape.beyond_i64 {
        format!("integers of up to {} digits", shape.integer_digits)
    } else {
        "integers".to_owned()
    };
    let draft = Draft::new(bigquery_type, recipe, tally, what)
        .times(column.values.len() < 8, 0.95)
        .times(key && fixed, 0.50)
        // Beyond 64 bits nobody counts.
        .times(key && shape.beyond_i64, 0.60)
        .cap(key, 0.80)
        .cap(shape.odd_spelling, 0.85)
        .warn(key, "W_CODE", "the name says that these are keys or codes, which may get leading zeros later")
        .warn(dates, "W_AMBIG", "the values read as dates too: override with DATE and the format %Y%m%d");
    findings.offer(column.candidate(draft));
}

fn has_nan(column: &Column<'_>) -> bool {
    column.tokens.iter().any(|token| token.text.eq_ignore_ascii_case("nan"))
}

fn decimals<'a>(column: &Column<'a>, shape: &Shape, findings: &mut Findings) {
    if shape.pointed == 0 {
        return;
    }
    // Rare exponents are expanded; where they are the rule, the values are doubles.
    let expand = shape.scientific * 20 <= column.values.len();
    if shape.scientific > 0 && !expand {
        return;
    }
    let (bigquery_type, precision, scale) = if shape.integer_digits + 2 <= 29 && shape.scale <= 9 {
        (BigQueryType::Numeric(None), 38, 9)
    } else if shape.integer_digits <= 38 && shape.scale <= 38 {
        (BigQueryType::BigNumeric(None), 76, 38)
    } else {
        findings.note(
            "W_NUM_RANGE",
            "decimals with more digits than BIGNUMERIC holds; a FLOAT64 would round them",
        );
        return;
    };
    let uniform = shape.scale == shape.least_scale;
    let respelt = shape.trailing_zeros && !uniform;
    if respelt
        && !column.hints.amount
        && let Some((one, other)) = two_spellings(column)
    {
        findings.note("W_CODE", format!(
            "`{one}` and `{other}` are the same number spelt twice, so the values may be versions and stay text"
        ));
        return;
    }
    let tally = column.tally(|text| parse::decimal256(text.as_bytes(), precision, scale).is_ok());
    let key = identifier(column);
    let draft = Draft::new(
        bigquery_type,
        Recipe::ParseDecimal,
        tally,
        format!("decimals with at most {} digits after the point", shape.scale),
    )
    .times(column.values.len() < 8, 0.95)
    .times(column.hints.version, 0.50)
    // Who writes NaN means doubles.
    .cap(has_nan(column), 0.80)
    .cap(key, 0.80)
    .cap(shape.odd_spelling || respelt || shape.scientific > 0, 0.85)
    .cap(shape.groups, 0.60)
    .warn(
        shape.groups,
        "W_AMBIG",
        "every value has three digits after the point, which may separate thousands",
    )
    .warn(key, "W_CODE", "the name says that these are keys or codes");
    findings.offer(column.candidate(draft));
}

fn doubles<'a>(column: &Column<'a>, shape: &Shape, findings: &mut Findings) {
    if shape.scientific + shape.special == 0 && !(has_nan(column) && shape.pointed > 0) {
        return;
    }
    if shape.digits > DOUBLE_DIGITS {
        findings
            .note("W_FLOAT_APPROX", format!("numbers of {} digits would lose some as FLOAT64", shape.digits));
        return;
    }
    let tally = column.tally(|text| parse::float(text.as_bytes()).is_ok());
    let mut draft = Draft::new(
        BigQueryType::Float64,
        Recipe::ParseFloat,
        tally,
        "numbers with exponents, NaN or infinities",
    )
    .times(column.values.len() < 8, 0.95)
    .cap(true, 0.85)
    .cap(identifier(column), 0.80);
    draft.takes_tokens = column.rejected_tokens().all(|token| token.text.eq_ignore_ascii_case("nan"));
    findings.offer(column.candidate(draft));
}

/// Two values that are one number but for zeros at the end.
fn two_spellings<'a>(column: &Column<'a>) -> Option<(&'a str, &'a str)> {
    let mut seen = HashSet::new();
    let mut twice: Option<(&str, &str)> = None;
    let plain = |text: &'a str| text.trim_end_matches('0').trim_end_matches('.');
    for value in column.values.iter().filter(|value| value.text.contains('.')) {
        seen.insert(plain(value.text));
    }
    if seen.len() == column.values.iter().filter(|value| value.text.contains('.')).count() {
        return None;
    }
    // The smallest pair, so that the answer does not depend on the order of rows.
    let mut texts: Vec<&str> =
        column.values.iter().map(|value| value.text).filter(|text| text.contains('.')).collect();
    texts.sort_unstable_by_key(|text| (plain(text), text.len()));
    for pair in texts.windows(2) {
        if let [one, other] = pair
            && plain(one) == plain(other)
        {
            twice = Some((one, other));
            break;
        }
    }
    twice
}

/// Whether nearly all values of one length end in a check digit (Luhn or GTIN), which one in ten would by
/// chance.
fn has_check_digits(column: &Column<'_>, shape: &Shape) -> bool {
    let Some(12..=19) = shape.length else { return false };
    if column.values.len() < 8 {
        return false;
    }
    let share = |passes: fn(&[u8]) -> bool| {
        let good = column.values.iter().filter(|value| passes(value.text.as_bytes())).count();
        good as f64 > 0.95 * column.values.len() as f64
    };
    share(luhn) || share(gtin)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if i % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    digits.iter().all(u8::is_ascii_digit) && sum.is_multiple_of(10)
}

fn gtin(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, byte)| u32::from(byte.wrapping_sub(b'0')) * if i % 2 == 0 { 1 } else { 3 })
        .sum();
    matches!(digits.len(), 12..=14) && digits.iter().all(u8::is_ascii_digit) && sum.is_multiple_of(10)
}

/// Numbers with separators. Commas between thousands are offered where no other reading fits; other forms
/// only get a note, because a comma may be the decimal point.
fn separated(column: &Column<'_>, findings: &mut Findings) {
    let mut grouped = 0;
    let fits = |text: &str| scan_number(text.as_bytes()).is_some();
    for value in &column.values {
        if has_groups(value.text) {
            grouped += 1;
        } else if !fits(value.text) {
            return;
        }
    }
    if grouped == 0 {
        return;
    }
    let reads = |format: &str| {
        Separators::new(format).is_some_and(|separators| column.all(|text| separators.plain(text).is_some()))
    };
    let format = [",.", "'."].into_iter().find(|format| reads(format));
    match format.filter(|_| !reads(",") && !reads(".,")) {
        Some(format) => findings.offer(thousands(column, format)),
        None => findings.note(
            "W_LOCALE",
            "numbers with separators of thousands or a decimal comma stay text; override with NUMERIC and the \
             separators as format, for example `.,` for 1.234,5",
        ),
    }
}

/// Never better than medium: written back, the value would have another form.
fn thousands(column: &Column<'_>, format: &str) -> Option<Candidate> {
    let separators = Separators::new(format)?;
    let plain = |text: &str| separators.plain(text);
    let part = |text: &str, index: usize| {
        let digits = plain(text).unwrap_or_default();
        digits.trim_start_matches(['-', '+']).split('.').nth(index).map_or(0, str::len)
    };
    let integer_digits = column.values.iter().map(|value| part(value.text, 0)).max().unwrap_or(0);
    let scale = column.values.iter().map(|value| part(value.text, 1)).max().unwrap_or(0);
    let bigquery_type = match (integer_digits, scale) {
        (..=27, ..=9) => BigQueryType::Numeric(None),
        (..=36, ..=38) => BigQueryType::BigNumeric(None),
        _ => return None,
    };
    let recipe = Recipe::ParseGrouped { format: format.to_owned() };
    let tally = column.tally(|text| plain(text).is_some());
    let draft = Draft::new(bigquery_type, recipe, tally, format!("numbers with separators like {format}"))
        .times(true, 0.85)
        .times(column.values.len() < 8, 0.95)
        .cap(true, 0.85)
        .cap(identifier(column), 0.60)
        .warn(true, "W_LOCALE", "separators of thousands are taken out");
    column.candidate(draft)
}

/// Digits with `,`, `.`, `'` or blanks between groups, and perhaps another separator before a fraction.
fn has_groups(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut groups = text.split([',', '.', '\'', ' ', '\u{a0}', '\u{202f}']);
    let first = groups.next().unwrap_or_default();
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest: Vec<&str> = groups.collect();
    is_digits(first)
        && !rest.is_empty()
        && rest.iter().all(|part| is_digits(part))
        && (text.contains(',') || first.len() <= 3)
        && rest.iter().rev().skip(1).all(|part| part.len() <= 3)
}
