//! Opening a database read-only.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use transload_core::{Error, ErrorKind, Result};

use crate::config::{OnTypeMismatch, SqliteConfig};
use crate::error::sqlite_error;

/// Where a database is and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    busy_timeout: Duration,
    pub(crate) on_type_mismatch: OnTypeMismatch,
}

impl Database {
    pub(crate) fn new(config: SqliteConfig) -> Self {
        Self {
            path: PathBuf::from(config.path),
            busy_timeout: Duration::from_millis(config.busy_timeout.into()),
            on_type_mismatch: config.on_type_mismatch,
        }
    }

    /// Opens the file. It is read-only twice: by the way it is opened and by `query_only`.
    pub(crate) fn open(&self) -> Result<Connection> {
        // SQLite says "cannot open" to all of it; the operating system knows better.
        let file = std::fs::File::open(&self.path).and_then(|file| file.metadata());
        let file = file.map_err(|error| io_error(&self.path, error))?;
        if !file.is_file() {
            return Err(Error::config(format!("{} is not a file", self.path.display()))
                .with("path", self.path.display())
                .hint("name the database file itself"));
        }
        let wrong = |error| sqlite_error("open the database", &self.path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(wrong)?;
        connection.busy_timeout(self.busy_timeout).map_err(wrong)?;
        connection.pragma_update(None, "query_only", true).map_err(wrong)?;
        // Opening reads nothing: only this looks at the header.
        connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0)).map_err(wrong)?;
        Ok(connection)
    }

    pub(crate) fn error(&self, what: &str, error: rusqlite::Error) -> Error {
        sqlite_error(what, &self.path, error)
    }
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorKind::NotFound, "check the path; opening never creates a database")
        }
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Permission, "give the user that runs this process the right to read the file")
        }
        io::ErrorKind::IsADirectory => (ErrorKind::Config, "name the database file itself"),
        _ => (ErrorKind::Unreachable, "check the disk or mount that the file is on"),
    };
    Error::new(kind, format!("cannot open the database {}", path.display()))
        .with("path", path.display())
        .source_error(error)
        .hint(hint)
}
