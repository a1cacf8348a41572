//! Uploads of Parquet files, as load jobs or as objects: one request for small files, a resumable session for
//! others.
//!
//! Google's client has no uploads, so these few requests are made by hand. BigQuery and Cloud Storage speak the
//! same protocol.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use transload_core::{Error, ErrorKind, Result};
use transload_google::Endpoint;

use crate::connect::Client;
use crate::encode::PartFile;
use crate::error;

/// Chunks are multiples of this.
const UNIT: u64 = 256 << 10;
/// Bytes of a chunk where memory allows it.
const CHUNK: u64 = 8 << 20;
/// Answers in a row that take no bytes before a server counts as broken.
const STUCK: u32 = 5;
const WHAT: &str = "cannot upload a Parquet file";

/// Sizes that follow from the memory that uploads may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Files up to this many bytes go in one request.
    pub(crate) small: u64,
    /// Bytes of one chunk of a larger one.
    pub(crate) chunk: u64,
}

impl Sizes {
    /// For uploads of which each may hold `bytes` in memory.
    pub(crate) fn within(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(CHUNK);
        let chunk = (bytes / UNIT * UNIT).clamp(UNIT, CHUNK);
        Self { small: chunk.min(5 << 20), chunk }
    }
}

/// A file on its way: where to, and what the server is told of it.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    /// The API that takes it: tokens are sent to its origin only.
    pub(crate) endpoint: &'a Endpoint,
    /// Path of the upload, without parameters.
    pub(crate) path: String,
    /// The job, or the object.
    pub(crate) metadata: &'a Value,
    pub(crate) file: &'a PartFile,
    pub(crate) sizes: Sizes,
}

/// What the server said to one request of an upload.
enum Step {
    /// It has everything; this is its answer.
    Done,
    /// A job of that id exists.
    Existed,
    /// It has this many bytes.
    At(u64),
    /// The session is gone: finished, expired or lost.
    Gone,
}

impl Client {
    /// Uploads a file, once: parts of it are sent again as needed, but a session that is lost is an error.
    /// Answers whether it was accepted (`true`) or a job of its id existed (`false`).
    ///
    /// # Errors
    /// An unclear one where the server may have the file.
    pub(crate) async fn upload(&self, upload: &Upload<'_>) -> Result<bool> {
        if upload.file.bytes <= upload.sizes.small {
            self.multipart(upload).await
        } else {
            self.resumable(upload).await
        }
    }

    async fn multipart(&self, upload: &Upload<'_>) -> Result<bool> {
        let content = read(upload.file, 0, upload.file.bytes).await?;
        // 128 random bits do not occur in the content.
        let boundary = format!("transload{:032x}", rand::random::<u128>());
        let metadata = upload.metadata;
        let mut body = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n\
             --{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self
            .http
            .post(upload.endpoint.join(&format!("{}?uploadType=multipart", upload.path)))
            .headers(self.auth.headers().await?)
            .header(CONTENT_TYPE, format!("multipart/related; boundary={boundary}"))
            .body(body);
        match self.step(request).await? {
            Step::Done => Ok(true),
            Step::Existed => Ok(false),
            Step::At(_) => Err(out_of_protocol("308 to an upload in one request")),
            Step::Gone => Err(Error::new(ErrorKind::NotFound, WHAT)
                .hint("check project, dataset, location and bucket, and `endpoint`")),
        }
    }

    async fn resumable(&self, upload: &Upload<'_>) -> Result<bool> {
        let Some(session) = self.open_session(upload).await? else { return Ok(false) };
        let total = upload.file.bytes;
        let mut tries = self.retry.begin();
        let (mut at, mut stuck) = (0, 0);
        loop {
            let end = (at + upload.sizes.chunk).min(total);
            let chunk = read(upload.file, at, end - at).await?;
            let range = format!("bytes {at}-{}/{total}", end - 1);
            let mut outcome = self.put(upload.endpoint, &session, &range, chunk).await;
            while let Err(failure) = outcome {
                tries.after(failure).await?;
                // What became of the chunk is unknown: the server says how far it got.
                outcome =
                    self.put(upload.endpoint, &session, &format!("bytes */{total}"), Bytes::new()).await;
            }
            match outcome? {
                Step::Done => return Ok(true),
                Step::Existed => return Ok(false),
                Step::Gone => {
                    return Err(Error::new(ErrorKind::Unreachable, "the upload session is gone")
                        .hint("run the load again"));
                }
                Step::At(next) if next >= total => {
                    return Err(out_of_protocol("308 to a complete upload"));
                }
                Step::At(next) => {
                    if next > at {
                        stuck = 0;
                        tries.progress();
                    } else {
                        // A server that never advances must not keep the load forever.
                        stuck += 1;
                        if stuck > STUCK {
                            return Err(out_of_protocol("it does not take any more bytes"));
                        }
                    }
                    at = next;
                }
            }
        }
    }

    /// Opens a session; `None` where a job of that id exists.
    async fn open_session(&self, upload: &Upload<'_>) -> Result<Option<String>> {
        let request = self
            .http
            .post(upload.endpoint.join(&format!("{}?uploadType=resumable", upload.path)))
            .headers(self.auth.headers().await?)
            .header(CONTENT_TYPE, "application/json; charset=UTF-8")
            .header("X-Upload-Content-Type", "application/octet-stream")
            .header("X-Upload-Content-Length", upload.file.bytes)
            .body(upload.metadata.to_string());
        let response = request.send().await.map_err(|error| error::of_transport(WHAT, error))?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(self.answer(response).await);
        }
        let session = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        session.map(|url| Some(url.to_owned())).ok_or_else(|| out_of_protocol("no Location of the session"))
    }

    async fn put(&self, endpoint: &Endpoint, session: &str, range: &str, body: Bytes) -> Result<Step> {
        // The session's URL is of the server's choosing; a token goes only where it is meant to go.
        let headers =
            if endpoint.same_origin(session) { self.auth.headers().await? } else { HeaderMap::new() };
        self.step(self.http.put(session).headers(headers).header(CONTENT_RANGE, range).body(body)).await
    }

    async fn step(&self, request: RequestBuilder) -> Result<Step> {
        let response = request.send().await.map_err(|error| error::of_transport(WHAT, error))?;
        match response.status().as_u16() {
            200 | 201 => Ok(Step::Done),
            409 => Ok(Step::Existed),
            308 => {
                let range = response.headers().get(RANGE).and_then(|value| value.to_str().ok());
                Ok(Step::At(received(range)?))
            }
            404 | 410 => Ok(Step::Gone),
            _ => Err(self.answer(response).await),
        }
    }

    /// The error of an answer that is none of the protocol.
    pub(crate) async fn answer(&self, response: Response) -> Error {
        self.retry.heed(response.headers());
        let status = response.status().as_u16();
        match response.bytes().await {
            Ok(body) => error::of_answer(WHAT, status, &body),
            Err(error) => error::of_transport(WHAT, error),
        }
    }
}

/// Bytes that the server has, by its `Range: bytes=0-N`; without one it has nothing.
fn received(range: Option<&str>) -> Result<u64> {
    let Some(range) = range else { return Ok(0) };
    let last = range.strip_prefix("bytes=0-").or_else(|| range.strip_prefix("0-"));
    last.and_then(|last| last.parse::<u64>().ok())
        .and_then(|last| last.checked_add(1))
        .ok_or_else(|| out_of_protocol("a Range that is not bytes=0-N"))
}

fn out_of_protocol(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the upload server answered out of protocol: {what}"))
        .retryable(false)
        .hint("check `endpoint` and proxies on the way")
}

/// Reads part of a file.
async fn read(file: &PartFile, at: u64, length: u64) -> Result<Bytes> {
    let lost = |error: std::io::Error| {
        Error::new(ErrorKind::Internal, "a temporary Parquet file could not be read back").source_error(error)
    };
    let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut file = tokio::fs::File::open(&file.path).await.map_err(lost)?;
    file.seek(std::io::SeekFrom::Start(at)).await.map_err(lost)?;
    file.read_exact(&mut content).await.map_err(lost)?;
    Ok(Bytes::from(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(received(None).unwrap(), 0);
        assert_eq!(received(Some("bytes=0-8388607")).unwrap(), 8_388_608);
        assert_eq!(received(Some("0-9")).unwrap(), 10);
        for range in ["bytes=5-9", "bytes=0-", "bytes=0--1", "bytes=0-18446744073709551615", "x"] {
            assert!(received(Some(range)).is_err(), "{range}");
        }
    }

    #[test]
    fn chunks_have_the_size_that_the_protocol_wants() {
        for bytes in [0, 1, 300_000, 1 << 20, (1 << 20) + 17, 5 << 20, 1 << 40] {
            let sizes = Sizes::within(bytes);
            assert!(
                sizes.chunk.is_multiple_of(UNIT) && sizes.chunk >= UNIT && sizes.chunk <= CHUNK,
                "{sizes:?}"
            );
            assert!(sizes.small <= sizes.chunk);
        }
    }
}
