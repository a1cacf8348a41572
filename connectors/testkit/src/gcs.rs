//! A small Cloud Storage over a folder, for what the BigQuery emulator reads as `gs://`: uploads in one request and
//! in sessions, lists and deletes, in the form of the JSON API. Not Google's: it proves that requests have the form
//! that the documentation gives, and nothing about rights, quotas or consistency.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::http::{Answer, HttpServer, Reply, Request};

/// The protocol takes chunks that are multiples of this.
const UNIT: usize = 256 << 10;

/// The server.
#[derive(Debug)]
pub struct Gcs {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    sessions: HashMap<String, Session>,
    /// Bytes that a chunk is cut to before it is kept; `None` keeps all.
    keep: Option<usize>,
    short: u64,
    requests: Vec<String>,
}

#[derive(Debug)]
struct Session {
    bucket: String,
    name: String,
    content: Vec<u8>,
}

impl Gcs {
    /// Keeps objects as `root/bucket/name`.
    ///
    /// # Errors
    /// Those of listening.
    pub async fn start(root: &Path) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            root: root.to_owned(),
            sessions: HashMap::new(),
            keep: None,
            short: 0,
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(move |request| {
            let answer = answer(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), &request);
            Box::pin(async move { answer })
        })
        .await?;
        Ok(Self { server, state })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on keeps only this many bytes of each chunk that is not the last, and says so with a shorter
    /// `Range`.
    pub fn keep_of_each_chunk(&self, bytes: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).keep = Some(bytes);
    }

    /// Answers with a shorter `Range` than was sent, so far.
    #[must_use]
    pub fn short_answers(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).short
    }

    /// Method and path of every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

fn answer(state: &mut State, request: &Request) -> Answer {
    state.requests.push(format!("{} {}", request.method, request.path()));
    let parts: Vec<&str> = request.path().trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["upload", "storage", "v1", "b", bucket, "o"]) => upload(state, request, bucket),
        ("PUT", ["session", id]) => chunk(state, request, id),
        ("GET", ["storage", "v1", "b", bucket, "o"]) => list(state, request, bucket),
        ("DELETE", ["storage", "v1", "b", bucket, "o", name]) => {
            let path = state.root.join(bucket).join(name.replace("%2F", "/"));
            match std::fs::remove_file(path) {
                Ok(()) => Reply::empty(204).into(),
                Err(_) => Reply::google_error(404, "notFound", "No such object").into(),
            }
        }
        _ => Reply::google_error(404, "notFound", "no such method").into(),
    }
}

fn upload(state: &mut State, request: &Request, bucket: &str) -> Answer {
    if request.target.contains("uploadType=resumable") {
        let name = request.json()["name"].as_str().unwrap_or_default().to_owned();
        let id = format!("s{}", state.requests.len());
        let bucket = bucket.to_owned();
        state.sessions.insert(id.clone(), Session { bucket, name, content: Vec::new() });
        let host = request.header("host").unwrap_or_default();
        return Reply::empty(200).header("location", format!("http://{host}/session/{id}")).into();
    }
    let Some((name, content)) = two_parts(request) else {
        return Reply::google_error(400, "invalid", "not an upload of two parts").into();
    };
    keep(state, bucket, &name, &content)
}

/// Name and content of a multipart/related upload.
fn two_parts(request: &Request) -> Option<(String, Vec<u8>)> {
    let boundary = request.header("content-type")?.split("boundary=").nth(1)?;
    let mark = format!("--{boundary}").into_bytes();
    let body = &request.body;
    let find = |what: &[u8], from: usize| {
        body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
    };
    let metadata = find(b"\r\n\r\n", 0)? + 4;
    let second = find(&mark, metadata)?;
    let json: serde_json::Value = serde_json::from_slice(body.get(metadata..second)?).ok()?;
    let content = find(b"\r\n\r\n", second)? + 4;
    let end = find(&mark, content)?.checked_sub(2)?;
    Some((json["name"].as_str()?.to_owned(), body.get(content..end)?.to_vec()))
}

fn chunk(state: &mut State, request: &Request, id: &str) -> Answer {
    let limit = state.keep;
    let Some(session) = state.sessions.get_mut(id) else {
        return Reply::google_error(404, "notFound", "no such session").into();
    };
    let range = request.header("content-range").unwrap_or_default().trim_start_matches("bytes ").to_owned();
    let (sent, total) = range.split_once('/').unwrap_or_default();
    let total: usize = total.parse().unwrap_or(usize::MAX);
    if let Some((first, _)) = sent.split_once('-') {
        let last = session.content.len() + request.body.len() == total;
        if first.parse() != Ok(session.content.len()) || !last && !request.body.len().is_multiple_of(UNIT) {
            return Reply::google_error(400, "invalid", "a chunk that does not follow").into();
        }
        let kept = limit.filter(|_| !last).unwrap_or(usize::MAX).min(request.body.len());
        if kept < request.body.len() {
            state.short += 1;
        }
        session.content.extend_from_slice(request.body.get(..kept).unwrap_or_default());
    }
    if session.content.len() < total {
        let reply = Reply::empty(308);
        return match session.content.len() {
            0 => reply.into(),
            length => reply.header("range", format!("bytes=0-{}", length - 1)).into(),
        };
    }
    match state.sessions.remove(id) {
        Some(Session { bucket, name, content }) => keep(state, &bucket, &name, &content),
        None => Reply::empty(404).into(),
    }
}

fn keep(state: &State, bucket: &str, name: &str, content: &[u8]) -> Answer {
    let path = state.root.join(bucket).join(name);
    let folder = path.parent().map_or_else(|| state.root.clone(), Path::to_path_buf);
    match std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, content)) {
        Ok(()) => Reply::json(200, &json!({"kind": "storage#object", "name": name})).into(),
        Err(error) => Reply::google_error(500, "backendError", &error.to_string()).into(),
    }
}

fn list(state: &State, request: &Request, bucket: &str) -> Answer {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = prefix.replace("%2F", "/");
    let mut names = Vec::new();
    walk(&state.root.join(bucket), "", &mut names);
    let items: Vec<_> =
        names.iter().filter(|name| name.starts_with(&prefix)).map(|name| json!({"name": name})).collect();
    Reply::json(200, &json!({"kind": "storage#objects", "items": items})).into()
}

fn walk(folder: &Path, above: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), names);
        } else {
            names.push(name);
        }
    }
}
