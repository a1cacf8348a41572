//! Options of a client.

use std::path::PathBuf;
use std::time::Duration;

use crate::contract::TaskDocument;

/// Limits of a [`ControlPlane`](crate::ControlPlane) client, and where it keeps what it could not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlPlaneOptions {
    /// How long one request may take. Default: 10 s.
    pub request_timeout: Duration,
    /// How long a call may take with all its tries. Default: 60 s.
    pub deadline: Duration,
    /// Least time between two progress requests of a run; one that does not change is repeated after six times
    /// as long. Default: 5 s.
    pub progress_interval: Duration,
    /// A folder of this control plane for reports that could not be delivered; created readable by its owner
    /// only. Default: none, and then such a report is only returned.
    pub spool: Option<PathBuf>,
    /// Whether the token may go over plain HTTP to another machine. Default: false.
    pub allow_http: bool,
    /// Which task of a batch this process is; goes along with reports.
    pub task: Option<TaskDocument>,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
            progress_interval: Duration::from_secs(5),
            spool: None,
            allow_http: false,
            task: None,
        }
    }
}

impl ControlPlaneOptions {
    /// Sets how long one request may take.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long a call may take with all its tries.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the least time between two progress requests of a run.
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = interval;
        self
    }

    /// Sets the folder for reports that could not be delivered.
    #[must_use]
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spool = Some(folder.into());
        self
    }

    /// Lets the token go over plain HTTP to another machine.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// Says which task of a batch this process is.
    #[must_use]
    pub fn task(mut self, task: TaskDocument) -> Self {
        self.task = Some(task);
        self
    }
}
