//! What ends a statement before its time: an attention of the client, KILL, or a connection that is gone.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;

use crate::error::{Result, SqlError};

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// KILL: the session ends, not only its statement.
    killed: bool,
}

/// Shared by a session's connection, which learns of such things, and its thread, which has to stop.
#[derive(Default)]
pub(crate) struct Signals {
    state: Mutex<State>,
    changed: Condvar,
    running: Mutex<Option<InterruptHandle>>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.fmt(f)
    }
}

impl Signals {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the SQLite connection that is to be interrupted.
    pub(crate) fn runs_on(&self, connection: &rusqlite::Connection) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(connection.get_interrupt_handle());
    }

    /// Before each batch.
    pub(crate) fn reset(&self) {
        self.state().cancelled = false;
    }

    pub(crate) fn cancel(&self) {
        self.state().cancelled = true;
        self.stop();
    }

    pub(crate) fn kill(&self) {
        self.state().killed = true;
        self.stop();
    }

    fn stop(&self) {
        self.changed.notify_all();
        if let Some(running) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            running.interrupt();
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.state().killed
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        let state = self.state();
        state.cancelled || state.killed
    }

    /// The error that a statement ends with: of a killed session, or one that nobody is told of.
    pub(crate) fn error(&self) -> SqlError {
        if self.is_killed() {
            let text = "Cannot continue the execution because the session is in the kill state.";
            return SqlError::new(596, 21, text);
        }
        SqlError::new(3617, 16, "The statement was cancelled.")
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(self.error()) } else { Ok(()) }
    }

    /// Waits, unless the statement is to end.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut state = self.state();
        while !state.cancelled && !state.killed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.check()
    }
}
