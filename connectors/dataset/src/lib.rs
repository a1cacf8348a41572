#![doc = include_str!("../README.md")]

mod chunk;
mod compress;
mod config;
mod conform;
mod connect;
mod deletes;
mod destination;
mod dictionary;
mod encode;
mod error;
mod figures;
mod groups;
mod integers;
mod marks;
mod merge;
mod prune;
mod publish;
mod runs;
mod spill;
mod stored;
mod texts;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

pub use config::{Compression, DatasetConfig};

/// The connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dataset;

#[async_trait]
impl Connector for Dataset {
    fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            "dataset",
            "Parquet dataset (local folder)",
            Category::Files,
            Capability::DESTINATION.with_figures(),
        )
        .aliases(&["parquet-dataset"])
        .options_of::<DatasetConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        DatasetConfig::of(connection).map(|_| ())
    }

    async fn source(&self, _: Credentialed) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("a Parquet dataset is a destination only")
            .hint("read its files with a connection of type `files`"))
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        let config = DatasetConfig::of(&target.connection)?;
        Ok(Arc::new(destination::DatasetDestination::new(config)))
    }
}
