//! Dates and times of the binary protocol: a few bytes each, of which zeros at the end are left out.

use transload_sql::wire::Decoded;

/// A date and a time as they were sent; nothing says that there is such a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Civil {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

const DAY_MICROS: i64 = 86_400_000_000;

impl Civil {
    #[inline]
    pub(crate) fn parse(field: &[u8]) -> Decoded<Self> {
        let (date, time) = match field {
            [] => return Ok(Self::default()),
            date if date.len() == 4 => (date, &[][..]),
            _ => field.split_at_checked(4).ok_or("a date that is cut")?,
        };
        let [y0, y1, month, day] = date else { return Err("a date that is cut") };
        let year = u16::from_le_bytes([*y0, *y1]);
        let (hour, minute, second, micros) = match time {
            [] => (0, 0, 0, 0),
            [hour, minute, second] => (*hour, *minute, *second, 0),
            [hour, minute, second, a, b, c, d] => {
                (*hour, *minute, *second, u32::from_le_bytes([*a, *b, *c, *d]))
            }
            _ => return Err("a date and time of the wrong length"),
        };
        Ok(Self { year, month: *month, day: *day, hour, minute, second, micros })
    }

    /// Days since 1970-01-01; `None` for a day that no calendar has.
    ///
    /// Counts years from March, so that leap days come last: Howard Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms", `days_from_civil`.
    #[inline]
    pub(crate) fn days(self) -> Option<i32> {
        let (year, month, day) = (i32::from(self.year), i32::from(self.month), i32::from(self.day));
        if !(1..=12).contains(&month) || day < 1 || day > days_in(self.year, self.month) || year > 9999 {
            return None;
        }
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    /// Microseconds since 1970-01-01; `None` for a day or a time that there is not.
    #[inline]
    pub(crate) fn micros(self) -> Option<i64> {
        if self.hour > 23 || self.minute > 59 || self.second > 59 || self.micros > 999_999 {
            return None;
        }
        let seconds = (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        Some(i64::from(self.days()?) * DAY_MICROS + seconds * 1_000_000 + i64::from(self.micros))
    }

    /// `2024-02-00`
    pub(crate) fn put_date(self, to: &mut Vec<u8>) {
        put(to, self.year.into(), 4);
        to.push(b'-');
        put(to, self.month.into(), 2);
        to.push(b'-');
        put(to, self.day.into(), 2);
    }

    /// `2024-02-00 10:00:00.5`, with so many digits of a second.
    pub(crate) fn put_date_time(self, to: &mut Vec<u8>, digits: u8) {
        self.put_date(to);
        to.push(b' ');
        put_time(to, [self.hour.into(), self.minute.into(), self.second.into()], self.micros, digits);
    }
}

#[inline]
fn days_in(year: u16, month: u8) -> i32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A length of time as the server prints it: `-838:59:59.000000`.
pub(crate) fn time_text(field: &[u8], digits: u8, to: &mut Vec<u8>) -> Decoded<()> {
    let (negative, days, clock, micros) = match field {
        [] => (false, 0, [0; 3], 0),
        [negative, a, b, c, d, hour, minute, second, micros @ ..] => {
            let micros = match micros {
                [] => 0,
                [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
                _ => return Err("a time of the wrong length"),
            };
            (*negative != 0, u32::from_le_bytes([*a, *b, *c, *d]), [*hour, *minute, *second], micros)
        }
        _ => return Err("a time of the wrong length"),
    };
    if micros > 999_999 {
        return Err("a time with more than a second of microseconds");
    }
    let hours = days.checked_mul(24).ok_or("a time out of range")?;
    if negative {
        to.push(b'-');
    }
    let [hour, minute, second] = clock.map(u32::from);
    put_time(to, [hours.checked_add(hour).ok_or("a time out of range")?, minute, second], micros, digits);
    Ok(())
}

fn put_time(to: &mut Vec<u8>, [hour, minute, second]: [u32; 3], micros: u32, digits: u8) {
    put(to, hour, 2);
    to.push(b':');
    put(to, minute, 2);
    to.push(b':');
    put(to, second, 2);
    if digits > 0 {
        to.push(b'.');
        let kept = 10_u32.pow(6 - u32::from(digits.min(6)));
        put(to, micros / kept, usize::from(digits.min(6)));
    }
}

/// A number with so many digits at least.
fn put(to: &mut Vec<u8>, number: u32, digits: usize) {
    to.extend_from_slice(format!("{number:0digits$}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_every_kind() {
        let days = |year: u16, month, day| Civil { year, month, day, ..Civil::default() }.days();
        for (date, expected) in [
            ((1970, 1, 1), Some(0)),
            ((2024, 2, 29), Some(19_782)),
            ((2000, 2, 29), Some(11_016)),
            ((1900, 2, 29), None),
            ((1, 1, 1), Some(-719_162)),
            ((0, 1, 1), Some(-719_528)),
            ((9999, 12, 31), Some(2_932_896)),
            ((0, 0, 0), None),
            ((2024, 0, 5), None),
            ((2024, 5, 0), None),
            ((2024, 2, 31), None),
            ((2024, 13, 1), None),
            ((65_535, 1, 1), None),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
        let mut last = None;
        for year in 0..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    let this = days(year, month, u8::try_from(day).unwrap());
                    assert!(last.is_none() || this == last.map(|last: i32| last + 1), "{year}-{month}-{day}");
                    last = this;
                }
            }
        }
    }

    #[test]
    fn garbage_never_panics() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(5);
        for _ in 0..50_000 {
            let field: Vec<u8> = (0..random.random_range(0..14)).map(|_| random.random()).collect();
            let mut text = Vec::new();
            let _ = time_text(&field, random.random_range(0..7), &mut text);
            if let Ok(civil) = Civil::parse(&field) {
                let _ = (civil.days(), civil.micros());
                civil.put_date_time(&mut text, 6);
            }
        }
    }

    #[test]
    fn lengths_of_time_print_as_the_server_does() {
        let text = |field: &[u8], digits| {
            let mut text = Vec::new();
            time_text(field, digits, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(text(&[], 0), "00:00:00");
        assert_eq!(text(&[1, 34, 0, 0, 0, 22, 59, 59], 6), "-838:59:59.000000");
        assert_eq!(text(&[0, 0, 0, 0, 0, 9, 8, 7, 0x40, 0xe2, 1, 0], 3), "09:08:07.123");
        assert!(time_text(&[0; 9], 0, &mut Vec::new()).is_err());
    }
}
