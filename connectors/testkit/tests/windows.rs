//! The algebra of windows against a model, through the real `Runner` over tables in memory.
//!
//! A case is a source that changes at random (new rows with ties, late rows as far as `lag` and `lookback` promise to
//! find them, rows without a cursor, changed rows) and runs of one job at random: runs that end well, runs whose
//! destination dies before or after a commit, trials with a row limit, and edits of where the backfill begins and
//! ends. The model says which rows must be in the target; it knows nothing of ledgers, ranges and hashes.
//!
//! `TRANSLOAD_SEED` repeats one case; a failure prints it. `TRANSLOAD_CASES` sets how many there are (default 2,000).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use transload_core::job::{EtlJobBuilder, NullCursors, StepDocument};
use transload_core::memory::Memory;
use transload_core::profile::ProfileLevel;
use transload_core::proof::{ProofLevel, Verdict};
use transload_core::{Connection, EtlJob, Registry, RunReport, Runner};
use transload_testkit::fault::{Fault, Faulty, Script};

/// `(id, at, note)`.
type Row = (i64, Option<i64>, i64);
type Multiset = BTreeMap<Row, i64>;

/// What the job of a case keeps from its first run to its last.
#[derive(Debug, Clone)]
struct Settings {
    merge: bool,
    proof: ProofLevel,
    nulls: NullCursors,
    lag: i64,
    lookback: i64,
}

/// What is edited between runs.
#[derive(Debug, Clone, Copy, Default)]
struct Edits {
    since: Option<i64>,
    until: Option<i64>,
    step: Option<i64>,
}

/// The source, and what must have come of it.
#[derive(Debug, Default)]
struct Model {
    source: Vec<(Row, bool)>,
    /// Of `merge`: by id.
    target: BTreeMap<i64, Row>,
    /// Of `append`: rows that trials have added beside.
    trials: Multiset,
    /// Up to here everything wanted is loaded.
    watermark: Option<i64>,
    /// No attempt has reached past this value; rows may still come at it and above.
    promised: i64,
    /// No attempt has begun below this value; rows may still come there.
    lowest: i64,
    /// The first load may have begun here: a lookback does not go below.
    first: Option<i64>,
    /// A load may have been committed.
    loaded: bool,
    /// The seed, for messages.
    seed: u64,
}

struct Case {
    random: StdRng,
    settings: Settings,
    edits: Edits,
    model: Model,
    memory: Memory,
    next_id: i64,
    log: Vec<String>,
}

/// The lowest value there is, for `None`.
fn floor(value: Option<i64>) -> i64 {
    value.unwrap_or(i64::MIN)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let at: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)));
    let notes: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("at", at, true), ("note", notes, false)])
        .unwrap()
}

fn multiset(rows: impl IntoIterator<Item = Row>) -> Multiset {
    let mut counted = Multiset::new();
    for row in rows {
        *counted.entry(row).or_default() += 1;
    }
    counted
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let merge = random.random_bool(0.5);
        let nulls = if random.random_bool(0.5) { NullCursors::Include } else { NullCursors::Warn };
        let lag = if random.random_bool(0.3) { random.random_range(1..4) } else { 0 };
        let lookback = if merge && random.random_bool(0.4) { random.random_range(1..6) } else { 0 };
        let model = Model { promised: -10, lowest: i64::MAX, seed, ..Model::default() };
        let proof = if random.random_bool(0.1) { ProofLevel::Values } else { ProofLevel::Off };
        let settings = Settings { merge, proof, nulls, lag, lookback };
        let memory = Memory::default();
        // A start of the first run, so that there is something before it.
        let since = random.random_bool(0.6).then(|| random.random_range(-15..5));
        let step = random.random_bool(0.5).then(|| random.random_range(1..6));
        let edits = Edits { since, until: None, step };
        Self { random, settings, edits, model, memory, next_id: 0, log: Vec::new() }
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    fn job(&self, limit: Option<u64>) -> EtlJob {
        let (settings, edits) = (&self.settings, &self.edits);
        let job = EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders");
        let mut job = if settings.merge { job.merge(["id"], Some("at")) } else { job.append("at") };
        job = job.on_null_cursor(settings.nulls).profile(ProfileLevel::Off).proof(settings.proof);
        let units = |value: i64, set: fn(EtlJobBuilder, StepDocument) -> EtlJobBuilder, job| {
            if value > 0 { set(job, StepDocument::Units(value)) } else { job }
        };
        job = units(settings.lag, EtlJobBuilder::lag, job);
        job = units(settings.lookback, EtlJobBuilder::lookback, job);
        job = units(edits.step.unwrap_or(0), EtlJobBuilder::backfill_step, job);
        if let Some(since) = edits.since {
            job = job.backfill_since(since.to_string());
        }
        if let Some(until) = edits.until {
            job = job.until(until.to_string());
        }
        if let Some(limit) = limit {
            job = job.row_limit(limit);
        }
        job.build().unwrap()
    }

    fn runner(&self, faults: &[Fault]) -> Runner {
        let faulty = Faulty::new(self.memory.clone(), &Script::new(faults));
        let connection = |name: &str| Connection::from_url(&format!("memory:{name}")).unwrap().named(name);
        Runner::new(Registry::new().with(faulty))
            .connection(connection("shop"))
            .connection(connection("lake"))
    }

    fn put(&self) {
        let rows: Vec<Row> = self.model.source.iter().map(|(row, _)| *row).collect();
        self.memory.put("shop", "public", "orders", batch(&rows)).unwrap();
    }

    fn stored(&self) -> Vec<Row> {
        let Some(batch) = self.memory.get("lake", "raw", "orders") else { return Vec::new() };
        let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (ids, at, notes) = (column("id"), column("at"), column("note"));
        let row = |row| (ids.value(row), at.is_valid(row).then(|| at.value(row)), notes.value(row));
        (0..batch.num_rows()).map(row).collect()
    }

    /// A cursor value that the next runs promise to find.
    fn cursor(&mut self) -> Option<i64> {
        if self.chance(0.15) {
            return None;
        }
        let Model { promised, lowest, first, loaded, .. } = self.model;
        if self.chance(0.2) && lowest > -30 {
            return Some(self.random.random_range(-30..lowest.min(promised + 1)));
        }
        let back = promised - self.settings.lookback;
        let from = if loaded { back.max(floor(first)).min(promised) } else { promised };
        Some(self.random.random_range(from..promised + 8))
    }

    fn change_source(&mut self) {
        for _ in 0..self.random.random_range(0..6) {
            let at = self.cursor();
            let note = self.random.random_range(0..3);
            let count = self.model.source.len();
            if self.settings.merge && count > 0 && self.chance(0.5) {
                // A changed row gets a cursor value that the next run looks at, often the one it has.
                let index = self.random.random_range(0..count);
                let found = self.model.promised - self.settings.lookback;
                let row = &mut self.model.source[index].0;
                let reach = row.1.is_some_and(|at| at >= found && at >= floor(self.model.first));
                let at = match at {
                    Some(at) if at < found => continue,
                    _ if reach && note > 0 => row.1,
                    at => at,
                };
                *row = (row.0, at, note);
                self.log.push(format!("update {row:?}"));
            } else {
                let twin = !self.settings.merge && count > 0 && self.random.random_bool(0.2);
                let row = if twin {
                    let like = self.model.source[self.random.random_range(0..count)].0;
                    (like.0, at, like.2)
                } else {
                    self.next_id += 1;
                    (self.next_id, at, note)
                };
                self.log.push(format!("insert {row:?}"));
                self.model.source.push((row, false));
            }
        }
        self.put();
    }

    fn edit_job(&mut self) {
        if self.chance(0.4) {
            self.edits.step = if self.chance(0.3) { None } else { Some(self.random.random_range(1..9)) };
        }
        if self.chance(0.3) {
            self.edits.since = if self.chance(0.2) { None } else { Some(self.random.random_range(-28..15)) };
        }
        if self.chance(0.2) {
            let above = self.edits.since.unwrap_or(-28) + 1;
            self.edits.until =
                if self.chance(0.5) { None } else { Some(self.random.random_range(above..60)) };
        }
        if let (Some(since), Some(until)) = (self.edits.since, self.edits.until)
            && since >= until
        {
            self.edits.until = None;
        }
    }

    /// Where a run ends, and whether rows at the end are loaded; `None` if the source has no cursor value.
    fn end(&self) -> Option<(i64, bool)> {
        let max = self.model.source.iter().filter_map(|(row, _)| row.1).max()? - self.settings.lag;
        match self.edits.until {
            Some(until) if until <= max => Some((until, false)),
            _ => Some((max, true)),
        }
    }

    /// Whether a run that ends well has this row in the target.
    fn wanted(&self, row: &Row) -> bool {
        let (Some(at), Some((end, inclusive))) = (row.1, self.end()) else {
            return row.1.is_none() && self.settings.nulls == NullCursors::Include;
        };
        let again = self.model.watermark.map(|watermark| {
            let back = watermark.saturating_sub(self.settings.lookback);
            back.max(floor(self.model.first)).min(watermark)
        });
        let begins = again.is_some_and(|again| at >= again) || at >= floor(self.edits.since);
        begins && (at < end || (at == end && inclusive))
    }

    /// Remembers what an attempt may have reached.
    fn attempted(&mut self) {
        let Some((end, _)) = self.end() else { return };
        let since = floor(self.edits.since);
        let model = &mut self.model;
        if model.watermark.is_none() {
            if end < since {
                return;
            }
            model.first = Some(floor(model.first).max(since));
        }
        model.loaded = true;
        model.lowest = model.lowest.min(since);
        model.promised = model.promised.max(end);
    }

    fn finished(&mut self) {
        for index in 0..self.model.source.len() {
            let (row, loaded) = self.model.source[index];
            if self.settings.merge {
                if self.wanted(&row) {
                    self.model.target.insert(row.0, row);
                }
            } else if !loaded && self.wanted(&row) {
                self.model.source[index].1 = true;
            }
        }
        if let Some((end, inclusive)) = self.end() {
            let since = floor(self.edits.since);
            let begun = end > since || (end == since && inclusive);
            self.model.watermark = match self.model.watermark {
                Some(watermark) => Some(watermark.max(end)),
                None => begun.then_some(end),
            };
        }
    }

    fn expected(&self) -> Multiset {
        if self.settings.merge {
            return multiset(self.model.target.values().copied());
        }
        let mut expected = self.model.trials.clone();
        for (row, _) in self.model.source.iter().filter(|(_, loaded)| *loaded) {
            *expected.entry(*row).or_default() += 1;
        }
        expected
    }

    fn check(&self, report: &RunReport) {
        let (found, expected) = (multiset(self.stored()), self.expected());
        if found != expected {
            let differ = |a: &Multiset, b: &Multiset| {
                let more = a.iter().map(|(row, count)| (*row, count - b.get(row).copied().unwrap_or(0)));
                more.filter(|(_, more)| *more > 0).collect::<Vec<_>>()
            };
            panic!(
                "TRANSLOAD_SEED={}: too many {:?}, missing {:?}\n{:?}\n{}\n{}",
                self.model.seed,
                differ(&found, &expected),
                differ(&expected, &found),
                self.settings,
                self.log.join("\n"),
                report.to_json()
            );
        }
    }

    async fn run(&mut self) {
        self.attempted();
        self.log.push(format!("run {:?}", self.edits));
        let report = self.runner(&[]).run(&self.job(None)).await;
        assert!(
            report.error.is_none(),
            "TRANSLOAD_SEED={}: {:?}\n{:?}",
            self.model.seed,
            report.error,
            self.log
        );
        let rows = report.rows;
        assert_eq!(rows.read, rows.already_loaded + rows.written, "TRANSLOAD_SEED={}", self.model.seed);
        self.finished();
        self.check(&report);
        // Rows of trials are in the table a second time.
        if self.model.trials.is_empty() {
            let verdict = report.proof.as_ref().map(|proof| proof.verdict);
            let different = verdict == Some(Verdict::Different);
            assert!(!different, "TRANSLOAD_SEED={}: {}", self.model.seed, report.to_json());
        }
        // What is new is loaded once: the next run has nothing to do, unless it reads a safety range again.
        if self.settings.lookback == 0 && self.chance(0.3) {
            let again = self.runner(&[]).run(&self.job(None)).await;
            assert!(!again.committed, "TRANSLOAD_SEED={}: {}", self.model.seed, again.to_json());
        }
    }

    async fn crash(&mut self) {
        self.attempted();
        let mut faults = vec![Fault::None; self.random.random_range(0..4)];
        let fault = [Fault::RefuseBegin, Fault::RefuseWrite(0), Fault::FailCommit, Fault::CommitThenFail];
        faults.push(fault[self.random.random_range(0..4)]);
        self.log.push(format!("crash {faults:?} {:?}", self.edits));
        let report = self.runner(&faults).run(&self.job(None)).await;
        if report.error.is_none() {
            // There were fewer loads than the script is long.
            self.finished();
            self.check(&report);
            return;
        }
        self.adopt(&report).await;
    }

    /// Takes over what a run that died has committed, which may be any of its ranges: rows that the run wanted, and
    /// none twice.
    async fn adopt(&mut self, report: &RunReport) {
        let stored = self.stored();
        if self.settings.merge {
            for row in stored {
                let current = self.model.source.iter().any(|(known, _)| *known == row && self.wanted(&row));
                if current {
                    self.model.target.insert(row.0, row);
                }
            }
        } else {
            let mut more = multiset(stored);
            for (row, count) in self.expected() {
                *more.entry(row).or_default() -= count;
            }
            for index in 0..self.model.source.len() {
                let (row, loaded) = self.model.source[index];
                let wanted = self.wanted(&row) && !loaded;
                if let Some(count) = more.get_mut(&row).filter(|count| **count > 0 && wanted) {
                    self.model.source[index].1 = true;
                    *count -= 1;
                }
            }
        }
        self.check(report);
        // It may also have committed where the next run goes on, whatever that one's beginning is.
        let runner = self.runner(&[]);
        let lake = runner.registry().destination(runner.connection_named("lake").unwrap()).await.unwrap();
        let job = self.job(None);
        let last = lake.last_load(&job.target(), &job.identity()).await.unwrap();
        if last.is_some_and(|last| last.watermark.is_some()) {
            self.model.watermark.get_or_insert(floor(self.edits.since));
        }
    }

    async fn trial(&mut self) {
        // What a trial loads counts for nothing, but it is the first load of its table if there was none.
        let before = multiset(self.stored());
        let limit = self.random.random_range(1..4);
        self.log.push(format!("trial {limit} {:?}", self.edits));
        let report = self.runner(&[]).run(&self.job(Some(limit))).await;
        assert!(report.error.is_none(), "TRANSLOAD_SEED={}: {:?}", self.model.seed, report.error);
        assert!(report.rows.read <= limit, "TRANSLOAD_SEED={}", self.model.seed);
        let source = multiset(self.model.source.iter().map(|(row, _)| *row));
        let stored = self.stored();
        for (row, count) in multiset(stored.iter().copied()) {
            let more = count - before.get(&row).copied().unwrap_or(0);
            assert!(more <= 0 || source.contains_key(&row), "TRANSLOAD_SEED={}: {row:?}", self.model.seed);
            if self.settings.merge {
                self.model.target.insert(row.0, row);
            } else if more > 0 {
                *self.model.trials.entry(row).or_default() += more;
            }
        }
    }

    async fn play(&mut self) {
        for _ in 0..self.random.random_range(3..9) {
            if self.chance(0.8) {
                self.change_source();
            } else {
                self.put();
            }
            if self.chance(0.5) {
                self.edit_job();
            }
            match self.random.random_range(0..10) {
                0..6 => self.run().await,
                6..9 => self.crash().await,
                _ => self.trial().await,
            }
        }
        self.run().await;
    }
}

#[tokio::test]
async fn windows_equal_the_model() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TRANSLOAD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRANSLOAD_CASES").unwrap_or(2_000),
    };
    let began = std::time::Instant::now();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        Case::new(seed).play().await;
    }
    println!("{count} cases in {:.1} s", began.elapsed().as_secs_f64());
}
