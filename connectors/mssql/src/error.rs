//! Errors of the server and of the way there, classified from SQL Server's numbers and error types.

use std::io;
use std::time::Duration;

use transload_core::{Error, ErrorKind};

use crate::protocol::Parser;

/// What a number means for a caller: kind, whether another try may help, what to do.
///
/// Sources: "Database engine events and errors" of the SQL Server manual, and "Troubleshoot transient connection
/// errors" and "Resource limits" of that of Azure SQL Database.
const NUMBERS: &[(i32, ErrorKind, bool, &str)] = &[
    (64, ErrorKind::Unreachable, true, "the connection broke during the login; run again"),
    (102, ErrorKind::Internal, false, "report this statement to the developers of transload"),
    (156, ErrorKind::Internal, false, "report this statement to the developers of transload"),
    (207, ErrorKind::NotFound, false, "check the name of the column"),
    (208, ErrorKind::NotFound, false, "check the name of the table, or list the tables with tables()"),
    (229, ErrorKind::Permission, false, "grant SELECT on the table"),
    (230, ErrorKind::Permission, false, "grant SELECT on the column"),
    (233, ErrorKind::Unreachable, true, "the server ended the connection during the login; run again"),
    (297, ErrorKind::Permission, false, "grant the permission that the server names"),
    (300, ErrorKind::Permission, false, "grant the permission that the server names"),
    (596, ErrorKind::Unreachable, true, "somebody ended the connection; run again"),
    (601, ErrorKind::Conflict, true, "data moved while it was read without locks; run again"),
    (605, ErrorKind::Data, false, "the database is damaged: run DBCC CHECKDB"),
    (615, ErrorKind::Unreachable, true, "the database is changing hands; run again"),
    (617, ErrorKind::Conflict, true, "run again"),
    (701, ErrorKind::RateLimited, true, "the server is out of memory; try later"),
    (823, ErrorKind::Data, false, "the server's disk fails: see its log"),
    (824, ErrorKind::Data, false, "the database is damaged: run DBCC CHECKDB"),
    (825, ErrorKind::Data, false, "the server's disk fails: see its log"),
    (911, ErrorKind::NotFound, false, "check the name of the database"),
    (916, ErrorKind::Permission, false, "make a user for the login in the database"),
    (922, ErrorKind::Unreachable, true, "the database is recovering; try later"),
    (926, ErrorKind::Data, false, "the database is suspect: see the server's log"),
    (927, ErrorKind::Unreachable, true, "the database is being restored; try later"),
    (942, ErrorKind::Unreachable, true, "the database is offline"),
    (945, ErrorKind::Data, false, "the database cannot be opened: see the server's log"),
    (952, ErrorKind::Unreachable, true, "the database is in transition; try later"),
    (
        976,
        ErrorKind::Config,
        false,
        "the replica takes no connections: set `application_intent` to `read_only`",
    ),
    (978, ErrorKind::Config, false, "the replica is for reading: set `application_intent` to `read_only`"),
    (979, ErrorKind::Config, false, "the replica is for reading: set `application_intent` to `read_only`"),
    (983, ErrorKind::Unreachable, true, "the replica is resolving its role; try later"),
    (988, ErrorKind::Unreachable, true, "the availability group has no quorum; try later"),
    (1105, ErrorKind::Unreachable, true, "a file group of the server is full"),
    (1204, ErrorKind::RateLimited, true, "the server is out of locks; try later"),
    (1205, ErrorKind::Conflict, true, "run again"),
    (1221, ErrorKind::RateLimited, true, "the server is out of locks; try later"),
    (1222, ErrorKind::Conflict, true, "a lock is held; try later, or raise `lock_timeout`"),
    (1418, ErrorKind::Unreachable, true, "the mirror cannot be reached; try later"),
    (3906, ErrorKind::Permission, false, "the database is read-only"),
    (3935, ErrorKind::Unreachable, true, "the server ended the transaction; run again"),
    (3947, ErrorKind::Conflict, true, "the server gave the transaction up; run again"),
    (3951, ErrorKind::Conflict, true, "run again"),
    (
        3952,
        ErrorKind::Unsupported,
        false,
        "ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON, or set `isolation` to `read_committed`",
    ),
    (3957, ErrorKind::Conflict, true, "run again"),
    (
        3958,
        ErrorKind::Conflict,
        true,
        "tempdb lost row versions of the snapshot: make room in tempdb, and run again",
    ),
    (3959, ErrorKind::Conflict, true, "tempdb is full of row versions: make room in tempdb, and run again"),
    (3960, ErrorKind::Conflict, true, "run again"),
    (3961, ErrorKind::SchemaChanged, true, "the table was altered after the snapshot had begun; run again"),
    (3966, ErrorKind::Conflict, true, "tempdb is out of room for row versions; run again"),
    (3967, ErrorKind::Conflict, true, "tempdb is out of room for row versions; run again"),
    (3989, ErrorKind::Conflict, true, "the server ended the session's transaction; run again"),
    (4060, ErrorKind::NotFound, false, "check `database`, and that the user may open it"),
    (4062, ErrorKind::NotFound, false, "check `database`, and that the user may open it"),
    (4064, ErrorKind::NotFound, false, "give `database`: the user's own cannot be opened"),
    (4221, ErrorKind::Unreachable, true, "the replica is not ready to be read yet; try later"),
    (4502, ErrorKind::SchemaChanged, false, "the view does not fit its tables any more: sp_refreshview"),
    (4506, ErrorKind::Data, false, "the view names a column twice"),
    (4891, ErrorKind::Conflict, true, "the table was altered while it was looked at; run again"),
    (6005, ErrorKind::Unreachable, true, "the server is shutting down; try later"),
    (6106, ErrorKind::Unreachable, true, "somebody ended the connection; run again"),
    (7619, ErrorKind::Data, false, "see the server's message"),
    (8114, ErrorKind::Data, false, "a value does not fit its type: see the server's message"),
    (8115, ErrorKind::Data, false, "a number is beyond its type: see the server's message"),
    (8134, ErrorKind::Data, false, "a computed column or view divides by zero"),
    (8152, ErrorKind::Data, false, "a text does not fit its column: see the server's message"),
    (8623, ErrorKind::Unsupported, false, "the view is too complex for the server"),
    (8628, ErrorKind::RateLimited, true, "the server waited too long for resources; try later"),
    (8645, ErrorKind::RateLimited, true, "the server waited too long for memory; try later"),
    (8651, ErrorKind::RateLimited, true, "the server is short of memory; try later"),
    (8902, ErrorKind::RateLimited, true, "the server is short of memory; try later"),
    (9001, ErrorKind::Unreachable, true, "the log of the database is not available: see the server's log"),
    (9002, ErrorKind::Unreachable, true, "the log of the database is full"),
    (9803, ErrorKind::Data, false, "a stored value is none of its type: run DBCC CHECKDB"),
    (10053, ErrorKind::Unreachable, true, "check the network and run again"),
    (10054, ErrorKind::Unreachable, true, "check the network and run again"),
    (10060, ErrorKind::Unreachable, true, "check the network and run again"),
    (10922, ErrorKind::Unreachable, true, "run again"),
    (10928, ErrorKind::RateLimited, true, "the database has too many requests or sessions; try later"),
    (10929, ErrorKind::RateLimited, true, "the server is too busy for more requests; try later"),
    (10930, ErrorKind::RateLimited, true, "the service tier's limit is reached; try later"),
    (10936, ErrorKind::RateLimited, true, "the elastic pool has too many requests; try later"),
    (14355, ErrorKind::Unreachable, true, "try later"),
    (17187, ErrorKind::Unreachable, true, "the server is starting; try later"),
    (17189, ErrorKind::RateLimited, true, "the server has no thread for the connection; try later"),
    (17197, ErrorKind::RateLimited, true, "the server is too busy for the login; try later"),
    (17300, ErrorKind::RateLimited, true, "the server is out of memory; try later"),
    (17809, ErrorKind::RateLimited, true, "too many connections: lower the parallelism or try later"),
    (17830, ErrorKind::Unreachable, true, "check the network and run again"),
    (17892, ErrorKind::Permission, false, "a logon trigger refused the login"),
    (18401, ErrorKind::Unreachable, true, "the server is starting; try later"),
    (18450, ErrorKind::Auth, false, "the server takes Windows logins only"),
    (18451, ErrorKind::Unreachable, true, "the server is starting; try later"),
    (18452, ErrorKind::Auth, false, "the server takes Windows logins only, or not from this domain"),
    (18456, ErrorKind::Auth, false, "check user and password, and that the server takes SQL logins"),
    (18461, ErrorKind::RateLimited, true, "the server is in single-user mode"),
    (18470, ErrorKind::Auth, false, "the login is disabled: ALTER LOGIN ... ENABLE"),
    (18486, ErrorKind::Auth, false, "the login is locked: ALTER LOGIN ... UNLOCK"),
    (18487, ErrorKind::Auth, false, "the password has expired: set a new one"),
    (18488, ErrorKind::Auth, false, "the password must be changed: set a new one"),
    (20003, ErrorKind::Timeout, true, "run again"),
    (22335, ErrorKind::RateLimited, true, "try later"),
    (33205, ErrorKind::Permission, false, "an audit refused the action"),
    (
        35371,
        ErrorKind::Conflict,
        false,
        "SNAPSHOT does not read columnstores of a readable secondary: set `isolation` to `read_committed`",
    ),
    (37327, ErrorKind::RateLimited, true, "the free amount of the database is used up"),
    (40143, ErrorKind::Unreachable, true, "the service had a fault; try later"),
    (40166, ErrorKind::Unreachable, true, "the database is reconfigured; try later"),
    (40174, ErrorKind::Unreachable, true, "the service had a fault; try later"),
    (40197, ErrorKind::Unreachable, true, "the service is upgraded or fails over; try later"),
    (40501, ErrorKind::RateLimited, true, "the service is busy; try later"),
    (
        40515,
        ErrorKind::Unsupported,
        false,
        "Azure SQL Database reads only the database that it is connected to",
    ),
    (40532, ErrorKind::Auth, false, "check the name of the server, user and password"),
    (40540, ErrorKind::Unreachable, true, "the transaction failed over; run again"),
    (40544, ErrorKind::Data, false, "the database has reached its size quota"),
    (40549, ErrorKind::Timeout, true, "the service ended a long transaction: read it in smaller windows"),
    (40550, ErrorKind::RateLimited, true, "the service ended a session with too many locks"),
    (40551, ErrorKind::RateLimited, true, "the service ended a session that used too much of tempdb"),
    (40552, ErrorKind::RateLimited, true, "the service ended a session that used too much of the log"),
    (40553, ErrorKind::RateLimited, true, "the service ended a session that used too much memory"),
    (40608, ErrorKind::Unreachable, true, "try later"),
    (40613, ErrorKind::Unreachable, true, "the database is not available right now, or wakes up; try later"),
    (40615, ErrorKind::Auth, false, "the firewall of the server takes no connections from this address"),
    (40627, ErrorKind::Unreachable, true, "an operation on the server is in progress; try later"),
    (40914, ErrorKind::Auth, false, "the firewall of the server takes no connections from this network"),
    (
        41332,
        ErrorKind::Unsupported,
        false,
        "SNAPSHOT does not read memory-optimized tables: set `isolation` to `read_committed`",
    ),
    (42108, ErrorKind::Unreachable, true, "the pool is paused: resume it"),
    (42109, ErrorKind::Unreachable, true, "the pool is warming up; try later"),
    (49510, ErrorKind::Unreachable, true, "the managed instance is busy; try later"),
    (49918, ErrorKind::RateLimited, true, "the subscription has too many operations; try later"),
    (49919, ErrorKind::RateLimited, true, "the subscription has too many operations; try later"),
    (49920, ErrorKind::RateLimited, true, "the subscription has too many operations; try later"),
];

/// Numbers by which a server says that it has nothing to spare, where the kind does not say so.
const OVERLOAD: &[i32] = &[1205, 1222, 3958, 3959, 3966, 3967];

/// Severities from which on the server ends the connection.
const FATAL: u8 = 20;

/// Severity of what runs short: locks, memory, disk.
const RESOURCES: u8 = 17;

fn classify(number: i32, severity: u8) -> (ErrorKind, bool, &'static str) {
    let known = NUMBERS.iter().find(|(known, ..)| *known == number);
    match known {
        Some((_, kind, retry, hint)) => (*kind, *retry, *hint),
        None if severity >= FATAL => {
            (ErrorKind::Unreachable, true, "the server ended the connection; see its log, and run again")
        }
        None if severity == RESOURCES => {
            (ErrorKind::RateLimited, true, "the server is short of resources; try later")
        }
        None if severity == 14 => {
            (ErrorKind::Permission, false, "grant the permission that the server names")
        }
        None if severity == 15 => {
            (ErrorKind::Internal, false, "report this statement to the developers of transload")
        }
        None => (ErrorKind::Data, false, "see the server's message"),
    }
}

/// An error as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerMessage {
    number: i32,
    state: u8,
    severity: u8,
    text: String,
}

impl ServerMessage {
    /// `None` if it is cut.
    pub(crate) fn parse(parser: &mut Parser<'_>) -> Option<Self> {
        let number = i32::from_le_bytes(parser.fixed()?);
        let [state, severity] = parser.fixed()?;
        Some(Self { number, state, severity, text: parser.long_text()? })
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.severity >= FATAL
    }

    pub(crate) fn into_error(self) -> Error {
        let (kind, retryable, hint) = classify(self.number, self.severity);
        let text = match self.text.trim() {
            "" => format!("the server refused with error {}", self.number),
            text => text.to_owned(),
        };
        Error::new(kind, text)
            .retryable(retryable)
            .overload(kind == ErrorKind::RateLimited || OVERLOAD.contains(&self.number))
            .with("code", self.number)
            .with("state", self.state)
            .with("severity", self.severity)
            .hint(hint)
    }
}

/// The server's number of an error that it sent.
pub(crate) fn number_of(error: &Error) -> Option<i32> {
    error.context_value("code")?.parse().ok()
}

/// An error of the socket of an open connection. Reading again is safe.
pub(crate) fn io_error(error: io::Error) -> Error {
    let (kind, hint) = match of_cause(&error).unwrap_or(UNREACHABLE) {
        (ErrorKind::Timeout, _) => (ErrorKind::Timeout, "check the network between, and run again"),
        other => other,
    };
    Error::new(kind, "the connection to SQL Server broke")
        .retryable(kind != ErrorKind::Tls)
        .source_error(error)
        .hint(hint)
}

/// The server, or the way to it, hangs.
pub(crate) fn silence(most: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("SQL Server was silent for {} s", most.as_secs())).hint(
        "check the network between, or raise `read_timeout` if a query may take so long for its first row",
    )
}

/// A connection that broke before.
pub(crate) fn gone() -> Error {
    Error::new(ErrorKind::Unreachable, "the connection to SQL Server is gone")
        .hint("an earlier read of this session ended it; run again")
}

/// The server ended a transaction, as it does with the victim of a deadlock: what is read now is of another moment.
pub(crate) fn snapshot_lost() -> Error {
    Error::new(ErrorKind::Conflict, "the server ended the transaction that held the session's snapshot")
        .retryable(true)
        .hint("run again")
}

/// An error while a connection is opened.
pub(crate) fn connect_error(address: &str, error: Error) -> Error {
    error.operation("connect").with("server", address)
}

/// No socket could be opened.
pub(crate) fn socket_error(address: &str, error: io::Error) -> Error {
    let (kind, hint) = of_cause(&error).unwrap_or(UNREACHABLE);
    let what = format!("cannot connect to SQL Server at {address}");
    Error::new(kind, what).source_error(error).hint(hint)
}

/// Whatever broke here broke TLS: the peer was reached.
pub(crate) fn tls_error(address: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Tls, format!("cannot speak TLS with SQL Server at {address}"))
        .source_error(error)
        .hint("check `encrypt`, `trust`, `tls_ca` and the name in the server's certificate")
}

/// Nothing was heard of a server in time.
pub(crate) fn connect_timeout(address: &str, timeout: Duration) -> Error {
    let what = format!("SQL Server at {address} did not answer within {} s", timeout.as_secs());
    Error::new(ErrorKind::Timeout, what)
        .hint("check host, port, instance and firewalls, or raise `connect_timeout`")
}

const UNREACHABLE: (ErrorKind, &str) =
    (ErrorKind::Unreachable, "check host and port, and that the server runs and listens to TCP");
const TIMEOUT: (ErrorKind, &str) =
    (ErrorKind::Timeout, "check host, port and firewalls, or raise `connect_timeout`");
const TLS: (ErrorKind, &str) =
    (ErrorKind::Tls, "check `encrypt`, `trust`, `tls_ca` and the name in the server's certificate");

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
    use crate::protocol::put_utf16;

    fn message(number: i32, severity: u8, text: &str) -> Vec<u8> {
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend([1, severity]);
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        put_utf16(&mut bytes, text);
        bytes
    }

    #[test]
    fn the_servers_words_are_kept() {
        let bytes = message(229, 14, "The SELECT permission was denied");
        let parsed = ServerMessage::parse(&mut Parser(&bytes)).unwrap();
        let error = parsed.into_error();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Permission, "The SELECT permission was denied")
        );
        assert_eq!((number_of(&error), error.context_value("severity")), (Some(229), Some("14")));
        for cut in 0..bytes.len() {
            assert!(ServerMessage::parse(&mut Parser(&bytes[..cut])).is_none());
        }
    }

    #[test]
    fn numbers_have_kinds() {
        for (number, severity, kind, retryable, overload) in [
            (18456, 14, ErrorKind::Auth, false, false),
            (4060, 11, ErrorKind::NotFound, false, false),
            (208, 16, ErrorKind::NotFound, false, false),
            (207, 16, ErrorKind::NotFound, false, false),
            (229, 14, ErrorKind::Permission, false, false),
            (1205, 13, ErrorKind::Conflict, true, true),
            (1222, 16, ErrorKind::Conflict, true, true),
            (3960, 16, ErrorKind::Conflict, true, false),
            (40613, 17, ErrorKind::Unreachable, true, false),
            (40501, 20, ErrorKind::RateLimited, true, true),
            (10928, 20, ErrorKind::RateLimited, true, true),
            (49918, 16, ErrorKind::RateLimited, true, true),
            (99_999, 21, ErrorKind::Unreachable, true, false),
            (99_999, 17, ErrorKind::RateLimited, true, true),
            (99_999, 16, ErrorKind::Data, false, false),
        ] {
            let message = ServerMessage { number, state: 1, severity, text: String::new() };
            let error = message.into_error();
            assert_eq!(
                (error.kind(), error.is_retryable(), error.is_overload()),
                (kind, retryable, overload),
                "{number}"
            );
        }
        assert!(NUMBERS.windows(2).all(|pair| pair[0].0 < pair[1].0), "each once, in order");
    }
}
