//! Identifier and literal quoting shared by the SQL connectors of transload.
