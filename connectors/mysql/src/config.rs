//! Options of a connection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Error, Result};
pub use transload_sql::tls::TlsMode;
use transload_sql::tls::TlsOptions;

/// What becomes of dates that no calendar has: `0000-00-00`, a month or a day of 0, the 31st of February.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDates {
    /// They end the read with an error that names the column.
    #[default]
    Refuse,
    /// They are read as NULL.
    Null,
    /// DATE, DATETIME and TIMESTAMP columns are read as the text that the server prints, so that the job's mapping
    /// decides, and its report counts.
    Text,
}

/// How further connections of a session get the snapshot of its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharedSnapshot {
    /// By `binlog` where that is sound, else by `lock`, else not.
    #[default]
    Auto,
    /// Snapshots with one position in the binary log are one snapshot. MariaDB only.
    Binlog,
    /// While the table is locked for reading, for some milliseconds; needs the privilege LOCK TABLES.
    Lock,
    /// Not at all: a table is read over one connection.
    Never,
}

/// Options of a MySQL or MariaDB connection. The secret is the password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct MysqlConfig {
    /// Host name or address. Default: `localhost`, which is reached by TCP.
    #[serde(default = "default_host")]
    pub host: String,
    /// Port. Default: 3306.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Path of a unix socket to use in place of host and port. Default: none.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Database, which is the schema of tables that are named without one. Default: none.
    #[serde(default)]
    pub database: Option<String>,
    /// User. Default: `root`.
    #[serde(default = "default_user")]
    pub username: String,
    /// Encryption. Default: `prefer`. It has no effect on a unix socket.
    #[serde(default)]
    pub tls: TlsMode,
    /// PEM file of the trusted authority. Default: the system's.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// PEM file of a client certificate; needs `tls_key`.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// Whether what the server sends is compressed (zlib), for slow networks. Default: false.
    #[serde(default)]
    pub compression: bool,
    /// PEM file of the server's RSA key, for `caching_sha2_password` and `sha256_password` without TLS. Default: the
    /// server is asked for it, only where `get_server_key` says so.
    #[serde(default)]
    pub server_key: Option<PathBuf>,
    /// Whether to ask a server without TLS for its RSA key. Whoever stands between could give one of his own.
    /// Default: false.
    #[serde(default)]
    pub get_server_key: bool,
    /// Seconds to wait for a connection. Default: 10.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: u64,
    /// Seconds that one statement may run at the server. Default: the server's own limit.
    #[serde(default)]
    pub statement_timeout: Option<u64>,
    /// Seconds that the server may be silent while an answer or rows are awaited. Default: no limit; a peer that is
    /// gone is noticed by the system's keepalive.
    #[serde(default)]
    pub read_timeout: Option<u64>,
    /// Seconds that the server waits while the other side of a run takes no more rows (`net_write_timeout`).
    /// Default: 3600.
    #[serde(default = "default_net_write_timeout")]
    pub net_write_timeout: u32,
    /// Seconds without traffic before the system asks an idle connection for signs of life. Default: 60.
    #[serde(default = "default_keepalives_idle")]
    pub keepalives_idle: u64,
    /// What becomes of dates that no calendar has. Default: `refuse`.
    #[serde(default)]
    pub zero_dates: ZeroDates,
    /// How further connections of a session get the snapshot of its first one. Default: `auto`.
    #[serde(default)]
    pub shared_snapshot: SharedSnapshot,
    /// Most connections over which one large table is read. They are opened when its session begins, since they could
    /// not join its snapshot later. Default: 4.
    #[serde(default = "default_session_connections")]
    pub session_connections: usize,
    /// Seconds to wait for the lock of `shared_snapshot`. Writers of the table wait behind it. Default: 2.
    #[serde(default = "default_lock_timeout")]
    pub lock_timeout: u32,
    /// System variables that every session sets, for example `{"optimizer_switch": "mrr=on"}`.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

impl MysqlConfig {
    /// What it says about TLS.
    pub(crate) fn tls_options(&self) -> TlsOptions<'_> {
        let Self { tls, tls_ca, tls_cert, tls_key, .. } = self;
        TlsOptions { tls: *tls, tls_ca, tls_cert, tls_key }
    }

    /// Refuses values that no server could make sense of.
    pub(crate) fn check(&self) -> Result<()> {
        let at_least_one = [
            ("port", Some(u64::from(self.port))),
            ("connect_timeout", Some(self.connect_timeout)),
            ("statement_timeout", self.statement_timeout),
            ("read_timeout", self.read_timeout),
            ("net_write_timeout", Some(self.net_write_timeout.into())),
            ("keepalives_idle", Some(self.keepalives_idle)),
            ("session_connections", u64::try_from(self.session_connections).ok()),
            ("lock_timeout", Some(self.lock_timeout.into())),
        ];
        for (option, value) in at_least_one {
            if value.is_some_and(|value| value == 0 || value > 2_000_000) {
                let text = format!("`{option}` must be from 1 to 2000000");
                return Err(Error::config(text).with("option", option));
            }
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if let Some(name) = self.variables.keys().find(|name| !is_name(name)) {
            let text = format!("`variables` holds `{name}`, which is no name of a system variable");
            return Err(Error::config(text).with("option", "variables"));
        }
        Ok(())
    }
}

fn default_host() -> String {
    "localhost".to_owned()
}

fn default_port() -> u16 {
    3306
}

fn default_user() -> String {
    "root".to_owned()
}

fn default_connect_timeout() -> u64 {
    10
}

fn default_net_write_timeout() -> u32 {
    3600
}

fn default_keepalives_idle() -> u64 {
    60
}

fn default_session_connections() -> usize {
    4
}

fn default_lock_timeout() -> u32 {
    2
}
