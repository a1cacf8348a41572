//! The client: one request after another, with tries inside a deadline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use transload_core::{
    Error, ErrorKind, Result, RunReport, Runner, Secret, SecretRef, SecretStores, full_jitter,
};
use url::{Host, Url};

use crate::answer::{self, Failure};
use crate::contract::JobsAnswer;
use crate::jobs::JobSet;
use crate::options::ControlPlaneOptions;
use crate::run::{Delivery, Run};
use crate::spool::{Spool, SpoolOutcome};
use crate::token::{Token, bearer};

/// Bound of the first pause between tries; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
/// Ids in one request, so that its URL stays short.
const IDS_AT_ONCE: usize = 50;
/// A host whose pages never end is broken.
const MOST_PAGES: usize = 10_000;

/// A client of one control plane. Cheap to clone.
///
/// Every request of the contract may be made twice with the effect of once, so what may pass by itself (no
/// answer, 408, 429, 500, 502 to 504) is tried again after a random pause until the deadline.
#[derive(Debug, Clone)]
pub struct ControlPlane(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    base: Url,
    token: Token,
    http: reqwest::Client,
    pub(crate) options: ControlPlaneOptions,
    pub(crate) spool: Option<Spool>,
}

/// One request of the contract.
pub(crate) struct Call<'a> {
    /// What it does, for errors.
    pub(crate) what: &'a str,
    pub(crate) method: Method,
    /// Below the address.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a Value>,
    pub(crate) idempotency_key: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn get(what: &'a str, path: &'a [&'a str], query: &'a [(&'a str, &'a str)]) -> Self {
        Self { what, method: Method::GET, path, query, body: None, idempotency_key: None }
    }
}

impl ControlPlane {
    /// A client whose token is kept where `reference` says. It is read at the first request, and again when the
    /// control plane refuses it. `address` is what stands before `/v1`.
    ///
    /// # Errors
    /// `config` if the address is no URL, has a password in it, or is plain HTTP on another machine.
    pub fn new(
        address: &str,
        reference: SecretRef,
        stores: SecretStores,
        options: ControlPlaneOptions,
    ) -> Result<Self> {
        Self::build(address, Token::kept(reference, stores), options)
    }

    /// A client with a token that is at hand.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn with_token(address: &str, token: Secret, options: ControlPlaneOptions) -> Result<Self> {
        Self::build(address, Token::fixed(token), options)
    }

    fn build(address: &str, token: Token, options: ControlPlaneOptions) -> Result<Self> {
        let base = base(address, options.allow_http)?;
        // An error means that the embedder chose a provider already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(options.request_timeout)
            // The token is for this address alone.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("transload/", env!("CARGO_PKG_VERSION")));
        // What is on this machine is not behind a proxy.
        let http = if is_local(&base) { http.no_proxy() } else { http };
        let http = http.build().map_err(|error| {
            Error::config("cannot set up the client of the control plane")
                .source_error(error)
                .hint("check the certificates that this machine trusts")
        })?;
        let spool = options.spool.clone().map(Spool::new);
        Ok(Self(Arc::new(Inner { base, token, http, options, spool })))
    }

    /// One job, by the host's key.
    ///
    /// # Errors
    /// `not_found` if the host has none, and those of the request.
    pub async fn job(&self, id: &str) -> Result<JobSet> {
        let what = format!("get job {id}");
        let answer: JobsAnswer = self.call(&Call::get(&what, &["v1", "jobs", id], &[])).await?;
        let mut set = JobSet::default();
        set.add(answer);
        match set.jobs.as_slice() {
            [only] if only.id == id => Ok(set),
            _ => Err(Error::data(format!("{what}: the control plane answered with other jobs"))
                .hint("the answer must hold this job and no other")),
        }
    }

    /// Several jobs, by the host's keys.
    ///
    /// # Errors
    /// `not_found` naming the keys that the host does not have, and those of the request.
    pub async fn jobs(&self, ids: &[String]) -> Result<JobSet> {
        let mut set = JobSet::default();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let query: Vec<_> = ids.iter().map(|id| ("id", id.as_str())).collect();
            self.pages(&mut set, &query).await?;
        }
        let found: BTreeSet<&str> = set.jobs.iter().map(|job| job.id.as_str()).collect();
        let missing: Vec<_> = ids.iter().map(String::as_str).filter(|id| !found.contains(id)).collect();
        if !missing.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the control plane does not know these jobs: {}", missing.join(", ")),
            )
            .hint("check the ids"));
        }
        set.jobs.retain(|job| ids.contains(&job.id));
        Ok(set)
    }

    /// All jobs that are enabled. What the host sends beside them is left out.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn enabled_jobs(&self) -> Result<JobSet> {
        let mut set = JobSet::default();
        self.pages(&mut set, &[("enabled", "true")]).await?;
        set.jobs.retain(|job| job.job.as_ref().map_or(true, |job| job.is_enabled()));
        Ok(set)
    }

    async fn pages(&self, set: &mut JobSet, query: &[(&str, &str)]) -> Result<()> {
        let mut page = None;
        for _ in 0..MOST_PAGES {
            let query: Vec<_> =
                query.iter().copied().chain(page.as_deref().map(|page| ("page", page))).collect();
            let answer: JobsAnswer = self.call(&Call::get("get jobs", &["v1", "jobs"], &query)).await?;
            page.clone_from(&answer.next_page);
            set.add(answer);
            if page.is_none() {
                return Ok(());
            }
        }
        Err(Error::data("get jobs: the pages of the control plane have no end")
            .hint("the last page must have no `next_page`"))
    }

    /// Begins a run of a job: makes its id, which every request about it carries. Call it inside a Tokio runtime.
    pub fn begin(&self, job_id: impl Into<String>) -> Run {
        Run::new(self.clone(), job_id.into())
    }

    /// Fetches one job, runs it with `runner` and delivers the report. `runner` needs no connections; its progress
    /// callback is replaced.
    ///
    /// # Errors
    /// Those of [`Self::job`], and `config` if the job's document is wrong, which the control plane is told too.
    pub async fn run(&self, runner: Runner, id: &str) -> Result<(RunReport, Delivery)> {
        let mut set = self.job(id).await?;
        let run = self.begin(id);
        let job = match set.jobs.pop().map(|job| job.job) {
            Some(Ok(job)) => job,
            Some(Err(error)) => {
                run.fail(&error).await;
                return Err(error);
            }
            None => return Err(Error::internal("a job that was there is gone")),
        };
        let runner = set.connections.into_iter().fold(runner, Runner::connection);
        let report = runner.on_progress(run.observer()).run(&job).await;
        let delivery = run.finish(&report).await;
        Ok((report, delivery))
    }

    /// Sends the reports that earlier processes left in the spool folder, the oldest first, each under the id of
    /// its run. Stops at the first one that cannot be delivered now.
    ///
    /// # Errors
    /// If the folder cannot be read. That the control plane does not take a report is part of the outcome.
    pub async fn send_spooled(&self) -> Result<SpoolOutcome> {
        match &self.0.spool {
            Some(spool) => spool.send(self).await,
            None => Ok(SpoolOutcome::default()),
        }
    }

    /// Makes a request until it succeeds, cannot succeed, or the deadline is over.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T> {
        let limit = self.0.options.deadline;
        let begin = Instant::now();
        let mut failures = 0;
        let mut renewed = false;
        loop {
            let left = limit.saturating_sub(begin.elapsed()).min(self.0.options.request_timeout);
            let token = self.0.token.get().await?;
            let failure = match self.once(call, &token, left).await {
                Ok(bytes) => return parsed(call.what, &bytes),
                Err(failure) => failure,
            };
            if failure.refused && !renewed && self.0.token.renew(&token).await {
                renewed = true;
                continue;
            }
            failures += 1;
            let error = failure.error;
            let pause = full_jitter(failures, FIRST_PAUSE, LONGEST_PAUSE) + failure.pause.unwrap_or_default();
            if !error.is_retryable() || begin.elapsed() + pause >= limit {
                return Err(error.with("tries", failures));
            }
            tracing::debug!(what = call.what, %error, ?pause, "the control plane is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One try, with the body of its answer.
    pub(crate) async fn once(
        &self,
        call: &Call<'_>,
        token: &Secret,
        timeout: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let mut url = self.0.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        let mut request = self.0.http.request(call.method.clone(), url).timeout(timeout);
        request = request.header(reqwest::header::AUTHORIZATION, bearer(token)?);
        if !call.query.is_empty() {
            request = request.query(call.query);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.map_err(|error| answer::of_transport(call.what, error))?;
        if !response.status().is_success() {
            return Err(answer::of_status(call.what, response, token).await);
        }
        Ok(answer::body(call.what, response).await?)
    }

    /// One try without another one after it.
    pub(crate) async fn try_once<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T> {
        let token = self.0.token.get().await?;
        let bytes = self.once(call, &token, self.0.options.request_timeout).await;
        parsed(call.what, &bytes.map_err(|failure| failure.error)?)
    }
}

/// The answer's JSON; no body is `null`. The body is not repeated, since connections are no business of logs.
fn parsed<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    let bytes = if bytes.trim_ascii().is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        Error::data(format!("{what}: the answer is not what the contract says")).source_error(error).hint(
            "check that the address is the control plane's: see docs/reference/control-plane.openapi.json",
        )
    })
}

fn base(address: &str, allow_http: bool) -> Result<Url> {
    // The text is not repeated: it may hold a password.
    let wrong = |why: &str| {
        Error::config(format!("the control plane's address {why}"))
            .hint("write what stands before /v1, for example https://control.example.com/transload")
    };
    let mut url = Url::parse(address).map_err(|error| wrong("is not a URL").source_error(error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("must be an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or password"));
    }
    if url.scheme() == "http" && !is_local(&url) && !allow_http {
        return Err(Error::config("the control plane's token would go over plain HTTP to another machine")
            .hint("use an https address, or allow plain HTTP inside a network that you trust"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// `localhost` or a loopback address.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_not_repeated() {
        for (address, allow, expected) in [
            ("control.example.com", false, "is not a URL"),
            ("ftp://control.example.com", false, "must be an http or https URL"),
            ("https://me:hunter2@control.example.com", false, "must not hold a user or password"),
            ("http://control.example.com", false, "plain HTTP to another machine"),
        ] {
            let error = base(address, allow).unwrap_err();
            assert!(error.to_string().contains(expected), "{address}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(base("http://control:8000", true).is_ok());
        assert!(base("http://127.0.0.1:8000/", false).is_ok());
    }
}
