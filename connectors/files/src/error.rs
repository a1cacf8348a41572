//! How errors of the operating system and of the Parquet reader become transload's.

use std::io;
use std::path::Path;

use parquet::errors::ParquetError;
use transload_core::{Error, ErrorKind};

/// Kind and hint of an I/O error.
fn classify(kind: io::ErrorKind) -> (ErrorKind, &'static str) {
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorKind::NotFound, "check the path; tables() lists what is there")
        }
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Permission, "give the user that runs this process the right to read it")
        }
        io::ErrorKind::TimedOut => (ErrorKind::Timeout, "try again; the file system did not answer in time"),
        io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::HostUnreachable => {
            (ErrorKind::Unreachable, "check the mount of the network file system")
        }
        io::ErrorKind::IsADirectory => {
            (ErrorKind::Config, "name a file, or a pattern such as `orders/*.parquet`")
        }
        // A short read means that the file shrank below what its own metadata said.
        io::ErrorKind::UnexpectedEof => (ErrorKind::Data, "check that the file is complete"),
        _ => (ErrorKind::Unreachable, "check the disk or mount that the file is on"),
    }
}

/// An I/O error while `what` was done to a file.
pub(crate) fn io_error(what: &str, path: &Path, error: io::Error) -> Error {
    let (kind, hint) = classify(error.kind());
    Error::new(kind, format!("cannot {what} {}", path.display()))
        .with("path", path.display())
        .source_error(error)
        .hint(hint)
}

/// An error of the Parquet reader.
pub(crate) fn parquet_error(path: &Path, error: ParquetError) -> Error {
    let (kind, hint) = match &error {
        ParquetError::NYI(_) => {
            (ErrorKind::Unsupported, "write the file again with a common encoding and compression")
        }
        _ => (ErrorKind::Data, "check that it is a complete Parquet file, or set `format`"),
    };
    Error::new(kind, format!("{} cannot be read as Parquet", path.display()))
        .with("path", path.display())
        .source_error(error)
        .hint(hint)
}

/// The file changed while it was read.
pub(crate) fn changed(path: &Path) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} changed while it was read", path.display()))
        .with("path", path.display())
        .retryable(true)
        .hint("run again when nothing writes to it; writers should write a new file and rename it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_kinds() {
        for (kind, expected) in [
            (io::ErrorKind::NotFound, ErrorKind::NotFound),
            (io::ErrorKind::PermissionDenied, ErrorKind::Permission),
            (io::ErrorKind::IsADirectory, ErrorKind::Config),
            (io::ErrorKind::TimedOut, ErrorKind::Timeout),
            (io::ErrorKind::UnexpectedEof, ErrorKind::Data),
            (io::ErrorKind::Other, ErrorKind::Unreachable),
        ] {
            let error = io_error("open", Path::new("/x/y"), io::Error::from(kind));
            assert_eq!(error.kind(), expected, "{kind}");
            assert!(error.hint_text().is_some() && error.message().contains("/x/y"));
        }
    }

    #[test]
    fn parquet_kinds() {
        let path = Path::new("a.parquet");
        assert_eq!(parquet_error(path, ParquetError::General("x".into())).kind(), ErrorKind::Data);
        assert_eq!(parquet_error(path, ParquetError::NYI("x".into())).kind(), ErrorKind::Unsupported);
        assert!(changed(path).is_retryable());
    }
}
