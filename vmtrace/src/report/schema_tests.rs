//! Holds `docs/output-schema.md` and the JSON together: every key that is
//! written is described, and every key that is described is written.

use std::collections::BTreeSet;

use serde_json::Value;
use vmtrace_common::record::Oom;

use super::json;
use super::summary::Summary;
use crate::decode::{Rare, encode};
use crate::fault::Class;
use crate::pipeline::{Options, Pipeline};
use crate::report::text::tests::preface;
use crate::stream::Sink as _;
use crate::synthetic::{self, Workload, header};
use crate::tally::By;

fn full() -> Value {
    let load =
        Workload { processes: 2, regions: 3, faults: 500, events: false, named: true, run: 1 };
    let mut pipeline = Pipeline::new(Options { by: By::Thread, ..Options::default() });
    load.send(&mut pipeline);
    let cause = Oom { header: header(9, 5), victim: 1, ..Oom::default() };
    pipeline.rare(&encode(&Rare::Oom(cause)));
    for record in synthetic::one_of_each() {
        pipeline.rare(&encode(&record));
    }
    let mut preface = preface();
    preface.command_line = vec!["vmtrace".to_owned()];
    let mut out = Vec::new();
    json::write(&mut out, &Summary::of(&pipeline, &preface, json::LIMITS)).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// All paths in a value, with what varies replaced by what it is.
fn paths(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = match at.rsplit('.').next() {
                    Some("classes") => "CLASS",
                    Some("kinds") => "KIND",
                    Some("by_reason") => "REASON",
                    _ => key,
                };
                let path = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
                paths(value, &path, into);
            }
        }
        Value::Array(items) => {
            if items.is_empty() {
                into.insert(format!("{at}[]"));
            }
            for item in items {
                paths(item, &format!("{at}[]"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.insert(at.to_owned());
        }
    }
}

/// A path without what is described in one place for all.
fn described(path: &str) -> String {
    for part in ["classes.CLASS.", "kinds.KIND.", "faults."] {
        if let Some(at) = path.find(part) {
            let rest = &path[at + part.len()..];
            return if rest == "class" { path[at..].to_owned() } else { format!("STATS.{rest}") };
        }
    }
    let part = ["accounting.", "tlb."].into_iter().find_map(|part| path.find(part));
    path[part.unwrap_or(0)..].to_owned()
}

#[test]
fn the_page_and_the_json_name_the_same_keys() {
    let mut written = BTreeSet::new();
    paths(&full(), "", &mut written);
    let written: BTreeSet<_> = written.iter().map(|path| described(path)).collect();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/output-schema.md");
    let page = std::fs::read_to_string(page).unwrap();
    let documented: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect();
    let missing: Vec<_> = written.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing {missing:#?}, gone {gone:#?}");
}

#[test]
fn the_shape_is_the_one_that_was_promised() {
    let json = full();
    assert_eq!(json["schema"], "vmtrace.report/1");
    let keys: Vec<_> = json["classes"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 4);
    assert_eq!(json["kinds"]["cow-copy"]["class"], "cow");
    let start = json["processes"][0]["regions"][0]["start"].as_str().unwrap();
    assert!(start.starts_with("0x"));
    assert!(json["processes"][0]["histogram"][0]["from_ns"].is_u64());
    let sum: u64 = Class::ALL
        .iter()
        .map(|class| json["classes"][class.name()]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 1003);
}

#[test]
fn the_same_records_give_the_same_bytes() {
    assert_eq!(full(), full());
    for by in By::ALL {
        let load =
            Workload { processes: 9, regions: 4, faults: 300, events: false, named: true, run: 1 };
        let text = || {
            let mut pipeline = Pipeline::new(Options { by, ..Options::default() });
            load.send(&mut pipeline);
            let mut out = Vec::new();
            json::write(&mut out, &Summary::of(&pipeline, &preface(), json::LIMITS)).unwrap();
            out
        };
        assert_eq!(text(), text(), "{by}");
    }
}

#[test]
fn how_records_are_batched_changes_nothing() {
    let load =
        Workload { processes: 3, regions: 4, faults: 700, events: true, named: true, run: 2 };
    let text = |batch: usize| {
        let mut pipeline = Pipeline::new(Options::for_backend("tracepoint"));
        for index in 0..load.processes {
            load.begin(index, &mut pipeline);
            let (faults, totals) = load.faults(index);
            for some in faults.chunks(batch) {
                pipeline.faults(some);
            }
            pipeline.rare(&encode(&Rare::Exit(totals)));
        }
        let mut out = Vec::new();
        json::write(&mut out, &Summary::of(&pipeline, &preface(), json::LIMITS)).unwrap();
        out
    };
    assert_eq!(text(1), text(256));
}
