//! The options of a connection.

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Connection, Error, Result};
use transload_google::{AuthMode, Endpoint};

use crate::sql;

/// Google's own endpoint.
const DEFAULT_ENDPOINT: &str = "https://bigquery.googleapis.com";
/// Google's own endpoint of the Storage API.
const DEFAULT_STORAGE_ENDPOINT: &str = "https://bigquerystorage.googleapis.com";
/// Path under which the REST API lives; an endpoint may be given with or without it.
const VERSION_PATH: &str = "/bigquery/v2";

/// Options of a BigQuery connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BigQueryConfig {
    /// Project that holds the datasets and runs (and pays for) the jobs.
    pub project: String,
    /// Location of datasets that are created, for example `EU` or `europe-west3`. Existing datasets keep
    /// theirs, and jobs run where the target's dataset is. Default: BigQuery's own default (`US`).
    #[serde(default)]
    pub location: Option<String>,
    /// Base URL in place of Google's, for emulators and private endpoints.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Base URL of the Storage API (gRPC) in place of Google's, for emulators and private endpoints. Reading
    /// needs it wherever `endpoint` is set.
    #[serde(default)]
    pub storage_endpoint: Option<String>,
    /// Kind of credentials. Default: what the secret looks like; without a secret none for an endpoint on
    /// this machine, else Application Default Credentials.
    #[serde(default)]
    pub auth: Option<AuthMode>,
    /// Dataset for staging tables; it must exist in the target's location. Default: the target's dataset.
    #[serde(default)]
    pub staging_dataset: Option<String>,
    /// Size at which a Parquet file is closed and uploaded while the next one is written, in MiB, from 1
    /// to 1024. Up to four files are on disk at a time. Default: 128.
    #[serde(default)]
    pub file_mib: Option<u16>,
}

impl BigQueryConfig {
    /// Reads and checks the options of a connection.
    ///
    /// # Errors
    /// `config`.
    pub fn from_connection(connection: &Connection) -> Result<Self> {
        let config: Self = connection.config()?;
        config.check().map_err(|error| error.with("connection", connection.name()))?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wanted = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | ':' | '.');
        if self.project.is_empty() || !self.project.chars().all(wanted) {
            return Err(Error::config("`project` is not a Google Cloud project id")
                .with("project", &self.project)
                .hint("project ids have lower-case letters, digits and dashes; it is not the display name"));
        }
        let place = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.location.as_ref().is_some_and(|text| text.is_empty() || !text.chars().all(place)) {
            return Err(Error::config("`location` is not a BigQuery location")
                .hint("write a multi-region such as EU or a region such as europe-west3"));
        }
        if let Some(dataset) = &self.staging_dataset {
            sql::check_dataset(dataset)?;
        }
        if self.file_mib.is_some_and(|size| !(1..=1024).contains(&size)) {
            return Err(Error::config("`file_mib` must be from 1 to 1024").hint("leave it out for 128"));
        }
        self.base()?;
        self.storage_base().map(|_| ())
    }

    /// The endpoint that requests go to.
    ///
    /// # Errors
    /// `config` if it is not a URL.
    pub(crate) fn base(&self) -> Result<Endpoint> {
        Endpoint::new(self.endpoint.as_deref(), DEFAULT_ENDPOINT, VERSION_PATH)
    }

    /// The endpoint that requests to the Storage API go to.
    ///
    /// # Errors
    /// `config` if it is not a URL.
    pub(crate) fn storage_base(&self) -> Result<Endpoint> {
        let wrong = |error: Error| error.with("option", "storage_endpoint");
        // The path of every method begins so; an endpoint may be given with or without it.
        let service = "/google.cloud.bigquery.storage";
        Endpoint::new(self.storage_endpoint.as_deref(), DEFAULT_STORAGE_ENDPOINT, service).map_err(wrong)
    }

    /// Bytes at which a Parquet file is closed.
    pub(crate) fn file_bytes(&self) -> usize {
        usize::from(self.file_mib.unwrap_or(128)) << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::ErrorKind;

    fn connection() -> Connection {
        Connection::new("w", "bigquery")
    }

    #[test]
    fn options_are_checked() {
        let good = connection().option("project", "my-project").option("file_mib", "64");
        let config = BigQueryConfig::from_connection(&good).unwrap();
        assert_eq!(config.file_bytes(), 64 << 20);
        assert!(config.base().unwrap().is_tls());
        for bad in [
            connection(),
            connection().option("project", ""),
            connection().option("project", "a/../b"),
            connection().option("project", "p").option("location", "E U"),
            connection().option("project", "p").option("endpoint", "nowhere"),
            connection().option("project", "p").option("storage_endpoint", "nowhere"),
            connection().option("project", "p").option("staging_dataset", "a.b"),
            connection().option("project", "p").option("file_mib", 0),
            connection().option("project", "p").option("auth", "magic"),
            connection().option("project", "p").option("datasett", "x"),
        ] {
            let error = BigQueryConfig::from_connection(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
