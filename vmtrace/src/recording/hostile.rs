//! What fuzzing drives: each function takes any bytes and has to come back, and
//! soon. The targets in `fuzz/` and the bounded run in the tests both call them.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::block::{FILE_HEADER, HEADER, MAGIC};
use super::{Reading, unpack};
use crate::decode;
use crate::pipeline::{Options, Pipeline};
use crate::preface::Preface;
use crate::report::{Summary, json, text};
use crate::stream::Sink as _;
use crate::tally::By;
use crate::term::Screen;

fn pipeline() -> Pipeline {
    Pipeline::new(Options { by: By::Ip, inherit: true, ..Options::default() })
}

fn report(pipeline: &Pipeline, preface: &Preface) {
    let summary = Summary::of(pipeline, preface, text::LIMITS);
    // A sink takes everything.
    let _ = text::write(&mut io::sink(), &Screen::plain(80), &summary);
    let _ = json::write(&mut io::sink(), &summary);
}

/// Bytes taken for a rare record and for a fault.
pub fn decode(bytes: &[u8]) {
    let mut pipeline = pipeline();
    pipeline.rare(bytes);
    if let Ok(fault) = decode::fault(bytes) {
        pipeline.faults(&[fault, fault]);
    }
    if let Ok(record) = decode::rare(bytes) {
        // A path that was cut is whole again, and stays so.
        let whole = decode::encode(&record);
        assert_eq!(decode::rare(&whole).map(|again| decode::encode(&again)), Ok(whole));
    }
}

/// Bytes taken for a decompressed block of records.
pub fn payload(bytes: &[u8]) {
    let Some(batch) = unpack(bytes) else { return };
    assert_eq!(unpack(&super::pack(&batch)).as_ref(), Some(&batch));
    let mut pipeline = pipeline();
    batch.send(&mut pipeline);
    report(&pipeline, &Preface::default());
}

/// Bytes taken for a whole recording, which is written to `path` for it.
pub fn reader(bytes: &[u8], path: &Path) -> io::Result<()> {
    File::create(path)?.write_all(bytes)?;
    let Ok(reading) = Reading::open(path) else { return Ok(()) };
    let mut pipeline = Pipeline::new(Options::for_backend(&reading.preface().backend));
    reading.replay(&mut pipeline, &mut |_, _| Ok(()))?.remarks();
    report(&pipeline, reading.preface());
    Ok(())
}

/// Sets right the checksums of everything that looks like a block, so that what
/// lies behind them is reached.
pub fn repair(bytes: &mut [u8]) {
    let mut at = FILE_HEADER;
    while at + HEADER <= bytes.len() {
        if bytes[at..at + 4] != MAGIC {
            at += 1;
            continue;
        }
        let stored = [8, 9, 10, 11].map(|byte| bytes[at + byte]);
        let stored = usize::try_from(u32::from_le_bytes(stored)).unwrap_or(usize::MAX);
        let end = (at + HEADER).saturating_add(stored).min(bytes.len());
        let body = crc32fast::hash(&bytes[at + HEADER..end]);
        bytes[at + 56..at + 60].copy_from_slice(&body.to_le_bytes());
        let own = crc32fast::hash(&bytes[at..at + 60]);
        bytes[at + 60..at + 64].copy_from_slice(&own.to_le_bytes());
        at = end.max(at + HEADER);
    }
}
