//! Node bindings of transload.
