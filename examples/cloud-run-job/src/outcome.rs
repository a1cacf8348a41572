//! What the exit code says.

use transload::{Error, ErrorKind};

/// How the process ends. Variants that come later win over those that come earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Every job of this task succeeded, and so it was reported.
    Succeeded,
    /// Every job succeeded, but a report could not be delivered.
    NotReported,
    /// A job failed.
    Failed,
    /// The control plane could not be asked; nothing ran.
    ControlPlane,
    /// The environment, the documents or the token are wrong; nothing ran.
    Configuration,
    /// SIGTERM or SIGINT.
    Stopped,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Configuration => 2,
            Self::ControlPlane => 3,
            Self::NotReported => 4,
            // What a shell says of a process that SIGTERM ended.
            Self::Stopped => 143,
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Succeeded => "all jobs succeeded",
            Self::NotReported => "all jobs succeeded, but not all of it is reported",
            Self::Failed => "a job failed",
            Self::ControlPlane => "the control plane could not be asked",
            Self::Configuration => "the configuration is wrong",
            Self::Stopped => "stopped by a signal",
        }
    }

    /// For an error before anything ran.
    pub(crate) fn of_start(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::RateLimited
            | ErrorKind::Tls
            | ErrorKind::Data => Self::ControlPlane,
            _ => Self::Configuration,
        }
    }
}
