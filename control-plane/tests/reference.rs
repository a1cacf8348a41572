//! The committed OpenAPI document is that of the Rust types.
//!
//! After a change: `TRANSLOAD_WRITE_REFERENCE=1 cargo test -p transload-control-plane --test reference`.

use std::path::Path;

#[test]
fn the_committed_contract_is_current() {
    let text = format!("{}\n", serde_json::to_string_pretty(&transload_control_plane::openapi()).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/control-plane.openapi.json");
    if std::env::var_os("TRANSLOAD_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, text, "it is not current: see the top of this file");
}
