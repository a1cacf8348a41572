#![doc = include_str!("../README.md")]

mod catalog;
mod catalog_types;
mod config;
mod connect;
mod copy;
mod copy_stream;
mod decode;
mod dialect;
mod error;
mod figures;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "a fuzz target fails by panicking")]
pub mod fuzzing;
mod hosts;
mod json_form;
mod nested;
mod numeric;
mod passfile;
mod reader;
mod reading;
mod redshift;
mod select;
mod session;
mod settled;
mod source;
mod tap;
mod text_form;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

pub use config::{ChannelBinding, Ports, PostgresConfig, TargetSessionAttrs, TlsMode};
pub use redshift::{Redshift, RedshiftConfig};

/// The connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

#[async_trait]
impl Connector for Postgres {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::SOURCE
            .with_schemas()
            .with_snapshot()
            .with_cursor()
            .with_open_transactions()
            .with_figures();
        Descriptor::new("postgresql", "PostgreSQL", Category::Relational, capability)
            .aliases(&["postgres"])
            .default_port(5432)
            .takes_secret()
            .options_of::<PostgresConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        connection.config::<PostgresConfig>()?.check()
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        let config: PostgresConfig = target.connection.config()?;
        Ok(Arc::new(source::PostgresSource::new(&config, target.secret.as_ref())?))
    }

    async fn destination(&self, _: Credentialed) -> Result<Arc<dyn Destination>> {
        Err(Error::unsupported("PostgreSQL is a source only")
            .hint("load into a connection of type `bigquery` or `dataset`"))
    }
}
