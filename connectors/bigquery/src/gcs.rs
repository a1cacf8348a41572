//! Parquet files in Cloud Storage, where they wait for the load job. Objects of a load are named after its staging
//! table, so that the next load of the same target finds what a dead one left.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use transload_core::{Error, Result};
use transload_google::Endpoint;

use crate::config::Way;
use crate::connect::Client;
use crate::encode::PartFile;
use crate::error;
use crate::upload::{Sizes, Upload};

/// A folder of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    client: Client,
    endpoint: Endpoint,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Listing {
    items: Vec<Item>,
    next_page_token: String,
}

#[derive(Deserialize)]
struct Item {
    name: String,
}

impl Bucket {
    /// The place where files wait, if that is the way of a load.
    ///
    /// # Errors
    /// `config` where it cannot be used.
    pub(crate) fn of(client: &Client, way: &Way) -> Result<Option<Self>> {
        let Way::Bucket(bucket, prefix) = way.clone() else { return Ok(None) };
        let endpoint = client.config.gcs_base()?;
        let plain = client.endpoint.is_tls() && !endpoint.is_tls() && !endpoint.is_local();
        if plain {
            return Err(Error::config("credentials would be sent over plain HTTP to another machine")
                .with("option", "gcs_endpoint")
                .hint("use an https endpoint"));
        }
        Ok(Some(Self { client: client.clone(), endpoint, bucket, prefix }))
    }

    /// Name of an object of a load.
    pub(crate) fn object(&self, folder: &str, number: u64) -> String {
        format!("{}{folder}/part-{number}.parquet", self.prefix)
    }

    /// Its address for a load job.
    pub(crate) fn uri(&self, object: &str) -> String {
        format!("gs://{}/{object}", self.bucket)
    }

    /// Writes an object.
    ///
    /// # Errors
    /// Those of Cloud Storage.
    pub(crate) async fn put(&self, object: &str, file: &PartFile, sizes: Sizes) -> Result<()> {
        let metadata = json!({"name": object, "contentType": "application/octet-stream"});
        let mut tries = self.client.retry.begin();
        loop {
            let path = format!("/upload/storage/v1/b/{}/o", self.bucket);
            let upload = Upload { endpoint: &self.endpoint, path, metadata: &metadata, file, sizes };
            // The name is this load's alone: writing it again writes the same.
            match self.client.upload(&upload).await {
                Ok(_) => return Ok(()),
                Err(failure) => tries.after(failure.with("object", self.uri(object))).await?,
            }
        }
    }

    /// Deletes an object; a missing one is as good.
    ///
    /// # Errors
    /// Those of Cloud Storage.
    pub(crate) async fn delete(&self, object: &str) -> Result<()> {
        let path = format!("/storage/v1/b/{}/o/{}", self.bucket, object.replace('/', "%2F"));
        self.ask(Method::DELETE, &path, &[], "cannot delete an object").await.map(|_| ())
    }

    /// Deletes the objects of folders whose names begin with `folders`.
    ///
    /// # Errors
    /// Those of Cloud Storage.
    pub(crate) async fn clean(&self, folders: &str) -> Result<()> {
        let prefix = format!("{}{folders}", self.prefix);
        let path = format!("/storage/v1/b/{}/o", self.bucket);
        let mut token = String::new();
        loop {
            let query = [("prefix", prefix.as_str()), ("pageToken", token.as_str())];
            let query = if token.is_empty() { &query[..1] } else { &query[..] };
            let body = self.ask(Method::GET, &path, query, "cannot list objects").await?;
            let listing: Listing = serde_json::from_slice(&body).unwrap_or_default();
            for item in &listing.items {
                self.delete(&item.name).await?;
            }
            token = listing.next_page_token;
            if token.is_empty() {
                return Ok(());
            }
        }
    }

    /// One request without a body, tried again as needed; nothing where it is not found.
    async fn ask(&self, method: Method, path: &str, query: &[(&str, &str)], what: &str) -> Result<Vec<u8>> {
        let mut tries = self.client.retry.begin();
        loop {
            let request = self.client.http.request(method.clone(), self.endpoint.join(path)).query(query);
            let request = request.headers(self.client.auth.headers().await?);
            let failure = match request.send().await {
                Ok(response) if response.status().as_u16() == 404 => return Ok(Vec::new()),
                Ok(response) if response.status().is_success() => match response.bytes().await {
                    Ok(body) => return Ok(body.to_vec()),
                    Err(error) => error::of_transport(what, error),
                },
                Ok(response) => {
                    self.client.retry.heed(response.headers());
                    let status = response.status().as_u16();
                    error::of_answer(what, status, &response.bytes().await.unwrap_or_default())
                }
                Err(error) => error::of_transport(what, error),
            };
            tries.after(failure.with("bucket", &self.bucket)).await?;
        }
    }
}
