//! A profile that several tasks make together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_schema::SchemaRef;

use super::{ProfileLevel, Profiler, TableProfile};
use crate::error::Result;

/// Hands a profiler to every task and joins what they give back: tasks wait for one another only at their ends.
#[derive(Debug)]
pub(crate) struct SharedProfile {
    schema: SchemaRef,
    level: ProfileLevel,
    begun: AtomicU64,
    joined: Mutex<Option<Profiler>>,
}

impl SharedProfile {
    pub(crate) fn new(schema: SchemaRef, level: ProfileLevel) -> Self {
        Self { schema, level, begun: AtomicU64::new(0), joined: Mutex::new(None) }
    }

    /// Whether rows of this schema can be added.
    pub(crate) fn fits(&self, schema: &SchemaRef) -> bool {
        self.schema == *schema
    }

    /// A profiler for one task; `None` if no profile is wanted.
    pub(crate) fn begin(&self) -> Result<Option<Profiler>> {
        if self.level == ProfileLevel::Off {
            return Ok(None);
        }
        let seed = self.begun.fetch_add(1, Ordering::Relaxed);
        Profiler::new(&self.schema, self.level, seed).map(Some)
    }

    /// Takes what a task has seen.
    pub(crate) fn join(&self, part: Option<Profiler>) -> Result<()> {
        let Some(part) = part else { return Ok(()) };
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        match joined.as_mut() {
            Some(joined) => joined.merge(part),
            None => {
                *joined = Some(part);
                Ok(())
            }
        }
    }

    /// The profile of all; `None` if none was wanted or nothing was read.
    pub(crate) fn finish(self) -> Result<Option<TableProfile>> {
        let joined = self.joined.into_inner().unwrap_or_else(PoisonError::into_inner);
        joined.map(Profiler::finish).transpose()
    }
}
