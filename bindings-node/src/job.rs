//! Jobs.

use jiff::{Timestamp, Zoned};
use napi_derive::napi;
use transload::document::parse_str;
use transload::{Error, EtlJob, Result, Schedule};

use crate::error::Throw as _;

/// When a host should run a job.
#[napi(js_name = "Schedule")]
#[derive(Debug)]
pub struct NativeSchedule(Schedule);

#[napi]
impl NativeSchedule {
    /// Reads a schedule, given as a JSON text.
    ///
    /// # Errors
    /// `config`, naming the field.
    #[napi(constructor)]
    pub fn new(document: String) -> napi::Result<Self> {
        let value = serde_json::from_str(&document)
            .map_err(|error| Error::config("a schedule is not valid JSON").source_error(error));
        value.and_then(Schedule::from_json).map(Self).or_throw()
    }

    /// The next runs after an instant (milliseconds since 1970; default now), in RFC 3339.
    ///
    /// # Errors
    /// `config` if the instant is out of range.
    #[napi]
    pub fn next_runs(&self, n: u32, after: Option<f64>) -> napi::Result<Vec<String>> {
        instant(after).and_then(|after| self.0.next(n as usize, after)).map(texts).or_throw()
    }

    /// The five fields of cron, or `None` for `manual`.
    ///
    /// # Errors
    /// `unsupported` for days that not every month has.
    #[napi]
    pub fn cron(&self) -> napi::Result<Option<String>> {
        self.0.cron().or_throw()
    }

    /// `schedule` and `timeZone` of a Cloud Scheduler job as a JSON text; `null` for `manual`.
    ///
    /// # Errors
    /// `unsupported` for days that not every month has.
    #[napi]
    pub fn cloud_scheduler(&self) -> napi::Result<String> {
        self.0
            .cloud_scheduler()
            .map(|fields| serde_json::to_value(fields).unwrap_or_default().to_string())
            .or_throw()
    }

    /// The document as a JSON text.
    #[napi]
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_value(&self.0).unwrap_or_default().to_string()
    }
}

/// An instant of JavaScript.
fn instant(milliseconds: Option<f64>) -> Result<Timestamp> {
    let Some(milliseconds) = milliseconds else { return Ok(Timestamp::now()) };
    #[expect(clippy::cast_possible_truncation, reason = "`from_millisecond` refuses what is out of range")]
    let whole = milliseconds.floor() as i64;
    Timestamp::from_millisecond(whole)
        .ok()
        .filter(|_| milliseconds.is_finite())
        .ok_or_else(|| Error::config("`after` is not an instant").hint("give a valid Date"))
}

/// RFC 3339 with the offset of each instant.
fn texts(runs: Vec<Zoned>) -> Vec<String> {
    runs.iter().map(|run| run.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()).collect()
}

/// A valid job.
#[napi(js_name = "EtlJob")]
#[derive(Debug)]
pub struct NativeJob(pub(crate) EtlJob);

#[napi]
impl NativeJob {
    /// Reads a job document, given as a JSON text.
    ///
    /// # Errors
    /// `config`, naming the field.
    #[napi(constructor)]
    pub fn new(document: String) -> napi::Result<Self> {
        parse_str("job document", &document).and_then(EtlJob::from_document).map(Self).or_throw()
    }

    /// The job's name.
    #[napi(getter)]
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// What makes this job this job: 32 hexadecimal digits.
    #[napi(getter)]
    #[must_use]
    pub fn identity(&self) -> String {
        self.0.identity()
    }

    /// The next runs of the job's schedule, as those of a schedule.
    ///
    /// # Errors
    /// `config` if the instant is out of range.
    #[napi]
    pub fn next_runs(&self, n: u32, after: Option<f64>) -> napi::Result<Vec<String>> {
        instant(after).and_then(|after| self.0.next_runs(n as usize, after)).map(texts).or_throw()
    }

    /// The parts of a job that is cut, as JSON texts.
    ///
    /// # Errors
    /// None in practice.
    #[napi]
    pub fn shards(&self) -> napi::Result<Vec<String>> {
        let texts = |shards: Vec<EtlJob>| {
            shards.iter().map(|shard| shard.to_json().map(|document| document.to_string())).collect()
        };
        self.0.shards().and_then(texts).or_throw()
    }

    /// The five fields of cron of the job's schedule, or `None` without one and for `manual`.
    ///
    /// # Errors
    /// `config` if `at` is not a time of day.
    #[napi]
    pub fn cron(&self) -> napi::Result<Option<String>> {
        self.0.schedule().map_or(Ok(None), Schedule::cron).or_throw()
    }

    /// The document as a JSON text.
    ///
    /// # Errors
    /// None in practice.
    #[napi]
    pub fn to_json(&self) -> napi::Result<String> {
        self.0.to_json().map(|value| value.to_string()).or_throw()
    }
}
