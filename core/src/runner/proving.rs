//! The proof of a run: what it read against the source, what it wrote against the destination.

use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;

use super::report::RunReport;
use super::window::Range;
use crate::connector::{CursorFilter, Deletes, Destination, Extent, ReadPlan, ReadSession};
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
    /// Rows at the window's upper end are another load's.
    hi_open: bool,
    merge: bool,
    /// Rows that the source deleted go with this load: the target has no others in the window.
    complete: bool,
    /// The column that marks rows which the source deleted.
    mark: Option<String>,
    /// Why nothing can be compared.
    refused: Option<&'static str>,
    /// Why the destination may hold other rows in the window.
    mixed: Option<&'static str>,
}

fn mixed(job: &EtlJob, range: Option<&Range>) -> Option<&'static str> {
    if job.restarts() {
        return Some("rows that were loaded before `load.restart` may lie in the window");
    }
    // Rows there may have come late, and are then loaded by the range that begins there.
    range.filter(|range| range.hi_loaded).map(|_| "rows at the end of the range belong to another one")
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
        deletes: &Deletes,
    ) -> Option<Self> {
        let level = job.proof();
        // A load that only compares keys has no rows to prove.
        if level == ProofLevel::Off || (range.is_none() && job.strategy().cursor().is_some()) {
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
            hi_open: range.is_some_and(|range| !range.hi_inclusive),
            merge: matches!(job.strategy(), LoadStrategy::Merge { .. }),
            complete: deletes.missing.is_some(),
            mark: deletes.mark().map(|(column, _)| column.to_owned()),
            refused: job.row_limit().map(|_| "a run with a row limit reads any rows"),
            mixed: mixed(job, range),
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
        if let Some(reason) = self.refused.or(self.mixed) {
            return SideProof::not_compared(written, &names, reason);
        }
        if report.rows.superseded > 0 {
            let reason = format!("{} rows gave way to others with the same key", report.rows.superseded);
            return SideProof::not_compared(written, &names, reason);
        }
        let began = Instant::now();
        let (window, unmarked_in) = (self.window.as_ref(), self.mark.as_deref());
        let extent = Extent { window, hi_open: self.hi_open, unmarked_in };
        let asked = self.destination.figures(&self.target, extent, self.level).await;
        let there = match asked.operation("prove what was written") {
            Ok(there) => there,
            Err(error) => return SideProof::not_compared(written, &names, error.to_string()),
        };
        if self.merge && !self.complete && there.rows > written.rows {
            let more = there.rows - written.rows;
            let reason = format!(
                "the destination has {more} more rows in the window: what was deleted at the source stays under `merge` without `detect_deletes`"
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
