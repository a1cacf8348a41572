//! Options of a runner.

use std::time::Duration;

/// Limits and parallelism of a [`Runner`](super::Runner).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerOptions {
    /// Bytes that rows in flight of one run should have. Default: 256 MiB, at least 16 MiB. It is a wish: a run
    /// gets at most half of what is free of the [`MemoryBudget`](super::MemoryBudget), which all runs share.
    pub memory_bytes: usize,
    /// Splits read at once. Default: the number of cores, at most 4.
    pub parallelism: usize,
    /// Rows that are sampled for type detection. Default: 10,000.
    pub sample_rows: usize,
    /// How often a run begins again after an error that may pass by itself (a lost connection, a restart, a
    /// lock). Default: 0. Nothing is doubled: what a broken attempt staged is thrown away, and one whose commit
    /// arrived is continued. The pause before a retry is random, up to 1 s, 2 s, 4 s and so on, at most 60 s.
    pub retries: u32,
    /// How long one job may take in all, its retries and waiting included. Default: `None`, no limit. A run that is
    /// not over by then ends as a cancelled one does, with a `timeout` error; a commit that has begun is finished.
    pub deadline: Option<Duration>,
}

/// What one split needs for itself.
const SPLIT_BYTES: usize = 4 * 1024 * 1024;

/// What one run needs to begin.
const LEAST_BYTES: usize = 16 * 1024 * 1024;

impl Default for RunnerOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory_bytes: super::MemoryBudget::DEFAULT_BYTES,
            parallelism: cores.min(4),
            sample_rows: 10_000,
            retries: 0,
            deadline: None,
        }
    }
}

impl RunnerOptions {
    /// Sets the wished memory of one run in bytes.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes.max(LEAST_BYTES);
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

    /// Sets how long one job may take in all.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Splits read at once with so much memory: at most one for each 4 MiB, so that each has room for batches of
    /// 256 KiB.
    pub(super) fn splits(&self, memory: usize) -> usize {
        self.parallelism.clamp(1, (memory / SPLIT_BYTES).max(1))
    }

    /// Half of the memory is the writer's. Of the rest every split may hold a batch that is being read, one
    /// that is being cast, its cast copy, and as much again for what allocators keep of freed ones.
    pub(super) fn batch_bytes(&self, memory: usize) -> usize {
        let batches = self.splits(memory) * 8;
        (memory / 2 / batches).clamp(256 * 1024, crate::batch::BATCH_BYTES)
    }

    pub(super) fn writer_bytes(memory: usize) -> usize {
        memory / 2
    }
}
