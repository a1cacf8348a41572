//! The connector on a real server, with what the server itself says as the oracle.
//!
//! `TRANSLOAD_TEST_POSTGRES_URL` names a superuser of a server that may be written to. Every test makes a schema
//! of its own and drops it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod connect;
mod connect_hosts;
mod connect_login;
mod connect_pooler;
mod consistency;
mod consistency_cursor;
mod describe;
mod faults;
mod faults_runs;
mod lake;
mod own;
mod own_server;
mod read;
mod redshift;
mod redshift_stand_in;
mod standby;
mod support;
mod types;
mod types_cases;
mod types_extensions;
mod types_oracle;
mod types_settings;
mod types_tables;
mod types_versions;
