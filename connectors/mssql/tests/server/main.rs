//! The connector on a server, with what another client says of it as the oracle.
//!
//! `TRANSLOAD_SQLSERVER_URL` names a user who may do everything in a database that may be written to; without it a test
//! server of this repository is started for each test. Every test makes a schema of its own. The tests of module `tricks`
//! need what only the test server does, and use it always.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "../admin/mod.rs"]
mod admin;
mod describe;
mod faults;
mod read;
mod runs;
mod snapshot;
mod support;
mod tricks;
mod types;
