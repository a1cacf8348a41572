//! The one error type: what failed, whether to try again, where, why, and what to do.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Result with transload's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in few, stable words. The text form is part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A document, option or argument is wrong.
    Config,
    /// The credentials were refused.
    Auth,
    /// The credentials are fine, the right is missing.
    Permission,
    /// The host or service could not be reached.
    Unreachable,
    /// The TLS handshake or certificate check failed.
    Tls,
    /// A deadline passed.
    Timeout,
    /// A database, schema, table, column, file or secret does not exist.
    NotFound,
    /// Somebody else changed the same thing, or it exists already.
    Conflict,
    /// A type has no mapping, or an override is impossible.
    TypeMapping,
    /// The source or target no longer has the schema that the job relies on.
    SchemaChanged,
    /// A value is broken or does not fit.
    Data,
    /// The system asks to slow down.
    RateLimited,
    /// The caller cancelled.
    Cancelled,
    /// The connector cannot do this.
    Unsupported,
    /// A defect in transload.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables in bindings and documents.
    pub const ALL: [Self; 15] = [
        Self::Config,
        Self::Auth,
        Self::Permission,
        Self::Unreachable,
        Self::Tls,
        Self::Timeout,
        Self::NotFound,
        Self::Conflict,
        Self::TypeMapping,
        Self::SchemaChanged,
        Self::Data,
        Self::RateLimited,
        Self::Cancelled,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The stable name, for example `not_found`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TypeMapping => "type_mapping",
            Self::SchemaChanged => "schema_changed",
            Self::Data => "data",
            Self::RateLimited => "rate_limited",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }

    /// Whether errors of this kind are worth another try unless the connector says otherwise.
    #[must_use]
    fn retryable_by_default(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::RateLimited)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of any transload operation.
///
/// `Display` is one line: what failed, the context, the causes, what to do. `Debug` is the same line
/// (so that a secret kept out of one is kept out of both).
///
/// ```
/// use transload_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "table public.orders does not exist")
///     .operation("describe")
///     .with("connection", "shop")
///     .hint("check the name, or list the tables with tables()");
/// assert_eq!(
///     error.to_string(),
///     "table public.orders does not exist (not_found in describe; connection: shop); \
///      check the name, or list the tables with tables()"
/// );
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retryable: bool,
    overload: bool,
    message: Cow<'static, str>,
    operation: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    context: Vec<(Cow<'static, str>, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error. `message` says what failed, without the cause and without secrets.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retryable: kind.retryable_by_default(),
            overload: kind == ErrorKind::RateLimited,
            message: message.into(),
            operation: None,
            hint: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// A wrong document, option or argument.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Something that this connector cannot do.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A broken value, or one that does not fit.
    pub fn data(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A broken invariant of transload itself.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The caller cancelled.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled by the caller")
    }

    /// Names the operation that failed (the innermost name wins).
    #[must_use]
    pub fn operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation.get_or_insert_with(|| operation.into());
        self
    }

    /// Says what the reader should do (the innermost hint wins).
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Adds one fact. A key that is there already is kept.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        let key = key.into();
        if !self.0.context.iter().any(|(k, _)| *k == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source_error(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides whether another try may help.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says that the system is overloaded: it has no connection, lock or memory to spare, or refuses because of
    /// what others do. Reads of that connection then slow down. Default: only `rate_limited` errors say so.
    #[must_use]
    pub fn overload(mut self, overload: bool) -> Self {
        self.0.overload = overload;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the system asks for less work at once; see [`Self::overload`].
    #[must_use]
    pub fn is_overload(&self) -> bool {
        self.0.overload
    }

    /// What failed, without context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, where known.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The operation that failed, where known.
    #[must_use]
    pub fn operation_name(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// Facts: connection, table, column, code and so on.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(k, v)| (k.as_ref(), v.as_str()))
    }

    /// One fact by its key.
    #[must_use]
    pub fn context_value(&self, key: &str) -> Option<&str> {
        self.context().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Texts of the causes, outermost first; a cause that only repeats the one before it is left out.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            let text = cause.to_string();
            if !causes.last().is_some_and(|previous| previous.ends_with(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    /// The JSON form that reports and bindings use.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Plain data, which always can be serialised.
        serde_json::to_value(ErrorDocument::from(self)).unwrap_or_default()
    }
}

/// The JSON form of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorDocument {
    /// What went wrong, in one stable word: see [`ErrorKind`].
    pub kind: String,
    /// Whether the same call may succeed later without a change.
    pub retryable: bool,
    /// What failed, without context.
    pub message: String,
    /// The operation that failed, where known.
    pub operation: Option<String>,
    /// What to do about it, where known.
    pub hint: Option<String>,
    /// Facts as texts: connection, table, column, code and so on.
    pub context: Map<String, Value>,
    /// Texts of the causes, outermost first.
    pub causes: Vec<String>,
}

impl From<&Error> for ErrorDocument {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().as_str().to_owned(),
            retryable: error.is_retryable(),
            message: error.message().to_owned(),
            operation: error.operation_name().map(str::to_owned),
            hint: error.hint_text().map(str::to_owned),
            context: error.context().map(|(k, v)| (k.to_owned(), v.into())).collect(),
            causes: error.causes(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message(), self.kind())?;
        if let Some(operation) = self.operation_name() {
            write!(f, " in {operation}")?;
        }
        for (key, value) in self.context() {
            write!(f, "; {key}: {value}")?;
        }
        f.write_str(")")?;
        for cause in self.causes() {
            write!(f, ": {cause}")?;
        }
        if let Some(hint) = self.hint_text() {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<arrow_schema::ArrowError> for Error {
    /// Arrow errors that nobody classified are defects: connectors and casts check their input first.
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::internal("an Arrow operation failed").source_error(error)
    }
}

/// Adds operation and context to the error of a result without leaving the `?` style.
pub trait ResultExt<T> {
    /// See [`Error::operation`].
    ///
    /// # Errors
    /// The error it was given, with the operation.
    fn operation(self, operation: &'static str) -> Result<T>;
    /// See [`Error::with`].
    ///
    /// # Errors
    /// The error it was given, with the fact.
    fn with(self, key: &'static str, value: impl fmt::Display) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn operation(self, operation: &'static str) -> Self {
        self.map_err(|error| error.operation(operation))
    }

    fn with(self, key: &'static str, value: impl fmt::Display) -> Self {
        self.map_err(|error| error.with(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_causes_once_and_ends_with_what_to_do() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = Error::new(ErrorKind::Unreachable, "cannot reach db.internal:5432")
            .source_error(io)
            .operation("connect")
            .operation("run")
            .hint("check host and port");
        assert_eq!(
            error.to_string(),
            "cannot reach db.internal:5432 (unreachable in connect): connection refused; check host and port"
        );
        assert!(error.is_retryable());
        assert_eq!(error.to_json()["causes"][0], "connection refused");
    }

    #[test]
    fn kinds_have_distinct_names() {
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }
}
