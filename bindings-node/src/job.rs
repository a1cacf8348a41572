//! Jobs.

use napi_derive::napi;
use transload::document::parse_str;
use transload::{EtlJob, Schedule};

use crate::error::Throw as _;

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
