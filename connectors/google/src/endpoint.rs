//! Where an API is, and what a failed request says about the way there.

use std::error::Error as StdError;
use std::net::IpAddr;

use transload_core::{Error, ErrorKind, Result};
use url::{Host, Url};

/// The base URL of an API: Google's own, or another one that the connection names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    overridden: bool,
}

impl Endpoint {
    /// The endpoint a connection names, else `default`. A trailing `/` and a trailing path that starts at
    /// `version_path` (such as `/bigquery/v2`) are dropped.
    ///
    /// # Errors
    /// `config` for a text that is not an `http` or `https` URL, or one that holds a user or password.
    pub fn new(option: Option<&str>, default: &str, version_path: &str) -> Result<Self> {
        let text = option.unwrap_or(default);
        let wrong = |why: &str| {
            Error::config(format!("`endpoint` {why}"))
                .hint("write a base URL such as http://127.0.0.1:9050, without a path")
        };
        let mut url = Url::parse(text).map_err(|error| wrong("is not a URL").source_error(error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("must be an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not hold a user or password"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().to_owned();
        let path = path.find(version_path).map_or(path.as_str(), |at| &path[..at]);
        url.set_path(path.trim_end_matches('/'));
        Ok(Self { url, overridden: option.is_some() })
    }

    /// The URL without a trailing `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The URL with a path appended; `path` begins with `/`.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.as_str())
    }

    /// Whether the connection named it.
    #[must_use]
    pub fn is_overridden(&self) -> bool {
        self.overridden
    }

    /// Whether requests are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether it is this machine: `localhost` or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => false,
        }
    }

    /// Whether `other` leads to the same scheme, host and port, so that credentials may be sent there.
    #[must_use]
    pub fn same_origin(&self, other: &str) -> bool {
        Url::parse(other).is_ok_and(|other| other.origin() == self.url.origin())
    }
}

/// What the causes of a failed request say: `tls`, `timeout` or `unreachable`.
#[must_use]
pub fn transport_kind(error: &(dyn StdError + 'static)) -> ErrorKind {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return ErrorKind::Tls;
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return ErrorKind::Tls;
            }
            if io.kind() == std::io::ErrorKind::TimedOut {
                return ErrorKind::Timeout;
            }
        }
        next = cause.source();
    }
    ErrorKind::Unreachable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::new(Some(text), "", "/bigquery/v2").unwrap()
    }

    #[test]
    fn paths_are_normalised() {
        for text in ["http://localhost:9050", "http://localhost:9050/", "http://localhost:9050/bigquery/v2/"]
        {
            assert_eq!(endpoint(text).join("/x"), "http://localhost:9050/x", "{text}");
        }
        assert_eq!(endpoint("https://proxy/google/bigquery/v2").as_str(), "https://proxy/google");
        let default = Endpoint::new(None, "https://bigquery.googleapis.com", "/bigquery/v2").unwrap();
        assert!(default.is_tls() && !default.is_overridden() && !default.is_local());
    }

    #[test]
    fn local_means_this_machine() {
        for text in ["http://localhost:1", "http://127.0.0.1:1", "http://127.8.0.1", "http://[::1]:1"] {
            assert!(endpoint(text).is_local(), "{text}");
        }
        for text in ["http://localhost.example.com", "http://10.0.0.1", "http://127.0.0.1.example.com"] {
            assert!(!endpoint(text).is_local(), "{text}");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let here = endpoint("https://bigquery.googleapis.com");
        assert!(here.same_origin("https://bigquery.googleapis.com/upload?x=1"));
        for other in
            ["http://bigquery.googleapis.com", "https://bigquery.googleapis.com.evil.example", "nonsense"]
        {
            assert!(!here.same_origin(other), "{other}");
        }
    }

    #[test]
    fn wrong_endpoints_are_refused_without_repeating_a_password() {
        for text in ["ftp://x", "127.0.0.1:80", "https://user:hunter2@host"] {
            let error = Endpoint::new(Some(text), "", "/v1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
