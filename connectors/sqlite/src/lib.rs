//! SQLite connector of transload.
