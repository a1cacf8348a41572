//! What comes before the first row of a range: a session, the mapping, the window, the table, the splits, the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::boundary::Boundary;
use super::course::{Course, begin, decision, expected_rows};
use super::deleting::{self, KeyReading};
use super::demotion::Demotions;
use super::governor::Governor;
use super::mapping::{Sampling, map, row_key, wants_advice};
use super::pipeline::Pipeline;
use super::progress::{Phase, Tracker};
use super::proving::Proving;
use super::quarantine::Quarantine;
use super::record::load_id;
use super::report::RunReport;
use super::retry;
use super::window::{Decision, Range};
use super::{Runner, RunnerOptions};
use crate::connector::{
    Destination, LoadPlan, LoadRequest, ReadPlan, ReadSession, Settled, Split, WriteMode,
};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::job::{CursorBound, EtlJob, LoadStrategy};
use crate::profile::SharedProfile;
use crate::proof::SharedProof;
use crate::schema::{Caster, ColumnMapping, RejectPolicy, TableMapping, TableSchema, TargetTable, Tombstone};

/// A load that is ready to be read.
pub(super) struct Planned {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) parallelism: usize,
    pub(super) splits: Vec<Split>,
    pub(super) range: Option<Range>,
    pub(super) load_id: String,
    pub(super) mapping: TableMapping,
    pub(super) proving: Option<Proving>,
    /// Rows that ranges before this one have written.
    pub(super) rows_before: u64,
    pub(super) began: Instant,
}

/// Plans the next range of a run.
pub(super) struct Planner<'a> {
    pub(super) runner: &'a Runner,
    pub(super) job: &'a EtlJob,
    /// Bytes that the run may hold.
    pub(super) memory: usize,
    pub(super) tracker: &'a Arc<Tracker>,
    pub(super) report: &'a mut RunReport,
    pub(super) demotions: &'a mut Demotions,
}

/// A session at the source.
struct Opened {
    session: Box<dyn ReadSession>,
    settled: Option<Settled>,
    /// With the columns that the job chose.
    table: TableSchema,
    governor: Arc<Governor>,
}

/// What the columns become.
struct Mapped {
    mapping: TableMapping,
    caster: Caster,
    tombstone: Option<Tombstone>,
    target: TargetTable,
    mode: WriteMode,
}

/// What is read of the source.
struct Chosen {
    range: Option<Range>,
    /// Nothing but keys: the window has no rows, and deleted ones are looked for.
    keys_only: bool,
}

impl Planner<'_> {
    /// Everything up to the first row of the next range. `None` if there is nothing to read.
    pub(super) async fn plan(mut self, course: &mut Course) -> Result<Option<Planned>> {
        let began = Instant::now();
        let opened = self.open(course).await?;
        let mapped = self.map(course, &opened).await?;
        let Some(chosen) = self.choose(course, &opened, &mapped).await? else { return Ok(None) };
        let read = self.split(course, &opened, &mapped, &chosen).await?;
        self.begin_load(course, opened, mapped, chosen.range, read, began).await.map(Some)
    }

    async fn open(&mut self, course: &mut Course) -> Result<Opened> {
        let job = self.job;
        self.tracker.phase(Phase::Describe);
        // What is settled was decided with the window, and stays so.
        let bound = job.strategy().cursor_bound();
        let bound = if course.ranges.is_none() { bound } else { CursorBound::Max };
        let governor = self.runner.governors.of(self.runner.connection_named(job.source_connection())?);
        let begun = retry::patiently(&governor, || begin(course.source.as_ref(), job, bound)).await;
        let (session, settled) = begun.operation("begin read session")?;
        let table = session.table().project(job.columns())?;
        self.report.add_warnings(course.look_at(session.as_ref(), job).map(|warning| (None, warning)));
        deleting::check_snapshot(job, session.as_ref(), self.report)?;
        Ok(Opened { session, settled, table, governor })
    }

    async fn map(&mut self, course: &Course, opened: &Opened) -> Result<Mapped> {
        let Opened { session, table, .. } = opened;
        let job = self.job;
        self.tracker.phase(Phase::Map);
        let advise = wants_advice(job, course.destination.as_ref()).await?;
        let sampling = Sampling { rows: self.runner.options.sample_rows, advise };
        let mapping = map(session.as_ref(), job, course.last.as_ref(), sampling, self.demotions).await?;
        self.report.mapping_hash = Some(mapping.hash());
        if let Some(approved) = job.approved_hash() {
            mapping.check_approved(approved).operation("map")?;
        }
        let warnings = mapping.warnings();
        self.report
            .add_warnings(warnings.map(|(column, warning)| (Some(column.to_owned()), warning.clone())));
        let caster = Caster::new(&mapping, &table.arrow_schema(), RejectPolicy::Fail)?;
        let caster = caster.with_row_key(row_key(job, table));
        let tombstone = deleting::tombstone(job, &mapping)?;
        let target = mapping.wanted_table(job.target(), job.layout(), advise)?;
        let mode = write_mode(job.strategy(), table, &mapping)?;
        Ok(Mapped { mapping, caster, tombstone, target, mode })
    }

    /// Decides the window if that is still to be done, makes the target ready, and takes the next range.
    async fn choose(
        &mut self,
        course: &mut Course,
        opened: &Opened,
        mapped: &Mapped,
    ) -> Result<Option<Chosen>> {
        let job = self.job;
        self.tracker.phase(Phase::Prepare);
        let first = course.ranges.is_none();
        if first {
            course.ranges = Some(self.decide(course, opened).await?);
        }
        let (destination, target) = (&course.destination, &mapped.target);
        destination.ensure_dataset(&target.target.dataset).await.operation("create dataset")?;
        let prepared =
            destination.prepare(target, job.on_schema_change()).await.operation("prepare table")?;
        self.demotions.prepared(destination, &target.target, &prepared);
        let range = course.ranges.as_mut().and_then(VecDeque::pop_front);
        let keys_only = range.is_none() && job.strategy().cursor().is_some();
        if keys_only && !(first && job.detect_deletes().is_some()) {
            return Ok(None);
        }
        // Without a window nothing but keys is read.
        let expected = expected_rows(&opened.table, range.as_ref(), course);
        self.tracker.expect_rows(expected.filter(|_| !keys_only));
        Ok(Some(Chosen { range, keys_only }))
    }

    async fn decide(&mut self, course: &Course, opened: &Opened) -> Result<VecDeque<Range>> {
        let Some(cursor) = self.job.strategy().cursor() else { return Ok(VecDeque::new()) };
        let Opened { session, table, settled, .. } = opened;
        let decided = decision(session.as_ref(), self.job, table, cursor, settled.as_ref(), course).await;
        let Decision { window, ranges, warnings } = decided?;
        self.report.window = Some(window);
        self.report.add_warnings(warnings.into_iter().map(|warning| (None, warning)));
        self.tracker.ranges(&ranges);
        Ok(ranges)
    }

    /// How the range is read, and in which parts.
    async fn split(
        &mut self,
        course: &Course,
        opened: &Opened,
        mapped: &Mapped,
        chosen: &Chosen,
    ) -> Result<(ReadPlan, Vec<Split>)> {
        let Opened { session, table, governor, .. } = opened;
        let (job, options, range) = (self.job, &self.runner.options, chosen.range.as_ref());
        let cursor = job.strategy().cursor().unwrap_or_default();
        let plan = ReadPlan {
            columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            filter: range.map(|range| range.filter(cursor)),
            limit: job.row_limit(),
            parallelism: governor.splits(options.splits(self.memory)),
            batch_bytes: options.batch_bytes(self.memory),
        };
        let partitions = match chosen.keys_only {
            true => None,
            false => partitions(session.as_ref(), job, &mapped.mapping, &mapped.target, range).await?,
        };
        let load = LoadPlan { target: &mapped.target, partitions };
        let warnings = course.destination.plan_load(load).await.operation("plan load")?;
        self.report.add_warnings(warnings.into_iter().map(|warning| (None, warning)));
        let splits = match chosen.keys_only {
            true => Vec::new(),
            false => session.splits(&plan).await.operation("plan splits")?,
        };
        Ok((plan, splits))
    }

    /// Begins the load at the destination, and joins what its rows pass on their way there.
    async fn begin_load(
        &mut self,
        course: &mut Course,
        opened: Opened,
        mapped: Mapped,
        range: Option<Range>,
        (plan, splits): (ReadPlan, Vec<Split>),
        began: Instant,
    ) -> Result<Planned> {
        let job = self.job;
        let Opened { session, table, governor, .. } = opened;
        let Mapped { mapping, caster, tombstone, target, mode } = mapped;
        let last = course.last.as_ref();
        let cursor = job.strategy().cursor().unwrap_or_default();
        let merge = matches!(job.strategy(), LoadStrategy::Merge { .. });
        let boundary =
            range.as_ref().map(|range| Boundary::new(&table, cursor, merge, range, last)).transpose()?;
        let load_id = load_id(job, range.as_ref(), last, &mapping);
        self.report.load_id = Some(load_id.clone());
        let deletes = deleting::deletes(job, tombstone.clone(), course.is_over(), self.report.started_at);
        let caster = caster.for_load(&load_id, self.report.started_at);
        let caster = caster.marking(deletes.tombstone.clone().filter(|_| !deletes.remove_tombstones));
        let keys = KeyReading::plan(job, &deletes, &table, &mapping, &plan)?;
        // Rows that are removed, or told apart by their mark, are none of those that the destination is asked about.
        let unproven =
            deletes.tombstone.clone().filter(|_| deletes.remove_tombstones || deletes.mark().is_some());
        let profile = course.profile.take().filter(|profile| profile.fits(&target.arrow_schema()));
        let profile = profile.unwrap_or_else(|| SharedProfile::new(target.arrow_schema(), job.profile()));
        let proving =
            Proving::plan(job, &plan, &mapping, &target, &course.destination, range.as_ref(), &deletes);
        let proven = proving.as_ref().map_or_else(|| target.arrow_schema(), Proving::target_schema);
        let proof = SharedProof::new(job.proof(), table.arrow_schema(), proven);
        let (quarantine, memory_budget) = self.quarantine(&course.destination, &caster, &load_id).await?;
        let request = LoadRequest {
            target,
            mode,
            deletes,
            load_id: load_id.clone(),
            job: job.identity(),
            memory_budget,
            options: job.destination_options().clone(),
        };
        let writer = course.destination.begin_load(request).await.operation("begin load")?;
        let ledger = Mutex::new(caster.ledger());
        let (parallelism, batch_bytes) = (plan.parallelism, plan.batch_bytes);
        let pipeline = Arc::new(Pipeline {
            session,
            caster,
            writer,
            boundary,
            tracker: Arc::clone(self.tracker),
            governor,
            batch_bytes,
            profile,
            proof,
            quarantine,
            max_rejects: job.max_rejects(),
            ledger,
            keys,
            tombstone,
            unproven,
            tombstones: AtomicU64::new(0),
        });
        let rows_before = self.tracker.rows_written.load(Ordering::Relaxed);
        Ok(Planned { pipeline, parallelism, splits, range, load_id, mapping, proving, rows_before, began })
    }

    /// Where values go that do not fit, if some column wants that; and the bytes that the writer of the others may hold.
    async fn quarantine(
        &self,
        destination: &Arc<dyn Destination>,
        caster: &Caster,
        load_id: &str,
    ) -> Result<(Option<Quarantine>, usize)> {
        let bytes = RunnerOptions::writer_bytes(self.memory);
        if !caster.quarantines() {
            return Ok((None, bytes));
        }
        // Most values fit, so the smaller part is enough for the others.
        let part = bytes / 8;
        let planned = Quarantine::plan(destination, self.job, load_id, part).await;
        Ok((Some(planned.operation("prepare quarantine")?), bytes - part))
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
