//! When a host should run a job. The engine itself does not wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
    /// Every Monday.
    Weekly,
    /// On the first day of every month.
    Monthly,
}

/// When a host should run a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How often.
    pub every: Every,
    /// Time of day as `HH:MM`; for `hourly` only the minute counts. Default: `00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// IANA name of the time zone that `at` is in. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl Schedule {
    pub(super) fn check(&self) -> Result<()> {
        self.time().map(|_| ())
    }

    fn time(&self) -> Result<(u8, u8)> {
        let text = self.at.as_deref().unwrap_or("00:00");
        let parsed = text.split_once(':').and_then(|(hour, minute)| {
            Some((
                hour.parse::<u8>().ok().filter(|h| *h < 24)?,
                minute.parse::<u8>().ok().filter(|m| *m < 60)?,
            ))
        });
        parsed.ok_or_else(|| {
            Error::config(format!("job document: `schedule.at` is not a time of day: `{text}`"))
                .hint("write hours and minutes, for example \"02:00\"")
        })
    }

    /// The five fields of cron in the schedule's own time zone; `None` for `manual`.
    ///
    /// # Errors
    /// `config` if `at` is not a time of day.
    pub fn cron(&self) -> Result<Option<String>> {
        let (hour, minute) = self.time()?;
        Ok(match self.every {
            Every::Manual => None,
            Every::Hourly => Some(format!("{minute} * * * *")),
            Every::Daily => Some(format!("{minute} {hour} * * *")),
            Every::Weekly => Some(format!("{minute} {hour} * * 1")),
            Every::Monthly => Some(format!("{minute} {hour} 1 * *")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_texts() {
        let schedule = |every, at: &str| Schedule { every, at: Some(at.to_owned()), timezone: None };
        assert_eq!(schedule(Every::Daily, "02:05").cron().unwrap().as_deref(), Some("5 2 * * *"));
        assert_eq!(schedule(Every::Manual, "02:05").cron().unwrap(), None);
        assert!(schedule(Every::Daily, "25:00").cron().is_err());
    }
}
