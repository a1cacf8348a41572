//! One run of one job, step by step. `docs/tour.md` walks through this file.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_schema::DataType;

use super::boundary::Boundary;
use super::budget::{MemoryBudget, MemoryPart};
use super::course::{Course, begin, begin_course, decision, expected_rows};
use super::demotion::Demotions;
use super::pipeline::{self, Pipeline};
use super::progress::{Phase, Tracker};
use super::proving::Proving;
use super::quarantine::Quarantine;
use super::record::{Finished, load_id, nothing_new, record};
use super::report::{Committed, RunReport};
use super::retry::{self, Stop};
use super::window::{Decision, Range};
use super::{Runner, RunnerOptions};
use crate::connector::{
    Destination, LoadPlan, LoadRecord, LoadRequest, LoadWriter, ReadPlan, ReadSession, Split, WriteMode,
};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::{CursorBound, EtlJob, LoadStrategy};
use crate::profile::SharedProfile;
use crate::proof::{Proof, SharedProof, SideProof, TableFigures};
use crate::schema::{
    Caster, ColumnMapping, ColumnOverride, MapperOptions, Overrides, RejectPolicy, SchemaMapper,
    TableMapping, TableSchema, TargetTable,
};

/// Runs a job to its end; fills in the report on the way.
pub(super) async fn run(
    runner: &Runner,
    job: &EtlJob,
    stop: &Stop,
    tracker: &Arc<Tracker>,
    report: &mut RunReport,
    demotions: &mut Demotions,
) -> Result<()> {
    // Before the source is reached: who waits for memory must not hold a snapshot there.
    let memory = stop.or(memory(runner, tracker)).await?;
    let mut course = stop.or(begin_course(runner, job)).await?;
    loop {
        let planned =
            stop.or(plan(runner, job, &mut course, memory.bytes, tracker, report, demotions)).await?;
        let Some(planned) = planned else { break };
        tracker.phase(Phase::Load);
        let moved = Box::pin(load(job, planned, &mut course, stop, tracker, report)).await?;
        let Moved { ready, proven } = moved;
        if let Some(ready) = ready {
            // From here on a cancel or the deadline comes too late: the commit decides, and the report tells its outcome.
            tracker.phase(Phase::Commit);
            commit(job, ready, &mut course, tracker, report).await?;
        }
        if let Some(Proven { proving, source, written }) = proven {
            let destination = proving.destination(written, report).await;
            report.proven(Proof::new(source, destination));
        }
        tracker.range_done();
        if course.is_over() {
            break;
        }
    }
    if let Some(profile) = course.profile {
        report.profile = profile.finish().operation("profile")?;
    }
    Ok(())
}

/// The run's part of the memory that all runs share.
async fn memory(runner: &Runner, tracker: &Tracker) -> Result<MemoryPart> {
    let budget = runner.budget.as_ref().unwrap_or_else(|| MemoryBudget::process());
    let wish = runner.options.memory_bytes;
    if let Some(part) = budget.try_take(wish) {
        return Ok(part);
    }
    tracker.phase(Phase::Wait);
    let part = budget.take(wish).await?;
    tracker.phase(Phase::Connect);
    Ok(part)
}

/// A load that is ready to be read.
struct Planned {
    pipeline: Arc<Pipeline>,
    parallelism: usize,
    splits: Vec<Split>,
    range: Option<Range>,
    load_id: String,
    mapping: TableMapping,
    proving: Option<Proving>,
    /// Rows that ranges before this one have written.
    rows_before: u64,
    began: Instant,
}

/// A load whose rows are staged.
struct Ready {
    writer: Box<dyn LoadWriter>,
    record: LoadRecord,
    quarantine: Option<Quarantine>,
    range: Option<Range>,
    began: Instant,
}

/// What reading has proven, and what the destination is to be asked for.
struct Proven {
    proving: Proving,
    source: SideProof,
    written: TableFigures,
}

/// What became of the rows of a load.
struct Moved {
    /// `None` if there is nothing new.
    ready: Option<Ready>,
    /// `None` if the job wants no proof.
    proven: Option<Proven>,
}

/// Everything up to the first row of the next range. `None` if there is nothing to read.
async fn plan(
    runner: &Runner,
    job: &EtlJob,
    course: &mut Course,
    memory: usize,
    tracker: &Arc<Tracker>,
    report: &mut RunReport,
    demotions: &mut Demotions,
) -> Result<Option<Planned>> {
    let began = Instant::now();
    let destination = Arc::clone(&course.destination);
    tracker.phase(Phase::Describe);
    // What is settled was decided with the window, and stays so.
    let bound = job.strategy().cursor_bound();
    let bound = if course.ranges.is_none() { bound } else { CursorBound::Max };
    let governor = runner.governors.of(runner.connection_named(job.source_connection())?);
    let begun = retry::patiently(&governor, || begin(course.source.as_ref(), job, bound)).await;
    let (session, settled) = begun.operation("begin read session")?;
    let table = session.table().project(job.columns())?;

    tracker.phase(Phase::Map);
    let advise = wants_advice(job, destination.as_ref()).await?;
    let sampling = Sampling { rows: runner.options.sample_rows, advise };
    let mapping = map(session.as_ref(), job, course.last.as_ref(), sampling, demotions).await?;
    report.mapping_hash = Some(mapping.hash());
    if let Some(approved) = job.approved_hash() {
        mapping.check_approved(approved).operation("map")?;
    }
    report.add_warnings(mapping.warnings().map(|(column, w)| (Some(column.to_owned()), w.clone())));
    let caster = Caster::new(&mapping, &table.arrow_schema(), RejectPolicy::Fail)?;
    let caster = caster.with_row_key(row_key(job, &table));

    tracker.phase(Phase::Prepare);
    let target = mapping.wanted_table(job.target(), job.layout(), advise)?;
    let mode = write_mode(job.strategy(), &table, &mapping)?;
    if course.ranges.is_none() {
        course.ranges = Some(match job.strategy().cursor() {
            None => VecDeque::new(),
            Some(cursor) => {
                let decided = decision(session.as_ref(), job, &table, cursor, settled.as_ref(), course).await;
                let Decision { window, ranges, warnings } = decided?;
                report.window = Some(window);
                report.add_warnings(warnings.into_iter().map(|warning| (None, warning)));
                tracker.ranges(&ranges);
                ranges
            }
        });
    }
    destination.ensure_dataset(&target.target.dataset).await.operation("create dataset")?;
    let prepared = destination.prepare(&target, job.on_schema_change()).await.operation("prepare table")?;
    demotions.prepared(&destination, &target.target, &prepared);
    let range = course.ranges.as_mut().and_then(VecDeque::pop_front);
    if range.is_none() && job.strategy().cursor().is_some() {
        return Ok(None);
    }
    tracker.expect_rows(expected_rows(&table, range.as_ref(), course));
    let last = course.last.as_ref();
    let cursor = job.strategy().cursor().unwrap_or_default();
    let read_plan = ReadPlan {
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        filter: range.as_ref().map(|range| range.filter(cursor)),
        limit: job.row_limit(),
        parallelism: governor.splits(runner.options.splits(memory)),
        batch_bytes: runner.options.batch_bytes(memory),
    };
    let partitions = partitions(session.as_ref(), job, &mapping, &target, range.as_ref()).await?;
    let warnings =
        destination.plan_load(LoadPlan { target: &target, partitions }).await.operation("plan load")?;
    report.add_warnings(warnings.into_iter().map(|warning| (None, warning)));
    let splits = session.splits(&read_plan).await.operation("plan splits")?;
    let merge = matches!(job.strategy(), LoadStrategy::Merge { .. });
    let boundary =
        range.as_ref().map(|range| Boundary::new(&table, cursor, merge, range, last)).transpose()?;
    let load_id = load_id(job, range.as_ref(), last, &mapping);
    report.load_id = Some(load_id.clone());
    let caster = caster.for_load(&load_id, report.started_at);
    let profile = course.profile.take().filter(|profile| profile.fits(&target.arrow_schema()));
    let profile = profile.unwrap_or_else(|| SharedProfile::new(target.arrow_schema(), job.profile()));
    let proving = Proving::plan(job, &read_plan, &mapping, &target, &destination, range.as_ref());
    let shared = proving.as_ref().map(Proving::target_schema);
    let proof =
        SharedProof::new(job.proof(), table.arrow_schema(), shared.unwrap_or_else(|| target.arrow_schema()));
    let mut memory_budget = RunnerOptions::writer_bytes(memory);
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
        governor,
        batch_bytes: read_plan.batch_bytes,
        profile,
        proof,
        quarantine,
        max_rejects: job.max_rejects(),
        ledger,
    });
    let (parallelism, rows_before) = (read_plan.parallelism, tracker.rows_written.load(Ordering::Relaxed));
    let planned =
        Planned { pipeline, parallelism, splits, range, load_id, mapping, proving, rows_before, began };
    Ok(Some(planned))
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

/// Partitions of the target that the rows of the load lie in, where the job says how it is partitioned. Known from
/// the window if the partitions follow the cursor, else the source is asked for the span of their column.
async fn partitions(
    session: &dyn ReadSession,
    job: &EtlJob,
    mapping: &TableMapping,
    target: &TargetTable,
    range: Option<&Range>,
) -> Result<Option<u64>> {
    let Some(by) = &target.layout.partition_by else { return Ok(None) };
    let named = |column: &&ColumnMapping| {
        by.column().is_some_and(|name| name.eq_ignore_ascii_case(&column.target_name))
    };
    let Some(column) = mapping.columns.iter().find(named) else { return Ok(None) };
    let name = column.source_name.as_str();
    if job.strategy().cursor() == Some(name)
        && let Some(Range { lo: Some(lo), hi: Some(hi), .. }) = range
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

/// Moves the rows, and proves what was read.
async fn load(
    job: &EtlJob,
    planned: Planned,
    course: &mut Course,
    stop: &Stop,
    tracker: &Tracker,
    report: &mut RunReport,
) -> Result<Moved> {
    let Planned { pipeline, parallelism, splits, range, load_id, mapping, proving, rows_before, began } =
        planned;
    let moved = pipeline::run(&pipeline, splits, parallelism, stop).await;
    let Some(pipeline) = Arc::into_inner(pipeline) else {
        return Err(moved.err().unwrap_or_else(|| Error::internal("a task of the pipeline outlived it")));
    };
    let Pipeline { session, writer, boundary, profile, proof, ledger, quarantine, .. } = pipeline;
    course.profile = Some(profile);
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    let moved = match moved {
        Ok(()) => end(session, proving, proof).await,
        Err(error) => Err(error),
    };
    let rows = tracker.rows_written.load(Ordering::Relaxed).saturating_sub(rows_before);
    let checked = moved.and_then(|proven| {
        check_not_emptied(job, rows, course.committed.as_ref())?;
        pipeline::check_share(&ledger, job.max_rejects(), rows).map(|()| proven)
    });
    // The last moment at which a cancel leaves nothing behind.
    let checked = match checked {
        Ok(proven) => stop.or(async { writer.seal().await.operation("write") }).await.map(|()| proven),
        Err(error) => Err(error),
    };
    report.cast(ledger);
    let boundary = boundary.map(Boundary::into_rows).unwrap_or_default();
    let finished = Finished { load_id, rows, range: range.as_ref(), boundary, mapping: &mapping };
    let recorded = checked.and_then(|proven| Ok((record(job, finished, course.last.as_ref())?, proven)));
    let (record, proven) = match recorded {
        Ok(recorded) => recorded,
        Err(error) => {
            abort_both(writer, quarantine, job).await;
            return Err(error);
        }
    };
    // A range without rows costs no commit: the next one says that it was covered. The last one does so itself.
    if (rows == 0 && !course.is_over()) || nothing_new(job, &record, course.committed.as_ref()) {
        abort_both(writer, quarantine, job).await;
        let (load_id, sequence) = match &course.committed {
            Some(committed) => (committed.load_id.clone(), committed.sequence),
            None => (String::new(), 0),
        };
        course.last = Some(LoadRecord { load_id, sequence, ..record });
        return Ok(Moved { ready: None, proven });
    }
    Ok(Moved { ready: Some(Ready { writer, record, quarantine, range, began }), proven })
}

/// Ends the read session, which may still tell that something read before was wrong, after what was read is
/// proven in its snapshot.
async fn end(
    session: Box<dyn ReadSession>,
    proving: Option<Proving>,
    proof: SharedProof,
) -> Result<Option<Proven>> {
    let proven = match (proving, proof.finish()) {
        (Some(proving), Some((read, written))) => {
            let source = proving.source(session.as_ref(), read).await?;
            Some(Proven { proving, source, written })
        }
        _ => None,
    };
    session.close().await.operation("end read session")?;
    Ok(proven)
}

/// Makes the rows of a range visible.
async fn commit(
    job: &EtlJob,
    ready: Ready,
    course: &mut Course,
    tracker: &Tracker,
    report: &mut RunReport,
) -> Result<()> {
    let Ready { writer, record, quarantine, range, began } = ready;
    if let Some(quarantine) = quarantine {
        match quarantine.commit().await.operation("commit quarantine") {
            Ok(kept) => report.quarantined(kept),
            Err(error) => {
                abort(writer, job).await;
                return Err(error);
            }
        }
    }
    let outcome = writer.commit(record.clone()).await.operation("commit")?;
    // Another run may have committed this load. For a window that is the same rows; the snapshot of a
    // `replace`, however, is the other run's, taken earlier perhaps.
    if outcome.already_committed && matches!(job.strategy(), LoadStrategy::Replace { .. }) {
        return Err(Error::new(ErrorKind::Conflict, "another run replaced the table at the same time")
            .retryable(true)
            .hint("run the job again; make sure that only one run at a time loads a table"));
    }
    let committed = Committed { range: range.as_ref(), record: &record, outcome: &outcome, began };
    report.loaded(committed, tracker);
    course.last = Some(record.clone());
    course.committed = Some(record);
    Ok(())
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
