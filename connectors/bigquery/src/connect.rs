//! The way to BigQuery: Google's clients for datasets, tables and jobs, and a plain one for uploads.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_bigquery_v2::client::{DatasetService, JobService, TableService};
use google_cloud_bigquery_v2::model::{
    Dataset, DatasetReference, ListFormatTable, Table, TableReference, TableSchema,
};
use google_cloud_gax::retry_policy::NeverRetry;
use transload_core::connector::ServerInfo;
use transload_core::{Error, ErrorKind, Result, Secret};
use transload_google::{Endpoint, GoogleAuth};

use crate::config::BigQueryConfig;
use crate::error;

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
    pub(crate) auth: GoogleAuth,
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
        let auth = GoogleAuth::from_options(config.auth, secret, &endpoint)?;
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Config, "cannot set up the clients for BigQuery")
                .source_error(source)
                .hint("check `endpoint` and the certificates that this machine trusts")
        };
        // The connector tries once; where another try is part of a job's protocol, it is made there.
        macro_rules! client {
            ($service:ident) => {
                $service::builder()
                    .with_endpoint(endpoint.as_str())
                    .with_credentials(auth.credentials())
                    .with_retry_policy(NeverRetry)
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
        let reference = DatasetReference::new().set_project_id(&self.project).set_dataset_id(name);
        let mut dataset = Dataset::new().set_dataset_reference(reference);
        if let Some(location) = &self.config.location {
            dataset = dataset.set_location(location);
        }
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

    /// Gives a table another schema: more columns, fewer REQUIRED ones.
    pub(crate) async fn patch_schema(&self, dataset: &str, table: &str, schema: TableSchema) -> Result<()> {
        let request = self
            .tables
            .patch_table()
            .set_project_id(&self.project)
            .set_dataset_id(dataset)
            .set_table_id(table)
            .set_table(Table::new().set_schema(schema));
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error::of_client("cannot change the schema of the table", error)
                .with("target", format_args!("{dataset}.{table}"))),
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
