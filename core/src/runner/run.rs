//! One run of one job, step by step. `docs/tour.md` walks through this file.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::DataType;
use jiff::Timestamp;

use super::Runner;
use super::boundary::Boundary;
use super::demotion::Demotions;
use super::pipeline::{self, Pipeline};
use super::progress::{Phase, Tracker};
use super::report::RunReport;
use super::window::{Decision, Window, decide};
use crate::connector::{
    BoundaryRows, LoadRecord, LoadRequest, LoadWriter, ReadPlan, ReadSession, Settled, Source, Split,
    WriteMode,
};
use crate::error::{Error, Result, ResultExt as _};
use crate::job::{CursorBound, EtlJob, LoadStrategy};
use crate::schema::{
    Caster, CursorValue, MapperOptions, Overrides, RejectPolicy, SchemaMapper, TableMapping, TableSchema,
    Warning, pins,
};

/// Runs a job to its end; fills in the report on the way.
pub(super) async fn run(
    runner: &Runner,
    job: &EtlJob,
    tracker: &Arc<Tracker>,
    report: &mut RunReport,
    demotions: &mut Demotions,
) -> Result<()> {
    let planned = tokio::select! {
        biased;
        () = runner.cancel.cancelled() => return Err(Error::cancelled()),
        planned = plan(runner, job, tracker, report, demotions) => planned?,
    };
    let Some(planned) = planned else { return Ok(()) };
    tracker.phase(Phase::Load);
    let Some((writer, record)) = load(runner, job, planned, tracker, report).await? else { return Ok(()) };
    // From here on a cancel comes too late: the commit decides, and the report tells its outcome.
    tracker.phase(Phase::Commit);
    let outcome = writer.commit(record).await.operation("commit")?;
    report.loaded(&outcome);
    Ok(())
}

/// A load that is ready to be read.
struct Planned {
    pipeline: Arc<Pipeline>,
    splits: Vec<Split>,
    window: Option<Window>,
    last: Option<LoadRecord>,
    load_id: String,
    mapping: TableMapping,
}

/// Everything up to the first row. `None` if there is nothing to read.
async fn plan(
    runner: &Runner,
    job: &EtlJob,
    tracker: &Arc<Tracker>,
    report: &mut RunReport,
    demotions: &mut Demotions,
) -> Result<Option<Planned>> {
    let (source, destination) = runner.open(job).await.operation("connect")?;

    tracker.phase(Phase::Describe);
    let (session, settled) = begin(source.as_ref(), job).await.operation("begin read session")?;
    let table = session.table().project(job.columns())?;
    let last = destination.last_load(&job.target(), &job.identity()).await.operation("read last load")?;

    tracker.phase(Phase::Map);
    let mapping = map(session.as_ref(), job, last.as_ref(), runner.options.sample_rows, demotions).await?;
    report.mapping_hash = Some(mapping.hash());
    if let Some(approved) = job.approved_hash() {
        mapping.check_approved(approved).operation("map")?;
    }
    report.warnings.extend(mapping.warnings().map(|(column, w)| (Some(column.to_owned()), w.clone())));
    let caster = Caster::new(&mapping, &table.arrow_schema(), job.on_reject())?;

    tracker.phase(Phase::Prepare);
    let target = mapping.target_table(job.target());
    let mode = write_mode(job.strategy(), &table, &mapping)?;
    let decision = decision(session.as_ref(), job, &table, settled.as_ref(), last.as_ref()).await?;
    destination.ensure_dataset(&target.target.dataset).await.operation("create dataset")?;
    let prepared = destination.prepare(&target, job.on_schema_change()).await.operation("prepare table")?;
    demotions.prepared(&destination, &target.target, &prepared);
    let (window, filter) = match decision {
        None => (None, None),
        Some(Decision { window, filter, warnings }) => {
            report.window = Some(window.clone());
            report.warnings.extend(warnings.into_iter().map(|warning| (None, warning)));
            if filter.is_none() {
                return Ok(None);
            }
            (Some(window), filter)
        }
    };
    let read_plan = ReadPlan {
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        filter,
        limit: job.row_limit(),
        parallelism: runner.options.parallelism,
        batch_bytes: runner.options.batch_bytes(),
    };
    let splits = session.splits(&read_plan).await.operation("plan splits")?;
    let boundary = boundary(job, &table, window.as_ref(), last.as_ref())?;
    let load_id = load_id(job, window.as_ref(), last.as_ref(), &mapping);
    report.load_id = Some(load_id.clone());
    let caster = caster.for_load(&load_id, report.started_at);
    let memory_budget = runner.options.writer_bytes();
    let request = LoadRequest { target, mode, load_id: load_id.clone(), memory_budget };
    let writer = destination.begin_load(request).await.operation("begin load")?;
    let pipeline = Arc::new(Pipeline {
        session,
        caster,
        writer,
        boundary,
        tracker: Arc::clone(tracker),
        batch_bytes: read_plan.batch_bytes,
        rejects: Mutex::new(BTreeMap::new()),
    });
    Ok(Some(Planned { pipeline, splits, window, last, load_id, mapping }))
}

async fn begin(source: &dyn Source, job: &EtlJob) -> Result<(Box<dyn ReadSession>, Option<Settled>)> {
    let table = job.source_table();
    match (job.strategy().cursor_bound(), job.strategy().cursor()) {
        (CursorBound::OldestTransaction, Some(cursor)) => {
            let (session, settled) = source.begin_settled(&table, cursor).await?;
            Ok((session, Some(settled)))
        }
        _ => Ok((source.begin(&table).await?, None)),
    }
}

/// Proposes the mapping of the job's columns; samples the source where text columns are undecided.
pub(super) async fn map(
    session: &dyn ReadSession,
    job: &EtlJob,
    last: Option<&LoadRecord>,
    sample_rows: usize,
    demotions: &mut Demotions,
) -> Result<TableMapping> {
    let chosen = session.table().project(job.columns())?;
    let mut overrides: Overrides = last.map(|last| last.pinned.clone()).unwrap_or_default();
    // Columns that are gone need no pin, and what the job says wins over a pin.
    overrides.retain(|name, _| chosen.column(name).is_ok() && !job.overrides().contains_key(name));
    let pinned: Vec<String> = overrides.keys().cloned().collect();
    overrides.extend(job.overrides().iter().map(|(name, wanted)| (name.clone(), wanted.clone())));
    overrides.extend(demotions.overrides());
    let undecided = chosen.columns.iter().any(|column| {
        let settled = overrides.get(&column.name).is_some_and(|o| o.drop || o.data_type.is_some());
        column.data_type == DataType::Utf8 && column.extension.is_none() && !settled
    });
    // A later load keeps the types of the first one, so it needs no sample.
    let detect_types = job.detects_types() && undecided && last.is_none();
    let sample =
        if detect_types { Some(session.sample(sample_rows).await.operation("sample")?) } else { None };
    let rejects_become_null = job.on_reject() == RejectPolicy::Null;
    let options = MapperOptions { detect_types, rejects_become_null, ..MapperOptions::default() };
    let mapper = SchemaMapper::new(options).with_overrides(overrides).with_added(job.added().clone());
    let mut mapping = mapper.map(&chosen, sample.as_ref()).operation("map")?;
    for column in mapping.columns.iter_mut().filter(|column| pinned.contains(&column.source_name)) {
        "as in earlier loads of this job".clone_into(&mut column.reason);
    }
    demotions.mark(&mut mapping);
    Ok(mapping)
}

/// Keys and cursor by the names that the target gives them.
fn write_mode(strategy: &LoadStrategy, table: &TableSchema, mapping: &TableMapping) -> Result<WriteMode> {
    let target_name = |name: &str| {
        // A column that the source does not have is named together with the nearest one.
        table.column(name).operation("find the columns of the load strategy")?;
        mapping.column(name).map(|column| column.target_name.clone()).ok_or_else(|| {
            Error::config(format!("column `{name}` is needed by the load strategy but not loaded"))
                .with("column", name)
                .hint("do not drop it")
        })
    };
    match strategy {
        LoadStrategy::Replace { .. } => Ok(WriteMode::Replace),
        LoadStrategy::Append { cursor, .. } => target_name(cursor).map(|_| WriteMode::Append),
        LoadStrategy::Merge { key, cursor, .. } => Ok(WriteMode::Merge {
            key: key.iter().map(|name| target_name(name)).collect::<Result<_>>()?,
            order_by: cursor.as_deref().map(target_name).transpose()?,
        }),
    }
}

async fn decision(
    session: &dyn ReadSession,
    job: &EtlJob,
    table: &TableSchema,
    settled: Option<&Settled>,
    last: Option<&LoadRecord>,
) -> Result<Option<Decision>> {
    let Some(cursor) = job.strategy().cursor() else { return Ok(None) };
    let column = table.column(cursor)?;
    if !CursorValue::supports(&column.data_type) {
        let message = format!("column `{cursor}` of type {} cannot be a cursor", column.source_type);
        return Err(Error::unsupported(message)
            .with("column", cursor)
            .hint("choose an integer, decimal, date, timestamp or text column"));
    }
    let summary = session.cursor_summary(cursor).await.operation("find the window")?;
    decide(job.strategy(), column, &summary, settled, last, Timestamp::now()).map(Some)
}

/// Only `append` must know which rows at the watermark it has; `merge` may write them again.
fn boundary(
    job: &EtlJob,
    table: &TableSchema,
    window: Option<&Window>,
    last: Option<&LoadRecord>,
) -> Result<Option<Boundary>> {
    match (job.strategy(), window) {
        (LoadStrategy::Append { cursor, .. }, Some(Window { lo, hi: Some(hi), .. })) => {
            Boundary::new(table, cursor, lo.clone(), hi.clone(), last).map(Some)
        }
        _ => Ok(None),
    }
}

/// The same for every attempt of the same window after the same load: a retry is the same load.
fn load_id(
    job: &EtlJob,
    window: Option<&Window>,
    last: Option<&LoadRecord>,
    mapping: &TableMapping,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let (lo, hi) = window.map_or((None, None), |window| (window.lo.as_ref(), window.hi.as_ref()));
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

/// Moves the rows. Gives the writer and the record to commit, or `None` if there is nothing new.
async fn load(
    runner: &Runner,
    job: &EtlJob,
    planned: Planned,
    tracker: &Tracker,
    report: &mut RunReport,
) -> Result<Option<(Box<dyn LoadWriter>, LoadRecord)>> {
    let Planned { pipeline, splits, window, last, load_id, mapping } = planned;
    let moved = pipeline::run(&pipeline, splits, runner.options.parallelism, &runner.cancel).await;
    let Some(pipeline) = Arc::into_inner(pipeline) else {
        return Err(moved.err().unwrap_or_else(|| Error::internal("a task of the pipeline outlived it")));
    };
    let Pipeline { session, writer, boundary, rejects, caster, .. } = pipeline;
    // The end of a session may still tell that something read before was wrong.
    let moved = match moved {
        Ok(()) => session.close().await.operation("end read session"),
        Err(error) => Err(error),
    };
    let rows = tracker.rows_written.load(Ordering::Relaxed);
    let checked = moved.and_then(|()| check_not_emptied(job, rows, last.as_ref()));
    if let Err(error) = checked {
        abort(writer, job).await;
        return Err(error);
    }
    for (column, nulled) in caster.null_tokens() {
        let text = format!("{nulled} values that stand for none became NULL");
        report.warnings.push((Some(column.to_owned()), Warning::new("W_NULL_TOKEN", text)));
    }
    for reject in rejects.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
        let text = format!("{} values did not fit and became NULL", reject.rejected);
        report.warnings.push((Some(reject.column.clone()), Warning::new("W_REJECTED", text)));
        report.rejects.push(reject);
    }
    let boundary = boundary.map(Boundary::into_rows).unwrap_or_default();
    let record = record(job, load_id, rows, window, boundary, last.as_ref(), &mapping);
    if nothing_new(job, &record, last.as_ref()) {
        abort(writer, job).await;
        return Ok(None);
    }
    Ok(Some((writer, record)))
}

async fn abort(writer: Box<dyn LoadWriter>, job: &EtlJob) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(job = job.name(), %error, "staged rows could not be dropped; the next load cleans them");
    }
}

/// An empty source must not silently empty a target that had rows.
fn check_not_emptied(job: &EtlJob, rows: u64, last: Option<&LoadRecord>) -> Result<()> {
    match (job.strategy(), last) {
        (LoadStrategy::Replace { allow_empty: false }, Some(last)) if rows == 0 && last.rows > 0 => {
            Err(Error::data(format!(
                "source table {} is empty, and the last load brought {} rows: nothing was replaced",
                job.source_table(),
                last.rows
            ))
            .hint("set `load.allow_empty` if the target is to become empty"))
        }
        _ => Ok(()),
    }
}

fn nothing_new(job: &EtlJob, record: &LoadRecord, last: Option<&LoadRecord>) -> bool {
    match job.strategy() {
        LoadStrategy::Replace { .. } => false,
        _ => record.rows == 0 && record.watermark == last.and_then(|last| last.watermark.clone()),
    }
}

fn record(
    job: &EtlJob,
    load_id: String,
    rows: u64,
    window: Option<Window>,
    mut boundary: BoundaryRows,
    last: Option<&LoadRecord>,
    mapping: &TableMapping,
) -> LoadRecord {
    let (lo, mut watermark) = window.map_or((None, None), |window| (window.lo, window.hi));
    if job.row_limit().is_some() {
        // A trial reads any rows of its window, so it must not claim the window.
        watermark = last.and_then(|last| last.watermark.clone());
        boundary = last.map(|last| last.boundary.clone()).unwrap_or_default();
    }
    let mut pinned = last.map(|last| last.pinned.clone()).unwrap_or_default();
    pinned.extend(pins(mapping));
    LoadRecord {
        load_id,
        job: job.identity(),
        job_name: job.name().to_owned(),
        sequence: last.map_or(1, |last| last.sequence + 1),
        strategy: job.strategy().as_str().to_owned(),
        cursor: job.strategy().cursor().map(str::to_owned),
        window_lo: lo,
        watermark,
        boundary,
        rows,
        mapping_hash: mapping.hash(),
        pinned,
        committed_at: Timestamp::now().to_string(),
        engine: crate::VERSION.to_owned(),
    }
}
