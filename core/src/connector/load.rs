//! Loading: requests, records and writers.

use std::collections::BTreeMap;
use std::fmt;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CursorInterval, Deletes, KeyComparison};
use crate::error::{Error, Result};
use crate::schema::{CursorValue, Overrides, TargetTable};

/// What may happen when the existing target table differs from what the job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnSchemaChange {
    /// Columns may be added, REQUIRED relaxed and types widened, and clustering, labels and missing descriptions
    /// follow the job; nothing is dropped or narrowed.
    #[default]
    Evolve,
    /// The same for columns only: the rest of the table stays as it is, whatever the job says.
    EvolveColumnsOnly,
    /// Any difference is an error.
    Freeze,
}

/// What `prepare` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrepareOutcome {
    /// The table was created.
    pub created: bool,
    /// Columns that were added.
    pub added: Vec<String>,
    /// Columns whose REQUIRED mode was relaxed.
    pub relaxed: Vec<String>,
    /// Columns that got a wider type.
    pub widened: Vec<String>,
    /// What else was changed: one sentence each, as [`LayoutChange::text`](crate::schema::LayoutChange::text).
    pub options: Vec<String>,
}

/// How the rows of a load meet those that are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteMode {
    /// The table holds exactly the rows of this load afterwards.
    Replace,
    /// The rows are added.
    Append,
    /// Rows with the same key are replaced, others added. Names are those of the target's columns.
    Merge {
        /// Key columns.
        key: Vec<String>,
        /// Within the load the row with the highest value of this column wins (ties: the later written
        /// one); without it the later written one wins.
        order_by: Option<String>,
    },
}

/// Rows that were loaded already at the value of the watermark, as a multiset of hashes.
///
/// The next window reads rows equal to the watermark again, since more of them may have arrived, and drops exactly
/// these: of `append` the rows that were loaded, of `merge` those that are loaded with this very content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BoundaryRows {
    /// Source columns that the hashes cover: all of them for `merge`; for `append` the primary key, or all columns
    /// where there is none.
    pub columns: Vec<String>,
    /// Hash (32 hexadecimal digits) to number of rows.
    pub hashes: BTreeMap<String, u64>,
    /// The same of rows without a cursor value, where the job loads such.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulls: BTreeMap<String, u64>,
}

/// What a destination keeps of a committed load, visible together with its rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Deterministic name of the load: letters, digits and `-` only.
    pub load_id: String,
    /// Identity of the job.
    pub job: String,
    /// Name of the job, for people.
    pub job_name: String,
    /// 1 for the first load of a job into a table, then counting up, also past a change of the job.
    pub sequence: u64,
    /// `replace`, `append` or `merge`.
    pub strategy: String,
    /// Cursor column, if the job has one.
    pub cursor: Option<String>,
    /// Key columns of a `merge`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Where the job is cut into shards, of which this is one's record; empty if it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shard_at: Vec<String>,
    /// `connection: table` of the source. Empty in records of before it was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What tells the source table from others of the same name ([`ReadSession::object`](super::ReadSession::object)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_object: Option<String>,
    /// Where the window began (exclusive of rows already loaded there).
    pub window_lo: Option<CursorValue>,
    /// Where the window ended, inclusive: the watermark of the next run.
    pub watermark: Option<CursorValue>,
    /// What the job has loaded, sorted and without overlap; the last interval ends at the watermark. Empty in
    /// records of before it was kept: [`Self::covered_intervals`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<CursorInterval>,
    /// Rows already loaded at the watermark.
    #[serde(default)]
    pub boundary: BoundaryRows,
    /// Rows written by this load.
    pub rows: u64,
    /// Rows that it removed, because the source deleted them. The destination counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// Rows that it marked as deleted. The destination counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub marked: u64,
    /// Hash of the mapping that the rows were cast with.
    pub mapping_hash: String,
    /// Types that detection chose for text columns: later loads keep them, whatever their sample says.
    #[serde(default)]
    pub pinned: Overrides,
    /// When it was committed, RFC 3339 in UTC.
    pub committed_at: String,
    /// Version of transload that wrote it.
    pub engine: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Of several load records the one with the highest sequence of every job; for destinations that keep them as a
/// list.
#[must_use]
pub fn newest_by_job(records: impl IntoIterator<Item = LoadRecord>) -> Vec<LoadRecord> {
    let mut newest: BTreeMap<String, LoadRecord> = BTreeMap::new();
    for record in records {
        if newest.get(&record.job).is_none_or(|known| record.sequence > known.sequence) {
            newest.insert(record.job.clone(), record);
        }
    }
    newest.into_values().collect()
}

/// Everything a destination needs to begin a load.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadRequest {
    /// The table, as prepared.
    pub target: TargetTable,
    /// How rows meet those that are there.
    pub mode: WriteMode,
    /// What becomes of rows that the source deleted; of a merge only.
    pub deletes: Deletes,
    /// The deterministic load id.
    pub load_id: String,
    /// Identity of the job, as in its [`LoadRecord`]. Nobody else runs this job meanwhile, so that what an earlier load of
    /// it left staged may go; other jobs may load into the table at the same time.
    pub job: String,
    /// Memory that the writer may use for buffering, in bytes.
    pub memory_budget: usize,
    /// What the job says to this destination in its own words, as [`Destination::check_options`] accepted it.
    ///
    /// [`Destination::check_options`]: super::Destination::check_options
    pub options: Map<String, Value>,
}

/// What a load is about to bring, as far as it is known before any row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadPlan<'a> {
    /// The table, as prepared.
    pub target: &'a TargetTable,
    /// Partitions of the target that the rows lie in, at most.
    pub partitions: Option<u64>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadOutcome {
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Rows that took the place of others (merge only).
    pub updated: u64,
    /// Rows of the load that another row of the same load with the same key replaced (merge only).
    pub superseded: u64,
    /// Rows that had to be written again although they did not change (merge only).
    pub rewritten: u64,
    /// Rows of the target that were removed because the source deleted them (merge only).
    pub deleted: u64,
    /// Rows of the target that were marked because the source has them no longer (merge only).
    pub marked: u64,
    /// Rows of the target whose mark was taken away, without those that rows of the load replaced (merge only).
    pub unmarked: u64,
    /// Bytes that were written or sent, encoded.
    pub bytes: u64,
    /// Bytes that the destination bills for putting the rows in place, where it bills by bytes.
    pub bytes_billed: Option<u64>,
    /// The load had been committed before, by somebody else; nothing was done.
    pub already_committed: bool,
}

fn cannot_delete() -> Error {
    Error::unsupported("this destination cannot find rows that the source deleted")
        .hint("leave `load.detect_deletes` out")
}

/// One load in progress. Dropping it without commit aborts it as far as that is possible without
/// waiting; what remains is cleaned by the next load.
#[async_trait]
pub trait LoadWriter: Send + Sync + fmt::Debug {
    /// Adds rows; may be called from several tasks. Batches have the schema
    /// [`TargetTable::arrow_schema`]. Returns when the batch is taken, not when it is durable: this is
    /// where back-pressure comes from.
    ///
    /// # Errors
    /// Those of the destination. After an error the load can only be aborted.
    async fn write(&self, batch: RecordBatch) -> Result<()>;

    /// Says which keys the source has, for a load with [`Deletes::missing`]; may be called from several tasks, and
    /// while rows are written. Batches have the key columns of the target in the order of the mode's key; no value is
    /// NULL, and keys may come more than once. Back-pressure as of [`Self::write`].
    ///
    /// # Errors
    /// Those of the destination; `unsupported` where [`Capability::deletes`](super::Capability::deletes) is false.
    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        let _ = keys;
        Err(cannot_delete())
    }

    /// Compares the keys that [`Self::keep`] was told with the target, and changes nothing: what it says is what
    /// [`Self::commit`] will do. Called once, after the last key, of loads with [`Deletes::missing`]. Not calling it
    /// before the commit is an error of that.
    ///
    /// # Errors
    /// As [`Self::keep`].
    async fn compare_keys(&self) -> Result<KeyComparison> {
        Err(cannot_delete())
    }

    /// Finishes what [`Self::write`] has taken, as far as that is possible without anybody seeing it: what remains
    /// for [`Self::commit`] should be short, since a commit that has begun can no longer be cancelled. Called once,
    /// after the last write; not calling it, or dropping its future and aborting, must be harmless.
    ///
    /// # Errors
    /// As [`Self::write`].
    async fn seal(&self) -> Result<()> {
        Ok(())
    }

    /// Makes rows and record visible in one step, and answers when that is durable. Idempotent by load
    /// id: a load that was committed before is not committed again.
    ///
    /// # Errors
    /// Those of the destination. A retryable error may be answered with the same load once more.
    async fn commit(self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome>;

    /// Drops the load and all it staged.
    ///
    /// # Errors
    /// Those of the destination; the staged rows are then cleaned by the next load.
    async fn abort(self: Box<Self>) -> Result<()>;
}
