#![doc = include_str!("../README.md")]

mod catalog;
mod commit;
mod config;
mod connect;
mod convert;
mod decode;
mod deletes;
mod destination;
mod encode;
mod error;
mod evolve;
mod explain;
mod figures;
mod filter;
mod gcs;
mod jobs;
mod limits;
mod load;
mod pending;
mod prune;
mod renew;
mod retry;
mod session;
mod source;
mod sql;
mod stage;
mod storage;
mod table;
mod types;
mod upload;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Result};

pub use config::{BigQueryConfig, BigQueryJobOptions, LoadMethod};

/// Google BigQuery, type `bigquery`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BigQuery;

#[async_trait]
impl Connector for BigQuery {
    fn descriptor(&self) -> Descriptor {
        let source = Capability::SOURCE.with_schemas().with_snapshot().with_cursor().with_figures();
        let capability = source.and(Capability::DESTINATION);
        Descriptor::new("bigquery", "Google BigQuery", Category::Warehouse, capability)
            .takes_secret()
            .options_of::<BigQueryConfig>()
            .job_options_of::<BigQueryJobOptions>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        BigQueryConfig::from_connection(connection).map(|_| ())
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        let config = BigQueryConfig::from_connection(&target.connection)?;
        let client = connect::Client::new(config, target.secret.as_ref()).await?;
        Ok(Arc::new(source::BigQuerySource::new(client)))
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        let config = BigQueryConfig::from_connection(&target.connection)?;
        let client = connect::Client::new(config, target.secret.as_ref()).await?;
        Ok(Arc::new(destination::BigQueryDestination::new(client)))
    }
}
