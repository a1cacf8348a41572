//! Rows that the source deleted: the keys of the whole source table, read in the snapshot of its rows, and what they
//! may take away. RFC 21 tells why keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use jiff::Timestamp;

use super::loss::{Before, check_loss};
use super::pipeline::{self, Part, Pipeline};
use super::report::RunReport;
use super::retry::Stop;
use crate::connector::{Capability, Deletes, KeyComparison, LoadWriter, Missing, ReadPlan, ReadSession};
use crate::error::{Error, Result, ResultExt as _};
use crate::job::{DeletePolicy, EtlJob, SoftDeletePolicy};
use crate::schema::{
    BigQueryType, Caster, ColumnMapping, DeletedWhen, Mode, RejectPolicy, TableMapping, TableSchema,
    Tombstone,
};

/// The keys of the source on their way to the writer.
#[derive(Debug)]
pub(super) struct KeyReading {
    plan: ReadPlan,
    caster: Caster,
    read: AtomicU64,
    nulls: AtomicU64,
}

/// Keys of one split.
#[derive(Debug, Default)]
pub(super) struct KeyCount {
    read: u64,
    nulls: u64,
}

/// Refuses what one end cannot do, before anything is read.
pub(super) fn check_ends(job: &EtlJob, source: Capability, destination: Capability) -> Result<()> {
    if job.detect_deletes().is_some() && !source.snapshot {
        return Err(Error::unsupported(
            "this source cannot read rows and keys of one moment, so deleted rows cannot be told from new ones",
        )
        .hint("leave `load.detect_deletes` out"));
    }
    let takes_away = job.soft_delete().is_some_and(|soft| soft.policy == SoftDeletePolicy::Remove);
    if (job.detect_deletes().is_some() || takes_away) && !destination.deletes {
        return Err(Error::unsupported(
            "this destination cannot remove or mark rows that the source deleted",
        )
        .hint("leave `load.detect_deletes` out, and set the policy of `load.soft_delete` to \"keep\""));
    }
    Ok(())
}

/// Warns where a session has no snapshot, and refuses what needs one.
pub(super) fn check_snapshot(job: &EtlJob, session: &dyn ReadSession, report: &mut RunReport) -> Result<()> {
    let Some(reason) = session.no_snapshot() else { return Ok(()) };
    report.warn("W_NO_SNAPSHOT", reason);
    if job.detect_deletes().is_none() {
        return Ok(());
    }
    Err(Error::unsupported(
        "rows and keys are not read of one moment, so deleted rows cannot be told from new ones",
    )
    .hint("let the source have a snapshot (see the warning), or leave `load.detect_deletes` out"))
}

/// The column by which rows say that they are deleted, by its name at the destination.
pub(super) fn tombstone(job: &EtlJob, mapping: &TableMapping) -> Result<Option<Tombstone>> {
    let Some(soft) = job.soft_delete() else { return Ok(None) };
    let column = mapping.column(&soft.column).ok_or_else(|| {
        Error::config(format!("`load.soft_delete.column` names `{}`, which is not loaded", soft.column))
            .with("column", &soft.column)
            .hint("name a column of the source, and do not drop it")
    })?;
    if column.mode == Mode::Repeated || matches!(column.bigquery_type, BigQueryType::Record(_)) {
        return Err(Error::config(format!(
            "column `{}` becomes a list or a record, which does not say whether its row is deleted",
            soft.column
        ))
        .with("column", &soft.column)
        .hint("name a column of single values in `load.soft_delete.column`"));
    }
    if soft.deleted_when == DeletedWhen::True && column.bigquery_type != BigQueryType::Bool {
        return Err(Error::config(format!(
            "column `{}` becomes {} and not BOOL, so no row of it is deleted by `true`",
            soft.column, column.bigquery_type
        ))
        .with("column", &soft.column)
        .hint("override its type with BOOL, or set `load.soft_delete.deleted_when` to \"not_null\""));
    }
    Ok(Some(Tombstone { column: column.target_name.clone(), when: soft.deleted_when }))
}

/// What a load does about deleted rows. `last` says that it is the last range of its run: keys are compared once.
pub(super) fn deletes(job: &EtlJob, tombstone: Option<Tombstone>, last: bool, at: Timestamp) -> Deletes {
    let missing = job.detect_deletes().filter(|_| last).map(|detect| match detect.policy {
        DeletePolicy::Remove => Missing::Remove,
        DeletePolicy::Mark => Missing::Mark { column: job.mark_column().unwrap_or_default().to_owned(), at },
    });
    let policy = job.soft_delete().map(|soft| soft.policy);
    Deletes {
        missing,
        tombstone: tombstone.filter(|_| policy.is_some_and(|policy| policy != SoftDeletePolicy::Keep)),
        remove_tombstones: policy == Some(SoftDeletePolicy::Remove),
    }
}

impl KeyReading {
    /// `rows` is the plan of the rows: keys are read as they are, but without their window.
    pub(super) fn plan(
        job: &EtlJob,
        deletes: &Deletes,
        table: &TableSchema,
        mapping: &TableMapping,
        rows: &ReadPlan,
    ) -> Result<Option<Self>> {
        if deletes.missing.is_none() {
            return Ok(None);
        }
        let key = job.strategy().key();
        let columns = key.iter().filter_map(|name| mapping.column(name).cloned()).collect::<Vec<_>>();
        if let Some(column) = columns.iter().find(|column| !is_comparable(column)) {
            return Err(Error::config(format!(
                "key column `{}` becomes {}, which cannot be compared reliably",
                column.source_name, column.bigquery_type
            ))
            .with("column", &column.source_name)
            .hint("choose a key of integers, decimals, texts, bytes, booleans, dates or times, or leave `load.detect_deletes` out"));
        }
        // A key that does not fit its type is in no target, as a key that is NULL.
        let may_miss =
            |column| ColumnMapping { mode: Mode::Nullable, on_reject: Some(RejectPolicy::Null), ..column };
        let columns = columns.into_iter().map(may_miss).collect();
        let keys = TableMapping { columns, added: Vec::new(), ..mapping.clone() };
        let caster = Caster::new(&keys, &table.arrow_schema_of(key)?, RejectPolicy::Null)?;
        let plan = ReadPlan { columns: key.to_vec(), filter: None, limit: None, ..rows.clone() };
        Ok(Some(Self { plan, caster, read: AtomicU64::new(0), nulls: AtomicU64::new(0) }))
    }

    /// Hands the keys of a batch on, and counts them. Rows without a key are in no target, so they keep none there.
    pub(super) async fn take(
        &self,
        batch: &RecordBatch,
        writer: &dyn LoadWriter,
        counted: &mut KeyCount,
    ) -> Result<()> {
        let (keys, _) = self.caster.cast(batch).operation("cast keys")?;
        let whole = |row: usize| keys.columns().iter().all(|column| column.is_valid(row));
        let keep: BooleanArray = (0..keys.num_rows()).map(|row| Some(whole(row))).collect();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        counted.read += count(keep.true_count());
        counted.nulls += count(keep.false_count());
        let keys = if keep.false_count() > 0 { filter_record_batch(&keys, &keep)? } else { keys };
        if keys.num_rows() == 0 {
            return Ok(());
        }
        writer.keep(keys).await.operation("compare keys")
    }

    /// A split was read to its end: only now, since one that fails is read again.
    pub(super) fn count(&self, split: &KeyCount) {
        self.read.fetch_add(split.read, Ordering::Relaxed);
        self.nulls.fetch_add(split.nulls, Ordering::Relaxed);
    }
}

fn is_comparable(column: &ColumnMapping) -> bool {
    use BigQueryType::{BigNumeric, Bool, Bytes, Date, DateTime, Int64, Numeric, String, Time, Timestamp};
    column.mode != Mode::Repeated
        && matches!(
            column.bigquery_type,
            BigNumeric(_) | Bool | Bytes | Date | DateTime | Int64 | Numeric(_) | String | Time | Timestamp
        )
}

/// Reads the keys, if the load compares them.
pub(super) async fn read_keys(pipeline: &Arc<Pipeline>, parallelism: usize, stop: &Stop) -> Result<()> {
    let Some(keys) = &pipeline.keys else { return Ok(()) };
    let splits = stop
        .or(async { pipeline.session.splits(&keys.plan).await.operation("plan splits of the keys") })
        .await?;
    pipeline::run(pipeline, splits, parallelism, stop, Part::Keys).await
}

/// Compares the keys that were read with the target, and refuses what would take too much away.
pub(super) async fn compare(
    job: &EtlJob,
    keys: Option<&KeyReading>,
    writer: &dyn LoadWriter,
    report: &mut RunReport,
) -> Result<Option<KeyComparison>> {
    let (Some(keys), Some(detect)) = (keys, job.detect_deletes()) else { return Ok(None) };
    report.rows.keys = keys.read.load(Ordering::Relaxed);
    let nulls = keys.nulls.load(Ordering::Relaxed);
    if nulls > 0 {
        report.warn(
            "W_NULL_KEY",
            format!(
                "{nulls} rows of the source have no value in a column of the key, or one that does not fit its type: \
                 they are not compared"
            ),
        );
    }
    let compared = writer.compare_keys().await.operation("compare keys")?;
    report.bill(compared.bytes_billed);
    let (rows, gone, max_ratio) = (compared.rows, compared.gone, detect.max_ratio);
    check_loss(job, report.rows.keys, Before::Target { rows, gone, max_ratio })?;
    Ok(Some(compared))
}
