//! Names and records of loads.

use jiff::Timestamp;

use super::history;
use super::window::{Place, Range};
use crate::connector::{BoundaryRows, KeyComparison, LoadRecord, cover};
use crate::error::Result;
use crate::job::{EtlJob, LoadStrategy};
use crate::schema::{TableMapping, pins};

/// The same for every attempt of the same range after the same load: a retry is the same load.
pub(super) fn load_id(
    job: &EtlJob,
    range: Option<&Range>,
    last: Option<&LoadRecord>,
    mapping: &TableMapping,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let (lo, hi) = range.map_or((None, None), |range| (range.lo.as_ref(), range.hi.as_ref()));
    for part in [
        job.identity(),
        last.map(|last| last.load_id.clone()).unwrap_or_default(),
        lo.map(ToString::to_string).unwrap_or_default(),
        hi.map(ToString::to_string).unwrap_or_default(),
        job.row_limit().map(|limit| limit.to_string()).unwrap_or_default(),
        mapping.hash(),
    ] {
        hasher.update(part.as_bytes());
        hasher.update(b"\0");
    }
    let sequence = last.map_or(1, |last| last.sequence + 1);
    format!("{sequence:06}-{}", &hasher.finalize().to_hex()[..16])
}

/// What a finished range adds to what is known of the job.
pub(super) struct Finished<'a> {
    pub(super) load_id: String,
    pub(super) rows: u64,
    /// `None` for jobs without a cursor.
    pub(super) range: Option<&'a Range>,
    pub(super) boundary: BoundaryRows,
    pub(super) mapping: &'a TableMapping,
    /// What tells the source table from others of the same name.
    pub(super) source_object: Option<String>,
}

/// The record of a load after `last`.
pub(super) fn record(job: &EtlJob, finished: Finished<'_>, last: Option<&LoadRecord>) -> Result<LoadRecord> {
    let Finished { load_id, rows, range, mut boundary, mapping, source_object } = finished;
    let mut watermark = last.and_then(|last| last.watermark.clone());
    let mut covered = last.map(LoadRecord::covered_intervals).unwrap_or_default();
    if job.row_limit().is_some() {
        // A trial reads any rows of its window, so it must not claim the window. What `merge` has written by it may
        // have any content.
        let keep = matches!(job.strategy(), LoadStrategy::Append { .. });
        boundary = last.filter(|_| keep).map(|last| last.boundary.clone()).unwrap_or_default();
    } else if range.is_none() {
        // Only keys were compared.
        boundary = last.map(|last| last.boundary.clone()).unwrap_or_default();
    } else if let Some(range) = range
        && let Some(interval) = range.interval()
    {
        covered = cover(&covered, interval)?;
        if range.place == Place::Top {
            watermark = covered.last().map(|top| top.hi.clone());
        }
    }
    let mut pinned = last.map(|last| last.pinned.clone()).unwrap_or_default();
    pinned.extend(pins(mapping));
    Ok(LoadRecord {
        load_id,
        job: job.identity(),
        job_name: job.name().to_owned(),
        sequence: last.map_or(1, |last| last.sequence + 1),
        strategy: job.strategy().as_str().to_owned(),
        cursor: job.strategy().cursor().map(str::to_owned),
        key: job.strategy().key().to_vec(),
        shard_at: job.shard_at().to_vec(),
        source: history::source_of(job),
        source_object,
        window_lo: range.and_then(|range| range.lo.clone()),
        watermark,
        covered,
        boundary,
        rows,
        deleted: 0,
        marked: 0,
        mapping_hash: mapping.hash(),
        pinned,
        committed_at: Timestamp::now().to_string(),
        engine: crate::VERSION.to_owned(),
    })
}

/// Whether a load would leave the target and what is known of the job as they are.
pub(super) fn nothing_new(
    job: &EtlJob,
    record: &LoadRecord,
    last: Option<&LoadRecord>,
    compared: Option<KeyComparison>,
) -> bool {
    if compared.is_some_and(|compared| !compared.changes_nothing()) {
        return false;
    }
    let covered = last.map(LoadRecord::covered_intervals).unwrap_or_default();
    match job.strategy() {
        LoadStrategy::Replace { .. } => false,
        _ => record.rows == 0 && record.covered == covered,
    }
}
