#![doc = include_str!("../README.md")]

mod catalog;
mod config;
mod connect;
mod decode;
mod error;
mod figures;
mod query;
mod read;
mod session;
mod source;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
pub use config::{OnTypeMismatch, SqliteConfig};
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

/// The connector of type `sqlite`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite;

fn config(connection: &Connection) -> Result<SqliteConfig> {
    let config: SqliteConfig = connection.config()?;
    config.validate().map_err(|error| error.with("connection", connection.name()))?;
    Ok(config)
}

#[async_trait]
impl Connector for Sqlite {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::SOURCE.with_snapshot().with_cursor().with_figures();
        Descriptor::new("sqlite", "SQLite", Category::Relational, capability).options_of::<SqliteConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        config(connection).map(drop)
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(source::SqliteSource::new(config(&target.connection)?)))
    }

    async fn destination(&self, _target: Credentialed) -> Result<Arc<dyn Destination>> {
        Err(Error::unsupported("the sqlite connector cannot load tables")
            .hint("use a connection of type `dataset` or `bigquery` as the destination"))
    }
}
