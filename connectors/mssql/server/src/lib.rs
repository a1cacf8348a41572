//! A TDS server over SQLite, for tests of transload's SQL Server connector where no SQL Server can be had.
//!
//! It speaks the wire protocol (TDS 7.4 and 8) and runs as much T-SQL as the connector and its tests write, with T-SQL's
//! types and conversions. What it proves and what it does not is in the README.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use transload_tds_server::{Server, Settings};
//!
//! let server = Server::start(Settings::default()).await?;
//! println!("sa:{}@{}/shop", server.password(), server.address());
//! # Ok(())
//! # }
//! ```

mod connection;
mod engine;
mod error;
pub mod generate;
mod server;
mod settings;
mod signals;
mod sql;
mod types;
mod wire;

pub use server::{LoginRecord, Server};
pub use settings::{Encryption, Flavour, LoginError, Settings};
