//! The options of a connection.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use transload_core::document::parse;
use transload_core::schema::{DatasetOptions, life};
use transload_core::{Connection, Error, Result};
use transload_google::{AuthMode, AuthOptions, Endpoint};

use crate::{limits, sql};

/// Google's own endpoint.
const DEFAULT_ENDPOINT: &str = "https://bigquery.googleapis.com";
/// Google's own endpoint of the Storage API.
const DEFAULT_STORAGE_ENDPOINT: &str = "https://bigquerystorage.googleapis.com";
/// Google's own endpoint of Cloud Storage.
const DEFAULT_GCS_ENDPOINT: &str = "https://storage.googleapis.com";
/// Path under which the REST API lives; an endpoint may be given with or without it.
const VERSION_PATH: &str = "/bigquery/v2";

/// How rows reach the staging table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadMethod {
    /// Parquet files and load jobs. Costs nothing but storage, and is the faster way for more than a few megabytes.
    #[default]
    File,
    /// The Storage Write API: no files, no load jobs and none of their quotas, and small loads are done sooner.
    /// Google bills it by the byte after a free share.
    StorageWrite,
}

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
    /// Base URL of the Storage API (gRPC) in place of Google's, for emulators and private endpoints. Reading
    /// needs it wherever `endpoint` is set.
    #[serde(default)]
    pub storage_endpoint: Option<String>,
    /// Base URL of Cloud Storage in place of Google's, for emulators and private endpoints.
    #[serde(default)]
    pub gcs_endpoint: Option<String>,
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
    /// How rows reach the staging table. Default: `file`.
    #[serde(default)]
    pub load_method: LoadMethod,
    /// Where Parquet files wait to be loaded, as `gs://bucket/prefix`; they are deleted afterwards. One load job
    /// then takes all files of a load. Default: none, files are uploaded with their load jobs.
    #[serde(default)]
    pub gcs_staging: Option<String>,
    /// Largest size at which a Parquet file is closed and uploaded while the next one is written, in MiB, from 1
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

/// What a job may say in `destination.options`. It wins over the connection's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BigQueryJobOptions {
    /// How rows reach the staging table. Default: as the connection says, and `file` with a `staging_prefix`.
    #[serde(default)]
    pub load_method: Option<LoadMethod>,
    /// Where the Parquet files of this job wait to be loaded, as `gs://bucket/prefix`; `none` to upload them with
    /// their load jobs although the connection names a place. Default: the connection's `gcs_staging`.
    #[serde(default)]
    pub staging_prefix: Option<String>,
}

/// The way that the rows of one load take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Parquet files, each uploaded with a load job.
    Upload,
    /// Parquet files that wait in a bucket, under a prefix that is empty or ends with `/`, for one load job.
    Bucket(String, String),
    /// The Storage Write API.
    StorageWrite,
}

/// Bucket and prefix of a place in Cloud Storage; the prefix is empty or ends with `/`.
fn bucket(option: &str, text: &str) -> Result<Way> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let split = text.strip_prefix("gs://").map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    let fine = split.filter(|(bucket, prefix)| {
        !bucket.is_empty()
            && bucket.chars().all(part)
            // What BigQuery reads as a pattern, and what a URL reads as a folder above, stays out.
            && prefix.chars().all(|c| part(c) || matches!(c, '/' | '='))
            && !prefix.split('/').any(|folder| matches!(folder, "." | ".."))
    });
    let (bucket, prefix) = fine.ok_or_else(|| {
        Error::config(format!("`{option}` is not a place in Cloud Storage"))
            .with("place", text)
            .hint("write gs://bucket/prefix, with letters, digits, dashes, dots and underscores")
    })?;
    let prefix = prefix.trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Way::Bucket(bucket.to_owned(), prefix))
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
        self.gcs_staging.as_deref().map(|text| bucket("gcs_staging", text)).transpose()?;
        self.base()?;
        self.gcs_base()?;
        self.storage_base().map(|_| ())
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

    /// The endpoint that requests to Cloud Storage go to.
    ///
    /// # Errors
    /// `config` if it is not a URL.
    pub(crate) fn gcs_base(&self) -> Result<Endpoint> {
        let wrong = |error: Error| error.with("option", "gcs_endpoint");
        Endpoint::new(self.gcs_endpoint.as_deref(), DEFAULT_GCS_ENDPOINT, "/storage/v1").map_err(wrong)
    }

    /// The way of a load, from the options of its job and of the connection.
    ///
    /// # Errors
    /// `config` for options that do not exist, cannot be, or contradict each other.
    pub(crate) fn way(&self, options: &Map<String, Value>) -> Result<Way> {
        let job: BigQueryJobOptions = parse("`destination.options`", Value::Object(options.clone()))?;
        let none = job.staging_prefix.as_deref() == Some("none");
        let prefix = job.staging_prefix.as_deref().filter(|_| !none);
        match (job.load_method, prefix) {
            (Some(LoadMethod::StorageWrite), Some(_)) => {
                Err(Error::config("`staging_prefix` is for files, and `load_method` is \"storage_write\"")
                    .with("field", "destination.options")
                    .hint("leave one of the two out"))
            }
            // A place for files asks for files.
            (_, Some(text)) => bucket("staging_prefix", text),
            (method, None) => match (method.unwrap_or(self.load_method), &self.gcs_staging) {
                (LoadMethod::StorageWrite, _) => Ok(Way::StorageWrite),
                (LoadMethod::File, Some(text)) if !none => bucket("gcs_staging", text),
                (LoadMethod::File, _) => Ok(Way::Upload),
            },
        }
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
    use serde_json::json;
    use transload_core::ErrorKind;

    fn connection() -> Connection {
        Connection::new("w", "bigquery")
    }

    #[test]
    fn places_in_cloud_storage() {
        for (text, bucket, prefix) in
            [("gs://b", "b", ""), ("gs://b/", "b", ""), ("gs://b.c/x/y/", "b.c", "x/y/")]
        {
            let connection = connection().option("project", "p").option("gcs_staging", text);
            let config = BigQueryConfig::from_connection(&connection).unwrap();
            let way = Way::Bucket(bucket.to_owned(), prefix.to_owned());
            assert_eq!(config.way(&Map::new()).unwrap(), way);
        }
    }

    #[test]
    fn a_job_chooses_its_way() {
        let config = |options: &[(&str, &str)]| {
            let connection =
                options.iter().fold(connection().option("project", "p"), |c, (n, v)| c.option(*n, *v));
            BigQueryConfig::from_connection(&connection).unwrap()
        };
        let bucket = |name: &str| Way::Bucket(name.to_owned(), "x/".to_owned());
        let (plain, stored) = (config(&[]), config(&[("gcs_staging", "gs://c/x")]));
        let write = config(&[("load_method", "storage_write"), ("gcs_staging", "gs://c/x")]);
        for (config, job, way) in [
            (&plain, json!({}), Way::Upload),
            (&plain, json!({"load_method": "storage_write"}), Way::StorageWrite),
            (&plain, json!({"load_method": "storage_write", "staging_prefix": "none"}), Way::StorageWrite),
            (&plain, json!({"staging_prefix": "gs://j/x"}), bucket("j")),
            (&stored, json!({}), bucket("c")),
            (&stored, json!({"staging_prefix": "gs://j/x/"}), bucket("j")),
            (&stored, json!({"staging_prefix": "none"}), Way::Upload),
            (&stored, json!({"load_method": "file"}), bucket("c")),
            (&write, json!({}), Way::StorageWrite),
            (&write, json!({"load_method": "file"}), bucket("c")),
            (&write, json!({"load_method": "file", "staging_prefix": "none"}), Way::Upload),
            (&write, json!({"staging_prefix": "gs://j/x"}), bucket("j")),
            (&write, json!({"staging_prefix": "none"}), Way::StorageWrite),
        ] {
            assert_eq!(config.way(job.as_object().unwrap()).unwrap(), way, "{job}");
        }
        for (job, part) in [
            (json!({"load_methd": "file"}), "did you mean `load_method`?"),
            (json!({"load_method": "magic"}), "magic"),
            (json!({"staging_prefix": "s3://b/p"}), "not a place in Cloud Storage"),
            (json!({"load_method": "storage_write", "staging_prefix": "gs://j/x"}), "is for files"),
        ] {
            let error = plain.way(job.as_object().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(part), "{job}: {error}");
        }
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
            connection().option("project", "p").option("tables_expire_after", "soon"),
            connection().option("project", "p").option("dataset_labels", serde_json::json!({"Team": "x"})),
            connection().option("project", "p").option("auth", "magic"),
            connection().option("project", "p").option("load_method", "magic"),
            connection().option("project", "p").option("job_seconds", 0),
            connection().option("project", "p").option("retry_seconds", 4000),
            connection().option("project", "p").option("storage_endpoint", "nowhere"),
            connection().option("project", "p").option("gcs_endpoint", "nowhere"),
            connection().option("project", "p").option("gcs_staging", "s3://b/p"),
            connection().option("project", "p").option("gcs_staging", "gs:///p"),
            connection().option("project", "p").option("gcs_staging", "gs://b/../p"),
            connection().option("project", "p").option("gcs_staging", "gs://b/p*"),
            connection().option("project", "p").option("datasett", "x"),
        ] {
            let error = BigQueryConfig::from_connection(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
