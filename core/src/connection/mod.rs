//! A named way into one system: type, address, options and a reference to its credentials.

mod limits;
mod url;

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use limits::ConnectionLimits;

use crate::document;
use crate::error::{Error, Result};
use crate::secret::{Secret, SecretRef};

/// A named way into one system. It never holds a secret in printable form.
///
/// The connector of its `type` says which options exist; they are checked when the connection is opened
/// or by [`Registry::validate`](crate::Registry::validate), and an unknown one is an error that names the
/// nearest known one.
///
/// ```
/// use transload_core::Connection;
///
/// let shop = Connection::from_url("postgresql://etl:s3cret@db.internal:5432/shop?tls=require")?;
/// assert_eq!(shop.kind(), "postgresql");
/// assert_eq!(shop.option_text("host"), Some("db.internal"));
/// // The password moved into a `Secret` at once.
/// assert!(!format!("{shop:?} {shop} {}", shop.to_json()).contains("s3cret"));
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Connection {
    name: String,
    kind: String,
    options: Map<String, Value>,
    credentials: Option<SecretRef>,
    secret: Option<Secret>,
    limits: ConnectionLimits,
}

impl Connection {
    /// A connection of a type without options; add them with [`Self::option`].
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            options: Map::new(),
            credentials: None,
            secret: None,
            limits: ConnectionLimits::default(),
        }
    }

    /// Reads the JSON form. A `password` in it moves into a [`Secret`] at once.
    ///
    /// # Errors
    /// `config` if it is not an object, has no `type`, or its `credentials` are no reference.
    pub fn from_json(value: Value) -> Result<Self> {
        let Value::Object(mut fields) = value else {
            return Err(Error::config("connection document: it must be a JSON object"));
        };
        let kind = take_text(&mut fields, "type")?.ok_or_else(|| {
            Error::config("connection document: field `type` is missing")
                .hint("name the system, for example \"postgresql\"")
        })?;
        let credentials = take_text(&mut fields, "credentials")?.map(|text| text.parse()).transpose()?;
        let secret = take_text(&mut fields, "password")?.map(Secret::new);
        if credentials.is_some() && secret.is_some() {
            return Err(Error::config("connection document: both `credentials` and `password` are given")
                .hint("keep the reference in `credentials` and drop `password`"));
        }
        let name = take_text(&mut fields, "name")?.unwrap_or_else(|| kind.clone());
        let limits = match fields.remove("limits") {
            None | Some(Value::Null) => ConnectionLimits::default(),
            Some(limits) => ConnectionLimits::from_json(limits)?,
        };
        Ok(Self { name, kind, options: fields, credentials, secret, limits })
    }

    /// Reads a URL: `type://user:password@host:port/database?option=value`, or `type:path?option=value`
    /// for systems that are files. User, password, host and database are percent-decoded. `host1:1,host2:2`
    /// becomes `host` "host1,host2" and `port` "1,2", for systems that take several.
    ///
    /// # Errors
    /// `config` if it cannot be parsed. The error never repeats the URL, which may hold a password.
    pub fn from_url(text: &str) -> Result<Self> {
        url::parse(text)
    }

    /// Sets the name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets one option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }

    /// Sets where the credentials are kept.
    #[must_use]
    pub fn credentials(mut self, reference: SecretRef) -> Self {
        self.credentials = Some(reference);
        self.secret = None;
        self
    }

    /// Sets the password itself; it is kept in memory only and never serialised.
    #[must_use]
    pub fn password(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self.credentials = None;
        self
    }

    /// Sets how much the engine may ask of the system at once.
    #[must_use]
    pub fn limited(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How much the engine may ask of the system at once.
    #[must_use]
    pub fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// The name that jobs refer to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system's type, for example `postgresql`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// An option's text, if it is set and a text.
    #[must_use]
    pub fn option_text(&self, key: &str) -> Option<&str> {
        self.options.get(key).and_then(Value::as_str)
    }

    /// Where the credentials are kept, if anywhere.
    #[must_use]
    pub fn credentials_ref(&self) -> Option<&SecretRef> {
        self.credentials.as_ref()
    }

    /// The secret that came inline with a URL or document, if any.
    #[must_use]
    pub fn inline_secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// The options as a connector's typed configuration.
    ///
    /// # Errors
    /// `config`: unknown, missing or wrongly typed options.
    pub fn config<T: DeserializeOwned + JsonSchema>(&self) -> Result<T> {
        document::parse(&format!("connection `{}`", self.name), Value::Object(self.options.clone()))
            .map_err(|error| error.with("connection", &self.name))
    }

    /// The JSON form, without any secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({"name": self.name, "type": self.kind});
        if let Value::Object(fields) = &mut value {
            fields.extend(self.options.clone());
            if let Some(reference) = &self.credentials {
                fields.insert("credentials".to_owned(), reference.to_string().into());
            }
            if self.limits != ConnectionLimits::default() {
                // Plain data, which always can be serialised.
                fields.insert("limits".to_owned(), serde_json::to_value(self.limits).unwrap_or_default());
            }
        }
        value
    }

    /// The same for two connections that lead to the same place as the same user, whatever their names:
    /// 32 hexadecimal digits. Options that only tune the way there (such as timeouts) count too,
    /// limits do not.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.as_bytes());
        let mut options: Vec<_> = self.options.iter().collect();
        options.sort_by_key(|(key, _)| *key);
        for (key, value) in options {
            hasher.update(format!("\0{key}={value}").as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// A name for a form to propose, for example `postgresql shop on db.internal`.
    #[must_use]
    pub fn suggested_name(&self) -> String {
        let mut name = self.kind.clone();
        if let Some(what) = self.option_text("database").or_else(|| self.option_text("path")) {
            name.push(' ');
            name.push_str(what);
        }
        if let Some(host) = self.option_text("host") {
            name.push_str(" on ");
            name.push_str(host);
        }
        name
    }
}

fn take_text(fields: &mut Map<String, Value>, key: &str) -> Result<Option<String>> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::config(format!("connection document: `{key}` must be a text"))),
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.suggested_name())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("document", &self.to_json().to_string())
            .field("secret", &self.secret)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips_without_the_password() {
        let value =
            json!({"name": "w", "type": "postgresql", "host": "h", "port": 5433, "password": "hunter2"});
        let connection = Connection::from_json(value).unwrap();
        assert_eq!(connection.inline_secret().unwrap().expose(), "hunter2");
        let back = connection.to_json();
        assert_eq!(back, json!({"name": "w", "type": "postgresql", "host": "h", "port": 5433}));
        assert!(!format!("{connection:?}").contains("hunter2"));
    }

    #[test]
    fn limits_are_read_and_written() {
        let value =
            json!({"name": "w", "type": "memory", "limits": {"parallel_reads": 2, "bytes_per_second": 7}});
        let connection = Connection::from_json(value.clone()).unwrap();
        assert_eq!(connection.limits().parallel_reads, std::num::NonZero::new(2));
        assert_eq!(connection.to_json(), value);
        assert_eq!(connection.fingerprint(), Connection::new("w", "memory").fingerprint());
        for (wrong, expected) in [
            (json!({"parallel_reads": 0}), "nonzero"),
            (json!({"parallel_read": 1}), "parallel_reads"),
            (json!({"rows_per_second": -1}), "u64"),
            (json!(3), "limits"),
        ] {
            let document = json!({"type": "memory", "limits": wrong});
            let error = Connection::from_json(document).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("limits"), "{error}");
        }
    }

    #[test]
    fn fingerprint_ignores_name_and_order() {
        let a = Connection::new("a", "sqlite").option("path", "x").option("timeout", 1);
        let b = Connection::new("b", "sqlite").option("timeout", 1).option("path", "x");
        assert_eq!(a.fingerprint(), b.fingerprint());
        assert_ne!(a.fingerprint(), b.option("path", "y").fingerprint());
    }
}
