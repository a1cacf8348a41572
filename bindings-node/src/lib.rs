//! Node bindings of transload: the native half of the npm package `transload`.
//!
//! Only `index.js` uses this module; its API is the one that `index.d.ts` describes. Documents, options and
//! reports cross the boundary as JSON texts, rows as Arrow IPC bytes, and errors as described in [`error`].

pub mod arrow;
pub mod connection;
mod control_plane;
pub mod error;
pub mod job;
pub mod mapper;
pub mod reader;
pub mod runner;

use std::sync::LazyLock;

use napi_derive::napi;
use serde_json::Value;
use transload::memory::Memory;
use transload::{JobDocument, Registry};

/// The tables of `memory:` connections: one store for the whole process.
pub(crate) static MEMORY: LazyLock<Memory> = LazyLock::new(Memory::default);

/// The connectors of this build.
pub(crate) static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| transload::default_registry().with(MEMORY.clone()));

/// Descriptors of all connectors, as a JSON text.
///
/// # Errors
/// None in practice; serialising plain data cannot fail.
#[napi]
pub fn connectors() -> napi::Result<String> {
    Ok(serde_json::to_string(&REGISTRY.descriptors())?)
}

/// The version of the engine.
#[napi]
#[must_use]
pub fn version() -> String {
    transload::VERSION.to_owned()
}

/// JSON Schema of job documents, as a JSON text.
#[napi]
#[must_use]
pub fn job_schema() -> String {
    Value::from(transload::document::schema_of::<JobDocument>()).to_string()
}
