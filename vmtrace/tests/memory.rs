//! Ten thousand processes and a million regions fit in 300 MiB, and nothing is
//! wrong in the totals. Alone in its process, so that its peak is its own. A tenth
//! of the processes in half of the memory, unless `VMTRACE_LONG=1` is set.

use vmtrace::pipeline::{Options, Pipeline};
use vmtrace::preface::Preface;
use vmtrace::report::{Summary, json, text};
use vmtrace::synthetic::Workload;
use vmtrace::term::Screen;

#[expect(clippy::unwrap_used, reason = "part of a test")]
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_regions_fit() {
    let long = std::env::var_os("VMTRACE_LONG").is_some();
    let (processes, limit_kb) = if long { (10_000, 300 << 10) } else { (1_000, 140 << 10) };
    let load =
        Workload { processes, regions: 100, faults: 200, events: false, named: true, run: 1 };
    let mut pipeline = Pipeline::new(Options::default());
    load.send(&mut pipeline);
    println!("counted: {} KiB", peak_kb());
    let preface = Preface::default();
    for limits in [text::LIMITS, json::LIMITS] {
        let summary = Summary::of(&pipeline, &preface, limits);
        assert_eq!(summary.classes.count(), 200 * u64::from(processes));
        assert!(summary.accounting.complete, "{:?}", summary.accounting);
        assert_eq!(summary.processes_total, processes as usize);
        assert!(summary.processes.iter().all(|process| process.regions_total == 100));
        text::write(&mut std::io::sink(), &Screen::plain(80), &summary).unwrap();
        json::write(&mut std::io::sink(), &summary).unwrap();
        println!("reported: {} KiB", peak_kb());
    }
    assert!(peak_kb() < limit_kb, "{} KiB", peak_kb());
}
