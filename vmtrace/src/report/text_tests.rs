//! The page, as it is printed.

use super::*;
use crate::decode::{Rare, encode};
use crate::pipeline::{Options, Pipeline};
use crate::preface::Preface;
use crate::report::json;
use crate::stream::Sink as _;
use crate::synthetic::{self, Workload};

pub(crate) fn preface() -> Preface {
    Preface {
        backend: "fentry".to_owned(),
        kernel: "6.12.117".to_owned(),
        host: "box".to_owned(),
        target: "pid 1000 (worker)".to_owned(),
        ..Preface::default()
    }
}

fn summary(processes: u32, options: Options) -> Summary {
    let load =
        Workload { processes, regions: 5, faults: 10_000, events: false, named: true, run: 9 };
    let mut pipeline = Pipeline::new(options);
    load.send(&mut pipeline);
    for record in synthetic::one_of_each() {
        if matches!(record, Rare::Victim(_) | Rare::Oom(_)) {
            pipeline.rare(&encode(&record));
        }
    }
    Summary::of(&pipeline, &preface(), LIMITS)
}

fn page(summary: &Summary, width: usize) -> String {
    let mut out = Vec::new();
    write(&mut out, &Screen::plain(width), summary).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_page_of_one_process() {
    let page = page(&summary(1, Options::default()), 100);
    for line in [
        "pid 1000 (worker)  11.0 ms, fentry on box 6.12.117",
        "complete: seen 10 000 = 10 000 sent + 0 spilled + 0 lost",
        "Latency of worker (1000)",
        "Regions by time",
        "OOM kills",
        "  it held 2.0 KiB anonymous",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert!(!page.contains('\x1b'));
}

#[test]
fn the_page_keeps_to_eighty_columns() {
    for processes in [1, 12] {
        let page = page(&summary(processes, Options::default()), 80);
        for line in page.lines() {
            let width = escape::width(line);
            assert!(width <= 80, "{width}: {line}");
        }
    }
}

#[test]
fn several_processes_are_listed_and_cut() {
    let page = page(&summary(12, Options::default()), 100);
    assert!(page.contains("Processes by time"), "{page}");
    assert!(page.contains("and 2 more"), "{page}");
}

#[test]
fn filters_are_said() {
    let options = Options { min_latency: 1000, ..Options::default() };
    let page = page(&summary(1, options), 100);
    assert!(page.contains("only faults of at least 1.0 µs"), "{page}");
    assert!(page.contains("nothing lost"), "{page}");
}

#[test]
fn a_missing_account_is_said() {
    let load =
        Workload { processes: 1, regions: 1, faults: 100, events: false, named: false, run: 1 };
    let mut pipeline = Pipeline::new(Options::default());
    load.begin(0, &mut pipeline);
    pipeline.faults(&load.faults(0).0);
    pipeline.rare(&[1, 2, 3]);
    let page = page(&Summary::of(&pipeline, &preface(), LIMITS), 100);
    assert!(page.contains("INCOMPLETE"), "{page}");
    assert!(page.contains("the kernel side's account is missing"), "{page}");
    assert!(page.contains("1 records could not be read: 3 bytes are too few"), "{page}");
}

#[test]
fn an_empty_run_is_a_page_too() {
    let pipeline = Pipeline::new(Options::default());
    let summary = Summary::of(&pipeline, &Preface::default(), LIMITS);
    assert!(page(&summary, 80).contains("0 faults"));
    let mut out = Vec::new();
    json::write(&mut out, &summary).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
}

#[test]
fn sentences_do_not_break_within_a_number() {
    let mut out = Vec::new();
    sentence(&mut out, &Screen::plain(20), (Ink::Plain, "of"), "about 10 000 000 000 faults")
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "of about\n    10 000 000 000\n    faults\n");
}
