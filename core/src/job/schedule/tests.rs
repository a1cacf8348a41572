//! Runs are compared with an oracle that walks through every minute of a year and with the crate croner.

use std::str::FromStr as _;
use std::sync::LazyLock;

use jiff::ToSpan as _;
use jiff::civil::{DateTime, date};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::ErrorKind;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next runs as texts without the zone's name.
fn runs(schedule: &Schedule, n: usize, after: &str) -> Vec<String> {
    let runs = schedule.next(n, instant(after)).unwrap();
    runs.iter().map(|run| run.strftime("%Y-%m-%dT%H:%M%:z").to_string()).collect()
}

#[test]
fn cron_texts() {
    for (document, expected) in [
        (json!({"every": "daily", "at": "02:05"}), Some("5 2 * * *")),
        (json!({"every": "hourly", "at": "02:05"}), Some("5 * * * *")),
        (json!({"every": "weekly"}), Some("0 0 * * 1")),
        (json!({"every": "weekly", "weekday": "sunday", "at": "23:59"}), Some("59 23 * * 0")),
        (json!({"every": "monthly", "at": "6:00"}), Some("0 6 1 * *")),
        (json!({"every": "monthly", "day": 28}), Some("0 0 28 * *")),
        (json!({"every": "manual", "at": "02:05"}), None),
        (json!({"cron": " */15  8-18 * jan mon-fri"}), Some("*/15 8-18 * JAN MON-FRI")),
    ] {
        let schedule = Schedule::from_json(document.clone()).unwrap();
        assert_eq!(schedule.cron().unwrap().as_deref(), expected, "{document}");
        let again = Schedule::from_json(serde_json::to_value(&schedule).unwrap()).unwrap();
        assert_eq!(again, schedule, "{document}");
    }
}

/// What cron says of a schedule is what the schedule does.
#[test]
fn cron_text_and_runs_agree() {
    for document in [
        json!({"every": "hourly", "at": "00:40"}),
        json!({"every": "daily", "at": "02:05"}),
        json!({"every": "weekly", "weekday": "saturday", "at": "12:00"}),
        json!({"every": "monthly", "day": 28, "at": "01:30"}),
    ] {
        let zoned = Schedule::from_json(document.clone()).unwrap().timezone("America/New_York");
        let cron = Schedule::from_cron(zoned.cron().unwrap().unwrap()).timezone("America/New_York");
        let after = "2026-01-01T00:00:00Z";
        assert_eq!(runs(&zoned, 400, after), runs(&cron, 400, after), "{document}");
    }
}

#[test]
fn cloud_scheduler_fields() {
    let schedule = Schedule::every(Every::Daily).at("02:00").timezone("europe/berlin");
    let fields = serde_json::to_value(schedule.cloud_scheduler().unwrap()).unwrap();
    assert_eq!(fields, json!({"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"}));
    let fields = Schedule::from_cron("0 2 * * 7").cloud_scheduler().unwrap().unwrap();
    assert_eq!((fields.schedule.as_str(), fields.time_zone.as_str()), ("0 2 * * 7", "Etc/UTC"));
    assert_eq!(Schedule::every(Every::Manual).cloud_scheduler().unwrap(), None);
    let last = Schedule { day: Some(31), ..Schedule::every(Every::Monthly) };
    assert_eq!(last.cloud_scheduler().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn wrong_schedules_say_what_to_write() {
    for (document, expected) in [
        (json!({}), "`schedule.every` is missing"),
        (json!({"every": "daily", "cron": "0 2 * * *"}), "`schedule.cron` is given beside `every`"),
        (json!({"every": "daily", "att": "02:00"}), "did you mean `at`?"),
        (json!({"every": "daly"}), "unknown variant `daly`"),
        (json!({"every": "daily", "at": "25:00"}), "is not a time of day: `25:00`"),
        (json!({"every": "daily", "at": "+2:00"}), "is not a time of day"),
        (json!({"every": "daily", "at": "2"}), "is not a time of day"),
        (json!({"every": "daily", "weekday": "monday"}), "`schedule.weekday` belongs to `weekly`"),
        (json!({"every": "weekly", "day": 2}), "`schedule.day` belongs to `monthly`"),
        (json!({"every": "monthly", "day": 32}), "`schedule.day` is not a day of a month"),
        (json!({"every": "monthly", "day": 0}), "`schedule.day` is not a day of a month"),
        (json!({"cron": "0 2 * * *", "at": "02:00"}), "`schedule.at` belongs to `every`"),
        (json!({"every": "daily", "timezone": "Europe/Berlim"}), "did you mean `Europe/Berlin`?"),
        (json!({"every": "daily", "timezone": "+02:00"}), "write an IANA name"),
        (json!({"cron": "0 2 * *"}), "has 4 fields, not five"),
        (json!({"cron": "0 0 2 * * *"}), "has 6 fields, not five"),
        (json!({"cron": "@daily"}), "has 1 fields, not five"),
        (json!({"cron": "60 2 * * *"}), "has a minute that is not understood: `60`"),
        (json!({"cron": "0 24 * * *"}), "write 0 to 23, or `*`"),
        (json!({"cron": "0 2 0 * *"}), "has a day of month"),
        (json!({"cron": "0 2 L * *"}), "has a day of month that is not understood: `L`"),
        (json!({"cron": "0 2 * JANUARY *"}), "write 1 to 12, or JAN to DEC, or `*`"),
        (json!({"cron": "0 2 * * 8"}), "write 0 to 7, or SUN to SAT, or `*`"),
        (json!({"cron": "0 2 * * MON#2"}), "has a day of week that is not understood"),
        (json!({"cron": "5/15 2 * * *"}), "write where it ends, for example 5-59/15"),
        (json!({"cron": "*/0 2 * * *"}), "has an impossible step: `*/0`"),
        (json!({"cron": "*/60 2 * * *"}), "write 1 to 59"),
        (json!({"cron": "0 22-6 * * *"}), "write two ranges"),
        (json!({"cron": "0 2 * * FRI-SUN"}), "write two ranges"),
        (json!({"cron": "0 2 1, * *"}), "is not understood: ``"),
        (json!({"cron": "0 2 */2 * MON"}), "crons differ in what that means"),
        (json!({"cron": "0 2 31 2,4 *"}), "names a day that no month has"),
    ] {
        let error = Schedule::from_json(document.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{document}");
        assert!(error.to_string().contains(expected), "{document}: {error}");
    }
}

#[test]
fn days_of_the_week_and_of_the_month() {
    let weekly = Schedule { weekday: Some(Weekday::Friday), ..Schedule::every(Every::Weekly).at("05:00") };
    assert_eq!(
        runs(&weekly, 2, "2026-11-20T05:00:00Z"),
        ["2026-11-27T05:00+00:00", "2026-12-04T05:00+00:00"],
        "the run at the very instant is not one after it"
    );
    let last = Schedule { day: Some(31), ..Schedule::every(Every::Monthly) };
    let days: Vec<_> =
        runs(&last, 14, "2027-11-15T00:00:00Z").iter().map(|run| run[5..10].to_owned()).collect();
    let expected = [
        "11-30", "12-31", "01-31", "02-29", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30",
        "10-31", "11-30", "12-31",
    ];
    assert_eq!(days, expected);
    let either = Schedule::from_cron("0 0 1 * SAT");
    let days: Vec<_> =
        runs(&either, 5, "2026-08-01T12:00:00Z").iter().map(|run| run[5..10].to_owned()).collect();
    assert_eq!(days, ["08-08", "08-15", "08-22", "08-29", "09-01"]);
}

#[test]
fn a_leap_day_is_found_however_far() {
    let leap = Schedule::from_cron("0 0 29 2 *");
    assert_eq!(runs(&leap, 2, "2096-03-01T00:00:00Z"), ["2104-02-29T00:00+00:00", "2108-02-29T00:00+00:00"]);
    assert_eq!(runs(&leap, 2, "9996-03-01T00:00:00Z"), Vec::<String>::new(), "the calendar ends");
    assert_eq!(leap.next_after(instant("2025-01-01T00:00:00Z")).unwrap().unwrap().year(), 2028);
    assert_eq!(Schedule::every(Every::Manual).next_after(instant("2025-01-01T00:00:00Z")).unwrap(), None);
}

/// The table at [`Schedule`], each line with both changes of a year.
#[test]
fn what_happens_when_clocks_change() {
    let berlin = |document: Value| Schedule::from_json(document).unwrap().timezone("Europe/Berlin");
    let (spring, autumn) = ("2026-03-28T23:30:00Z", "2026-10-24T22:30:00Z");
    let daily = berlin(json!({"every": "daily", "at": "02:30"}));
    assert_eq!(runs(&daily, 2, spring), ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]);
    assert_eq!(runs(&daily, 2, autumn), ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]);
    // Several runs of a certain hour that is left out become one.
    let quarters = berlin(json!({"cron": "*/15 2 * * *"}));
    assert_eq!(runs(&quarters, 2, spring), ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]);
    assert_eq!(
        runs(&quarters, 5, autumn),
        [
            "2026-10-25T02:00+02:00",
            "2026-10-25T02:15+02:00",
            "2026-10-25T02:30+02:00",
            "2026-10-25T02:45+02:00",
            "2026-10-26T02:00+01:00"
        ]
    );
    // Of a list of hours none is lost.
    let twice = berlin(json!({"cron": "30 2,14 * * *"}));
    assert_eq!(runs(&twice, 2, spring), ["2026-03-29T03:00+02:00", "2026-03-29T14:30+02:00"]);
    let hourly = berlin(json!({"every": "hourly", "at": "00:30"}));
    assert_eq!(
        runs(&hourly, 3, "2026-03-29T00:00:00Z"),
        ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00", "2026-03-29T04:30+02:00"]
    );
    assert_eq!(
        runs(&hourly, 3, "2026-10-25T00:00:00Z"),
        ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"]
    );
    // A day that a country left out altogether, when it crossed the date line.
    let samoa = Schedule::every(Every::Daily).at("12:00").timezone("Pacific/Apia");
    assert_eq!(
        runs(&samoa, 3, "2011-12-29T12:00:00Z"),
        ["2011-12-29T12:00-10:00", "2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"]
    );
}

/// What clocks show in one minute.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// Minutes on the calendar, from a begin of no meaning.
    count: i64,
    /// Minute, hour, day of the month, month and day of the week, each as a set of one.
    sets: [u64; 5],
}

impl Shown {
    fn new(time: DateTime) -> Self {
        let numbers =
            [time.minute(), time.hour(), time.day(), time.month(), time.weekday().to_sunday_zero_offset()];
        let day = i64::from(date(1970, 1, 1).until(time.date()).unwrap().get_days());
        let count = (day * 24 + i64::from(time.hour())) * 60 + i64::from(time.minute());
        Self { count, sets: numbers.map(|number| 1 << number) }
    }
}

/// A zone in a year with changes of the clock: what clocks show in each minute of it.
struct Year {
    zone: &'static str,
    begin: Timestamp,
    minutes: Vec<Shown>,
}

impl Year {
    fn at(&self, minute: usize) -> Timestamp {
        self.begin + i64::try_from(minute).unwrap().minutes()
    }

    /// The minutes around each change of the clock.
    fn changes(&self) -> Vec<std::ops::Range<usize>> {
        let jumps =
            self.minutes.windows(2).enumerate().filter(|(_, pair)| pair[1].count != pair[0].count + 1);
        jumps.map(|(at, _)| at.saturating_sub(2000)..(at + 2000).min(self.minutes.len())).collect()
    }
}

/// At night, at midnight, over midnight, by half an hour, by a day, in both hemispheres, and never.
static YEARS: LazyLock<Vec<Year>> = LazyLock::new(|| {
    let years = [
        ("UTC", 2026),
        ("Europe/Berlin", 2026),
        ("America/New_York", 2026),
        ("Australia/Lord_Howe", 2026),
        ("Africa/Cairo", 2026),
        ("America/Havana", 2026),
        ("America/Nuuk", 2026),
        ("America/Santiago", 2026),
        ("Africa/Casablanca", 2025),
        ("Asia/Kathmandu", 2026),
        ("Pacific/Apia", 2011),
    ];
    let year = |(zone, year): (&'static str, i16)| {
        let clock = TimeZone::get(zone).unwrap();
        let begin = date(year, 1, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let shown = |minute: i64| Shown::new(clock.to_datetime(begin + minute.minutes()));
        Year { zone, begin, minutes: (0..366 * 24 * 60).map(shown).collect() }
    };
    years.into_iter().map(year).collect()
});

/// Sets of numbers (`None` is `*`) and the cron text that stands for them, made the other way round than the
/// engine reads it.
#[derive(Debug, Clone)]
struct Case {
    text: String,
    sets: [Option<u64>; 5],
}

impl Case {
    fn matches(&self, shown: Shown) -> bool {
        let hit = |field: usize| self.sets[field].is_none_or(|set| set & shown.sets[field] != 0);
        let both = self.sets[2].is_some() && self.sets[4].is_some();
        hit(0) && hit(1) && hit(3) && if both { hit(2) || hit(4) } else { hit(2) && hit(4) }
    }

    /// The oracle: walks through the minutes.
    fn runs_in(&self, year: &Year, minutes: std::ops::Range<usize>) -> Vec<Timestamp> {
        let mut runs = Vec::new();
        let mut latest = year.minutes[minutes.start].count - 1;
        for at in minutes {
            let shown = year.minutes[at];
            let mut now = self.matches(shown);
            if self.sets[1].is_some() {
                now &= shown.count > latest;
                // Minutes that clocks have just left out.
                now |= (latest + 1..shown.count).any(|count| {
                    let days = count.div_euclid(24 * 60).days();
                    let time = date(1970, 1, 1).at(0, 0, 0, 0) + days + count.rem_euclid(24 * 60).minutes();
                    self.matches(Shown::new(time))
                });
            }
            if now {
                runs.push(year.at(at));
            }
            latest = latest.max(shown.count);
        }
        runs
    }
}

/// A field: its text and its numbers.
fn field(low: u8, high: u8) -> impl Strategy<Value = (String, u64)> {
    let number = low..=high;
    let item = (number.clone(), number, 1..=3u8, 0..3u8).prop_map(|(a, b, step, form)| {
        let (a, b) = (a.min(b), a.max(b));
        let set =
            |numbers: &mut dyn Iterator<Item = u8>| numbers.fold(0_u64, |set, number| set | 1 << number);
        match form {
            1 => (format!("{a}-{b}"), set(&mut (a..=b))),
            2 if step <= b - a => {
                (format!("{a}-{b}/{step}"), set(&mut (a..=b).filter(|n| (n - a) % step == 0)))
            }
            _ => (a.to_string(), 1 << a),
        }
    });
    prop::collection::vec(item, 1..3).prop_map(|items| {
        let texts: Vec<_> = items.iter().map(|(text, _)| text.clone()).collect();
        (texts.join(","), items.iter().fold(0, |set, item| set | item.1))
    })
}

fn case() -> impl Strategy<Value = Case> {
    let maybe = |low, high| prop_oneof![2 => Just(None), 1 => field(low, high).prop_map(Some)];
    let hours = prop_oneof![1 => Just(None), 3 => field(0, 23).prop_map(Some)];
    let fields = (field(0, 59), hours, maybe(1, 28), maybe(1, 12), maybe(0, 6));
    fields.prop_map(|(minute, hour, of_month, month, of_week)| {
        let fields = [Some(minute), hour, of_month, month, of_week];
        let text =
            |field: &Option<(String, u64)>| field.as_ref().map_or("*".to_owned(), |field| field.0.clone());
        let texts: Vec<_> = fields.iter().map(text).collect();
        Case { text: texts.join(" "), sets: fields.map(|field| field.map(|field| field.1)) }
    })
}

fn agrees_with_the_minutes(case: &Case, year: &Year, minutes: std::ops::Range<usize>) {
    let schedule = Schedule::from_cron(&case.text).timezone(year.zone);
    let (zone, fields) = (schedule.zone().unwrap(), schedule.fields().unwrap().unwrap());
    let (before, end) = (year.at(minutes.start) - 1.second(), year.at(minutes.end));
    let runs: Vec<_> = Upcoming::new(zone, fields, before).take_while(|run| *run < end).collect();
    let expected = case.runs_in(year, minutes);
    let differs = runs.iter().zip(&expected).find(|(run, expected)| run != expected);
    assert_eq!(differs, None, "{} in {}", case.text, year.zone);
    assert_eq!(runs.len(), expected.len(), "{} in {}", case.text, year.zone);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Through a year with changes of the clock, in eleven zones.
    #[test]
    fn runs_are_those_of_every_minute(case in case()) {
        for year in YEARS.iter() {
            agrees_with_the_minutes(&case, year, 0..year.minutes.len());
        }
    }
}

/// Times of the hours around changes of the clock, which random ones meet rarely.
#[test]
fn runs_around_changes_are_those_of_every_minute() {
    let mut changes = 0;
    for (minutes, minute_text) in [(Some(1 | 1 << 30), "0,30"), (None, "*"), (Some(1 << 15), "15")] {
        for (hours, hour_text) in [
            (None, "*"),
            (Some(0b1111), "0-3"),
            (Some(1), "0"),
            (Some(2), "1"),
            (Some(4), "2"),
            (Some(1 << 23), "23"),
        ] {
            let text = format!("{minute_text} {hour_text} * * *");
            let case = Case { text, sets: [minutes, hours, None, None, None] };
            for year in YEARS.iter() {
                for minutes in year.changes() {
                    agrees_with_the_minutes(&case, year, minutes);
                    changes += 1;
                }
            }
        }
    }
    assert!(changes >= 18 * 17, "{changes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The crate croner reads the same texts the same way.
    #[test]
    fn texts_mean_what_croner_reads(case in case(), start in 0..4_000_000_000_i64) {
        let after = Timestamp::from_second(start).unwrap();
        let ours = Schedule::from_cron(&case.text).next(10, after).unwrap();
        let croner = croner::Cron::from_str(&case.text).unwrap();
        let mut at = after.to_zoned(TimeZone::UTC);
        for run in ours {
            at = croner.find_next_occurrence(&at, false).unwrap();
            prop_assert_eq!(run.timestamp(), at.timestamp(), "{}", case.text);
        }
    }
}

/// Names, steps of all and Sunday as 7, which the generated texts do not have.
#[test]
fn special_texts_mean_what_croner_reads() {
    for text in [
        "*/15 * * * *",
        "0 */6 * JAN-MAR,dec mon-FRI",
        "0 0 * * 7",
        "0 0 * * 5-7",
        "* * * * *",
        "7 3 1-31/5 * *",
        "0 12 13 * FRI",
        "*/7 */5 * */2 *",
        "0 0 * * SUN,3",
        "0 0 * * 1-7/2",
    ] {
        let after = instant("2026-02-27T23:59:30Z");
        let croner = croner::Cron::from_str(text).unwrap();
        let mut at = after.to_zoned(TimeZone::UTC);
        for run in Schedule::from_cron(text).next(300, after).unwrap() {
            at = croner.find_next_occurrence(&at, false).unwrap();
            assert_eq!(run.timestamp(), at.timestamp(), "{text}");
        }
    }
}
