//! Locks on tables, and the one lock of a database that its writers take turns with: SQLite has one writer at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Result, SqlError};
use crate::signals::Signals;

/// What a lock is on: a database's number and a table's, or 0 for its writers.
pub(crate) type Target = (u16, i64);

#[derive(Debug, Default)]
struct Held {
    writer: Option<u16>,
    readers: HashSet<u16>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Target, Held>,
    /// Whom sessions wait for.
    waits: HashMap<u16, Vec<u16>>,
}

/// The locks of a server.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    changed: Condvar,
}

/// How strong a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Waits until nobody writes, and holds nothing.
    Look,
    /// Keeps writers away.
    Share,
    /// Keeps everybody away.
    Write,
}

impl State {
    /// The sessions that stand in the way.
    fn in_the_way(&self, target: Target, mode: Mode, session: u16) -> Vec<u16> {
        let Some(held) = self.held.get(&target) else { return Vec::new() };
        let writer = held.writer.into_iter();
        let readers = held.readers.iter().copied().filter(|_| mode == Mode::Write);
        writer.chain(readers).filter(|&other| other != session).collect()
    }

    /// Whether one of them waits, through however many others, for the session.
    fn is_deadlock(&self, holders: &[u16], session: u16) -> bool {
        let mut seen = HashSet::new();
        let mut next = holders.to_vec();
        while let Some(holder) = next.pop() {
            if holder == session {
                return true;
            }
            if seen.insert(holder) {
                next.extend(self.waits.get(&holder).into_iter().flatten());
            }
        }
        false
    }
}

impl Locks {
    /// Takes a lock, and waits for it at most so long; without a limit for ever.
    pub(crate) fn take(
        &self,
        target: Target,
        mode: Mode,
        session: u16,
        limit: Option<Duration>,
        signals: &Signals,
    ) -> Result<()> {
        let begin = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let holders = state.in_the_way(target, mode, session);
            if holders.is_empty() {
                break;
            }
            if state.is_deadlock(&holders, session) {
                state.waits.remove(&session);
                return Err(SqlError::deadlock(session));
            }
            if limit.is_some_and(|limit| begin.elapsed() >= limit) || signals.is_cancelled() {
                state.waits.remove(&session);
                return if signals.is_cancelled() {
                    Err(signals.error())
                } else {
                    Err(SqlError::lock_timeout())
                };
            }
            state.waits.insert(session, holders);
            // Cancellation is looked for now and then; it does not wake anybody here.
            let waited = self.changed.wait_timeout(state, Duration::from_millis(10));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waits.remove(&session);
        let held = state.held.entry(target).or_default();
        match mode {
            Mode::Look => {}
            Mode::Share => {
                held.readers.insert(session);
            }
            Mode::Write => held.writer = Some(session),
        }
        Ok(())
    }

    /// Gives back all that a session holds.
    pub(crate) fn release(&self, session: u16) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held.retain(|_, held| {
            held.readers.remove(&session);
            held.writer = held.writer.filter(|&writer| writer != session);
            held.writer.is_some() || !held.readers.is_empty()
        });
        // Who waits will look again, and waits no more for this one until then.
        for holders in state.waits.values_mut() {
            holders.retain(|holder| *holder != session);
        }
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_wait_for_readers_and_the_last_of_a_circle_is_the_victim() {
        let (locks, signals) = (std::sync::Arc::new(Locks::default()), Signals::default());
        let short = Some(Duration::from_millis(20));
        locks.take((1, 5), Mode::Share, 51, short, &signals).unwrap();
        assert_eq!(locks.take((1, 5), Mode::Write, 52, short, &signals).unwrap_err().number, 1222);
        locks.take((1, 6), Mode::Write, 52, short, &signals).unwrap();
        assert_eq!(locks.take((1, 6), Mode::Look, 51, short, &signals).unwrap_err().number, 1222);
        let other = locks.clone();
        let waits =
            std::thread::spawn(move || other.take((1, 5), Mode::Write, 52, None, &Signals::default()));
        while locks.state.lock().unwrap().waits.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(locks.take((1, 6), Mode::Look, 51, None, &signals).unwrap_err().number, 1205);
        locks.release(51);
        waits.join().unwrap().unwrap();
    }
}
