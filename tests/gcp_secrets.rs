//! `credentials: "gcp-secret:..."` through the default registry, against the small server of the testkit: what it does
//! not prove is listed there.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use transload::{ErrorKind, Secret, default_registry};
use transload_testkit::secret_manager::SecretManagerServer;

const NAME: &str = "model-5-connection-12-credentials";

/// Set in the process that the test starts.
const INNER: &str = "TRANSLOAD_TEST_INNER";

/// The store of the default registry reads its address from variables, which count for a whole process: the test
/// runs itself once more with them set.
#[tokio::test(flavor = "multi_thread")]
async fn references_are_resolved_by_the_default_registry() {
    if std::env::var_os(INNER).is_some() {
        return inner().await;
    }
    let server = SecretManagerServer::start().await.unwrap();
    let url = server.url();
    let run = move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "references_are_resolved_by_the_default_registry", "--nocapture"])
            .env(INNER, "yes")
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", url)
            .env("GOOGLE_CLOUD_PROJECT", "my-project")
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(server.versions("my-project", NAME).len(), 1);
}

async fn inner() {
    let registry = default_registry();
    let store = registry.secrets().store("gcp-secret").expect("the feature registers it");
    store.put(NAME, Secret::new("s3cret")).await.unwrap();
    let reference = format!("gcp-secret:{NAME}").parse().unwrap();
    assert_eq!(registry.secrets().resolve(&reference).await.unwrap().expose(), "s3cret");
    let missing = registry.secrets().resolve(&"gcp-secret:other".parse().unwrap()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}
