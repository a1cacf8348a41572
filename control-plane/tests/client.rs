//! The client against a server on a socket that implements the contract in memory and fails as a test says.
//! It proves what the client does, not what a real control plane does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch};
use futures::FutureExt as _;
use serde_json::{Value, json};
use transload_control_plane::{ControlPlane, ControlPlaneOptions, Delivery, TaskDocument};
use transload_core::memory::Memory;
use transload_core::{
    Connection, EnvStore, ErrorKind, EtlJob, Progress, Registry, RunStatus, Runner, Secret, SecretRef,
    SecretStore, SecretStores,
};
use transload_testkit::http::{Answer, HttpServer, Reply, Request};
use transload_testkit::port::KeptPort;
use transload_testkit::wait::eventually;

const TOKEN: &str = "t0ken-of-the-tests";

/// What becomes of a request.
enum Fault {
    /// Answered without acting.
    Answer(Answer),
    /// Acted upon, and then the connection is closed without an answer.
    LoseAnswer,
    /// Acted upon after a while.
    Slow(Duration),
}

type Script = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    jobs: BTreeMap<String, Value>,
    connections: Vec<Value>,
    /// Reports by the id of the run.
    reports: BTreeMap<String, Value>,
    /// How often a report was put down for the first time.
    effects: usize,
    progress: Vec<Value>,
    cancel: bool,
    page_size: Option<usize>,
    token: String,
    requests: Vec<Request>,
    script: Option<Script>,
}

#[derive(Clone, Default)]
struct Host(Arc<Mutex<State>>);

impl Host {
    fn new() -> Self {
        let host = Self::default();
        host.set(|state| {
            state.token = TOKEN.to_owned();
            state.connections = vec![
                json!({"name": "shop", "type": "memory", "path": "shop"}),
                json!({"name": "lake", "type": "memory", "path": "lake"}),
            ];
            state.jobs =
                [("1", "orders"), ("2", "customers")].map(|(id, table)| (id.to_owned(), job(table))).into();
        });
        host
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn get<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.lock().unwrap())
    }

    fn script(&self, script: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.set(|state| state.script = Some(Box::new(script)));
    }

    /// The first `n` requests that `which` means fail.
    fn fail_first(&self, n: usize, which: &'static str, fault: impl Fn() -> Fault + Send + 'static) {
        let mut left = n;
        self.script(move |request| {
            let meant = left > 0 && request.path().ends_with(which);
            left -= usize::from(meant);
            meant.then(&fault)
        });
    }

    async fn start(&self) -> HttpServer {
        let host = self.clone();
        HttpServer::start(move |request| {
            let host = host.clone();
            async move {
                let fault = host.get_fault(&request);
                match fault {
                    None => host.act(&request).into(),
                    Some(Fault::Answer(answer)) => answer,
                    Some(Fault::LoseAnswer) => {
                        host.act(&request);
                        Answer::Close
                    }
                    Some(Fault::Slow(pause)) => {
                        tokio::time::sleep(pause).await;
                        host.act(&request).into()
                    }
                }
            }
            .boxed()
        })
        .await
        .unwrap()
    }

    fn get_fault(&self, request: &Request) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        state.requests.push(request.clone());
        state.script.as_mut().and_then(|script| script(request))
    }

    fn act(&self, request: &Request) -> Reply {
        let mut state = self.0.lock().unwrap();
        if request.header("authorization") != Some(&format!("Bearer {}", state.token)) {
            return Reply::json(401, &json!({"detail": "Invalid token."}));
        }
        let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["v1", "jobs"]) => state.list(request),
            ("GET", ["v1", "jobs", id]) => match state.jobs.get(*id) {
                Some(document) => {
                    Reply::json(200, &state.answer(vec![((*id).to_owned(), document.clone())], None))
                }
                None => Reply::json(404, &json!({"error": {"message": "no such job"}})),
            },
            ("PUT", ["v1", "runs", _, "progress"]) => {
                state.progress.push(request.json());
                if state.cancel { Reply::json(200, &json!({"cancel": true})) } else { Reply::empty(204) }
            }
            ("PUT", ["v1", "runs", id, "report"]) => {
                let (id, body) = ((*id).to_owned(), request.json());
                assert_eq!(request.header("idempotency-key"), Some(id.as_str()));
                assert_eq!(body["run_id"], id.as_str());
                match state.reports.get(&id) {
                    None => {
                        state.reports.insert(id, body);
                        state.effects += 1;
                        Reply::empty(201)
                    }
                    Some(known) if *known == body => Reply::empty(200),
                    Some(_) => Reply::json(409, &json!({"error": "another report"})),
                }
            }
            _ => Reply::empty(404),
        }
    }
}

impl State {
    fn answer(&self, jobs: Vec<(String, Value)>, next_page: Option<String>) -> Value {
        let jobs: Vec<_> =
            jobs.into_iter().map(|(id, document)| json!({"id": id, "document": document})).collect();
        json!({"jobs": jobs, "connections": self.connections, "next_page": next_page, "of_the_host": 1})
    }

    fn list(&self, request: &Request) -> Reply {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let ids: Vec<_> = pairs.iter().filter(|(name, _)| *name == "id").map(|(_, id)| *id).collect();
        let page =
            pairs.iter().find(|(name, _)| *name == "page").map_or(0, |(_, page)| page.parse().unwrap());
        let meant = self.jobs.iter().filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()));
        let meant: Vec<_> = meant.map(|(id, document)| (id.clone(), document.clone())).collect();
        let size = self.page_size.unwrap_or(1000);
        let end = (page + size).min(meant.len());
        let next = (end < meant.len()).then(|| end.to_string());
        Reply::json(200, &self.answer(meant[page..end].to_vec(), next))
    }
}

fn job(table: &str) -> Value {
    json!({
        "name": table,
        "source": {"connection": "shop", "schema": "public", "table": table},
        "destination": {"connection": "lake", "dataset": "raw", "table": table},
        "load": {"strategy": "append", "cursor": "id"},
    })
}

/// Limits that no answer passes that comes, however busy the machine is: tests count requests.
fn options() -> ControlPlaneOptions {
    ControlPlaneOptions::default()
        .request_timeout(Duration::from_secs(30))
        .deadline(Duration::from_secs(120))
        .progress_interval(Duration::from_millis(50))
}

/// Limits for answers that do not come.
fn impatient() -> ControlPlaneOptions {
    options().request_timeout(Duration::from_millis(500))
}

fn client(url: &str, options: ControlPlaneOptions) -> ControlPlane {
    ControlPlane::with_token(url, Secret::new(TOKEN), options).unwrap()
}

/// A registry whose memory has 100 orders.
fn registry() -> (Registry, Memory) {
    let memory = Memory::default();
    let ids = Arc::new(Int64Array::from_iter_values(0..100)) as _;
    memory.put("shop", "public", "orders", RecordBatch::try_from_iter([("id", ids)]).unwrap()).unwrap();
    (Registry::new().with(memory.clone()), memory)
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn jobs_come_with_their_connections() {
    let host = Host::new();
    let server = host.start().await;
    // An address with a path and a slash at its end.
    let control = client(&format!("{}/", server.url()), options());
    let one = control.job("1").await.unwrap();
    assert_eq!(one.jobs[0].job.as_ref().unwrap().name(), "orders");
    assert_eq!(one.connections.len(), 2);
    host.set(|state| {
        state.page_size = Some(1);
        state.jobs.insert("3".to_owned(), json!({"name": "wrong", "sorce": {}}));
        let mut disabled = job("old");
        disabled["enabled"] = false.into();
        state.jobs.insert("4".to_owned(), disabled);
        state.connections.push(json!({"name": "leaky", "type": "memory", "password": "hunter2"}));
        state.connections.push(json!({"name": "typeless"}));
    });
    let all = control.enabled_jobs().await.unwrap();
    let ids: Vec<_> = all.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"], "the disabled one is left out even if the host sends it");
    let wrong = all.jobs[2].job.as_ref().unwrap_err();
    assert_eq!((wrong.kind(), wrong.context_value("job_id")), (ErrorKind::Config, Some("3")));
    assert_eq!(all.connections.len(), 2, "each once, over all pages");
    let texts: Vec<_> = all.wrong_connections.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("sent a password instead of a reference") && texts[0].contains("leaky"),
        "{texts:?}"
    );
    assert!(!texts.join(" ").contains("hunter2"));
    assert!(texts[1].contains("`type` is missing"), "{texts:?}");

    let ids: Vec<String> = (0..120).map(|id| id.to_string()).collect();
    let error = control.jobs(&ids).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("0, 5, 6,") && !error.message().contains(" 4,"), "{error}");
    let two = control.jobs(&["2".to_owned(), "1".to_owned()]).await.unwrap();
    assert_eq!(two.jobs.len(), 2);
    assert!(control.jobs(&[]).await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn a_run_is_reported_once_with_its_progress() {
    let host = Host::new();
    let server = host.start().await;
    let spool = tempfile::tempdir().unwrap();
    let folder = spool.path().join("spool");
    let task = TaskDocument { execution: Some("e-1".to_owned()), index: 1, count: 3, attempt: 0 };
    let control = client(&server.url(), options().spool(&folder).task(task));
    let (registry, memory) = registry();
    let (report, delivery) = control.run(Runner::new(registry), "1").await.unwrap();
    assert_eq!((report.status, report.rows.written), (RunStatus::Succeeded, 100));
    assert_eq!(memory.rows("lake", "raw", "orders"), Some(100));
    assert!(delivery.is_delivered(), "{delivery:?}");
    assert!(files(&folder).is_empty(), "nothing is left to send");
    let end = host.get(|state| state.reports.values().next().cloned().unwrap());
    assert_eq!(end["report"]["rows"]["written"], 100);
    assert_eq!((&end["job_id"], &end["error"]), (&json!("1"), &Value::Null));
    assert_eq!(end["task"], json!({"execution": "e-1", "index": 1, "count": 3, "attempt": 0}));
    // The id is that of the path, of the key and of every other request of the run.
    let id = end["run_id"].as_str().unwrap().to_owned();
    assert_eq!(id.as_bytes()[14], b'7', "{id}");
    host.get(|state| {
        let runs = state.requests.iter().filter(|request| request.path().starts_with("/v1/runs/"));
        assert!(runs.map(Request::path).all(|path| path.contains(&id)));
    });
}

#[tokio::test]
async fn failures_that_pass_are_tried_again() {
    let host = Host::new();
    let server = host.start().await;
    let control = client(&server.url(), options());
    for status in [500, 502, 503, 504, 429, 408] {
        let reply = move || Fault::Answer(Reply::json(status, &json!({"detail": "not now"})).into());
        host.fail_first(2, "/v1/jobs", reply);
        let before = host.get(|state| state.requests.len());
        assert_eq!(control.enabled_jobs().await.unwrap().jobs.len(), 2, "{status}");
        assert_eq!(host.get(|state| state.requests.len()) - before, 3, "{status}");
    }
    for answer in [|| Answer::Close, || Answer::Reset, || Answer::Hang] {
        host.fail_first(1, "/v1/jobs", move || Fault::Answer(answer()));
        let control = client(&server.url(), impatient());
        assert_eq!(control.enabled_jobs().await.unwrap().jobs.len(), 2);
    }
    // A host that asks to be left alone is.
    host.fail_first(1, "/v1/jobs", || Fault::Answer(Reply::empty(429).header("retry-after", "1").into()));
    let begin = Instant::now();
    control.enabled_jobs().await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    // One that asks for longer than there is time is not waited for.
    host.fail_first(9, "/v1/jobs", || Fault::Answer(Reply::empty(503).header("retry-after", "600").into()));
    let begin = Instant::now();
    let error = control.enabled_jobs().await.unwrap_err();
    assert!(error.is_retryable() && begin.elapsed() < Duration::from_secs(10), "{error}");
}

#[tokio::test]
async fn failures_that_do_not_pass_are_clear_and_not_tried_again() {
    let host = Host::new();
    let server = host.start().await;
    let control = client(&server.url(), options());
    for (reply, kind, expected) in [
        (Reply::json(401, &json!({"detail": "Invalid token."})), ErrorKind::Auth, "refused the token"),
        (Reply::json(403, &json!({"error": "no right"})), ErrorKind::Permission, "answer: no right"),
        (Reply::empty(404), ErrorKind::NotFound, "does not know it"),
        (Reply::empty(302).header("location", "http://elsewhere/"), ErrorKind::Config, "with a redirect"),
        (Reply::json(400, &json!({})), ErrorKind::Config, "refused the request"),
        (Reply::empty(501), ErrorKind::Unreachable, "cannot do this"),
        (Reply::json(401, &json!({"detail": format!("bad: {TOKEN}")})), ErrorKind::Auth, "refused"),
        (
            Reply { body: b"<html>Sign in</html>".to_vec(), ..Reply::empty(200) },
            ErrorKind::Data,
            "not what the contract says",
        ),
        (
            Reply::json(200, &json!({"jobs": [{"id": 7, "document": {}}], "connections": []})),
            ErrorKind::Data,
            "expected a string",
        ),
        (Reply::json(200, &json!({"jobs": []})), ErrorKind::Data, "missing field `connections`"),
        (Reply::empty(200), ErrorKind::Data, "not what the contract says"),
    ] {
        let answer = reply.clone();
        host.fail_first(9, "/v1/jobs", move || Fault::Answer(answer.clone().into()));
        let before = host.get(|state| state.requests.len());
        let error = control.enabled_jobs().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reply:?}: {error}");
        assert!(error.to_string().contains(expected), "{reply:?}: {error}");
        assert!(!error.to_string().contains(TOKEN) && error.hint_text().is_some(), "{error}");
        assert_eq!(host.get(|state| state.requests.len()) - before, 1, "{reply:?}");
    }
    host.script(|_| None);
    let error = control.job("99").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("get job 99") && error.to_string().contains("no such job"), "{error}");
    assert!(control.job("..").await.is_err(), "no way out of the path");
    assert!(!format!("{control:?}").contains(TOKEN));
}

#[tokio::test]
async fn nobody_there() {
    let nobody = KeptPort::any().unwrap();
    let url = format!("http://127.0.0.1:{}", nobody.number());
    let control = client(&url, options().deadline(Duration::from_secs(3)));
    let begin = Instant::now();
    let error = control.job("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.is_retryable() && error.context_value("tries").is_some_and(|tries| tries != "1"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn slow_and_endless_answers_end() {
    let host = Host::new();
    let server = host.start().await;
    let control = client(&server.url(), impatient().deadline(Duration::from_millis(1200)));
    host.fail_first(9, "/v1/jobs/1", || Fault::Slow(Duration::from_secs(60)));
    let begin = Instant::now();
    let error = control.job("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let huge = Reply { body: vec![b' '; (64 << 20) + 1], ..Reply::empty(200) };
    let control = client(&server.url(), options().request_timeout(Duration::from_secs(120)));
    host.fail_first(1, "/v1/jobs/1", move || Fault::Answer(huge.clone().into()));
    let error = control.job("1").await.unwrap_err();
    assert!(error.to_string().contains("longer than 64 MiB"), "{error}");
}

/// A store that hands out another token after the first one.
#[derive(Debug, Default)]
struct Rotated(AtomicUsize);

#[async_trait::async_trait]
impl SecretStore for Rotated {
    async fn get(&self, _: &str) -> transload_core::Result<Secret> {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(Secret::new(if first { "an-old-token" } else { TOKEN }))
    }

    async fn put(&self, name: &str, secret: Secret) -> transload_core::Result<()> {
        EnvStore.put(name, secret).await
    }

    async fn delete(&self, name: &str) -> transload_core::Result<()> {
        EnvStore.delete(name).await
    }
}

#[tokio::test]
async fn a_token_that_was_changed_is_read_again() {
    let host = Host::new();
    let server = host.start().await;
    let mut stores = SecretStores::default();
    stores.register("rotated", Arc::new(Rotated::default()));
    let reference: SecretRef = "rotated:token".parse().unwrap();
    let control = ControlPlane::new(&server.url(), reference, stores, options()).unwrap();
    assert_eq!(control.enabled_jobs().await.unwrap().jobs.len(), 2);
    assert_eq!(host.get(|state| state.requests.len()), 2, "one 401, then the new token");
    // A token that stays wrong is asked for once more, not for ever.
    host.set(|state| state.token = "yet another one".to_owned());
    assert_eq!(control.enabled_jobs().await.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(host.get(|state| state.requests.len()), 3);
    let missing: SecretRef = "env:TRANSLOAD_NO_SUCH_TOKEN".parse().unwrap();
    let control = ControlPlane::new(&server.url(), missing, SecretStores::default(), options()).unwrap();
    assert_eq!(control.enabled_jobs().await.unwrap_err().kind(), ErrorKind::NotFound);
    let broken = ControlPlane::with_token(&server.url(), Secret::new("a\nb"), options()).unwrap();
    assert_eq!(broken.enabled_jobs().await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_double_a_report() {
    let host = Host::new();
    let server = host.start().await;
    let spool = tempfile::tempdir().unwrap();
    let control = client(&server.url(), options().spool(spool.path()));
    let (registry, _) = registry();
    host.fail_first(3, "/report", || Fault::LoseAnswer);
    let (_, delivery) = control.run(Runner::new(registry), "1").await.unwrap();
    assert!(delivery.is_delivered(), "{delivery:?}");
    host.get(|state| {
        let puts = state.requests.iter().filter(|request| request.path().ends_with("/report")).count();
        assert_eq!((puts, state.effects, state.reports.len()), (4, 1, 1));
    });
    assert!(files(spool.path()).is_empty());
}

#[tokio::test]
async fn a_report_that_cannot_be_delivered_is_kept_and_sent_by_the_next_start() {
    let host = Host::new();
    let server = host.start().await;
    let spool = tempfile::tempdir().unwrap();
    let folder = spool.path().join("new/spool");
    let options = || options().spool(&folder);
    let hasty = || client(&server.url(), options().deadline(Duration::from_millis(600)));
    let is_kept = |delivery: Delivery| {
        assert!(delivery.error.as_ref().is_some_and(|error| error.is_retryable()), "{delivery:?}");
        assert!(delivery.kept_at.is_some_and(|path| path.exists()));
    };
    let (registry, _) = registry();
    let later = || Fault::Answer(Reply::empty(503).header("retry-after", "3600").into());
    host.fail_first(99, "/report", later);
    let control = client(&server.url(), options());
    let (report, delivery) = control.run(Runner::new(registry), "1").await.unwrap();
    assert_eq!(report.status, RunStatus::Succeeded, "the run does not fail by it");
    is_kept(delivery);
    // Another one is acted upon, and its answers are lost.
    host.fail_first(99, "/report", || Fault::LoseAnswer);
    is_kept(hasty().begin("1").finish(&report).await);
    let kept = files(&folder);
    assert_eq!(kept.len(), 2, "{kept:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert!(kept.iter().all(|name| mode(&folder.join(name)) == 0o600));
    }
    // Still down: nothing is lost.
    let outcome = hasty().send_spooled().await.unwrap();
    assert_eq!((outcome.sent, outcome.kept), (0, 2), "{outcome:?}");
    assert_eq!(files(&folder), kept);
    // Up again, with a file of nobody, one cut off and one renamed in the folder.
    host.script(|_| None);
    std::fs::write(folder.join("notes.txt"), "not a report").unwrap();
    std::fs::write(folder.join("01936d5e-0000-7000-8000-000000000001.json"), "{\"run_id\": \"0193").unwrap();
    std::fs::copy(folder.join(&kept[0]), folder.join("01936d5e-0000-7000-8000-000000000002.json")).unwrap();
    let outcome = client(&server.url(), options()).send_spooled().await.unwrap();
    assert_eq!((outcome.sent, outcome.kept, outcome.refused), (2, 0, 2), "{outcome:?}");
    assert_eq!(files(&folder), ["notes.txt", "refused"]);
    host.get(|state| {
        let sent: Vec<_> = state.reports.keys().map(|id| format!("{id}.json")).collect();
        assert_eq!((sent, state.effects), (kept, 2), "each once, under its own id");
    });
    assert_eq!(client(&server.url(), options()).send_spooled().await.unwrap().sent, 0);
}

#[tokio::test]
async fn a_report_that_is_refused_is_set_aside() {
    let host = Host::new();
    let server = host.start().await;
    let spool = tempfile::tempdir().unwrap();
    let control = client(&server.url(), options().spool(spool.path()));
    let (registry, _) = registry();
    let runner = Runner::new(registry);
    host.fail_first(1, "/report", || {
        Fault::Answer(Reply::json(409, &json!({"error": "another one"})).into())
    });
    let (_, delivery) = control.run(runner.clone(), "1").await.unwrap();
    let kept = delivery.kept_at.unwrap();
    assert!(kept.exists() && kept.parent().unwrap().ends_with("refused"), "{kept:?}");
    assert_eq!(control.send_spooled().await.unwrap().sent, 0, "it is not sent again");
    // A wrong token, a missing right and a page of a proxy may be put right: those reports stay.
    for reply in
        [Reply::empty(401), Reply::empty(403), Reply { body: b"<html>".to_vec(), ..Reply::empty(200) }]
    {
        host.fail_first(1, "/report", move || Fault::Answer(reply.clone().into()));
        let (_, delivery) = control.run(runner.clone(), "1").await.unwrap();
        assert!(delivery.kept_at.is_some_and(|path| path.parent() == Some(spool.path())));
    }
    assert_eq!(control.send_spooled().await.unwrap().sent, 3);
    // Without a folder the caller learns of it.
    host.fail_first(1, "/report", || Fault::Answer(Reply::empty(422).into()));
    let (_, delivery) = client(&server.url(), options()).run(runner, "1").await.unwrap();
    assert!(delivery.error.is_some() && delivery.kept_at.is_none());
}

#[tokio::test]
async fn a_job_that_cannot_begin_is_reported_too() {
    let host = Host::new();
    host.set(|state| {
        state.jobs.insert("3".to_owned(), json!({"name": "wrong", "sorce": {}}));
    });
    let server = host.start().await;
    let control = client(&server.url(), options());
    let (registry, _) = registry();
    let error = control.run(Runner::new(registry), "3").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let end = host.get(|state| state.reports.values().next().cloned().unwrap());
    assert_eq!((&end["report"], &end["error"]["kind"]), (&Value::Null, &json!("config")));
}

/// What a run says of itself, to be changed.
async fn progress() -> Progress {
    let (registry, _) = registry();
    let seen: Arc<Mutex<Option<Progress>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let connections = ["shop", "lake"].map(|name| Connection::new(name, "memory").option("path", name));
    let runner = connections.into_iter().fold(Runner::new(registry), Runner::connection);
    let runner = runner.on_progress(move |progress| *keep.lock().unwrap() = Some(progress.clone()));
    runner.run(&EtlJob::from_json(job("orders")).unwrap()).await;
    let last = seen.lock().unwrap().clone();
    last.unwrap()
}

const INTERVAL: Duration = Duration::from_millis(200);

#[tokio::test]
async fn progress_is_throttled_and_never_waits() {
    let host = Host::new();
    let server = host.start().await;
    let control = client(&server.url(), options().progress_interval(INTERVAL));
    let run = control.begin("1");
    let (observe, mut progress) = (run.observer(), progress().await);
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rows = 0;
    let posts = || host.get(|state| state.progress.clone());
    // A busy machine needs longer for the second one.
    while begin.elapsed() < INTERVAL * 7 / 2
        || (posts().len() < 2 && begin.elapsed() < Duration::from_secs(60))
    {
        rows += 1;
        progress.rows_read = rows;
        let call = Instant::now();
        observe(&progress);
        slowest = slowest.max(call.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = posts();
    let at_most = 2 + usize::try_from(begin.elapsed().as_millis() / INTERVAL.as_millis()).unwrap();
    assert!((2..=at_most).contains(&sent.len()), "{} requests of {rows} calls", sent.len());
    let seen: Vec<_> = sent.iter().map(|post| post["progress"]["rows_read"].as_u64().unwrap()).collect();
    assert!(seen.is_sorted(), "{seen:?} of {rows}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    // A run that is silent sends what was last, and gives a sign of life now and then.
    let begin = Instant::now();
    rows += 1;
    progress.rows_read = rows;
    observe(&progress);
    let of_the_last = || posts().iter().filter(|post| post["progress"]["rows_read"] == rows).count();
    eventually("a sign of life", || async { of_the_last() >= 2 }).await;
    assert!(begin.elapsed() >= INTERVAL * 6, "it is no busy loop: {:?}", begin.elapsed());
    drop(run);
    observe(&progress);
}

#[tokio::test]
async fn progress_that_hangs_or_fails_does_not_touch_the_run() {
    let host = Host::new();
    let server = host.start().await;
    for answer in [|| Answer::Hang, || Answer::Close, || Answer::Reply(Reply::empty(500))] {
        host.fail_first(99, "/progress", move || Fault::Answer(answer()));
        let control = client(&server.url(), options().request_timeout(Duration::from_secs(30)));
        let (registry, _) = registry();
        let begin = Instant::now();
        let (report, delivery) = control.run(Runner::new(registry), "1").await.unwrap();
        assert_eq!(report.status, RunStatus::Succeeded);
        assert!(delivery.is_delivered());
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn the_control_plane_can_cancel() {
    let host = Host::new();
    host.set(|state| state.cancel = true);
    let server = host.start().await;
    let control = client(&server.url(), options());
    let run = control.begin("1");
    run.observer()(&progress().await);
    eventually("the run is cancelled", || async { run.cancel_handle().is_cancelled() }).await;
    let (registry, memory) = registry();
    let set = control.job("1").await.unwrap();
    let runner = set.runner(registry).cancel_with(run.cancel_handle());
    let report = runner.run(set.jobs[0].job.as_ref().unwrap()).await;
    assert_eq!(report.status, RunStatus::Cancelled);
    assert!(run.finish(&report).await.is_delivered());
    assert_eq!(memory.rows("lake", "raw", "orders"), None);
    assert_eq!(
        host.get(|state| state.reports.values().next().unwrap()["report"]["status"].clone()),
        "cancelled"
    );
}
