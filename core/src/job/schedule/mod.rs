//! When a host should run a job. The engine itself does not wait.

mod cron;
#[cfg(test)]
mod tests;
mod upcoming;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{nearest, parse};
use crate::error::{Error, Result};
use cron::{Days, Fields};
use upcoming::Upcoming;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Only when somebody asks.
    Manual,
    /// At a minute of every hour.
    Hourly,
    /// Every day.
    Daily,
    /// One day of every week.
    Weekly,
    /// One day of every month.
    Monthly,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Sunday,
    #[default]
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
}

/// When a host should run a job: `every` or `cron`, in a time zone.
///
/// What happens when clocks change, which Cloud Scheduler calls anomalies and does not describe further:
///
/// | Schedule | A time that the clock leaves out | A time that comes twice |
/// |---|---|---|
/// | at a time of day (`daily`, `weekly`, `monthly`, `cron` with certain hours) | runs once, in the first minute after it | runs the first time only |
/// | through all hours (`hourly`, `cron` whose hours begin with `*`) | does not run; the next run is in the next hour that there is | runs both times |
///
/// So a daily job runs once a day and an hourly one once an hour, whatever the clocks do.
///
/// ```
/// use transload_core::Schedule;
///
/// let schedule = Schedule::from_json(serde_json::json!({
///     "every": "daily", "at": "02:30", "timezone": "Europe/Berlin",
/// }))?;
/// let runs = schedule.next(2, "2026-03-28T12:00:00Z".parse().unwrap())?;
/// // On 29 March clocks go from 02:00 to 03:00.
/// assert_eq!(runs[0].to_string(), "2026-03-29T03:00:00+02:00[Europe/Berlin]");
/// assert_eq!(runs[1].to_string(), "2026-03-30T02:30:00+02:00[Europe/Berlin]");
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How often. Either this or `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// The five fields of cron: minute, hour, day of month, month, day of week, as Cloud Scheduler reads them:
    /// numbers, `*`, lists, ranges, steps such as `*/15` or `8-18/2`, and names such as `JAN` or `MON`. If both
    /// kinds of days are given, either is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Time of day as `HH:MM`; for `hourly` only the minute counts. Default: `00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `weekly`: the day. Default: `monday`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekday: Option<Weekday>,
    /// `monthly`: the day, 1 to 31. In a month that is shorter, its last day; so 31 is always the last one.
    /// Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub day: Option<u8>,
    /// IANA name of the time zone that all this is in, such as `Europe/Berlin`. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// The two fields of a Google Cloud Scheduler job that say when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudSchedulerFields {
    /// Five fields of cron.
    pub schedule: String,
    /// IANA name of the time zone.
    pub time_zone: String,
}

/// The default time zone, as Cloud Scheduler names it.
const UTC: &str = "Etc/UTC";

impl Schedule {
    /// A schedule at midnight in UTC; the fields are public.
    #[must_use]
    pub fn every(every: Every) -> Self {
        Self { every: Some(every), ..Self::default() }
    }

    /// A schedule of the five fields of cron, in UTC.
    #[must_use]
    pub fn from_cron(fields: impl Into<String>) -> Self {
        Self { cron: Some(fields.into()), ..Self::default() }
    }

    /// Sets the time of day, as `HH:MM`.
    #[must_use]
    pub fn at(mut self, time: impl Into<String>) -> Self {
        self.at = Some(time.into());
        self
    }

    /// Sets the time zone, by its IANA name.
    #[must_use]
    pub fn timezone(mut self, name: impl Into<String>) -> Self {
        self.timezone = Some(name.into());
        self
    }

    /// Reads and checks the JSON form.
    ///
    /// # Errors
    /// `config`, naming the field and, for an unknown one, the nearest known one.
    pub fn from_json(value: Value) -> Result<Self> {
        let schedule: Self = parse("schedule", value)?;
        schedule.check()?;
        Ok(schedule)
    }

    /// The first `n` runs after an instant, in the schedule's time zone; none for `manual`.
    ///
    /// # Errors
    /// `config` if a field is wrong.
    pub fn next(&self, n: usize, after: Timestamp) -> Result<Vec<Zoned>> {
        let zone = self.zone()?;
        let Some(fields) = self.fields()? else { return Ok(Vec::new()) };
        let runs = Upcoming::new(zone.clone(), fields, after);
        Ok(runs.take(n).map(|run| run.to_zoned(zone.clone())).collect())
    }

    /// The first run after an instant; `None` for `manual`.
    ///
    /// # Errors
    /// Those of [`Self::next`].
    pub fn next_after(&self, after: Timestamp) -> Result<Option<Zoned>> {
        Ok(self.next(1, after)?.pop())
    }

    /// The five fields of cron in the schedule's own time zone; `None` for `manual`.
    ///
    /// # Errors
    /// `config` if a field is wrong, `unsupported` for the days 29 to 31 of every month, which cron cannot
    /// move to the last day of shorter ones.
    pub fn cron(&self) -> Result<Option<String>> {
        self.check()?;
        if let Some(text) = &self.cron {
            let fields: Vec<_> = text.split_whitespace().map(str::to_uppercase).collect();
            return Ok(Some(fields.join(" ")));
        }
        let (hour, minute) = self.time()?;
        Ok(match self.every {
            None | Some(Every::Manual) => None,
            Some(Every::Hourly) => Some(format!("{minute} * * * *")),
            Some(Every::Daily) => Some(format!("{minute} {hour} * * *")),
            Some(Every::Weekly) => {
                Some(format!("{minute} {hour} * * {}", self.weekday.unwrap_or_default() as u8))
            }
            Some(Every::Monthly) => match self.day.unwrap_or(1) {
                day @ ..29 => Some(format!("{minute} {hour} {day} * *")),
                day => {
                    return Err(Error::unsupported(format!(
                        "day {day} of every month cannot be written as cron, which would leave out shorter months"
                    ))
                    .hint("choose a day up to 28, or let the host ask for the next runs"));
                }
            },
        })
    }

    /// What a Google Cloud Scheduler job takes (`schedule` and `timeZone` of its REST API); `None` for `manual`.
    ///
    /// # Errors
    /// Those of [`Self::cron`].
    pub fn cloud_scheduler(&self) -> Result<Option<CloudSchedulerFields>> {
        let zone = self.zone()?;
        let time_zone = match &self.timezone {
            // The name as the database spells it, whatever case it was written in.
            Some(name) => zone.iana_name().unwrap_or(name).to_owned(),
            None => UTC.to_owned(),
        };
        Ok(self.cron()?.map(|schedule| CloudSchedulerFields { schedule, time_zone }))
    }

    pub(super) fn check(&self) -> Result<()> {
        self.zone()?;
        self.fields().map(|_| ())
    }

    /// What it means; `None` for `manual`.
    fn fields(&self) -> Result<Option<Fields>> {
        let misplaced = |given: bool, field: &str, belongs_to: &str| match given {
            true => Err(wrong(field, format!("belongs to {belongs_to}")).hint("leave it out")),
            false => Ok(()),
        };
        misplaced(self.weekday.is_some() && self.every != Some(Every::Weekly), "weekday", "`weekly`")?;
        misplaced(self.day.is_some() && self.every != Some(Every::Monthly), "day", "`monthly`")?;
        misplaced(self.at.is_some() && self.cron.is_some(), "at", "`every`, not to `cron`")?;
        let every = match (self.every, &self.cron) {
            (Some(every), None) => every,
            (None, Some(text)) => return Fields::parse(text).map(Some),
            (Some(_), Some(_)) => {
                return Err(wrong("cron", "is given beside `every`").hint("keep one of the two"));
            }
            (None, None) => {
                return Err(wrong("every", "is missing")
                    .hint("write manual, hourly, daily, weekly or monthly, or give `cron`"));
            }
        };
        let (hour, minute) = self.time()?;
        let day = self.day.unwrap_or(1);
        if !(1..=31).contains(&day) {
            return Err(
                wrong("day", "is not a day of a month").hint("write 1 to 31; 31 is always the last day")
            );
        }
        let days = match every {
            Every::Manual => return Ok(None),
            Every::Hourly | Every::Daily => Days::cron(None, None),
            Every::Weekly => Days::cron(None, Some(1 << self.weekday.unwrap_or_default() as u8)),
            Every::Monthly => Days::OrLast(day),
        };
        let all_hours = every == Every::Hourly;
        let hours = if all_hours { (1 << 24) - 1 } else { 1 << hour };
        Ok(Some(Fields { minutes: 1 << minute, hours, all_hours, days, months: Fields::ALL_MONTHS }))
    }

    fn zone(&self) -> Result<TimeZone> {
        let Some(name) = &self.timezone else { return Ok(TimeZone::UTC) };
        TimeZone::get(name).map_err(|error| {
            let error = wrong("timezone", format!("is no time zone: `{name}`")).source_error(error);
            let known: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("write an IANA name such as Europe/Berlin, or UTC"),
            }
        })
    }

    /// Hour and minute.
    fn time(&self) -> Result<(u8, u8)> {
        let text = self.at.as_deref().unwrap_or("00:00");
        let number = |digits: &str, below: u8| {
            let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u8>().ok().filter(|number| plain && *number < below)
        };
        let parsed =
            text.split_once(':').and_then(|(hour, minute)| Some((number(hour, 24)?, number(minute, 60)?)));
        parsed.ok_or_else(|| {
            wrong("at", format!("is not a time of day: `{text}`"))
                .hint("write hours and minutes, for example \"02:00\"")
        })
    }
}

/// The error for a field.
fn wrong(field: &str, why: impl std::fmt::Display) -> Error {
    Error::config(format!("job document: `schedule.{field}` {why}"))
        .with("field", format!("schedule.{field}"))
}
