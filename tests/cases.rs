//! The language-neutral cases of `connectors/testkit/cases`.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::ExitCode;

use transload_testkit::{cases::cases_in, run_cases};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/testkit/cases");
    run_cases(cases_in(&folder, &transload::default_registry()).expect("the cases can be read"))
}
