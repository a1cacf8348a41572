//! Whatever a server or something in between sends as rows: no panic, and the same rows however the bytes arrive.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| transload_mysql::fuzzing::rows(input));
