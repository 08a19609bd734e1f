//! Whole recordings, their checksums set right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    vmtrace::recording::hostile::repair(&mut bytes);
    let path = std::env::temp_dir().join(format!("vmtrace-fuzz-{}.vmt", std::process::id()));
    vmtrace::recording::hostile::reader(&bytes, &path).expect("a writable folder");
});
