//! Deletes against a model, through the real `Runner` over tables in memory.
//!
//! A case is a source that changes at random (new rows with ties, changed rows, deleted rows, rows that come back as they
//! were or anew, rows that say of themselves that they are deleted) and runs of one job at random: runs that end well and
//! runs whose destination dies before or after a commit. The model says which rows must be in the target and which of
//! them are marked; it knows nothing of keys, windows and hashes.
//!
//! `TRANSLOAD_SEED` repeats one case; a failure prints it. `TRANSLOAD_CASES` sets how many there are (default 2,000).
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use transload_core::job::{DeletePolicy, SoftDeletePolicy, StepDocument};
use transload_core::memory::Memory;
use transload_core::profile::ProfileLevel;
use transload_core::proof::{ProofLevel, Verdict};
use transload_core::schema::DeletedWhen;
use transload_core::{Connection, ErrorKind, EtlJob, Registry, RunReport, Runner, RunnerOptions};
use transload_testkit::fault::{Fault, Faulty, Script};

/// `(at, note, gone)`.
type Row = (i64, i64, Option<i64>);
/// By id, with the mark.
type Target = BTreeMap<i64, (Row, bool)>;

#[derive(Debug, Clone, Copy)]
struct Settings {
    cursor: bool,
    detect: Option<DeletePolicy>,
    soft: Option<SoftDeletePolicy>,
    step: Option<i64>,
    allow_empty: bool,
    proof: ProofLevel,
}

struct Case {
    seed: u64,
    random: StdRng,
    settings: Settings,
    source: BTreeMap<i64, Row>,
    /// Rows as they were when they were deleted.
    deleted: BTreeMap<i64, Row>,
    /// What the target must hold.
    target: Target,
    clock: i64,
    next_id: i64,
    memory: Memory,
    tally: Tally,
}

/// What happened, so that a test that has become tame is seen.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    runs: u64,
    deleted: u64,
    marked: u64,
    unmarked: u64,
    tombstones: u64,
    refused: u64,
    died: u64,
    only_keys: u64,
}

fn batch(rows: &BTreeMap<i64, Row>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.keys().copied()));
    let at: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.values().map(|row| row.0)));
    let notes: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.values().map(|row| row.1)));
    let gone: ArrayRef = Arc::new(Int64Array::from_iter(rows.values().map(|row| row.2)));
    let columns = [("id", ids, false), ("at", at, false), ("note", notes, false), ("gone", gone, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let cursor = random.random_bool(0.7);
        let detect = match random.random_range(0..10) {
            0 => None,
            1..6 => Some(DeletePolicy::Remove),
            _ => Some(DeletePolicy::Mark),
        };
        let soft = match random.random_range(0..8) {
            0 => Some(SoftDeletePolicy::Keep),
            1 | 2 => Some(SoftDeletePolicy::Remove),
            3 | 4 => Some(SoftDeletePolicy::Mark),
            _ => None,
        };
        let step = (cursor && random.random_bool(0.3)).then(|| random.random_range(1..6));
        let allow_empty = detect.is_some() && random.random_bool(0.5);
        let proof = if random.random_bool(0.3) { ProofLevel::Values } else { ProofLevel::Off };
        Self {
            seed,
            random,
            settings: Settings { cursor, detect, soft, step, allow_empty, proof },
            source: BTreeMap::new(),
            deleted: BTreeMap::new(),
            target: Target::new(),
            clock: 1,
            next_id: 1,
            memory: Memory::default(),
            tally: Tally::default(),
        }
    }

    fn job(&self) -> EtlJob {
        let Settings { cursor, detect, soft, step, allow_empty, proof } = self.settings;
        let job = EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders");
        let mut job = job.merge(["id"], cursor.then_some("at")).profile(ProfileLevel::Off).proof(proof);
        if let Some(policy) = detect {
            job = job.detect_deletes(policy);
        }
        if let Some(policy) = soft {
            job = job.soft_delete("gone", DeletedWhen::NotNull, policy);
        }
        if let Some(step) = step {
            job = job.backfill_step(StepDocument::Units(step));
        }
        if allow_empty {
            job = job.allow_empty();
        }
        job.build().unwrap()
    }

    async fn run(&mut self, faults: &[Fault]) -> RunReport {
        self.memory.put("shop", "public", "orders", batch(&self.source)).unwrap();
        let faulty = Faulty::new(self.memory.clone(), &Script::new(faults));
        let connection = |name: &str| Connection::from_url(&format!("memory:{name}")).unwrap().named(name);
        let runner = Runner::new(Registry::new().with(faulty))
            .connection(connection("shop"))
            .connection(connection("lake"))
            .options(RunnerOptions::default().retries(0));
        self.tally.runs += 1;
        runner.run(&self.job()).await
    }

    fn stored(&self) -> Target {
        let Some(batch) = self.memory.get("lake", "raw", "orders") else { return Target::new() };
        let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (ids, at, notes, gone) = (column("id"), column("at"), column("note"), column("gone"));
        let marks = batch.column_by_name("_deleted_at");
        let mut rows = Target::new();
        for row in 0..batch.num_rows() {
            let gone = gone.is_valid(row).then(|| gone.value(row));
            let marked = marks.is_some_and(|marks| marks.is_valid(row));
            let twice = rows.insert(ids.value(row), ((at.value(row), notes.value(row), gone), marked));
            assert!(twice.is_none(), "TRANSLOAD_SEED={}: key {} is there twice", self.seed, ids.value(row));
        }
        rows
    }

    /// What the target must hold once the source was loaded.
    fn after(&self) -> Target {
        let mut target = self.target.clone();
        match self.settings.detect {
            None => {}
            Some(DeletePolicy::Remove) => target.retain(|id, _| self.source.contains_key(id)),
            Some(DeletePolicy::Mark) => {
                for (id, (_, marked)) in &mut target {
                    *marked |= !self.source.contains_key(id);
                }
            }
        }
        for (id, row) in &self.source {
            match (row.2, self.settings.soft) {
                (Some(_), Some(SoftDeletePolicy::Remove)) => drop(target.remove(id)),
                (Some(_), Some(SoftDeletePolicy::Mark)) => drop(target.insert(*id, (*row, true))),
                _ => drop(target.insert(*id, (*row, false))),
            }
        }
        target
    }

    fn change_source(&mut self) {
        for _ in 0..self.random.random_range(0..8) {
            // Often the value that a row has already.
            self.clock += i64::from(self.random.random_bool(0.6));
            let note = self.random.random_range(0..4);
            let ids: Vec<i64> = self.source.keys().copied().collect();
            let any = (!ids.is_empty()).then(|| ids[self.random.random_range(0..ids.len())]);
            let told = self.settings.soft.is_some() && self.random.random_bool(0.3);
            let gone = told.then_some(note);
            match (self.random.random_range(0..8), any) {
                (0..3, Some(id)) => drop(self.source.insert(id, (self.clock, note, gone))),
                (3..5, Some(id)) => {
                    let row = self.source.remove(&id).unwrap();
                    self.deleted.insert(id, row);
                }
                (5, _) if !self.deleted.is_empty() => self.bring_back(note),
                (6, Some(_)) if self.random.random_bool(0.1) => self.deleted.append(&mut self.source),
                _ => {
                    self.source.insert(self.next_id, (self.clock, note, gone));
                    self.next_id += 1;
                }
            }
        }
    }

    fn bring_back(&mut self, note: i64) {
        let ids: Vec<i64> = self.deleted.keys().copied().collect();
        let id = ids[self.random.random_range(0..ids.len())];
        let row = self.deleted.remove(&id).unwrap();
        // A row that was removed and comes back below the window is out of reach; one that is marked is not.
        let reached = !self.settings.cursor || self.target.get(&id).is_some_and(|(there, _)| *there == row);
        let same =
            reached && self.settings.detect == Some(DeletePolicy::Mark) && self.random.random_bool(0.5);
        self.source.insert(id, if same { row } else { (self.clock, note, None) });
    }

    fn check(&self, report: &RunReport) {
        let stored = self.stored();
        assert_eq!(stored, self.target, "TRANSLOAD_SEED={} {:?}: {report:?}", self.seed, self.settings);
        let Some(proof) = &report.proof else { return };
        let about = format!("TRANSLOAD_SEED={} {:?}: {proof:?}", self.seed, self.settings);
        assert_ne!(proof.verdict, Verdict::Different, "{about}");
        if self.settings.detect.is_some() && report.rows.superseded == 0 && self.settings.step.is_none() {
            assert_eq!(proof.destination.verdict, Verdict::Equal, "{about}");
        }
    }

    async fn good_run(&mut self) {
        // Marks that a `remove` finds are no reason to keep a row.
        let marks = self.settings.detect == Some(DeletePolicy::Mark);
        let alive = self.target.values().any(|(_, marked)| !marked || !marks);
        let refused =
            self.settings.detect.is_some() && !self.settings.allow_empty && self.source.is_empty() && alive;
        let (before, report) = (self.target.clone(), self.run(&[]).await);
        if refused {
            let kind = report.error.as_ref().map(transload_core::Error::kind);
            assert_eq!(kind, Some(ErrorKind::Data), "TRANSLOAD_SEED={}: {report:?}", self.seed);
            self.tally.refused += 1;
        } else {
            assert!(report.error.is_none(), "TRANSLOAD_SEED={}: {:?}", self.seed, report.error);
            self.target = self.after();
        }
        self.check(&report);
        let rows = report.rows;
        // Counts by the model: of rows that were there, which are not, and which are marked now.
        let went = before.keys().filter(|id| !self.target.contains_key(id)).count();
        assert_eq!(rows.deleted, u64::try_from(went).unwrap(), "TRANSLOAD_SEED={}: {rows:?}", self.seed);
        let newly = |(id, (_, marked)): &(&i64, &(Row, bool))| {
            *marked && !self.source.contains_key(id) && before.get(id).is_some_and(|(_, before)| !before)
        };
        let newly = self.target.iter().filter(newly).count();
        assert_eq!(rows.marked, u64::try_from(newly).unwrap(), "TRANSLOAD_SEED={}: {rows:?}", self.seed);
        self.tally.deleted += rows.deleted;
        self.tally.marked += rows.marked;
        self.tally.unmarked += rows.unmarked;
        self.tally.tombstones += rows.tombstones;
        self.tally.only_keys += u64::from(report.committed && rows.written == 0);
    }

    async fn bad_run(&mut self) {
        let kinds = [Fault::FailCommit, Fault::CommitThenFail, Fault::RefuseBegin, Fault::RefuseWrite(0)];
        let mut faults = vec![Fault::None; self.random.random_range(0..2)];
        faults.push(kinds[self.random.random_range(0..kinds.len())]);
        let report = self.run(&faults).await;
        let (stored, after) = (self.stored(), self.after());
        let about = format!("TRANSLOAD_SEED={} {:?} {faults:?}: {report:?}", self.seed, self.settings);
        self.tally.died += u64::from(report.error.is_some());
        if self.settings.step.is_none() {
            // All of a load or nothing of it.
            assert!(stored == self.target || stored == after, "{about}: {stored:?}");
        } else {
            // Of several ranges any may be there, but nothing that neither was nor is.
            let known = |(id, row): (&i64, &(Row, bool))| {
                after.get(id) == Some(row) || self.target.get(id) == Some(row)
            };
            assert!(stored.iter().all(known), "{about}: {stored:?}");
        }
        self.target = stored;
    }

    async fn play(mut self) -> Tally {
        for _ in 0..self.random.random_range(3..9) {
            self.change_source();
            if self.random.random_bool(0.7) {
                self.good_run().await;
            } else {
                self.bad_run().await;
            }
        }
        self.good_run().await;
        self.tally
    }
}

#[tokio::test]
async fn deletes_equal_the_model() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TRANSLOAD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRANSLOAD_CASES").unwrap_or(2_000),
    };
    let (began, count) = (std::time::Instant::now(), seeds.end - seeds.start);
    let mut all = Tally::default();
    for seed in seeds {
        let one = Case::new(seed).play().await;
        all.runs += one.runs;
        all.deleted += one.deleted;
        all.marked += one.marked;
        all.unmarked += one.unmarked;
        all.tombstones += one.tombstones;
        all.refused += one.refused;
        all.died += one.died;
        all.only_keys += one.only_keys;
    }
    println!("{count} cases in {:.1} s: {all:?}", began.elapsed().as_secs_f64());
    let least = [all.deleted, all.marked, all.unmarked, all.tombstones, all.refused, all.died, all.only_keys];
    assert!(
        count < 500 || least.iter().all(|happened| *happened * 50 > count),
        "the test has become tame: {all:?}"
    );
}

/// A writer that refused keys may not be told them again: what it refused might be what counts.
#[tokio::test]
async fn keys_that_the_writer_refuses_end_the_run() {
    let mut case = Case::new(1);
    case.settings = Settings {
        cursor: false,
        detect: Some(DeletePolicy::Remove),
        soft: None,
        step: None,
        allow_empty: false,
        proof: ProofLevel::Off,
    };
    case.source = (1..=3).map(|id| (id, (id, id, None))).collect();
    let report = case.run(&[Fault::RefuseKeys]).await;
    let error = report.error.expect("the run fails");
    assert_eq!((error.kind(), report.committed, error.is_retryable()), (ErrorKind::Unreachable, false, true));
    assert!(error.message().contains("while keys were told"), "{error}");
    assert!(case.run(&[]).await.committed);
}
