//! Options of a connection.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::Error as _;
use transload_core::{Error, Result};
pub use transload_sql::tls::TlsMode;
use transload_sql::tls::TlsOptions;

use crate::hosts::addresses;

/// Whether the login must be bound to the TLS connection, so that nobody in between can pass it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Always: SCRAM over TLS, and no other way to log in.
    Require,
}

/// Which of several servers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSessionAttrs {
    /// The first that takes the connection.
    #[default]
    Any,
    /// One whose sessions may write, if nobody asks otherwise.
    ReadWrite,
    /// One whose sessions may not write.
    ReadOnly,
    /// One that is not a standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby if there is one, else any.
    PreferStandby,
}

/// Ports of the hosts: one for all, or one each. An empty one is 5432.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub(crate) Vec<u16>);

impl Default for Ports {
    fn default() -> Self {
        Self(vec![5432])
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a port is a number from 1 to 65535, or such numbers separated by commas"
        )]
        enum Form {
            One(u16),
            Several(String),
        }
        let port = |text: &str| match text.trim() {
            "" => Some(5432),
            text => text.parse().ok().filter(|port| *port > 0),
        };
        let ports = match Form::deserialize(deserializer)? {
            Form::One(port) => (port > 0).then(|| vec![port]),
            Form::Several(text) => text.split(',').map(port).collect(),
        };
        let wrong = "a port is a number from 1 to 65535, or such numbers separated by commas";
        ports.map(Self).ok_or_else(|| D::Error::custom(wrong))
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "minimum": 1, "maximum": 65535})
    }
}

/// Options of a PostgreSQL connection. The secret is the password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PostgresConfig {
    /// Host name or address; a path that begins with `/` is the folder of a unix socket. Several are separated by
    /// commas and tried in this order. Default: `localhost`.
    #[serde(default = "default_host")]
    pub host: String,
    /// IP address to go to instead of looking up `host`, which is then only the name that TLS checks; for several
    /// hosts one each, separated by commas, where an empty one is looked up. Default: none.
    #[serde(default)]
    pub hostaddr: Option<String>,
    /// Port, or one for each host, separated by commas. Default: 5432.
    #[serde(default)]
    pub port: Ports,
    /// Which of several servers will do. Default: `any`.
    #[serde(default)]
    pub target_session_attrs: TargetSessionAttrs,
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
    /// Whether the login must be bound to the TLS connection. Default: `prefer`.
    #[serde(default)]
    pub channel_binding: ChannelBinding,
    /// File of passwords in the format of libpq (`host:port:database:user:password`), where no credentials are
    /// given. Others may not be allowed to read it. Default: none.
    #[serde(default)]
    pub passfile: Option<PathBuf>,
    /// Seconds to wait for a connection to one host. Default: 10.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: u64,
    /// Seconds that one statement may run at the server. Default: no limit.
    #[serde(default)]
    pub statement_timeout: Option<u64>,
    /// Whether the system asks an idle connection for signs of life. Default: true.
    #[serde(default = "default_keepalives")]
    pub keepalives: bool,
    /// Seconds without traffic before it asks first. Default: 60.
    #[serde(default = "default_keepalives_idle")]
    pub keepalives_idle: u64,
    /// Seconds before it asks again. Default: the system's.
    #[serde(default)]
    pub keepalives_interval: Option<u64>,
    /// Questions without an answer after which the connection is given up. Default: the system's.
    #[serde(default)]
    pub keepalives_count: Option<u32>,
    /// Seconds that the server may be silent while an answer or rows are awaited. Default: no limit; a peer that is
    /// gone is noticed by the questions of `keepalives`, one that hangs is not.
    #[serde(default)]
    pub read_timeout: Option<u64>,
    /// What the server shows as the client's name. Default: `transload`.
    #[serde(default = "default_application_name")]
    pub application_name: String,
}

impl PostgresConfig {
    /// What it says about TLS.
    pub(crate) fn tls_options(&self) -> TlsOptions<'_> {
        let Self { tls, tls_ca, tls_cert, tls_key, .. } = self;
        TlsOptions { tls: *tls, tls_ca, tls_cert, tls_key }
    }

    /// Refuses values that no server could make sense of.
    pub(crate) fn check(&self) -> Result<()> {
        addresses(self)?;
        let at_least_one = [
            ("connect_timeout", Some(self.connect_timeout)),
            ("statement_timeout", self.statement_timeout),
            ("read_timeout", self.read_timeout),
            ("keepalives_idle", Some(self.keepalives_idle)),
            ("keepalives_interval", self.keepalives_interval),
            ("keepalives_count", self.keepalives_count.map(u64::from)),
        ];
        for (option, value) in at_least_one {
            // The server counts milliseconds in 31 bits.
            if value.is_some_and(|value| value == 0 || value > 2_000_000) {
                return Err(
                    Error::config(format!("`{option}` must be from 1 to 2000000")).with("option", option)
                );
            }
        }
        if self.channel_binding == ChannelBinding::Require && self.tls == TlsMode::Disable {
            return Err(Error::config("`channel_binding` cannot be required without TLS")
                .with("option", "channel_binding")
                .hint("set `tls` to `require` or more"));
        }
        Ok(())
    }
}

fn default_host() -> String {
    "localhost".to_owned()
}

fn default_keepalives() -> bool {
    true
}

fn default_keepalives_idle() -> u64 {
    60
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
