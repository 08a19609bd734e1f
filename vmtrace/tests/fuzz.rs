//! A bounded run of the fuzz targets on stable Rust: the kept corpus, and what
//! comes of it by small changes, always the same ones. A failure prints the
//! input's number; `VMTRACE_FUZZ_SECONDS` runs longer.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what a test needs")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use vmtrace::decode::encode;
use vmtrace::preface::Preface;
use vmtrace::recording::{Batch, Recorder, hostile, pack};
use vmtrace::synthetic::{self, Numbers, Workload};

/// No input may take longer than this.
const HANG: Duration = Duration::from_secs(5);

/// Nor may all of them together have taken more.
const MOST_KB: u64 = 500 << 10;

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/");
    let folder = PathBuf::from(folder).join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|at| at.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Changes a few bytes: flips, numbers at the edge, cuts, repeats, and pieces of
/// other inputs.
fn mutate(numbers: &mut Numbers, bytes: &mut Vec<u8>, other: &[u8]) {
    const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    let below = |numbers: &mut Numbers, len: usize| {
        usize::try_from(numbers.below(len.max(1) as u64)).unwrap()
    };
    for _ in 0..=numbers.below(6) {
        if bytes.is_empty() {
            return;
        }
        let at = below(numbers, bytes.len());
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = EDGES[below(numbers, EDGES.len())],
            2 => bytes[at] = numbers.next().to_le_bytes()[0],
            3 => bytes.truncate(at),
            4 => {
                let len = below(numbers, 64).min(bytes.len() - at);
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = below(numbers, other.len());
                let len = below(numbers, 64).min(other.len() - from).min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&other[from..from + len]);
            }
        }
    }
}

/// The corpus, then changed inputs until the time is up.
fn drive(target: &str, run: impl Fn(&[u8])) {
    let seconds = std::env::var("VMTRACE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(4));
    let corpus = corpus(target);
    for input in &corpus {
        run(input);
    }
    let mut number = 0_u64;
    while Instant::now() < until {
        number += 1;
        let mut numbers = Numbers::new(number);
        let at = usize::try_from(numbers.below(corpus.len() as u64)).unwrap();
        let other = usize::try_from(numbers.below(corpus.len() as u64)).unwrap();
        let mut input = corpus[at].clone();
        mutate(&mut numbers, &mut input, &corpus[other]);
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&input)));
        assert!(outcome.is_ok(), "{target}: input {number} panics");
        assert!(begun.elapsed() < HANG, "{target}: input {number} hangs");
    }
    println!("{target}: {number} inputs, at most {} KiB", peak_kb());
    assert!(peak_kb() < MOST_KB, "{} KiB", peak_kb());
}

#[test]
fn decode_takes_anything() {
    drive("decode", hostile::decode);
}

#[test]
fn payloads_may_be_anything() {
    drive("payload", hostile::payload);
}

#[test]
fn recordings_may_be_anything() {
    let path = std::env::temp_dir().join(format!("vmtrace-hostile-{}.vmt", std::process::id()));
    drive("reader", |bytes| {
        let mut bytes = bytes.to_vec();
        hostile::repair(&mut bytes);
        hostile::reader(&bytes, &path).unwrap();
    });
    std::fs::remove_file(&path).unwrap();
}

/// Writes the corpus anew: `cargo test -p vmtrace --test fuzz seeds -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn seeds() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"));
    for (index, record) in synthetic::one_of_each().iter().enumerate() {
        std::fs::write(folder.join(format!("decode/record-{index:02}")), encode(record)).unwrap();
    }
    let loads =
        [(1, 1, 40, false), (3, 4, 60, true)].map(|(processes, regions, faults, events)| {
            Workload { processes, regions, faults, events, named: !events, run: 2 }
        });
    for (index, load) in loads.iter().enumerate() {
        let mut batch = Batch::default();
        load.send(&mut batch);
        if index == 0 {
            for record in synthetic::one_of_each() {
                vmtrace::stream::Sink::rare(&mut batch, &encode(&record));
            }
        }
        std::fs::write(folder.join(format!("payload/load-{index}")), pack(&batch)).unwrap();
        let path = folder.join(format!("reader/load-{index}.vmt"));
        let file = std::fs::File::create(&path).unwrap();
        let backend = if load.events { "tracepoint" } else { "fentry" };
        let preface = Preface { backend: backend.to_owned(), ..Preface::default() };
        let mut recorder = Recorder::start(file, &preface, None).unwrap();
        batch.send(&mut recorder);
        recorder.finish();
    }
}
