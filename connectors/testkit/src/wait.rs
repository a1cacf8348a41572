//! Waiting for what must happen by itself, however long a busy machine takes for it.

use std::time::{Duration, Instant};

/// How long a test waits before it says that something does not happen.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `holds`, which is asked again and again.
///
/// # Panics
/// If that takes longer than [`PATIENCE`], with `what` did not happen.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "this did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
