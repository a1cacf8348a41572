//! The memory that the runs of a process share. RFC 18 says why it is given out the way it is.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::telemetry::Present;
use crate::error::{Error, Result};

/// What is counted: whole mebibytes.
const UNIT: usize = 1024 * 1024;

/// Units that a run needs to begin.
const LEAST: u32 = 16;

/// Bytes that rows in flight may occupy together, in all runs that share the budget.
///
/// A run takes its part once, before it connects, and gives it back when it ends or pauses before a retry. It
/// gets what it wishes, at most half of what is free and at least 16 MiB, and waits in line while less is free.
/// Clones share the same bytes.
///
/// ```
/// use transload_core::MemoryBudget;
///
/// let budget = MemoryBudget::new(64 * 1024 * 1024);
/// assert_eq!((budget.total(), budget.free()), (64 * 1024 * 1024, 64 * 1024 * 1024));
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: u32,
    free: Arc<Semaphore>,
}

/// The budget of the process that asked first, and that process's id.
static PROCESS: OnceLock<(u32, MemoryBudget)> = OnceLock::new();

/// That of a forked child, where nobody gives back what the parent's runs had at that moment.
static FORKED: Mutex<Option<(u32, &'static MemoryBudget)>> = Mutex::new(None);

impl MemoryBudget {
    /// Bytes of the process's budget unless [`Self::set_process`] says otherwise: 256 MiB.
    pub const DEFAULT_BYTES: usize = 256 * UNIT;

    /// A budget of its own: whole mebibytes, at least 16.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(LEAST);
        Self::of_units(units)
    }

    fn of_units(units: u32) -> Self {
        let permits = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units, free: Arc::new(Semaphore::new(permits)) }
    }

    /// The budget of this process, which every [`Runner`](super::Runner) without one of its own shares. A forked child
    /// has one of its own, of the same size.
    #[must_use]
    pub fn process() -> &'static Self {
        let here = std::process::id();
        let (process, budget) = PROCESS.get_or_init(|| (here, Self::new(Self::DEFAULT_BYTES)));
        if *process == here {
            return budget;
        }
        let mut forked = FORKED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, budget)) = forked.filter(|(process, _)| *process == here) {
            return budget;
        }
        // Leaked: one for each forked process that runs something.
        let fresh: &'static Self = Box::leak(Box::new(Self::of_units(budget.units)));
        *forked = Some((here, fresh));
        fresh
    }

    /// Sets the bytes of [`Self::process`]. Once, and before the first run.
    ///
    /// # Errors
    /// `config` if the budget has been set or used already.
    pub fn set_process(bytes: usize) -> Result<()> {
        PROCESS.set((std::process::id(), Self::new(bytes))).map_err(|_| {
            Error::config("the memory budget of this process is set or in use already")
                .hint("set it once, before the first run; or give a Runner a budget of its own")
        })
    }

    /// All of its bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        bytes(self.units)
    }

    /// Bytes that no run has now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits().saturating_mul(UNIT)
    }

    /// The part of one run, if it need not wait for it.
    pub(super) fn try_take(&self, wish: usize) -> Option<MemoryPart> {
        let least = Arc::clone(&self.free).try_acquire_many_owned(LEAST).ok()?;
        Some(self.extend(least, wish))
    }

    /// The part of one run. Those who wait are served in the order in which they came; dropping the future
    /// leaves the line.
    pub(super) async fn take(&self, wish: usize) -> Result<MemoryPart> {
        let least = Arc::clone(&self.free).acquire_many_owned(LEAST).await;
        let least =
            least.map_err(|error| Error::internal("the memory budget is closed").source_error(error))?;
        Ok(self.extend(least, wish))
    }

    /// More than the least, as long as nobody waits: half of what is free stays for those to come.
    fn extend(&self, mut permit: OwnedSemaphorePermit, wish: usize) -> MemoryPart {
        let mut units = LEAST;
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX).saturating_add(LEAST);
        let wish = u32::try_from(wish / UNIT).unwrap_or(u32::MAX).min(free / 2);
        let more = wish.saturating_sub(LEAST);
        if more > 0
            && let Ok(extra) = Arc::clone(&self.free).try_acquire_many_owned(more)
        {
            permit.merge(extra);
            units += more;
        }
        let bytes = bytes(units);
        MemoryPart { bytes, _permit: permit, _present: Present::memory(bytes) }
    }
}

fn bytes(units: u32) -> usize {
    usize::try_from(units).unwrap_or(usize::MAX).saturating_mul(UNIT)
}

/// What one run has of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct MemoryPart {
    pub(super) bytes: usize,
    _permit: OwnedSemaphorePermit,
    _present: Present,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MIB: usize = UNIT;

    fn sizes(parts: &[MemoryPart]) -> Vec<usize> {
        parts.iter().map(|part| part.bytes / MIB).collect()
    }

    #[test]
    fn a_run_takes_half_of_what_is_free_and_leaves_room() {
        let budget = MemoryBudget::new(256 * MIB);
        let parts: Vec<_> = std::iter::from_fn(|| budget.try_take(256 * MIB)).collect();
        assert_eq!(sizes(&parts), [128, 64, 32, 16, 16]);
        assert_eq!(budget.free(), 0);
        drop(parts);
        assert_eq!(budget.free(), 256 * MIB);
        let modest: Vec<_> = std::iter::from_fn(|| budget.try_take(20 * MIB)).collect();
        assert_eq!(sizes(&modest), [[20; 11].as_slice(), &[18, 16]].concat());
    }

    #[test]
    fn a_budget_is_at_least_what_one_run_needs() {
        let budget = MemoryBudget::new(1);
        let part = budget.try_take(usize::MAX).unwrap();
        assert_eq!((part.bytes, budget.total(), budget.free()), (16 * MIB, 16 * MIB, 0));
        assert!(MemoryBudget::new(usize::MAX).try_take(usize::MAX).is_some());
    }

    #[tokio::test]
    async fn those_who_wait_are_served_in_order_and_may_leave() {
        let budget = MemoryBudget::new(32 * MIB);
        let held = [budget.try_take(0).unwrap(), budget.try_take(0).unwrap()];
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = Vec::new();
        for number in 0..4 {
            let (budget, sender) = (budget.clone(), sender.clone());
            waiting.push(tokio::spawn(async move {
                let part = budget.take(256 * MIB).await.unwrap();
                sender.send((number, part.bytes / MIB)).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }));
            // Each is in line before the next comes.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        waiting[1].abort();
        assert!(served.try_recv().is_err());
        drop(held);
        drop(sender);
        let mut order = Vec::new();
        while let Some(one) = served.recv().await {
            order.push(one);
        }
        assert_eq!(order, [(0, 16), (2, 16), (3, 16)]);
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(budget.free(), 32 * MIB);
    }
}
