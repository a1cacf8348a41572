//! One run of one job, step by step. `docs/tour.md` walks through this file.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::DataType;
use jiff::Timestamp;

use super::Runner;
use super::boundary::Boundary;
use super::demotion::Demotions;
use super::pipeline::{self, Pipeline};
use super::progress::{Phase, Tracker};
use super::quarantine::Quarantine;
use super::report::RunReport;
use super::window::{Decision, Window, decide};
use crate::connector::{
    BoundaryRows, Destination, LoadPlan, LoadRecord, LoadRequest, LoadWriter, ReadPlan, ReadSession, Settled,
    Source, Split, WriteMode,
};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::{CursorBound, EtlJob, LoadStrategy};
use crate::profile::SharedProfile;
use crate::schema::{
    Caster, ColumnMapping, ColumnOverride, CursorValue, MapperOptions, Overrides, RejectPolicy, SchemaMapper,
    TableMapping, TableSchema, TargetTable, pins,
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
    let Some((writer, record, quarantine)) = load(runner, job, planned, tracker, report).await? else {
        return Ok(());
    };
    // From here on a cancel comes too late: the commit decides, and the report tells its outcome.
    tracker.phase(Phase::Commit);
    if let Some(quarantine) = quarantine {
        match quarantine.commit().await.operation("commit quarantine") {
            Ok(kept) => report.quarantined(kept),
            Err(error) => {
                abort(writer, job).await;
                return Err(error);
            }
        }
    }
    let outcome = writer.commit(record).await.operation("commit")?;
    // Another run may have committed this load. For a window that is the same rows; the snapshot of a
    // `replace`, however, is the other run's, taken earlier perhaps.
    if outcome.already_committed && matches!(job.strategy(), LoadStrategy::Replace { .. }) {
        return Err(Error::new(ErrorKind::Conflict, "another run replaced the table at the same time")
            .retryable(true)
            .hint("run the job again; make sure that only one run at a time loads a table"));
    }
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
    let advise = wants_advice(job, destination.as_ref()).await?;
    let sampling = Sampling { rows: runner.options.sample_rows, advise };
    let mapping = map(session.as_ref(), job, last.as_ref(), sampling, demotions).await?;
    report.mapping_hash = Some(mapping.hash());
    if let Some(approved) = job.approved_hash() {
        mapping.check_approved(approved).operation("map")?;
    }
    report.warnings.extend(mapping.warnings().map(|(column, w)| (Some(column.to_owned()), w.clone())));
    let caster = Caster::new(&mapping, &table.arrow_schema(), RejectPolicy::Fail)?;
    let caster = caster.with_row_key(row_key(job, &table));

    tracker.phase(Phase::Prepare);
    let target = mapping.wanted_table(job.target(), job.layout(), advise)?;
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
    let partitions = partitions(session.as_ref(), job, &mapping, &target, window.as_ref()).await?;
    let warnings =
        destination.plan_load(LoadPlan { target: &target, partitions }).await.operation("plan load")?;
    report.warnings.extend(warnings.into_iter().map(|warning| (None, warning)));
    let splits = session.splits(&read_plan).await.operation("plan splits")?;
    let boundary = boundary(job, &table, window.as_ref(), last.as_ref())?;
    let load_id = load_id(job, window.as_ref(), last.as_ref(), &mapping);
    report.load_id = Some(load_id.clone());
    let caster = caster.for_load(&load_id, report.started_at);
    let profile = SharedProfile::new(target.arrow_schema(), job.profile());
    let mut memory_budget = runner.options.writer_bytes();
    let quarantine = if caster.quarantines() {
        // Most values fit, so the smaller part is enough for the others.
        let part = memory_budget / 8;
        memory_budget -= part;
        let planned = Quarantine::plan(&destination, job, &load_id, part).await;
        Some(planned.operation("prepare quarantine")?)
    } else {
        None
    };
    let options = job.destination_options().clone();
    let request = LoadRequest { target, mode, load_id: load_id.clone(), memory_budget, options };
    let writer = destination.begin_load(request).await.operation("begin load")?;
    let ledger = Mutex::new(caster.ledger());
    let pipeline = Arc::new(Pipeline {
        session,
        caster,
        writer,
        boundary,
        tracker: Arc::clone(tracker),
        batch_bytes: read_plan.batch_bytes,
        profile,
        quarantine,
        max_rejects: job.max_rejects(),
        ledger,
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

/// Whether the job leaves the layout to advice and the table is still to be made.
pub(super) async fn wants_advice(job: &EtlJob, destination: &dyn Destination) -> Result<bool> {
    Ok(job.layout().wants_advice()
        && destination.table(&job.target()).await.operation("read table")?.is_none())
}

/// How much of the source is looked at before the mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    /// Rows at most.
    pub(super) rows: usize,
    /// The layout follows what the values look like.
    pub(super) advise: bool,
}

/// Proposes the mapping of the job's columns; samples the source where text columns are undecided, and where
/// the layout follows what the values look like.
pub(super) async fn map(
    session: &dyn ReadSession,
    job: &EtlJob,
    last: Option<&LoadRecord>,
    sampling: Sampling,
    demotions: &mut Demotions,
) -> Result<TableMapping> {
    let chosen = session.table().project(job.columns())?;
    let mut overrides: Overrides = last.map(|last| last.pinned.clone()).unwrap_or_default();
    // Columns that are gone need no pin, and what the job says wins over a pin.
    overrides.retain(|name, _| chosen.column(name).is_ok() && !job.overrides().contains_key(name));
    let pinned: Vec<String> = overrides.keys().cloned().collect();
    for (name, wanted) in job.overrides() {
        let pin = last.and_then(|last| last.pinned.get(name));
        overrides.insert(name.clone(), with_pin(wanted, pin, job.on_reject()));
    }
    if job.on_reject() == RejectPolicy::Text {
        overrides.retain(|name, _| job.overrides().contains_key(name));
    }
    keep_needed_columns(&mut overrides, job, &chosen);
    overrides.extend(demotions.overrides());
    let undecided = chosen.columns.iter().any(|column| {
        let settled = overrides.get(&column.name).is_some_and(|o| o.drop || o.data_type.is_some());
        column.data_type == DataType::Utf8 && column.extension.is_none() && !settled
    });
    // A later load keeps the types of the first one, so it needs no sample.
    let detect_types = job.detects_types() && undecided && last.is_none();
    let sample = if detect_types || sampling.advise {
        Some(session.sample(sampling.rows).await.operation("sample")?)
    } else {
        None
    };
    let (on_reject, on_round) = (job.on_reject(), job.on_round());
    let options = MapperOptions { detect_types, on_reject, on_round, ..MapperOptions::default() };
    let mapper = SchemaMapper::new(options).with_overrides(overrides).with_added(job.added().clone());
    let mut mapping = mapper.map(&chosen, sample.as_ref()).operation("map")?;
    for column in mapping.columns.iter_mut().filter(|column| pinned.contains(&column.source_name)) {
        "as in earlier loads of this job".clone_into(&mut column.reason);
    }
    demotions.mark(&mut mapping);
    Ok(mapping)
}

/// What the job says of a column, and the type that earlier loads found where the job gives none.
fn with_pin(wanted: &ColumnOverride, pin: Option<&ColumnOverride>, of_job: RejectPolicy) -> ColumnOverride {
    let mut wanted = wanted.clone();
    let text = wanted.on_reject.unwrap_or(of_job) == RejectPolicy::Text;
    if let Some(pin) = pin.filter(|_| wanted.data_type.is_none() && wanted.format.is_none() && !text) {
        wanted.data_type.clone_from(&pin.data_type);
        wanted.format.clone_from(&pin.format);
        if wanted.null_tokens.is_empty() {
            wanted.null_tokens.clone_from(&pin.null_tokens);
        }
    }
    wanted
}

/// Values by which rows are found again cannot become NULL.
fn keep_needed_columns(overrides: &mut Overrides, job: &EtlJob, table: &TableSchema) {
    if !job.on_reject().makes_null() {
        return;
    }
    let strategy = job.strategy();
    for name in strategy.key().iter().map(String::as_str).chain(strategy.cursor()) {
        if table.column(name).is_ok() {
            overrides.entry(name.to_owned()).or_default().on_reject.get_or_insert(RejectPolicy::Fail);
        }
    }
}

/// The columns by which people find a row at the source.
fn row_key<'a>(job: &'a EtlJob, table: &'a TableSchema) -> &'a [String] {
    match job.strategy() {
        LoadStrategy::Merge { key, .. } => key,
        _ if !table.primary_key.is_empty() => &table.primary_key,
        LoadStrategy::Append { cursor, .. } => std::slice::from_ref(cursor),
        LoadStrategy::Replace { .. } => &[],
    }
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

/// Partitions of the target that the rows of the load lie in, where the job says how it is partitioned. Known from
/// the window if the partitions follow the cursor, else the source is asked for the span of their column.
async fn partitions(
    session: &dyn ReadSession,
    job: &EtlJob,
    mapping: &TableMapping,
    target: &TargetTable,
    window: Option<&Window>,
) -> Result<Option<u64>> {
    let Some(by) = &target.layout.partition_by else { return Ok(None) };
    let named = |column: &&ColumnMapping| {
        by.column().is_some_and(|name| name.eq_ignore_ascii_case(&column.target_name))
    };
    let Some(column) = mapping.columns.iter().find(named) else { return Ok(None) };
    let name = column.source_name.as_str();
    if job.strategy().cursor() == Some(name)
        && let Some(Window { lo: Some(lo), hi: Some(hi), .. }) = window
    {
        return Ok(by.partitions_between(lo, hi));
    }
    let summary = match session.cursor_summary(name).await {
        Ok(summary) => summary,
        // Not every source can tell, and not of every column.
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
        Err(error) => return Err(error.operation("find the partitions of the load")),
    };
    Ok(match (summary.min, summary.max) {
        (Some(min), Some(max)) => by.partitions_between(&min, &max),
        _ => None,
    })
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
) -> Result<Option<(Box<dyn LoadWriter>, LoadRecord, Option<Quarantine>)>> {
    let Planned { pipeline, splits, window, last, load_id, mapping } = planned;
    let moved = pipeline::run(&pipeline, splits, runner.options.parallelism, &runner.cancel).await;
    let Some(pipeline) = Arc::into_inner(pipeline) else {
        return Err(moved.err().unwrap_or_else(|| Error::internal("a task of the pipeline outlived it")));
    };
    let Pipeline { session, writer, boundary, profile, ledger, quarantine, .. } = pipeline;
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The end of a session may still tell that something read before was wrong.
    let moved = match moved {
        Ok(()) => session.close().await.operation("end read session"),
        Err(error) => Err(error),
    };
    let rows = tracker.rows_written.load(Ordering::Relaxed);
    let checked = moved.and_then(|()| check_not_emptied(job, rows, last.as_ref()));
    let checked = checked.and_then(|()| pipeline::check_share(&ledger, job.max_rejects(), rows));
    let failed = checked.is_err();
    report.cast(ledger, failed);
    if let Err(error) = checked {
        abort_both(writer, quarantine, job).await;
        return Err(error);
    }
    report.profile = profile.finish().operation("profile")?;
    let boundary = boundary.map(Boundary::into_rows).unwrap_or_default();
    let record = record(job, load_id, rows, window, boundary, last.as_ref(), &mapping);
    if nothing_new(job, &record, last.as_ref()) {
        abort_both(writer, quarantine, job).await;
        return Ok(None);
    }
    Ok(Some((writer, record, quarantine)))
}

async fn abort_both(writer: Box<dyn LoadWriter>, quarantine: Option<Quarantine>, job: &EtlJob) {
    if let Some(quarantine) = quarantine
        && let Err(error) = quarantine.abort().await
    {
        tracing::warn!(job = job.name(), %error, "staged values of the quarantine could not be dropped");
    }
    abort(writer, job).await;
}

async fn abort(writer: Box<dyn LoadWriter>, job: &EtlJob) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(job = job.name(), %error, "staged rows could not be dropped; the next load cleans them");
    }
}

/// Rows of the last load below which no default ratio is asked for: small tables may well halve.
const JUDGED_ROWS: u64 = 1_000;
/// Share of the last load's rows that a `replace` must bring unless the job says otherwise.
const MIN_RATIO: f64 = 0.5;

/// A source that is empty, or has lost much, must not silently take the target with it.
fn check_not_emptied(job: &EtlJob, rows: u64, last: Option<&LoadRecord>) -> Result<()> {
    let (LoadStrategy::Replace { allow_empty, min_ratio }, Some(last)) = (job.strategy(), last) else {
        return Ok(());
    };
    if rows == 0 && last.rows > 0 {
        return if *allow_empty {
            Ok(())
        } else {
            Err(Error::data(format!(
                "source table {} is empty, and the last load brought {} rows: nothing was replaced",
                job.source_table(),
                last.rows
            ))
            .hint("set `load.allow_empty` if the target is to become empty"))
        };
    }
    let default = if last.rows >= JUDGED_ROWS { MIN_RATIO } else { 0.0 };
    let ratio = min_ratio.unwrap_or(default);
    if (rows as f64) < last.rows as f64 * ratio {
        return Err(Error::data(format!(
            "source table {} has shrunk to {rows} rows, and the last load brought {}: nothing was replaced",
            job.source_table(),
            last.rows
        ))
        .with("min_ratio", ratio)
        .hint("if that is right, set `load.min_ratio` lower (0 switches the check off) and run again"));
    }
    Ok(())
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
