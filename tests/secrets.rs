//! No secret in errors, reports, logs or `Debug`, whichever way it came in: runs that fail at a server (which needs
//! `TRANSLOAD_TEST_POSTGRES_URL`), with every log line of every crate captured.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use transload::{Connection, ErrorKind, EtlJob, Registry, Runner, Secret, default_registry};

/// Stands in no text by chance, and needs percent-encoding in a URL.
const PASSWORD: &str = "hunter2/Zx9!nöt@a word%";
/// The part of it that is the same in every encoding.
const CORE: &str = "hunter2";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Whoever, host, port and database of the test server, without its password.
fn server() -> Connection {
    let url = std::env::var("TRANSLOAD_TEST_POSTGRES_URL").expect(
        "TRANSLOAD_TEST_POSTGRES_URL is not set: start the servers with connectors/testkit/services/up.sh",
    );
    let good = Connection::from_url(&url).unwrap();
    Connection::from_json(good.to_json()).unwrap().named("shop")
}

fn job() -> EtlJob {
    EtlJob::builder("j")
        .from("shop", "public.orders")
        .into("lake", "raw", "orders")
        .append("id")
        .build()
        .unwrap()
}

/// Runs, reads, tests and shows everything there is; gives all texts.
async fn everything(registry: Registry, shop: Connection, lake: Connection) -> Vec<String> {
    let mut shown = vec![
        format!("{shop:?} {shop} {} {} {}", shop.to_json(), shop.fingerprint(), shop.suggested_name()),
        format!("{registry:?}"),
    ];
    let runner = Runner::new(registry.clone()).connection(shop.clone()).connection(lake);
    shown.push(format!("{runner:?}"));
    let report = runner.run(&job()).await;
    shown.extend([report.to_json().to_string(), format!("{report:?}")]);
    let error = report.error.expect("a wrong password fails the run");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    shown.extend([error.to_string(), format!("{error:?}"), error.to_json().to_string()]);
    shown.extend(error.causes());
    let status = registry.test(&shop, Duration::from_secs(20)).await;
    assert_eq!(status.status.as_str(), "failed");
    shown.extend([status.to_json().to_string(), format!("{status:?}")]);
    let error = runner.propose(&job()).await.unwrap_err();
    shown.extend([error.to_string(), format!("{error:?}")]);
    let source = registry.source(&shop).await.unwrap();
    shown.push(format!("{source:?}"));
    let error = source.tables(None).await.unwrap_err();
    shown.extend([error.to_string(), format!("{error:?}")]);
    shown
}

fn find(what: &str, texts: &[String]) {
    for text in texts {
        assert!(!text.contains(CORE) && !text.contains(PASSWORD), "{what}: the password is in:\n{text}");
        assert!(!text.contains("n%C3%B6t"), "{what}: the encoded password is in:\n{text}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone());
    // The whole process: tasks run on other threads, too.
    subscriber.with_ansi(false).init();
    let folder = tempfile::tempdir().unwrap();
    let lake = Connection::new("lake", "dataset").option("path", folder.path().to_string_lossy());

    let json = server().to_json();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let encoded = "hunter2%2FZx9!n%C3%B6t%40a%20word%25";
    let url = format!(
        "postgresql://{}:{encoded}@{}:{}/{}",
        text("username"),
        text("host"),
        json["port"],
        text("database")
    );
    let by_url = Connection::from_url(&url).unwrap().named("shop");
    assert_eq!(by_url.inline_secret().unwrap().expose(), PASSWORD);
    let mut document = json.clone();
    document["password"] = PASSWORD.into();
    let by_document = Connection::from_json(document).unwrap();
    let in_query = Connection::from_url(&format!(
        "postgresql://{}@{}:{}/{}?password={encoded}",
        text("username"),
        text("host"),
        json["port"],
        text("database")
    ));
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let by_file = server().credentials(format!("file:{}", file.display()).parse().unwrap());
    let by_memory = server().credentials("memory:shop".parse().unwrap());
    let mut registry = default_registry();
    registry.secrets_mut().store("memory").unwrap().put("shop", Secret::new(PASSWORD)).await.unwrap();

    for (what, connection) in [
        ("url", by_url),
        ("document", by_document),
        ("query", in_query.unwrap().named("shop")),
        ("file reference", by_file),
        ("memory reference", by_memory),
    ] {
        find(what, &everything(registry.clone(), connection, lake.clone()).await);
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("run did not succeed"), "the log was not captured:\n{log}");
    find("log", &log.lines().map(str::to_owned).collect::<Vec<_>>());
}

/// An environment variable cannot be set inside a process with threads, so the `run` program gets it.
#[test]
fn a_wrong_password_in_the_environment_is_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut shop = server().to_json();
    shop["credentials"] = "env:TRANSLOAD_WRONG_PASSWORD".into();
    let lake = serde_json::json!({"name": "lake", "type": "dataset", "path": folder.path()});
    let both = serde_json::json!({"connections": [shop, lake], "jobs": [job().to_json().unwrap()]});
    let path = folder.path().join("both.json");
    std::fs::write(&path, both.to_string()).unwrap();
    let output = std::process::Command::new(common::run_program())
        .arg(&path)
        .env("TRANSLOAD_WRONG_PASSWORD", PASSWORD)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(texts[0].contains("\"auth\""), "{texts:?}");
    find("program", &texts);
}

/// What a person writes in the wrong place is not repeated either.
#[test]
fn passwords_in_the_wrong_place_are_not_repeated() {
    for text in [
        "postgresql://u:hunter2@host:port/x",
        "postgresql://u:hunter2%zz@h/",
        "hunter2",
        "postgresql://u@h/db?credentials=hunter2",
    ] {
        let error = Connection::from_url(text).unwrap_err();
        find(text.split('h').next().unwrap_or_default(), &[error.to_string(), error.to_json().to_string()]);
    }
    let document = serde_json::json!({"type": "postgresql", "credentials": "hunter2"});
    find("document", &[Connection::from_json(document).unwrap_err().to_string()]);
    let document = serde_json::json!({"type": "postgresql", "password": 5, "passwrd": "hunter2"});
    find("number", &[Connection::from_json(document).unwrap_err().to_string()]);
}

mod common;
