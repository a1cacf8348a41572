//! Runners that are killed (SIGKILL) at random moments while somebody writes to the source. After each kill the target
//! may hold no row twice; then the writer rests, and one clean run must make target and source equal.
//!
//! `make test-crash` runs 300 seeds over append, merge (three in four look for deleted rows), replace and backfill, from PostgreSQL and SQLite into the
//! Parquet dataset and the BigQuery emulator. `TRANSLOAD_CRASH_SEEDS` says how many, `TRANSLOAD_CRASH_FIRST` from
//! which on. A seed draws the same jobs and pauses every time; where a pause falls in a run depends on the machine.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the verdict is printed; children report on stdout"
)]

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use transload::{Connection, EtlJob, RunStatus, Runner, RunnerOptions, default_registry};
use transload_crash::{Changes, Rows, Source, Target, install_crypto_provider, missing};
use transload_testkit::{Done, Failure};

/// A runner process gets its work here, as JSON.
const CHILD: &str = "TRANSLOAD_CRASH_CHILD";
/// Seeds of a normal test run.
const SEEDS: u64 = 16;
const STRATEGIES: [&str; 4] = ["append", "merge", "replace", "backfill"];
/// What a merge does about deletes: nothing, or one of these. The third of them also loads in ranges.
const DELETES: [&str; 4] = ["", " removing", " marking", " removing in ranges"];

struct Seed {
    number: u64,
    strategy: &'static str,
    deletes: &'static str,
    source: Source,
    target: Target,
    random: StdRng,
    /// How long a run takes, as far as that is known.
    takes: Duration,
    _folder: tempfile::TempDir,
}

/// What all seeds together did.
#[derive(Debug, Default)]
struct Tally {
    killed: u64,
    ended_before: u64,
    lost: i64,
    doubled: i64,
    /// Seeds by strategy, source and target.
    pairs: BTreeMap<String, u64>,
}

impl Seed {
    fn new(number: u64) -> Done<Self> {
        let folder = tempfile::tempdir()?;
        let name = format!("crash_{}_{number}", std::process::id());
        let source = match (number / 4) % 2 {
            0 => Source::Sqlite(folder.path().join("shop.db")),
            _ => Source::Postgres(name.clone()),
        };
        // The emulator is slow, so it takes a fifth of the seeds.
        let target = if number % 5 == 4 {
            Target::BigQuery(name)
        } else {
            Target::Dataset(folder.path().join("lake"))
        };
        let strategy = STRATEGIES[usize::try_from(number % 4)?];
        let deletes = if strategy == "merge" { DELETES[usize::try_from((number / 8) % 4)?] } else { "" };
        let takes = Duration::from_millis(if matches!(target, Target::BigQuery(_)) { 3000 } else { 400 });
        Ok(Self {
            number,
            strategy,
            deletes,
            source,
            target,
            random: StdRng::seed_from_u64(number),
            takes,
            _folder: folder,
        })
    }

    fn changes(&self) -> Changes {
        Changes {
            updates: matches!(self.strategy, "merge" | "replace"),
            deletes: self.strategy == "replace" || !self.deletes.is_empty(),
        }
    }

    fn work(&self) -> Done<Value> {
        // Every range costs the emulator seconds.
        let step = if matches!(self.target, Target::BigQuery(_)) { 4000 } else { 60 };
        let load = match self.strategy {
            "append" => json!({"strategy": "append", "cursor": "at"}),
            "merge" => {
                let mut load = json!({"strategy": "merge", "key": ["id"], "cursor": "at"});
                if self.deletes.contains("removing") {
                    load["detect_deletes"] = json!({"policy": "remove", "max_ratio": 1});
                } else if self.deletes.contains("marking") {
                    load["detect_deletes"] = json!({"policy": "mark", "max_ratio": 1});
                }
                if self.deletes.contains("ranges") {
                    load["backfill_step"] = json!(step);
                }
                load
            }
            "backfill" => json!({"strategy": "append", "cursor": "at", "backfill_step": step}),
            _ => json!({"strategy": "replace", "min_ratio": 0}),
        };
        Ok(json!({
            "connections": [self.source.connection()?, self.target.connection()?],
            "job": {
                "name": format!("seed {}", self.number),
                "source": self.source.table(),
                "destination": self.target.table(),
                "load": load,
                "mapping": {"detect_types": false},
                "proof": "values",
            },
        }))
    }

    fn child(&self) -> Done<tokio::process::Child> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.env(CHILD, self.work()?.to_string());
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
    }

    /// No row may be there twice, whatever happened; with a key, no key.
    async fn check_between(&self) -> Done<Rows> {
        let there = self.target.rows().await?;
        let mut ids = BTreeMap::new();
        for ((id, ..), count) in &there {
            *ids.entry(*id).or_insert(0) += count;
        }
        let twice = ids.values().filter(|count| **count > 1).count();
        if twice > 0 {
            return Err(Failure::new(format!(
                "seed {}: {twice} keys are there twice after a kill",
                self.number
            )));
        }
        Ok(there)
    }

    async fn kill_while_written(&mut self, tally: &mut Tally) -> Done {
        let rows = match self.target {
            Target::Dataset(_) => self.random.random_range(50..20_000),
            Target::BigQuery(_) => self.random.random_range(50..3000),
        };
        let mut writer = self.source.create(self.number, self.changes(), rows).await?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let source = self.source.clone();
        let writing = tokio::spawn(async move { source.keep_writing(&mut writer, stopped).await });
        let mut kills = self.random.random_range(1..4);
        for _ in 0..6 {
            let pause = self.takes.mul_f64(self.random.random_range(0.02..1.0));
            let (mut child, began) = (self.child()?, Instant::now());
            if tokio::time::timeout(pause, child.wait()).await.is_err() {
                child.kill().await?;
                tally.killed += 1;
                kills -= 1;
            } else {
                tally.ended_before += 1;
                self.takes = began.elapsed();
            }
            self.check_between().await?;
            if kills == 0 {
                break;
            }
        }
        let _ = stop.send(true);
        writing.await?
    }

    /// One clean run, after which target and source are equal.
    async fn check_after(&self, tally: &mut Tally) -> Done {
        let output = self.child()?.wait_with_output().await?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let about = format!(
            "seed {} ({}{}, {:?} into {:?})",
            self.number, self.strategy, self.deletes, self.source, self.target
        );
        if report["status"] != json!("succeeded") {
            return Err(Failure::new(format!("{about}: the clean run failed: {}", report["error"])));
        }
        let (source, there) = (self.source.rows().await?, self.target.rows().await?);
        let (lost, doubled) = (missing(&source, &there), missing(&there, &source));
        tally.lost += lost;
        tally.doubled += doubled;
        if lost + doubled > 0 {
            return Err(Failure::new(format!(
                "{about}: {lost} rows lost, {doubled} too many; {}, {}",
                report["window"], report["rows"]
            )));
        }
        let proof = &report["proof"]["verdict"];
        if *proof == json!("different") {
            return Err(Failure::new(format!("{about}: equal, but the run says not: {}", report["proof"])));
        }
        let left = self.target.leftovers().await?;
        if !left.is_empty() {
            return Err(Failure::new(format!("{about}: {left:?} are left behind")));
        }
        Ok(())
    }

    async fn run(mut self, tally: &mut Tally) -> Done {
        let outcome = match self.kill_while_written(tally).await {
            Ok(()) => self.check_after(tally).await,
            Err(failure) => Err(failure),
        };
        let kind = |debug: String| debug.split('(').next().unwrap_or_default().to_owned();
        let pair = format!(
            "{}{} {} to {}",
            self.strategy,
            self.deletes,
            kind(format!("{:?}", self.source)),
            kind(format!("{:?}", self.target))
        );
        *tally.pairs.entry(pair).or_default() += 1;
        self.source.drop().await?;
        self.target.drop().await?;
        outcome
    }
}

async fn all_seeds() -> Done {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("TRANSLOAD_CRASH_FIRST").unwrap_or(0);
    let seeds = first..first + number("TRANSLOAD_CRASH_SEEDS").unwrap_or(SEEDS);
    let (began, count) = (Instant::now(), seeds.end - seeds.start);
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for number in seeds {
        if let Err(failure) = Seed::new(number)?.run(&mut tally).await {
            failures.push(format!("{failure:?}"));
        }
    }
    println!(
        "{count} seeds in {:.0} s, {} runners killed ({} had ended before), {}: lost/doubled = {}/{}",
        began.elapsed().as_secs_f64(),
        tally.killed,
        tally.ended_before,
        tally.pairs.iter().map(|(pair, seeds)| format!("{pair} {seeds}")).collect::<Vec<_>>().join(", "),
        tally.lost,
        tally.doubled,
    );
    if tally.killed < count / 2 {
        failures.push("hardly a runner was killed: the test has become tame".to_owned());
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

/// The work of a runner process: its report goes to stdout.
async fn child(work: &str) -> Done<RunStatus> {
    let work: Value = serde_json::from_str(work)?;
    // A commit that a killed runner has submitted may still be on its way at the server, which refuses the load of a run
    // that had not seen it. Such a run begins again.
    let options = RunnerOptions::default().parallelism(2).retries(5);
    let mut runner = Runner::new(default_registry()).options(options);
    for document in work["connections"].as_array().into_iter().flatten() {
        let connection = match document["url"].as_str() {
            Some(url) => Connection::from_url(url)?.named(document["name"].as_str().unwrap_or_default()),
            None => Connection::from_json(document.clone())?,
        };
        runner = runner.connection(connection);
    }
    let report = runner.run(&EtlJob::from_json(work["job"].clone())?).await;
    println!("{}", report.to_json());
    Ok(report.status)
}

fn main() -> ExitCode {
    install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Ok(work) = std::env::var(CHILD) {
        return match runtime.block_on(child(&work)) {
            Ok(RunStatus::Succeeded) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("{failure:?}");
                ExitCode::from(2)
            }
        };
    }
    let trial = Trial::test("crash::target_equals_source_after_kills", move || {
        runtime.block_on(all_seeds()).map_err(|failure| Failed::from(format!("{failure:?}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
