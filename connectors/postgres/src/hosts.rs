//! Several servers behind one connection: where they are, and which of them will do.

use std::fmt;
use std::iter::repeat_n;
use std::net::IpAddr;

use tokio_postgres::config::Host;
use transload_core::{Error, Result};

use crate::config::{PostgresConfig, TargetSessionAttrs};

/// Where a server is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    pub(crate) host: Host,
    /// Where it is, if that need not be looked up.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            #[cfg(unix)]
            Host::Unix(folder) => write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port),
        }
    }
}

/// The servers of a connection, in the order in which they are tried.
pub(crate) fn addresses(options: &PostgresConfig) -> Result<Vec<Address>> {
    let hosts: Vec<_> = options.host.split(',').map(str::trim).collect();
    let ports = &options.port.0;
    if hosts.contains(&"") {
        return Err(Error::config("`host` names no host at one place").with("option", "host"));
    }
    if ports.len() != 1 && ports.len() != hosts.len() {
        let what = format!("`port` has {} ports for {} hosts", ports.len(), hosts.len());
        return Err(Error::config(what)
            .with("option", "port")
            .hint("give one port for all hosts, or one for each"));
    }
    let ips: Vec<_> = match &options.hostaddr {
        Some(list) => list.split(',').map(|ip| address(ip.trim())).collect::<Result<_>>()?,
        None => repeat_n(None, hosts.len()).collect(),
    };
    if ips.len() != hosts.len() {
        let what = format!("`hostaddr` has {} addresses for {} hosts", ips.len(), hosts.len());
        return Err(Error::config(what).with("option", "hostaddr").hint("give one for each host"));
    }
    let all = hosts.into_iter().zip(ips).zip(ports.iter().cycle());
    Ok(all.map(|((host, ip), port)| Address { host: place(host), ip, port: *port }).collect())
}

fn address(text: &str) -> Result<Option<IpAddr>> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: std::net::AddrParseError| {
            Error::config(format!("`hostaddr`: `{text}` is not an IP address"))
                .with("option", "hostaddr")
                .source_error(error)
        }),
    }
}

fn place(host: &str) -> Host {
    #[cfg(unix)]
    if host.starts_with('/') {
        return Host::Unix(host.into());
    }
    Host::Tcp(host.to_owned())
}

/// What a server must be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl Role {
    pub(crate) fn fits(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => !read_only,
            Self::ReadOnly => read_only,
            Self::Primary => !standby,
            Self::Standby => standby,
        }
    }
}

impl TargetSessionAttrs {
    /// What to look for, and what to be content with if there is none.
    pub(crate) fn roles(self) -> &'static [Role] {
        match self {
            Self::Any => &[Role::Any],
            Self::ReadWrite => &[Role::ReadWrite],
            Self::ReadOnly => &[Role::ReadOnly],
            Self::Primary => &[Role::Primary],
            Self::Standby => &[Role::Standby],
            Self::PreferStandby => &[Role::Standby, Role::Any],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use transload_core::Connection;

    use super::*;

    fn of(options: Value) -> Result<Vec<String>> {
        let mut document = options;
        document["type"] = "postgresql".into();
        let config: PostgresConfig = Connection::from_json(document)?.config()?;
        config.check()?;
        Ok(addresses(&config)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn hosts_and_ports_belong_together() {
        for (options, expected) in [
            (json!({}), vec!["localhost:5432"]),
            (json!({"host": "a", "port": 1}), vec!["a:1"]),
            (json!({"host": "a, b", "port": "7"}), vec!["a:7", "b:7"]),
            (json!({"host": "a,::1,/run", "port": "1,,3"}), vec!["a:1", "::1:5432", "/run/.s.PGSQL.3"]),
        ] {
            assert_eq!(of(options).unwrap(), expected);
        }
        for (options, word) in [
            (json!({"host": "a,b,c", "port": "1,2"}), "2 ports for 3 hosts"),
            (json!({"host": "a,,b"}), "host"),
            (json!({"host": ""}), "host"),
            (json!({"host": "a", "hostaddr": "b"}), "IP address"),
            (json!({"host": "a,b", "hostaddr": "::1"}), "1 addresses for 2 hosts"),
            (json!({"port": 0}), "port"),
            (json!({"port": 65536}), "port"),
            (json!({"port": "1,x"}), "port"),
            (json!({"connect_timeout": 0}), "connect_timeout"),
            (json!({"statement_timeout": 3_000_000}), "statement_timeout"),
            (json!({"keepalives_count": 0}), "keepalives_count"),
            (json!({"target_session_attrs": "master"}), "prefer-standby"),
            (json!({"channel_binding": "maybe"}), "require"),
            (json!({"channel_binding": "require", "tls": "disable"}), "TLS"),
        ] {
            let error = of(options).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
