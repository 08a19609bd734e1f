//! Runs against each other.

use super::*;
use crate::pipeline::{Options, Pipeline};
use crate::preface::Preface;
use crate::stream::Sink as _;
use crate::synthetic::{Numbers, Workload};
use crate::term::Screen;
use vmtrace_common::evidence::mark;
use vmtrace_common::record::Fault;

const LOAD: Workload =
    Workload { processes: 2, regions: 5, faults: 4000, events: false, named: false, run: 9 };

/// A run whose faults went through `alter`; `None` leaves one out.
fn run(target: &str, alter: impl Fn(u64, Fault) -> Option<Fault>) -> Side {
    let mut pipeline = Pipeline::new(Options::default());
    for index in 0..LOAD.processes {
        LOAD.begin(index, &mut pipeline);
        let faults = LOAD.faults(index).0;
        let numbered = (0_u64..).zip(faults);
        let faults: Vec<_> = numbered.filter_map(|(at, fault)| alter(at, fault)).collect();
        pipeline.faults(&faults);
    }
    let preface = Preface { target: target.to_owned(), ..Preface::default() };
    Side::of("x.vmt", &pipeline, &preface)
}

fn text(diff: &Diff) -> String {
    let mut out = Vec::new();
    write_text(&mut out, &Screen::plain(160), diff).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_same_workload_has_not_changed() {
    let was = run("command x", |_, fault| Some(fault));
    let is = run("command x", |at, fault| {
        let mut numbers = Numbers::new(at + 1);
        let latency = fault.latency * (95 + numbers.below(10)) / 100;
        (at % 97 != 0).then_some(Fault { latency, ..fault })
    });
    let diff = Diff::of(&was, &is, &[], 10);
    assert!(!diff.changed, "{}", text(&diff));
    assert!(text(&diff).contains("No change beyond noise."));
    assert!(!diff.per_second);
}

#[test]
fn huge_pages_are_told_in_words() {
    let was = run("command x", |_, fault| Some(fault));
    let is = run("command x", |at, fault| {
        let huge = Fault { marks: fault.marks | mark::HUGE, ..fault };
        match fault.marks {
            0 => (at % 50 == 0).then_some(huge),
            _ => Some(fault),
        }
    });
    let condition = ["count(anon-zero) > +10%", "count(thp) > 0", "p99(all) > 1h"];
    let conditions: Vec<Condition> =
        condition.iter().map(|condition| condition.parse().unwrap()).collect();
    let diff = Diff::of(&was, &is, &conditions, 1);
    let text = text(&diff);
    for expected in ["anon-zero vanished", "thp appeared", "as huge pages", "FAIL: count(thp) > 0"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(diff.fails() && !diff.conditions[0].holds && !diff.conditions[2].holds);
    assert!(diff.regions.len() == 1 && diff.regions_total >= 1);
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(json["schema"], "vmtrace.diff/1");
    let back = Diff::of(&is, &was, &[], 10);
    assert!(back.sentences.iter().any(|told| told.contains("now faulted in page by page")));
}

#[test]
fn slower_is_told() {
    let was = run("pid 7", |_, fault| Some(fault));
    let is = run("pid 7", |_, fault| Some(Fault { latency: fault.latency * 3, ..fault }));
    let diff = Diff::of(&was, &is, &["p50(all) > +100%".parse().unwrap()], 10);
    assert!(diff.per_second && diff.fails());
    let sentences = diff.sentences.join("\n");
    assert!(sentences.contains("anon-zero became slower: the median was"), "{sentences}");
}
