#![doc = include_str!("../README.md")]

pub use transload_core::*;

/// The connectors that this build contains, beside [`memory`], by the name of their crate.
pub mod connectors {
}

/// A registry with every connector that this build contains. This is the one table of connectors: a new one
/// adds a Cargo feature, a line above and a line here.
#[must_use]
pub fn default_registry() -> Registry {
    Registry::new().with(memory::Memory::default())
}
