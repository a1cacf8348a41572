//! How hard a source is worked: reads at once, rows and bytes a second, and backing off when it is overloaded.
//! One governor a connection, shared by all runs of a [`Runner`](super::Runner) and its clones. RFC 18.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::telemetry;
use crate::backoff::full_jitter;
use crate::connection::{Connection, ConnectionLimits};

/// Without overload for so long, one more read at once is tried.
const CALM: Duration = Duration::from_secs(5);

/// The governors of a runner, by the names of its connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Governors(Arc<Mutex<BTreeMap<String, Arc<Governor>>>>);

impl Governors {
    /// The governor of a connection: the same for all runs, as long as its limits stay the same.
    pub(super) fn of(&self, connection: &Connection) -> Arc<Governor> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(connection.name()) {
            Some(governor) if governor.limits == *connection.limits() => Arc::clone(governor),
            _ => {
                let governor = Arc::new(Governor::new(*connection.limits()));
                known.insert(connection.name().to_owned(), Arc::clone(&governor));
                governor
            }
        }
    }
}

/// The governor of one source.
#[derive(Debug)]
pub(super) struct Governor {
    limits: ConnectionLimits,
    state: Mutex<State>,
    /// Held by the one whose turn is next, so that reads begin in the order in which they came.
    line: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    active: usize,
    /// Reads allowed at once after an overload; `None` while there is no reason to hold back.
    allowed: Option<usize>,
    /// How many there were when the source was overloaded for the first time.
    before: usize,
    /// When `allowed` changed last.
    since: Instant,
    /// Nothing begins until then.
    paused_until: Instant,
    /// Overloads without a calm time between.
    in_a_row: u32,
    rows: Bucket,
    bytes: Bucket,
}

/// Lets so many pass a second; whoever takes more than there is waits until it would have come.
#[derive(Debug)]
struct Bucket {
    per_second: Option<NonZero<u64>>,
    empty_until: Instant,
}

impl Bucket {
    fn new(per_second: Option<NonZero<u64>>) -> Self {
        Self { per_second, empty_until: Instant::now() }
    }

    fn spend(&mut self, amount: u64, now: Instant) -> Instant {
        if let Some(per_second) = self.per_second {
            let seconds = amount as f64 / per_second.get() as f64;
            let cost = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            let from = self.empty_until.max(now);
            self.empty_until = from.checked_add(cost).unwrap_or(from);
        }
        self.empty_until
    }
}

impl State {
    /// `Ok` if a read may begin now, else when to look again at the latest.
    fn begin(&mut self, limits: &ConnectionLimits, now: Instant) -> Result<(), Option<Instant>> {
        self.recover(now);
        if now < self.paused_until {
            return Err(Some(self.paused_until));
        }
        let configured = limits.parallel_reads.map_or(usize::MAX, NonZero::get);
        let most = self.allowed.unwrap_or(usize::MAX).min(configured);
        if self.active >= most {
            return Err(self.allowed.map(|_| self.since + CALM));
        }
        self.active += 1;
        Ok(())
    }

    /// One more read at once for each calm time, until there are as many as before.
    fn recover(&mut self, now: Instant) {
        while let Some(allowed) = self.allowed
            && now >= self.since + CALM
        {
            self.since += CALM;
            self.in_a_row = 0;
            self.allowed = (allowed + 1 < self.before).then_some(allowed + 1);
        }
    }

    /// `true` if fewer reads than before, or than when the read `began`, are allowed now.
    fn back_off(&mut self, began: Instant, now: Instant) -> bool {
        self.recover(now);
        let known = self.allowed.is_some() && began < self.since;
        let from = self.allowed.unwrap_or(usize::MAX).min(self.active).max(1);
        let lowered = from > 1 && !known;
        if self.allowed.is_none() {
            self.before = from;
        }
        if !known {
            self.in_a_row += 1;
            self.allowed = Some((from / 2).max(1));
            self.since = now;
            let pause = full_jitter(self.in_a_row, Duration::from_millis(250), Duration::from_secs(10));
            self.paused_until = self.paused_until.max(now + pause);
        }
        lowered || known
    }
}

impl Governor {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let now = Instant::now();
        let state = State {
            active: 0,
            allowed: None,
            before: 1,
            since: now,
            paused_until: now,
            in_a_row: 0,
            rows: Bucket::new(limits.rows_per_second),
            bytes: Bucket::new(limits.bytes_per_second),
        };
        Self { limits, state: Mutex::new(state), line: tokio::sync::Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many splits are worth planning.
    pub(super) fn splits(&self, wanted: usize) -> usize {
        self.limits.parallel_reads.map_or(wanted, |most| wanted.min(most.get()))
    }

    /// Waits until one more read may begin. It counts until the slot is dropped.
    pub(super) async fn slot(self: &Arc<Self>) -> Slot {
        let _turn = self.line.lock().await;
        loop {
            let changed = self.changed.notified();
            let began = Instant::now();
            let look_again = match self.state().begin(&self.limits, began) {
                Ok(()) => return Slot { governor: Arc::clone(self), began },
                Err(look_again) => look_again,
            };
            match look_again {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// The source has said that it is overloaded, to a read that `began` then. Half as many may be at once from
    /// now on, after a pause. `false` if there are no fewer than one.
    pub(super) fn overloaded(&self, began: Instant) -> bool {
        telemetry::overloaded();
        self.state().back_off(began, Instant::now())
    }

    /// Waits as long as the limits of rows and bytes want after so many.
    pub(super) async fn pace(&self, rows: u64, bytes: u64) {
        if self.limits.rows_per_second.is_none() && self.limits.bytes_per_second.is_none() {
            return;
        }
        let until = {
            let (mut state, now) = (self.state(), Instant::now());
            state.rows.spend(rows, now).max(state.bytes.spend(bytes, now))
        };
        tokio::time::sleep_until(until).await;
    }
}

/// The right to read one split.
#[derive(Debug)]
pub(super) struct Slot {
    governor: Arc<Governor>,
    began: Instant,
}

impl Slot {
    /// See [`Governor::overloaded`].
    pub(super) fn overloaded(&self) -> bool {
        self.governor.overloaded(self.began)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.governor.state().active -= 1;
        self.governor.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn governor(limits: ConnectionLimits) -> Arc<Governor> {
        Arc::new(Governor::new(limits))
    }

    /// Slots that can be had now.
    async fn available(governor: &Arc<Governor>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while slots.len() < 16
            && let Ok(slot) = tokio::time::timeout(Duration::from_millis(1), governor.slot()).await
        {
            slots.push(slot);
        }
        slots
    }

    #[tokio::test(start_paused = true)]
    async fn reads_at_once_are_limited_across_runs() {
        let limits = ConnectionLimits { parallel_reads: NonZero::new(3), ..ConnectionLimits::default() };
        let governor = governor(limits);
        assert_eq!((governor.splits(8), governor.splits(2)), (3, 2));
        let mut slots = available(&governor).await;
        assert_eq!(slots.len(), 3);
        let next = tokio::spawn({
            let governor = Arc::clone(&governor);
            async move { governor.slot().await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!next.is_finished());
        drop(slots.pop());
        let _next = next.await.unwrap();
        assert_eq!(available(&governor).await.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overload_halves_once_and_is_slowly_forgotten() {
        let governor = governor(ConnectionLimits::default());
        let mut slots = Vec::new();
        for _ in 0..8 {
            slots.push(governor.slot().await);
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        // Eight began together; that three of them are refused is one piece of news.
        assert!(slots.iter().take(3).all(Slot::overloaded));
        drop(slots);
        tokio::time::advance(Duration::from_millis(300)).await;
        let slots = available(&governor).await;
        assert_eq!(slots.len(), 4);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(slots[0].overloaded());
        drop(slots);
        tokio::time::advance(Duration::from_secs(1)).await;
        let slots = available(&governor).await;
        assert_eq!(slots.len(), 2);
        drop(slots);
        // One more at once for each calm time, and after all of them as many as anybody wants.
        for expected in [3, 4, 5, 6, 7] {
            tokio::time::advance(CALM).await;
            assert_eq!(available(&governor).await.len(), expected);
        }
        tokio::time::advance(CALM).await;
        assert_eq!(available(&governor).await.len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_read_cannot_back_off_further() {
        let governor = governor(ConnectionLimits::default());
        for _ in 0..3 {
            let slot = governor.slot().await;
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(!slot.overloaded());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rows_and_bytes_are_paced_together() {
        let limits = ConnectionLimits {
            rows_per_second: NonZero::new(1000),
            bytes_per_second: NonZero::new(1_000_000),
            ..ConnectionLimits::default()
        };
        let governor = governor(limits);
        let began = Instant::now();
        let tasks = (0..4).map(|_| {
            let governor = Arc::clone(&governor);
            tokio::spawn(async move {
                for _ in 0..5 {
                    governor.pace(100, 10).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let rows = began.elapsed();
        assert!((rows.as_secs_f64() - 2.0).abs() < 0.01, "{rows:?}");
        governor.pace(1, 3_000_000).await;
        let bytes = began.elapsed() - rows;
        assert!((bytes.as_secs_f64() - 3.0).abs() < 0.01, "{bytes:?}");
    }

    #[test]
    fn a_connection_keeps_its_governor_until_its_limits_change() {
        let governors = Governors::default();
        let shop = Connection::new("shop", "memory");
        let first = governors.of(&shop);
        assert!(Arc::ptr_eq(&first, &governors.clone().of(&shop)));
        assert!(!Arc::ptr_eq(&first, &governors.of(&Connection::new("other", "memory"))));
        let limits = ConnectionLimits { parallel_reads: NonZero::new(1), ..ConnectionLimits::default() };
        assert!(!Arc::ptr_eq(&first, &governors.of(&shop.limited(limits))));
    }
}
