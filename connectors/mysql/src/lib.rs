#![doc = include_str!("../README.md")]

mod auth;
mod catalog;
mod channel;
mod config;
mod connect;
mod decode;
mod error;
mod figures;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "a fuzz target fails by panicking")]
pub mod fuzzing;
mod geometry;
mod link;
mod login;
mod protocol;
mod reading;
mod rows;
mod select;
mod session;
mod snapshot;
mod source;
mod splits;
mod temporal;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Category, Connector, Credentialed, Descriptor, Destination, Source,
};
use transload_core::{Connection, Error, Result};

pub use config::{MysqlConfig, SharedSnapshot, TlsMode, ZeroDates};

/// The connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mysql;

#[async_trait]
impl Connector for Mysql {
    fn descriptor(&self) -> Descriptor {
        let capability = Capability::SOURCE.with_schemas().with_snapshot().with_cursor().with_figures();
        Descriptor::new("mysql", "MySQL and MariaDB", Category::Relational, capability)
            .aliases(&["mariadb"])
            .default_port(3306)
            .takes_secret()
            .options_of::<MysqlConfig>()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        connection.config::<MysqlConfig>()?.check()
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        let mut config: MysqlConfig = target.connection.config()?;
        // A session holds its connections from its beginning on.
        if let Some(most) = target.connection.limits().parallel_reads {
            config.session_connections = config.session_connections.min(most.get());
        }
        Ok(Arc::new(source::MysqlSource::new(&config, target.secret.as_ref())?))
    }

    async fn destination(&self, _: Credentialed) -> Result<Arc<dyn Destination>> {
        Err(Error::unsupported("MySQL is a source only")
            .hint("load into a connection of type `bigquery` or `dataset`"))
    }
}
