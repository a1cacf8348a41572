//! Jobs: submitting with ids of our own, waiting, and reading results.
//!
//! The rule behind exactly-once: after any unclear outcome the same id is submitted again. A job id can
//! run only once, so "it exists already" means that the first try did arrive.

use std::time::{Duration, Instant};

use google_cloud_bigquery_v2::model::{Job, QueryRequest};
use serde_json::{Map, Value, json};
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::encode::PartFile;
use crate::error;
use crate::upload::{Sizes, Upload};

/// How often a job that failed for a passing reason is run again under another id.
pub(crate) const ATTEMPTS: u32 = 12;
/// How long one long poll may last, milliseconds.
const POLL_MS: u32 = 10_000;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a job that was cancelled may take to end.
const CANCEL_TIME: Duration = Duration::from_secs(15);

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It was accepted now.
    Accepted,
    /// A job of that id had been accepted before, perhaps by a request whose answer was lost.
    Existed,
}

/// What is submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Submission<'a> {
    /// A job that needs nothing else.
    Job(&'a Value),
    /// A load job with the file that it loads.
    Upload(&'a Value, &'a PartFile, Sizes),
}

/// One row of a result: the texts of its values.
pub(crate) type Row = Vec<Option<String>>;

impl Client {
    /// Submits until the outcome is clear.
    pub(crate) async fn submit(&self, id: &str, location: &str, what: Submission<'_>) -> Result<Submitted> {
        let mut tries = self.retry.begin();
        loop {
            let failure = match self.send(&what).await {
                Ok(true) => return Ok(Submitted::Accepted),
                Ok(false) => return Ok(Submitted::Existed),
                Err(failure) => failure,
            };
            if error::is_unclear(&failure) {
                // The request may have arrived. If asking fails as well, the next submission will tell.
                if let Ok(Some(_)) = self.job(id, location).await {
                    return Ok(Submitted::Existed);
                }
            }
            tries.after(failure).await.map_err(|failure| failure.with("job_id", id))?;
        }
    }

    /// Answers whether the job was accepted (`true`) or existed (`false`).
    async fn send(&self, what: &Submission<'_>) -> Result<bool> {
        match *what {
            Submission::Upload(metadata, file, sizes) => {
                let path = format!("/upload/bigquery/v2/projects/{}/jobs", self.project);
                self.upload(&Upload { endpoint: &self.endpoint, path, metadata, file, sizes }).await
            }
            Submission::Job(job) => {
                let job: Job = from_json(job.clone())?;
                let request = self.jobs.insert_job().set_project_id(&self.project).set_job(job);
                match Box::pin(request.send()).await {
                    Ok(_) => Ok(true),
                    Err(error) if error.http_status_code() == Some(409) => Ok(false),
                    Err(error) => Err(error::of_client("cannot submit the job", error)),
                }
            }
        }
    }

    /// Submits a query job.
    pub(crate) async fn submit_query(&self, id: &str, location: &str, sql: &str) -> Result<Submitted> {
        let job = json!({
            "jobReference": {"projectId": self.project, "jobId": id, "location": location},
            "configuration": {
                "query": {"query": sql, "useLegacySql": false},
                "labels": {"engine": "transload"},
            },
        });
        self.submit(id, location, Submission::Job(&job)).await
    }

    /// A job by its id.
    pub(crate) async fn job(&self, id: &str, location: &str) -> Result<Option<Job>> {
        let request = self.jobs.get_job().set_project_id(&self.project).set_job_id(id).set_location(location);
        match Box::pin(request.send()).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => Err(error::of_client("cannot ask for the job", error).with("job_id", id)),
        }
    }

    /// Waits until a job is done, well or not. One that takes longer than the connection allows is cancelled.
    ///
    /// # Errors
    /// `timeout` where it is not known whether the job will still have an effect.
    pub(crate) async fn wait(&self, id: &str, location: &str) -> Result<Job> {
        let mut pause = FIRST_WAIT;
        let mut until = Instant::now() + self.config.job_time();
        let mut cancelled = false;
        loop {
            let job = self.job(id, location).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "a job that was submitted is gone")
                    .with("job_id", id)
                    .hint("run the load again")
            })?;
            if job.status.as_ref().is_some_and(|status| status.state == "DONE") {
                return Ok(job);
            }
            if Instant::now() >= until {
                if cancelled {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        "a job took too long and could not be cancelled",
                    )
                    .with("job_id", id)
                    .with("job_seconds", self.config.job_time().as_secs())
                    .hint("look at the job in BigQuery; the next run finds out what became of it"));
                }
                self.cancel(id, location).await?;
                cancelled = true;
                until = Instant::now() + CANCEL_TIME.min(self.config.job_time());
                pause = FIRST_WAIT;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_WAIT);
        }
    }

    async fn cancel(&self, id: &str, location: &str) -> Result<()> {
        tracing::warn!(job = id, "the job takes longer than `job_seconds` and is cancelled");
        let request =
            self.jobs.cancel_job().set_project_id(&self.project).set_job_id(id).set_location(location);
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error::of_client("cannot cancel a job", error).with("job_id", id)),
        }
    }

    /// Runs a query that changes nothing and answers all its rows.
    pub(crate) async fn select(&self, location: &str, sql: &str) -> Result<Vec<Row>> {
        let query = QueryRequest::new()
            .set_query(sql)
            .set_use_legacy_sql(false)
            .set_timeout_ms(POLL_MS)
            .set_location(location);
        let request = self.jobs.query().set_project_id(&self.project).set_query_request(query);
        let answer =
            Box::pin(request.send()).await.map_err(|error| error::of_client("cannot run a query", error))?;
        let rows: Vec<Row> = answer.rows.iter().map(row).collect();
        if answer.job_complete == Some(true) && answer.page_token.is_empty() {
            return Ok(rows);
        }
        let Some(job) = answer.job_reference.filter(|job| !job.job_id.is_empty()) else {
            return Err(Error::new(ErrorKind::Unreachable, "BigQuery answered neither all rows nor a job")
                .hint("check `endpoint`: it may not be the BigQuery API"));
        };
        let location = job.location.as_deref().unwrap_or(location);
        self.pages(&job.job_id, location, answer.page_token, rows).await
    }

    /// The result of a query job; waits until there is one.
    pub(crate) async fn rows(&self, id: &str, location: &str) -> Result<Vec<Row>> {
        self.pages(id, location, String::new(), Vec::new()).await
    }

    /// `rows` and what follows at `token`, to the last page.
    async fn pages(
        &self,
        id: &str,
        location: &str,
        mut token: String,
        mut rows: Vec<Row>,
    ) -> Result<Vec<Row>> {
        loop {
            let request = self
                .jobs
                .get_query_results()
                .set_project_id(&self.project)
                .set_job_id(id)
                .set_location(location)
                .set_timeout_ms(POLL_MS)
                .set_page_token(&token);
            let page = Box::pin(request.send()).await.map_err(|failure| {
                error::of_client("cannot read the result of a job", failure).with("job_id", id)
            })?;
            rows.extend(page.rows.iter().map(row));
            token = page.page_token;
            if page.job_complete == Some(true) && token.is_empty() {
                return Ok(rows);
            }
        }
    }
}

/// The failure of a finished job, if it failed; `what` says what it was for.
pub(crate) fn failure(job: &Job, what: &str, id: &str) -> Option<Error> {
    let status = job.status.as_ref()?;
    let result = status.error_result.as_ref()?;
    Some(error::of_job(what, result, &status.errors).with("job_id", id))
}

/// Builds one of Google's models from its JSON form.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::internal("a request for BigQuery could not be built").source_error(error))
}

/// `{"f": [{"v": "1"}, {"v": null}]}` as texts.
pub(crate) fn row(row: &Map<String, Value>) -> Row {
    let cells = row.get("f").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    cells
        .iter()
        .map(|cell| match cell.get("v") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_texts_or_null() {
        let Value::Object(cells) = json!({"f": [{"v": "1"}, {"v": null}, {"v": [1]}]}) else { panic!() };
        assert_eq!(row(&cells), [Some("1".to_owned()), None, Some("[1]".to_owned())]);
    }
}
