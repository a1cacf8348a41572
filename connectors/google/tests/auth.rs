//! Credentials against small servers that speak a token endpoint, the IAM Credentials API and the metadata server.
//!
//! They prove what is sent (signature included, checked by `openssl`) and how long tokens are kept. They do not
//! prove that Google accepts it, nor TLS.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use transload_core::{ErrorKind, Secret};
use transload_google::{AuthMode, AuthOptions, Endpoint, GoogleAuth};
use transload_testkit::http::{HttpServer, Reply, Request};

/// A server that keeps what it was asked and answers as `answer` says, by the number of the request.
struct Scripted {
    server: HttpServer,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    async fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::<Request>::new()));
        let log = Arc::clone(&seen);
        let server = HttpServer::start(move |request| {
            let mut log = log.lock().unwrap();
            let reply = answer(log.len(), &request);
            log.push(request);
            Box::pin(async move { reply.into() })
        });
        Self { server: server.await.unwrap(), seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need the program openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A fresh RSA key: private and public, as PEM.
fn key() -> (String, String) {
    let private = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
    let public = openssl(&["pkey", "-pubout"], &private);
    (String::from_utf8(private).unwrap(), String::from_utf8(public).unwrap())
}

fn key_file(private: &str, token_uri: &str) -> Secret {
    Secret::new(
        json!({
            "type": "service_account", "project_id": "p", "private_key_id": "kid-1", "private_key": private,
            "client_email": "loader@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_uri,
        })
        .to_string(),
    )
}

fn google() -> Endpoint {
    Endpoint::new(None, "https://bigquery.googleapis.com", "/bigquery/v2").unwrap()
}

fn form(request: &Request, name: &str) -> String {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    pairs.into_iter().find(|(key, _)| key == name).unwrap().1
}

async fn token(auth: &GoogleAuth) -> String {
    auth.token().await.unwrap().unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_key_is_exchanged_at_its_own_token_endpoint() {
    let service = Scripted::new(|count, _| {
        Reply::json(
            200,
            &json!({"access_token": format!("ya29.{count}"), "expires_in": 3599, "token_type": "Bearer"}),
        )
    })
    .await;
    let token_uri = format!("{}/token", service.server.url());
    let (private, public) = key();
    let secret = key_file(&private, &token_uri);
    let auth = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap();
    assert_eq!(auth.mode(), AuthMode::ServiceAccount);
    assert!(service.seen().is_empty(), "nothing is asked before the first use");
    // Many at once share one request, also over a second connection with the same key.
    let second = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap();
    assert!(auth.shares_tokens_with(&second));
    let all =
        futures::future::join_all((0..8).map(|i| token(if i % 2 == 0 { &auth } else { &second }))).await;
    assert!(all.iter().all(|token| token == "ya29.0"), "{all:?}");
    assert_eq!(service.seen().len(), 1);

    let request = service.seen().remove(0);
    assert_eq!((request.method.as_str(), request.path()), ("POST", "/token"));
    assert_eq!(form(&request, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = form(&request, "assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let part =
        |index: usize| -> Value { serde_json::from_slice(&BASE64.decode(parts[index]).unwrap()).unwrap() };
    assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "kid-1"}));
    let claims = part(1);
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("loader@p.iam.gserviceaccount.com"), &json!(token_uri))
    );
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let now = jiff::Timestamp::now().as_second();
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!(exp - iat == 3600 && (now - 60..now).contains(&iat), "{claims}");
    // The public key says that the private one signed exactly this.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("public"), public).unwrap();
    std::fs::write(path("signature"), BASE64.decode(parts[2]).unwrap()).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    let verify = ["dgst", "-sha256", "-verify", &path("public"), "-signature", &path("signature")];
    assert_eq!(openssl(&verify, signed.as_bytes()).trim_ascii(), b"Verified OK");

    let shown = format!("{auth:?} {:?} {:?}", auth.credentials(), auth.headers().await.unwrap());
    assert!(!shown.contains("ya29") && !shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    // Lives of less than ten minutes are used for nine tenths.
    let service = Scripted::new(|count, _| {
        Reply::json(200, &json!({"access_token": format!("t{count}"), "expires_in": 10}))
    })
    .await;
    let secret = key_file(&key().0, &format!("{}/token", service.server.url()));
    let auth = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap();
    assert_eq!((token(&auth).await, token(&auth).await), ("t0".into(), "t0".into()));
    tokio::time::sleep(std::time::Duration::from_millis(9100)).await;
    assert_eq!(token(&auth).await, "t1", "after 9 of 10 seconds");
}

#[tokio::test]
async fn refusals_and_absences_differ() {
    let refused = Scripted::new(|_, _| {
        Reply::json(400, &json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
    })
    .await;
    let (private, _) = key();
    let auth = |uri: String| {
        let secret = key_file(&private, &uri);
        GoogleAuth::from_options(None, Some(&secret), &google()).unwrap()
    };
    let error = auth(format!("{}/token", refused.server.url())).headers().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Auth, false), "{error}");
    let causes = error.causes().join(" ");
    assert!(causes.contains("invalid_grant: Invalid JWT Signature.") && !causes.contains("eyJ"), "{causes}");

    let busy = Scripted::new(|count, _| match count {
        0 => Reply::empty(503),
        _ => Reply::json(200, &json!({"access_token": "late", "expires_in": 3600})),
    })
    .await;
    let auth_busy = auth(format!("{}/token", busy.server.url()));
    let error = auth_busy.headers().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.is_retryable(), "{error}");
    assert_eq!(token(&auth_busy).await, "late", "the next request tries again");

    let nobody = auth("http://127.0.0.1:9/token".to_owned()).headers().await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unreachable, "{nobody}");
    let broken = Scripted::new(|_, _| Reply::json(200, &json!({"token": "x"}))).await;
    let error = auth(format!("{}/token", broken.server.url())).headers().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    // An assertion does not cross the network in the clear.
    let secret = key_file(&private, "http://tokens.example.com/token");
    let error = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn googles_own_endpoint_needs_no_exchange() {
    let (private, _) = key();
    let secret = key_file(&private, "https://oauth2.googleapis.com/token");
    let auth = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap();
    // No network: the token is a signed assertion itself.
    let token = token(&auth).await;
    let claims: Value =
        serde_json::from_slice(&BASE64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
}

#[tokio::test]
async fn user_credentials_are_refreshed() {
    let service = Scripted::new(|_, _| {
        Reply::json(200, &json!({"access_token": "ya29.user", "expires_in": 3599, "token_type": "Bearer"}))
    })
    .await;
    let secret = Secret::new(
        json!({"type": "authorized_user", "client_id": "c", "client_secret": "hunter2", "refresh_token": "r-1",
               "token_uri": format!("{}/token", service.server.url())})
        .to_string(),
    );
    let auth = GoogleAuth::from_options(None, Some(&secret), &google()).unwrap();
    assert_eq!(token(&auth).await, "ya29.user");
    let body = service.seen().remove(0).json();
    assert_eq!((&body["grant_type"], &body["refresh_token"]), (&json!("refresh_token"), &json!("r-1")));
    assert!(!format!("{auth:?} {:?}", auth.credentials()).contains("hunter2"));
}

#[tokio::test]
async fn another_account_is_impersonated() {
    let iam = Scripted::new(|count, _| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
        Reply::json(200, &json!({"accessToken": format!("other{count}"), "expireTime": end.to_string()}))
    })
    .await;
    let options = AuthOptions {
        impersonate: Some("loader@p.iam.gserviceaccount.com".to_owned()),
        iam_endpoint: Some(iam.server.url()),
        ..AuthOptions::default()
    };
    let source = Secret::new("ya29.mine");
    let auth = GoogleAuth::from_options(options.clone(), Some(&source), &google()).unwrap();
    assert_eq!((token(&auth).await, token(&auth).await), ("other0".into(), "other0".into()));
    let request = iam.seen().remove(0);
    assert_eq!(
        request.path(),
        "/v1/projects/-/serviceAccounts/loader@p.iam.gserviceaccount.com:generateAccessToken"
    );
    assert_eq!(request.header("authorization"), Some("Bearer ya29.mine"));
    assert_eq!(request.json()["scope"][0], "https://www.googleapis.com/auth/cloud-platform");
    // Other options are other credentials.
    let plain = GoogleAuth::from_options(None, Some(&source), &google()).unwrap();
    assert!(!auth.shares_tokens_with(&plain));
    for account in ["loader", "a/b@c", "x@y?z"] {
        let wrong = AuthOptions { impersonate: Some(account.to_owned()), ..options.clone() };
        let error = GoogleAuth::from_options(wrong, Some(&source), &google()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{account}");
    }

    // As a file of gcloud says it.
    let document = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("{}/v1/projects/-/serviceAccounts/a@b:generateAccessToken", iam.server.url()),
        "source_credentials": {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
                               "token_uri": format!("{}/token", iam.server.url())},
    });
    let counted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counted);
    let both = Scripted::new(move |_, request| {
        count.fetch_add(1, Ordering::Relaxed);
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
        match request.path() {
            "/token" => {
                Reply::json(200, &json!({"access_token": "user", "expires_in": 3600, "token_type": "Bearer"}))
            }
            _ => Reply::json(200, &json!({"accessToken": "chained", "expireTime": end.to_string()})),
        }
    })
    .await;
    let text = document.to_string().replace(&iam.server.url(), &both.server.url());
    let auth = GoogleAuth::from_options(None, Some(&Secret::new(text)), &google()).unwrap();
    assert_eq!(token(&auth).await, "chained");
    assert_eq!(counted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn workload_identity_is_exchanged() {
    let service = Scripted::new(|_, request| match request.path() {
        "/subject" => Reply::json(200, &json!({"id_token": "subject-1"})),
        _ => Reply::json(
            200,
            &json!({"access_token": "federated", "expires_in": 3600, "token_type": "Bearer",
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}),
        ),
    })
    .await;
    let base = service.server.url();
    let document = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/pools/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{base}/sts"),
        "credential_source": {"url": format!("{base}/subject"),
                              "format": {"type": "json", "subject_token_field_name": "id_token"}},
    });
    let auth = GoogleAuth::from_options(None, Some(&Secret::new(document.to_string())), &google()).unwrap();
    assert_eq!(token(&auth).await, "federated");
    let sts = service.seen().into_iter().find(|request| request.path() == "/sts").unwrap();
    assert_eq!(form(&sts, "subject_token"), "subject-1");
}

/// Set in the process that [`alone`] starts.
const INNER: &str = "TRANSLOAD_TEST_INNER";

fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Runs the same test once more in a process of its own, with variables set: they count for a whole process.
async fn alone(test: &'static str, variables: Vec<(&'static str, String)>) {
    let run = move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
            .env(INNER, "yes")
            .envs(variables)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn metadata_server() -> Scripted {
    Scripted::new(|_, request| {
        assert_eq!(request.header("metadata-flavor"), Some("Google"));
        let body = if request.path().ends_with("/token") {
            json!({"access_token": "of-the-machine", "expires_in": 3600, "token_type": "Bearer"})
        } else {
            json!("p")
        };
        Reply::json(200, &body).header("metadata-flavor", "Google")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_server_gives_the_machines_account() {
    if is_inner() {
        // Both ways lead there.
        for mode in [AuthMode::Metadata, AuthMode::Default] {
            let auth = GoogleAuth::from_options(Some(mode), None, &google()).unwrap();
            assert_eq!(token(&auth).await, "of-the-machine");
        }
        return;
    }
    let metadata = metadata_server().await;
    let host = metadata.server.url().replace("http://", "");
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap().to_owned();
    let test = "the_metadata_server_gives_the_machines_account";
    alone(test, vec![("GCE_METADATA_HOST", host), ("HOME", home)]).await;
    let paths: Vec<String> = metadata.seen().iter().map(|request| request.path().to_owned()).collect();
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert!(paths.iter().any(|seen| seen == path), "{paths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn default_credentials_come_from_the_named_file() {
    if is_inner() {
        let auth = GoogleAuth::from_options(None, None, &google()).unwrap();
        assert_eq!(auth.mode(), AuthMode::Default);
        assert_eq!(token(&auth).await, "from-file");
        return;
    }
    let service = Scripted::new(|_, _| {
        Reply::json(200, &json!({"access_token": "from-file", "expires_in": 3600, "token_type": "Bearer"}))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adc.json").to_str().unwrap().to_owned();
    let file = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
                      "token_uri": format!("{}/token", service.server.url())});
    std::fs::write(&path, file.to_string()).unwrap();
    alone("default_credentials_come_from_the_named_file", vec![("GOOGLE_APPLICATION_CREDENTIALS", path)])
        .await;
    assert_eq!(service.seen().len(), 1);
}
