#![doc = include_str!("../README.md")]

mod auth;
mod endpoint;
#[cfg(feature = "secret-manager")]
mod project;
#[cfg(feature = "secret-manager")]
mod secrets;
mod token;

pub use auth::{AuthMode, AuthOptions, GoogleAuth};
pub use endpoint::{Endpoint, transport_kind};
#[cfg(feature = "secret-manager")]
pub use secrets::{OldVersions, SecretManager, SecretManagerOptions};

/// Makes ring the process's default TLS provider, unless another one was installed before.
///
/// The Google crates are built without a provider of their own and need a default one.
pub fn install_crypto_provider() {
    // An error means that the embedder chose a provider already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
