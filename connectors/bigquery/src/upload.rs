//! Uploads of Parquet files as load jobs: one request for small files, a resumable session for others.
//!
//! Google's client has no uploads, so these few requests are made by hand.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::encode::PartFile;
use crate::error;
use crate::jobs::backoff;

/// Files up to this size go in one request.
const SMALL: u64 = 5 << 20;
/// Bytes of one chunk; the protocol wants a multiple of 256 KiB.
const CHUNK: u64 = 8 << 20;
/// How often a session is asked where it stands after failures in a row.
const TRIES: u32 = 5;
const WHAT: &str = "cannot upload a Parquet file";

/// What the server said to one request of a session.
enum Step {
    /// The job was accepted.
    Done,
    /// A job of that id exists.
    Existed,
    /// The server has this many bytes.
    At(u64),
}

impl Client {
    /// Uploads a file as the load job that `job` describes. Answers whether it was accepted (`true`) or a
    /// job of its id existed (`false`).
    pub(crate) async fn upload(&self, job: &Value, file: &PartFile) -> Result<bool> {
        if file.bytes <= SMALL { self.multipart(job, file).await } else { self.resumable(job, file).await }
    }

    fn upload_url(&self, kind: &str) -> String {
        self.endpoint.join(&format!("/upload/bigquery/v2/projects/{}/jobs?uploadType={kind}", self.project))
    }

    async fn multipart(&self, job: &Value, file: &PartFile) -> Result<bool> {
        let content = read(file, 0, file.bytes).await?;
        // 128 random bits do not occur in the content.
        let boundary = format!("transload{:032x}", rand::random::<u128>());
        let mut body = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{job}\r\n\
             --{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self
            .http
            .post(self.upload_url("multipart"))
            .headers(self.auth.headers().await?)
            .header(CONTENT_TYPE, format!("multipart/related; boundary={boundary}"))
            .body(body);
        match step(request.send().await).await? {
            Step::Done => Ok(true),
            Step::Existed => Ok(false),
            Step::At(_) => Err(out_of_protocol("308 to an upload in one request")),
        }
    }

    async fn resumable(&self, job: &Value, file: &PartFile) -> Result<bool> {
        let Some(session) = self.open_session(job, file).await? else { return Ok(false) };
        // The session's URL is of the server's choosing; a token goes only where it is meant to go.
        let headers =
            if self.endpoint.same_origin(&session) { self.auth.headers().await? } else { HeaderMap::new() };
        let (mut at, mut failures) = (0, 0);
        loop {
            let end = (at + CHUNK).min(file.bytes);
            let chunk = read(file, at, end - at).await?;
            let range = format!("bytes {at}-{}/{}", end - 1, file.bytes);
            let mut outcome = self.put(&session, &headers, &range, chunk).await;
            while let Err(failure) = outcome {
                failures += 1;
                if !failure.is_retryable() || failures > TRIES {
                    return Err(failure);
                }
                tracing::debug!(%failure, at, "asking where the upload stands");
                tokio::time::sleep(backoff(failures)).await;
                let range = format!("bytes */{}", file.bytes);
                outcome = self.put(&session, &headers, &range, Bytes::new()).await;
            }
            match outcome? {
                Step::Done => return Ok(true),
                Step::Existed => return Ok(false),
                Step::At(next) if next >= file.bytes => {
                    return Err(out_of_protocol("308 to a complete upload"));
                }
                Step::At(next) => {
                    // A server that never advances must not keep the load forever.
                    failures = if next > at { 0 } else { failures + 1 };
                    if failures > TRIES {
                        return Err(out_of_protocol("it does not take any more bytes"));
                    }
                    at = next;
                }
            }
        }
    }

    /// Opens a session; `None` where a job of that id exists.
    async fn open_session(&self, job: &Value, file: &PartFile) -> Result<Option<String>> {
        let request = self
            .http
            .post(self.upload_url("resumable"))
            .headers(self.auth.headers().await?)
            .header(CONTENT_TYPE, "application/json; charset=UTF-8")
            .header("X-Upload-Content-Type", "application/octet-stream")
            .header("X-Upload-Content-Length", file.bytes)
            .body(job.to_string());
        let response = request.send().await.map_err(|error| error::of_transport(WHAT, error))?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(answer(response).await);
        }
        let session = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        session.map(|url| Some(url.to_owned())).ok_or_else(|| out_of_protocol("no Location of the session"))
    }

    async fn put(&self, session: &str, headers: &HeaderMap, range: &str, body: Bytes) -> Result<Step> {
        let request = self.http.put(session).headers(headers.clone()).header(CONTENT_RANGE, range).body(body);
        step(request.send().await).await
    }
}

async fn step(sent: reqwest::Result<Response>) -> Result<Step> {
    let response = sent.map_err(|error| error::of_transport(WHAT, error))?;
    match response.status().as_u16() {
        200 | 201 => Ok(Step::Done),
        409 => Ok(Step::Existed),
        308 => {
            let range = response.headers().get(RANGE).and_then(|value| value.to_str().ok());
            Ok(Step::At(received(range)?))
        }
        // The session is gone, finished or expired: whoever submitted asks for the job, then starts anew.
        404 | 410 => Err(Error::new(ErrorKind::Unreachable, "the upload session is gone")
            .with("status", response.status().as_u16())
            .hint("run the load again")),
        _ => Err(answer(response).await),
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

async fn answer(response: Response) -> Error {
    let status = response.status().as_u16();
    match response.bytes().await {
        Ok(body) => error::of_answer(WHAT, status, &body),
        Err(error) => error::of_transport(WHAT, error),
    }
}

fn out_of_protocol(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the upload server answered out of protocol: {what}"))
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
        assert_eq!(CHUNK % (256 << 10), 0);
    }
}
