//! The one door between Python and the engine: release the GIL, wait, look for signals.
//!
//! One tokio runtime serves the process. It is built on first use, and again in a child after `fork`, where
//! the threads of the parent's are gone.

use std::cell::Cell;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long a call waits before it looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// Locked only by threads that hold the GIL, and never for long: the thread that forks holds the GIL too, so
/// a child never inherits it locked.
static RUNTIME: Mutex<Option<Owned>> = Mutex::new(None);

#[derive(Debug)]
struct Owned {
    process: u32,
    runtime: Runtime,
}

/// The runtime of one process.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    process: u32,
    handle: Handle,
}

impl Engine {
    /// The runtime of this process.
    pub(crate) fn get(_attached: Python<'_>) -> PyResult<Self> {
        let process = std::process::id();
        let mut shared = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = shared.as_ref().filter(|owned| owned.process == process) {
            return Ok(Self { process, handle: owned.runtime.handle().clone() });
        }
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("transload")
            .build()
            .map_err(|error| PyRuntimeError::new_err(format!("no threads for the engine: {error}")))?;
        let handle = runtime.handle().clone();
        // The parent's runtime cannot be shut down from here: it would wait for threads that do not exist.
        std::mem::forget(shared.replace(Owned { process, runtime }));
        Ok(Self { process, handle })
    }

    /// Whether this is the process that the runtime was built in.
    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Starts a task.
    pub(crate) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Waits without touching Python; for threads that are not Python's.
    pub(crate) fn wait_outside<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Waits one tick with the GIL released; `None` if the future needs longer. It must not lose anything
    /// when it is dropped.
    pub(crate) fn tick<F>(&self, py: Python<'_>, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        py.detach(|| self.handle.block_on(async { tokio::time::timeout(TICK, future).await.ok() }))
    }

    /// Drops a value that may end tasks or sockets of the runtime.
    pub(crate) fn drop_inside<T>(&self, value: T) {
        if self.is_here() {
            let _inside = self.handle.enter();
            drop(value);
        } else {
            // Closing a socket in a child would take it out of the poll set that the parent uses.
            std::mem::forget(value);
        }
    }
}

/// Waits for the engine with the GIL released. Ctrl-C drops the future, which cancels what it does.
///
/// Python code (signal handlers) runs between two waits and outside of the runtime, so that it may call the
/// engine again.
pub(crate) fn block_on<F>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let engine = Engine::get(py)?;
    let mut future = Box::pin(future);
    loop {
        if let Some(output) = engine.tick(py, future.as_mut()) {
            engine.drop_inside(future);
            return Ok(output);
        }
        if let Err(interrupt) = under_us(|| py.check_signals()) {
            engine.drop_inside(future);
            return Err(interrupt);
        }
    }
}

thread_local! {
    static UNDER_US: Cell<usize> = const { Cell::new(0) };
}

/// Runs Python code of others (callbacks, signal handlers, Arrow exports) from inside a call of ours.
///
/// PyO3 counts that this thread holds the GIL, and cannot know of a library further down the stack that
/// releases it. What is called back from there must not believe the count; see [`is_under_us`].
pub(crate) fn under_us<T>(call: impl FnOnce() -> T) -> T {
    let _guard = UnderUs::new();
    call()
}

/// Whether somebody else's Python code, called by us, is running on this thread.
pub(crate) fn is_under_us() -> bool {
    UNDER_US.get() > 0
}

struct UnderUs;

impl UnderUs {
    fn new() -> Self {
        UNDER_US.set(UNDER_US.get() + 1);
        Self
    }
}

impl Drop for UnderUs {
    fn drop(&mut self) {
        UNDER_US.set(UNDER_US.get().saturating_sub(1));
    }
}
