//! Databases: one SQLite file each, in write-ahead mode, so that readers keep their snapshot while others write.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::{catalog, functions};
use crate::error::{Result, SqlError};

/// Counters that no transaction takes back.
#[derive(Debug, Default)]
struct Counters {
    /// `@@DBTS`: the last row version that was given out.
    row_version: u64,
    /// The first row version of each session's open transaction.
    active: BTreeMap<u16, u64>,
    /// The last identity of each table, and its step.
    identities: HashMap<i64, (i64, i64)>,
    last_identity: HashMap<u16, i64>,
}

/// A database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) number: u16,
    path: PathBuf,
    /// ALLOW_SNAPSHOT_ISOLATION
    pub(crate) snapshot: AtomicBool,
    /// READ_COMMITTED_SNAPSHOT
    pub(crate) versioned: AtomicBool,
    counters: Mutex<Counters>,
}

impl Database {
    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that knows T-SQL's functions and ways to compare.
    pub(crate) fn open(self: &Arc<Self>, session: u16) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;",
        )?;
        functions::register(&connection, self, session)?;
        Ok(connection)
    }

    pub(crate) fn next_row_version(&self, session: u16) -> u64 {
        let mut counters = self.counters();
        counters.row_version += 1;
        let version = counters.row_version;
        counters.active.entry(session).or_insert(version);
        version
    }

    /// `@@DBTS`
    pub(crate) fn row_version(&self) -> u64 {
        self.counters().row_version
    }

    /// `MIN_ACTIVE_ROWVERSION()`: the lowest row version that is not committed, or the next one.
    pub(crate) fn lowest_active(&self) -> u64 {
        let counters = self.counters();
        counters.active.values().min().copied().unwrap_or(counters.row_version + 1)
    }

    /// A session's transaction is over.
    pub(crate) fn settle(&self, session: u16) {
        self.counters().active.remove(&session);
    }

    pub(crate) fn set_identity(&self, table: i64, last: i64, step: i64) {
        self.counters().identities.insert(table, (last, step));
    }

    /// A value that was put in explicitly: later ones come after it.
    pub(crate) fn raise_identity(&self, table: i64, value: i64) {
        if let Some((last, step)) = self.counters().identities.get_mut(&table)
            && (value - *last) * step.signum() > 0
        {
            *last = value;
        }
    }

    pub(crate) fn next_identity(&self, table: i64, session: u16) -> Option<i64> {
        let mut counters = self.counters();
        let (last, step) = counters.identities.get_mut(&table)?;
        *last += *step;
        let value = *last;
        counters.last_identity.insert(session, value);
        Some(value)
    }

    /// `SCOPE_IDENTITY()`
    pub(crate) fn last_identity(&self, session: u16) -> Option<i64> {
        self.counters().last_identity.get(&session).copied()
    }
}

/// The databases of a server.
#[derive(Debug)]
pub(crate) struct Databases {
    folder: tempfile::TempDir,
    all: Mutex<Vec<Arc<Database>>>,
}

impl Databases {
    /// `master`, `shop` (which allows snapshots) and `plain` (which does not).
    pub(crate) fn make(snapshots: bool) -> Result<Self> {
        let failed = |error| SqlError::new(1807, 16, format!("cannot make a folder for databases: {error}"));
        let databases = Self { folder: tempfile::tempdir().map_err(failed)?, all: Mutex::default() };
        for name in ["master", "tempdb", "shop", "plain"] {
            let database = databases.create(name)?;
            database.snapshot.store(snapshots && name == "shop", Ordering::Relaxed);
        }
        Ok(databases)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Database>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Database>> {
        self.all().clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Database>> {
        self.all().iter().find(|database| database.name.eq_ignore_ascii_case(name)).cloned()
    }

    pub(crate) fn create(&self, name: &str) -> Result<Arc<Database>> {
        if self.find(name).is_some() {
            let text = format!("Database '{name}' already exists. Choose a different database name.");
            return Err(SqlError::new(1801, 16, text));
        }
        let number = self.all().iter().map(|database| database.number).max().unwrap_or(0) + 1;
        let database = Arc::new(Database {
            name: name.to_owned(),
            number,
            path: self.folder.path().join(format!("{number}.sqlite")),
            snapshot: AtomicBool::new(false),
            versioned: AtomicBool::new(false),
            counters: Mutex::default(),
        });
        database.open(0)?.execute_batch(catalog::TABLES)?;
        self.all().push(database.clone());
        Ok(database)
    }

    pub(crate) fn drop(&self, name: &str) -> Result<()> {
        let mut all = self.all();
        let before = all.len();
        all.retain(|database| !database.name.eq_ignore_ascii_case(name));
        if all.len() == before {
            let text = format!(
                "Cannot drop the database '{name}', because it does not exist or you do not have permission."
            );
            return Err(SqlError::new(3701, 11, text));
        }
        Ok(())
    }
}
