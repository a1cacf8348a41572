//! What an answer, or none, means.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use transload_core::{Error, ErrorKind, Result, Secret};

/// More than any list of jobs; a proxy that sends without end must not fill the memory.
const MOST_BYTES: usize = 64 << 20;
/// Of what the host says about an error.
const MOST_WORDS: usize = 200;

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// How long the host asks to be left alone.
    pub(crate) pause: Option<Duration>,
    /// The token was refused.
    pub(crate) refused: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, pause: None, refused: false }
    }
}

/// No answer came, or not all of it. Every request of the contract may be made again.
pub(crate) fn of_transport(what: &str, error: reqwest::Error) -> Error {
    let (kind, hint) = if is_tls(&error) {
        (ErrorKind::Tls, "check the certificate of the control plane and what this machine trusts")
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "check that the control plane answers in time")
    } else {
        (ErrorKind::Unreachable, "check the control plane's address and that it runs")
    };
    let passes = kind != ErrorKind::Tls && !error.is_builder();
    Error::new(kind, format!("{what}: the control plane did not answer"))
        .source_error(error.without_url())
        .retryable(passes)
        .hint(hint)
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inside.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The body of an answer.
pub(crate) async fn body(what: &str, mut response: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| of_transport(what, error))? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(Error::data(format!("{what}: the answer is longer than {} MiB", MOST_BYTES >> 20))
                .hint("check that the address is the control plane's"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// An answer that is not a success.
pub(crate) async fn of_status(what: &str, response: Response, token: &Secret) -> Failure {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let said = body(what, response).await.ok().and_then(|bytes| words(&bytes, token));
    let mut error = classified(what, status);
    if let Some(said) = said {
        error = error.with("answer", said);
    }
    Failure { error, pause, refused: status == StatusCode::UNAUTHORIZED }
}

fn classified(what: &str, status: StatusCode) -> Error {
    let (kind, passes, why, hint) = match status.as_u16() {
        300..=399 => (
            ErrorKind::Config,
            false,
            "the control plane answered with a redirect",
            "give the address that it leads to; the token is not sent on",
        ),
        401 => (
            ErrorKind::Auth,
            false,
            "the control plane refused the token",
            "check the token and where it is kept",
        ),
        403 => (
            ErrorKind::Permission,
            false,
            "the token may not do this",
            "give the token's owner the right at the control plane",
        ),
        404 | 410 => (
            ErrorKind::NotFound,
            false,
            "the control plane does not know it",
            "check the id, and that the address ends before `/v1`",
        ),
        408 => (ErrorKind::Timeout, true, "the control plane gave up waiting", "try again later"),
        409 => (
            ErrorKind::Conflict,
            false,
            "the control plane has something else under this id",
            "see what it has; nothing is sent under another id",
        ),
        425 | 429 => (ErrorKind::RateLimited, true, "the control plane asks to slow down", "try again later"),
        400..=499 => (
            ErrorKind::Config,
            false,
            "the control plane refused the request",
            "control plane and transload disagree about the contract: see docs/reference/control-plane.openapi.json",
        ),
        500 | 502 | 503 | 504 => {
            (ErrorKind::Unreachable, true, "the control plane has a failure of its own", "see its logs")
        }
        _ => (ErrorKind::Unreachable, false, "the control plane cannot do this", "see its logs"),
    };
    Error::new(kind, format!("{what}: {why}")).with("status", status.as_u16()).retryable(passes).hint(hint)
}

/// What the host says about an error, in the forms that Django, Express and others have for it.
fn words(bytes: &[u8], token: &Secret) -> Option<String> {
    let body: Value = serde_json::from_slice(bytes).ok()?;
    let error = body.get("error");
    let texts =
        [error.and_then(|error| error.get("message")), error, body.get("detail"), body.get("message")];
    let text = texts.into_iter().flatten().find_map(Value::as_str)?;
    // A host that repeats the token must not bring it into logs.
    (!text.contains(token.expose())).then(|| text.chars().take(MOST_WORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_kinds() {
        for (status, kind, passes) in [
            (301, ErrorKind::Config, false),
            (400, ErrorKind::Config, false),
            (401, ErrorKind::Auth, false),
            (403, ErrorKind::Permission, false),
            (404, ErrorKind::NotFound, false),
            (408, ErrorKind::Timeout, true),
            (409, ErrorKind::Conflict, false),
            (413, ErrorKind::Config, false),
            (429, ErrorKind::RateLimited, true),
            (500, ErrorKind::Unreachable, true),
            (501, ErrorKind::Unreachable, false),
            (503, ErrorKind::Unreachable, true),
        ] {
            let error = classified("get jobs", StatusCode::from_u16(status).unwrap());
            assert_eq!((error.kind(), error.is_retryable()), (kind, passes), "{status}");
        }
    }

    #[test]
    fn words_of_several_frameworks_but_never_the_token() {
        let token = Secret::new("s3cret-token");
        for body in [
            r#"{"error": {"message": "no such job"}}"#,
            r#"{"error": "no such job"}"#,
            r#"{"detail": "no such job"}"#,
            r#"{"message": "no such job"}"#,
        ] {
            assert_eq!(words(body.as_bytes(), &token).as_deref(), Some("no such job"), "{body}");
        }
        assert_eq!(words(br#"{"detail": "bad token s3cret-token"}"#, &token), None);
        assert_eq!(words(b"<html>", &token), None);
    }
}
