//! Local Parquet dataset as a destination of transload.
