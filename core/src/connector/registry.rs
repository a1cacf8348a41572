//! The connectors that are there, and opening connections with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Connector, Credentialed, Descriptor, Destination, ServerInfo, Source};
use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{LayoutDocument, TableCheck, TableMapping, TargetRef};
use crate::secret::SecretStores;

/// The connectors and secret stores that connections are opened with. A value: clone it, extend it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    connectors: Vec<Arc<dyn Connector>>,
    secrets: SecretStores,
}

impl Registry {
    /// A registry without connectors; see the facade's `default_registry`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connector; one with the same type is replaced.
    #[must_use]
    pub fn with(mut self, connector: impl Connector + 'static) -> Self {
        let kind = connector.descriptor().kind;
        self.connectors.retain(|known| known.descriptor().kind != kind);
        self.connectors.push(Arc::new(connector));
        self
    }

    /// The secret stores, to register others.
    pub fn secrets_mut(&mut self) -> &mut SecretStores {
        &mut self.secrets
    }

    /// The secret stores.
    #[must_use]
    pub fn secrets(&self) -> &SecretStores {
        &self.secrets
    }

    /// Descriptors of all connectors, for a user interface.
    #[must_use]
    pub fn descriptors(&self) -> Vec<Descriptor> {
        self.connectors.iter().map(|connector| connector.descriptor()).collect()
    }

    /// The connector of a type.
    ///
    /// # Errors
    /// `config` if there is none; the error lists the types there are.
    pub fn connector(&self, kind: &str) -> Result<&Arc<dyn Connector>> {
        let found = self.connectors.iter().find(|connector| {
            let descriptor = connector.descriptor();
            descriptor.kind == kind || descriptor.aliases.contains(&kind)
        });
        found.ok_or_else(|| {
            let known = self.descriptors().iter().map(|d| d.kind).collect::<Vec<_>>().join(", ");
            Error::config(format!("no connector for the type `{kind}`"))
                .hint(format!("known types: {known}; others may be behind a Cargo feature"))
        })
    }

    /// Checks type and options of a connection without any I/O.
    ///
    /// # Errors
    /// `config`.
    pub fn validate(&self, connection: &Connection) -> Result<()> {
        self.connector(connection.kind())?.validate(connection)
    }

    async fn credentialed(&self, connection: &Connection) -> Result<Credentialed> {
        let secret = match (connection.inline_secret(), connection.credentials_ref()) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(reference)) => Some(self.secrets.resolve(reference).await?),
            (None, None) => None,
        };
        Ok(Credentialed { connection: connection.clone(), secret })
    }

    /// Opens a connection for reading.
    ///
    /// # Errors
    /// `config`, errors of the secret store, and those of the connector.
    pub async fn source(&self, connection: &Connection) -> Result<Arc<dyn Source>> {
        let open = async {
            let connector = self.connector(connection.kind())?;
            connector.validate(connection)?;
            connector.source(self.credentialed(connection).await?).await
        };
        open.await.map_err(|error| error.with("connection", connection.name()))
    }

    /// Opens a connection for loading.
    ///
    /// # Errors
    /// `config`, errors of the secret store, and those of the connector.
    pub async fn destination(&self, connection: &Connection) -> Result<Arc<dyn Destination>> {
        let open = async {
            let connector = self.connector(connection.kind())?;
            connector.validate(connection)?;
            connector.destination(self.credentialed(connection).await?).await
        };
        open.await.map_err(|error| error.with("connection", connection.name()))
    }

    /// Compares the table that is at a destination with the one that a mapping and a layout want, without changing
    /// it.
    ///
    /// # Errors
    /// Those of [`Self::destination`] and [`Destination::validate`], and `config` for an impossible layout.
    pub async fn validate_table(
        &self,
        connection: &Connection,
        mapping: &TableMapping,
        target: &TargetRef,
        layout: &LayoutDocument,
    ) -> Result<TableCheck> {
        let destination = self.destination(connection).await?;
        let check = async {
            let advise = layout.wants_advice() && destination.table(target).await?.is_none();
            destination.validate(&mapping.wanted_table(target.clone(), layout, advise)?).await
        };
        check.await.map_err(|error| error.with("connection", connection.name()))
    }

    /// Tests a connection: a status, never an error.
    pub async fn test(&self, connection: &Connection, timeout: Duration) -> ConnectionStatus {
        let started = Instant::now();
        let outcome = tokio::time::timeout(timeout, self.check(connection)).await;
        let latency = started.elapsed();
        match outcome {
            Ok(Ok(server)) => {
                ConnectionStatus { status: TestStatus::Ok, latency, server: Some(server), error: None }
            }
            Ok(Err((asked, error))) => {
                // A system that answered "no" is red; not being able to ask is yellow.
                let refused = asked
                    && !matches!(
                        error.kind(),
                        ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::Internal
                    );
                let status = if refused || error.kind() == ErrorKind::Config {
                    TestStatus::Failed
                } else {
                    TestStatus::Error
                };
                ConnectionStatus { status, latency, server: None, error: Some(error) }
            }
            Err(_) => {
                let error = Error::new(
                    ErrorKind::Timeout,
                    format!("no answer within {:.1} s", timeout.as_secs_f64()),
                )
                .operation("test connection")
                .with("connection", connection.name())
                .hint("check host, port and firewalls, or raise the timeout");
                ConnectionStatus { status: TestStatus::Error, latency, server: None, error: Some(error) }
            }
        }
    }

    /// The flag says whether the system itself was asked.
    async fn check(&self, connection: &Connection) -> Result<ServerInfo, (bool, Error)> {
        let connector = self.connector(connection.kind()).map_err(|error| (false, error))?;
        connector.validate(connection).map_err(|error| (false, error))?;
        let target = self.credentialed(connection).await.map_err(|error| (false, error))?;
        let ask = async {
            if connector.descriptor().capability.source {
                connector.source(target).await?.check().await
            } else {
                connector.destination(target).await?.check().await
            }
        };
        ask.await.map_err(|error| (true, error.with("connection", connection.name())))
    }
}

/// Outcome of a connection test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestStatus {
    /// It works (green).
    Ok,
    /// The system said no (red): refused credentials, missing database, unreachable host, TLS.
    Failed,
    /// It could not be found out (yellow): secret store down, timeout of the test itself.
    Error,
}

impl TestStatus {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// What a connection test found.
#[derive(Debug)]
pub struct ConnectionStatus {
    /// Green, red or yellow.
    pub status: TestStatus,
    /// How long the test took.
    pub latency: Duration,
    /// What the system said of itself, if it was reached.
    pub server: Option<ServerInfo>,
    /// What went wrong, with a hint.
    pub error: Option<Error>,
}

impl ConnectionStatus {
    /// The JSON form: `status`, `latency_ms`, `version`, `tls`, `error`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "status": self.status.as_str(),
            "latency_ms": u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX),
            "version": self.server.as_ref().map(|server| server.version.as_str()),
            "tls": self.server.as_ref().and_then(|server| server.tls),
            "error": self.error.as_ref().map(Error::to_json),
        })
    }
}
