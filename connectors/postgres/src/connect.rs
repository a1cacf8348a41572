//! Opening connections: address, credentials, TLS and the settings that every session has.

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use transload_core::{Error, Result, Secret};

use crate::config::{PostgresConfig, TlsMode};
use crate::error::{connect_error, connect_timeout, error};
use crate::tls::client_config;

/// Opens connections with the same options.
#[derive(Clone)]
pub(crate) struct Connect {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    address: String,
    timeout: Duration,
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
            .connect_timeout(timeout)
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

    /// Opens a connection. Its other half runs as a task of its own until the client is dropped.
    pub(crate) async fn open(&self) -> Result<Client> {
        // The driver's own timeout ends with the TCP handshake; a server that accepts and then says nothing
        // would hold the caller for ever.
        let opening = tokio::time::timeout(self.timeout, self.config.connect(self.tls.clone()));
        let opened = opening.await.map_err(|_| connect_timeout(&self.address, self.timeout))?;
        let (client, connection) = opened.map_err(|error| connect_error(&self.address, error))?;
        tokio::spawn(async move {
            // The client's calls report the same error; this is only for the log.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(client)
    }

    /// Asks the server to stop what a connection is doing. Best effort.
    pub(crate) async fn cancel(&self, token: CancelToken) {
        if let Err(error) = token.cancel_query(self.tls.clone()).await {
            tracing::debug!(%error, "a query could not be cancelled");
        }
    }
}

/// Settings at start-up cost no round trip. They make the text forms of values independent of how server,
/// database and role are set.
fn settings(options: &PostgresConfig) -> String {
    let mut settings = "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO,YMD \
                        -c intervalstyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex -c xmloption=content \
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
