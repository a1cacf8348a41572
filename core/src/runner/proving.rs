//! The proof of a run: what it read against the source, what it wrote against the destination.

use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;

use super::report::RunReport;
use super::window::Range;
use crate::connector::{CursorFilter, Destination, ReadPlan, ReadSession};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::{EtlJob, LoadStrategy};
use crate::proof::{Proof, ProofLevel, SideProof, TableFigures, Verdict};
use crate::schema::{TableMapping, TargetTable};

/// What the proof of a run needs to know.
#[derive(Debug)]
pub(super) struct Proving {
    level: ProofLevel,
    plan: ReadPlan,
    destination: Arc<dyn Destination>,
    /// The columns that the source has too.
    target: TargetTable,
    /// The window over the target's columns; `None` for all rows.
    window: Option<CursorFilter>,
    merge: bool,
    /// Why nothing can be compared.
    refused: Option<&'static str>,
    /// Rows at the end of the range are read, but belong to another one.
    open_end: bool,
}

impl Proving {
    /// `None` if the job wants no proof.
    pub(super) fn plan(
        job: &EtlJob,
        plan: &ReadPlan,
        mapping: &TableMapping,
        target: &TargetTable,
        destination: &Arc<dyn Destination>,
        range: Option<&Range>,
    ) -> Option<Self> {
        let level = job.proof();
        if level == ProofLevel::Off {
            return None;
        }
        let mut target = target.clone();
        // What the mapping adds stands behind, and no source has it.
        target.columns.truncate(mapping.columns.len());
        let window = plan.filter.as_ref().and_then(|filter| {
            let column = mapping.column(&filter.column)?.target_name.clone();
            Some(CursorFilter { column, ..filter.clone() })
        });
        Some(Self {
            level,
            plan: plan.clone(),
            destination: Arc::clone(destination),
            target,
            window,
            merge: matches!(job.strategy(), LoadStrategy::Merge { .. }),
            refused: job.row_limit().map(|_| "a run with a row limit reads any rows"),
            open_end: range.is_some_and(|range| !range.hi_inclusive),
        })
    }

    /// The schema of the batches that are written, without what the mapping adds.
    pub(super) fn target_schema(&self) -> SchemaRef {
        self.target.arrow_schema()
    }

    /// Compares what was read with what the source has in the session's snapshot.
    ///
    /// # Errors
    /// `data` if they differ: nothing of it may be committed. Those of the source.
    pub(super) async fn source(&self, session: &dyn ReadSession, read: TableFigures) -> Result<SideProof> {
        let names = &self.plan.columns;
        if let Some(reason) = self.refused {
            return Ok(SideProof::not_compared(read, names, reason));
        }
        let began = Instant::now();
        let side = match session.figures(&self.plan, self.level).await {
            Ok(there) => SideProof::compare(read, &there, names, began.elapsed().as_secs_f64()),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                SideProof::not_compared(read, names, error.message())
            }
            Err(error) => return Err(error.operation("prove what was read")),
        };
        if side.verdict == Verdict::Different {
            return Err(Error::data(format!(
                "the rows that were read are not those of the source: {}; nothing was loaded",
                side.reason.as_deref().unwrap_or_default()
            ))
            .hint(
                "run the job again; if it comes back, report it with the job document, for it is a defect",
            ));
        }
        Ok(side)
    }

    /// Compares what was written with what the destination holds in the window, after the commit. What cannot
    /// be asked is no failure of the run: its rows are committed.
    pub(super) async fn destination(&self, written: TableFigures, report: &RunReport) -> SideProof {
        let names: Vec<String> = self.target.columns.iter().map(|column| column.name.clone()).collect();
        if let Some(reason) = self.refused {
            return SideProof::not_compared(written, &names, reason);
        }
        if self.open_end {
            let reason = "rows at the end of the range belong to another one, and may be there or not";
            return SideProof::not_compared(written, &names, reason);
        }
        if report.rows.superseded > 0 {
            let reason = format!("{} rows gave way to others with the same key", report.rows.superseded);
            return SideProof::not_compared(written, &names, reason);
        }
        let began = Instant::now();
        let asked = self.destination.figures(&self.target, self.window.as_ref(), self.level).await;
        let there = match asked.operation("prove what was written") {
            Ok(there) => there,
            Err(error) => return SideProof::not_compared(written, &names, error.to_string()),
        };
        if self.merge && there.rows > written.rows {
            let more = there.rows - written.rows;
            let reason = format!(
                "the destination has {more} more rows in the window: what was deleted at the source stays under `merge`"
            );
            return SideProof {
                rows_there: Some(there.rows),
                ..SideProof::not_compared(written, &names, reason)
            };
        }
        SideProof::compare(written, &there, &names, began.elapsed().as_secs_f64())
    }
}

impl RunReport {
    /// Adds the proof of a range, and a warning if it failed. The report keeps the last one
    /// whose verdict is the worst.
    pub(super) fn proven(&mut self, proof: Proof) {
        if self.proof.as_ref().is_some_and(|known| known.verdict > proof.verdict) {
            return;
        }
        if proof.verdict == Verdict::Different {
            let reason = proof.destination.reason.as_deref().unwrap_or_default();
            self.warn(
                "W_PROOF_DIFFERENT",
                format!("the destination does not hold what was written: {reason}"),
            );
        }
        self.proof = Some(proof);
    }
}
