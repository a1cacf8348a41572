//! A type that the sample suggested and that a value refutes: the first load begins again with text.
//!
//! Only where nobody has seen the type yet: the mapping was not approved, no load of the job was committed, and
//! this very run has created the target, which is still empty and is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::connector::{Destination, PrepareOutcome};
use crate::error::{Error, ErrorKind};
use crate::job::EtlJob;
use crate::schema::{ColumnOverride, Overrides, TableMapping, TargetRef, Warning};

/// After so many columns, one by one, all types that the sample suggested are given up.
const PATIENCE: usize = 2;

/// What one run knows about types that came from its sample.
#[derive(Debug, Default)]
pub(super) struct Demotions {
    /// Columns that are loaded as STRING, with the reason.
    columns: BTreeMap<String, String>,
    /// Columns whose type the sample suggested.
    inferred: BTreeSet<String>,
    /// The target that this run created.
    created: Option<(Arc<dyn Destination>, TargetRef)>,
}

impl Demotions {
    /// The overrides that keep demoted columns text.
    pub(super) fn overrides(&self) -> Overrides {
        let text = || ColumnOverride { data_type: Some("STRING".to_owned()), ..ColumnOverride::default() };
        self.columns.keys().map(|name| (name.clone(), text())).collect()
    }

    /// Marks demoted columns in the mapping, and remembers which types came from the sample.
    pub(super) fn mark(&mut self, mapping: &mut TableMapping) {
        for column in &mut mapping.columns {
            if let Some(why) = self.columns.get(&column.source_name) {
                "text; the type that the sample suggested does not hold".clone_into(&mut column.reason);
                column.overridden = false;
                column.warnings.push(Warning::new("W_DEMOTED", format!("loaded as STRING: {why}")));
            }
        }
        let found = mapping.columns.iter().filter(|column| column.evidence.is_some() && !column.overridden);
        self.inferred = found.map(|column| column.source_name.clone()).collect();
    }

    /// Remembers that this run made the target.
    pub(super) fn prepared(
        &mut self,
        by: &Arc<dyn Destination>,
        target: &TargetRef,
        outcome: &PrepareOutcome,
    ) {
        if outcome.created {
            self.created = Some((Arc::clone(by), target.clone()));
        }
    }

    /// Gives up the type that the value behind `error` refutes. `true` if the run can begin again.
    pub(super) async fn demote(&mut self, job: &EtlJob, error: &Error) -> bool {
        let column = error.context_value("column").filter(|_| error.context_value("reason").is_some());
        let (ErrorKind::Data, Some(column), None) = (error.kind(), column, job.approved_hash()) else {
            return false;
        };
        if !self.inferred.contains(column) {
            return false;
        }
        let Some((destination, target)) = &self.created else { return false };
        match destination.withdraw(target).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(problem) => {
                tracing::warn!(job = job.name(), %problem, "the table that was created could not be taken back");
                return false;
            }
        }
        let why = error.message();
        if self.columns.len() >= PATIENCE {
            let others = self.inferred.iter().map(|name| (name.clone(), format!("as another column: {why}")));
            self.columns.extend(others);
        }
        self.columns.insert(column.to_owned(), why.to_owned());
        self.created = None;
        tracing::warn!(job = job.name(), column, %error, "the run begins again with the column as STRING");
        true
    }
}
