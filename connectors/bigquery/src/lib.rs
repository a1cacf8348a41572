//! BigQuery connector of transload.
