//! Options of a connection.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Whether and how the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; the certificate must come from a trusted authority.
    VerifyCa,
    /// Always; the certificate must come from a trusted authority and name the host.
    VerifyFull,
}

/// Options of a PostgreSQL connection. The secret is the password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PostgresConfig {
    /// Host name or address; a path that begins with `/` is the folder of a unix socket. Default: `localhost`.
    #[serde(default = "default_host")]
    pub host: String,
    /// Port. Default: 5432.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Database. Default: the user's name.
    #[serde(default)]
    pub database: Option<String>,
    /// User. Default: `postgres`.
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
    /// Seconds to wait for a connection. Default: 10.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: u64,
    /// Seconds that one statement may run at the server. Default: no limit.
    #[serde(default)]
    pub statement_timeout: Option<u64>,
    /// What the server shows as the client's name. Default: `transload`.
    #[serde(default = "default_application_name")]
    pub application_name: String,
}

fn default_host() -> String {
    "localhost".to_owned()
}

fn default_port() -> u16 {
    5432
}

fn default_user() -> String {
    "postgres".to_owned()
}

fn default_connect_timeout() -> u64 {
    10
}

fn default_application_name() -> String {
    "transload".to_owned()
}
