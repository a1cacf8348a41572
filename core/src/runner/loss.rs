//! A source that is empty, or has lost much, must not silently take the target with it.

use crate::error::{Error, Result};
use crate::job::EtlJob;

/// Rows of before below which no default ratio is asked for: small tables may well halve.
const JUDGED_ROWS: u64 = 1_000;
/// Share of the rows of before that may go, or must stay, unless the job says otherwise.
const HALF: f64 = 0.5;

/// What the rows of the source are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    /// The rows that the last load brought, and which share of them there must be again.
    LastLoad { rows: u64, min_ratio: Option<f64> },
    /// The rows of the target, those whose key the source has no longer, and which share these may be.
    Target { rows: u64, gone: u64, max_ratio: Option<f64> },
}

/// Refuses a source of `now` rows if that is too few.
pub(super) fn check_loss(job: &EtlJob, now: u64, before: Before) -> Result<()> {
    let table = job.source_table();
    let (rows, had) = match before {
        Before::LastLoad { rows, .. } => {
            (rows, format!("the last load brought {rows} rows: nothing was replaced"))
        }
        Before::Target { rows, .. } => {
            (rows, format!("the target has {rows} rows: nothing was loaded or deleted"))
        }
    };
    if now == 0 && rows > 0 {
        return if job.allows_empty() {
            Ok(())
        } else {
            Err(Error::data(format!("source table {table} is empty, and {had}"))
                .hint("set `load.allow_empty` if the target is to become empty"))
        };
    }
    let half = (rows >= JUDGED_ROWS).then_some(HALF);
    match before {
        Before::LastLoad { min_ratio, .. } => {
            let ratio = min_ratio.or(half).unwrap_or(0.0);
            if now as f64 >= rows as f64 * ratio {
                return Ok(());
            }
            let error = Error::data(format!("source table {table} has shrunk to {now} rows, and {had}"));
            Err(error.with("min_ratio", ratio).hint(
                "if that is right, set `load.min_ratio` lower (0 switches the check off) and run again",
            ))
        }
        Before::Target { gone, max_ratio, .. } => {
            let ratio = max_ratio.or(half).unwrap_or(1.0);
            if gone as f64 <= rows as f64 * ratio {
                return Ok(());
            }
            let error = Error::data(format!(
                "source table {table} has {gone} of the target's {rows} rows no longer: nothing was loaded or deleted"
            ));
            Err(error.with("max_ratio", ratio).hint(
                "if that is right, set `load.detect_deletes.max_ratio` higher (1 switches the check off) and run again",
            ))
        }
    }
}
