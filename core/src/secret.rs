//! Secrets that cannot be printed, and the stores that hold them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// A password, token or key. It has no `Display`, its `Debug` is redacted, it cannot be serialised, and
/// its memory is zeroed when dropped.
///
/// ```
/// use transload_core::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "Secret(redacted)");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
///
/// ```compile_fail
/// let text = transload_core::Secret::new("hunter2").to_string();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Where a secret is kept: `env:NAME`, `file:PATH`, or `<scheme>:<name>` of a store that the embedder
/// registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretRef {
    scheme: String,
    name: String,
}

impl SecretRef {
    /// The store's scheme, for example `env`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The name inside the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for SecretRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((scheme, name))
                if !scheme.is_empty()
                    && !name.is_empty()
                    && scheme.chars().all(|c| c.is_ascii_lowercase() || c == '-') =>
            {
                Ok(Self { scheme: scheme.to_owned(), name: name.to_owned() })
            }
            // The text is not repeated: somebody may have put the password itself here.
            _ => Err(Error::config("`credentials` is not a reference to a secret").hint(
                "write env:NAME, file:PATH or gcp-secret:NAME; the secret itself does not belong here",
            )),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.name)
    }
}

/// A place that keeps secrets. Implement it to serve a scheme of your own.
#[async_trait]
pub trait SecretStore: Send + Sync + fmt::Debug {
    /// Reads a secret.
    ///
    /// # Errors
    /// `not_found` if there is none, else why the store could not be read.
    async fn get(&self, name: &str) -> Result<Secret>;

    /// Creates or replaces a secret.
    ///
    /// # Errors
    /// `unsupported` for a read-only store.
    async fn put(&self, name: &str, secret: Secret) -> Result<()>;

    /// Deletes a secret; deleting a missing one succeeds.
    ///
    /// # Errors
    /// `unsupported` for a read-only store.
    async fn delete(&self, name: &str) -> Result<()>;
}

/// Environment variables; read-only.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvStore;

#[async_trait]
impl SecretStore for EnvStore {
    async fn get(&self, name: &str) -> Result<Secret> {
        std::env::var(name).map(Secret::new).map_err(|_| {
            Error::new(ErrorKind::NotFound, format!("environment variable {name} is not set"))
                .operation("read secret")
                .hint("set it for this process, or change the connection's `credentials`")
        })
    }

    async fn put(&self, _: &str, _: Secret) -> Result<()> {
        Err(Error::unsupported("environment variables are a read-only secret store"))
    }

    async fn delete(&self, _: &str) -> Result<()> {
        Err(Error::unsupported("environment variables are a read-only secret store"))
    }
}

/// One file a secret; a trailing line end is not part of it. Files are written readable by their owner only.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileStore;

#[async_trait]
impl SecretStore for FileStore {
    async fn get(&self, name: &str) -> Result<Secret> {
        let text = tokio::fs::read_to_string(name).await.map_err(|error| file_error(name, error))?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }

    async fn put(&self, name: &str, secret: Secret) -> Result<()> {
        let path = PathBuf::from(name);
        let at = name.to_owned();
        tokio::task::spawn_blocking(move || write_private(&path, secret.expose()))
            .await
            .map_err(|error| Error::internal("the task that writes a secret died").source_error(error))?
            .map_err(|error| file_error(&at, error))
    }

    async fn delete(&self, name: &str) -> Result<()> {
        match tokio::fs::remove_file(name).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(name, error)),
            _ => Ok(()),
        }
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn file_error(name: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        _ => ErrorKind::Unreachable,
    };
    Error::new(kind, format!("secret file {name} could not be used"))
        .operation("secret file")
        .source_error(error)
        .hint("check that the file exists and may be read")
}

/// Secrets in this process's memory: for tests, notebooks and passwords that arrive inside a URL.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Secret>>);

#[async_trait]
impl SecretStore for MemoryStore {
    async fn get(&self, name: &str) -> Result<Secret> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(name).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no secret named {name} in memory"))
                .operation("read secret")
        })
    }

    async fn put(&self, name: &str, secret: Secret) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), secret);
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }
}

/// The stores that references may name, by scheme. `env`, `file` and `memory` are always there.
#[derive(Debug, Clone)]
pub struct SecretStores(BTreeMap<String, Arc<dyn SecretStore>>);

impl Default for SecretStores {
    fn default() -> Self {
        let mut stores = Self(BTreeMap::new());
        stores.register("env", Arc::new(EnvStore));
        stores.register("file", Arc::new(FileStore));
        stores.register("memory", Arc::new(MemoryStore::default()));
        stores
    }
}

impl SecretStores {
    /// Adds or replaces the store of a scheme.
    pub fn register(&mut self, scheme: impl Into<String>, store: Arc<dyn SecretStore>) {
        self.0.insert(scheme.into(), store);
    }

    /// The store of a scheme.
    ///
    /// # Errors
    /// `config` if no store has that scheme; the error lists the schemes there are.
    pub fn store(&self, scheme: &str) -> Result<&Arc<dyn SecretStore>> {
        self.0.get(scheme).ok_or_else(|| {
            let known = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::config(format!("no secret store has the scheme `{scheme}`"))
                .hint(format!("known schemes: {known}; register others on the registry"))
        })
    }

    /// Reads what a reference points to.
    ///
    /// # Errors
    /// Those of [`Self::store`] and [`SecretStore::get`].
    pub async fn resolve(&self, reference: &SecretRef) -> Result<Secret> {
        self.store(reference.scheme())?
            .get(reference.name())
            .await
            .map_err(|error| error.with("credentials", reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_place_of_a_reference_is_not_repeated() {
        let error = "hunter2!".parse::<SecretRef>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn files_are_private_and_lose_their_line_end() {
        let dir = std::env::temp_dir().join(format!("transload-secret-{}", std::process::id()));
        let name = dir.to_string_lossy().into_owned();
        FileStore.put(&name, Secret::new("s3cret\n")).await.unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let stores = SecretStores::default();
        let secret = stores.resolve(&format!("file:{name}").parse().unwrap()).await.unwrap();
        assert_eq!(secret.expose(), "s3cret");
        FileStore.delete(&name).await.unwrap();
        assert_eq!(FileStore.get(&name).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
