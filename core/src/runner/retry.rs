//! Stopping, waiting and trying again.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::governor::Governor;
use super::progress::CancelHandle;
use super::telemetry;
use crate::backoff::full_jitter;
use crate::error::{Error, ErrorKind, Result};

/// How often something is tried again by itself before the run is over, or begins again.
pub(super) const MOST_ATTEMPTS: u32 = 5;

/// What may end a run from outside: its caller, or its deadline.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    cancel: CancelHandle,
    deadline: Option<(Instant, Duration)>,
}

impl Stop {
    /// `limit` counts from now.
    pub(super) fn new(cancel: &CancelHandle, limit: Option<Duration>) -> Self {
        // A limit past the end of time is none.
        let deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        Self { cancel: cancel.clone(), deadline }
    }

    /// Waits until the run must end, and says why.
    pub(super) async fn requested(&self) -> Error {
        let Some((deadline, limit)) = self.deadline else {
            self.cancel.cancelled().await;
            return Error::cancelled();
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Error::cancelled(),
            () = tokio::time::sleep_until(deadline) => passed(limit),
        }
    }

    /// Whether something that begins after a pause would begin in time.
    pub(super) fn allows(&self, pause: Duration) -> bool {
        self.deadline.is_none_or(|(deadline, _)| Instant::now() + pause < deadline)
    }

    /// What `work` gives, unless the run must end first.
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.requested() => Err(error),
            outcome = work => outcome,
        }
    }
}

fn passed(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the run did not end within its deadline of {limit:?}"))
        .retryable(false)
        .hint("raise the deadline, or load less at once")
}

/// The pause before a run begins again.
pub(super) fn pause_of_run(attempt: u32) -> Duration {
    full_jitter(attempt, Duration::from_secs(1), Duration::from_secs(60))
}

/// The pause before a split, or the beginning of a session, is tried again.
pub(super) fn pause_of_read(attempt: u32) -> Duration {
    full_jitter(attempt, Duration::from_millis(500), Duration::from_secs(8))
}

/// Asks a source again while it reports overload. Only for what has no effect before it succeeds.
pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
    governor: &Governor,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let mut attempt = 0;
    loop {
        let began = Instant::now();
        match ask().await {
            Err(error) if error.is_overload() && error.is_retryable() && attempt < MOST_ATTEMPTS => {
                attempt += 1;
                governor.overloaded(began);
                let pause = pause_of_read(attempt);
                telemetry::read_again();
                tracing::warn!(attempt, ?pause, %error, "the source is overloaded and asked again");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_and_a_cancel_stop() {
        let cancel = CancelHandle::new();
        let stop = Stop::new(&cancel, Some(Duration::from_secs(2)));
        assert!(stop.allows(Duration::from_secs(1)) && !stop.allows(Duration::from_secs(2)));
        let error = stop.or(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, false));
        assert!(error.to_string().contains("2s"), "{error}");
        cancel.cancel();
        assert_eq!(stop.requested().await.kind(), ErrorKind::Cancelled);
        let endless = Stop::new(&CancelHandle::new(), Some(Duration::MAX));
        assert!(endless.allows(Duration::from_secs(1)));
        assert_eq!(endless.or(async { Ok(7) }).await.unwrap(), 7);
    }
}
