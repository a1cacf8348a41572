//! Progress and cancellation.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::eta::Eta;
use super::report::{PhaseTimes, RunStatus};
use super::telemetry::{self, Meters, Present};
use super::window::Range;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for memory, while other runs have it all. Left out where there is no need to wait.
    Wait,
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
    /// Those that take time.
    pub(super) const TIMED: [Self; 7] =
        [Self::Wait, Self::Connect, Self::Describe, Self::Map, Self::Prepare, Self::Load, Self::Commit];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
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
    /// Rows read a second, over the last three seconds.
    pub rows_per_second: f64,
    /// The parts of the table.
    pub splits: SplitStates,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Which of the ranges is being loaded, from 1; 1 for jobs that load everything at once.
    pub range: u64,
    /// How many ranges the run loads and commits one by one; 1 until that is decided.
    pub ranges: u64,
    /// Seconds that the rest will take, if it goes on as until now; `None` while that is unknown.
    pub eta_seconds: Option<f64>,
}

/// How many parts of a table are read, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SplitStates {
    /// All of them; 0 until they are planned.
    pub total: usize,
    /// Being read now.
    pub active: usize,
    /// Read to their end.
    pub done: usize,
}

impl Progress {
    /// In the middle of a load.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            job: "orders".to_owned(),
            phase: Phase::Load,
            status: None,
            rows_read: 1_234_567,
            rows_written: 1_200_000,
            bytes_read: 7,
            rows_per_second: 84_321.0,
            splits: SplitStates { total: 4, active: 2, done: 1 },
            seconds: 12.3,
            range: 1,
            ranges: 1,
            eta_seconds: None,
        }
    }

    /// The JSON form, as the bindings and [`JsonLines`](super::JsonLines) give it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Plain data, which always can be serialised.
        serde_json::to_value(self).unwrap_or_default()
    }
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
    meters: Meters,
    run: Span,
    splits_total: AtomicUsize,
    splits_active: AtomicUsize,
    splits_done: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    phase_began: Instant,
    last_call: Instant,
    times: PhaseTimes,
    eta: Eta,
    span: Span,
    /// Rows read at earlier calls, for the rate.
    read: VecDeque<(Instant, u64)>,
}

/// Time over which the rate is told.
const RATE_OVER: Duration = Duration::from_secs(3);

/// Wished time between two calls of the callback.
const INTERVAL: Duration = Duration::from_millis(100);

impl Tracker {
    /// `run` is the span of the run.
    pub(super) fn new(job: &str, run: &Span, callback: Option<ProgressCallback>) -> Self {
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
            meters: Meters::of(job),
            run: run.clone(),
            splits_total: AtomicUsize::new(0),
            splits_active: AtomicUsize::new(0),
            splits_done: AtomicUsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Connect,
                phase_began: now,
                last_call: now,
                times: PhaseTimes::default(),
                eta: Eta::default(),
                span: telemetry::phase_span(run, Phase::Connect),
                read: VecDeque::new(),
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
        self.planned(0);
        self.lock().read.clear();
        self.phase(Phase::Connect);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch has come.
    pub(super) fn read(&self, rows: u64, bytes: u64) {
        self.rows_read.fetch_add(rows, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.meters.rows_read.increment(rows);
        self.meters.bytes_read.increment(bytes);
    }

    /// The span of the phase that the run is in.
    pub(super) fn span(&self) -> Span {
        self.lock().span.clone()
    }

    /// So many splits are to be read.
    pub(super) fn planned(&self, splits: usize) {
        self.splits_total.store(splits, Ordering::Relaxed);
        self.splits_done.store(0, Ordering::Relaxed);
    }

    /// A split is being read until what this gives is dropped.
    pub(super) fn split(&self) -> ActiveSplit<'_> {
        self.splits_active.fetch_add(1, Ordering::Relaxed);
        ActiveSplit(self, Present::split())
    }

    /// A split has been read to its end.
    pub(super) fn split_done(&self) {
        self.splits_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.change_phase(phase);
        tracing::debug!(job = self.job, phase = phase.as_str(), "phase");
        self.call(phase, None);
    }

    fn change_phase(&self, phase: Phase) {
        let mut state = self.lock();
        let now = Instant::now();
        let spent = now.duration_since(state.phase_began).as_secs_f64();
        let previous = state.phase;
        state.times.add(previous, spent);
        state.phase = phase;
        state.phase_began = now;
        state.span = match phase {
            Phase::Done => Span::none(),
            _ => telemetry::phase_span(&self.run, phase),
        };
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
            let mut state = self.lock();
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
        let state = self.lock();
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
                rows_per_second: self.lock().rate(Instant::now(), rows_read),
                splits: SplitStates {
                    total: self.splits_total.load(Ordering::Relaxed),
                    active: self.splits_active.load(Ordering::Relaxed),
                    done: self.splits_done.load(Ordering::Relaxed),
                },
                seconds: self.started.elapsed().as_secs_f64(),
                range,
                ranges,
                eta_seconds: eta.filter(|_| status.is_none()),
            });
        }
    }
}

impl State {
    /// Rows a second since the oldest call that counts, or since the first one.
    fn rate(&mut self, now: Instant, rows: u64) -> f64 {
        while self.read.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER) {
            self.read.pop_front();
        }
        self.read.push_back((now, rows));
        let (began, before) = self.read.front().copied().unwrap_or((now, rows));
        let seconds = now.duration_since(began).as_secs_f64();
        if seconds > 0.0 { (rows.saturating_sub(before) as f64 / seconds).round() } else { 0.0 }
    }
}

/// A split that is being read.
pub(super) struct ActiveSplit<'a>(
    &'a Tracker,
    #[expect(dead_code, reason = "counts until it is dropped")] Present,
);

impl Drop for ActiveSplit<'_> {
    fn drop(&mut self) {
        self.0.splits_active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let began = Instant::now();
        let mut state = State {
            phase: Phase::Load,
            phase_began: began,
            last_call: began,
            times: PhaseTimes::default(),
            span: Span::none(),
            read: VecDeque::new(),
            eta: Eta::default(),
        };
        assert_eq!(state.rate(began, 0), 0.0);
        let mut at = |millis, rows| state.rate(began + Duration::from_millis(millis), rows);
        assert_eq!(at(1_000, 500), 500.0);
        assert_eq!(at(2_000, 2_000), 1_000.0);
        // Fast at first, slow for three seconds.
        assert_eq!(at(5_000, 2_030), 10.0);
        assert_eq!(at(8_000, 2_030), 0.0);
        assert!(at(9_000, 2_030) < 0.1);
    }
}
