//! Credentials: which ones a connection means, and the headers they give.

use std::fmt;

use google_cloud_auth::credentials::{
    self, CacheableResource, Credentials, CredentialsProvider, EntityTag, service_account, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transload_core::{Error, ErrorKind, Result, Secret};

use crate::endpoint::{Endpoint, transport_kind};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Which kind of credentials a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthMode {
    /// Application Default Credentials of the machine.
    Default,
    /// No credentials: emulators.
    None,
    /// The connection's secret is an OAuth access token.
    AccessToken,
    /// The connection's secret is the JSON of a service account's key.
    ServiceAccount,
}

/// Credentials for Google APIs. Cheap to clone; tokens are cached and refreshed behind it.
#[derive(Clone)]
pub struct GoogleAuth {
    mode: AuthMode,
    credentials: Credentials,
}

impl GoogleAuth {
    /// The credentials that a connection means: those of `mode`, else what the secret looks like, else
    /// none for an endpoint on this machine, else the machine's default ones.
    ///
    /// Must be called inside a Tokio runtime, because tokens are refreshed in the background. No request
    /// is made yet.
    ///
    /// # Errors
    /// `config` where `mode`, secret and endpoint contradict each other or the secret cannot be read,
    /// `auth` where the machine has no default credentials.
    pub fn from_options(
        mode: Option<AuthMode>,
        secret: Option<&Secret>,
        endpoint: &Endpoint,
    ) -> Result<Self> {
        crate::install_crypto_provider();
        let mode = mode.unwrap_or_else(|| guess(secret, endpoint));
        if mode != AuthMode::None && !endpoint.is_tls() && !endpoint.is_local() {
            return Err(Error::config("credentials would be sent over plain HTTP to another machine")
                .hint("use an https endpoint, or set `auth` to \"none\""));
        }
        let credentials = match (mode, secret) {
            (AuthMode::None | AuthMode::Default, Some(_)) => {
                return Err(Error::config("`auth` says that no secret is used, but the connection has one")
                    .hint("drop `credentials`, or set `auth` to \"service_account\" or \"access_token\""));
            }
            (AuthMode::None, None) => credentials::anonymous::Builder::new().build(),
            (AuthMode::Default, None) => {
                credentials::Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
                    Error::new(ErrorKind::Auth, "cannot use the machine's default Google credentials")
                        .source_error(error)
                        .hint(
                            "run `gcloud auth application-default login`, or give the connection credentials",
                        )
                })?
            }
            (AuthMode::AccessToken, Some(token)) => Credentials::from(StaticToken::new(token)?),
            (AuthMode::ServiceAccount, Some(key)) => key_credentials(key)?,
            (AuthMode::AccessToken | AuthMode::ServiceAccount, None) => {
                return Err(Error::config("`auth` asks for a secret, but the connection has no credentials")
                    .hint("set `credentials` to a reference such as env:NAME or file:PATH"));
            }
        };
        Ok(Self { mode, credentials })
    }

    /// Which kind of credentials these are.
    #[must_use]
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// The credentials in the form that Google's own clients take.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// The headers that authorise one request; empty without credentials. Values that hold a token are
    /// marked sensitive.
    ///
    /// # Errors
    /// `auth` where no token can be had, `unreachable` where the token service does not answer.
    pub async fn headers(&self) -> Result<HeaderMap> {
        match self.credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => {
                let mut headers = data;
                if let Some(value) = headers.get_mut(AUTHORIZATION) {
                    value.set_sensitive(true);
                }
                Ok(headers)
            }
            // Only answered to requests that name a cached version, which this one does not.
            Ok(CacheableResource::NotModified) => {
                Err(Error::internal("credentials answered \"not modified\" to a first request"))
            }
            Err(error) => Err(credentials_error(error)),
        }
    }

    /// The access token; `None` without credentials.
    ///
    /// # Errors
    /// Those of [`Self::headers`].
    pub async fn token(&self) -> Result<Option<Secret>> {
        let headers = self.headers().await?;
        let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        Ok(text.and_then(|text| text.strip_prefix("Bearer ")).map(Secret::new))
    }
}

impl fmt::Debug for GoogleAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoogleAuth").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The error of a request that got no credentials, classified.
fn credentials_error(error: CredentialsError) -> Error {
    if error.is_transient() {
        let kind = transport_kind(&error);
        return Error::new(kind, "cannot get a Google access token")
            .source_error(error)
            .retryable(kind != ErrorKind::Tls)
            .hint("check the network between here and Google's token service");
    }
    Error::new(ErrorKind::Auth, "Google refused the credentials")
        .source_error(error)
        .hint("check that the key or login is current and not disabled")
}

fn guess(secret: Option<&Secret>, endpoint: &Endpoint) -> AuthMode {
    match secret {
        Some(secret) if secret.expose().trim_start().starts_with('{') => AuthMode::ServiceAccount,
        Some(_) => AuthMode::AccessToken,
        None if endpoint.is_local() => AuthMode::None,
        None => AuthMode::Default,
    }
}

/// Credentials from a key file's JSON. Errors never repeat it.
fn key_credentials(secret: &Secret) -> Result<Credentials> {
    let wrong = |why: &str| {
        Error::config(format!("the connection's secret {why}"))
            .hint("give the whole JSON of a service account key as Google issued it")
    };
    // The parser's own message may quote the key, so it is not kept.
    let key: Value = serde_json::from_str(secret.expose()).map_err(|_| wrong("is not JSON"))?;
    let built = match key.get("type").and_then(Value::as_str) {
        Some("service_account") => service_account::Builder::new(key)
            .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
            .build(),
        Some("authorized_user") => user_account::Builder::new(key).with_scopes([SCOPE]).build(),
        _ => return Err(wrong("is neither a service account key nor user credentials")),
    };
    built.map_err(|error| {
        let missing = error.is_missing_field();
        wrong(if missing { "lacks a field of a Google key" } else { "is not a usable Google key" })
    })
}

/// An access token that somebody else obtained and refreshes.
struct StaticToken {
    header: HeaderValue,
    tag: EntityTag,
}

impl StaticToken {
    fn new(token: &Secret) -> Result<Self> {
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", token.expose().trim())).map_err(|_| {
                Error::config("the connection's secret is not an access token")
                    .hint("an access token is one line of visible ASCII characters")
            })?;
        header.set_sensitive(true);
        Ok(Self { header, tag: EntityTag::new() })
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticToken(redacted)")
    }
}

impl CredentialsProvider for StaticToken {
    async fn headers(
        &self,
        _: Extensions,
    ) -> std::result::Result<CacheableResource<HeaderMap>, CredentialsError> {
        let data = HeaderMap::from_iter([(AUTHORIZATION, self.header.clone())]);
        Ok(CacheableResource::New { entity_tag: self.tag.clone(), data })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::new(Some(text), "", "/v2").unwrap()
    }

    #[tokio::test]
    async fn modes_follow_from_secret_and_endpoint() {
        let local = endpoint("http://127.0.0.1:9050");
        let google = endpoint("https://bigquery.googleapis.com");
        let anonymous = GoogleAuth::from_options(None, None, &local).unwrap();
        assert_eq!(anonymous.mode(), AuthMode::None);
        assert!(anonymous.headers().await.unwrap().is_empty());
        assert!(anonymous.token().await.unwrap().is_none());

        let secret = Secret::new("ya29.token\n");
        let token = GoogleAuth::from_options(None, Some(&secret), &google).unwrap();
        assert_eq!(token.mode(), AuthMode::AccessToken);
        assert_eq!(token.token().await.unwrap().unwrap().expose(), "ya29.token");
        let shown = format!("{token:?} {:?} {:?}", token.headers().await.unwrap(), token.credentials());
        assert!(!shown.contains("ya29"), "{shown}");

        assert_eq!(guess(None, &google), AuthMode::Default);
        assert_eq!(guess(Some(&Secret::new("{\"type\":1}")), &local), AuthMode::ServiceAccount);
    }

    #[tokio::test]
    async fn contradictions_are_refused() {
        let local = endpoint("http://localhost:9050");
        let remote = endpoint("http://10.1.2.3:9050");
        let secret = Secret::new("hunter2");
        for (mode, secret, endpoint) in [
            (Some(AuthMode::None), Some(&secret), &local),
            (Some(AuthMode::Default), Some(&secret), &local),
            (Some(AuthMode::AccessToken), None, &local),
            (Some(AuthMode::ServiceAccount), None, &local),
            (Some(AuthMode::ServiceAccount), Some(&secret), &local),
            (None, Some(&secret), &remote),
            (None, None, &remote),
        ] {
            let error = GoogleAuth::from_options(mode, secret, endpoint).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.hint_text().is_some() && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn broken_keys_are_not_repeated() {
        let google = endpoint("https://bigquery.googleapis.com");
        for text in [
            "{\"type\": \"service_account\", \"private_key\": \"hunter2\"}",
            "{\"type\": \"hunter2\"}",
            "{\"private_key\": \"hunter2",
        ] {
            let error = GoogleAuth::from_options(None, Some(&Secret::new(text)), &google).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
