//! Errors of the server and of the way there, classified from SQLSTATE and error types.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use transload_core::{Error, ErrorKind};

/// What a SQLSTATE means for a caller: kind, whether another try may help, what to do. The longest prefix
/// wins.
///
/// Source: PostgreSQL manual, appendix A.
const CODES: &[(&str, ErrorKind, bool, &str)] = &[
    ("08", ErrorKind::Unreachable, true, "check the network and run again"),
    ("0A", ErrorKind::Unsupported, false, "see the server's message"),
    ("22", ErrorKind::Data, false, "see the server's message"),
    ("25006", ErrorKind::Permission, false, "the session is read-only on purpose"),
    ("28", ErrorKind::Auth, false, "check user, password and pg_hba.conf"),
    ("3D000", ErrorKind::NotFound, false, "check the name of the database"),
    ("3F000", ErrorKind::NotFound, false, "check the name of the schema"),
    ("40", ErrorKind::Conflict, true, "run again"),
    ("42501", ErrorKind::Permission, false, "grant SELECT on the table and USAGE on its schema"),
    ("42P01", ErrorKind::NotFound, false, "check the name of the table"),
    ("42703", ErrorKind::NotFound, false, "check the name of the column"),
    ("42", ErrorKind::Internal, false, "report this statement to the developers of transload"),
    ("53300", ErrorKind::RateLimited, true, "too many connections: lower the parallelism or try later"),
    ("53", ErrorKind::Unreachable, true, "the server is out of resources; try later"),
    ("55P03", ErrorKind::Conflict, true, "a lock is held; try later"),
    ("57014", ErrorKind::Timeout, false, "raise `statement_timeout`, or somebody cancelled the query"),
    ("57P", ErrorKind::Unreachable, true, "the server is restarting or ended the session; try later"),
    ("58", ErrorKind::Unreachable, false, "the server has trouble with its disk; see its log"),
    ("XX", ErrorKind::Unreachable, false, "the server has an internal error; see its log"),
];

fn classify(code: &str) -> (ErrorKind, bool, &'static str) {
    CODES
        .iter()
        .filter(|(prefix, ..)| code.starts_with(prefix))
        .max_by_key(|(prefix, ..)| prefix.len())
        .map_or((ErrorKind::Data, false, "see the server's message"), |(_, kind, retry, hint)| {
            (*kind, *retry, *hint)
        })
}

/// An error of an open connection.
pub(crate) fn error(error: tokio_postgres::Error) -> Error {
    if let Some(server) = error.as_db_error() {
        let code = server.code().code().to_owned();
        let (kind, retryable, hint) = classify(&code);
        let mut classified =
            Error::new(kind, server.message().to_owned()).retryable(retryable).with("sqlstate", code);
        if let Some(detail) = server.detail() {
            classified = classified.with("detail", detail);
        }
        return match server.hint() {
            Some(server_hint) => classified.hint(server_hint.to_owned()),
            None => classified.hint(hint),
        };
    }
    lost("the connection to PostgreSQL broke", error)
}

/// An error while a connection is opened.
pub(crate) fn connect_error(address: &str, failure: tokio_postgres::Error) -> Error {
    let classified = if failure.as_db_error().is_some() {
        error(failure)
    } else {
        lost(&format!("cannot connect to PostgreSQL at {address}"), failure)
    };
    classified.operation("connect").with("server", address)
}

/// Nothing was heard of a server in time.
pub(crate) fn connect_timeout(address: &str, timeout: Duration) -> Error {
    let what = format!("PostgreSQL at {address} did not answer within {} s", timeout.as_secs());
    Error::new(ErrorKind::Timeout, what)
        .operation("connect")
        .with("server", address)
        .hint("check host, port and firewalls, or raise `connect_timeout`")
}

/// Errors that no server sent: told apart by the type of their cause.
fn lost(what: &str, error: tokio_postgres::Error) -> Error {
    let mut cause = error.source();
    let mut found = (ErrorKind::Unreachable, "check host and port, and that the server runs");
    while let Some(this) = cause {
        if this.is::<rustls::Error>() {
            found = (ErrorKind::Tls, "check `tls`, `tls_ca` and the name in the server's certificate");
            break;
        }
        if let Some(io) = this.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::TimedOut {
                found = (ErrorKind::Timeout, "check host, port and firewalls, or raise `connect_timeout`");
            }
            // rustls errors come wrapped in an I/O error.
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                found = (ErrorKind::Tls, "check `tls`, `tls_ca` and the name in the server's certificate");
                break;
            }
        }
        cause = this.source();
    }
    // These two have no cause to look at; their texts are fixed in the driver.
    match error.to_string().as_str() {
        "invalid configuration" => {
            found = (ErrorKind::Auth, "the server wants a password; give `credentials`")
        }
        text if text.starts_with("error performing TLS handshake") => {
            found = (ErrorKind::Tls, "the server does not speak TLS, or its certificate was refused");
        }
        text if text.starts_with("authentication error") => {
            found = (ErrorKind::Auth, "check user and password");
        }
        _ => {}
    }
    Error::new(found.0, what.to_owned()).source_error(error).hint(found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_kinds() {
        for (code, kind, retryable) in [
            ("28P01", ErrorKind::Auth, false),
            ("28000", ErrorKind::Auth, false),
            ("3D000", ErrorKind::NotFound, false),
            ("42P01", ErrorKind::NotFound, false),
            ("42703", ErrorKind::NotFound, false),
            ("42501", ErrorKind::Permission, false),
            ("53300", ErrorKind::RateLimited, true),
            ("57014", ErrorKind::Timeout, false),
            ("57P01", ErrorKind::Unreachable, true),
            ("57P03", ErrorKind::Unreachable, true),
            ("40001", ErrorKind::Conflict, true),
            ("40P01", ErrorKind::Conflict, true),
            ("22P02", ErrorKind::Data, false),
            ("42601", ErrorKind::Internal, false),
            ("ZZ999", ErrorKind::Data, false),
        ] {
            let found = classify(code);
            assert_eq!((found.0, found.1), (kind, retryable), "{code}");
        }
    }
}
