//! The behaviour suite on the memory connector.

use std::process::ExitCode;

use transload_testkit::{MemoryFixture, run};

fn main() -> ExitCode {
    run(&[MemoryFixture::subject("suite")])
}
