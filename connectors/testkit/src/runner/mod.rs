//! Whole runs of jobs from one connector into another.

mod deletes;
mod faults;
mod policy;
mod quarantine;
mod strategy;
mod windows;

use transload_core::connector::Capability;
use transload_core::job::{EtlJobBuilder, LoadStrategy, SoftDeletePolicy};
use transload_core::proof::{ProofLevel, Verdict};
use transload_core::schema::{TableRef, TargetRef, TargetTable};
use transload_core::{EtlJob, RunReport, RunStatus, Runner};

use crate::cell::{Cell, Row};
use crate::check::{ensure, equal};
use crate::fixture::{Done, Failure, Subject};
use crate::suite::{Cases, Pair};
use crate::table::{Kind, TestColumn, TestTable, same_rows, target_forms};

pub(crate) fn add(cases: &mut Cases, prefix: &str, from: &Subject, into: &Subject) {
    let capability = into.capability();
    let cursor = from.capability().cursor;
    let integers = from.source.as_ref().is_some_and(|source| source.facts().kinds.contains(&Kind::Int));
    let mut set = Set { cases, prefix, from, into };
    policy::add(&mut set, capability, cursor);
    quarantine::add(&mut set, capability, cursor);
    strategy::add(&mut set, capability, cursor);
    windows::add(&mut set, capability, cursor);
    faults::add(&mut set, capability, cursor, integers);
    deletes::add(&mut set, capability, cursor);
}

/// Cases of one pair.
struct Set<'a> {
    cases: &'a mut Cases,
    prefix: &'a str,
    from: &'a Subject,
    into: &'a Subject,
}

impl Set<'_> {
    fn add<F, R>(&mut self, name: &str, case: F)
    where
        F: FnOnce(std::sync::Arc<Pair>) -> R + Send + 'static,
        R: Future<Output = Done> + Send + 'static,
    {
        self.cases.add_pair(&format!("{}::{name}", self.prefix), self.from, self.into, case);
    }
}

/// A source table `(id, at, what)` whose kinds the source has: integers where it has them, else text.
struct Orders {
    id: Kind,
    at: Kind,
    table: TestTable,
    made: Option<TableRef>,
}

impl Orders {
    fn new(pair: &Pair, what: &str) -> Done<Self> {
        let kinds = pair.from.tables()?.facts().kinds;
        let pick =
            |wanted: &[Kind]| wanted.iter().copied().find(|kind| kinds.contains(kind)).unwrap_or(Kind::Text);
        let (id, at) = (pick(&[Kind::Int]), pick(&[Kind::Timestamp, Kind::DateTime, Kind::Int]));
        let columns = vec![
            TestColumn::new("id", id).required(),
            TestColumn::new("at", at),
            TestColumn::new("what", Kind::Text),
        ];
        let table = TestTable::new(pair.from.name(what), columns);
        Ok(Self { id, at, table, made: None })
    }

    /// A row; no cursor for a negative `at`.
    fn row(&self, id: i32, at: i32, what: &str) -> Row {
        let at = if at < 0 { Cell::Null } else { self.at.nth(at) };
        vec![self.id.nth(id), at, Cell::text(what)]
    }

    fn rows(&self, rows: &[(i32, i32, &str)]) -> Vec<Row> {
        rows.iter().map(|(id, at, what)| self.row(*id, *at, what)).collect()
    }

    /// Makes the table, anew if it is there.
    async fn put(&mut self, pair: &Pair, rows: Vec<Row>) -> Done {
        let table = self.table.with_rows(rows);
        let made = match &self.made {
            Some(old) => pair.from.recreate(old, &table).await?,
            None => pair.from.create(&table).await?,
        };
        self.made = Some(made);
        Ok(())
    }

    async fn insert(&self, pair: &Pair, rows: Vec<Row>) -> Done {
        pair.from.insert(&self.made()?, &self.table.with_rows(rows)).await
    }

    fn made(&self) -> Done<TableRef> {
        self.made.clone().ok_or_else(|| Failure::new("the table is not made yet"))
    }

    /// A job from this table into `(dataset of the case).orders`.
    fn job(&self, pair: &Pair) -> Done<EtlJobBuilder> {
        let job = EtlJob::builder(pair.from.name("job")).from_table("from", self.made()?);
        let job = job.proof(ProofLevel::Values);
        Ok(job.into("into", pair.into.dataset(), "orders"))
    }
}

fn target_of(pair: &Pair) -> TargetRef {
    TargetRef::new(pair.into.dataset(), "orders")
}

/// The target table as the destination tells it.
async fn target_table(pair: &Pair) -> Done<Option<TargetTable>> {
    Ok(pair.into.open_destination().await?.table(&target_of(pair)).await?)
}

/// Fails unless the target holds exactly these rows; no table counts as no rows.
async fn holds(pair: &Pair, what: &str, expected: &[Row]) -> Done {
    let Some(table) = target_table(pair).await? else {
        return ensure(expected.is_empty(), || format!("{what}: the target is not there"));
    };
    let read = pair.into.loaded()?.read(&table).await.map_err(|failure| failure.during("read the target"))?;
    let forms = target_forms(&table);
    let read = read.unwrap_or_default();
    same_rows(&read, expected, &forms).map_err(|failure| failure.during(what))
}

/// Runs a job that must succeed, with counts that add up.
async fn succeed(runner: &Runner, job: &EtlJob) -> Done<RunReport> {
    let report = runner.run(job).await;
    if let Some(error) = &report.error {
        return Err(Failure::new(format!("the run failed: {error}")));
    }
    equal("status", &report.status, &RunStatus::Succeeded)?;
    proven(runner, job, &report)?;
    let rows = report.rows;
    equal("read = already loaded + written", &rows.read, &(rows.already_loaded + rows.written))?;
    if report.committed {
        let removes = job.soft_delete().is_some_and(|soft| soft.policy == SoftDeletePolicy::Remove);
        let sum = rows.inserted + rows.updated + rows.superseded + if removes { rows.tombstones } else { 0 };
        let again = report.warnings.iter().any(|(_, warning)| warning.code == "W_ALREADY_COMMITTED");
        ensure(again || sum == rows.written, || format!("written rows do not add up: {rows:?}"))?;
    }
    Ok(report)
}

/// A run must have proven what the connectors at its ends declare that they can, and must not have more to say.
fn proven(runner: &Runner, job: &EtlJob, report: &RunReport) -> Done {
    // A run that had nothing to read has nothing to prove.
    let Some(proof) = &report.proof else {
        let only_keys = job.detect_deletes().is_some() && report.rows.read == 0;
        return ensure(job.proof() == ProofLevel::Off || !report.committed || only_keys, || {
            "the run has no proof".to_owned()
        });
    };
    let capability = |name: &str| -> Done<Capability> {
        let connection = runner.connection_named(name)?;
        Ok(runner.registry().connector(connection.kind())?.descriptor().capability)
    };
    for (name, side) in
        [(job.source_connection(), &proof.source), (job.destination_connection(), &proof.destination)]
    {
        // The window of a gap ends among rows that are another range's, and a restart leaves rows of before.
        let mixed =
            job.restarts() || report.warnings.iter().any(|(_, warning)| warning.code == "W_GAP_FILLED");
        let comparable = job.row_limit().is_none() && report.rows.superseded == 0 && !mixed;
        let fine = match (capability(name)?.figures, side.verdict) {
            (true, Verdict::Equal) | (false, Verdict::NotCompared) => true,
            // Rows that were deleted at the source stay under `merge`, unless it looks for them.
            (true, Verdict::NotCompared) => {
                let merges = matches!(job.strategy(), LoadStrategy::Merge { .. });
                !comparable || (merges && job.detect_deletes().is_none())
            }
            _ => false,
        };
        ensure(fine, || format!("the proof of `{name}`: {side:?}"))?;
    }
    Ok(())
}

/// Runs a job that must fail with an error of this kind.
async fn fail(runner: &Runner, job: &EtlJob, kind: transload_core::ErrorKind) -> Done<transload_core::Error> {
    let report = runner.run(job).await;
    ensure(!report.committed, || "a run that failed says that it committed".to_owned())?;
    equal("rows written by a run that failed", &report.rows.written, &0)?;
    equal("the error in JSON", &report.to_json()["error"]["kind"].as_str(), &Some(kind.as_str()))?;
    crate::check::error_of("the run", report.into_result(), &[kind])
}
