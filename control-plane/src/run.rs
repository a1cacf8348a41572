//! One run in the eyes of the control plane: its id, its progress, its end.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transload_core::{CancelHandle, Error, Progress, RunReport};
use uuid::Uuid;

use crate::client::{Call, ControlPlane};
use crate::contract::{ProgressAnswer, ProgressDocument, RunEndDocument};

/// A run that the control plane is told of. Its id is made here, before any request, and goes along with every
/// one, so that the host can tell a repeated request from a second run.
#[derive(Debug)]
#[must_use = "a run that is not finished is never reported"]
pub struct Run {
    control: ControlPlane,
    id: String,
    job_id: String,
    progress: watch::Sender<Option<Progress>>,
    cancel: CancelHandle,
    posting: JoinHandle<()>,
}

/// Progress that does not change is sent again after so many intervals.
const SIGN_OF_LIFE: u32 = 6;

/// What became of the end of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Why the control plane does not have it yet; `None` if it has.
    pub error: Option<Error>,
    /// Where it is kept instead, to be sent by the next start or, if it was refused, to be looked at.
    pub kept_at: Option<PathBuf>,
}

impl Delivery {
    /// Whether the control plane has it.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.error.is_none()
    }
}

impl Run {
    pub(crate) fn new(control: ControlPlane, job_id: String) -> Self {
        // Ids of later runs sort behind those of earlier ones.
        let id = Uuid::now_v7().to_string();
        let (progress, latest) = watch::channel(None);
        let cancel = CancelHandle::new();
        let posting = tokio::spawn(post(control.clone(), id.clone(), job_id.clone(), latest, cancel.clone()));
        Self { control, id, job_id, progress, cancel, posting }
    }

    /// The run's id: a UUID of version 7.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Cancelled when the control plane asks for it. Give it to [`Runner::cancel_with`](transload_core::Runner).
    #[must_use]
    pub fn cancel_handle(&self) -> &CancelHandle {
        &self.cancel
    }

    /// A progress callback. It never waits: the latest progress is sent from elsewhere, at most as often as the
    /// options say, and what the control plane does with it has no effect on the run, unless it cancels it.
    pub fn observer(&self) -> impl Fn(&Progress) + Clone + Send + Sync + 'static {
        let latest = self.progress.clone();
        move |progress| {
            latest.send_replace(Some(progress.clone()));
        }
    }

    /// Delivers the report. If the future is dropped before it is done, the report stays in the spool folder.
    pub fn finish(self, report: &RunReport) -> impl Future<Output = Delivery> + Send + use<> {
        let report = report.to_json();
        async move { self.end(Some(report), None).await }
    }

    /// Says why the run could not begin.
    pub fn fail(self, error: &Error) -> impl Future<Output = Delivery> + Send + use<> {
        let error = error.to_json();
        async move { self.end(None, Some(error)).await }
    }

    async fn end(self, report: Option<Value>, error: Option<Value>) -> Delivery {
        self.posting.abort();
        let task = self.control.0.options.task.clone();
        let (run_id, job_id) = (self.id.clone(), self.job_id.clone());
        let end = RunEndDocument { run_id, job_id, report, error, task };
        // Kept before it is sent: a process that is killed while it sends loses nothing.
        let kept = match &self.control.0.spool {
            Some(spool) => match spool.keep(&end).await {
                Ok(path) => Some(path),
                Err(error) => {
                    tracing::warn!(run = self.id, %error, "a report could not be kept; it is sent all the same");
                    None
                }
            },
            None => None,
        };
        match self.control.put_end(&end).await {
            Ok(()) => {
                forget(&self.control, kept.as_deref()).await;
                Delivery { error: None, kept_at: None }
            }
            Err(error) => {
                tracing::warn!(run = self.id, %error, "the control plane did not take a report");
                let kept_at = match (&self.control.0.spool, kept) {
                    (Some(spool), Some(path)) if is_final(&error) => Some(spool.set_aside(&path).await),
                    (_, kept) => kept,
                };
                Delivery { error: Some(error), kept_at }
            }
        }
    }
}

async fn forget(control: &ControlPlane, kept: Option<&Path>) {
    if let (Some(spool), Some(path)) = (&control.0.spool, kept)
        && let Err(error) = spool.forget(path).await
    {
        // It will be sent once more, under the same id.
        tracing::warn!(%error, "a delivered report could not be removed from the spool");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.posting.abort();
    }
}

/// Whether sending the same report again can never help.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(error.context_value("status"), Some("400" | "409" | "413" | "415" | "422"))
}

impl ControlPlane {
    pub(crate) async fn put_end(&self, end: &RunEndDocument) -> transload_core::Result<()> {
        let body = serde_json::to_value(end)
            .map_err(|error| Error::internal("a report could not be serialised").source_error(error))?;
        let call = Call {
            what: "put report",
            method: Method::PUT,
            path: &["v1", "runs", &end.run_id, "report"],
            query: &[],
            body: Some(&body),
            idempotency_key: Some(&end.run_id),
        };
        // What the host says beside its status is its own business, but a page of a proxy is no answer of the host.
        self.call::<Value>(&call).await.map(|_| ())
    }
}

/// Posts the latest progress, one request at a time, until the run is over.
async fn post(
    control: ControlPlane,
    run_id: String,
    job_id: String,
    mut latest: watch::Receiver<Option<Progress>>,
    cancel: CancelHandle,
) {
    let mut warned = false;
    let interval = control.0.options.progress_interval;
    loop {
        // Also a run from which nothing is heard gives a sign of life, and hears that it shall stop.
        if let Ok(Err(_)) = tokio::time::timeout(interval * SIGN_OF_LIFE, latest.changed()).await {
            return;
        }
        let Some(progress) = latest.borrow_and_update().clone() else { continue };
        match put_progress(&control, &run_id, &job_id, &progress).await {
            Ok(answer) if answer.cancel => {
                tracing::info!(run = run_id, "the control plane cancels the run");
                cancel.cancel();
            }
            Ok(_) => {}
            Err(error) if warned => tracing::debug!(run = run_id, %error, "progress was not taken"),
            Err(error) => {
                warned = true;
                tracing::warn!(run = run_id, %error, "progress was not taken; the run goes on");
            }
        }
        tokio::time::sleep(interval).await;
    }
}

async fn put_progress(
    control: &ControlPlane,
    run_id: &str,
    job_id: &str,
    progress: &Progress,
) -> transload_core::Result<ProgressAnswer> {
    let document = ProgressDocument {
        job_id: job_id.to_owned(),
        progress: serde_json::to_value(progress).unwrap_or_default(),
        task: control.0.options.task.clone(),
    };
    let body = serde_json::to_value(document).unwrap_or_default();
    let call = Call {
        what: "put progress",
        method: Method::PUT,
        path: &["v1", "runs", run_id, "progress"],
        query: &[],
        body: Some(&body),
        idempotency_key: None,
    };
    Ok(control.try_once::<Option<ProgressAnswer>>(&call).await?.unwrap_or_default())
}
