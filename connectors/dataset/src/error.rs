//! Errors of the file system and of the Parquet writer, classified from their codes.

use std::io;
use std::path::Path;

use parquet::errors::ParquetError;
use transload_core::{Error, ErrorKind};

/// The one table: what an I/O error means for a caller.
fn kind_of(kind: io::ErrorKind) -> (ErrorKind, &'static str) {
    use io::ErrorKind as Io;
    match kind {
        Io::NotFound => (ErrorKind::NotFound, "check the path"),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            (ErrorKind::Permission, "let this user write there, or choose another `path`")
        }
        Io::NotADirectory | Io::AlreadyExists | Io::IsADirectory => {
            (ErrorKind::Config, "a part of `path` is not a folder; choose another `path`")
        }
        Io::StorageFull | Io::QuotaExceeded => {
            (ErrorKind::Unreachable, "the disk is full; make room and run the job again")
        }
        Io::Unsupported | Io::InvalidInput => (ErrorKind::Unsupported, "use a local POSIX file system"),
        _ => (ErrorKind::Unreachable, "check the disk or mount"),
    }
}

/// `what` says what was to be done with the path: "create folder".
pub(crate) fn io_error(what: &str, path: &Path, error: io::Error) -> Error {
    let (kind, hint) = kind_of(error.kind());
    Error::new(kind, format!("could not {what} {}", path.display()))
        .with("path", path.display())
        .retryable(false)
        .source_error(error)
        .hint(hint)
}

pub(crate) fn parquet_error(what: &str, path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => io_error(what, path, *error),
            Err(source) => broken(what, path).source_error(source),
        },
        error => broken(what, path).source_error(error),
    }
}

fn broken(what: &str, path: &Path) -> Error {
    Error::data(format!("could not {what} {}", path.display()))
        .with("path", path.display())
        .hint("the file is damaged or was not written by transload")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_have_kinds_and_paths() {
        for (io, kind) in [
            (io::ErrorKind::NotFound, ErrorKind::NotFound),
            (io::ErrorKind::PermissionDenied, ErrorKind::Permission),
            (io::ErrorKind::NotADirectory, ErrorKind::Config),
            (io::ErrorKind::StorageFull, ErrorKind::Unreachable),
        ] {
            let error = io_error("create folder", Path::new("/x/y"), io::Error::from(io));
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains("/x/y"));
            assert!(error.hint_text().is_some());
        }
    }
}
