//! What another client than ours reads from the server: tiberius, without TLS (it brings no other provider along), and
//! bytes of our own where tiberius does not go.

mod batches;
mod raw;
mod support;
mod types;
