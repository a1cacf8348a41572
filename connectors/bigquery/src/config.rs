//! The options of a connection.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::schema::{DatasetOptions, life};
use transload_core::{Connection, Error, Result};
use transload_google::{AuthMode, AuthOptions, Endpoint};

use crate::{limits, sql};

/// Google's own endpoint.
const DEFAULT_ENDPOINT: &str = "https://bigquery.googleapis.com";
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
    /// Labels of datasets that are created.
    #[serde(default)]
    pub dataset_labels: BTreeMap<String, String>,
    /// Tables of datasets that are created are deleted this long after their own creation unless they say
    /// otherwise, for example `"30d"`; at least an hour. Default: never.
    #[serde(default)]
    pub tables_expire_after: Option<String>,
    /// Base URL in place of Google's, for emulators and private endpoints.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Kind of credentials. Default: what the secret looks like; without a secret none for an endpoint on
    /// this machine, else Application Default Credentials.
    #[serde(default)]
    pub auth: Option<AuthMode>,
    /// E-mail of a service account that the credentials are exchanged for; they need the role Service Account Token
    /// Creator on it.
    #[serde(default)]
    pub impersonate: Option<String>,
    /// Base URL of the IAM Credentials API in place of Google's, for `impersonate`.
    #[serde(default)]
    pub iam_endpoint: Option<String>,
    /// Dataset for staging tables; it must exist in the target's location. Default: the target's dataset.
    #[serde(default)]
    pub staging_dataset: Option<String>,
    /// Size at which a Parquet file is closed and uploaded while the next one is written, in MiB, from 1
    /// to 1024. Up to four files are on disk at a time. Default: 128.
    #[serde(default)]
    pub file_mib: Option<u16>,
    /// How long one request is tried again after failures that may pass (rate limits, 5xx, lost connections), in
    /// seconds, from 0 to 3600. Default: 120.
    #[serde(default)]
    pub retry_seconds: Option<u16>,
    /// How long one job may take, in seconds; it is cancelled then. Default: 21600, BigQuery's own six hours.
    #[serde(default)]
    pub job_seconds: Option<u32>,
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
        self.dataset_options()?;
        if self.retry_seconds.is_some_and(|seconds| seconds > 3600) {
            return Err(Error::config("`retry_seconds` must be from 0 to 3600").hint("leave it out for 120"));
        }
        if self.job_seconds == Some(0) {
            return Err(Error::config("`job_seconds` must be 1 or more").hint("leave it out for six hours"));
        }
        self.base().map(|_| ())
    }

    /// What the connection says about its credentials.
    pub(crate) fn auth_options(&self) -> AuthOptions {
        AuthOptions {
            mode: self.auth,
            impersonate: self.impersonate.clone(),
            iam_endpoint: self.iam_endpoint.clone(),
        }
    }

    /// What datasets get that are created.
    ///
    /// # Errors
    /// `config` for impossible labels and a life that is no duration.
    pub(crate) fn dataset_options(&self) -> Result<DatasetOptions> {
        limits::check_labels(&self.dataset_labels).map_err(|why| {
            Error::config(format!("`dataset_labels`: {why}"))
                .hint("labels have lower-case letters, digits, `_` and `-`, up to 63 of them")
        })?;
        Ok(DatasetOptions {
            location: self.location.clone(),
            description: None,
            tables_expire_after: life("tables_expire_after", self.tables_expire_after.as_deref())?,
            labels: self.dataset_labels.clone(),
        })
    }

    /// The endpoint that requests go to.
    ///
    /// # Errors
    /// `config` if it is not a URL.
    pub(crate) fn base(&self) -> Result<Endpoint> {
        Endpoint::new(self.endpoint.as_deref(), DEFAULT_ENDPOINT, VERSION_PATH)
    }

    /// How long one step is tried again.
    pub(crate) fn retry_time(&self) -> Duration {
        Duration::from_secs(self.retry_seconds.unwrap_or(120).into())
    }

    /// How long one job may take.
    pub(crate) fn job_time(&self) -> Duration {
        Duration::from_secs(self.job_seconds.unwrap_or(6 * 60 * 60).into())
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
            connection().option("project", "p").option("staging_dataset", "a.b"),
            connection().option("project", "p").option("file_mib", 0),
            connection().option("project", "p").option("tables_expire_after", "soon"),
            connection().option("project", "p").option("dataset_labels", serde_json::json!({"Team": "x"})),
            connection().option("project", "p").option("auth", "magic"),
            connection().option("project", "p").option("datasett", "x"),
        ] {
            let error = BigQueryConfig::from_connection(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
