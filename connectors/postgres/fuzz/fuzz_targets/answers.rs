//! As `copy`, of rows in the text format.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| transload_postgres::fuzzing::answers(input));
