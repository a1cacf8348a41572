#![doc = include_str!("../README.md")]

mod commit;
mod config;
mod connect;
mod destination;
mod encode;
mod error;
mod evolve;
mod jobs;
mod limits;
mod load;
mod prune;
mod renew;
mod retry;
mod sql;
mod table;
mod types;
mod upload;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

pub use config::BigQueryConfig;

/// Google BigQuery, type `bigquery`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BigQuery;

#[async_trait]
impl Connector for BigQuery {
    fn descriptor(&self) -> Descriptor {
        Descriptor::new("bigquery", "Google BigQuery", Category::Warehouse, Capability::DESTINATION)
            .takes_secret()
            .options_of::<BigQueryConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        BigQueryConfig::from_connection(connection).map(|_| ())
    }

    async fn source(&self, _: Credentialed) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("BigQuery cannot be read yet").hint("use it as a destination"))
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        let config = BigQueryConfig::from_connection(&target.connection)?;
        let client = connect::Client::new(config, target.secret.as_ref()).await?;
        Ok(Arc::new(destination::BigQueryDestination::new(client)))
    }
}
