//! Text and Parquet files as sources of transload.
