//! PostgreSQL connector of transload.
