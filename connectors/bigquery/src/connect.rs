//! The way to BigQuery: Google's clients for datasets, tables and jobs, and a plain one for uploads.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_bigquery_v2::client::{DatasetService, JobService, TableService};
use google_cloud_bigquery_v2::model::{Dataset, ListFormatTable, Table, TableReference};
use reqwest::header::IF_MATCH;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use transload_core::connector::ServerInfo;
use transload_core::{Error, ErrorKind, Result, Secret};
use transload_google::Endpoint;

use crate::config::BigQueryConfig;
use crate::renew::Renewable;
use crate::retry::Retry;
use crate::{error, table};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For control requests; long polls ask for less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// For one chunk of an upload.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// A connection that has credentials. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) project: String,
    pub(crate) config: BigQueryConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) auth: Renewable,
    pub(crate) retry: Retry,
    pub(crate) datasets: DatasetService,
    pub(crate) tables: TableService,
    pub(crate) jobs: JobService,
    pub(crate) http: reqwest::Client,
}

impl std::ops::Deref for Client {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Lets a missing thing be an answer.
fn found<T>(what: &str, result: Result<T, google_cloud_gax::error::Error>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.http_status_code() == Some(404) => Ok(None),
        Err(error) => Err(error::of_client(what, error)),
    }
}

/// Lets "it exists already" be an answer.
fn fresh<T>(what: &str, result: Result<T, google_cloud_gax::error::Error>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.http_status_code() == Some(409) => Ok(None),
        Err(error) => Err(error::of_client(what, error)),
    }
}

impl Client {
    /// Sets up clients and credentials; no request is made.
    pub(crate) async fn new(config: BigQueryConfig, secret: Option<&Secret>) -> Result<Self> {
        let endpoint = config.base()?;
        let auth = Renewable::new(config.auth_options(), secret, &endpoint)?;
        let retry = Retry::new(config.retry_time(), auth.clone());
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Config, "cannot set up the clients for BigQuery")
                .source_error(source)
                .hint("check `endpoint` and the certificates that this machine trusts")
        };
        macro_rules! client {
            ($service:ident) => {
                $service::builder()
                    .with_endpoint(endpoint.as_str())
                    .with_credentials(auth.credentials())
                    .with_retry_policy(retry.clone())
                    .with_backoff_policy(retry.clone())
                    .with_attempt_timeout(REQUEST_TIMEOUT)
                    .build()
                    .await
                    .map_err(|error| unusable(Box::new(error)))?
            };
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(UPLOAD_TIMEOUT)
            // An upload must go where it was sent; 308 is not a redirect in the upload protocol.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unusable(Box::new(error)))?;
        Ok(Self(Arc::new(Inner {
            project: config.project.clone(),
            datasets: client!(DatasetService),
            tables: client!(TableService),
            jobs: client!(JobService),
            config,
            endpoint,
            auth,
            retry,
            http,
        })))
    }

    /// Asks for one dataset, whichever: proves endpoint, credentials and project.
    pub(crate) async fn ping(&self) -> Result<()> {
        let request = self.datasets.list_datasets().set_project_id(&self.project).set_max_results(1_u32);
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error::of_client("cannot list the datasets of the project", error)
                .with("project", &self.project)),
        }
    }

    /// Proves that requests are answered, and names the server.
    pub(crate) async fn server_info(&self) -> Result<ServerInfo> {
        self.ping().await?;
        let version = match self.endpoint.is_overridden() {
            true => format!("BigQuery (endpoint {})", self.endpoint.as_str()),
            false => "BigQuery".to_owned(),
        };
        Ok(ServerInfo { version, tls: Some(self.endpoint.is_tls()) })
    }

    pub(crate) async fn dataset(&self, name: &str) -> Result<Option<Dataset>> {
        let request = self.datasets.get_dataset().set_project_id(&self.project).set_dataset_id(name);
        found("cannot read the dataset", Box::pin(request.send()).await)
            .map_err(|error| error.with("dataset", name))
    }

    /// Creates a dataset; somebody else's creation at the same time is as good.
    pub(crate) async fn create_dataset(&self, name: &str) -> Result<()> {
        let dataset = table::dataset_body(&self.project, name, &self.config.dataset_options()?)?;
        let request = self.datasets.insert_dataset().set_project_id(&self.project).set_dataset(dataset);
        fresh("cannot create the dataset", Box::pin(request.send()).await)
            .map(|_| ())
            .map_err(|error| error.with("dataset", name))
    }

    pub(crate) async fn table(&self, dataset: &str, table: &str) -> Result<Option<Table>> {
        let request =
            self.tables.get_table().set_project_id(&self.project).set_dataset_id(dataset).set_table_id(table);
        found("cannot read the table", Box::pin(request.send()).await)
            .map_err(|error| error.with("target", format_args!("{dataset}.{table}")))
    }

    /// Creates a table; `None` if it is there already.
    pub(crate) async fn create_table(
        &self,
        dataset: &str,
        table: &str,
        body: Table,
    ) -> Result<Option<Table>> {
        let reference =
            TableReference::new().set_project_id(&self.project).set_dataset_id(dataset).set_table_id(table);
        let request = self
            .tables
            .insert_table()
            .set_project_id(&self.project)
            .set_dataset_id(dataset)
            .set_table(body.set_table_reference(reference));
        fresh("cannot create the table", Box::pin(request.send()).await)
            .map_err(|error| error.with("target", format_args!("{dataset}.{table}")))
    }

    /// Names a table among all that this process works on.
    pub(crate) fn place_of(&self, dataset: &str, table: &str) -> String {
        format!("{}/{}/{dataset}.{table}", self.endpoint.as_str(), self.project)
    }

    /// Changes a table if it is still what `etag` names; whether it was. Tried again as every request is. Sent as
    /// JSON and not through Google's client, which cannot say that a field is to be removed.
    pub(crate) async fn patch_table(
        &self,
        dataset: &str,
        table: &str,
        etag: &str,
        body: &Value,
    ) -> Result<bool> {
        let what = "cannot change the table";
        let mut url = Url::parse(&self.endpoint.join("/bigquery/v2"))
            .map_err(|error| Error::internal(what).source_error(error))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(["projects", &self.project, "datasets", dataset, "tables", table]);
        }
        let named = |error: Error| error.with("target", format_args!("{dataset}.{table}"));
        let mut tries = self.retry.begin();
        loop {
            let mut request = self.http.patch(url.clone()).timeout(REQUEST_TIMEOUT).json(body);
            request = request.headers(self.auth.headers().await?);
            if !etag.is_empty() {
                request = request.header(IF_MATCH, etag);
            }
            let failure = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(true),
                // 412 is also the answer to a second try whose first one did arrive. 409 is said where two requests
                // commit at the same moment.
                Ok(answer)
                    if matches!(answer.status(), StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT) =>
                {
                    return Ok(false);
                }
                Ok(answer) => {
                    self.retry.heed(answer.headers());
                    let status = answer.status().as_u16();
                    error::of_answer(what, status, &answer.bytes().await.unwrap_or_default())
                }
                Err(error) => error::of_transport(what, error),
            };
            tries.after(named(failure)).await?;
        }
    }

    /// Deletes a table; a missing one is as good.
    pub(crate) async fn delete_table(&self, dataset: &str, table: &str) -> Result<()> {
        let request = self
            .tables
            .delete_table()
            .set_project_id(&self.project)
            .set_dataset_id(dataset)
            .set_table_id(table);
        found("cannot delete the table", Box::pin(request.send()).await)
            .map(|_| ())
            .map_err(|error| error.with("target", format_args!("{dataset}.{table}")))
    }

    /// Names of the tables of a dataset, of at most `pages` pages of 1000.
    pub(crate) async fn table_names(&self, dataset: &str, pages: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut token = String::new();
        for _ in 0..pages {
            let request = self
                .tables
                .list_tables()
                .set_project_id(&self.project)
                .set_dataset_id(dataset)
                .set_max_results(1000_u32)
                .set_page_token(&token);
            let page = found("cannot list the tables of the dataset", Box::pin(request.send()).await)?;
            let Some(page) = page else { break };
            let name = |table: ListFormatTable| table.table_reference.map(|reference| reference.table_id);
            names.extend(page.tables.into_iter().filter_map(name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(names)
    }
}
