#![doc = include_str!("../README.md")]

mod auth;
mod endpoint;

pub use auth::{AuthMode, GoogleAuth};
pub use endpoint::{Endpoint, transport_kind};

/// Makes ring the process's default TLS provider, unless another one was installed before.
///
/// The Google crates are built without a provider of their own and need a default one.
pub fn install_crypto_provider() {
    // An error means that the embedder chose a provider already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
