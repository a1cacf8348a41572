//! One load: its names, its staging table and its parts. The way from batches to staged rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use google_cloud_bigquery_v2::model::Job;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transload_core::schema::{TargetColumn, TargetRef, TargetTable};
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::encode::{PartFile, PartWriter};
use crate::error::may_pass;
use crate::evolve::take_turn;
use crate::gcs::Bucket;
use crate::jobs::{ATTEMPTS, Submission, failure};
use crate::upload::Sizes;
use crate::{explain, limits, sql, types};

/// Files that are uploaded or loaded at the same time.
const UPLOADS: usize = 4;
/// Size of the first file. Each one is twice as large as the one before, up to `file_mib`: small and medium tables
/// are on their way while they are still read, and large ones become few jobs.
const FIRST_FILE: usize = 4 << 20;
/// Encoded bytes of a row group. BigQuery reads row groups in parallel and advises 16 MiB or more.
const ROW_GROUP: usize = 32 << 20;
/// Files that one job may load.
const URIS: usize = 10_000;
/// BigQuery removes a staging table after this time, should nobody else do it.
const STAGING_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What all steps of a load share.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) client: Client,
    pub(crate) target: TargetRef,
    pub(crate) load_id: String,
    /// Columns of the load, in order.
    pub(crate) columns: Vec<TargetColumn>,
    /// Where the target is, and with it every job.
    pub(crate) location: String,
    /// When the target was created, milliseconds since 1970.
    pub(crate) created: i64,
    /// A condition for every row of the target, there called `t`, where its queries must name partitions.
    pub(crate) every_partition: Option<String>,
    /// Columns of the staging table.
    pub(crate) staging: Vec<TargetColumn>,
    pub(crate) stage_schema: SchemaRef,
    pub(crate) staging_dataset: String,
    pub(crate) staging_table: String,
    /// Part of every name that belongs to this run only.
    pub(crate) nonce: String,
    /// The staging table exists.
    pub(crate) staged: AtomicBool,
    /// Rows go through the Storage Write API, and not as files.
    pub(crate) storage_write: bool,
    /// Where files wait, if not in the requests of their load jobs.
    pub(crate) bucket: Option<Bucket>,
    /// Objects that this load wrote, or began to write.
    pub(crate) objects: Mutex<Vec<String>>,
    /// Bytes that rows in flight may occupy.
    pub(crate) memory: usize,
}

/// What was staged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) parts: u64,
}

/// Names of staging tables of a job's loads into a target begin so: what begins so belongs to no other target and to no
/// other job.
pub(crate) fn staging_prefix(project: &str, target: &TargetRef, job: &str) -> String {
    format!("_tl_{}_", short_hash(&[project, &target.dataset, &target.table, job]))
}

/// 16 hexadecimal digits that stand for some texts.
pub(crate) fn short_hash(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// A load id as part of a table name or job id. Ids that keep to the contract stay readable.
pub(crate) fn safe_id(load_id: &str) -> String {
    let fine =
        (1..=128).contains(&load_id.len()) && load_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fine { load_id.to_owned() } else { format!("h{}", short_hash(&[load_id])) }
}

impl Load {
    /// Quoted path of the staging table.
    pub(crate) fn staging_path(&self) -> String {
        sql::path(&self.client.project, &self.staging_dataset, &self.staging_table)
    }

    /// Creates the staging table unless that was done.
    pub(crate) async fn ensure_staging(&self) -> Result<()> {
        if self.staged.load(Ordering::Acquire) {
            return Ok(());
        }
        let target = TargetRef::new(&self.staging_dataset, &self.staging_table);
        let table = TargetTable {
            description: Some(format!("transload staging of {}", self.target)),
            ..TargetTable::new(target, self.staging.clone())
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = i64::try_from((now + STAGING_LIFE).as_millis()).unwrap_or(i64::MAX);
        let body = types::table_body(&table)?.set_expiration_time(expires);
        // "It is there already" can only be the echo of this very request: the name has the run's nonce.
        self.client.create_table(&self.staging_dataset, &self.staging_table, body).await?;
        self.staged.store(true, Ordering::Release);
        Ok(())
    }

    /// Deletes what was staged: objects, and the staging table if there is one.
    pub(crate) async fn drop_staging(&self) -> Result<()> {
        let objects = std::mem::take(&mut *self.objects.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(bucket) = &self.bucket {
            for object in &objects {
                bucket.delete(object).await?;
            }
        }
        if self.staged.load(Ordering::Acquire) {
            self.client.delete_table(&self.staging_dataset, &self.staging_table).await?;
        }
        Ok(())
    }

    fn load_job(&self, id: &str, uris: &[String]) -> Value {
        let mut job = json!({
            "jobReference": {"projectId": self.client.project, "jobId": id, "location": self.location},
            "configuration": {
                "labels": {"engine": "transload"},
                "load": {
                    "destinationTable": {
                        "projectId": self.client.project,
                        "datasetId": self.staging_dataset,
                        "tableId": self.staging_table,
                    },
                    "sourceFormat": "PARQUET",
                    "createDisposition": "CREATE_NEVER",
                    "writeDisposition": "WRITE_APPEND",
                    "maxBadRecords": 0,
                    "parquetOptions": {"enableListInference": true},
                    "decimalTargetTypes": ["NUMERIC", "BIGNUMERIC"],
                },
            },
        });
        if !uris.is_empty() {
            job["configuration"]["load"]["sourceUris"] = json!(uris);
        }
        job
    }

    /// An eighth of the memory is for each of the uploads, a quarter for the row group being encoded, the rest
    /// for batches.
    fn sizes(&self) -> Sizes {
        Sizes::within(self.memory / 8)
    }

    fn row_group(&self) -> usize {
        (self.memory / 4).clamp(1 << 20, ROW_GROUP)
    }

    /// Loads one file into the staging table, or puts it where one job will load all of them.
    async fn stage(&self, number: u64, file: PartFile) -> Result<(Totals, Option<String>)> {
        let totals = Totals { rows: file.rows, bytes: file.bytes, parts: 1 };
        let Some(bucket) = &self.bucket else {
            let name = number.to_string();
            Box::pin(self.run_load(&name, file.rows, Source::File(&file))).await?;
            return Ok((totals, None));
        };
        let object = bucket.object(&self.staging_table, number);
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).push(object.clone());
        bucket.put(&object, &file, self.sizes()).await?;
        Ok((totals, Some(bucket.uri(&object))))
    }

    /// Loads files into the staging table. The attempt is part of the job's id, since an id is used up by a job
    /// that failed.
    async fn run_load(&self, name: &str, rows: u64, source: Source<'_>) -> Result<()> {
        let what = "cannot load Parquet files into the staging table";
        let mut tries = self.client.retry.begin();
        let mut attempt = 1;
        loop {
            let id = format!("tl_{}_{}_{name}_a{attempt}", safe_id(&self.load_id), self.nonce);
            let (job, submission);
            match source {
                Source::File(file) => {
                    job = self.load_job(&id, &[]);
                    submission = Submission::Upload(&job, file, self.sizes());
                }
                Source::Uris(uris) => {
                    job = self.load_job(&id, uris);
                    submission = Submission::Job(&job);
                }
            }
            take_turn(&self.client.place_of(&self.staging_dataset, &self.staging_table)).await;
            self.client.submit(&id, &self.location, submission).await?;
            let done = self.client.wait(&id, &self.location).await?;
            let Some(error) = failure(&done, what, &id) else { return checked(&done, rows, &id) };
            let error = self.located(self.explained(error), source).await;
            if !may_pass(&error) || attempt >= ATTEMPTS {
                return Err(error);
            }
            tracing::warn!(job = id, %error, "a load job failed and runs again");
            tries.again(error).await?;
            attempt += 1;
        }
    }

    /// An error about staged rows in terms of the target: names of columns instead of `c0`, and what it means
    /// that the staging table is gone.
    pub(crate) fn explained(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::NotFound && self.staged.load(Ordering::Acquire) {
            return Error::new(ErrorKind::Conflict, "the staging table of the load is gone")
                .with("target", &self.target)
                .source_error(error)
                .retryable(true)
                .hint(
                    "another run of the same table began meanwhile; run the job again, and make sure that only \
                     one run at a time loads a table",
                );
        }
        let texts = error.causes().join("; ");
        let mut error = error.with("target", &self.target);
        if let Some(column) = self.column_of(&texts).and_then(|index| self.columns.get(index)) {
            error = error.with("column", &column.name).with("type", &column.data_type);
        }
        error
    }

    /// The column that a message is about, by its name in the staging table or at the target.
    fn column_of(&self, message: &str) -> Option<usize> {
        let staged = (0..self.columns.len()).find(|index| names_column(message, &sql::stage_name(*index)));
        staged.or_else(|| {
            let name = explain::column(message)?;
            self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
        })
    }

    /// Adds the row that the failure of a load job is about, where its message has the value and the file is ours.
    async fn located(&self, error: Error, source: Source<'_>) -> Error {
        let message = error.causes().join("; ");
        let (Some(index), Some(value), Source::File(file)) =
            (self.column_of(&message), explain::value(&message), source)
        else {
            return error;
        };
        let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        let (path, value) = (file.path.clone(), value.to_owned());
        let found = blocking(move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Ok((explain::row(&path, &names, index, &value), value))
        });
        match found.await {
            Ok((Some(row), value)) => error.with("value", value).with("row", row),
            Ok((None, value)) => error.with("value", value),
            Err(_) => error,
        }
    }
}

/// Whether a message speaks of a staging column: `c1` as a word of its own, and not the `c1` of `c12`.
fn names_column(text: &str, column: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(column).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

/// What a load job reads.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// A file that is uploaded with it.
    File(&'a PartFile),
    /// Files in Cloud Storage.
    Uris(&'a [String]),
}

/// Compares what BigQuery says it loaded with what was written.
fn checked(done: &Job, written: u64, id: &str) -> Result<()> {
    let statistics = done.statistics.as_ref().and_then(|statistics| statistics.load.as_ref());
    let loaded = statistics.and_then(|load| load.output_rows).and_then(|rows| u64::try_from(rows).ok());
    if loaded == Some(written) {
        return Ok(());
    }
    let loaded = loaded.map_or_else(|| "no number of".to_owned(), |rows| rows.to_string());
    Err(Error::new(ErrorKind::Data, "BigQuery loaded another number of rows than were written")
        .with("job_id", id)
        .with("written", written)
        .with("loaded", loaded)
        .hint("nothing was committed; run the load again, and report this if it happens twice"))
}

/// Takes staged batches until there are no more: encodes them on blocking threads, uploads finished files
/// while the next one is written, and answers once all are loaded.
pub(crate) async fn pipeline(load: Arc<Load>, mut batches: mpsc::Receiver<RecordBatch>) -> Result<Totals> {
    let folder = tempfile::Builder::new().prefix("transload-").tempdir().map_err(|error| {
        Error::new(ErrorKind::Config, "the temporary folder cannot be used")
            .source_error(error)
            .hint("point TMPDIR to a folder that may be written")
    })?;
    let largest = load.client.config.file_bytes();
    let mut limit = FIRST_FILE.min(largest);
    let row_group = load.row_group();
    let mut uploads = JoinSet::new();
    let mut staged = Staged::default();
    let mut open: Option<PartWriter> = None;
    let mut number = 0;
    loop {
        let batch = tokio::select! {
            // A failed upload ends the load even while no rows come.
            Some(finished) = uploads.join_next(), if !uploads.is_empty() => {
                staged.add(finished)?;
                continue;
            }
            batch = batches.recv() => batch,
        };
        let last = batch.is_none();
        if let Some(batch) = batch {
            let (path, schema) = (folder.path().to_owned(), Arc::clone(&load.stage_schema));
            let part = open.take();
            number += u64::from(part.is_none());
            let part = blocking(move || {
                let mut part =
                    part.map_or_else(|| PartWriter::create(&path, number, &schema, row_group), Ok)?;
                part.write(&batch)?;
                Ok(part)
            });
            open = Some(part.await?);
        }
        if (last || open.as_ref().is_some_and(|part| part.size() >= limit))
            && let Some(part) = open.take()
        {
            let file = blocking(move || part.finish()).await?;
            let largest = if load.bucket.is_some() { largest } else { limits::file_bytes(number, largest)? };
            limit = limit.saturating_mul(2).min(largest);
            load.ensure_staging().await?;
            // This is where back-pressure comes from: no more files than can be on their way.
            while uploads.len() >= UPLOADS {
                let Some(finished) = uploads.join_next().await else { break };
                staged.add(finished)?;
            }
            let load = Arc::clone(&load);
            uploads.spawn(async move { load.stage(number, file).await });
        }
        if last {
            break;
        }
    }
    while let Some(finished) = uploads.join_next().await {
        staged.add(finished)?;
    }
    for (number, waiting) in staged.waiting.chunks(URIS).enumerate() {
        let rows = waiting.iter().map(|(_, rows)| rows).sum();
        let uris: Vec<String> = waiting.iter().map(|(uri, _)| uri.clone()).collect();
        Box::pin(load.run_load(&format!("gs{number}"), rows, Source::Uris(&uris))).await?;
    }
    Ok(staged.totals)
}

/// What is staged, or waits in Cloud Storage.
#[derive(Debug, Default)]
struct Staged {
    totals: Totals,
    /// Addresses of files and their rows.
    waiting: Vec<(String, u64)>,
}

impl Staged {
    fn add(
        &mut self,
        finished: Result<Result<(Totals, Option<String>)>, tokio::task::JoinError>,
    ) -> Result<()> {
        let (part, uri) = finished.map_err(died)??;
        self.totals.rows += part.rows;
        self.totals.bytes += part.bytes;
        self.totals.parts += part.parts;
        if let Some(uri) = uri {
            self.waiting.push((uri, part.rows));
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(died)?
}

pub(crate) fn died(error: tokio::task::JoinError) -> Error {
    Error::internal("a task of the load died").source_error(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_what_bigquery_allows() {
        assert_eq!(safe_id("a1-B"), "a1-B");
        for id in ["", "a b", "a/../b", "ü", &"x".repeat(129)] {
            let safe = safe_id(id);
            assert!(safe.len() == 17 && safe.chars().all(|c| c.is_ascii_alphanumeric()), "{safe}");
        }
        assert_ne!(safe_id("a b"), safe_id("a  b"));
        let one = staging_prefix("p", &TargetRef::new("d", "ab"), "j");
        assert_ne!(one, staging_prefix("p", &TargetRef::new("da", "b"), "j"));
        assert_ne!(one, staging_prefix("q", &TargetRef::new("d", "ab"), "j"));
        assert_ne!(one, staging_prefix("p", &TargetRef::new("d", "ab"), "k"));
    }

    #[test]
    fn staging_columns_are_found_in_messages() {
        let message = "Error while reading data: invalid value in column 'c12' (c1x)";
        assert!(names_column(message, "c12"));
        assert!(!names_column(message, "c1") && !names_column(message, "c2"));
    }

    #[test]
    fn a_wrong_number_of_loaded_rows_is_an_error() {
        let done = |rows: Value| -> Job {
            crate::jobs::from_json(json!({"statistics": {"load": {"outputRows": rows}}})).unwrap()
        };
        checked(&done(json!("3")), 3, "j").unwrap();
        assert_eq!(checked(&done(json!("2")), 3, "j").unwrap_err().kind(), ErrorKind::Data);
        assert!(checked(&Job::new(), 3, "j").is_err());
    }
}
