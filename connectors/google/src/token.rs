//! Tokens that are exchanged here: for a signed assertion at a key's own token endpoint, and for another
//! account's. What Google's crate does by itself is left to it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider, EntityTag};
use google_cloud_auth::errors::CredentialsError;
use google_cloud_auth::signer::Signer;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Extensions, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transload_core::Secret;

use crate::auth::SCOPE;

/// A token is renewed this long before it ends, so that no request goes out with one that ends on its way.
const EARLY: Duration = Duration::from_secs(300);
/// How long a token is asked for.
const LIFE: Duration = Duration::from_secs(3600);
/// Google refuses assertions from the future; clocks differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of a token service's own words that an error shows.
const WORDS: usize = 200;

type Outcome<T> = Result<T, CredentialsError>;

/// Where a token comes from.
pub(crate) enum Exchange {
    /// An assertion signed with a service account's key, at the endpoint that the key names.
    Key { signer: Signer, email: String, key_id: String, token_uri: String },
    /// Another service account, by the right of these credentials.
    Impersonate { source: Credentials, url: String },
}

/// A token and when it ends.
struct Held {
    header: HeaderValue,
    ends: Instant,
    renewed_at: Instant,
    tag: EntityTag,
}

/// Credentials that fetch a token when one is wanted and keep it until shortly before it ends. One request at a
/// time: who comes meanwhile waits for its answer.
pub(crate) struct Tokens {
    exchange: Exchange,
    http: reqwest::Client,
    held: Mutex<Option<Held>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(redacted)")
    }
}

/// What a token service answers, in either spelling.
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "accessToken")]
    access_token: Option<String>,
    expires_in: Option<u64>,
    #[serde(rename = "expireTime")]
    expire_time: Option<jiff::Timestamp>,
}

impl Tokens {
    pub(crate) fn new(exchange: Exchange) -> Outcome<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // An assertion is for the endpoint that it was signed for.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CredentialsError::from_source(false, error))?;
        Ok(Self { exchange, http, held: Mutex::new(None) })
    }

    async fn fetch(&self) -> Outcome<Held> {
        let request = match &self.exchange {
            Exchange::Key { signer, email, key_id, token_uri } => {
                let assertion = assertion(signer, email, key_id, token_uri).await?;
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", assertion.expose())
                    .finish();
                self.http.post(token_uri).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            Exchange::Impersonate { source, url } => {
                let CacheableResource::New { data, .. } = source.headers(Extensions::new()).await? else {
                    return Err(CredentialsError::from_msg(false, "the source credentials gave no headers"));
                };
                let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", LIFE.as_secs())});
                self.http.post(url).headers(data).json(&body)
            }
        };
        let answer =
            request.send().await.map_err(|error| CredentialsError::from_source(true, error.without_url()))?;
        let status = answer.status();
        let body =
            answer.bytes().await.map_err(|error| CredentialsError::from_source(true, error.without_url()))?;
        if !status.is_success() {
            let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            let text = format!("the token service answered {}{}", status.as_u16(), words(&body));
            return Err(CredentialsError::from_msg(passing, text));
        }
        let unreadable = || CredentialsError::from_msg(false, "the token service answered without a token");
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        held(answer).ok_or_else(unreadable)
    }
}

fn held(answer: Answer) -> Option<Held> {
    let token = Secret::new(answer.access_token?);
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    header.set_sensitive(true);
    let until = |end: jiff::Timestamp| Duration::try_from(end.duration_since(jiff::Timestamp::now())).ok();
    let life =
        answer.expires_in.map(Duration::from_secs).or(answer.expire_time.and_then(until)).unwrap_or(LIFE);
    let now = Instant::now();
    // A short life is used for nine tenths, so that not every request fetches a token.
    let early = EARLY.min(life / 10);
    Some(Held { header, ends: now + life, renewed_at: now + (life - early), tag: EntityTag::new() })
}

/// `error` and `error_description` of OAuth, or the message of a Google API. Neither repeats what was sent.
fn words(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let texts =
        [&body["error"], &body["error_description"], &body["error"]["status"], &body["error"]["message"]];
    let texts: Vec<&str> = texts.into_iter().filter_map(serde_json::Value::as_str).collect();
    if texts.is_empty() {
        String::new()
    } else {
        format!(" ({})", texts.join(": ")).chars().take(WORDS).collect()
    }
}

async fn assertion(signer: &Signer, email: &str, key_id: &str, audience: &str) -> Outcome<Secret> {
    let now = jiff::Timestamp::now().as_second();
    let skew = i64::try_from(CLOCK_SKEW.as_secs()).unwrap_or_default();
    let life = i64::try_from(LIFE.as_secs()).unwrap_or_default();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
    let claims = json!({
        "iss": email, "scope": SCOPE, "aud": audience, "iat": now - skew, "exp": now - skew + life,
    });
    let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = signer.sign(text.as_bytes()).await.map_err(|_| {
        CredentialsError::from_msg(false, "the private key of the service account cannot sign")
    })?;
    Ok(Secret::new(format!("{text}.{}", BASE64.encode(signature))))
}

impl CredentialsProvider for Tokens {
    async fn headers(&self, extensions: Extensions) -> Outcome<CacheableResource<HeaderMap>> {
        let mut slot = self.held.lock().await;
        if slot.as_ref().is_none_or(|held| held.renewed_at <= Instant::now()) {
            match self.fetch().await {
                Ok(held) => *slot = Some(held),
                // The old one still works; the next request tries again.
                Err(error)
                    if slot
                        .as_ref()
                        .is_some_and(|held| error.is_transient() && held.ends > Instant::now()) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(held) = slot.as_ref() else {
            return Err(CredentialsError::from_msg(false, "no token"));
        };
        if extensions.get::<EntityTag>() == Some(&held.tag) {
            return Ok(CacheableResource::NotModified);
        }
        let data = HeaderMap::from_iter([(AUTHORIZATION, held.header.clone())]);
        Ok(CacheableResource::New { entity_tag: held.tag.clone(), data })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}
