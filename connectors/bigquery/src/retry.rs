//! Trying again: one policy for Google's clients and for the requests that are made by hand.
//!
//! A failure that may pass (429, a quota, 5xx, no answer) is tried again after a random pause, up to a bound
//! that doubles ("full jitter"), until a deadline. A server that says `Retry-After` is left alone that long by
//! every request of the connection. A refused token is replaced once; requests that were sent with it go again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use google_cloud_gax::backoff_policy::BackoffPolicy;
use google_cloud_gax::retry_policy::RetryPolicy;
use google_cloud_gax::retry_result::RetryResult;
use google_cloud_gax::retry_state::RetryState;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use transload_core::{Error, Result, full_jitter};

use crate::error;
use crate::renew::Renewable;

/// Bound of the first pause; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// A refused token is not replaced more often than this.
const RENEWAL: Duration = Duration::from_secs(30);

/// The policy of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Retry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    deadline: Duration,
    auth: Renewable,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// No request is made before this instant, because the server said so.
    not_before: Option<Instant>,
    renewed: Option<Instant>,
}

impl Retry {
    /// A step that keeps failing is given up `deadline` after its first try.
    pub(crate) fn new(deadline: Duration, auth: Renewable) -> Self {
        Self(Arc::new(Shared { deadline, auth, state: Mutex::default() }))
    }

    /// Begins a step.
    pub(crate) fn begin(&self) -> Tries {
        Tries::new(self.clone())
    }

    /// Heeds what the headers of a failed answer say.
    pub(crate) fn heed(&self, headers: &HeaderMap) {
        if let Some(pause) = retry_after(headers) {
            let until = Instant::now().checked_add(pause.min(self.0.deadline));
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.not_before = state.not_before.max(until);
        }
    }

    /// Answers a refused token, of a request that was begun at `begun`: true if there are new credentials to try
    /// with. Of several requests that were on their way with the same token, the first replaces it for all.
    pub(crate) fn renew(&self, begun: Instant) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.renewed.is_some_and(|at| at >= begun) {
            return true;
        }
        if state.renewed.is_some_and(|at| at.elapsed() < RENEWAL) || !self.0.auth.renew() {
            return false;
        }
        state.renewed = Some(Instant::now());
        true
    }

    fn pause(&self, failures: u32) -> Duration {
        let jitter = full_jitter(failures, FIRST_PAUSE, LONGEST_PAUSE);
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = state.not_before.map(|at| at.saturating_duration_since(Instant::now()));
        // Those that were told the same instant do not come back together.
        told.filter(|told| !told.is_zero()).map_or(jitter, |told| told + jitter.min(FIRST_PAUSE))
    }
}

/// Tries of one step.
#[derive(Debug)]
pub(crate) struct Tries {
    retry: Retry,
    start: Instant,
    /// Before this, no request was begun that is still on its way. Too early costs one more try, too late the load.
    begun: Instant,
    failures: u32,
}

impl Tries {
    fn new(retry: Retry) -> Self {
        let now = Instant::now();
        Self { retry, start: now, begun: now, failures: 0 }
    }

    /// Waits before the next try of a request.
    ///
    /// # Errors
    /// The failure itself, where it will not pass or the time is up.
    pub(crate) async fn after(&mut self, failure: Error) -> Result<()> {
        if error::is_refused_token(&failure) && self.retry.renew(self.begun) {
            self.begun = Instant::now();
            return Ok(());
        }
        if error::may_pass(&failure) { self.again(failure).await } else { Err(failure) }
    }

    /// Waits before the next try, whatever the failure.
    ///
    /// # Errors
    /// The failure itself, where the time is up.
    pub(crate) async fn again(&mut self, failure: Error) -> Result<()> {
        self.failures += 1;
        let pause = self.retry.pause(self.failures);
        if self.start.elapsed() + pause > self.retry.0.deadline {
            return Err(failure.with("tries", self.failures));
        }
        tracing::debug!(%failure, ?pause, tries = self.failures, "trying again");
        tokio::time::sleep(pause).await;
        self.begun = Instant::now();
        Ok(())
    }

    /// Something worked: pauses begin small again, and so does the deadline.
    pub(crate) fn progress(&mut self) {
        self.failures = 0;
        self.start = Instant::now();
    }
}

impl RetryPolicy for Retry {
    fn on_error(&self, state: &RetryState, error: google_cloud_gax::error::Error) -> RetryResult {
        // Only of the first attempt is it known when it began.
        let begun = if state.attempt_count <= 1 { state.start } else { Instant::now() };
        if error::client_refused_token(&error) && self.renew(begun) {
            return RetryResult::Continue(error);
        }
        if let Some(headers) = error.http_headers() {
            self.heed(headers);
        }
        // Every request that this crate makes may be repeated: jobs have ids of our own, and "exists already"
        // and "not found" are answers to creating and deleting. An exhausted policy would wrap the error.
        if error::client_may_pass(&error) && state.start.elapsed() < self.0.deadline {
            RetryResult::Continue(error)
        } else {
            RetryResult::Permanent(error)
        }
    }
}

/// A policy of Google's client for one stream, with refused tokens replaced.
#[derive(Debug)]
pub(crate) struct Renewing<P> {
    policy: P,
    retry: Retry,
    /// As in [`Tries`]: the client itself does not know when a stream was begun that breaks in the middle.
    begun: Mutex<Instant>,
}

impl<P> Renewing<P> {
    pub(crate) fn new(policy: P, retry: Retry) -> Self {
        Self { policy, retry, begun: Mutex::new(Instant::now()) }
    }
}

impl<P: RetryPolicy> RetryPolicy for Renewing<P> {
    fn on_error(&self, state: &RetryState, error: google_cloud_gax::error::Error) -> RetryResult {
        if error::client_refused_token(&error) {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            if self.retry.renew(*begun) {
                *begun = Instant::now();
                return RetryResult::Continue(error);
            }
        }
        self.policy.on_error(state, error)
    }
}

impl BackoffPolicy for Retry {
    fn on_failure(&self, state: &RetryState) -> Duration {
        self.pause(state.attempt_count).min(self.0.deadline.saturating_sub(state.start.elapsed()))
    }
}

/// Seconds that a `Retry-After` header asks for; its other form, a date, is not used by Google's APIs.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::{ErrorKind, Secret};
    use transload_google::{AuthMode, Endpoint};

    fn retry(deadline: Duration) -> Retry {
        Retry::new(deadline, Renewable::anonymous())
    }

    #[test]
    fn pauses_are_random_and_bounded() {
        let retry = retry(Duration::from_secs(60));
        for (failures, bound) in [(1, 500), (2, 1000), (4, 4000), (30, 32_000)] {
            let pauses: Vec<Duration> = (0..200).map(|_| retry.pause(failures)).collect();
            assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(bound)));
            // Full jitter: some are short, some are long.
            assert!(pauses.iter().any(|pause| *pause < Duration::from_millis(bound / 4)));
            assert!(pauses.iter().any(|pause| *pause > Duration::from_millis(bound / 2)));
        }
    }

    #[test]
    fn retry_after_holds_for_the_whole_connection() {
        let retry = retry(Duration::from_secs(60));
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let told = Instant::now();
        retry.heed(&headers);
        let pause = retry.clone().pause(1);
        // However long this test is kept from running between the two.
        assert!(pause + told.elapsed() >= Duration::from_secs(7), "{pause:?}");
        assert!(pause <= Duration::from_secs(7) + FIRST_PAUSE, "{pause:?}");
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once_for_all_that_were_on_their_way() {
        let login = serde_json::json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
            "refresh_token": "r", "token_uri": "http://127.0.0.1:1"});
        let endpoint = Endpoint::new(Some("http://127.0.0.1:1"), "", "/").unwrap();
        let auth = Renewable::new(
            Some(AuthMode::ServiceAccount).into(),
            Some(&Secret::new(login.to_string())),
            &endpoint,
        )
        .unwrap();
        let retry = Retry::new(Duration::from_secs(60), auth);
        let (first, second) = (Instant::now(), Instant::now());
        assert!(retry.renew(first) && retry.renew(second));
        // One that was begun with the new one.
        assert!(!retry.renew(Instant::now()));
        let retry = Retry::new(Duration::from_secs(60), Renewable::anonymous());
        assert!(!retry.renew(Instant::now()), "there is nothing to make anew");
    }

    #[tokio::test]
    async fn what_will_not_pass_is_not_tried_again() {
        let mut tries = retry(Duration::from_secs(60)).begin();
        let lasting = Error::new(ErrorKind::Permission, "no");
        assert_eq!(tries.after(lasting).await.unwrap_err().kind(), ErrorKind::Permission);
        let mut tries = retry(Duration::ZERO).begin();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let passing = Error::new(ErrorKind::Unreachable, "gone");
        assert!(tries.after(passing).await.unwrap_err().is_retryable());
    }
}
