//! Targets, read by nothing of transload: the files of a dataset by the `parquet` crate, a table of the BigQuery
//! emulator over REST.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use transload_testkit::{Done, Failure, need_env};

use crate::Rows;

/// A table that rows are loaded into.
#[derive(Debug, Clone)]
pub enum Target {
    /// `orders` in dataset `raw` of this folder.
    Dataset(PathBuf),
    /// `orders` in this dataset of the emulator.
    BigQuery(String),
}

impl Target {
    /// The connection document, named `warehouse`.
    ///
    /// # Errors
    /// A missing server.
    pub fn connection(&self) -> Done<Value> {
        Ok(match self {
            Self::Dataset(path) => {
                json!({"name": "warehouse", "type": "dataset", "path": path, "file_bytes": 262_144})
            }
            Self::BigQuery(_) => json!({
                "name": "warehouse", "type": "bigquery",
                "endpoint": need_env("TRANSLOAD_TEST_BIGQUERY_URL")?,
                "project": need_env("TRANSLOAD_TEST_BIGQUERY_PROJECT")?,
            }),
        })
    }

    /// The `destination` of the job document.
    #[must_use]
    pub fn table(&self) -> Value {
        let dataset = match self {
            Self::Dataset(_) => "raw",
            Self::BigQuery(dataset) => dataset,
        };
        json!({"connection": "warehouse", "dataset": dataset, "table": "orders"})
    }

    /// All rows that are not marked as deleted; none if there is no table.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn rows(&self) -> Done<Rows> {
        match self {
            Self::Dataset(path) => files(&path.join("raw").join("orders")),
            Self::BigQuery(dataset) => table(dataset).await,
        }
    }

    /// What dead loads left behind: files and tables that no reader sees.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn leftovers(&self) -> Done<Vec<String>> {
        match self {
            Self::Dataset(path) => {
                let mut left = Vec::new();
                for folder in fs::read_dir(path.join("raw"))? {
                    let folder = folder?.path();
                    let hidden =
                        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
                    if hidden && folder.is_dir() {
                        collect(&folder, &mut left)?;
                    }
                }
                Ok(left.into_iter().filter(|path| path.ends_with(".parquet")).collect())
            }
            Self::BigQuery(dataset) => {
                let url = format!("{}/datasets/{dataset}/tables?maxResults=1000", base()?);
                let tables = answer(reqwest::Client::new().get(url)).await?;
                let tables = tables["tables"].as_array().cloned().unwrap_or_default();
                let names = tables.iter().filter_map(|table| table["tableReference"]["tableId"].as_str());
                Ok(names.filter(|name| name.starts_with("_tl_")).map(str::to_owned).collect())
            }
        }
    }

    /// Removes what is not in the folder of the seed.
    ///
    /// # Errors
    /// A missing server.
    pub async fn drop(&self) -> Done {
        if let Self::BigQuery(dataset) = self {
            let url = format!("{}/datasets/{dataset}?deleteContents=true", base()?);
            reqwest::Client::new().delete(url).send().await?;
        }
        Ok(())
    }
}

fn collect(folder: &Path, into: &mut Vec<String>) -> Done {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            into.push(path.display().to_string());
        }
    }
    Ok(())
}

fn files(table: &Path) -> Done<Rows> {
    let mut rows = Rows::new();
    if !table.exists() {
        return Ok(rows);
    }
    for load in fs::read_dir(table)? {
        let load = load?.path();
        if !load.is_dir() {
            continue;
        }
        for file in fs::read_dir(&load)? {
            let file = file?.path();
            if file.extension().is_none_or(|ending| ending != "parquet") {
                continue;
            }
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)?.build()? {
                let batch = batch?;
                let column = |name: &str| {
                    batch.column_by_name(name).ok_or_else(|| Failure::new(format!("no column {name}")))
                };
                let (id, at) =
                    (column("id")?.as_primitive::<Int64Type>(), column("at")?.as_primitive::<Int64Type>());
                let what = column("what")?.as_string::<i32>();
                let marks = batch.column_by_name("_deleted_at");
                for row in (0..batch.num_rows()).filter(|row| marks.is_none_or(|marks| marks.is_null(*row))) {
                    *rows.entry((id.value(row), at.value(row), what.value(row).to_owned())).or_default() += 1;
                }
            }
        }
    }
    Ok(rows)
}

fn base() -> Done<String> {
    let (url, project) =
        (need_env("TRANSLOAD_TEST_BIGQUERY_URL")?, need_env("TRANSLOAD_TEST_BIGQUERY_PROJECT")?);
    Ok(format!("{url}/bigquery/v2/projects/{project}"))
}

async fn answer(request: reqwest::RequestBuilder) -> Done<Value> {
    Ok(serde_json::from_str(&request.send().await?.text().await?)?)
}

async fn table(dataset: &str) -> Done<Rows> {
    let client = reqwest::Client::new();
    let schema = answer(client.get(format!("{}/datasets/{dataset}/tables/orders", base()?))).await?;
    let fields = schema["schema"]["fields"].as_array().cloned().unwrap_or_default();
    let marks = fields.iter().any(|field| field["name"] == json!("_deleted_at"));
    let sql = format!(
        "SELECT CONCAT(CAST(id AS STRING), ' ', CAST(at AS STRING), ' ', what) FROM `{dataset}`.`orders`{}",
        if marks { " WHERE _deleted_at IS NULL" } else { "" }
    );
    let body = json!({"query": sql, "useLegacySql": false, "timeoutMs": 100_000});
    let mut page = answer(client.post(format!("{}/queries", base()?)).json(&body)).await?;
    let mut rows = Rows::new();
    if page["error"]["code"] == json!(404) {
        return Ok(rows);
    }
    loop {
        if page["jobComplete"] != json!(true) {
            return Err(Failure::new(format!("{sql}: {page}")));
        }
        for row in page["rows"].as_array().into_iter().flatten() {
            let text = row["f"][0]["v"].as_str().unwrap_or_default();
            let mut parts = text.splitn(3, ' ');
            let mut next = || parts.next().unwrap_or_default();
            let (id, at) = (next().parse()?, next().parse()?);
            *rows.entry((id, at, next().to_owned())).or_default() += 1;
        }
        let Some(token) = page["pageToken"].as_str().filter(|token| !token.is_empty()) else { break };
        let job = page["jobReference"]["jobId"].as_str().unwrap_or_default().to_owned();
        let next = client.get(format!("{}/queries/{job}", base()?)).query(&[("pageToken", token)]);
        page = answer(next).await?;
    }
    Ok(rows)
}
