//! Credentials that can be made anew, once a server has refused a token that looked valid.

use std::sync::{Arc, PoisonError, RwLock};

use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap};
use transload_core::{Result, Secret};
use transload_google::{AuthMode, AuthOptions, Endpoint, GoogleAuth};

/// The credentials of a connection. Cheap to clone; all clones change together.
#[derive(Debug, Clone)]
pub(crate) struct Renewable(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AuthOptions,
    secret: Option<Secret>,
    current: RwLock<GoogleAuth>,
}

impl Renewable {
    /// # Errors
    /// Those of [`GoogleAuth::from_options`].
    pub(crate) fn new(options: AuthOptions, secret: Option<&Secret>, endpoint: &Endpoint) -> Result<Self> {
        let current = RwLock::new(GoogleAuth::from_options(options.clone(), secret, endpoint)?);
        Ok(Self(Arc::new(Inner { options, secret: secret.cloned(), current })))
    }

    #[cfg(test)]
    pub(crate) fn anonymous() -> Self {
        let endpoint = Endpoint::new(Some("http://127.0.0.1:1"), "", "/").unwrap();
        Self::new(Some(AuthMode::None).into(), None, &endpoint).unwrap()
    }

    /// Makes the credentials anew, with nothing cached. False where there is nothing to make anew.
    pub(crate) fn renew(&self) -> bool {
        let inner = &self.0;
        if matches!(self.auth().mode(), AuthMode::None | AuthMode::AccessToken) {
            return false;
        }
        match self.auth().renewed(inner.options.clone(), inner.secret.as_ref()) {
            Ok(auth) => {
                *inner.current.write().unwrap_or_else(PoisonError::into_inner) = auth;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the credentials could not be made anew");
                false
            }
        }
    }

    fn auth(&self) -> GoogleAuth {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// In the form that Google's clients take.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::from(self.clone())
    }

    /// The headers that authorise one request.
    ///
    /// # Errors
    /// Those of [`GoogleAuth::headers`].
    pub(crate) async fn headers(&self) -> Result<HeaderMap> {
        self.auth().headers().await
    }
}

impl CredentialsProvider for Renewable {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> std::result::Result<CacheableResource<HeaderMap>, CredentialsError> {
        self.auth().credentials().headers(extensions).await
    }

    async fn universe_domain(&self) -> Option<String> {
        self.auth().credentials().universe_domain().await
    }
}
