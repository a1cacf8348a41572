//! Behaviour suite for the connectors of transload.
