//! What several tests of the facade use.

use std::path::PathBuf;

/// The built `run` example, beside this test in the target folder. `cargo test` builds examples before it runs
/// tests; after `cargo test --test NAME` it may be missing or old.
pub(crate) fn run_program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.parent().and_then(std::path::Path::parent).expect("tests are in <profile>/deps");
    let program = target.join("examples").join(format!("run{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: run `cargo build --example run` first", program.display());
    program
}
