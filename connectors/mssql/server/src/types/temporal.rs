//! Dates and times: days since 0001-01-01 and units of 100 ns; texts of the forms that T-SQL takes and prints.

/// Units of 100 ns in a second, a minute, an hour, a day.
pub(crate) const SECOND: i64 = 10_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// 1900-01-01, from which `datetime` and `smalldatetime` count.
pub(crate) const DAYS_1900: i64 = 693_595;

/// 9999-12-31
pub(crate) const LAST_DAY: i64 = 3_652_058;

/// 1/300 s in a day.
pub(crate) const TICKS: i64 = 300 * 86_400;

/// Days since 0001-01-01 of a date of the Gregorian calendar; `None` if there is no such day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(
        365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + of_year
            - 306,
    )
}

pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let from_march = days + 306;
    let era = from_march.div_euclid(146_097);
    let of_era = from_march.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// What a text says: a date, a time of day, an offset in minutes, each if it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) days: Option<i64>,
    /// Units of 100 ns, of all nine digits that may stand there rounded.
    pub(crate) time: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// Reads ISO 8601 with `T` or a blank, `yyyymmdd`, times of day with an optional `AM` or `PM`, and offsets.
pub(crate) fn parse(text: &str) -> Option<Parsed> {
    let mut text = text.trim();
    let mut parsed = Parsed::default();
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        (text, parsed.offset) = (rest.trim_end(), Some(0));
    } else if let Some(at) = text.rfind(['+', '-']).filter(|&at| text[..at].contains(':')) {
        let (hours, minutes) = text[at + 1..].split_once(':')?;
        let minutes = number(hours, 2)? * 60 + number(minutes, 2)?;
        parsed.offset = Some(if text[at..].starts_with('-') { -minutes } else { minutes });
        text = text[..at].trim_end();
        if minutes > 14 * 60 {
            return None;
        }
    }
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) if !date.contains(':') => (Some(date), Some(time.trim())),
        None if !text.contains(':') && !text.is_empty() => (Some(text), None),
        _ => (None, Some(text).filter(|text| !text.is_empty())),
    };
    parsed.days = match date {
        Some(date) => Some(parse_date(date)?),
        None => None,
    };
    parsed.time = match time {
        Some(time) => Some(parse_time(time)?),
        None => None,
    };
    Some(parsed)
}

fn number(text: &str, most: usize) -> Option<i64> {
    (!text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn parse_date(text: &str) -> Option<i64> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return days(number(&text[..4], 4)?, number(&text[4..6], 2)?, number(&text[6..], 2)?);
    }
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    match parts.as_slice() {
        [year, month, day] if year.len() == 4 => days(number(year, 4)?, number(month, 2)?, number(day, 2)?),
        [month, day, year] if year.len() == 4 => days(number(year, 4)?, number(month, 2)?, number(day, 2)?),
        _ => None,
    }
}

fn parse_time(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (clock, half) = match (upper.strip_suffix("AM"), upper.strip_suffix("PM")) {
        (Some(clock), _) => (clock.trim_end(), Some(0)),
        (_, Some(clock)) => (clock.trim_end(), Some(12)),
        _ => (upper.as_str(), None),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = parts.next().map_or(Some(0), |minute| number(minute, 2))?;
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let hour = half.map_or(hour, |half| hour % 12 + half);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<9}"), 9)? };
    Some(hour * HOUR + minute * MINUTE + second * SECOND + (nanoseconds + 50) / 100)
}

/// Units of 100 ns, rounded to so many digits after the second.
pub(crate) fn round(time: i64, scale: u8) -> i64 {
    let unit = 10_i64.pow(u32::from(7_u8.saturating_sub(scale)));
    (time + unit / 2).div_euclid(unit) * unit
}

/// Units of 100 ns as 1/300 s, rounded: .003 and .007 are how they print.
pub(crate) fn to_ticks(time: i64) -> i64 {
    (time * 300 + SECOND / 2).div_euclid(SECOND)
}

/// 1/300 s as units of 100 ns, rounded as newer versions do it: .0033333.
pub(crate) fn of_ticks(ticks: i64) -> i64 {
    (ticks * SECOND + 150).div_euclid(300)
}

pub(crate) fn format_date(days: i64) -> String {
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

pub(crate) fn format_time(time: i64, scale: u8) -> String {
    let seconds = time / SECOND;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = format!("{:07}", time % SECOND);
    if scale == 0 { clock } else { format!("{clock}.{}", &fraction[..usize::from(scale.min(7))]) }
}

pub(crate) fn format_offset(minutes: i64) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// A `datetime` to the millisecond, as it prints.
pub(crate) fn format_milliseconds(ticks_of_day: i64) -> String {
    let milliseconds = (ticks_of_day * 10 + 1) / 3;
    format_time(milliseconds * 10_000, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_both_ways() {
        assert_eq!(
            (days(1, 1, 1), days(1900, 1, 1), days(9999, 12, 31)),
            (Some(0), Some(DAYS_1900), Some(LAST_DAY))
        );
        assert_eq!((days(1970, 1, 1), days(2023, 2, 29), days(1900, 2, 29)), (Some(719_162), None, None));
        for day in (0..=LAST_DAY).step_by(13).chain([LAST_DAY]) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn texts_are_read() {
        let midday = Some(12 * HOUR + 34 * MINUTE + 56 * SECOND + 1_234_567);
        let of = |days, time, offset| Some(Parsed { days, time, offset });
        assert_eq!(parse("2024-01-31"), of(days(2024, 1, 31), None, None));
        assert_eq!(parse("20240131 12:34:56.1234567"), of(days(2024, 1, 31), midday, None));
        assert_eq!(parse("2024-01-31T12:34:56.1234567-05:30"), of(days(2024, 1, 31), midday, Some(-330)));
        assert_eq!(parse("12:34:56.1234567"), of(None, midday, None));
        assert_eq!(parse("1:05 PM"), of(None, Some(13 * HOUR + 5 * MINUTE), None));
        assert_eq!((parse("2024-13-01"), parse("24:00"), parse("x")), (None, None, None));
    }

    #[test]
    fn ticks_print_as_servers_print_them() {
        let printed: Vec<_> = [0, 1, 2, 3, 299].into_iter().map(format_milliseconds).collect();
        assert_eq!(printed, ["00:00:00.000", "00:00:00.003", "00:00:00.007", "00:00:00.010", "00:00:00.997"]);
        assert_eq!((to_ticks(of_ticks(1)), of_ticks(1), to_ticks(20_000)), (1, 33_333, 1));
    }
}
