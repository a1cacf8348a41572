//! Errors of the server and of the way there, classified from vendor codes, SQLSTATE and error types.

use std::io;
use std::time::Duration;

use transload_core::{Error, ErrorKind};

use crate::protocol::Parser;

/// What a vendor's number means for a caller: kind, whether another try may help, what to do.
///
/// Sources: "Server Error Message Reference" of the MySQL manual, "MariaDB Error Codes" of the MariaDB manual. Up to
/// 1899 both have the same numbers.
const CODES: &[(u16, ErrorKind, bool, &str)] = &[
    (1021, ErrorKind::Unreachable, true, "the server's disk is full; see its log"),
    (1037, ErrorKind::Unreachable, true, "the server is out of memory; try later"),
    (1038, ErrorKind::Unreachable, true, "the server is out of memory; try later"),
    (1040, ErrorKind::RateLimited, true, "too many connections: lower the parallelism or try later"),
    (1041, ErrorKind::Unreachable, true, "the server is out of memory; try later"),
    (1044, ErrorKind::Permission, false, "grant SELECT on the tables of the database"),
    (1045, ErrorKind::Auth, false, "check user, password, and the hosts that the user may come from"),
    (1046, ErrorKind::Config, false, "give `database`, or the schema of the table"),
    (1047, ErrorKind::Unsupported, false, "is it a proxy that does not speak the whole protocol?"),
    (1049, ErrorKind::NotFound, false, "check the name of the database"),
    (1053, ErrorKind::Unreachable, true, "the server is shutting down; try later"),
    (1054, ErrorKind::NotFound, false, "check the name of the column"),
    (1064, ErrorKind::Internal, false, "report this statement to the developers of transload"),
    (1080, ErrorKind::Unreachable, true, "somebody ended the connection; run again"),
    (1114, ErrorKind::Unreachable, true, "a table of the server is full; see its log"),
    (1129, ErrorKind::RateLimited, true, "the server blocks this host after too many errors: FLUSH HOSTS"),
    (1130, ErrorKind::Auth, false, "the server takes no connections from this host: check the user's hosts"),
    (1132, ErrorKind::Auth, false, "check user and password"),
    (1142, ErrorKind::Permission, false, "grant SELECT on the table"),
    (1143, ErrorKind::Permission, false, "grant SELECT on the column"),
    (1146, ErrorKind::NotFound, false, "check the name of the table, or list the tables with tables()"),
    (1152, ErrorKind::Unreachable, true, "the server ended the connection; run again"),
    (1153, ErrorKind::Data, false, "raise `max_allowed_packet` of the server above its largest row"),
    (1156, ErrorKind::Unreachable, true, "check the network and run again"),
    (1157, ErrorKind::Unreachable, true, "check the network and run again"),
    (1158, ErrorKind::Unreachable, true, "check the network and run again"),
    (1159, ErrorKind::Unreachable, true, "check the network and run again"),
    (1160, ErrorKind::Unreachable, true, "check the network and run again"),
    (1161, ErrorKind::Unreachable, true, "the server waited too long: raise `net_write_timeout`"),
    (1180, ErrorKind::Conflict, true, "run again"),
    (1193, ErrorKind::Config, false, "check the names in `variables`"),
    (1194, ErrorKind::Data, false, "the table is damaged: repair it at the server"),
    (1195, ErrorKind::Data, false, "the table is damaged: repair it at the server"),
    (1203, ErrorKind::RateLimited, true, "the user has too many connections: lower the parallelism"),
    (1205, ErrorKind::Conflict, true, "a lock is held; try later"),
    (1213, ErrorKind::Conflict, true, "run again"),
    (1226, ErrorKind::RateLimited, true, "the user has used up what the server allows; try later"),
    (1227, ErrorKind::Permission, false, "grant the privilege that the server names"),
    (1231, ErrorKind::Config, false, "check the values in `variables`"),
    (1232, ErrorKind::Config, false, "check the values in `variables`"),
    (1238, ErrorKind::Config, false, "check the names in `variables`"),
    (1251, ErrorKind::Unsupported, false, "give the user another authentication plugin"),
    (1290, ErrorKind::Permission, false, "the server is started in a way that forbids this"),
    (1296, ErrorKind::Unreachable, true, "the server behind the table cannot be reached; try later"),
    (1317, ErrorKind::Timeout, false, "somebody cancelled the query"),
    (1356, ErrorKind::Data, false, "the view names what is not there, or what its definer may not read"),
    (1370, ErrorKind::Permission, false, "grant EXECUTE on the routine that the view calls"),
    (1412, ErrorKind::Conflict, true, "the table was changed while it was looked at; run again"),
    (1429, ErrorKind::Unreachable, true, "the server behind the table cannot be reached; try later"),
    (1430, ErrorKind::Unreachable, true, "the server behind the table cannot be reached; try later"),
    (1449, ErrorKind::Permission, false, "the user who defined the view is not there any more"),
    (1524, ErrorKind::Unsupported, false, "give the user another authentication plugin"),
    (1614, ErrorKind::Conflict, true, "run again"),
    (1615, ErrorKind::Conflict, true, "the table was changed while it was looked at; run again"),
    (1698, ErrorKind::Auth, false, "the user logs in by a socket of the server's machine only"),
    (1792, ErrorKind::Permission, false, "the session is read-only on purpose"),
    (1820, ErrorKind::Auth, false, "the password has expired: set a new one"),
    (1862, ErrorKind::Auth, false, "the password has expired: set a new one"),
    (1927, ErrorKind::Unreachable, true, "somebody ended the connection; run again"),
    (1969, ErrorKind::Timeout, false, "raise `statement_timeout`, or the server's `max_statement_time`"),
    (3024, ErrorKind::Timeout, false, "raise `statement_timeout`, or the server's `max_execution_time`"),
    (3118, ErrorKind::Auth, false, "the account is locked: ALTER USER ... ACCOUNT UNLOCK"),
    (
        3159,
        ErrorKind::Tls,
        false,
        "the server takes encrypted connections only: set `tls` to `require` or more",
    ),
    (3169, ErrorKind::Unreachable, true, "somebody ended the connection; run again"),
    (3707, ErrorKind::Unreachable, true, "the server is restarting; try later"),
    (4031, ErrorKind::Unreachable, true, "the server ended an idle connection; run again"),
    (4150, ErrorKind::Auth, false, "the account is locked after too many wrong passwords"),
    (4151, ErrorKind::Auth, false, "the account is locked: ALTER USER ... ACCOUNT UNLOCK"),
];

/// The same of what [`CODES`] does not name, by the class of its SQLSTATE.
const CLASSES: &[(&str, ErrorKind, bool, &str)] = &[
    ("08", ErrorKind::Unreachable, true, "check the network and run again"),
    ("0A", ErrorKind::Unsupported, false, "see the server's message"),
    ("22", ErrorKind::Data, false, "see the server's message"),
    ("25", ErrorKind::Permission, false, "the session is read-only on purpose"),
    ("28", ErrorKind::Auth, false, "check user and password"),
    ("40", ErrorKind::Conflict, true, "run again"),
    ("70", ErrorKind::Timeout, false, "somebody cancelled the query"),
    ("42", ErrorKind::Internal, false, "report this statement to the developers of transload"),
];

/// Codes by which a server says that it has nothing to spare.
const OVERLOAD: &[u16] = &[1037, 1038, 1040, 1041, 1203, 1205, 1213, 1226];

fn classify(code: u16, state: &str) -> (ErrorKind, bool, &'static str) {
    let by_code =
        CODES.iter().find(|(known, ..)| *known == code).map(|(_, kind, retry, hint)| (*kind, *retry, *hint));
    let by_class = || {
        let class = CLASSES.iter().find(|(class, ..)| state.starts_with(class));
        class.map(|(_, kind, retry, hint)| (*kind, *retry, *hint))
    };
    by_code.or_else(by_class).unwrap_or((ErrorKind::Data, false, "see the server's message"))
}

/// The server's own words: an ERR packet, whole or without its first byte and code cut off.
pub(crate) fn server_error(payload: &[u8]) -> Error {
    let mut parser = Parser(payload.get(1..).unwrap_or_default());
    let code = parser.u16().unwrap_or(0);
    let (state, message) = match parser.0 {
        [b'#', rest @ ..] => rest.split_at(rest.len().min(5)),
        rest => (&b""[..], rest),
    };
    let (state, message) = (String::from_utf8_lossy(state), String::from_utf8_lossy(message));
    let (kind, retryable, hint) = classify(code, &state);
    let message = if message.is_empty() {
        format!("the server refused with error {code}")
    } else {
        message.into_owned()
    };
    Error::new(kind, message)
        .retryable(retryable)
        .overload(OVERLOAD.contains(&code))
        .with("code", code)
        .with("sqlstate", state)
        .hint(hint)
}

/// The server's number of an error that it sent.
pub(crate) fn code_of(error: &Error) -> Option<u16> {
    error.context_value("code")?.parse().ok()
}

/// An error of the socket of an open connection. Reading again is safe.
pub(crate) fn io_error(error: io::Error) -> Error {
    let (kind, hint) = match of_cause(&error).unwrap_or(UNREACHABLE) {
        (ErrorKind::Timeout, _) => (ErrorKind::Timeout, "check the network between, and run again"),
        other => other,
    };
    Error::new(kind, "the connection to MySQL broke")
        .retryable(kind != ErrorKind::Tls)
        .source_error(error)
        .hint(hint)
}

/// The server, or the way to it, hangs.
pub(crate) fn silence(most: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("MySQL was silent for {} s", most.as_secs())).hint(
        "check the network between, or raise `read_timeout` if a query may take so long for its first row",
    )
}

/// An error while a connection is opened.
pub(crate) fn connect_error(address: &str, error: Error) -> Error {
    error.operation("connect").with("server", address)
}

/// No socket could be opened, or it broke before the login was through.
pub(crate) fn socket_error(address: &str, error: io::Error) -> Error {
    let (kind, hint) = of_cause(&error).unwrap_or(UNREACHABLE);
    let what = format!("cannot connect to MySQL at {address}");
    Error::new(kind, what).source_error(error).hint(hint)
}

/// Nothing was heard of a server in time.
pub(crate) fn connect_timeout(address: &str, timeout: Duration) -> Error {
    let what = format!("MySQL at {address} did not answer within {} s", timeout.as_secs());
    Error::new(ErrorKind::Timeout, what).hint("check host, port and firewalls, or raise `connect_timeout`")
}

const UNREACHABLE: (ErrorKind, &str) =
    (ErrorKind::Unreachable, "check host and port, and that the server runs");
const TIMEOUT: (ErrorKind, &str) =
    (ErrorKind::Timeout, "check host, port and firewalls, or raise `connect_timeout`");
const TLS: (ErrorKind, &str) =
    (ErrorKind::Tls, "check `tls`, `tls_ca` and the name in the server's certificate");

/// What an error tells by its type.
fn of_cause(error: &io::Error) -> Option<(ErrorKind, &'static str)> {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return Some(TLS);
    }
    (error.kind() == io::ErrorKind::TimedOut).then_some(TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u16, state: &str, message: &str) -> Vec<u8> {
        [&[0xff], code.to_le_bytes().as_slice(), b"#", state.as_bytes(), message.as_bytes()].concat()
    }

    #[test]
    fn the_servers_words_are_kept() {
        let error = server_error(&packet(1142, "42000", "SELECT command denied"));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Permission, "SELECT command denied"));
        assert_eq!((code_of(&error), error.context_value("sqlstate")), (Some(1142), Some("42000")));
        // Before the login, servers leave the SQLSTATE out.
        let error =
            server_error(&[&[0xff], 1040_u16.to_le_bytes().as_slice(), b"Too many connections"].concat());
        assert!(error.kind() == ErrorKind::RateLimited && error.is_retryable() && error.is_overload());
        for cut in 0..4 {
            server_error(&packet(1142, "42000", "")[..cut]);
        }
    }

    #[test]
    fn codes_have_kinds() {
        for (code, state, kind, retryable) in [
            (1045, "28000", ErrorKind::Auth, false),
            (1044, "42000", ErrorKind::Permission, false),
            (1146, "42S02", ErrorKind::NotFound, false),
            (1205, "HY000", ErrorKind::Conflict, true),
            (1213, "40001", ErrorKind::Conflict, true),
            (1317, "70100", ErrorKind::Timeout, false),
            (1927, "70100", ErrorKind::Unreachable, true),
            (1053, "08S01", ErrorKind::Unreachable, true),
            (1064, "42000", ErrorKind::Internal, false),
            (1690, "22003", ErrorKind::Data, false),
            (9999, "08S01", ErrorKind::Unreachable, true),
            (9999, "HY000", ErrorKind::Data, false),
        ] {
            let found = classify(code, state);
            assert_eq!((found.0, found.1), (kind, retryable), "{code}");
        }
        assert!(CODES.is_sorted_by_key(|(code, ..)| *code), "each once, in order");
        assert!(CODES.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }
}
