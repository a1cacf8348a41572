//! Options of a runner.

/// Limits and parallelism of a [`Runner`](super::Runner).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerOptions {
    /// Bytes that rows in flight may occupy, per run. Default: 256 MiB, at least 16 MiB.
    pub memory_bytes: usize,
    /// Splits read at once. Default: the number of cores, at most 4.
    pub parallelism: usize,
    /// Rows that are sampled for type detection. Default: 10,000.
    pub sample_rows: usize,
    /// How often a run begins again after an error that may pass by itself (a lost connection, a restart, a
    /// lock). Default: 0. Nothing is doubled: what a broken attempt staged is thrown away, and one whose commit
    /// arrived is continued. The pause before a retry is random, up to 1 s, 2 s, 4 s and so on, at most 60 s.
    pub retries: u32,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { memory_bytes: 256 * 1024 * 1024, parallelism: cores.min(4), sample_rows: 10_000, retries: 0 }
    }
}

impl RunnerOptions {
    /// Sets the memory budget in bytes.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes.max(16 * 1024 * 1024);
        self
    }

    /// Sets how many splits are read at once.
    #[must_use]
    pub fn parallelism(mut self, splits: usize) -> Self {
        self.parallelism = splits.max(1);
        self
    }

    /// Sets how many rows are sampled for type detection.
    #[must_use]
    pub fn sample_rows(mut self, rows: usize) -> Self {
        self.sample_rows = rows;
        self
    }

    /// Sets how often a run begins again after an error that may pass by itself.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Half of the budget is the writer's. Of the rest every split may hold a batch that is being read, one
    /// that is being cast, its cast copy, and as much again for what allocators keep of freed ones.
    pub(super) fn batch_bytes(&self) -> usize {
        let batches = self.parallelism.max(1) * 8;
        (self.memory_bytes / 2 / batches).clamp(256 * 1024, crate::batch::BATCH_BYTES)
    }

    pub(super) fn writer_bytes(&self) -> usize {
        self.memory_bytes / 2
    }
}
