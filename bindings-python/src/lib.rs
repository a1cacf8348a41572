//! Python bindings of transload.
