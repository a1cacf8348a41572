#![doc = include_str!("../README.md")]

mod config;
mod connect;
mod error;
mod filter;
mod parquet;
mod session;
mod source;
mod stream;
mod text;

use std::sync::Arc;

use async_trait::async_trait;
pub use config::{FilesConfig, FixedColumn, Format};
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

/// The connector of type `files`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

fn config(connection: &Connection) -> Result<FilesConfig> {
    let config: FilesConfig = connection.config()?;
    config.validate().map_err(|error| error.with("connection", connection.name()))?;
    Ok(config)
}

#[async_trait]
impl Connector for Files {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::SOURCE.with_cursor().with_snapshot();
        Descriptor::new("files", "Files", Category::Files, capability)
            .aliases(&["file"])
            .options_of::<FilesConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        config(connection).map(drop)
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(source::FileSource::new(config(&target.connection)?)))
    }

    async fn destination(&self, _target: Credentialed) -> Result<Arc<dyn Destination>> {
        Err(Error::unsupported("the files connector cannot load tables")
            .hint("use a connection of type `dataset` to write Parquet"))
    }
}
