//! The connector on a real server, MariaDB, with what the server itself says as the oracle.
//!
//! `TRANSLOAD_TEST_MARIADB_URL` names a user who may do all of a server that may be written to. Every test makes a
//! database of its own and drops it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod auth;
mod connect;
mod describe;
mod faults;
mod own;
mod read;
mod runs;
mod sha2_proxy;
mod snapshot;
mod support;
mod types;
mod types_dates;
