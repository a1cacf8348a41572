//! Dates and times: counts of days and of fractions of a second.

use transload_sql::wire::Decoded;

/// Days from 0001-01-01 to 1970-01-01.
pub(crate) const DAYS_TO_EPOCH: i32 = 719_162;
/// Days from 1900-01-01 to 1970-01-01.
const DAYS_FROM_1900: i64 = 25_567;
/// The day 9999-12-31, counted from 0001-01-01.
const LAST_DAY: u32 = 3_652_058;
const DAY_MICROS: i64 = 86_400_000_000;
/// Ticks of a `datetime` in a day: 300 a second.
const DAY_TICKS: u32 = 300 * 86_400;

const NO_DATE: &str = "a date that no calendar has";
const NO_TIME: &str = "a time that no day has";
const LENGTH: &str = "a time of the wrong length";

/// Units of 10^-scale seconds in a day, and in a second.
const UNITS: [u64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Days since 1970.
#[inline]
pub(crate) fn date(field: &[u8]) -> Decoded<i32> {
    let [a, b, c] = *field else { return Err("a date of the wrong length") };
    let days = u32::from_le_bytes([a, b, c, 0]);
    if days > LAST_DAY {
        return Err(NO_DATE);
    }
    Ok(days.cast_signed() - DAYS_TO_EPOCH)
}

/// Units of 100 ns since midnight.
#[inline]
pub(crate) fn time(field: &[u8], scale: u8) -> Decoded<i64> {
    let count = match *field {
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e] => u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
        _ => return Err(LENGTH),
    };
    let scale = usize::from(scale.min(7));
    let (of_second, to_ticks) = match (UNITS.get(scale), UNITS.get(7 - scale)) {
        (Some(of_second), Some(to_ticks)) => (*of_second, *to_ticks),
        _ => return Err(LENGTH),
    };
    if count >= 86_400 * of_second {
        return Err(NO_TIME);
    }
    Ok((count * to_ticks).cast_signed())
}

/// Days since 1970, and units of 100 ns: a time and then a date.
#[inline]
pub(crate) fn datetime2(field: &[u8], scale: u8) -> Decoded<(i32, i64)> {
    let split = field.len().checked_sub(3).ok_or(LENGTH)?;
    let (of_day, day) = field.split_at_checked(split).ok_or(LENGTH)?;
    Ok((date(day)?, time(of_day, scale)?))
}

/// The same in UTC, with the minutes that its own zone is ahead.
#[inline]
pub(crate) fn datetimeoffset(field: &[u8], scale: u8) -> Decoded<(i32, i64, i16)> {
    let split = field.len().checked_sub(2).ok_or(LENGTH)?;
    let (utc, offset) = field.split_at_checked(split).ok_or(LENGTH)?;
    let [a, b] = *offset else { return Err(LENGTH) };
    let (day, ticks) = datetime2(utc, scale)?;
    Ok((day, ticks, i16::from_le_bytes([a, b])))
}

/// Days since 1970, and milliseconds as the server prints them: a tick of 1/300 s ends with 0, 3 or 7.
#[inline]
pub(crate) fn datetime(field: &[u8]) -> Decoded<(i64, i64)> {
    let (days, ticks) = match *field {
        [a, b, c, d, e, f, g, h] => (i32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])),
        _ => return Err(LENGTH),
    };
    if !(-53_690..=2_958_463).contains(&days) {
        return Err(NO_DATE);
    }
    if ticks >= DAY_TICKS {
        return Err(NO_TIME);
    }
    // 10/3 ms, rounded to the nearest.
    Ok((i64::from(days) - DAYS_FROM_1900, (i64::from(ticks) * 10 + 1) / 3))
}

/// Days since 1970, and minutes.
#[inline]
pub(crate) fn smalldatetime(field: &[u8]) -> Decoded<(i64, i64)> {
    let [a, b, c, d] = *field else { return Err(LENGTH) };
    let (days, minutes) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    if minutes >= 1440 {
        return Err(NO_TIME);
    }
    Ok((i64::from(days) - DAYS_FROM_1900, i64::from(minutes)))
}

/// Microseconds since 1970.
#[inline]
pub(crate) fn micros(day: impl Into<i64>, of_day: i64) -> i64 {
    day.into() * DAY_MICROS + of_day
}

/// Appends digits with zeros ahead.
fn put(to: &mut Vec<u8>, number: i64, width: usize) {
    let text = number.to_string();
    to.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    to.extend_from_slice(text.as_bytes());
}

/// Appends `2024-01-31`.
pub(crate) fn put_date(to: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    put(to, year, 4);
    to.push(b'-');
    put(to, month, 2);
    to.push(b'-');
    put(to, day, 2);
}

/// Appends `10:00:00.1234567`, of 100 ns since midnight, with so many digits of a second.
pub(crate) fn put_time(to: &mut Vec<u8>, ticks: i64, digits: u8) {
    let (seconds, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
    put(to, seconds / 3600, 2);
    to.push(b':');
    put(to, seconds / 60 % 60, 2);
    to.push(b':');
    put(to, seconds % 60, 2);
    if digits > 0 {
        to.push(b'.');
        let begin = to.len();
        put(to, fraction, 7);
        to.truncate(begin + usize::from(digits));
    }
}

/// Year, month and day of days since 1970, in the proleptic Gregorian calendar.
///
/// The algorithm counts in eras of 400 years that begin on 1 March: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, text) in [(0_u32, "0001-01-01"), (719_162, "1970-01-01"), (LAST_DAY, "9999-12-31")] {
            let mut to = Vec::new();
            put_date(&mut to, date(&days.to_le_bytes()[..3]).unwrap().into());
            assert_eq!(String::from_utf8(to).unwrap(), text);
        }
        assert!(date(&(LAST_DAY + 1).to_le_bytes()[..3]).is_err() && date(&[1, 2]).is_err());
    }

    #[test]
    fn times_of_every_scale() {
        for scale in 0..=7_u8 {
            let most = 86_400 * UNITS[usize::from(scale)] - 1;
            let length = match scale {
                0..=2 => 3,
                3 | 4 => 4,
                _ => 5,
            };
            let mut text = Vec::new();
            put_time(&mut text, time(&most.to_le_bytes()[..length], scale).unwrap(), scale);
            let expected = format!("23:59:59.{}", "9".repeat(scale.into()));
            assert_eq!(String::from_utf8(text).unwrap(), expected.trim_end_matches('.'));
            assert!(time(&(most + 1).to_le_bytes()[..length], scale).is_err());
        }
        assert!(time(&[1, 2], 0).is_err() && datetime2(&[1], 7).is_err() && datetimeoffset(&[1], 7).is_err());
    }

    #[test]
    fn ticks_end_with_0_3_or_7() {
        let of = |ticks: u32| datetime(&[[0; 4], ticks.to_le_bytes()].concat()).unwrap().1;
        assert_eq!((of(0), of(1), of(2), of(3), of(299), of(DAY_TICKS - 1)), (0, 3, 7, 10, 997, 86_399_997));
        let first = [(-53_690_i32).to_le_bytes(), [0; 4]].concat();
        let (day, _) = datetime(&first).unwrap();
        assert_eq!(civil(day), (1753, 1, 1));
        assert!(datetime(&[[0; 4], DAY_TICKS.to_le_bytes()].concat()).is_err());
        let (day, minutes) = smalldatetime(&[0xff, 0xff, 0x9f, 0x05]).unwrap();
        assert_eq!((civil(day), minutes), ((2079, 6, 6), 1439));
        assert!(smalldatetime(&[0, 0, 0xa0, 0x05]).is_err());
    }
}
