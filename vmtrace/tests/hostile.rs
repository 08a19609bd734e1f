//! A recording made to eat memory stays under 500 MiB: regions without end, each
//! with a long name of its own. Alone in its process, so that its peak is its own.
//! `VMTRACE_LONG=1` sends twelve million.

#![expect(clippy::unwrap_used, reason = "part of a test")]

use vmtrace::decode::{Rare, encode};
use vmtrace::pipeline::{Options, Pipeline};
use vmtrace::preface::Preface;
use vmtrace::report::{Summary, json};
use vmtrace::stream::Sink as _;
use vmtrace::synthetic::{ANON, region};
use vmtrace_common::evidence::nature;

const LIMIT_KB: u64 = 500 << 10;

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn region_names_do_not_eat_memory() {
    let long = std::env::var_os("VMTRACE_LONG").is_some();
    // Names meet their bound in the short run, rows and mappings in the long one.
    let count: u64 = if long { 12_000_000 } else { 150_000 };
    let mut pipeline = Pipeline::new(Options { inherit: true, ..Options::default() });
    let mut record = region(1, 0, 0x1000, ANON | nature::FILE, "");
    record.naming = vmtrace_common::record::name::WHOLE;
    for number in 0..count {
        let name = format!("/\u{1b}]0;{number}\u{7}{}", "x".repeat(440));
        record.header.pid = u32::try_from(number % 1000).unwrap() + 1;
        record.start = number * 0x1000;
        record.end = record.start + 0x1000;
        record.name_len = u32::try_from(name.len()).unwrap();
        record.name[..name.len()].copy_from_slice(name.as_bytes());
        pipeline.rare(&encode(&Rare::Region(Box::new(record))));
    }
    let summary = Summary::of(&pipeline, &Preface::default(), json::LIMITS);
    json::write(&mut std::io::sink(), &summary).unwrap();
    assert!(peak_kb() < LIMIT_KB, "{} KiB", peak_kb());
    println!("{count} regions: {} KiB", peak_kb());
}
