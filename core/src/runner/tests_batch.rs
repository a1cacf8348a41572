//! Many jobs over scripted sources: no server can be told to hang, panic or count on command.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use futures::StreamExt as _;

use super::*;
use crate::batch::BatchStream;
use crate::connector::{
    Connector, Credentialed, CursorSummary, Descriptor, ReadPlan, ReadSession, SchemaInfo, ServerInfo, Split,
    TableInfo,
};
use crate::error::ErrorKind;
use crate::memory::Memory;
use crate::proof::{ProofLevel, TableFigures, Verdict};
use crate::schema::{TableRef, TableSchema};

/// What a source does, by the name of the table.
#[derive(Debug, Clone)]
struct Scripted {
    memory: Memory,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    reading: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<String>>,
    refusals: AtomicUsize,
}

#[async_trait]
impl Connector for Scripted {
    fn descriptor(&self) -> Descriptor {
        self.memory.descriptor()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        self.memory.validate(connection)
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        let store = target.connection.name().to_owned();
        Ok(Arc::new(ScriptedSource { inner: self.memory.source(target).await?, store, of: self.clone() }))
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        self.memory.destination(target).await
    }
}

#[derive(Debug)]
struct ScriptedSource {
    inner: Arc<dyn Source>,
    store: String,
    of: Scripted,
}

#[async_trait]
impl Source for ScriptedSource {
    async fn check(&self) -> Result<ServerInfo> {
        self.inner.check().await
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        self.inner.schemas().await
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        self.inner.tables(schema).await
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        self.inner.describe(table).await
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        self.of.state.order.lock().unwrap().push(format!("{}.{}", self.store, table.name));
        let inner = self.inner.begin(table).await?;
        Ok(Box::new(ScriptedSession { inner, name: table.name.clone(), of: self.of.clone() }))
    }
}

#[derive(Debug)]
struct ScriptedSession {
    inner: Box<dyn ReadSession>,
    name: String,
    of: Scripted,
}

struct Reading(Arc<State>);

impl Reading {
    fn begin(state: &Arc<State>) -> Self {
        let now = state.reading.fetch_add(1, Ordering::SeqCst) + 1;
        state.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl ReadSession for ScriptedSession {
    fn table(&self) -> &TableSchema {
        self.inner.table()
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        self.inner.cursor_summary(column).await
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        self.inner.sample(rows).await
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        if self.name != "crowded" {
            return self.inner.splits(plan).await;
        }
        let part = serde_json::Value::Null;
        let split = |index| Split { index, plan: plan.clone(), part: part.clone() };
        Ok((0..plan.parallelism).map(split).collect())
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        let reading = Reading::begin(&self.of.state);
        let busy = self.of.state.reading.load(Ordering::SeqCst);
        match self.name.as_str() {
            "panics" => panic!("scripted"),
            "refused" => return Err(Error::data("a value is broken")),
            "hangs" => return std::future::pending().await,
            // One read at a time, like a server without connections to spare.
            "crowded" if busy > 1 => {
                self.of.state.refusals.fetch_add(1, Ordering::SeqCst);
                return Err(Error::new(ErrorKind::RateLimited, "too many connections"));
            }
            // The connection is lost before the first row, twice.
            "flaky" if self.of.state.refusals.fetch_add(1, Ordering::SeqCst) < 2 => {
                return Err(Error::new(ErrorKind::Unreachable, "lost"));
            }
            "lossy" | "doubling" => {
                let rows = if self.name == "lossy" { 99 } else { 100 };
                let batches = self.inner.read(split).await?.map(move |batch| Ok(batch?.slice(0, rows)));
                let again = if self.name == "doubling" { Some(self.inner.read(split).await?) } else { None };
                let again = futures::stream::iter(again).flatten();
                return Ok(Box::pin(batches.chain(again.map(|batch| Ok(batch?.slice(7, 1))))));
            }
            "late" => {
                let batches = self.inner.read(split).await?;
                let lost = futures::stream::iter([Err(Error::new(ErrorKind::Unreachable, "lost"))]);
                return Ok(Box::pin(batches.chain(lost)));
            }
            _ => tokio::time::sleep(Duration::from_millis(30)).await,
        }
        let batches = self.inner.read(split).await?;
        Ok(Box::pin(batches.map(move |batch| {
            let _busy = &reading;
            batch
        })))
    }

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        self.inner.figures(plan, level).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}

fn rows(memory: &Memory, store: &str, table: &str) {
    let ids = Arc::new(Int64Array::from_iter_values(0..100)) as _;
    memory.put(store, "public", table, RecordBatch::try_from_iter([("id", ids)]).unwrap()).unwrap();
}

struct Scene {
    memory: Memory,
    state: Arc<State>,
    runner: Runner,
}

fn scene(tables: &[(&str, &str)]) -> Scene {
    let memory = Memory::default();
    for (store, table) in tables {
        rows(&memory, store, table);
    }
    let scripted = Scripted { memory: memory.clone(), state: Arc::default() };
    let state = Arc::clone(&scripted.state);
    let mut runner = Runner::new(Registry::new().with(scripted))
        .memory_budget(&MemoryBudget::new(256 * 1024 * 1024))
        .options(RunnerOptions::default().parallelism(4));
    for name in ["a", "b", "c", "lake"] {
        runner = runner.connection(Connection::from_url(&format!("memory:{name}")).unwrap().named(name));
    }
    Scene { memory, state, runner }
}

fn job(store: &str, table: &str) -> EtlJob {
    let builder = EtlJob::builder(format!("{store}_{table}"));
    builder.from(store, &format!("public.{table}")).into("lake", store, table).replace().build().unwrap()
}

fn statuses(batch: &BatchReport) -> Vec<RunStatus> {
    batch.reports.iter().map(|report| report.status).collect()
}

#[tokio::test]
async fn one_job_that_fails_or_panics_stops_no_other() {
    let tables = [("a", "one"), ("a", "panics"), ("b", "refused"), ("b", "two"), ("c", "three")];
    let scene = scene(&tables);
    let mut jobs: Vec<_> = tables.iter().map(|(store, table)| job(store, table)).collect();
    let disabled = serde_json::json!({
        "name": "off", "enabled": false, "load": {"strategy": "replace"},
        "source": {"connection": "a", "schema": "public", "table": "one"},
        "destination": {"connection": "lake", "dataset": "a", "table": "off"},
    });
    jobs.insert(1, EtlJob::from_json(disabled).unwrap());
    let batch = scene.runner.run_all(&jobs, RunAllOptions::default()).await;
    use RunStatus::{Failed, Skipped, Succeeded};
    assert_eq!(statuses(&batch), [Succeeded, Skipped, Failed, Failed, Succeeded, Succeeded]);
    assert_eq!(batch.status, BatchStatus::Partial);
    let names: Vec<_> = batch.reports.iter().map(|report| report.job.as_str()).collect();
    assert_eq!(names, ["a_one", "off", "a_panics", "b_refused", "b_two", "c_three"]);
    assert_eq!(batch.reports[1].warnings[0].1.code, "W_SKIPPED");
    assert_eq!(batch.reports[2].error.as_ref().unwrap().kind(), ErrorKind::Internal);
    assert_eq!((batch.totals.jobs, batch.totals.rows_written, batch.totals.skipped), (6, 300, 1));
    let json = batch.to_json();
    assert_eq!((&json["status"], &json["reports"][1]["status"]), (&"partial".into(), &"skipped".into()));
    for (store, table, there) in
        [("a", "one", true), ("b", "two", true), ("c", "three", true), ("a", "off", false)]
    {
        assert_eq!(scene.memory.rows("lake", store, table).is_some(), there, "{store}.{table}");
    }
}

/// A host's runner for each job: the one that it cancels is not loaded, and every report comes when its job ends.
#[tokio::test]
async fn hosts_look_after_each_job() {
    let tables = [("a", "one"), ("a", "two"), ("b", "refused"), ("b", "three")];
    let scene = scene(&tables);
    let jobs: Vec<_> = tables.iter().map(|(store, table)| job(store, table)).collect();
    let begun = Mutex::new(Vec::new());
    let ended = Mutex::new(Vec::new());
    let begin = |index: usize, runner: Runner| {
        begun.lock().unwrap().push(index);
        let own = CancelHandle::new();
        if index == 1 {
            own.cancel();
        }
        runner.cancel_with(&own)
    };
    let end = |index: usize, report: &RunReport| {
        assert!(begun.lock().unwrap().contains(&index));
        ended.lock().unwrap().push((index, report.job.clone(), report.status));
    };
    let batch = scene.runner.run_each(&jobs, RunAllOptions::default(), begin, end).await;
    let mut ended = ended.into_inner().unwrap();
    ended.sort_by_key(|(index, ..)| *index);
    let expected: Vec<_> = batch
        .reports
        .iter()
        .enumerate()
        .map(|(index, report)| (index, report.job.clone(), report.status))
        .collect();
    assert_eq!(ended, expected);
    use RunStatus::{Cancelled, Failed, Succeeded};
    assert_eq!(statuses(&batch), [Succeeded, Cancelled, Failed, Succeeded]);
    assert_eq!(scene.memory.rows("lake", "a", "two"), None);
    assert_eq!(begun.into_inner().unwrap().len(), 4);
}

#[tokio::test]
async fn concurrency_is_limited_and_sources_take_turns() {
    let tables: Vec<(&str, String)> =
        (0..6).map(|i| ("a", format!("t{i}"))).chain((0..2).map(|i| ("b", format!("t{i}")))).collect();
    let named: Vec<(&str, &str)> = tables.iter().map(|(store, table)| (*store, table.as_str())).collect();
    let scene = scene(&named);
    let jobs: Vec<_> = named.iter().map(|(store, table)| job(store, table)).collect();
    let options = RunAllOptions::default().concurrency(2).per_connection(9);
    let batch = scene.runner.run_all(&jobs, options).await;
    assert_eq!(batch.status, BatchStatus::Succeeded, "{batch:?}");
    assert_eq!(scene.state.most.load(Ordering::SeqCst), 2);
    let order = scene.state.order.lock().unwrap().clone();
    let place = |name: &str| order.iter().position(|one| one == name).unwrap();
    // First come, first served would read `b` last.
    assert!(place("b.t1") < place("a.t3"), "{order:?}");
    // All into one table of one destination: one after the other, and all of them.
    let into_one = |(store, table): &(&str, &str)| {
        let builder = EtlJob::builder(format!("{store}_{table}")).from(*store, &format!("public.{table}"));
        builder.into("lake", "raw", "all").append("id").build().unwrap()
    };
    scene.state.most.store(0, Ordering::SeqCst);
    let jobs: Vec<_> = named.iter().map(into_one).collect();
    let batch = scene.runner.run_all(&jobs, RunAllOptions::default().concurrency(8)).await;
    assert_eq!((batch.status, scene.state.most.load(Ordering::SeqCst)), (BatchStatus::Succeeded, 1));
    assert_eq!(scene.memory.rows("lake", "raw", "all"), Some(800));
}

#[tokio::test]
async fn cancelling_stops_all_and_tells_what_had_ended() {
    let scene = scene(&[("a", "one"), ("a", "hangs"), ("b", "hangs"), ("c", "never")]);
    let cancel = CancelHandle::new();
    let (handle, ended) = (cancel.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&ended);
    let runner = scene.runner.clone().cancel_with(&cancel).on_progress(move |progress| {
        if progress.phase == Phase::Done {
            seen.lock().unwrap().push(progress.job.clone());
            if progress.job == "a_one" {
                handle.cancel();
            }
        }
    });
    let jobs = [job("a", "one"), job("a", "hangs"), job("b", "hangs"), job("c", "never")];
    // `a` and `b` begin; what waits when the first one has ended is not begun.
    let options = RunAllOptions::default().concurrency(2);
    let batch = tokio::time::timeout(Duration::from_secs(5), runner.run_all(&jobs, options)).await.unwrap();
    use RunStatus::{Cancelled, Succeeded};
    assert_eq!(statuses(&batch), [Succeeded, Cancelled, Cancelled, Cancelled], "{batch:?}");
    assert_eq!((batch.status, batch.totals.cancelled), (BatchStatus::Cancelled, 3));
    assert_eq!(ended.lock().unwrap().len(), 4);
    assert_eq!(scene.memory.rows("lake", "a", "one"), Some(100));
    // A dropped call stops too, and gives everything back.
    let fresh = scene.runner.clone();
    let jobs = [job("a", "hangs"), job("b", "hangs")];
    let dropped =
        tokio::time::timeout(Duration::from_millis(200), fresh.run_all(&jobs, RunAllOptions::default()));
    assert!(dropped.await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(scene.state.reading.load(Ordering::SeqCst), 0);
    let budget = fresh.budget.as_ref().unwrap();
    assert_eq!(budget.free(), budget.total());
}

#[tokio::test]
async fn a_crowded_source_is_read_with_fewer_at_once() {
    let scene = scene(&[("a", "crowded")]);
    let report = scene.runner.run(&job("a", "crowded")).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Succeeded, 1), "{report:?}");
    assert!(scene.state.refusals.load(Ordering::SeqCst) > 0);
    // Each of the four splits is the whole table here, and each came once.
    assert_eq!(report.rows.written, 400);
}

#[tokio::test]
async fn only_a_split_without_rows_is_read_again_by_itself() {
    let scene = scene(&[("a", "flaky"), ("a", "late")]);
    let report = scene.runner.run(&job("a", "flaky")).await;
    assert_eq!((report.status, report.attempts, report.rows.written), (RunStatus::Succeeded, 1, 100));
    let report =
        scene.runner.clone().options(RunnerOptions::default().retries(1)).run(&job("a", "late")).await;
    // The run begins again as a whole; nothing of the first attempt is counted.
    assert_eq!((report.status, report.attempts, report.rows.read), (RunStatus::Failed, 2, 100));
    assert_eq!(scene.memory.rows("lake", "a", "late"), Some(0));
}

#[tokio::test]
async fn a_deadline_ends_a_run_and_its_retries() {
    let scene = scene(&[("a", "hangs"), ("a", "late")]);
    let options = |millis| RunnerOptions::default().retries(1000).deadline(Duration::from_millis(millis));
    for table in ["hangs", "late"] {
        let runner = scene.runner.clone().options(options(400));
        let job = job("a", table);
        let report = tokio::time::timeout(Duration::from_secs(5), runner.run(&job)).await.unwrap();
        assert_eq!((report.status, report.committed), (RunStatus::Failed, false));
        let kind = report.error.unwrap().kind();
        assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Unreachable), "{table}: {kind}");
    }
}

#[tokio::test]
async fn runs_wait_for_memory_and_say_so() {
    let scene = scene(&[("a", "one"), ("b", "two")]);
    let budget = MemoryBudget::new(16 * 1024 * 1024);
    let phases = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&phases);
    let runner = scene.runner.memory_budget(&budget).on_progress(move |progress| {
        seen.lock().unwrap().push((progress.job.clone(), progress.phase));
    });
    let batch = runner.run_all(&[job("a", "one"), job("b", "two")], RunAllOptions::default()).await;
    assert_eq!(batch.status, BatchStatus::Succeeded, "{batch:?}");
    assert_eq!(scene.state.most.load(Ordering::SeqCst), 1);
    assert!(phases.lock().unwrap().contains(&("b_two".to_owned(), Phase::Wait)));
    assert!(batch.reports[1].seconds.wait > 0.0, "{batch:?}");
    assert_eq!(budget.free(), budget.total());
}

#[tokio::test]
async fn a_source_that_loses_or_doubles_a_row_is_found_before_anything_is_committed() {
    for (table, found) in [("lossy", "99 rows passed and 100 are there"), ("doubling", "101 rows passed")] {
        let scene = scene(&[("a", table)]);
        let proven = |level| {
            let builder = EtlJob::builder("proven").from("a", &format!("public.{table}"));
            builder.into("lake", "a", table).replace().proof(level).build().unwrap()
        };
        for level in [ProofLevel::Counts, ProofLevel::Values] {
            let report = scene.runner.run(&proven(level)).await;
            let error = report.error.as_ref().expect("the run fails");
            assert_eq!((error.kind(), report.committed), (ErrorKind::Data, false));
            assert!(error.message().contains(found), "{error}");
            assert!(scene.memory.rows("lake", "a", table).is_none_or(|rows| rows == 0));
        }
        let report = scene.runner.run(&proven(ProofLevel::Off)).await;
        assert_eq!(report.status, RunStatus::Succeeded, "nobody looked");
    }
}

#[tokio::test]
async fn rows_that_somebody_changed_at_the_destination_are_found_after_the_commit() {
    let scene = scene(&[("a", "one")]);
    // A trigger or another writer: a row more lands with those of the run, here by an append to what was there.
    let builder = |name: &str| {
        let job = EtlJob::builder(name).from("a", "public.one").into("lake", "a", "one").append("id");
        job.proof(ProofLevel::Values).build().unwrap()
    };
    assert_eq!(verdict(&scene.runner.run(&builder("first")).await), Some(Verdict::Equal));
    let report = scene.runner.run(&builder("second")).await;
    assert_eq!((report.status, verdict(&report)), (RunStatus::Succeeded, Some(Verdict::Different)));
    let warned = report.warnings.iter().find(|(_, warning)| warning.code == "W_PROOF_DIFFERENT");
    let text = &warned.expect("a warning").1.text;
    assert!(text.contains("100 rows passed and 200 are there"), "{text}");
}

fn verdict(report: &RunReport) -> Option<Verdict> {
    report.proof.as_ref().map(|proof| proof.verdict)
}
