//! Progress and cancellation.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::eta::Eta;
use super::report::{PhaseTimes, RunStatus};
use super::window::Range;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Opening both connections.
    Connect,
    /// Beginning the read session and describing the table.
    Describe,
    /// Proposing the mapping.
    Map,
    /// Deciding the window and preparing the target table.
    Prepare,
    /// Reading, casting, encoding and sending rows.
    Load,
    /// Making rows and load record visible.
    Commit,
    /// Over.
    Done,
}

impl Phase {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Describe => "describe",
            Self::Map => "map",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Commit => "commit",
            Self::Done => "done",
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// The job's name.
    pub job: String,
    /// What it is doing.
    pub phase: Phase,
    /// How it ended; `None` until [`Phase::Done`].
    pub status: Option<RunStatus>,
    /// Rows read from the source so far.
    pub rows_read: u64,
    /// Rows given to the destination so far; visible only after the commit.
    pub rows_written: u64,
    /// Bytes of Arrow data read so far.
    pub bytes_read: u64,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Which of the ranges is being loaded, from 1; 1 for jobs that load everything at once.
    pub range: u64,
    /// How many ranges the run loads and commits one by one; 1 until that is decided.
    pub ranges: u64,
    /// Seconds that the rest will take, if it goes on as until now; `None` while that is unknown.
    pub eta_seconds: Option<f64>,
}

#[derive(Clone)]
pub(super) struct ProgressCallback(pub(super) Arc<dyn Fn(&Progress) + Send + Sync>);

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressCallback")
    }
}

/// Cancels runs from anywhere. Clones cancel the same runs; a cancelled handle stays cancelled.
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(CancellationToken);

impl CancelHandle {
    /// A fresh handle.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the runs: each ends as `cancelled`, and nothing of its load becomes visible unless the commit
    /// had begun.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    pub(super) async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// Counters of a run, shared by its tasks.
#[derive(Debug)]
pub(super) struct Tracker {
    job: String,
    started: Instant,
    callback: Option<ProgressCallback>,
    pub(super) rows_read: AtomicU64,
    pub(super) rows_written: AtomicU64,
    pub(super) rows_known: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    pub(super) batches: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    phase_began: Instant,
    last_call: Instant,
    times: PhaseTimes,
    eta: Eta,
}

/// Wished time between two calls of the callback.
const INTERVAL: Duration = Duration::from_millis(100);

impl Tracker {
    pub(super) fn new(job: &str, callback: Option<ProgressCallback>) -> Self {
        let now = Instant::now();
        let tracker = Self {
            job: job.to_owned(),
            started: now,
            callback,
            rows_read: AtomicU64::new(0),
            rows_written: AtomicU64::new(0),
            rows_known: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            state: Mutex::new(State {
                phase: Phase::Connect,
                phase_began: now,
                last_call: now,
                times: PhaseTimes::default(),
                eta: Eta::default(),
            }),
        };
        tracker.call(Phase::Connect, None);
        tracker
    }

    /// Counts from zero again.
    pub(super) fn begin_again(&self) {
        for counter in
            [&self.rows_read, &self.rows_written, &self.rows_known, &self.bytes_read, &self.batches]
        {
            counter.store(0, Ordering::Relaxed);
        }
        self.with_eta(|eta| *eta = Eta::default());
        self.phase(Phase::Connect);
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.change_phase(phase);
        tracing::debug!(job = self.job, phase = phase.as_str(), "phase");
        self.call(phase, None);
    }

    fn change_phase(&self, phase: Phase) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let spent = now.duration_since(state.phase_began).as_secs_f64();
        let previous = state.phase;
        state.times.add(previous, spent);
        state.phase = phase;
        state.phase_began = now;
    }

    fn with_eta<T>(&self, f: impl FnOnce(&mut Eta) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).eta)
    }

    /// The ranges of the run were decided.
    pub(super) fn ranges(&self, ranges: &VecDeque<Range>) {
        self.with_eta(|eta| eta.decided(ranges));
    }

    /// The next range is about to be read, with so many rows if that is known.
    pub(super) fn expect_rows(&self, rows: Option<u64>) {
        let now = Instant::now();
        self.with_eta(|eta| eta.begin(now, rows));
    }

    /// A range is loaded.
    pub(super) fn range_done(&self) {
        self.with_eta(Eta::range_done);
    }

    /// Calls the callback if the last call is long enough ago.
    pub(super) fn tick(&self) {
        if self.callback.is_none() {
            return;
        }
        let phase = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last_call.elapsed() < INTERVAL {
                return;
            }
            state.last_call = Instant::now();
            state.phase
        };
        self.call(phase, None);
    }

    pub(super) fn finish(&self, status: RunStatus) {
        self.change_phase(Phase::Done);
        self.call(Phase::Done, Some(status));
    }

    pub(super) fn times(&self) -> PhaseTimes {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times = state.times.clone();
        times.add(state.phase, state.phase_began.elapsed().as_secs_f64());
        times.total = self.started.elapsed().as_secs_f64();
        times
    }

    fn call(&self, phase: Phase, status: Option<RunStatus>) {
        if let Some(ProgressCallback(callback)) = &self.callback {
            let rows_read = self.rows_read.load(Ordering::Relaxed);
            let (range, ranges, eta) = self.with_eta(|eta| eta.tell(Instant::now(), rows_read));
            callback(&Progress {
                job: self.job.clone(),
                phase,
                status,
                rows_read,
                rows_written: self.rows_written.load(Ordering::Relaxed),
                bytes_read: self.bytes_read.load(Ordering::Relaxed),
                seconds: self.started.elapsed().as_secs_f64(),
                range,
                ranges,
                eta_seconds: eta.filter(|_| status.is_none()),
            });
        }
    }
}
