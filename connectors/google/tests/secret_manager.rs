//! Secret Manager against the server of `transload_testkit::secret_manager`, which speaks its REST surface. There is
//! no emulator: permissions, replication, TLS and what Google's own server would say are not proven here.

use transload_core::{ErrorKind, Secret, SecretStore as _, SecretStores};
use transload_google::{AuthMode, AuthOptions, OldVersions, SecretManager, SecretManagerOptions};
use transload_testkit::secret_manager::{SecretManagerServer, StoredVersion};

const NAME: &str = "model-5-connection-12-credentials";

fn store(server: &SecretManagerServer, old_versions: OldVersions) -> SecretManager {
    SecretManager::new(SecretManagerOptions {
        project: Some("p".to_owned()),
        endpoint: Some(server.url()),
        old_versions,
        ..SecretManagerOptions::default()
    })
}

fn states(server: &SecretManagerServer) -> Vec<String> {
    server.versions("p", NAME).into_iter().map(|version| version.state).collect()
}

#[tokio::test]
async fn secrets_are_created_read_and_deleted() {
    let server = SecretManagerServer::start().await.unwrap();
    let store = store(&server, OldVersions::Keep);
    let error = store.get(NAME).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.hint_text().is_some());
    for text in ["hunter2/ü\n", "123456789"] {
        store.put(NAME, Secret::new(text)).await.unwrap();
        assert_eq!(store.get(NAME).await.unwrap().expose(), text);
    }
    assert_eq!(store.get(&format!("{NAME}@1")).await.unwrap().expose(), "hunter2/ü\n");
    let full = format!("projects/p/secrets/{NAME}/versions/1");
    assert_eq!(store.get(&full).await.unwrap().expose(), "hunter2/ü\n");
    assert_eq!(store.get(&format!("{NAME}@3")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let other = store.get(&format!("projects/q/secrets/{NAME}")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::NotFound, "another project has other secrets");
    // Adding a version comes first: most secrets are there.
    let writes: Vec<String> = server
        .seen()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| request.path().to_owned())
        .collect();
    let add = format!("/v1/projects/p/secrets/{NAME}:addVersion");
    assert_eq!(writes, [add.clone(), "/v1/projects/p/secrets".to_owned(), add.clone(), add]);
    // The checksum goes with it.
    assert_eq!(server.versions("p", NAME)[1].crc32c.as_deref(), Some("3808858755"));

    store.delete(NAME).await.unwrap();
    store.delete(NAME).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn old_versions_follow_the_policy() {
    for (policy, expected) in [
        (OldVersions::Keep, ["ENABLED", "ENABLED", "ENABLED"]),
        (OldVersions::Disable, ["DISABLED", "DISABLED", "ENABLED"]),
        (OldVersions::Destroy, ["DESTROYED", "DESTROYED", "ENABLED"]),
    ] {
        let server = SecretManagerServer::start().await.unwrap();
        let store = store(&server, policy);
        for text in ["one", "two", "three"] {
            store.put(NAME, Secret::new(text)).await.unwrap();
        }
        assert_eq!(states(&server), expected, "{policy:?}");
        assert_eq!(store.get(NAME).await.unwrap().expose(), "three");
        if policy != OldVersions::Keep {
            let error = store.get(&format!("{NAME}@1")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.hint_text().unwrap().contains("disabled or destroyed"), "{error}");
        }
    }
    let server = SecretManagerServer::start().await.unwrap();
    let store = store(&server, OldVersions::Keep);
    store.put(NAME, Secret::new("one")).await.unwrap();
    store.delete(&format!("{NAME}@1")).await.unwrap();
    assert_eq!(states(&server), ["DESTROYED"]);
}

#[tokio::test]
async fn damaged_payloads_are_refused() {
    let server = SecretManagerServer::start().await.unwrap();
    let store = store(&server, OldVersions::Keep);
    let plant = |data: &str, crc32c: Option<&str>| {
        let version = StoredVersion {
            state: "ENABLED".to_owned(),
            data: data.to_owned(),
            crc32c: crc32c.map(str::to_owned),
        };
        server.plant("p", NAME, version);
    };
    // `123456789`, its right sum, a wrong one, none.
    plant("MTIzNDU2Nzg5", Some("3808858755"));
    assert_eq!(store.get(NAME).await.unwrap().expose(), "123456789");
    plant("MTIzNDU2Nzg5", Some("3808858756"));
    let error = store.get(NAME).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(!error.to_string().contains("123456789") && error.to_string().contains("checksum"), "{error}");
    plant("MTIzNDU2Nzg5", None);
    assert!(store.get(NAME).await.is_ok());
    plant("/w==", None);
    assert_eq!(store.get(NAME).await.unwrap_err().kind(), ErrorKind::Data, "no text");
}

#[tokio::test]
async fn answers_become_the_right_kinds() {
    let server = SecretManagerServer::start().await.unwrap();
    let store = store(&server, OldVersions::Keep);
    for (status, name, kind, retryable) in [
        (401, "UNAUTHENTICATED", ErrorKind::Auth, false),
        (403, "PERMISSION_DENIED", ErrorKind::Permission, false),
        (404, "NOT_FOUND", ErrorKind::NotFound, false),
        (400, "FAILED_PRECONDITION", ErrorKind::NotFound, false),
        (400, "INVALID_ARGUMENT", ErrorKind::Data, false),
        (429, "RESOURCE_EXHAUSTED", ErrorKind::RateLimited, true),
        (500, "INTERNAL", ErrorKind::Unreachable, true),
        (503, "UNAVAILABLE", ErrorKind::Unreachable, true),
    ] {
        server.fail(Some((status, name)));
        let error = store.get(NAME).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status} {name}: {error}");
        assert!(error.hint_text().is_some());
    }
    server.fail(Some((403, "PERMISSION_DENIED")));
    let error = store.put(NAME, Secret::new("hunter2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(!format!("{error} {error:?} {:?}", error.causes()).contains("hunter2"));

    let nowhere = SecretManager::new(SecretManagerOptions {
        project: Some("p".to_owned()),
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..SecretManagerOptions::default()
    });
    let error = nowhere.get(NAME).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) && error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_uses_are_refused_before_anything_is_asked() {
    let server = SecretManagerServer::start().await.unwrap();
    let store = store(&server, OldVersions::Keep);
    for (name, text) in
        [("a b", "x".to_owned()), ("db@1", "x".to_owned()), ("db", String::new()), ("db", "x".repeat(65_537))]
    {
        let error = store.put(name, Secret::new(text)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert!(server.seen().is_empty());
    store.put("db", Secret::new("x".repeat(65_536))).await.unwrap();
}

#[tokio::test]
async fn references_lead_here_and_credentials_go_along() {
    let server = SecretManagerServer::start().await.unwrap();
    let own = SecretManager::new(SecretManagerOptions {
        project: Some("p".to_owned()),
        endpoint: Some(server.url()),
        auth: AuthOptions::from(Some(AuthMode::AccessToken)),
        secret: Some(Secret::new("ya29.store")),
        ..SecretManagerOptions::default()
    });
    let shown = format!("{own:?}");
    assert!(!shown.contains("ya29"), "{shown}");
    let mut stores = SecretStores::default();
    stores.register("gcp-secret", std::sync::Arc::new(own));
    stores.store("gcp-secret").unwrap().put(NAME, Secret::new("s3cret")).await.unwrap();
    let reference = format!("gcp-secret:{NAME}@1").parse().unwrap();
    assert_eq!(stores.resolve(&reference).await.unwrap().expose(), "s3cret");
    assert!(server.seen().iter().all(|request| request.header("authorization") == Some("Bearer ya29.store")));
    let missing = stores.resolve(&"gcp-secret:missing".parse().unwrap()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_store_outlives_the_runtime_it_was_first_used_in() {
    let server_runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = server_runtime.block_on(SecretManagerServer::start()).unwrap();
    let store = store(&server, OldVersions::Keep);
    for text in ["one", "two"] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(store.put(NAME, Secret::new(text))).unwrap();
        assert_eq!(runtime.block_on(store.get(NAME)).unwrap().expose(), text);
    }
}
