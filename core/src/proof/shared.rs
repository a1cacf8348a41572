//! Figures that several tasks make together.

use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{Fold, ProofLevel, TableFigures};
use crate::error::Result;

/// What was read and what was written, on their way.
#[derive(Debug)]
pub(crate) struct SharedProof {
    level: ProofLevel,
    source: SchemaRef,
    target: SchemaRef,
    joined: Mutex<Option<Folds>>,
}

/// One task's part.
#[derive(Debug)]
pub(crate) struct Folds {
    read: Fold,
    written: Fold,
}

impl Folds {
    /// Adds rows as they were read.
    pub(crate) fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        self.read.add(batch)
    }

    /// Adds rows as they are written, or were by an earlier load.
    pub(crate) fn written(&mut self, batch: &RecordBatch) -> Result<()> {
        self.written.add(batch)
    }
}

impl SharedProof {
    /// `target` are the columns that the source has too; those that a mapping adds stand behind them.
    pub(crate) fn new(level: ProofLevel, source: SchemaRef, target: SchemaRef) -> Self {
        Self { level, source, target, joined: Mutex::new(None) }
    }

    /// Figures of one task; `None` if none are wanted.
    pub(crate) fn begin(&self) -> Option<Folds> {
        (self.level != ProofLevel::Off).then(|| self.fresh())
    }

    fn fresh(&self) -> Folds {
        Folds { read: Fold::new(&self.source, self.level), written: Fold::new(&self.target, self.level) }
    }

    /// Takes what a task has seen.
    pub(crate) fn join(&self, part: Option<Folds>) {
        let Some(part) = part else { return };
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        match joined.as_mut() {
            Some(joined) => {
                joined.read.merge(part.read);
                joined.written.merge(part.written);
            }
            None => *joined = Some(part),
        }
    }

    /// What was read and what was written; `None` if nothing is to be proven.
    pub(crate) fn finish(self) -> Option<(TableFigures, TableFigures)> {
        if self.level == ProofLevel::Off {
            return None;
        }
        let fresh = self.fresh();
        let joined = self.joined.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Folds { read, written } = joined.unwrap_or(fresh);
        Some((read.finish(), written.finish()))
    }
}
