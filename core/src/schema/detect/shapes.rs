//! Takes the text of one date or time apart, so that the formats of a column can be counted.

/// The field that a date begins with; the year ends it unless it begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Year,
    Day,
    Month,
}

/// The form of a date, without what padding and letters look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateForm {
    pub(super) order: Order,
    /// Between the first and second field, and between the second and third.
    pub(super) separators: [&'static str; 2],
    pub(super) short_year: bool,
    pub(super) month_name: bool,
}

impl DateForm {
    /// The `strptime` format. `full` writes month names in full.
    pub(super) fn format(&self, full: bool) -> String {
        let year = if self.short_year { "%y" } else { "%Y" };
        let month = match (self.month_name, full) {
            (false, _) => "%m",
            (true, false) => "%b",
            (true, true) => "%B",
        };
        let fields = match self.order {
            Order::Year => [year, month, "%d"],
            Order::Day => ["%d", month, year],
            Order::Month => [month, "%d", year],
        };
        let [first, second, third] = fields;
        let [one, two] = self.separators;
        format!("{first}{one}{second}{two}{third}")
    }
}

/// How a value is spelt beyond its form; values of one column that differ here are respelt by a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spelling {
    /// A field below ten begins with 0.
    pub(super) padded: bool,
    /// A field below ten does not.
    pub(super) bare: bool,
    /// A month name of more than three letters.
    pub(super) full_name: bool,
    /// A month name of three letters, but not May, which is both.
    pub(super) short_name: bool,
    /// A month name is written in capitals or small letters only.
    pub(super) odd_case: bool,
}

/// A date with the forms that it can have: two where day and month can change places.
#[derive(Debug, Clone, Copy)]
pub(super) struct DateShape {
    pub(super) forms: [Option<DateForm>; 2],
    pub(super) spelling: Spelling,
    /// `01-02-03`: the year may as well come first.
    pub(super) reversible: bool,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Number(u32, usize),
    Month(Spelling),
}

/// Reads a date of three fields.
pub(super) fn date(text: &str) -> Option<DateShape> {
    if text.len() < 6 || text.len() > 20 || !text.as_bytes().iter().any(u8::is_ascii_digit) {
        return None;
    }
    let (first, rest) = field(text)?;
    let (one, rest) = separator(rest)?;
    let (second, rest) = field(rest)?;
    let (two, rest) = separator(rest)?;
    let (third, rest) = field(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let separators = [one, two];
    let mut spelling = Spelling::default();
    for field in [first, second, third] {
        match field {
            Field::Number(value, 2) if value < 10 => spelling.padded = true,
            Field::Number(_, 1) => spelling.bare = true,
            Field::Month(month) => {
                spelling.full_name |= month.full_name;
                spelling.short_name |= month.short_name;
                spelling.odd_case |= month.odd_case;
            }
            Field::Number(..) => {}
        }
    }
    let forms = forms([first, second, third], separators)?;
    let reversible = one == "-" && matches!(third, Field::Number(1..=31, 2));
    Some(DateShape { forms, spelling, reversible })
}

fn forms(fields: [Field; 3], separators: [&'static str; 2]) -> Option<[Option<DateForm>; 2]> {
    use Field::{Month, Number};
    let form = |order, short_year, month_name| DateForm { order, separators, short_year, month_name };
    let is_day = |day: u32| (1..=31).contains(&day);
    let is_month = |month: u32| (1..=12).contains(&month);
    let [one, two] = separators;
    match fields {
        [Number(_, 4), Number(month, 1 | 2), Number(day, 1 | 2)]
            if one == two && one != ", " && is_month(month) && is_day(day) =>
        {
            Some([Some(form(Order::Year, false, false)), None])
        }
        [Number(a, 1 | 2), Number(b, 1 | 2), Number(_, width @ (2 | 4))]
            if one == two && matches!(one, "/" | "-" | ".") =>
        {
            let short = width == 2;
            let day_first = (is_day(a) && is_month(b)).then(|| form(Order::Day, short, false));
            let month_first = (is_month(a) && is_day(b)).then(|| form(Order::Month, short, false));
            (day_first.is_some() || month_first.is_some()).then_some([day_first, month_first])
        }
        [Number(day, 1 | 2), Month(_), Number(_, width @ (2 | 4))]
            if one == two && matches!(one, " " | "-" | "/" | ".") && is_day(day) =>
        {
            Some([Some(form(Order::Day, width == 2, true)), None])
        }
        [Month(_), Number(day, 1 | 2), Number(_, 4)]
            if one == " " && matches!(two, " " | ", " | ",") && is_day(day) =>
        {
            Some([Some(form(Order::Month, false, true)), None])
        }
        [Number(_, 4), Month(_), Number(day, 1 | 2)] if one == "-" && two == "-" && is_day(day) => {
            Some([Some(form(Order::Year, false, true)), None])
        }
        _ => None,
    }
}

fn field(text: &str) -> Option<(Field, &str)> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if (1..=4).contains(&digits) {
        let (number, rest) = text.split_at(digits);
        return Some((Field::Number(number.parse().ok()?, digits), rest));
    }
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (name, rest) = text.split_at(letters);
    let may = month(name)?.eq_ignore_ascii_case("may");
    let lower = name.bytes().skip(1).all(|byte| byte.is_ascii_lowercase());
    let sept = name.eq_ignore_ascii_case("sept");
    let spelling = Spelling {
        full_name: letters > 3 && !sept,
        short_name: (letters == 3 && !may) || sept,
        odd_case: sept || !lower || !name.starts_with(|first: char| first.is_ascii_uppercase()),
        ..Spelling::default()
    };
    Some((Field::Month(spelling), rest))
}

/// The name of the month that `name` is or begins.
fn month(name: &str) -> Option<&'static str> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    MONTHS.into_iter().find(|month| {
        month.eq_ignore_ascii_case(name)
            || month.get(..3).is_some_and(|short| short.eq_ignore_ascii_case(name))
            || (name.eq_ignore_ascii_case("sept") && *month == "september")
    })
}

fn separator(text: &str) -> Option<(&'static str, &str)> {
    [", ", ",", "-", "/", ".", " "].into_iter().find_map(|one| Some((one, text.strip_prefix(one)?)))
}

/// A time of day as text shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ClockShape {
    pub(super) hour: u32,
    /// The hour has one digit.
    pub(super) bare: bool,
    pub(super) seconds: bool,
    /// Digits of the fraction.
    pub(super) fraction: usize,
    /// The fraction ends in 0.
    pub(super) trailing_zero: bool,
    /// The fraction begins with a comma.
    pub(super) comma: bool,
    pub(super) meridiem: bool,
    /// No blank before AM or PM.
    pub(super) tight: bool,
    pub(super) offset: Option<Offset>,
}

/// How an offset is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// `Z`
    Zulu,
    /// `z`, `UTC`, `GMT`
    Named,
    /// Digits, zero.
    Zero,
    /// Digits, not zero.
    Other,
}

/// Reads `hh:mm[:ss[.fraction]][ AM][offset]`. Ranges are not checked.
pub(super) fn clock(text: &str) -> Option<ClockShape> {
    let mut shape = ClockShape::default();
    let (hour, rest) = digits(text, 1, 2)?;
    shape.hour = hour.parse().ok()?;
    shape.bare = hour.len() == 1;
    let (_, mut rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    if let Some(after) = rest.strip_prefix(':') {
        (_, rest) = digits(after, 2, 2)?;
        shape.seconds = true;
        if let Some(after) = rest.strip_prefix(['.', ',']) {
            shape.comma = rest.starts_with(',');
            let (fraction, after) = digits(after, 1, 12)?;
            shape.fraction = fraction.len();
            shape.trailing_zero = fraction.ends_with('0');
            rest = after;
        }
    }
    let tail = rest.trim_start();
    if ["am", "pm", "a.m.", "p.m."].iter().any(|word| tail.eq_ignore_ascii_case(word)) {
        shape.meridiem = true;
        shape.tight = tail.len() == rest.len();
        return Some(shape);
    }
    if !rest.is_empty() {
        shape.offset = Some(offset(tail)?);
    }
    Some(shape)
}

fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::Zulu);
    }
    if ["z", "utc", "gmt"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(Offset::Named);
    }
    let number = text.strip_prefix(['+', '-'])?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let zero = number.bytes().all(|byte| matches!(byte, b'0' | b':'));
    Some(if zero { Offset::Zero } else { Offset::Other })
}

fn digits(text: &str, least: usize, most: usize) -> Option<(&str, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (length >= least).then(|| text.split_at(length))
}

/// Splits date, link (`T`, a blank, ` - `) and time of day.
pub(super) fn date_and_clock(text: &str) -> Option<(DateShape, &str, ClockShape)> {
    let colon = text.find(':')?;
    let before = text.get(..colon)?;
    let hour = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let clock = clock(text.get(hour..)?)?;
    let before = text.get(..hour)?;
    let date_end = before.trim_end_matches([' ', '-', 'T', 't']).len();
    let (date_text, link) = before.split_at(date_end);
    if link.is_empty() || !matches!(link.trim(), "" | "T" | "t" | "-") {
        return None;
    }
    Some((date(date_text)?, link, clock))
}
