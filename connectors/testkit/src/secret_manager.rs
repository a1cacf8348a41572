//! A server that speaks the part of Secret Manager's REST surface that a secret store uses. There is no emulator.
//!
//! It keeps secrets and versions in memory and follows the documented rules: versions count up from 1, `latest` is
//! the newest one whatever its state, disabled and destroyed versions cannot be accessed, checksums are compared. It
//! knows nothing of permissions, replication, quotas, aliases or TLS; a test that uses it does not prove those.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::http::{HttpServer, Reply, Request};

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// `ENABLED`, `DISABLED` or `DESTROYED`.
    pub state: String,
    /// The payload as it was sent, in base64; empty once destroyed.
    pub data: String,
    /// The checksum as it was sent.
    pub crc32c: Option<String>,
}

/// Secrets by their full names, each with its versions.
type Secrets = BTreeMap<String, Vec<StoredVersion>>;

/// What every request is answered with while it is set.
type Fault = Option<(u16, String)>;

/// The server.
#[derive(Debug)]
pub struct SecretManagerServer {
    server: HttpServer,
    secrets: Arc<Mutex<Secrets>>,
    fault: Arc<Mutex<Fault>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl SecretManagerServer {
    /// Starts one without secrets.
    ///
    /// # Errors
    /// Those of listening.
    pub async fn start() -> io::Result<Self> {
        let secrets = Arc::new(Mutex::new(Secrets::new()));
        let fault: Arc<Mutex<Fault>> = Arc::new(Mutex::new(None));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (own, wrong, log) = (Arc::clone(&secrets), Arc::clone(&fault), Arc::clone(&seen));
        let server = HttpServer::start(move |request| {
            let reply = match &*wrong.lock().unwrap_or_else(PoisonError::into_inner) {
                Some((status, name)) => google_error(*status, name, "as the test says"),
                None => answer(&mut own.lock().unwrap_or_else(PoisonError::into_inner), &request),
            };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            Box::pin(async move { reply.into() })
        })
        .await?;
        Ok(Self { server, secrets, fault, seen })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The versions of a secret.
    #[must_use]
    pub fn versions(&self, project: &str, name: &str) -> Vec<StoredVersion> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(&format!("projects/{project}/secrets/{name}")).cloned().unwrap_or_default()
    }

    /// Puts a version there that nobody sent, for broken ones.
    pub fn plant(&self, project: &str, name: &str, version: StoredVersion) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.entry(format!("projects/{project}/secrets/{name}")).or_default().push(version);
    }

    /// Answers every request with an error, until `None` is given.
    pub fn fail(&self, fault: Option<(u16, &str)>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) =
            fault.map(|(status, name)| (status, name.to_owned()));
    }
}

/// An error with the name of its code, which clients of this API look at.
fn google_error(status: u16, name: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": status, "message": message, "status": name}}))
}

fn not_found(name: &str) -> Reply {
    google_error(404, "NOT_FOUND", &format!("Secret [{name}] not found or has no versions."))
}

fn version_json(name: &str, number: usize, version: &StoredVersion) -> Value {
    json!({"name": format!("{name}/versions/{number}"), "state": version.state})
}

fn answer(secrets: &mut Secrets, request: &Request) -> Reply {
    let path = request.path().trim_start_matches("/v1/").to_owned();
    let (resource, action) = path.split_once(':').unwrap_or((&path, ""));
    let parts: Vec<&str> = resource.split('/').collect();
    match (request.method.as_str(), parts.as_slice(), action) {
        ("POST", ["projects", project, "secrets"], "") => create(secrets, project, request),
        ("DELETE", ["projects", _, "secrets", _], "") => match secrets.remove(resource) {
            Some(_) => Reply::json(200, &json!({})),
            None => not_found(resource),
        },
        ("POST", ["projects", _, "secrets", _], "addVersion") => match secrets.get_mut(resource) {
            Some(versions) => add(resource, versions, &request.json()),
            None => not_found(resource),
        },
        ("GET", ["projects", _, "secrets", _, "versions"], "") => {
            let name = resource.trim_end_matches("/versions");
            match secrets.get(name) {
                Some(versions) => {
                    // Newest first, as the real service lists them.
                    let list: Vec<Value> = versions
                        .iter()
                        .enumerate()
                        .rev()
                        .map(|(i, v)| version_json(name, i + 1, v))
                        .collect();
                    Reply::json(200, &json!({"versions": list, "totalSize": list.len()}))
                }
                None => not_found(name),
            }
        }
        (method, ["projects", project, "secrets", secret, "versions", version], action) => {
            let name = format!("projects/{project}/secrets/{secret}");
            let Some(versions) = secrets.get_mut(&name) else { return not_found(&name) };
            let number = if *version == "latest" { Some(versions.len()) } else { version.parse().ok() };
            let found = number.and_then(|number| Some((number, versions.get_mut(number.checked_sub(1)?)?)));
            let Some((number, found)) = found else { return not_found(&name) };
            on_version(&name, number, found, method, action)
        }
        _ => google_error(404, "NOT_FOUND", "no such method"),
    }
}

fn create(secrets: &mut Secrets, project: &str, request: &Request) -> Reply {
    let id =
        request.target.split_once("secretId=").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
    let name = format!("projects/{project}/secrets/{}", id.unwrap_or_default());
    if request.json()["replication"].is_null() {
        return google_error(400, "INVALID_ARGUMENT", "replication must be set");
    }
    if secrets.contains_key(&name) {
        return google_error(409, "ALREADY_EXISTS", &format!("Secret [{name}] already exists."));
    }
    secrets.insert(name.clone(), Vec::new());
    Reply::json(200, &json!({"name": name, "replication": {"automatic": {}}}))
}

fn add(name: &str, versions: &mut Vec<StoredVersion>, body: &Value) -> Reply {
    let payload = &body["payload"];
    let Some(data) = payload["data"].as_str() else {
        return google_error(400, "INVALID_ARGUMENT", "payload is missing");
    };
    let crc32c = payload["dataCrc32c"].as_str().map(str::to_owned);
    versions.push(StoredVersion { state: "ENABLED".to_owned(), data: data.to_owned(), crc32c });
    let number = versions.len();
    Reply::json(200, &version_json(name, number, &versions[number - 1]))
}

fn on_version(name: &str, number: usize, version: &mut StoredVersion, method: &str, action: &str) -> Reply {
    let refused = |state: &str| {
        let text = format!("Secret Version [{name}/versions/{number}] is in {state} state.");
        google_error(400, "FAILED_PRECONDITION", &text)
    };
    match (method, action, version.state.as_str()) {
        ("GET", "", _) => {}
        ("GET", "access", "ENABLED") => {
            let mut payload = json!({"data": version.data});
            if let Some(crc32c) = &version.crc32c {
                payload["dataCrc32c"] = crc32c.as_str().into();
            }
            let name = format!("{name}/versions/{number}");
            return Reply::json(200, &json!({"name": name, "payload": payload}));
        }
        ("POST", "disable" | "enable", "DESTROYED") | ("GET", "access", _) => return refused(&version.state),
        ("POST", "disable", _) => "DISABLED".clone_into(&mut version.state),
        ("POST", "enable", _) => "ENABLED".clone_into(&mut version.state),
        ("POST", "destroy", _) => {
            "DESTROYED".clone_into(&mut version.state);
            version.data.clear();
        }
        _ => return google_error(404, "NOT_FOUND", "no such method"),
    }
    Reply::json(200, &version_json(name, number, version))
}
