//! The bearer token: read where it is kept, and read again when it was refused.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderValue;
use transload_core::{Error, Result, Secret, SecretRef, SecretStores};

/// Where the token comes from.
pub(crate) struct Token {
    kept: Option<(SecretRef, SecretStores)>,
    current: Mutex<Option<Secret>>,
}

impl Token {
    pub(crate) fn fixed(secret: Secret) -> Self {
        Self { kept: None, current: Mutex::new(Some(secret)) }
    }

    pub(crate) fn kept(reference: SecretRef, stores: SecretStores) -> Self {
        Self { kept: Some((reference, stores)), current: Mutex::new(None) }
    }

    pub(crate) async fn get(&self) -> Result<Secret> {
        let current = self.lock().clone();
        match current {
            Some(secret) => Ok(secret),
            None => self.read().await,
        }
    }

    /// Reads the token again after `refused` was refused: true if there is another one now.
    pub(crate) async fn renew(&self, refused: &Secret) -> bool {
        self.kept.is_some() && self.read().await.is_ok_and(|secret| secret != *refused)
    }

    async fn read(&self) -> Result<Secret> {
        let Some((reference, stores)) = &self.kept else {
            return Err(Error::internal("a token without a store"));
        };
        let secret = stores.resolve(reference).await?;
        *self.lock() = Some(secret.clone());
        Ok(secret)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header of a token, marked so that nothing prints it.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| {
        Error::config("the control plane's token has characters that no header can carry")
            .hint("check that it is the token alone, without line ends in it")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("kept", &self.kept.as_ref().map(|(at, _)| at)).finish_non_exhaustive()
    }
}
