//! Casts of values that nobody thought of, compared with an exact form that shares no code with them: the
//! decimal digits of a number as text, 128-bit integers for instants.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;

use super::kernel::{Cast, Kernel};
use super::parse::{MAX_MICROS, MIN_MICROS};
use super::policy::RoundPolicy;
use super::{parse, recipe_for};
use crate::schema::bigquery::{BigQueryType, Mode};

fn cast_as(array: &ArrayRef, target: &BigQueryType, format: Option<&str>, rounding: RoundPolicy) -> Cast {
    let recipe = recipe_for(array.data_type(), target, format).unwrap();
    let kernel = Kernel::plan(array.data_type(), None, target, Mode::Nullable, &recipe).unwrap();
    let cast = kernel.run(array, rounding).unwrap();
    assert!(kernel.may_reject() || cast.rejected.is_empty(), "{target}: {:?}", cast.rejected);
    assert_eq!(cast.array.len(), array.len());
    cast
}

fn strict(array: &ArrayRef, target: &BigQueryType) -> Cast {
    let cast = cast_as(array, target, None, RoundPolicy::Refuse);
    assert!(cast.rounded.is_empty());
    cast
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

/// A number as its digits without zeros at either end, and the power of ten behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exact {
    negative: bool,
    digits: String,
    power: i64,
}

impl Exact {
    /// `digits * 10^power`; the digits may begin with a minus.
    fn new(digits: &str, power: i64) -> Self {
        let (negative, digits) = match digits.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, digits),
        };
        let trimmed = digits.trim_end_matches('0');
        let power = power + count(digits.len() - trimmed.len());
        let digits = trimmed.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Self { negative: false, digits, power: 0 };
        }
        Self { negative, digits, power }
    }

    /// Of an array of decimals or integers.
    fn of(array: &ArrayRef, row: usize) -> Self {
        let scale = |scale: i8| -i64::from(scale);
        match array.data_type() {
            DataType::Int64 => Self::new(&array.as_primitive::<Int64Type>().value(row).to_string(), 0),
            DataType::Decimal128(_, s) => {
                Self::new(&array.as_primitive::<Decimal128Type>().value(row).to_string(), scale(*s))
            }
            DataType::Decimal256(_, s) => {
                Self::new(&array.as_primitive::<Decimal256Type>().value(row).to_string(), scale(*s))
            }
            other => panic!("{other}"),
        }
    }

    /// Whether a type of this precision and scale holds it.
    fn fits(&self, precision: u8, scale: u8) -> bool {
        let whole = count(self.digits.len()) + self.power;
        self.digits.is_empty()
            || (self.power >= -i64::from(scale) && whole <= i64::from(precision) - i64::from(scale))
    }
}

/// `Exact` of every digit of a double: its mantissa times 2 or 5 so many times, by hand.
fn digits_of(value: f64) -> Exact {
    let bits = value.to_bits();
    let raw = i64::try_from((bits >> 52) & 0x7ff).unwrap();
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, mut exponent) =
        if raw == 0 { (fraction, -1074) } else { (fraction | (1 << 52), raw - 1075) };
    let mut digits: Vec<u8> = mantissa.to_string().bytes().rev().map(|byte| byte - b'0').collect();
    let mut power = 0;
    let mut times = |factor: u8| {
        let mut carry = 0;
        for digit in &mut digits {
            let product = *digit * factor + carry;
            *digit = product % 10;
            carry = product / 10;
        }
        if carry > 0 {
            digits.push(carry);
        }
    };
    while exponent > 0 {
        times(2);
        exponent -= 1;
    }
    while exponent < 0 {
        times(5);
        exponent += 1;
        power -= 1;
    }
    let text: String = digits.iter().rev().map(|digit| char::from(digit + b'0')).collect();
    Exact::new(&format!("{}{text}", if value.is_sign_negative() { "-" } else { "" }), power)
}

/// Which of two numbers a value half-way between them becomes: the one whose last digit is even, or odd.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    ToEven,
    ToOdd,
}

/// The first `count` digits, the last one rounded.
fn round_to(exact: &Exact, count: usize, half: Half) -> Exact {
    if exact.digits.len() <= count {
        return exact.clone();
    }
    let (kept, rest) = exact.digits.split_at(count);
    let mut kept: Vec<u8> = kept.bytes().collect();
    let middle = format!("5{}", "0".repeat(rest.len() - 1));
    let odd = kept.last().unwrap() % 2 == 1;
    if rest > middle.as_str() || (rest == middle && odd == (half == Half::ToEven)) {
        match kept.iter().rposition(|digit| *digit != b'9') {
            Some(place) => {
                kept[place] += 1;
                kept[place + 1..].fill(b'0');
            }
            None => {
                kept.fill(b'0');
                kept.insert(0, b'1');
            }
        }
    }
    let digits = String::from_utf8(kept).unwrap();
    let sign = if exact.negative { "-" } else { "" };
    Exact::new(&format!("{sign}{digits}"), exact.power + self::count(rest.len()))
}

fn decimal_type() -> impl Strategy<Value = BigQueryType> {
    prop_oneof![
        (0_u8..=9, 1_u8..=29).prop_map(|(scale, whole)| BigQueryType::Numeric(Some((whole + scale, scale)))),
        (0_u8..=38, 1_u8..=38)
            .prop_map(|(scale, whole)| BigQueryType::BigNumeric(Some((whole + scale, scale)))),
        Just(BigQueryType::Numeric(None)),
        Just(BigQueryType::BigNumeric(None)),
        Just(BigQueryType::Int64),
    ]
}

/// Whether the type holds the number.
fn holds(target: &BigQueryType, exact: &Exact) -> bool {
    match target.precision_scale() {
        Some((precision, scale)) => exact.fits(precision, scale),
        None => {
            let text = format!(
                "{}{}{}",
                if exact.negative { "-" } else { "" },
                if exact.digits.is_empty() { "0" } else { exact.digits.as_str() },
                "0".repeat(usize::try_from(exact.power).unwrap_or(0))
            );
            exact.power >= 0 && text.parse::<i64>().is_ok()
        }
    }
}

/// Integers of every length.
fn unscaled() -> impl Strategy<Value = i128> {
    (0_u32..38, any::<i128>(), 0_u32..6).prop_map(|(digits, value, zeros)| {
        let value = value % 10_i128.pow(digits + 1);
        // Zeros at the end are what decides whether a scale fits.
        value - value % 10_i128.pow(zeros.min(digits))
    })
}

/// A number as people and programs write it, and what it is.
fn number_text() -> impl Strategy<Value = (String, Exact)> {
    let exponent = prop_oneof![3 => Just(None), 1 => (-40_i64..40).prop_map(Some)];
    ("[+-]?", "0{0,3}[0-9]{0,40}", "[0-9]{0,40}0{0,4}", exponent).prop_filter_map(
        "a digit",
        |(sign, whole, fraction, exponent)| {
            if whole.is_empty() && fraction.is_empty() {
                return None;
            }
            let point = if fraction.is_empty() { "" } else { "." };
            let behind = exponent.map(|power| format!("e{power}")).unwrap_or_default();
            let digits = format!("{}{whole}{fraction}", if sign == "-" { "-" } else { "" });
            let exact = Exact::new(&digits, exponent.unwrap_or(0) - count(fraction.len()));
            Some((format!("{sign}{whole}{point}{fraction}{behind}"), exact))
        },
    )
}

proptest! {
    #[test]
    fn decimals_keep_their_value_or_do_not_fit(
        values in prop::collection::vec(unscaled(), 1..20),
        scale in -10_i8..=38,
        target in decimal_type(),
    ) {
        let source = Decimal128Array::from(values.clone()).with_precision_and_scale(38, scale).unwrap();
        let wide: Vec<_> = values.iter().map(|value| arrow_buffer::i256::from_i128(*value)).collect();
        let wide = Decimal256Array::from(wide).with_precision_and_scale(76, scale).unwrap();
        for source in [Arc::new(source) as ArrayRef, Arc::new(wide)] {
            let cast = strict(&source, &target);
            for (row, value) in values.iter().enumerate() {
                let exact = Exact::new(&value.to_string(), -i64::from(scale));
                prop_assert_eq!(cast.array.is_valid(row), holds(&target, &exact), "{:?} as {}", exact, target);
                if cast.array.is_valid(row) {
                    prop_assert_eq!(Exact::of(&cast.array, row), exact);
                }
            }
            prop_assert_eq!(cast.rejected.len(), cast.array.null_count());
        }
    }

    #[test]
    fn rounded_decimals_are_the_nearest(
        values in prop::collection::vec(-10_i128.pow(30)..10_i128.pow(30), 1..20),
        (from, to) in (1_i8..=30).prop_flat_map(|from| (Just(from), 0_u8..=9)),
    ) {
        let shift = i32::from(from) - i32::from(to);
        prop_assume!(shift > 0);
        let unit = 10_i128.pow(u32::try_from(shift).unwrap());
        let target = BigQueryType::BigNumeric(Some((38 + to, to)));
        let source = Decimal128Array::from(values.clone()).with_precision_and_scale(38, from).unwrap();
        let texts: Vec<String> = (0..values.len()).map(|row| source.value_as_string(row)).collect();
        for source in [Arc::new(source) as ArrayRef, Arc::new(StringArray::from(texts))] {
            let cast = cast_as(&source, &target, None, RoundPolicy::Round);
            prop_assert!(cast.rejected.is_empty());
            let result = cast.array.as_primitive::<Decimal256Type>();
            for (row, value) in values.iter().enumerate() {
                let found = result.value(row).to_i128().unwrap();
                let away = (found * unit - value) * 2;
                prop_assert!(away.abs() <= unit, "{} became {}", value, found);
                // A value in the middle goes away from zero.
                prop_assert!(away.abs() < unit || found.abs() * unit > value.abs());
                prop_assert_eq!(cast.rounded.contains(&row), value % unit != 0);
            }
        }
    }

    #[test]
    fn texts_become_decimals_exactly(texts in prop::collection::vec(number_text(), 1..20), target in decimal_type()) {
        prop_assume!(target != BigQueryType::Int64);
        let source: ArrayRef = Arc::new(StringArray::from_iter_values(texts.iter().map(|(text, _)| text)));
        let cast = strict(&source, &target);
        for (row, (text, exact)) in texts.iter().enumerate() {
            prop_assert_eq!(cast.array.is_valid(row), holds(&target, exact), "{} as {}", text, target);
            if cast.array.is_valid(row) {
                prop_assert_eq!(&Exact::of(&cast.array, row), exact, "{}", text);
            }
        }
    }

    #[test]
    fn texts_become_doubles_that_say_the_same((text, exact) in number_text()) {
        let source: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let cast = strict(&source, &BigQueryType::Float64);
        let nearest: f64 = text.parse().unwrap();
        let printed = |half| round_to(&digits_of(nearest), exact.digits.len().max(1), half);
        let same = printed(Half::ToEven) == exact || printed(Half::ToOdd) == exact;
        prop_assert_eq!(cast.array.is_valid(0), same, "{}", text);
        let rounded = cast_as(&source, &BigQueryType::Float64, None, RoundPolicy::Round);
        prop_assert_eq!(rounded.array.as_primitive::<Float64Type>().value(0).to_bits(), nearest.to_bits());
        prop_assert_eq!(rounded.rounded.len(), usize::from(!same));
    }

    // Doubles from 2^50 to 2^51 are a quarter apart: with one digit behind the point, .25 and .75 are half-way.
    #[test]
    fn a_double_half_way_says_either_number(whole in 1_u64 << 50..1 << 51, up in any::<bool>()) {
        let quarter = if up { 75 } else { 25 };
        let value = whole as f64 + quarter as f64 / 100.0;
        for tenth in 0..10 {
            let said = tenth == quarter / 10 || tenth == quarter / 10 + 1;
            let text = format!("{whole}.{tenth}");
            let read = parse::float(text.as_bytes());
            // Other tenths are those of other doubles, or of none.
            prop_assert_eq!(read == Ok(value), said, "{}", text);
        }
    }

    #[test]
    fn doubles_survive_as_text(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let all_digits = format!("{value:.1100}");
        let seventeen = format!("{value:.16e}");
        for text in [value.to_string(), format!("{value:?}"), format!("{value:e}"), all_digits, seventeen] {
            let read = parse::float(text.as_bytes()).map(f64::to_bits);
            prop_assert_eq!(read, Ok(value.to_bits()), "{}", text);
        }
        // So they do as JSON, which serde_json prints with as few digits as needed.
        let json = serde_json::json!([value, {"a": value}]).to_string();
        prop_assert_eq!(parse::json(json.as_bytes()), Ok(()), "{}", json);
    }

    #[test]
    fn integers_become_doubles_or_do_not_fit(values in prop::collection::vec(any::<i64>(), 1..20), shift in 0_u32..63) {
        let values: Vec<i64> = values.iter().map(|value| (value >> shift) << (shift / 2)).collect();
        let source: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        let cast = strict(&source, &BigQueryType::Float64);
        for (row, value) in values.iter().enumerate() {
            let exact = Exact::new(&value.to_string(), 0);
            let same = digits_of(*value as f64) == exact;
            prop_assert_eq!(cast.array.is_valid(row), same, "{}", value);
        }
    }

    #[test]
    fn instants_keep_their_microsecond(
        values in prop::collection::vec(any::<i64>(), 1..20),
        shift in 0_u32..40,
        unit in 0_usize..4,
        zone in any::<bool>(),
        round in any::<bool>(),
    ) {
        let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
        let nanos = [1_000_000_000_i128, 1_000_000, 1_000, 1][unit];
        let values: Vec<i64> = values.iter().map(|value| value >> shift).collect();
        let zone = zone.then(|| Arc::from("+05:30"));
        let target = if zone.is_some() { BigQueryType::Timestamp } else { BigQueryType::DateTime };
        let array: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        let array = arrow_cast::cast(&array, &DataType::Timestamp(units[unit], zone)).unwrap();
        let policy = if round { RoundPolicy::Round } else { RoundPolicy::Refuse };
        let cast = cast_as(&array, &target, None, policy);
        let result = cast.array.as_primitive::<TimestampMicrosecondType>();
        for (row, value) in values.iter().enumerate() {
            let exact = i128::from(*value) * nanos;
            let micros = exact.div_euclid(1_000);
            let whole = exact % 1_000 == 0;
            let range = i128::from(MIN_MICROS)..=i128::from(MAX_MICROS);
            let fits = range.contains(&micros) && (whole || round);
            prop_assert_eq!(result.is_valid(row), fits);
            prop_assert!(!fits || i128::from(result.value(row)) == micros);
            prop_assert_eq!(cast.rounded.contains(&row), fits && !whole);
        }
    }

    #[test]
    fn texts_of_instants_are_cut_to_the_microsecond_before(
        // As far as jiff goes; the last day of BigQuery has a test of its own.
        seconds in -62_135_596_800_i64..253_402_207_200,
        fraction in "[0-9]{1,12}",
    ) {
        let whole = jiff::Timestamp::from_second(seconds).unwrap();
        let text = format!("{}.{fraction}Z", whole.strftime("%Y-%m-%d %H:%M:%S"));
        let micros: i64 = format!("{fraction:0<6}")[..6].parse().unwrap();
        let source: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let more = fraction.bytes().skip(6).any(|digit| digit != b'0');
        let cast = strict(&source, &BigQueryType::Timestamp);
        prop_assert_eq!(cast.array.is_null(0), more, "{}", text);
        let cast = cast_as(&source, &BigQueryType::Timestamp, None, RoundPolicy::Round);
        let result = cast.array.as_primitive::<TimestampMicrosecondType>().value(0);
        prop_assert_eq!(result, seconds * 1_000_000 + micros, "{}", text);
        prop_assert_eq!(cast.rounded.len(), usize::from(more));
    }

    #[test]
    fn times_of_day_stay_inside_the_day(values in prop::collection::vec(any::<i64>(), 1..20), shift in 0_u32..40) {
        let values: Vec<i64> = values.iter().map(|value| value >> shift).collect();
        let nanos: ArrayRef = Arc::new(Time64NanosecondArray::from(values.clone()));
        let micros: ArrayRef = Arc::new(Time64MicrosecondArray::from(values.clone()));
        let (nanos, micros) = (strict(&nanos, &BigQueryType::Time), strict(&micros, &BigQueryType::Time));
        for (row, value) in values.iter().enumerate() {
            let day = 0..86_400_000_000_i64;
            prop_assert_eq!(nanos.array.is_valid(row), value % 1_000 == 0 && day.contains(&(value / 1_000)));
            prop_assert_eq!(micros.array.is_valid(row), day.contains(value));
        }
    }

    #[test]
    fn dates_are_days_of_the_calendar(year in -100_i32..12_000, month in 0_u8..15, day in 0_u8..35) {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let source: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let cast = strict(&source, &BigQueryType::Date);
        let known = i16::try_from(year).ok().filter(|year| (1..=9999).contains(year));
        let known = known.and_then(|year| {
            jiff::civil::Date::new(year, i8::try_from(month).unwrap(), i8::try_from(day).unwrap()).ok()
        });
        let days = known.map(|date| {
            let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).unwrap();
            since.get_days()
        });
        let found = cast.array.as_primitive::<Date32Type>();
        prop_assert_eq!(found.is_valid(0).then(|| found.value(0)), days, "{}", text);
    }

    #[test]
    fn any_text_is_read_or_kept_out(
        texts in prop::collection::vec(prop::option::of("\\PC{0,12}|[0-9:. TZ+-]{0,25}|[0-9,.]{0,12}"), 1..30),
        target in 0_usize..9,
        round in any::<bool>(),
    ) {
        use BigQueryType::{Bool, Date, DateTime, Float64, Int64, Json, Numeric, Time, Timestamp};
        let target = [Int64, Numeric(None), Float64, Bool, Date, DateTime, Time, Timestamp, Json][target].clone();
        let source: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let policy = if round { RoundPolicy::Round } else { RoundPolicy::Refuse };
        let cast = cast_as(&source, &target, None, policy);
        let blanks = super::blanks(&source, &cast);
        for (row, text) in texts.iter().enumerate() {
            // Every row is exactly one of: NULL before, blank, rejected, a value.
            let rejected = cast.rejected.iter().any(|(other, _)| *other == row);
            let blank = text.as_ref().is_some_and(|text| text.trim().is_empty());
            prop_assert_eq!(blanks.contains(&row), blank);
            let states = [text.is_none(), blank, rejected, cast.array.is_valid(row)];
            prop_assert_eq!(states.iter().filter(|state| **state).count(), 1, "{:?} as {}", text, &target);
        }
    }
}
