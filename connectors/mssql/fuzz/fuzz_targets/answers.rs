//! Whatever a server or something in between answers: no panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| transload_mssql::fuzzing::answers(input));
