//! Opening connections: address, credentials, TLS and the settings that every session has.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{CancelToken, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use transload_core::{Error, Result, Secret};

use crate::config::{PostgresConfig, TlsMode};
use crate::error::{connect_error, connect_timeout, error, socket_error};
use crate::tap::{Socket, Tap, TapTls};
use crate::tls::client_config;

/// Opens connections with the same options.
#[derive(Clone)]
pub(crate) struct Connect {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    address: String,
    timeout: Duration,
}

/// An open connection: what asks the driver, and the stream under it.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) tap: Tap,
    host: Host,
    port: u16,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Connect {
    pub(crate) fn new(options: &PostgresConfig, secret: Option<&Secret>) -> Result<Self> {
        let timeout = Duration::from_secs(options.connect_timeout.max(1));
        let mut config = tokio_postgres::Config::new();
        config
            .host(&options.host)
            .port(options.port)
            .user(&options.username)
            .dbname(options.database.as_deref().unwrap_or(&options.username))
            .application_name(&options.application_name)
            .keepalives_idle(Duration::from_secs(60))
            .options(settings(options))
            .ssl_mode(match options.tls {
                // As libpq does: a socket of this machine is not encrypted, whatever is asked for.
                _ if options.host.starts_with('/') => SslMode::Disable,
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                _ => SslMode::Require,
            });
        if let Some(secret) = secret {
            config.password(secret.expose());
        }
        let address = format!("{}:{}", options.host, options.port);
        Ok(Self { config, tls: MakeRustlsConnect::new(client_config(options)?), address, timeout })
    }

    /// Opens a connection to the first host that takes it. The driver's half runs as a task of its own until
    /// the client is dropped.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let ports = self.config.get_ports();
        let mut failed = None;
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let opening = tokio::time::timeout(self.timeout, self.open_at(host, port));
            match opening.await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(connect_timeout(&self.address, self.timeout)),
            }
        }
        Err(failed.unwrap_or_else(|| Error::config("a PostgreSQL connection without a host")))
    }

    async fn open_at(&self, host: &Host, port: u16) -> Result<Opened> {
        let tap = self.socket(host, port).await.map_err(|error| socket_error(&self.address, error))?;
        let opened = self.config.connect_raw(tap.clone(), self.tls_to(host)).await;
        let (client, connection) = opened.map_err(|error| connect_error(&self.address, error))?;
        tokio::spawn(async move {
            // The client's calls report the same error; this is only for the log.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(Opened { client, tap, host: host.clone(), port })
    }

    fn tls_to(&self, host: &Host) -> TapTls {
        let name = match host {
            Host::Tcp(name) => name,
            #[cfg(unix)]
            Host::Unix(_) => "",
        };
        TapTls::new(self.tls.clone(), name)
    }

    async fn socket(&self, host: &Host, port: u16) -> io::Result<Tap> {
        let name = match host {
            Host::Tcp(name) => name,
            #[cfg(unix)]
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                return UnixStream::connect(path).await.map(|stream| Tap::new(Socket::Unix(stream)));
            }
        };
        let stream = TcpStream::connect((name.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(self.config.get_keepalives_idle());
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Tap::new(Socket::Tcp(stream)))
    }

    /// Asks the server to stop what a connection is doing, and waits until it has heard. Best effort.
    pub(crate) async fn cancel(&self, token: CancelToken, host: &Host, port: u16) {
        let asking = async {
            let mut tap = self.socket(host, port).await?;
            token.cancel_query_raw(tap.clone(), self.tls_to(host)).await.map_err(io::Error::other)?;
            // The server closes when the signal is sent. Only then it cannot hit a later statement.
            tap.read(&mut [0]).await
        };
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a query could not be cancelled"),
            Err(_) => tracing::debug!("a query could not be cancelled in time"),
        }
    }
}

impl Opened {
    /// How to reach what this connection is doing; see [`Connect::cancel`].
    pub(crate) fn cancelling(&self) -> (CancelToken, Host, u16) {
        (self.client.cancel_token(), self.host.clone(), self.port)
    }
}

/// Settings at start-up cost no round trip. They make the text forms of values independent of how server,
/// database and role are set.
fn settings(options: &PostgresConfig) -> String {
    let mut settings = "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO,YMD \
                        -c intervalstyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex -c xmloption=content \
                        -c quote_all_identifiers=off \
                        -c idle_in_transaction_session_timeout=0"
        .to_owned();
    if let Some(seconds) = options.statement_timeout {
        settings.push_str(&format!(" -c statement_timeout={}", seconds.saturating_mul(1000)));
    }
    settings
}

/// Runs statements in one round trip and gives the rows of each.
pub(crate) async fn batch(client: &Client, sql: &str) -> Result<Vec<Vec<tokio_postgres::SimpleQueryRow>>> {
    let messages = client.simple_query(sql).await.map_err(error)?;
    let mut results = vec![Vec::new()];
    for message in messages {
        match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                if let Some(rows) = results.last_mut() {
                    rows.push(row);
                }
            }
            tokio_postgres::SimpleQueryMessage::CommandComplete(_) => results.push(Vec::new()),
            _ => {}
        }
    }
    // The last one is of no statement.
    results.pop();
    Ok(results)
}

/// A column of a text row that may not be NULL.
pub(crate) fn text<'a>(row: &'a tokio_postgres::SimpleQueryRow, column: &str) -> Result<&'a str> {
    optional(row, column)?.ok_or_else(|| Error::internal(format!("the catalog gave NULL for {column}")))
}

/// A column of a text row.
pub(crate) fn optional<'a>(row: &'a tokio_postgres::SimpleQueryRow, column: &str) -> Result<Option<&'a str>> {
    row.try_get(column).map_err(error)
}
