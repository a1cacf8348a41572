//! Options of a connection.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Error, Result};
use transload_sql::tls::{TlsMode, TlsOptions};

/// What of a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encrypt {
    /// Nothing, not even the login.
    Disable,
    /// The login only, unless the server wants more.
    Login,
    /// Everything, as TDS 7 does it: TLS begins after a greeting in clear.
    #[default]
    Require,
    /// Everything, as TDS 8 does it: TLS comes first. SQL Server 2022 and Azure.
    Strict,
}

/// Which certificates of a server are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Those of a trusted authority that name the host.
    #[default]
    VerifyFull,
    /// Those of a trusted authority.
    VerifyCa,
    /// Every one: nobody can listen, but anybody may be the server.
    All,
}

/// What the secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The password of `username`.
    #[default]
    Password,
    /// An access token of Microsoft Entra (Azure AD) for `https://database.windows.net/`.
    AccessToken,
}

/// What the login announces, so that a listener of an availability group can send it to a readable secondary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationIntent {
    /// The primary.
    #[default]
    ReadWrite,
    /// A readable secondary will do.
    ReadOnly,
}

/// What the reads of a session see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// `snapshot` where the database allows it, else `read_committed`, which the report says.
    #[default]
    Auto,
    /// One snapshot, or an error.
    Snapshot,
    /// What is committed when a row is read.
    ReadCommitted,
}

/// What becomes of texts that cannot be UTF-8: half a pair of surrogates, bytes that a code page does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvalidText {
    /// They end the read with an error that names the column.
    #[default]
    Refuse,
    /// What is no character becomes U+FFFD.
    Replace,
}

/// What becomes of times with a seventh digit of a second (100 ns), which neither Arrow's microseconds nor BigQuery has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeventhDigit {
    /// It is cut off, and the mapping warns.
    #[default]
    Truncate,
    /// `time(7)` and `datetime2(7)` are read as text with every digit.
    Text,
}

/// Options of a connection to SQL Server, Azure SQL or Azure Synapse. The secret is the password or a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct MssqlConfig {
    /// Host name or address. Default: `localhost`.
    #[serde(default = "default_host")]
    pub host: String,
    /// Port. Default: 1433, or the one that the SQL Server Browser says for `instance`.
    #[serde(default)]
    pub port: Option<u16>,
    /// Name of an instance, which the SQL Server Browser is asked for (UDP 1434) unless `port` is given. Default: none.
    #[serde(default)]
    pub instance: Option<String>,
    /// Database. Default: the user's own.
    #[serde(default)]
    pub database: Option<String>,
    /// User. Not used with a token. Default: `sa`.
    #[serde(default = "default_user")]
    pub username: String,
    /// What the secret is. Default: `password`.
    #[serde(default)]
    pub login: Login,
    /// What is encrypted. Default: `require`.
    #[serde(default)]
    pub encrypt: Encrypt,
    /// Which certificates are trusted. Default: `verify-full`.
    #[serde(default)]
    pub trust: Trust,
    /// PEM file of the trusted authority. Default: the system's.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// The name that the certificate must have. Default: `host`.
    #[serde(default)]
    pub tls_host: Option<String>,
    /// What the login announces. Default: `read_write`.
    #[serde(default)]
    pub application_intent: ApplicationIntent,
    /// Bytes of a packet, 512 to 32767; the server may say less, and encrypted ones have 16383 at most.
    /// Default: 16383.
    #[serde(default = "default_packet_size")]
    pub packet_size: u16,
    /// Seconds to wait for a connection. Default: 15.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: u64,
    /// Seconds that the server may be silent while an answer or rows are awaited. Default: no limit; a peer that is
    /// gone is noticed by the system's keepalive.
    #[serde(default)]
    pub read_timeout: Option<u64>,
    /// Seconds that a statement waits for the lock of somebody else. Default: 60.
    #[serde(default = "default_lock_timeout")]
    pub lock_timeout: u32,
    /// Seconds without traffic before the system asks an idle connection for signs of life. Default: 30.
    #[serde(default = "default_keepalives_idle")]
    pub keepalives_idle: u64,
    /// What the reads of a session see. Default: `auto`.
    #[serde(default)]
    pub isolation: Isolation,
    /// Most connections over which one large table is read. They are opened when its session begins and get one
    /// snapshot while the table is locked for a moment. Default: 4.
    #[serde(default = "default_session_connections")]
    pub session_connections: usize,
    /// Seconds to wait for that lock. Writers of the table wait behind it. Default: 2.
    #[serde(default = "default_snapshot_lock_timeout")]
    pub snapshot_lock_timeout: u32,
    /// What becomes of texts that cannot be UTF-8. Default: `refuse`.
    #[serde(default)]
    pub invalid_text: InvalidText,
    /// What becomes of the seventh digit of a second. Default: `truncate`.
    #[serde(default)]
    pub seventh_digit: SeventhDigit,
}

impl MssqlConfig {
    /// What it says about TLS.
    pub(crate) fn tls_options(&self) -> TlsOptions<'_> {
        let tls = match self.trust {
            Trust::VerifyFull => TlsMode::VerifyFull,
            Trust::VerifyCa => TlsMode::VerifyCa,
            Trust::All => TlsMode::Require,
        };
        TlsOptions { tls, tls_ca: &self.tls_ca, tls_cert: &None, tls_key: &None }
    }

    /// Refuses values that no server could make sense of.
    pub(crate) fn check(&self) -> Result<()> {
        const MOST: u64 = 2_000_000;
        let within = [
            ("port", self.port.map(u64::from), 1, 65_535),
            ("packet_size", Some(self.packet_size.into()), 512, 32_767),
            ("connect_timeout", Some(self.connect_timeout), 1, MOST),
            ("read_timeout", self.read_timeout, 1, MOST),
            ("lock_timeout", Some(self.lock_timeout.into()), 0, MOST),
            ("keepalives_idle", Some(self.keepalives_idle), 1, MOST),
            ("session_connections", u64::try_from(self.session_connections).ok(), 1, 1000),
            ("snapshot_lock_timeout", Some(self.snapshot_lock_timeout.into()), 0, MOST),
        ];
        for (option, value, least, most) in within {
            if value.is_some_and(|value| value < least || value > most) {
                let text = format!("`{option}` must be from {least} to {most}");
                return Err(Error::config(text).with("option", option));
            }
        }
        if self.host.is_empty() || self.host.contains(['\\', ',', '/']) {
            return Err(Error::config(format!("`{}` is no name of a host", self.host))
                .with("option", "host")
                .hint("give `instance` and `port` by themselves"));
        }
        // A login's fields hold 128 characters.
        let names = [
            ("username", Some(&self.username)),
            ("database", self.database.as_ref()),
            ("instance", self.instance.as_ref()),
        ];
        for (option, name) in names {
            if name.is_some_and(|name| {
                name.is_empty() || name.encode_utf16().count() > 128 || name.contains('\0')
            }) {
                return Err(
                    Error::config(format!("`{option}` must have 1 to 128 characters")).with("option", option)
                );
            }
        }
        if self.login == Login::AccessToken && matches!(self.encrypt, Encrypt::Disable | Encrypt::Login) {
            return Err(Error::config("a token is sent over encrypted connections only")
                .with("option", "encrypt")
                .hint("set `encrypt` to `require` or `strict`"));
        }
        Ok(())
    }
}

fn default_host() -> String {
    "localhost".to_owned()
}

fn default_user() -> String {
    "sa".to_owned()
}

fn default_packet_size() -> u16 {
    16_383
}

fn default_connect_timeout() -> u64 {
    15
}

fn default_lock_timeout() -> u32 {
    60
}

fn default_keepalives_idle() -> u64 {
    30
}

fn default_session_connections() -> usize {
    4
}

fn default_snapshot_lock_timeout() -> u32 {
    2
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_no_server_could_make_sense_of_is_refused() {
        let check = |document: Value| serde_json::from_value::<MssqlConfig>(document).unwrap().check();
        assert!(check(json!({})).is_ok());
        assert!(check(json!({"login": "access_token", "encrypt": "strict"})).is_ok());
        for document in [
            json!({"host": "db\\sales"}),
            json!({"host": "db,1433"}),
            json!({"host": ""}),
            json!({"port": 0}),
            json!({"packet_size": 511}),
            json!({"packet_size": 32768}),
            json!({"connect_timeout": 0}),
            json!({"session_connections": 0}),
            json!({"username": ""}),
            json!({"database": "x".repeat(129)}),
            json!({"instance": "a\u{0}b"}),
            json!({"login": "access_token", "encrypt": "login"}),
        ] {
            let error = check(document.clone()).expect_err("refused");
            assert_eq!(error.kind(), transload_core::ErrorKind::Config, "{document}");
        }
    }
}
