//! Blocks of records, decompressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmtrace::recording::hostile::payload(bytes));
