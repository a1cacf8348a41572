//! Credentials: which ones a connection means, and the headers they give.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use google_cloud_auth::credentials::{
    self, CacheableResource, Credentials, CredentialsProvider, EntityTag, external_account, impersonated,
    mds, service_account, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::{Handle, Id};
use transload_core::{Error, ErrorKind, Result, Secret};

use crate::endpoint::{Endpoint, transport_kind};
use crate::token::{Exchange, Tokens};

pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The API that exchanges credentials for those of another account.
const IAM: &str = "https://iamcredentials.googleapis.com";
/// Google's own token endpoints, as its keys name them.
const GOOGLE_TOKEN_URIS: [&str; 2] =
    ["https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token"];

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
    /// The connection's secret is the JSON of a service account's key, or of other credentials that Google's
    /// tools write: `authorized_user`, `impersonated_service_account`, `external_account`.
    ServiceAccount,
    /// The account of the machine this runs on, from its metadata server.
    Metadata,
}

/// What a connection says about its credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthOptions {
    /// Which kind they are. Default: what the secret looks like.
    pub mode: Option<AuthMode>,
    /// The e-mail of a service account that they are exchanged for.
    pub impersonate: Option<String>,
    /// Base URL of the IAM Credentials API, which does the exchange, in place of Google's.
    pub iam_endpoint: Option<String>,
}

impl From<Option<AuthMode>> for AuthOptions {
    fn from(mode: Option<AuthMode>) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// Credentials for Google APIs. Cheap to clone; tokens are kept and renewed behind it, and shared by all
/// connections of a runtime that have the same credentials at the same time.
#[derive(Clone)]
pub struct GoogleAuth(Arc<Inner>);

struct Inner {
    mode: AuthMode,
    credentials: Credentials,
}

/// Credentials in use, by runtime and hash. Tokens are renewed by tasks of a runtime, so they are not shared
/// between runtimes. Nothing outlives its last connection.
static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

type Shared = HashMap<(Option<Id>, [u8; 32]), Weak<Inner>>;

impl GoogleAuth {
    /// The credentials that a connection means: those of `mode`, else what the secret looks like, else
    /// none for an endpoint on this machine, else the machine's default ones.
    ///
    /// Must be called inside a Tokio runtime, because tokens are refreshed in the background. No request
    /// is made yet.
    ///
    /// # Errors
    /// `config` where options, secret and endpoint contradict each other or the secret cannot be read,
    /// `auth` where the machine has no default credentials.
    pub fn from_options(
        options: impl Into<AuthOptions>,
        secret: Option<&Secret>,
        endpoint: &Endpoint,
    ) -> Result<Self> {
        crate::install_crypto_provider();
        let options = options.into();
        let mode = options.mode.unwrap_or_else(|| guess(secret, endpoint));
        check(mode, &options, secret, endpoint)?;
        Self::shared(mode, &options, secret, None)
    }

    /// The same credentials with nothing kept, for tokens that a server has refused although they looked valid.
    /// Who shares them and was refused as well gets the same new ones.
    ///
    /// # Errors
    /// Those of [`Self::from_options`].
    pub fn renewed(&self, options: impl Into<AuthOptions>, secret: Option<&Secret>) -> Result<Self> {
        Self::shared(self.0.mode, &options.into(), secret, Some(self))
    }

    /// Those that are in use already, unless they are `refused`; else new ones.
    fn shared(
        mode: AuthMode,
        options: &AuthOptions,
        secret: Option<&Secret>,
        refused: Option<&Self>,
    ) -> Result<Self> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let key = (runtime, fingerprint(mode, options, secret));
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.get(&key).and_then(Weak::upgrade).map(Self)
            && refused.is_none_or(|refused| !refused.shares_tokens_with(&known))
        {
            return Ok(known);
        }
        let credentials = impersonated(own_credentials(mode, secret)?, options)?;
        let inner = Arc::new(Inner { mode, credentials });
        shared.retain(|_, other| other.strong_count() > 0);
        shared.insert(key, Arc::downgrade(&inner));
        Ok(Self(inner))
    }

    /// Whether both are the same credentials with the same tokens.
    #[must_use]
    pub fn shares_tokens_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Which kind of credentials these are.
    #[must_use]
    pub fn mode(&self) -> AuthMode {
        self.0.mode
    }

    /// The credentials in the form that Google's own clients take.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.0.credentials.clone()
    }

    /// The headers that authorise one request; empty without credentials. Values that hold a token are
    /// marked sensitive.
    ///
    /// # Errors
    /// `auth` where no token can be had, `unreachable` where the token service does not answer.
    pub async fn headers(&self) -> Result<HeaderMap> {
        match self.0.credentials.headers(Extensions::new()).await {
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
        f.debug_struct("GoogleAuth").field("mode", &self.0.mode).finish_non_exhaustive()
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

/// Refuses what contradicts itself and what would give credentials away.
fn check(mode: AuthMode, options: &AuthOptions, secret: Option<&Secret>, endpoint: &Endpoint) -> Result<()> {
    if mode != AuthMode::None && !endpoint.is_tls() && !endpoint.is_local() {
        return Err(Error::config("credentials would be sent over plain HTTP to another machine")
            .hint("use an https endpoint, or set `auth` to \"none\""));
    }
    let unused = matches!(mode, AuthMode::None | AuthMode::Default | AuthMode::Metadata);
    if unused && secret.is_some() {
        return Err(Error::config("`auth` says that no secret is used, but the connection has one")
            .hint("drop `credentials`, or set `auth` to \"service_account\" or \"access_token\""));
    }
    if !unused && secret.is_none() {
        return Err(Error::config("`auth` asks for a secret, but the connection has no credentials")
            .hint("set `credentials` to a reference such as env:NAME or file:PATH"));
    }
    let Some(account) = &options.impersonate else { return Ok(()) };
    if mode == AuthMode::None {
        return Err(Error::config("`impersonate` needs credentials to impersonate with")
            .hint("give the connection credentials, or set `auth` to \"default\""));
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if !account.contains('@') || !account.chars().all(fine) {
        return Err(Error::config("`impersonate` is not the e-mail of a service account")
            .with("impersonate", account)
            .hint("write for example loader@my-project.iam.gserviceaccount.com"));
    }
    Ok(())
}

/// What makes credentials the same ones.
fn fingerprint(mode: AuthMode, options: &AuthOptions, secret: Option<&Secret>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let surroundings = ["GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "HOME", "APPDATA"]
        .map(|name| std::env::var(name).unwrap_or_default());
    let mode = format!("{mode:?}");
    let texts = [
        mode.as_str(),
        secret.map_or("", Secret::expose),
        options.impersonate.as_deref().unwrap_or_default(),
        options.iam_endpoint.as_deref().unwrap_or_default(),
    ];
    for text in texts.into_iter().chain(surroundings.iter().map(String::as_str)) {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    *hasher.finalize().as_bytes()
}

fn own_credentials(mode: AuthMode, secret: Option<&Secret>) -> Result<Credentials> {
    let missing = |what: &str, error| {
        Error::new(ErrorKind::Auth, format!("cannot use {what}"))
            .source_error(error)
            .hint("run `gcloud auth application-default login`, or give the connection credentials")
    };
    match (mode, secret) {
        (AuthMode::AccessToken, Some(token)) => Ok(Credentials::from(StaticToken::new(token)?)),
        (AuthMode::ServiceAccount, Some(key)) => key_credentials(key),
        (AuthMode::Default, _) => credentials::Builder::default()
            .with_scopes([SCOPE])
            .build()
            .map_err(|error| missing("the machine's default Google credentials", error)),
        (AuthMode::Metadata, _) => mds::Builder::default()
            .with_scopes([SCOPE])
            .build()
            .map_err(|error| missing("the metadata server", error)),
        _ => Ok(credentials::anonymous::Builder::new().build()),
    }
}

/// The credentials of the account that they are exchanged for, if any.
fn impersonated(source: Credentials, options: &AuthOptions) -> Result<Credentials> {
    let Some(account) = &options.impersonate else { return Ok(source) };
    let iam = Endpoint::new(options.iam_endpoint.as_deref(), IAM, "/v1")?;
    if !iam.is_tls() && !iam.is_local() {
        return Err(Error::config("`iam_endpoint` would get credentials over plain HTTP on another machine")
            .hint("use an https endpoint"));
    }
    let url = iam.join(&format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken"));
    exchanged(Exchange::Impersonate { source, url })
}

fn exchanged(exchange: Exchange) -> Result<Credentials> {
    let tokens = Tokens::new(exchange).map_err(|error| {
        Error::config("cannot set up the client for tokens")
            .source_error(error)
            .hint("check the certificates that this machine trusts")
    })?;
    Ok(Credentials::from(tokens))
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
        Some("service_account") => match own_endpoint(&key)? {
            Some(token_uri) => return key_exchange(key, token_uri),
            // Google's APIs take an assertion as it is: one request less, and no second host to reach.
            None => service_account::Builder::new(key)
                .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
                .build(),
        },
        Some("authorized_user") => user_account::Builder::new(key).with_scopes([SCOPE]).build(),
        Some("impersonated_service_account") => impersonated::Builder::new(key).with_scopes([SCOPE]).build(),
        Some("external_account") => external_account::Builder::new(key).with_scopes([SCOPE]).build(),
        _ => return Err(wrong("is neither a service account key nor other Google credentials")),
    };
    built.map_err(|error| {
        let missing = error.is_missing_field();
        wrong(if missing { "lacks a field of a Google key" } else { "is not a usable Google key" })
    })
}

/// The token endpoint that a key names, if it is not Google's own.
fn own_endpoint(key: &Value) -> Result<Option<String>> {
    let Some(text) = key.get("token_uri").and_then(Value::as_str) else { return Ok(None) };
    if GOOGLE_TOKEN_URIS.contains(&text) {
        return Ok(None);
    }
    let endpoint = Endpoint::new(Some(text), "", "/").map_err(|_| {
        Error::config("the `token_uri` of the connection's secret is not a URL")
            .hint("give the whole JSON of a service account key as it was issued")
    })?;
    if !endpoint.is_tls() && !endpoint.is_local() {
        return Err(Error::config(
            "the `token_uri` of the connection's secret would be asked over plain HTTP",
        )
        .hint("a token endpoint on another machine must be https"));
    }
    Ok(Some(text.to_owned()))
}

fn key_exchange(key: Value, token_uri: String) -> Result<Credentials> {
    let lacks = || {
        Error::config("the connection's secret lacks a field of a Google key")
            .hint("give the whole JSON of a service account key as Google issued it")
    };
    let field = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(lacks);
    let (email, key_id) = (field("client_email")?, field("private_key_id")?);
    let signer = service_account::Builder::new(key).build_signer().map_err(|_| lacks())?;
    exchanged(Exchange::Key { signer, email, key_id, token_uri })
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
