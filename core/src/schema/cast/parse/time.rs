//! Dates, times and timestamps in text, by `strptime` formats compiled once.

use super::Misfit;

/// 0001-01-01 in days since 1970-01-01: the first DATE.
pub(in crate::schema) const MIN_DAYS: i32 = -719_162;
/// 9999-12-31 in days since 1970-01-01: the last DATE.
pub(in crate::schema) const MAX_DAYS: i32 = 2_932_896;
/// Microseconds of a day.
pub(in crate::schema) const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01 00:00:00 in microseconds since 1970-01-01.
pub(in crate::schema) const MIN_MICROS: i64 = -719_162 * MICROS_PER_DAY;
/// 9999-12-31 23:59:59.999999 in microseconds since 1970-01-01.
pub(in crate::schema) const MAX_MICROS: i64 = 2_932_897 * MICROS_PER_DAY - 1;

/// What a format must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schema) enum Want {
    Date,
    Time,
    DateTime,
    /// With an offset.
    Timestamp,
}

impl Want {
    fn form(self) -> Misfit {
        Misfit::Form(match self {
            Self::Date => "a date of the format",
            Self::Time => "a time of day of the format",
            Self::DateTime => "a date and time of the format",
            Self::Timestamp => "a date and time with an offset of the format",
        })
    }
}

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::schema) struct TimeFormat {
    want: Want,
    steps: Vec<Step>,
    /// ISO 8601 with its usual variants: see [`TimeFormat::new`].
    iso: bool,
    /// Digits of the second beyond the sixth are cut off.
    cuts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Literal(u8),
    Blanks,
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    DayOfYear,
    Hour,
    Hour12,
    AmPm,
    Minute,
    Second,
    /// `.` and digits, or nothing.
    Fraction,
    /// Digits without the point.
    FractionDigits,
    Offset,
}

#[derive(Debug, Default)]
struct Parts {
    year: i32,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    afternoon: Option<bool>,
    offset_minutes: i64,
}

impl TimeFormat {
    /// Compiles a format. The directives are `%Y %y %m %b %B %d %e %j %H %I %p %M %S %f %.f %z %:z %F %T %R %D`
    /// (and `%3f`, `%.6f` and the like); all else is literal, and a blank matches any number of blanks but
    /// none.
    ///
    /// Numbers may lack leading zeros where something separates them. `%y` means 1969 to 2068. Formats of
    /// a date and time that begin `%Y-%m-%d` and go on in ISO's order take every usual spelling of ISO
    /// 8601: `T` or a blank between, seconds and fraction or none, `Z`, `UTC`, `+hh`, `+hhmm` or `+hh:mm`.
    ///
    /// # Errors
    /// The reason, as text.
    pub(in crate::schema) fn new(format: &str, want: Want) -> Result<Self, String> {
        let steps = compile(format)?;
        let has = |wanted: &[Step]| steps.iter().any(|step| wanted.contains(step));
        let date = has(&[Step::Year, Step::ShortYear])
            && (has(&[Step::DayOfYear]) || (has(&[Step::Month, Step::MonthName]) && has(&[Step::Day])));
        let time = has(&[Step::Hour]) || (has(&[Step::Hour12]) && has(&[Step::AmPm]));
        let zulu = steps.last() == Some(&Step::Literal(b'Z'));
        let missing = match want {
            Want::Date | Want::DateTime | Want::Timestamp if !date => "year, month and day",
            Want::Time | Want::DateTime | Want::Timestamp if !time => "an hour (%H, or %I with %p)",
            Want::Timestamp if !has(&[Step::Offset]) && !zulu => "an offset (%z or %:z)",
            _ => {
                let iso = matches!(want, Want::DateTime | Want::Timestamp) && is_iso(&steps);
                return Ok(Self { want, steps, iso, cuts: false });
            }
        };
        Err(format!("the format `{format}` lacks {missing}"))
    }

    /// The same format, which cuts digits of the second beyond the sixth off instead of refusing them.
    pub(in crate::schema) fn cutting(&self) -> Self {
        Self { cuts: true, ..self.clone() }
    }

    /// A date as days since 1970-01-01.
    pub(in crate::schema) fn date(&self, text: &[u8]) -> Result<i32, Misfit> {
        use Step::{Day, Literal, Month, Year};
        match (self.steps.as_slice(), text) {
            ([Year, Literal(a), Month, Literal(b), Day], [y1, y2, y3, y4, sep1, m1, m2, sep2, d1, d2])
                if sep1 == a && sep2 == b =>
            {
                if let Some(parts) = compact([*y1, *y2, *y3, *y4, *m1, *m2, *d1, *d2]) {
                    return days(parts);
                }
            }
            ([Year, Month, Day], text) => {
                let digits: [u8; 8] = text.try_into().map_err(|_| self.want.form())?;
                return days(compact(digits).ok_or(self.want.form())?);
            }
            _ => {}
        }
        self.read(text)?.days()
    }

    /// A time of day in microseconds.
    pub(in crate::schema) fn time(&self, text: &[u8]) -> Result<i64, Misfit> {
        self.read(text)?.micros_of_day()
    }

    /// A date and time as microseconds since 1970-01-01 00:00:00; an offset is subtracted.
    pub(in crate::schema) fn date_time(&self, text: &[u8]) -> Result<i64, Misfit> {
        let parts = self.read(text)?;
        let micros = i64::from(parts.days()?) * MICROS_PER_DAY + parts.micros_of_day()?
            - parts.offset_minutes * 60_000_000;
        if (MIN_MICROS..=MAX_MICROS).contains(&micros) { Ok(micros) } else { Err(Misfit::Range) }
    }

    fn read(&self, text: &[u8]) -> Result<Parts, Misfit> {
        let mut scan = Scan { rest: text, cuts: self.cuts };
        let read = if self.iso { self.iso(&mut scan) } else { self.by_steps(&mut scan) };
        match read? {
            Some(parts) if scan.rest.is_empty() => Ok(parts),
            _ => Err(self.want.form()),
        }
    }

    fn iso(&self, scan: &mut Scan<'_>) -> Result<Option<Parts>, Misfit> {
        let mut parts = Parts::default();
        let Some(()) = scan.iso_until_minute(&mut parts) else { return Ok(None) };
        if scan.eat(b':') {
            let Some(second) = scan.number(2, 2) else { return Ok(None) };
            parts.second = second;
            if scan.eat(b'.') {
                let Some(micros) = scan.fraction()? else { return Ok(None) };
                parts.micros = micros;
            }
        }
        if self.want == Want::Timestamp {
            scan.blanks();
            let Some(offset) = scan.offset() else { return Ok(None) };
            parts.offset_minutes = offset;
        }
        Ok(Some(parts))
    }

    fn by_steps(&self, scan: &mut Scan<'_>) -> Result<Option<Parts>, Misfit> {
        let mut parts = Parts::default();
        for (i, step) in self.steps.iter().enumerate() {
            if matches!(step, Step::Fraction | Step::FractionDigits) {
                if *step == Step::Fraction && !scan.eat(b'.') {
                    continue;
                }
                let Some(micros) = scan.fraction()? else { return Ok(None) };
                parts.micros = micros;
                continue;
            }
            // Digits beside digits are told apart by their width alone.
            let tight = self.steps.get(i + 1).is_some_and(|next| next.is_number())
                || (i > 0 && self.steps.get(i - 1).is_some_and(|previous| previous.is_number()));
            if scan.step(*step, tight, &mut parts).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(parts))
    }
}

impl Step {
    fn is_number(self) -> bool {
        !matches!(
            self,
            Self::Literal(_) | Self::Blanks | Self::MonthName | Self::AmPm | Self::Fraction | Self::Offset
        )
    }
}

impl Parts {
    fn days(&self) -> Result<i32, Misfit> {
        match self.day_of_year {
            None => days((self.year, self.month, self.day)),
            Some(day) => {
                let first = days((self.year, 1, 1))?;
                let last = days((self.year, 12, 31))?;
                let day = first.saturating_add(i32::try_from(day).unwrap_or(i32::MAX)).saturating_sub(1);
                if day >= first && day <= last { Ok(day) } else { Err(NO_DAY) }
            }
        }
    }

    fn micros_of_day(&self) -> Result<i64, Misfit> {
        let hour = match self.afternoon {
            Some(afternoon) => {
                if !(1..=12).contains(&self.hour) {
                    return Err(NO_TIME);
                }
                self.hour % 12 + if afternoon { 12 } else { 0 }
            }
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return Err(NO_TIME);
        }
        let seconds = i64::from(hour * 3600 + self.minute * 60 + self.second);
        Ok(seconds * 1_000_000 + i64::from(self.micros))
    }
}

const NO_DAY: Misfit = Misfit::Form("a day of the calendar");
const NO_TIME: Misfit = Misfit::Form("a time of day from 00:00:00 to 23:59:59");

fn compact(digits: [u8; 8]) -> Option<(i32, u32, u32)> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [y1, y2, y3, y4, m1, m2, d1, d2] = digits.map(|byte| u32::from(byte - b'0'));
    let year = i32::try_from(y1 * 1000 + y2 * 100 + y3 * 10 + y4).ok()?;
    Some((year, m1 * 10 + m2, d1 * 10 + d2))
}

/// Days since 1970-01-01 of a day in the years 1 to 9999 (proleptic Gregorian calendar).
fn days((year, month, day): (i32, u32, u32)) -> Result<i32, Misfit> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return Err(NO_DAY),
    };
    if !(1..=length).contains(&day) || !(1..=9999).contains(&year) {
        return Err(NO_DAY);
    }
    // Years that begin in March, so that the leap day is the last one.
    let (month, day) = (i32::try_from(month).map_err(|_| NO_DAY)?, i32::try_from(day).map_err(|_| NO_DAY)?);
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month <= 2 { month + 9 } else { month - 3 };
    let before = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
    Ok(before + day - 1 - 719_468)
}

fn is_iso(steps: &[Step]) -> bool {
    use Step::{Blanks, Day, Fraction, Hour, Literal, Minute, Month, Offset, Second, Year};
    let Some(rest) = steps.strip_prefix(&[Year, Literal(b'-'), Month, Literal(b'-'), Day]) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix(&[Literal(b'T')]).or_else(|| rest.strip_prefix(&[Blanks])) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix(&[Hour, Literal(b':'), Minute]) else { return false };
    let rest = rest.strip_prefix(&[Literal(b':'), Second]).unwrap_or(rest);
    let rest = rest.strip_prefix(&[Fraction]).unwrap_or(rest);
    matches!(rest, [] | [Offset] | [Blanks, Offset] | [Literal(b'Z')])
}

fn compile(format: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = format.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => rest = directive(format, after, &mut steps)?,
            b' ' | b'\t' => {
                if steps.last() != Some(&Step::Blanks) {
                    steps.push(Step::Blanks);
                }
            }
            _ => steps.push(Step::Literal(*byte)),
        }
    }
    Ok(steps)
}

fn directive<'a>(format: &str, text: &'a [u8], steps: &mut Vec<Step>) -> Result<&'a [u8], String> {
    use Step::{Blanks, Day, DayOfYear, Hour, Literal, Minute, Month, Second, ShortYear, Year};
    let unknown = || {
        format!(
            "the format `{format}` has a directive that is not one of \
             %Y %y %m %b %B %d %e %j %H %I %p %M %S %f %.f %z %:z %F %T %R %D"
        )
    };
    // Padding flags and widths change how values are written, not how they are read.
    let skip = text.iter().take_while(|byte| matches!(byte, b'-' | b'_' | b'.' | b':' | b'0'..=b'9')).count();
    let (flags, after) = text.split_at(skip);
    let [letter, after @ ..] = after else { return Err(unknown()) };
    let point = flags.contains(&b'.');
    if (point && *letter != b'f') || (flags.contains(&b':') && *letter != b'z') {
        return Err(unknown());
    }
    match letter {
        b'Y' => steps.push(Year),
        b'y' => steps.push(ShortYear),
        b'm' => steps.push(Month),
        b'b' | b'B' | b'h' => steps.push(Step::MonthName),
        b'd' | b'e' => steps.push(Day),
        b'j' => steps.push(DayOfYear),
        b'H' => steps.push(Hour),
        b'I' => steps.push(Step::Hour12),
        b'p' | b'P' => steps.push(Step::AmPm),
        b'M' => steps.push(Minute),
        b'S' => steps.push(Second),
        b'f' if point => steps.push(Step::Fraction),
        b'f' => steps.push(Step::FractionDigits),
        b'z' => steps.push(Step::Offset),
        b'F' => steps.extend([Year, Literal(b'-'), Month, Literal(b'-'), Day]),
        b'T' => steps.extend([Hour, Literal(b':'), Minute, Literal(b':'), Second]),
        b'R' => steps.extend([Hour, Literal(b':'), Minute]),
        b'D' => steps.extend([Month, Literal(b'/'), Day, Literal(b'/'), ShortYear]),
        b'n' | b't' => steps.push(Blanks),
        b'%' => steps.push(Literal(b'%')),
        _ => return Err(unknown()),
    }
    Ok(after)
}

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

struct Scan<'a> {
    rest: &'a [u8],
    cuts: bool,
}

impl Scan<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn blanks(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_ascii_start();
        self.rest.len() < before
    }

    /// A number of `least` to `most` digits; takes as many as there are.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let mut value = 0;
        let mut length = 0;
        while length < most
            && let Some(byte) = self.rest.get(length)
            && byte.is_ascii_digit()
        {
            value = value * 10 + u32::from(byte - b'0');
            length += 1;
        }
        if length < least {
            return None;
        }
        self.rest = self.rest.get(length..)?;
        Some(value)
    }

    /// Digits after a point, in microseconds; finer ones must be zero or are cut off. `None` without any
    /// digit.
    fn fraction(&mut self) -> Result<Option<u32>, Misfit> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        if !self.cuts && digits.iter().skip(6).any(|&byte| byte != b'0') {
            return Err(Misfit::SubMicrosecond);
        }
        let micros =
            (0..6).fold(0, |value, i| value * 10 + digits.get(i).map_or(0, |byte| u32::from(byte - b'0')));
        Ok((length > 0).then_some(micros))
    }

    fn iso_until_minute(&mut self, parts: &mut Parts) -> Option<()> {
        parts.year = i32::try_from(self.number(4, 4)?).ok()?;
        self.eat(b'-').then_some(())?;
        parts.month = self.number(1, 2)?;
        self.eat(b'-').then_some(())?;
        parts.day = self.number(1, 2)?;
        (self.eat(b'T') || self.eat(b't') || self.blanks()).then_some(())?;
        parts.hour = self.number(1, 2)?;
        self.eat(b':').then_some(())?;
        parts.minute = self.number(2, 2)?;
        Some(())
    }

    /// `Z`, `UTC`, `GMT`, `+hh`, `+hhmm` or `+hh:mm`, in minutes east of Greenwich.
    fn offset(&mut self) -> Option<i64> {
        if self.eat(b'Z') || self.eat(b'z') || self.word("utc") || self.word("gmt") {
            return Some(0);
        }
        let east = self.eat(b'+');
        if !east && !self.eat(b'-') {
            return None;
        }
        let hours = self.number(2, 2)?;
        let minutes = if self.eat(b':') || !self.rest.is_empty() { self.number(2, 2)? } else { 0 };
        if hours > 23 || minutes > 59 {
            return None;
        }
        let offset = i64::from(hours * 60 + minutes);
        Some(if east { offset } else { -offset })
    }

    fn word(&mut self, word: &str) -> bool {
        match self.rest.split_at_checked(word.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(word.as_bytes()) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn month_name(&mut self) -> Option<u32> {
        let found = MONTHS.iter().zip(1..).find(|(name, _)| self.word(name));
        let found = found.or_else(|| MONTHS.iter().zip(1..).find(|(name, _)| self.word(&name[..3])));
        // `Sept` is no abbreviation here, and `Junk` no month.
        (!self.rest.first().is_some_and(u8::is_ascii_alphabetic)).then_some(())?;
        found.map(|(_, number)| number)
    }

    fn step(&mut self, step: Step, tight: bool, parts: &mut Parts) -> Option<()> {
        let least = if tight { 2 } else { 1 };
        match step {
            Step::Literal(byte) => return self.eat(byte).then_some(()),
            Step::Blanks => return self.blanks().then_some(()),
            Step::Year => parts.year = i32::try_from(self.number(4, 4)?).ok()?,
            Step::ShortYear => {
                let year = i32::try_from(self.number(2, 2)?).ok()?;
                parts.year = year + if year < 69 { 2000 } else { 1900 };
            }
            Step::Month => parts.month = self.number(least, 2)?,
            Step::MonthName => parts.month = self.month_name()?,
            Step::Day => {
                if !tight {
                    self.blanks();
                }
                parts.day = self.number(least, 2)?;
            }
            Step::DayOfYear => parts.day_of_year = Some(self.number(if tight { 3 } else { 1 }, 3)?),
            Step::Hour | Step::Hour12 => parts.hour = self.number(least, 2)?,
            Step::Minute => parts.minute = self.number(2, 2)?,
            Step::Second => parts.second = self.number(2, 2)?,
            Step::Offset => parts.offset_minutes = self.offset()?,
            Step::AmPm => {
                let afternoon = if self.word("am") || self.word("a.m.") {
                    false
                } else if self.word("pm") || self.word("p.m.") {
                    true
                } else {
                    return None;
                };
                parts.afternoon = Some(afternoon);
            }
            Step::Fraction | Step::FractionDigits => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(format: &str, text: &str) -> Result<i32, Misfit> {
        TimeFormat::new(format, Want::Date).unwrap().date(text.as_bytes())
    }

    fn jiff_days(text: &str) -> i32 {
        let epoch = jiff::civil::date(1970, 1, 1);
        epoch.until(text.parse::<jiff::civil::Date>().unwrap()).unwrap().get_days()
    }

    #[test]
    fn days_agree_with_jiff() {
        for text in
            ["0001-01-01", "9999-12-31", "1970-01-01", "2024-02-29", "1900-03-01", "0004-02-29", "1600-12-31"]
        {
            assert_eq!(date("%Y-%m-%d", text), Ok(jiff_days(text)), "{text}");
        }
        assert_eq!(date("%Y-%m-%d", "0001-01-01"), Ok(MIN_DAYS));
        assert_eq!(date("%Y-%m-%d", "9999-12-31"), Ok(MAX_DAYS));
        let mut day = jiff::civil::date(1899, 12, 25);
        for expected in jiff_days("1899-12-25")..jiff_days("1904-03-05") {
            assert_eq!(date("%Y%m%d", &day.strftime("%Y%m%d").to_string()), Ok(expected), "{day}");
            day = day.tomorrow().unwrap();
        }
    }

    #[test]
    fn dates_by_format() {
        let expected = jiff_days("2024-01-25");
        for (format, text) in [
            ("%Y-%m-%d", "2024-01-25"),
            ("%F", "2024-1-25"),
            ("%Y/%m/%d", "2024/01/25"),
            ("%Y.%m.%d", "2024.1.25"),
            ("%Y%m%d", "20240125"),
            ("%d/%m/%Y", "25/01/2024"),
            ("%m/%d/%Y", "1/25/2024"),
            ("%D", "01/25/24"),
            ("%d.%m.%y", "25.01.24"),
            ("%d %b %Y", "25 Jan 2024"),
            ("%b %d, %Y", "Jan 25, 2024"),
            ("%B %d,%Y", "January 25,2024"),
            ("%d-%b-%y", "25-JAN-24"),
            ("%Y-%b-%d", "2024-Jan-25"),
            ("%Y-%j", "2024-025"),
        ] {
            assert_eq!(date(format, text), Ok(expected), "{format} {text}");
        }
        for (format, text) in [
            ("%Y-%m-%d", "0000-00-00"),
            ("%Y-%m-%d", "0000-01-01"),
            ("%Y-%m-%d", "10000-01-01"),
            ("%Y-%m-%d", "-0044-03-15"),
            ("%Y-%m-%d", "2023-02-29"),
            ("%Y-%m-%d", "1900-02-29"),
            ("%Y-%m-%d", "2024-13-01"),
            ("%Y-%m-%d", "2024-01-25x"),
            ("%Y-%m-%d", "24-01-25"),
            ("%Y-%m-%d", "\u{ff12}024-01-25"),
            ("%Y%m%d", "20240230"),
            ("%Y%m%d", "2024125"),
            ("%Y%m%d", "202401255"),
            ("%d/%m/%Y", "01/25/2024"),
            ("%d/%m/%Y", "25/01/24"),
            ("%d %b %Y", "25 janvier 2024"),
            ("%d %b %Y", "25 Junk 2024"),
            ("%Y-%j", "2023-366"),
            ("%Y-%j", "2023-000"),
        ] {
            assert!(date(format, text).is_err(), "{format} {text}");
        }
    }

    #[test]
    fn instants() {
        let format = TimeFormat::new("%Y-%m-%dT%H:%M:%S%.f%:z", Want::Timestamp).unwrap();
        let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        for (text, iso) in [
            ("2024-01-25T10:00:00Z", "2024-01-25T10:00:00Z"),
            ("2024-01-25t10:00:00z", "2024-01-25T10:00:00Z"),
            ("2024-01-25 10:00:00.5+05:30", "2024-01-25T10:00:00.5+05:30"),
            ("2024-01-25 10:00:00 +0530", "2024-01-25T10:00:00+05:30"),
            ("2024-01-25 10:00+14", "2024-01-25T10:00:00+14:00"),
            ("2024-01-25 10:00:00.123456000-12:00", "2024-01-25T10:00:00.123456-12:00"),
            ("2024-01-25 10:00:00 UTC", "2024-01-25T10:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-30T21:59:59.999999+00:00", "9999-12-30T21:59:59.999999Z"),
        ] {
            assert_eq!(format.date_time(text.as_bytes()), Ok(micros(iso)), "{text}");
        }
        assert_eq!(format.date_time(b"9999-12-31T23:59:59.999999Z"), Ok(MAX_MICROS));
        assert_eq!(format.date_time(b"0001-01-01T00:00:00Z"), Ok(MIN_MICROS));
        for (text, misfit) in [
            ("2024-01-25T10:00:00", Want::Timestamp.form()),
            ("2024-01-25", Want::Timestamp.form()),
            ("2024-01-25T10:00:00.Z", Want::Timestamp.form()),
            ("2024-01-25T10:00:00,5Z", Want::Timestamp.form()),
            ("2024-01-25T10:00:00+24:00", Want::Timestamp.form()),
            ("2016-12-31T23:59:60Z", NO_TIME),
            ("2024-01-25T24:00:00Z", NO_TIME),
            ("2024-02-30T10:00:00Z", NO_DAY),
            ("2024-01-25T10:00:00.1234567Z", Misfit::SubMicrosecond),
            ("0001-01-01T00:00:00+01:00", Misfit::Range),
            ("9999-12-31T23:30:00-01:00", Misfit::Range),
        ] {
            assert_eq!(format.date_time(text.as_bytes()), Err(misfit), "{text}");
        }
    }

    #[test]
    fn civil_times() {
        let format = TimeFormat::new("%Y-%m-%d %H:%M:%S%.f", Want::DateTime).unwrap();
        let day = i64::from(jiff_days("2024-03-10")) * MICROS_PER_DAY;
        assert_eq!(format.date_time(b"2024-03-10 02:30:00"), Ok(day + 9_000_000_000));
        assert_eq!(format.date_time(b"2024-03-10T02:30"), Ok(day + 9_000_000_000));
        assert!(format.date_time(b"2024-03-10 02:30:00Z").is_err());
        let other = TimeFormat::new("%m/%d/%Y %I:%M:%S %p", Want::DateTime).unwrap();
        assert_eq!(other.date_time(b"3/10/2024 2:30:00 am"), Ok(day + 9_000_000_000));
        assert_eq!(other.date_time(b"3/10/2024 12:00:01 AM"), Ok(day + 1_000_000));
        assert_eq!(other.date_time(b"3/10/2024 12:00:00 PM"), Ok(day + MICROS_PER_DAY / 2));
        assert!(other.date_time(b"3/10/2024 13:00:00 PM").is_err());

        let time = TimeFormat::new("%H:%M:%S%.f", Want::Time).unwrap();
        assert_eq!(time.time(b"23:59:59.999999"), Ok(MICROS_PER_DAY - 1));
        assert_eq!(time.time(b"00:00:00"), Ok(0));
        for text in ["24:00:00", "838:59:59", "-12:00:00", "10:60:00", "10:00:00.1234567", "10:00"] {
            assert!(time.time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn formats_are_checked() {
        for (format, want, part) in [
            ("%Y-%m", Want::Date, "year, month and day"),
            ("%Y-%m-%d", Want::DateTime, "an hour"),
            ("%H:%M", Want::DateTime, "year, month and day"),
            ("%Y-%m-%d %I:%M", Want::DateTime, "an hour"),
            ("%Y-%m-%dT%H:%M:%S", Want::Timestamp, "an offset"),
            ("%Y-%m-%d %Q", Want::Date, "directive"),
            ("%", Want::Date, "directive"),
            ("Y/N", Want::Date, "year, month and day"),
        ] {
            let reason = TimeFormat::new(format, want).unwrap_err();
            assert!(reason.contains(part), "{format}: {reason}");
        }
    }
}
