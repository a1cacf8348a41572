#![doc = include_str!("../README.md")]

pub use transload_core::*;

#[cfg(feature = "control-plane")]
pub use transload_control_plane as control_plane;

/// The connectors that this build contains, beside [`memory`], by the name of their crate.
pub mod connectors {
    #[cfg(feature = "bigquery")]
    pub use transload_bigquery as bigquery;
    #[cfg(feature = "dataset")]
    pub use transload_dataset as dataset;
    #[cfg(feature = "files")]
    pub use transload_files as files;
    /// No connector: credentials and the secret store of Google Cloud.
    #[cfg(feature = "gcp-secrets")]
    pub use transload_google as google;
    #[cfg(feature = "sqlserver")]
    pub use transload_mssql as mssql;
    #[cfg(feature = "mysql")]
    pub use transload_mysql as mysql;
    #[cfg(feature = "postgres")]
    pub use transload_postgres as postgres;
    #[cfg(feature = "sqlite")]
    pub use transload_sqlite as sqlite;
}

/// A registry with every connector that this build contains. This is the one table of connectors: a new one
/// adds a Cargo feature, a line above and a line here.
#[must_use]
pub fn default_registry() -> Registry {
    let registry = Registry::new().with(memory::Memory::default());
    #[cfg(feature = "bigquery")]
    let registry = registry.with(connectors::bigquery::BigQuery);
    #[cfg(feature = "dataset")]
    let registry = registry.with(connectors::dataset::Dataset);
    #[cfg(feature = "files")]
    let registry = registry.with(connectors::files::Files);
    #[cfg(feature = "mysql")]
    let registry = registry.with(connectors::mysql::Mysql);
    #[cfg(feature = "postgres")]
    let registry = registry.with(connectors::postgres::Postgres).with(connectors::postgres::Redshift);
    #[cfg(feature = "sqlite")]
    let registry = registry.with(connectors::sqlite::Sqlite);
    #[cfg(feature = "sqlserver")]
    let registry = registry.with(connectors::mssql::Mssql);
    #[cfg(feature = "gcp-secrets")]
    let registry = {
        let mut registry = registry;
        let store = connectors::google::SecretManager::default();
        registry.secrets_mut().register("gcp-secret", std::sync::Arc::new(store));
        registry
    };
    registry
}
