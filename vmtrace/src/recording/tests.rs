//! Whole recordings: written, read, cut and damaged.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use super::*;
use crate::pipeline::{Options, Pipeline};
use crate::preface::Preface;
use crate::report::Summary;
use crate::report::json::LIMITS;
use crate::stream::Sink as _;
use crate::synthetic::{Numbers, Workload};

/// A file that is gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let name = format!("vmtrace-{name}-{}.vmt", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn create(&self) -> File {
        OpenOptions::new().read(true).write(true).create_new(true).open(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn preface() -> Preface {
    Preface { backend: "fentry".to_owned(), host: "here".to_owned(), ..Preface::default() }
}

const LOAD: Workload =
    Workload { processes: 5, regions: 40, faults: 20_000, events: false, named: true, run: 3 };

fn record(path: &Temporary, load: &Workload, max_size: Option<u64>) -> Recorded {
    let mut recorder = Recorder::start(path.create(), &preface(), max_size).unwrap();
    load.send(&mut recorder);
    recorder.finish()
}

/// What a sink is handed, as one batch.
fn read(path: &Temporary) -> Result<(Batch, Outcome), Unreadable> {
    let reading = Reading::open(&path.0)?;
    let mut all = Batch::default();
    let outcome = reading.replay(&mut all, &mut |_, _| Ok(()))?;
    Ok((all, outcome))
}

/// What a report says of it.
fn report(path: &Temporary) -> Summary {
    let reading = Reading::open(&path.0).unwrap();
    let mut pipeline = Pipeline::new(Options::for_backend(&reading.preface().backend));
    reading.replay(&mut pipeline, &mut |_, _| Ok(())).unwrap();
    Summary::of(&pipeline, reading.preface(), LIMITS)
}

#[test]
fn a_recording_comes_back() {
    let path = Temporary::new("whole");
    let recorded = record(&path, &LOAD, None);
    assert_eq!((recorded.faults, recorded.lost, recorded.failed), (100_000, 0, None));
    let mut sent = Batch::default();
    LOAD.send(&mut sent);
    let (all, outcome) = read(&path).unwrap();
    assert_eq!(all, sent);
    assert!(outcome.remarks().is_empty(), "{outcome:?}");
    let each = recorded.bytes / recorded.faults;
    assert!(each <= 12, "{each} bytes a fault");
}

#[test]
fn the_newest_is_kept_and_makes_sense() {
    let path = Temporary::new("newest");
    let recorded = record(&path, &LOAD, Some(1 << 20));
    assert!(recorded.failed.is_none());
    let size = fs::metadata(&path.0).unwrap().len();
    assert!(size <= 1 << 20, "{size}");
    let load = Workload { faults: 80_000, processes: 2, ..LOAD };
    let path = Temporary::new("newer");
    let recorded = record(&path, &load, Some(1 << 20));
    let size = fs::metadata(&path.0).unwrap().len();
    assert!(size <= 1 << 20 && recorded.lost == 0, "{size}");
    let (all, outcome) = read(&path).unwrap();
    assert!(outcome.older > 0 && outcome.finished && outcome.missing == 0, "{outcome:?}");
    assert_eq!(outcome.older + outcome.faults, 160_000);
    assert!(outcome.faults > 40_000, "{outcome:?}");
    let (faults, _) = load.faults(1);
    let tail = all.faults.len().min(faults.len());
    assert_eq!(all.faults[all.faults.len() - tail..], faults[faults.len() - tail..]);
    let summary = report(&path);
    let accounting = &summary.accounting;
    assert!(accounting.complete, "{accounting:?}");
    assert_eq!((accounting.seen, accounting.older), (160_000, outcome.older));
    assert_eq!(accounting.older + accounting.received, 160_000);
    assert!(summary.processes.iter().all(|process| process.accounting.complete));
    let regions = all.rares().filter(|record| record.len() == 592).count();
    assert!(regions >= 40, "the regions are told again: {regions}");
}

#[test]
fn whoever_ended_before_the_newest_part_is_accounted_for() {
    let path = Temporary::new("ended");
    let load = Workload { faults: 20_000, processes: 10, ..LOAD };
    record(&path, &load, Some(1 << 20));
    let accounting = report(&path).accounting;
    assert!(accounting.complete && accounting.older > 40_000, "{accounting:?}");
    assert_eq!(accounting.seen, 200_000);
}

#[test]
fn what_cannot_be_a_recording_is_told() {
    let path = Temporary::new("none");
    fs::write(&path.0, "").unwrap();
    assert!(matches!(Reading::open(&path.0), Err(Unreadable::NoRecording)));
    fs::write(&path.0, [7; 4000]).unwrap();
    assert!(matches!(Reading::open(&path.0), Err(Unreadable::NoRecording)));
    let mut newer = [0; 100];
    newer[..8].copy_from_slice(&block::SIGNATURE);
    newer[8] = 9;
    fs::write(&path.0, newer).unwrap();
    assert!(matches!(Reading::open(&path.0), Err(Unreadable::Version(9))));
    newer[8] = 1;
    fs::write(&path.0, newer).unwrap();
    assert!(matches!(Reading::open(&path.0), Err(Unreadable::NoPreface)));
    let folder = Temporary(std::env::temp_dir());
    assert!(matches!(Reading::open(&folder.0), Err(Unreadable::NoRecording)));
    std::mem::forget(folder);
}

#[test]
fn without_an_end_no_account_is_called_complete() {
    let path = Temporary::new("endless");
    let (whole, _) = small(&path);
    fs::write(&path.0, &whole[..whole.len() - 1]).unwrap();
    let accounting = report(&path).accounting;
    assert!(!accounting.complete && accounting.received == 900, "{accounting:?}");
    assert_eq!(accounting.incomplete_because.len(), 1, "{accounting:?}");
    assert!(accounting.incomplete_because[0].contains("has no end"), "{accounting:?}");
}

const SMALL: Workload =
    Workload { processes: 3, regions: 10, faults: 300, events: false, named: true, run: 3 };

/// Several blocks, though there is little in them.
fn small(path: &Temporary) -> (Vec<u8>, Batch) {
    let mut writer = writer::Writer::begin(path.create(), &preface(), None).unwrap();
    let mut sent = Batch::default();
    for index in 0..SMALL.processes {
        let mut batch = Batch::default();
        SMALL.begin(index, &mut batch);
        let (faults, totals) = SMALL.faults(index);
        for faults in faults.chunks(60) {
            batch.faults(faults);
            writer.batch(&batch).unwrap();
            batch.send(&mut sent);
            batch.clear();
        }
        batch.rare(&crate::decode::encode(&crate::decode::Rare::Exit(totals)));
        writer.batch(&batch).unwrap();
        batch.send(&mut sent);
    }
    writer.finish().unwrap();
    (fs::read(&path.0).unwrap(), sent)
}

#[test]
fn every_prefix_reads_as_far_as_it_goes() {
    let path = Temporary::new("cut");
    let (whole, sent) = small(&path);
    let mut numbers = Numbers::new(21);
    let mut last = 0;
    for _ in 0..1000 {
        let len = numbers.below(whole.len() as u64 + 1);
        fs::write(&path.0, &whole[..usize::try_from(len).unwrap()]).unwrap();
        let Ok((all, outcome)) = read(&path) else { continue };
        assert_eq!(all.faults, sent.faults[..all.faults.len()]);
        assert_eq!(all.rare, sent.rare[..all.rare.len()]);
        assert_eq!(outcome.faults, all.faults.len() as u64);
        assert_eq!(outcome.finished, len == whole.len() as u64);
        assert_eq!((outcome.damaged, outcome.missing), (0, 0));
        last = last.max(outcome.faults);
    }
    assert!(last > 600, "{last}");
}

#[test]
fn damage_is_found_and_the_rest_is_read() {
    let path = Temporary::new("flip");
    let (whole, sent) = small(&path);
    let mut numbers = Numbers::new(22);
    for _ in 0..2500 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            let at = usize::try_from(numbers.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << numbers.below(8);
        }
        fs::write(&path.0, &bytes).unwrap();
        let Ok((all, outcome)) = read(&path) else { continue };
        let lost = sent.faults.len() as u64 - outcome.faults;
        assert!(all.faults.len() as u64 == outcome.faults);
        if lost > 0 {
            assert!(!outcome.remarks().is_empty());
            assert!(!outcome.finished || outcome.missing == lost, "{outcome:?} {lost}");
        }
        // What is read is what was written, in its order.
        let mut written = sent.faults.iter();
        assert!(all.faults.iter().all(|fault| written.any(|other| other == fault)));
    }
}

#[test]
fn several_become_one() {
    let path = Temporary::new("joined");
    small(&path);
    let reading = Reading::open(&path.0).unwrap();
    let own = Preface { started_wall_ns: 50, started_ns: 7, host: "b".into(), ..preface() };
    let all = join(&[&preface(), &own]).unwrap();
    assert_eq!((all.host.as_str(), all.hosts.len()), ("here, b", 2));
    let mut sink = Batch::default();
    let mut joined = Joined::new(&mut sink, 1, &own, &all);
    reading.replay(&mut joined, &mut |_, _| Ok(())).unwrap();
    let (faults, _) = SMALL.faults(0);
    assert_eq!(pid_of(sink.faults[0].pid), 1000);
    assert_eq!(host_of(sink.faults[0].pid), 1);
    assert_eq!(sink.faults[0].time, faults[0].time + 43);
}
