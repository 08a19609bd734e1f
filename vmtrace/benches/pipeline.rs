//! The steps of the user side, one by one and together: `cargo bench -p vmtrace`.

#![expect(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vmtrace::classify::{Classifier, Surroundings};
use vmtrace::decode;
use vmtrace::fault::Kind;
use vmtrace::pipeline::{Options, Pipeline};
use vmtrace::preface::Preface;
use vmtrace::recording::{Reading, Recorder};
use vmtrace::region::World;
use vmtrace::report::events::{Events, Style};
use vmtrace::stream::Sink as _;
use vmtrace::synthetic::Workload;
use vmtrace::tally::Tally;
use vmtrace_common::record::Fault;

const FAULTS: u64 = 4096;
const LOAD: Workload =
    Workload { processes: 1, regions: 64, faults: FAULTS, events: false, named: true, run: 16 };

fn faults() -> Vec<Fault> {
    LOAD.faults(0).0
}

fn decode_faults(c: &mut Criterion) {
    let mut bytes = Vec::new();
    for fault in &faults() {
        decode::encode_fault(fault, &mut bytes);
    }
    let size = bytes.len() / faults().len();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(FAULTS));
    group.bench_function("faults", |b| {
        b.iter(|| bytes.chunks(size).filter(|one| decode::fault(black_box(one)).is_ok()).count());
    });
    group.finish();
}

fn classify(c: &mut Criterion) {
    let faults = faults();
    let mut classifier = Classifier::new(true);
    for fault in &faults {
        classifier.learn(fault, Surroundings { nature: fault.nature, below_stack: false });
    }
    let mut group = c.benchmark_group("classify");
    group.throughput(Throughput::Elements(FAULTS));
    group.bench_function("recall", |b| {
        b.iter(|| {
            let told = |fault: &&Fault| classifier.recall(black_box(fault), fault.nature).is_some();
            faults.iter().filter(told).count()
        });
    });
    group.finish();
}

/// A world that knows the workload's regions.
struct Known(World);

impl vmtrace::stream::Sink for Known {
    fn faults(&mut self, _: &[Fault]) {}

    fn rare(&mut self, record: &[u8]) {
        if let Ok(decode::Rare::Region(region)) = decode::rare(record) {
            self.0.describe(&region);
        }
    }
}

fn attribute(c: &mut Criterion) {
    let faults = faults();
    let mut known = Known(World::new(false));
    LOAD.begin(0, &mut known);
    let mut group = c.benchmark_group("attribute");
    group.throughput(Throughput::Elements(FAULTS));
    group.bench_function("find", |b| {
        b.iter(|| {
            let rows = faults.iter().map(|fault| u64::from(known.0.find(black_box(fault)).row));
            rows.sum::<u64>()
        });
    });
    group.finish();
}

fn tally(c: &mut Criterion) {
    let faults = faults();
    let mut tally = Tally::default();
    let mut group = c.benchmark_group("tally");
    group.throughput(Throughput::Elements(FAULTS));
    group.bench_function("record", |b| {
        b.iter(|| {
            for fault in &faults {
                let cell = tally.cell(0, Kind::AnonZero);
                tally.cells_mut().record(cell, black_box(fault.latency));
            }
        });
    });
    group.finish();
}

fn together(c: &mut Criterion) {
    let faults = faults();
    let mut pipeline = Pipeline::new(Options::default());
    LOAD.begin(0, &mut pipeline);
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(FAULTS));
    group.bench_function("faults", |b| b.iter(|| pipeline.faults(black_box(&faults))));
    // The tracepoint backend's: no region, no nature, no marks.
    let bare = Workload { events: true, ..LOAD };
    let (faults, _) = bare.faults(0);
    let mut pipeline = Pipeline::new(Options { inherit: true, ..Options::default() });
    bare.begin(0, &mut pipeline);
    group.bench_function("without regions", |b| b.iter(|| pipeline.faults(black_box(&faults))));
    group.finish();
}

fn events(c: &mut Criterion) {
    let faults = faults();
    let mut group = c.benchmark_group("events");
    group.throughput(Throughput::Elements(FAULTS));
    for (name, style) in [("text", Style::Text), ("json", Style::Json)] {
        let lines = Events::new(std::io::sink(), style, 0);
        let mut pipeline = Pipeline::observed(Options::default(), lines);
        LOAD.begin(0, &mut pipeline);
        group.bench_function(name, |b| b.iter(|| pipeline.faults(black_box(&faults))));
    }
    group.finish();
}

fn recording(c: &mut Criterion) {
    let path = std::env::temp_dir().join(format!("vmtrace-bench-{}.vmt", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let mut recorder = Recorder::start(file, &Preface::default(), None).unwrap();
    let load = Workload { processes: 16, faults: 16 * FAULTS, ..LOAD };
    load.send(&mut recorder);
    recorder.finish();
    let mut group = c.benchmark_group("recording");
    group.throughput(Throughput::Elements(16 * 16 * FAULTS));
    group.sample_size(10);
    group.bench_function("read", |b| {
        b.iter_batched(
            || Pipeline::new(Options::default()),
            |mut pipeline| Reading::open(&path).unwrap().replay(&mut pipeline, &mut |_, _| Ok(())),
            BatchSize::LargeInput,
        );
    });
    group.finish();
    std::fs::remove_file(&path).unwrap();
}

criterion_group!(benches, decode_faults, classify, attribute, tally, together, events, recording);
criterion_main!(benches);
