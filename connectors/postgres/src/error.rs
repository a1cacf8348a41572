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
    // pgbouncer has no other code, whatever it refuses.
    (
        "08P01",
        ErrorKind::Unreachable,
        true,
        "the server or a pooler in front of it refused; its message says why",
    ),
    ("0A", ErrorKind::Unsupported, false, "see the server's message"),
    ("22", ErrorKind::Data, false, "see the server's message"),
    ("25006", ErrorKind::Permission, false, "the session is read-only on purpose"),
    (
        "25P02",
        ErrorKind::Unreachable,
        true,
        "an earlier statement of this session failed or was cancelled; run again",
    ),
    (
        "25P04",
        ErrorKind::Timeout,
        false,
        "the server ends long transactions: raise `transaction_timeout` for this user",
    ),
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
    ("HV00N", ErrorKind::Unreachable, true, "the server behind a foreign table cannot be reached; try later"),
    ("XX", ErrorKind::Unreachable, false, "the server has an internal error; see its log"),
];

/// Codes by which a server says that it has nothing to spare: connections, memory, locks, or on a standby the
/// rows that its recovery wants to remove.
const OVERLOAD: &[&str] = &["53200", "53300", "40001", "40P01", "55P03"];

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
    match error.as_db_error() {
        Some(server) => classified(server.code().code(), server.message(), server.detail(), server.hint()),
        None => lost(BROKE, error),
    }
}

const BROKE: &str = "the connection to PostgreSQL broke";

/// An error of the socket of an open connection. Reading again is safe.
pub(crate) fn io_error(error: io::Error) -> Error {
    let (kind, hint) = match of_cause(&error).unwrap_or(UNREACHABLE) {
        (ErrorKind::Timeout, _) => (ErrorKind::Timeout, "check the network between, and run again"),
        other => other,
    };
    Error::new(kind, BROKE).retryable(kind != ErrorKind::Tls).source_error(error).hint(hint)
}

/// The server, or the way to it, hangs.
pub(crate) fn silence(most: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("PostgreSQL was silent for {} s", most.as_secs())).hint(
        "check the network between, or raise `read_timeout` if a query may take so long for its first row",
    )
}

/// The server's own words: the body of an ErrorResponse, fields of a type byte and a text that ends with 0.
///
/// Source: PostgreSQL manual, "Error and Notice Message Fields".
pub(crate) fn server_error(body: &[u8]) -> Error {
    let field = |wanted: u8| {
        let fields = body.split(|byte| *byte == 0).filter_map(<[u8]>::split_first);
        let mut texts =
            fields.filter(|(kind, _)| **kind == wanted).map(|(_, text)| String::from_utf8_lossy(text));
        texts.next()
    };
    let (code, message) = (field(b'C').unwrap_or_default(), field(b'M').unwrap_or_default());
    // Codes of this one differ between versions and mean much else; the server's routine is exact.
    if field(b'R').as_deref() == Some("ImportSnapshot") {
        return Error::new(ErrorKind::Unreachable, "the snapshot of this read is gone")
            .with("sqlstate", code)
            .with("detail", message)
            .hint("the connection that holds it has ended; run again");
    }
    classified(&code, &message, field(b'D').as_deref(), field(b'H').as_deref())
}

fn classified(code: &str, message: &str, detail: Option<&str>, server_hint: Option<&str>) -> Error {
    let (kind, retryable, hint) = classify(code);
    let mut error = Error::new(kind, message.to_owned()).retryable(retryable).with("sqlstate", code);
    error = error.overload(OVERLOAD.contains(&code));
    if let Some(detail) = detail {
        error = error.with("detail", detail);
    }
    error.hint(server_hint.unwrap_or(hint).to_owned())
}

/// No socket could be opened.
pub(crate) fn socket_error(address: &str, error: io::Error) -> Error {
    let (kind, hint) = of_cause(&error).unwrap_or(UNREACHABLE);
    let what = format!("cannot connect to PostgreSQL at {address}");
    Error::new(kind, what).source_error(error).hint(hint).operation("connect").with("server", address)
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

const UNREACHABLE: (ErrorKind, &str) =
    (ErrorKind::Unreachable, "check host and port, and that the server runs");
const TIMEOUT: (ErrorKind, &str) =
    (ErrorKind::Timeout, "check host, port and firewalls, or raise `connect_timeout`");
const TLS: (ErrorKind, &str) =
    (ErrorKind::Tls, "check `tls`, `tls_ca` and the name in the server's certificate");

/// What an error or one of its causes tells by its type.
fn of_cause(error: &(dyn std::error::Error + 'static)) -> Option<(ErrorKind, &'static str)> {
    let (mut cause, mut found) = (Some(error), None);
    while let Some(this) = cause {
        if this.is::<rustls::Error>() {
            return Some(TLS);
        }
        if let Some(io) = this.downcast_ref::<io::Error>() {
            // rustls errors come wrapped in an I/O error.
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return Some(TLS);
            }
            if io.kind() == io::ErrorKind::TimedOut {
                found = Some(TIMEOUT);
            }
        }
        cause = this.source();
    }
    found
}

/// Errors that no server sent.
fn lost(what: &str, error: tokio_postgres::Error) -> Error {
    // Some have no cause to look at; their texts are fixed in the driver.
    let (kind, hint) = match error.to_string().as_str() {
        "invalid configuration" => {
            (ErrorKind::Auth, "the server wants a password; give `credentials` or a `passfile` that fits")
        }
        text if text.starts_with("error performing TLS handshake") => {
            (ErrorKind::Tls, "the server does not speak TLS, or its certificate was refused")
        }
        text if text.starts_with("authentication error") => (ErrorKind::Auth, "check user and password"),
        _ => error.source().and_then(of_cause).unwrap_or(UNREACHABLE),
    };
    Error::new(kind, what.to_owned()).source_error(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_kept() {
        let error = server_error(b"SERROR\0VERROR\0C42501\0Mpermission denied\0Dwhy\0Hask\0\0");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Permission, "permission denied"));
        let text = error.to_string();
        assert!(text.contains("why") && text.contains("ask"), "{text}");
        server_error(b"no fields at all");
    }

    #[test]
    fn a_server_without_anything_to_spare_is_overloaded() {
        for (code, overloaded) in [
            ("53300", true),
            ("53200", true),
            ("40001", true),
            ("40P01", true),
            ("55P03", true),
            ("57P01", false),
        ] {
            let body = format!("C{code}\0Mno\0\0");
            assert_eq!(server_error(body.as_bytes()).is_overload(), overloaded, "{code}");
        }
    }

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
            ("25P02", ErrorKind::Unreachable, true),
            ("25P04", ErrorKind::Timeout, false),
            ("HV00N", ErrorKind::Unreachable, true),
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
