//! Single records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmtrace::recording::hostile::decode(bytes));
