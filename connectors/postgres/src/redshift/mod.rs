//! Amazon Redshift: the protocol of PostgreSQL, with a catalog and ways to read of its own.
//!
//! What follows from documentation alone, and what was tested, says the README.

mod catalog;
mod config;
mod session;
mod source;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

pub use config::RedshiftConfig;

/// The connector of Amazon Redshift.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redshift;

#[async_trait]
impl Connector for Redshift {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::SOURCE.with_schemas().with_snapshot().with_cursor();
        Descriptor::new("redshift", "Amazon Redshift", Category::Warehouse, capability)
            .default_port(config::PORT)
            .takes_secret()
            .options_of::<RedshiftConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        RedshiftConfig::of(connection)?.check()
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        let config = RedshiftConfig::of(&target.connection)?;
        config.check()?;
        Ok(Arc::new(source::RedshiftSource::new(&config, target.secret.as_ref())?))
    }

    async fn destination(&self, _: Credentialed) -> Result<Arc<dyn Destination>> {
        Err(Error::unsupported("Redshift is a source only")
            .hint("load into a connection of type `bigquery` or `dataset`"))
    }
}
