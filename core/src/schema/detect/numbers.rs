//! Numbers: integers, decimals, doubles, and digits that are codes.

use std::collections::HashSet;

use super::column::{Column, Draft};
use super::{Findings, separated};
use crate::schema::bigquery::BigQueryType;
use crate::schema::cast::parse::{self, Number, scan_number};
use crate::schema::evidence::Ambiguity;
use crate::schema::recipe::Recipe;

/// Digits with which a double can be told from any other.
const DOUBLE_DIGITS: usize = 17;

/// Digits that come back from a double as they were.
const EXACT_DIGITS: usize = 15;

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
    /// A minus is there.
    negative: bool,
    /// A plus and seven digits or more: how telephone numbers begin.
    dialled: bool,
    /// A fraction of two digits or more begins with 0, as one in ten does unless it counts something.
    zero_fraction: bool,
    /// How the numbers with an exponent are spelt, if all are spelt the same: digits after the point, `e` or
    /// `E`, digits of the exponent.
    exponent_form: Option<(usize, u8, usize)>,
    /// They are spelt in two ways.
    mixed_exponents: bool,
    /// `1.23E+11` with few digits and a large exponent: how spreadsheets show long numbers.
    rounded: usize,
    /// Every pointed value could be thousands with a separator: `1.234`.
    groups: bool,
    /// The one length of all values, if there is one.
    length: Option<usize>,
}

impl Shape {
    /// `None` where too many values are no numbers.
    fn of(column: &Column<'_>) -> Option<Self> {
        let mut patience = column.patience();
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
                None if patience.ends() => return None,
                None => {}
            }
        }
        (shape.numbers + shape.special > 0).then_some(shape)
    }

    fn add(&mut self, text: &str, number: &Number<'_>) {
        self.numbers += 1;
        let significant =
            number.integer.iter().chain(number.fraction).skip_while(|&&byte| byte == b'0').count();
        self.digits = self.digits.max(significant);
        self.negative |= number.negative;
        if number.integer.len() > 1 && number.integer.first() == Some(&b'0') {
            self.leading_zeros += 1;
        }
        if number.scientific {
            self.add_exponent(text, number);
            return;
        }
        self.dialled |= number.signed && !number.negative && !number.point && number.integer.len() >= 7;
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
            self.zero_fraction |= number.fraction.len() > 1 && number.fraction.first() == Some(&b'0');
            self.groups &= number.fraction.len() == 3
                && (1..=3).contains(&number.integer.len())
                && number.integer.first() != Some(&b'0');
        } else {
            self.integers += 1;
            self.beyond_i64 |= parse::integer(text.as_bytes()).is_err();
        }
    }
}

impl Shape {
    fn add_exponent(&mut self, text: &str, number: &Number<'_>) {
        self.scientific += 1;
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(0);
        let letter = bytes.get(at).copied().unwrap_or(b'e');
        let power = bytes.get(at + 1..).unwrap_or_default();
        let width = power.iter().filter(|byte| byte.is_ascii_digit()).count();
        let plain = number.integer.len() == 1 && (number.negative || !number.signed);
        let form = (number.fraction.len(), letter, width);
        self.mixed_exponents |= !plain || self.exponent_form.is_some_and(|known| known != form);
        self.exponent_form = Some(form);
        let shown = letter == b'E' && power.starts_with(b"+") && width == 2;
        self.rounded += usize::from(shown && number.fraction.len() <= 5 && number.exponent >= 9);
    }

    /// Every number would be written back from a double as it is.
    fn is_exact_double(&self) -> bool {
        let plain = self.numbers - self.scientific;
        let uniform = self.scale == self.least_scale;
        self.digits <= EXACT_DIGITS
            && !self.odd_spelling
            && if self.scientific == 0 {
                uniform || !self.trailing_zeros
            } else {
                plain == 0 && !self.mixed_exponents
            }
    }
}

fn is_special(text: &str) -> bool {
    text.len() <= 9 && parse::float(text.as_bytes()).is_ok_and(|value| !value.is_finite())
}

pub(super) fn recognise<'a>(column: &Column<'a>, findings: &mut Findings) {
    let Some(shape) = Shape::of(column) else {
        separated::recognise(column, findings);
        return;
    };
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
    if shape.dialled && !shape.negative {
        findings.note("W_CODE", "a plus before many digits: telephone numbers, which stay text");
        return;
    }
    // A few distinct ones for many rows: the digits that told them apart are gone.
    let few = column.values.len() * 4 <= column.rows || column.values.len() < 8;
    if shape.rounded > 0 && shape.rounded == shape.scientific && few {
        findings.note(
            "W_DAMAGED",
            "numbers like 2.01E+11: a spreadsheet has shortened long numbers, which are lost; they stay text",
        );
        return;
    }
    extremes(column, findings);
    if shape.pointed == 0 && shape.scientific == 0 && shape.special == 0 {
        integers(column, &shape, findings);
        return;
    }
    decimals(column, &shape, findings);
    doubles(column, &shape, findings);
}

/// Numbers that often stand for none. They are kept; who knows better overrides.
fn extremes(column: &Column<'_>, findings: &mut Findings) {
    const SENTINELS: [&str; 8] = ["-1", "-9", "-99", "-999", "-9999", "999", "9999", "99999"];
    if column.values.len() < 8 {
        return;
    }
    let value = |text: &str| parse::float(text.as_bytes()).ok();
    // In their order, for the values have none.
    for sentinel in SENTINELS.iter().filter_map(|text| column.values.iter().find(|value| value.text == *text))
    {
        let Some(number) = value(sentinel.text) else { continue };
        let others =
            || column.values.iter().filter(|v| v.text != sentinel.text).filter_map(|v| value(v.text));
        let extreme = others().all(|other| other < number) || others().all(|other| other > number);
        if extreme && sentinel.rows * 20 > column.rows {
            let text = format!(
                "{} of {} values are {}, which may stand for none",
                sentinel.rows, column.rows, sentinel.text
            );
            findings.note("W_SENTINEL", text);
        }
    }
}

/// Key-like digits: the name says so, or every value has a check digit.
pub(super) fn identifier(column: &Column<'_>) -> bool {
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
    let dates = shape.length == Some(8) && column.all(super::encoded::is_compact_date);
    let times = super::encoded::reads_as_time(column, dates);
    let what = if shape.beyond_i64 {
        format!("integers of up to {} digits", shape.integer_digits)
    } else {
        // A year is a number here; BigQuery has no type for it.
        let years = shape.length == Some(4) && column.all(is_year);
        if years { "integers from 1800 to 2100, perhaps years" } else { "integers" }.to_owned()
    };
    if column.hints.date && column.all(is_excel_day) {
        findings.note("W_UNIT", "integers that a spreadsheet may mean as days since 1900");
    }
    let draft = Draft::new(bigquery_type, recipe, tally, what)
        .times(column.values.len() < 8, 0.95)
        .times(key && fixed, 0.50)
        // Beyond 64 bits nobody counts.
        .times(key && shape.beyond_i64, 0.60)
        .cap(key, 0.80)
        .cap(shape.odd_spelling, 0.85)
        .warn(key, "W_CODE", "the name says that these are keys or codes, which may get leading zeros later")
        // Both readings fit, and the name speaks for the other one.
        .cap(times, 0.75)
        .ambiguous(dates || times, Ambiguity::NumberOrTime)
        .warn(dates, "W_AMBIG", "the values read as dates too: override with DATE and the format %Y%m%d");
    findings.offer(column.candidate(draft));
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && matches!(text.parse(), Ok(1800..=2100))
}

fn is_excel_day(text: &str) -> bool {
    text.len() == 5 && matches!(text.parse(), Ok(20_000..=60_000))
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
    if respelt && !column.hints.amount {
        let twice = is_spelt_twice(column);
        // `3.9` beside `3.10`, and no `3.05` anywhere: what follows the point is counted.
        if twice || !shape.zero_fraction {
            let seen = if twice { "the same number is spelt twice" } else { "`1.9` goes on as `1.10`" };
            let text =
                format!("{seen} (with and without zeros at the end): perhaps versions, which stay text");
            findings.note("W_CODE", text);
            return;
        }
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
    .ambiguous(shape.groups, Ambiguity::Grouping)
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
    .cap(!shape.is_exact_double(), 0.85)
    .cap(identifier(column), 0.80);
    draft.takes_tokens = column.spelt_tokens().all(|token| token.text.eq_ignore_ascii_case("nan"));
    findings.offer(column.candidate(draft));
}

/// Whether two values are one number but for zeros at the end.
fn is_spelt_twice(column: &Column<'_>) -> bool {
    let mut seen = HashSet::new();
    let pointed = column.values.iter().map(|value| value.text).filter(|text| text.contains('.'));
    let mut plain = pointed.map(|text| text.trim_end_matches('0').trim_end_matches('.'));
    !plain.all(|text| seen.insert(text))
}

/// Whether nearly all values of one length end in a check digit (Luhn, GTIN or ISBN), which one in ten would
/// by chance.
fn has_check_digits(column: &Column<'_>, shape: &Shape) -> bool {
    let Some(8..=19) = shape.length else { return false };
    if column.values.len() < 8 {
        return false;
    }
    let allowed = column.values.len() / 20;
    [luhn, gtin, isbn].iter().any(|passes| {
        // Ends at the first value too many.
        column.values.iter().filter(|value| !passes(value.text.as_bytes())).nth(allowed).is_none()
    })
}

fn isbn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .zip((1..=10).rev())
        .map(|(byte, weight)| u32::from(byte.wrapping_sub(b'0')) * weight)
        .sum();
    digits.len() == 10 && digits.iter().all(u8::is_ascii_digit) && sum.is_multiple_of(11)
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
    matches!(digits.len(), 8 | 12..=14) && digits.iter().all(u8::is_ascii_digit) && sum.is_multiple_of(10)
}
