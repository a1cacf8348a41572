//! Google authentication and endpoints for the connectors of transload.
