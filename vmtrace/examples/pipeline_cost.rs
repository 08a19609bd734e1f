//! What one fault costs the pipeline: run it twice under an instruction counter
//! with different counts, and divide.
//!
//! ```text
//! cargo build --release --example pipeline_cost
//! valgrind --tool=callgrind target/release/examples/pipeline_cost fentry 1 1000000
//! ```
//!
//! Arguments: `fentry`, `tracepoint` or `lines` (fentry, and a line of text a
//! fault); regions; faults; consecutive faults in
//! one region (default 64); `same` for faults of one kind.

use std::io::Write as _;
use std::time::Instant;

use vmtrace::pipeline::{Observer, Options, Pipeline};
use vmtrace::report::events::{Events, Style};
use vmtrace::stream::Sink as _;
use vmtrace::synthetic::Workload;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let events = arguments.first().is_some_and(|backend| backend == "tracepoint");
    let (regions, faults, run) = (number(1, 1), number(2, 1_000_000), number(3, 64));
    let load = Workload { processes: 1, regions, faults: 4096, events, named: regions > 1, run };
    let options = Options { inherit: events, ..Options::default() };
    let kind = arguments.get(4).map_or("", String::as_str);
    if arguments.first().is_some_and(|backend| backend == "lines") {
        let lines = Events::new(std::io::sink(), Style::Text, 0);
        spend(&load, Pipeline::observed(options, lines), kind, faults);
    } else {
        spend(&load, Pipeline::new(options), kind, faults);
    }
}

fn spend<O: Observer>(load: &Workload, mut pipeline: Pipeline<O>, kind: &str, faults: u64) {
    load.begin(0, &mut pipeline);
    let (mut batch, _) = load.faults(0);
    if kind == "same" {
        let first = batch[0];
        for fault in &mut batch {
            (fault.error, fault.ret, fault.marks) = (first.error, first.ret, first.marks);
        }
    }
    let begin = Instant::now();
    for _ in 0..faults / batch.len() as u64 {
        pipeline.faults(&batch);
    }
    let spent = begin.elapsed();
    let total = u128::from(pipeline.stream().received.max(1));
    let _ = writeln!(
        std::io::stdout(),
        "{total} faults, {} rows, {} ns each",
        pipeline.world().rows().len(),
        spent.as_nanos() / total
    );
}
