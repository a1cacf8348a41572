//! Choosing cases by capability, and running them as named tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use transload_core::connector::{Destination, Source};
use transload_core::schema::TableRef;
use transload_core::{Connection, Runner};

use crate::fixture::{DestinationFixture, Done, Failure, MemoryFixture, SourceFixture, Subject};
use crate::table::TestTable;

/// What a case may use: the connector under test, and names that no other case has.
#[derive(Debug)]
pub struct Ctx {
    /// The connector under test.
    pub subject: Subject,
    /// Different in every case of every process.
    pub unique: String,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    tables: Vec<TableRef>,
    datasets: Vec<String>,
}

static CASES: AtomicU32 = AtomicU32::new(0);

impl Ctx {
    /// A fresh context.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        let unique = format!(
            "t{}_{}_{:06x}",
            std::process::id(),
            CASES.fetch_add(1, Ordering::Relaxed),
            rand::random::<u32>() & 0xff_ffff
        );
        Self { subject, unique, made: Mutex::default() }
    }

    /// The source fixture.
    ///
    /// # Errors
    /// None is there: a defect of the suite, which lists source cases for sources only.
    pub fn tables(&self) -> Done<&Arc<dyn SourceFixture>> {
        self.subject.source.as_ref().ok_or_else(|| Failure::new("this subject has no source fixture"))
    }

    /// The destination fixture.
    ///
    /// # Errors
    /// As [`Self::tables`].
    pub fn loaded(&self) -> Done<&Arc<dyn DestinationFixture>> {
        self.subject
            .destination
            .as_ref()
            .ok_or_else(|| Failure::new("this subject has no destination fixture"))
    }

    /// The connection under test.
    ///
    /// # Errors
    /// A missing server.
    pub fn connection(&self) -> Done<Connection> {
        self.subject.connection()
    }

    /// Opens the connection as a source.
    ///
    /// # Errors
    /// Those of the connector.
    pub async fn open_source(&self) -> Done<Arc<dyn Source>> {
        Ok(self.subject.registry().source(&self.connection()?).await?)
    }

    /// Opens the connection as a destination.
    ///
    /// # Errors
    /// Those of the connector.
    pub async fn open_destination(&self) -> Done<Arc<dyn Destination>> {
        Ok(self.subject.registry().destination(&self.connection()?).await?)
    }

    /// A name that starts with `what` and is unique.
    #[must_use]
    pub fn name(&self, what: &str) -> String {
        format!("{what}_{}", self.unique)
    }

    /// Creates a table at the source, to be dropped after the case.
    ///
    /// # Errors
    /// Those of the fixture.
    pub async fn create(&self, table: &TestTable) -> Done<TableRef> {
        let made = self.tables()?.create(table).await.map_err(|failure| failure.during("make the table"))?;
        self.made().tables.push(made.clone());
        Ok(made)
    }

    /// Drops a table and creates it with other rows.
    ///
    /// # Errors
    /// Those of the fixture.
    pub async fn recreate(&self, old: &TableRef, table: &TestTable) -> Done<TableRef> {
        self.tables()?.drop_table(old).await?;
        self.create(table).await
    }

    /// Adds rows to a table at the source.
    ///
    /// # Errors
    /// Those of the fixture.
    pub async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        self.tables()?.insert(table, rows).await.map_err(|failure| failure.during("insert rows"))
    }

    /// A dataset of this case, to be dropped after it.
    #[must_use]
    pub fn dataset(&self) -> String {
        let name = format!("transload_{}", self.unique);
        let mut made = self.made();
        if !made.datasets.contains(&name) {
            made.datasets.push(name.clone());
        }
        name
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what the case made.
    ///
    /// # Errors
    /// Those of the fixture.
    pub async fn clean(&self) -> Done {
        let Made { tables, datasets } = std::mem::take(&mut *self.made());
        for table in &tables {
            self.tables()?.drop_table(table).await?;
        }
        for dataset in &datasets {
            self.loaded()?.drop_dataset(dataset).await?;
        }
        Ok(())
    }
}

/// Two connectors at the ends of a run.
#[derive(Debug)]
pub struct Pair {
    /// Where rows come from.
    pub from: Ctx,
    /// Where they go.
    pub into: Ctx,
}

impl Pair {
    /// A fresh pair.
    #[must_use]
    pub fn new(from: Subject, into: Subject) -> Self {
        Self { from: Ctx::new(from), into: Ctx::new(into) }
    }

    /// A runner with the connections `from` and `into`.
    ///
    /// # Errors
    /// A missing server.
    pub fn runner(&self) -> Done<Runner> {
        self.runner_with(self.into.subject.connector())
    }

    /// As [`Self::runner`], with another connector in place of the destination's.
    ///
    /// # Errors
    /// A missing server.
    pub fn runner_with(&self, into: impl transload_core::connector::Connector + 'static) -> Done<Runner> {
        // Two stores of one connector type would hide each other, so the destination's is registered last
        // and the source keeps its own only if the types differ.
        let same = self.from.subject.connector().0.descriptor().kind == into.descriptor().kind;
        let registry = self.from.subject.registry().with(into);
        if same && !Arc::ptr_eq(&self.from.subject.connector().0, &self.into.subject.connector().0) {
            return Err(Failure::new("both ends have the same type: use one subject for both"));
        }
        Ok(Runner::new(registry)
            .connection(self.from.connection()?.named("from"))
            .connection(self.into.connection()?.named("into")))
    }

    async fn clean(&self) -> Done {
        self.from.clean().await?;
        self.into.clean().await
    }
}

type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A case before it runs.
pub struct Case {
    name: String,
    run: Box<dyn FnOnce() -> Done + Send>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// No case may take longer; one that hangs is a failure and not a hung build.
const LONGEST: Duration = Duration::from_secs(500);

impl Case {
    /// A case that needs nothing prepared.
    pub fn new(name: impl Into<String>, run: impl Future<Output = Done> + Send + 'static) -> Self {
        let run: Running = Box::pin(run);
        Self { name: name.into(), run: Box::new(move || blocking(run, Box::pin(async { Ok(()) }))) }
    }

    fn with_ctx<F, R>(name: String, subject: Subject, case: F) -> Self
    where
        F: FnOnce(Arc<Ctx>) -> R + Send + 'static,
        R: Future<Output = Done> + Send + 'static,
    {
        let run = move || {
            let ctx = Arc::new(Ctx::new(subject));
            let cleaning = Arc::clone(&ctx);
            blocking(Box::pin(case(ctx)), Box::pin(async move { cleaning.clean().await }))
        };
        Self { name, run: Box::new(run) }
    }

    fn with_pair<F, R>(name: String, from: Subject, into: Subject, case: F) -> Self
    where
        F: FnOnce(Arc<Pair>) -> R + Send + 'static,
        R: Future<Output = Done> + Send + 'static,
    {
        let run = move || {
            let pair = Arc::new(Pair::new(from, into));
            let cleaning = Arc::clone(&pair);
            blocking(Box::pin(case(pair)), Box::pin(async move { cleaning.clean().await }))
        };
        Self { name, run: Box::new(run) }
    }

    fn into_trial(self) -> Trial {
        let run = self.run;
        Trial::test(self.name, move || run().map_err(|failure| Failed::from(format!("{failure:?}"))))
    }
}

/// Runs a case on a runtime of its own; cleans up whether it passed or not.
fn blocking(case: Running, clean: Running) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let task = tokio::spawn(tokio::time::timeout(LONGEST, case));
        let outcome = match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::new(format!("no end within {} s", LONGEST.as_secs()))),
            Err(panicked) => Err(Failure::new(format!("it panicked: {panicked}"))),
        };
        // Cleaning must not cover what went wrong before.
        outcome.and(clean.await.map_err(|failure| failure.during("clean up")))
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

/// Collects cases of one subject.
#[derive(Debug)]
pub struct Cases {
    subject: Subject,
    cases: Vec<Case>,
}

impl Cases {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Adds a case of this subject.
    pub fn add<F, R>(&mut self, name: &str, case: F)
    where
        F: FnOnce(Arc<Ctx>) -> R + Send + 'static,
        R: Future<Output = Done> + Send + 'static,
    {
        let name = format!("{}::{name}", self.subject.name);
        self.cases.push(Case::with_ctx(name, self.subject.clone(), case));
    }

    /// Adds a case with another connector at the other end.
    pub fn add_pair<F, R>(&mut self, name: &str, from: &Subject, into: &Subject, case: F)
    where
        F: FnOnce(Arc<Pair>) -> R + Send + 'static,
        R: Future<Output = Done> + Send + 'static,
    {
        let name = format!("{}::{name}", self.subject.name);
        self.cases.push(Case::with_pair(name, from.clone(), into.clone(), case));
    }
}

/// All cases of a subject: those of its capabilities, and runs from it into memory and from memory into it.
#[must_use]
pub fn cases_of(subject: &Subject) -> Vec<Case> {
    let mut cases = Cases { subject: subject.clone(), cases: Vec::new() };
    crate::connection::add(&mut cases);
    crate::source::add(&mut cases);
    crate::destination::add(&mut cases);
    let memory = if subject.capability().durable || subject.name != "memory" {
        MemoryFixture::subject("suite-other-end")
    } else {
        subject.clone()
    };
    if subject.source.is_some() {
        crate::runner::add(&mut cases, "run_from", subject, &memory);
    }
    if subject.destination.is_some() && subject.name != "memory" {
        crate::runner::add(&mut cases, "run_into", &memory, subject);
    }
    cases.cases
}

/// Runs of one connector into another.
#[must_use]
pub fn pair_cases(from: &Subject, into: &Subject) -> Vec<Case> {
    let mut cases = Cases { subject: from.clone(), cases: Vec::new() };
    crate::runner::add(&mut cases, &format!("into_{}", into.name), from, into);
    cases.cases
}

/// Runs cases as named tests, with the arguments of the command line (`--list`, `--exact` and so on).
#[must_use]
pub fn run_cases(cases: Vec<Case>) -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, cases.into_iter().map(Case::into_trial).collect()).exit_code()
}

/// The `main` of a connector's `tests/behaviour.rs`.
#[must_use]
pub fn run(subjects: &[Subject]) -> ExitCode {
    run_cases(subjects.iter().flat_map(cases_of).collect())
}
