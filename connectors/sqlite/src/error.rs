//! How SQLite's result codes become transload's errors.

use std::path::Path;

use rusqlite::ErrorCode;
use transload_core::{Error, ErrorKind};

/// Kind, whether to try again, and what to do, by primary result code.
fn classify(code: ErrorCode) -> (ErrorKind, bool, &'static str) {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => (
            ErrorKind::Conflict,
            true,
            "another process holds a lock: try again, raise `busy_timeout`, or use journal_mode=WAL",
        ),
        ErrorCode::NotADatabase => {
            (ErrorKind::Data, false, "the file is not an SQLite database, or it is encrypted: check `path`")
        }
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Data,
            false,
            "the database is damaged: run PRAGMA integrity_check and restore a backup",
        ),
        ErrorCode::TooBig => (ErrorKind::Data, false, "leave the column with the huge value out"),
        ErrorCode::CannotOpen => (
            ErrorKind::Permission,
            false,
            "the file or its -wal and -shm neighbours may not be read: check the rights of file and folder",
        ),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly => {
            (ErrorKind::Permission, false, "check the rights of the file and its folder")
        }
        ErrorCode::SystemIoFailure | ErrorCode::DiskFull => {
            (ErrorKind::Unreachable, true, "check the disk or mount that the file is on")
        }
        ErrorCode::SchemaChanged => {
            (ErrorKind::SchemaChanged, true, "the table was changed meanwhile: run again")
        }
        ErrorCode::OperationInterrupted | ErrorCode::OperationAborted => {
            (ErrorKind::Cancelled, false, "run again")
        }
        ErrorCode::NoLargeFileSupport => {
            (ErrorKind::Unsupported, false, "this system cannot open files of that size")
        }
        ErrorCode::OutOfMemory => (ErrorKind::Internal, true, "give the process more memory"),
        // A statement that SQLite refuses: a view or virtual table that does not work here, or a defect.
        ErrorCode::Unknown => (
            ErrorKind::Unsupported,
            false,
            "if it is a view or virtual table, check that it works in the sqlite3 shell",
        ),
        _ => (ErrorKind::Internal, false, "report this with the version of transload"),
    }
}

/// Whether others keep the file locked; fewer reads at once may help.
fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// An SQLite error while `what` was done.
pub(crate) fn sqlite_error(what: &str, path: &Path, error: rusqlite::Error) -> Error {
    let (kind, retryable, hint) = match error.sqlite_error_code() {
        Some(code) => classify(code),
        None => (ErrorKind::Internal, false, "report this with the version of transload"),
    };
    let mut classified = Error::new(kind, format!("cannot {what}"))
        .with("path", path.display())
        .retryable(retryable)
        .overload(is_busy(&error))
        .hint(hint);
    if let Some(failure) = error.sqlite_error() {
        classified = classified.with("code", failure.extended_code);
    }
    classified.source_error(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_and_extended_codes() {
        for (code, kind, retryable) in [
            (5, ErrorKind::Conflict, true),
            (6, ErrorKind::Conflict, true),
            (517, ErrorKind::Conflict, true), // SQLITE_BUSY_SNAPSHOT
            (26, ErrorKind::Data, false),
            (11, ErrorKind::Data, false),
            (267, ErrorKind::Data, false), // SQLITE_CORRUPT_VTAB
            (14, ErrorKind::Permission, false),
            (3, ErrorKind::Permission, false),
            (8, ErrorKind::Permission, false),
            (10, ErrorKind::Unreachable, true),
            (9, ErrorKind::Cancelled, false),
            (1, ErrorKind::Unsupported, false),
            (21, ErrorKind::Internal, false),
        ] {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let error = sqlite_error("read", Path::new("x.db"), source);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}");
            assert_eq!(error.context_value("code"), Some(code.to_string().as_str()));
            assert_eq!(error.is_overload(), matches!(code, 5 | 6 | 517), "{code}");
            assert!(error.hint_text().is_some());
        }
    }
}
