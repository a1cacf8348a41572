//! The client of a control plane.

use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use transload::control_plane::{ControlPlane, ControlPlaneOptions};
use transload::document::parse_str;
use transload::{Error, Runner, Secret};

use crate::REGISTRY;
use crate::error::Throw as _;

/// What a client is made of.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    /// What stands before `/v1`.
    url: String,
    /// The token itself.
    #[serde(default)]
    token: Option<String>,
    /// Or where it is kept.
    #[serde(default)]
    credentials: Option<String>,
    /// A folder for reports that cannot be delivered.
    #[serde(default)]
    spool: Option<String>,
    /// Seconds for a call with all its tries.
    #[serde(default)]
    deadline: Option<f64>,
    /// Whether the token may go over plain HTTP to another machine.
    #[serde(default)]
    allow_http: bool,
}

/// Fetches jobs and delivers reports.
#[napi(js_name = "ControlPlane")]
#[derive(Debug)]
pub struct NativeControlPlane(ControlPlane);

#[napi]
impl NativeControlPlane {
    /// A client. `options` is a JSON text.
    ///
    /// # Errors
    /// `config` for unknown or wrong options.
    #[napi(constructor)]
    pub fn new(options: String) -> napi::Result<Self> {
        parse_str("control plane options", &options).and_then(client).map(Self).or_throw()
    }

    /// These jobs, or all that are enabled, as the JSON text of a list.
    ///
    /// # Errors
    /// Those of the request.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn jobs<'env>(
        &self,
        env: &'env Env,
        ids: Option<Vec<String>>,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let control = self.0.clone();
        env.spawn_future(async move {
            let set = match &ids {
                Some(ids) => control.jobs(ids).await,
                None => control.enabled_jobs().await,
            };
            let jobs = set.or_throw()?.jobs;
            let jobs = jobs.iter().map(|assigned| match &assigned.job {
                Ok(job) => {
                    json!({"id": assigned.id, "document": job.to_json().unwrap_or_default(), "error": null})
                }
                Err(error) => json!({"id": assigned.id, "document": null, "error": error.to_json()}),
            });
            Ok(Value::from_iter(jobs).to_string())
        })
    }

    /// Fetches, runs and reports a job; gives a JSON text.
    ///
    /// # Errors
    /// What kept the job from beginning.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn run<'env>(&self, env: &'env Env, job_id: String) -> napi::Result<PromiseRaw<'env, String>> {
        let control = self.0.clone();
        env.spawn_future(async move {
            let (report, delivery) = control.run(Runner::new(REGISTRY.clone()), &job_id).await.or_throw()?;
            Ok(json!({
                "report": report.to_json(),
                "delivered": delivery.is_delivered(),
                "keptAt": delivery.kept_at,
                "error": delivery.error.as_ref().map(Error::to_json),
            })
            .to_string())
        })
    }

    /// Delivers what earlier processes left; gives a JSON text.
    ///
    /// # Errors
    /// If the folder cannot be read.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn send_spooled<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, String>> {
        let control = self.0.clone();
        env.spawn_future(async move {
            let outcome = control.send_spooled().await.or_throw()?;
            let error = outcome.error.as_ref().map(Error::to_json);
            let (sent, kept, refused) = (outcome.sent, outcome.kept, outcome.refused);
            Ok(json!({"sent": sent, "kept": kept, "refused": refused, "error": error}).to_string())
        })
    }
}

fn client(wanted: Options) -> transload::Result<ControlPlane> {
    let mut options = ControlPlaneOptions::default().allow_http(wanted.allow_http);
    if let Some(seconds) = wanted.deadline {
        options = options.deadline(Duration::try_from_secs_f64(seconds).map_err(|error| {
            Error::config("control plane options: `deadline` is not a number of seconds").source_error(error)
        })?);
    }
    if let Some(folder) = wanted.spool {
        options = options.spool(folder);
    }
    match (wanted.token, wanted.credentials) {
        (Some(token), None) => ControlPlane::with_token(&wanted.url, Secret::new(token), options),
        (None, Some(reference)) => {
            ControlPlane::new(&wanted.url, reference.parse()?, REGISTRY.secrets().clone(), options)
        }
        _ => Err(Error::config("control plane options: give either `token` or `credentials`")),
    }
}
