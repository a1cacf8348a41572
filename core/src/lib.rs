//! The core of transload: everything that knows no database, no cloud and no language binding.
//!
//! - [`Connection`]: a named way into one system, with a reference to its credentials.
//! - [`Registry`]: the connectors that can open it. [`connector`] holds their contract.
//! - [`schema`]: source schemas, the [`SchemaMapper`], casts, target tables.
//! - [`EtlJob`]: one table to one table, valid by construction.
//! - [`Runner`]: runs jobs and reports. [`profile`] is what its reports say of the columns.
//! - [`memory`]: a connector in this process's memory, always there.

mod backoff;
pub mod batch;
mod connection;
pub mod connector;
pub mod document;
mod error;
pub mod job;
pub mod memory;
pub mod profile;
pub mod proof;
mod read;
pub mod runner;
pub mod schema;
mod secret;

pub use backoff::full_jitter;
pub use batch::BatchStream;
pub use connection::{Connection, ConnectionLimits};
pub use connector::{ConnectionStatus, Registry, TestStatus};
pub use error::{Error, ErrorDocument, ErrorKind, Result, ResultExt};
pub use job::{EtlJob, EtlJobBuilder, JobDocument, LoadStrategy, Schedule};
pub use read::{TableStream, read_table};
pub use runner::{
    BatchReport, BatchStatus, CancelHandle, MemoryBudget, Phase, Progress, RunAllOptions, RunReport,
    RunStatus, Runner, RunnerOptions,
};
pub use schema::{SchemaMapper, TableMapping};
pub use secret::{EnvStore, FileStore, MemoryStore, Secret, SecretRef, SecretStore, SecretStores};

/// The version of transload, as reports and load records carry it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
