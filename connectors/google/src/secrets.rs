//! Google Secret Manager as a secret store.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use google_cloud_gax::error::Error as GaxError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::paginator::ItemPaginator as _;
use google_cloud_gax::retry_policy::{Aip194Strict, RetryPolicyExt as _};
use google_cloud_secretmanager_v1::client::SecretManagerService;
use google_cloud_secretmanager_v1::model::replication::Automatic;
use google_cloud_secretmanager_v1::model::secret_version::State;
use google_cloud_secretmanager_v1::model::{Replication, Secret as StoredSecret, SecretPayload};
use tokio::runtime::{Handle, Id};
use transload_core::{Error, ErrorKind, Result, Secret, SecretStore};

use crate::auth::{AuthOptions, GoogleAuth};
use crate::endpoint::{Endpoint, transport_kind};
use crate::project;

const DEFAULT_ENDPOINT: &str = "https://secretmanager.googleapis.com";
/// What gcloud reads for the same purpose.
const ENDPOINT_VARIABLE: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER";
/// For one try of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of a request that changes nothing, while the service is unavailable.
const TRIES: u32 = 3;
/// Bytes of a secret.
const MAX_BYTES: usize = 64 << 10;
/// Characters of a secret's name.
const MAX_NAME: usize = 255;

/// What happens to the versions of a secret that a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OldVersions {
    /// They stay as they are.
    Keep,
    /// They are disabled: they can be enabled again, and cost as much as before.
    #[default]
    Disable,
    /// They are destroyed for good.
    Destroy,
}

/// How the store reaches Secret Manager. Everything may be left out.
#[derive(Debug, Clone, Default)]
pub struct SecretManagerOptions {
    /// Project of secrets that are named without one. Default: `GOOGLE_CLOUD_PROJECT`, else the project of the
    /// machine's default credentials, else that of the metadata server.
    pub project: Option<String>,
    /// Base URL in place of Google's. Default: `CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER`.
    pub endpoint: Option<String>,
    /// Which credentials are used. Default: those of the machine; none for an endpoint on this machine.
    pub auth: AuthOptions,
    /// The secret that `auth` may need: a key or a token.
    pub secret: Option<Secret>,
    /// What happens to versions that a new one replaces. Default: they are disabled.
    pub old_versions: OldVersions,
}

/// Google Secret Manager, scheme `gcp-secret`.
///
/// Names are `NAME`, `NAME@VERSION` or full resource names such as `projects/P/secrets/NAME/versions/7`. Without a
/// version the newest one is read. Payloads are checked against their CRC32C. Nothing is asked before the first
/// use.
pub struct SecretManager {
    options: SecretManagerOptions,
    /// The client belongs to the runtime it was made in.
    client: Mutex<Option<(Id, SecretManagerService)>>,
}

impl fmt::Debug for SecretManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretManager").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Default for SecretManager {
    fn default() -> Self {
        Self::new(SecretManagerOptions::default())
    }
}

/// A secret, perhaps one version of it, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    project: Option<String>,
    secret: String,
    version: Option<String>,
}

impl Name {
    fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (project, rest, version) = match parts.as_slice() {
            [name] => (None, *name, None),
            ["projects", project, "secrets", name] => (Some(*project), *name, None),
            ["projects", project, "secrets", name, "versions", version] => {
                (Some(*project), *name, Some(*version))
            }
            _ => return Err(wrong_name(text)),
        };
        let (secret, version) = match (rest.split_once('@'), version) {
            (Some(_), Some(_)) => return Err(wrong_name(text)),
            (Some((secret, version)), None) => (secret, Some(version)),
            (None, version) => (rest, version),
        };
        let fine = |text: &str| {
            (1..=MAX_NAME).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        let project_fine = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.'))
        };
        if !fine(secret) || !version.is_none_or(fine) || !project.is_none_or(project_fine) {
            return Err(wrong_name(text));
        }
        Ok(Self {
            project: project.map(str::to_owned),
            secret: secret.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

fn wrong_name(text: &str) -> Error {
    Error::config("this is not the name of a secret in Google Secret Manager").with("secret", text).hint(
        "write NAME, NAME@VERSION or projects/PROJECT/secrets/NAME/versions/VERSION; names have letters, digits, `_` \
         and `-`",
    )
}

impl SecretManager {
    /// A store with options.
    #[must_use]
    pub fn new(options: SecretManagerOptions) -> Self {
        Self { options, client: Mutex::new(None) }
    }

    async fn client(&self) -> Result<SecretManagerService> {
        let runtime = Handle::current().id();
        if let Some((own, client)) = &*self.client.lock().unwrap_or_else(PoisonError::into_inner)
            && *own == runtime
        {
            return Ok(client.clone());
        }
        let client = self.connect().await?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, client.clone()));
        Ok(client)
    }

    async fn connect(&self) -> Result<SecretManagerService> {
        let variable = std::env::var(ENDPOINT_VARIABLE).ok().filter(|text| !text.is_empty());
        let named = self.options.endpoint.as_deref().or(variable.as_deref());
        let endpoint = Endpoint::new(named, DEFAULT_ENDPOINT, "/v1")?;
        let auth =
            GoogleAuth::from_options(self.options.auth.clone(), self.options.secret.as_ref(), &endpoint)?;
        SecretManagerService::builder()
            .with_endpoint(endpoint.as_str())
            .with_credentials(auth.credentials())
            .with_retry_policy(Aip194Strict.with_attempt_limit(TRIES))
            .with_attempt_timeout(TIMEOUT)
            .build()
            .await
            .map_err(|error| {
                Error::config("cannot set up the client for Google Secret Manager")
                    .source_error(error)
                    .hint("check the endpoint and the certificates that this machine trusts")
            })
    }

    /// The resource name of a secret.
    async fn resource(&self, name: &Name) -> Result<String> {
        let project = match (&name.project, &self.options.project) {
            (Some(project), _) | (None, Some(project)) => project.clone(),
            (None, None) => project::of_machine().await?,
        };
        Ok(format!("projects/{project}/secrets/{}", name.secret))
    }

    async fn create(&self, resource: &str) -> Result<()> {
        let Some((parent, id)) = resource.split_once("/secrets/") else { return Err(wrong_name(resource)) };
        let replication = Replication::new().set_automatic(Automatic::new());
        let secret = StoredSecret::new().set_replication(replication);
        let request =
            self.client().await?.create_secret().set_parent(parent).set_secret_id(id).set_secret(secret);
        match Box::pin(request.send()).await {
            // Somebody else created it at the same moment.
            Err(error) if error.http_status_code() == Some(409) => Ok(()),
            outcome => {
                outcome.map(|_| ()).map_err(|error| classified("cannot create the secret", resource, error))
            }
        }
    }

    /// Adds a version; `None` if there is no such secret.
    async fn add(&self, resource: &str, secret: &Secret) -> Result<Option<String>> {
        let data = Bytes::copy_from_slice(secret.expose().as_bytes());
        let payload = SecretPayload::new().set_data_crc32c(i64::from(crc32c(&data))).set_data(data);
        let request = self.client().await?.add_secret_version().set_parent(resource).set_payload(payload);
        match Box::pin(request.send()).await {
            Ok(version) => Ok(Some(version.name)),
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => Err(classified("cannot store the secret", resource, error)),
        }
    }

    /// Disables or destroys the versions before `newest`.
    async fn retire(&self, resource: &str, newest: &str) -> Result<()> {
        let client = self.client().await?;
        let what = "the secret is stored, but its old versions cannot be retired";
        let mut versions = client.list_secret_versions().set_parent(resource).by_item();
        while let Some(version) = versions.next().await {
            let version = version.map_err(|error| classified(what, resource, error))?;
            let outcome = match (self.options.old_versions, version.state) {
                _ if number(&version.name) >= number(newest) => continue,
                (OldVersions::Disable, State::Enabled) => {
                    Box::pin(client.disable_secret_version().set_name(version.name).send()).await
                }
                (OldVersions::Destroy, State::Enabled | State::Disabled) => {
                    Box::pin(client.destroy_secret_version().set_name(version.name).send()).await
                }
                _ => continue,
            };
            outcome.map_err(|error| classified(what, resource, error))?;
        }
        Ok(())
    }
}

/// The number at the end of a version's name.
fn number(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl SecretStore for SecretManager {
    async fn get(&self, name: &str) -> Result<Secret> {
        let what = "cannot read the secret";
        let parsed = Name::parse(name)?;
        let version = parsed.version.as_deref().unwrap_or("latest");
        let resource = format!("{}/versions/{version}", self.resource(&parsed).await?);
        let request = self.client().await?.access_secret_version().set_name(&resource);
        let answer = Box::pin(request.send()).await.map_err(|error| classified(what, &resource, error))?;
        let payload = answer.payload.unwrap_or_default();
        if payload.data_crc32c.is_some_and(|sum| sum != i64::from(crc32c(&payload.data))) {
            return Err(Error::data("the secret was damaged on its way: its checksum is another")
                .operation("read secret")
                .with("secret", &resource)
                .retryable(true)
                .hint("try again; if it stays, add a new version"));
        }
        // The text is not repeated in the error.
        let text = std::str::from_utf8(&payload.data).map_err(|_| {
            Error::data("the secret is not a text")
                .operation("read secret")
                .with("secret", &resource)
                .hint("store passwords and keys as UTF-8")
        })?;
        Ok(Secret::new(text))
    }

    async fn put(&self, name: &str, secret: Secret) -> Result<()> {
        let parsed = Name::parse(name)?;
        if parsed.version.is_some() {
            return Err(Error::config("a version of a secret cannot be written, only a new one added")
                .operation("store secret")
                .with("secret", name)
                .hint("leave the version out"));
        }
        if !(1..=MAX_BYTES).contains(&secret.expose().len()) {
            return Err(Error::config("the secret is empty or too long for Google Secret Manager")
                .operation("store secret")
                .with("secret", name)
                .hint("it takes from 1 byte to 64 KiB"));
        }
        let resource = self.resource(&parsed).await?;
        // Most are there, and adding a version needs fewer rights than creating a secret.
        let newest = match self.add(&resource, &secret).await? {
            Some(newest) => newest,
            None => {
                self.create(&resource).await?;
                self.add(&resource, &secret).await?.ok_or_else(|| {
                    Error::new(ErrorKind::Conflict, "the secret was deleted while it was stored")
                        .with("secret", &resource)
                        .retryable(true)
                        .hint("store it again")
                })?
            }
        };
        match self.options.old_versions {
            OldVersions::Keep => Ok(()),
            _ => self.retire(&resource, &newest).await,
        }
    }

    /// Deletes the secret with all its versions; of a name with a version only that one, for good.
    async fn delete(&self, name: &str) -> Result<()> {
        let parsed = Name::parse(name)?;
        let resource = self.resource(&parsed).await?;
        let client = self.client().await?;
        let outcome = match &parsed.version {
            Some(version) => {
                let version = format!("{resource}/versions/{version}");
                Box::pin(client.destroy_secret_version().set_name(version).send()).await.map(|_| ())
            }
            None => Box::pin(client.delete_secret().set_name(&resource).send()).await,
        };
        match outcome {
            Err(error) if error.http_status_code() == Some(404) => Ok(()),
            outcome => outcome.map_err(|error| classified("cannot delete the secret", &resource, error)),
        }
    }
}

/// The error of a request, by its code.
fn classified(what: &str, resource: &str, error: GaxError) -> Error {
    use ErrorKind as K;
    let status = error.http_status_code();
    let code = error.status().map(|status| status.code);
    let (kind, retryable, hint) = match (code, status) {
        _ if error.is_authentication() => (K::Auth, false, "check the credentials of the secret store"),
        (Some(Code::FailedPrecondition), _) => {
            (K::NotFound, false, "the version is disabled or destroyed: enable it, or name another")
        }
        (_, Some(404)) => (K::NotFound, false, "check project, name and version, or store the secret first"),
        (_, Some(401)) => (K::Auth, false, "check the credentials of the secret store"),
        (_, Some(403)) => (
            K::Permission,
            false,
            "grant roles/secretmanager.secretAccessor to read and roles/secretmanager.admin to write, and check \
             that the Secret Manager API is on",
        ),
        (_, Some(409)) => (K::Conflict, true, "somebody else changes the secret; try again"),
        (_, Some(429)) => (K::RateLimited, true, "try again later"),
        (_, Some(408 | 504)) => (K::Timeout, true, "try again later"),
        (_, Some(500..=599)) => (K::Unreachable, true, "Secret Manager is not available; try again later"),
        (_, Some(_)) => (K::Data, false, "Secret Manager's own message above says what it did not accept"),
        (_, None) if error.is_timeout() || error.is_exhausted() => (K::Timeout, true, "try again later"),
        (_, None) => (transport_kind(&error), true, "check the network between here and Secret Manager"),
    };
    Error::new(kind, what.to_owned())
        .operation("secret manager")
        .with("secret", resource)
        .retryable(retryable && kind != K::Tls)
        .source_error(error)
        .hint(hint)
}

/// CRC-32C (Castagnoli) bit by bit: secrets are small.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn names_are_parsed_and_checked() {
        let name = |text: &str| {
            Name::parse(text).map(|name| {
                format!(
                    "{}|{}|{}",
                    name.project.unwrap_or_default(),
                    name.secret,
                    name.version.unwrap_or_default()
                )
            })
        };
        for (text, expected) in [
            ("model-5-connection-12-credentials", "|model-5-connection-12-credentials|"),
            ("db_password@7", "|db_password|7"),
            ("db@latest", "|db|latest"),
            ("projects/my-project/secrets/db", "my-project|db|"),
            ("projects/123/secrets/db/versions/4", "123|db|4"),
        ] {
            assert_eq!(name(text).unwrap(), expected);
        }
        let long = "x".repeat(256);
        for text in [
            "",
            "@1",
            "db@",
            "a b",
            "a/b",
            "../x",
            "db@1@2",
            "projects/p/secrets/db@1/versions/2",
            "projects//secrets/x",
            "projects/p/locations/eu/secrets/x",
            "p?x=1",
            "größe",
            &long,
        ] {
            let error = name(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.hint_text().is_some());
        }
        assert!(name(&"x".repeat(255)).is_ok());
    }
}
