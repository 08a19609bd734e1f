//! A sink that records: it gathers records into batches and hands them to a
//! thread that compresses and writes, and it never waits for that thread.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vmtrace_common::record::Fault;

use super::batch::{Batch, Item, LONGEST, MOST_FAULTS};
use super::writer::Writer;
use crate::preface::Preface;
use crate::stream::Sink;

/// A batch is handed over when it is as old as this: what a killed tracer
/// takes with it.
const OLDEST: Duration = Duration::from_millis(250);
/// What may wait for a slow disk, in bytes of memory; faults beyond it are
/// counted and not recorded.
const QUEUED: usize = 64 << 20;
/// Other records beyond this are not recorded either.
const QUEUED_RARE: usize = 2 * QUEUED;
/// Recordings smaller than this have smaller blocks.
const SMALL: u64 = 16 << 20;

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes handed over and not yet written.
    queued: AtomicUsize,
    /// Faults written.
    faults: AtomicU64,
    /// Why nothing is written any more.
    failed: OnceLock<String>,
}

/// Records a stream.
#[derive(Debug)]
pub struct Recorder {
    batch: Batch,
    begun: Option<Instant>,
    most_faults: usize,
    most_rare: usize,
    full: Sender<Batch>,
    empty: Receiver<Batch>,
    shared: Arc<Shared>,
    writer: JoinHandle<(u64, u64)>,
    lost: u64,
    lost_records: u64,
    told: bool,
}

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Faults in it.
    pub faults: u64,
    /// Faults left out because the disk was slower than they came.
    pub lost: u64,
    /// Other records left out for the same reason.
    pub lost_records: u64,
    /// The file's length.
    pub bytes: u64,
    /// Why it ends early.
    pub failed: Option<String>,
}

impl Recorder {
    /// Begins a recording in an empty file; `max_size` keeps the newest part.
    pub fn start(file: File, preface: &Preface, max_size: Option<u64>) -> io::Result<Self> {
        let writer = Writer::begin(file, preface, max_size)?;
        let (full, batches) = mpsc::channel::<Batch>();
        let (back, empty) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("vmtrace-record".to_owned())
            .spawn(move || write_all(writer, &theirs, &batches, &back))?;
        let small = max_size.is_some_and(|size| size < SMALL);
        Ok(Self {
            batch: Batch::default(),
            begun: None,
            most_faults: if small { 1024 } else { MOST_FAULTS },
            most_rare: if small { 32 << 10 } else { usize::MAX },
            full,
            empty,
            shared,
            writer,
            lost: 0,
            lost_records: 0,
            told: false,
        })
    }

    /// To be called now and then: what has waited long enough is written.
    pub fn tick(&mut self) {
        if self.begun.is_some_and(|begun| begun.elapsed() >= OLDEST) {
            self.hand_over();
        }
    }

    /// Why nothing is recorded any more, told once.
    pub fn trouble(&mut self) -> Option<&str> {
        let failed = self.shared.failed.get().filter(|_| !self.told)?;
        self.told = true;
        Some(failed)
    }

    /// Faults that are in the file.
    pub fn written(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }

    fn hand_over(&mut self) {
        self.begun = None;
        if self.batch.is_empty() {
            return;
        }
        if self.shared.failed.get().is_some() {
            self.batch.clear();
            return;
        }
        let bytes = self.batch.bytes();
        let queued = self.shared.queued.load(Ordering::Relaxed);
        if queued > QUEUED_RARE {
            self.lost_records += self.batch.items.len() as u64;
            self.lost += self.batch.held() as u64;
            let lost = self.batch.lost() + self.batch.held() as u64;
            self.batch.clear();
            self.batch.push(Item::Lost(lost));
            return;
        }
        if queued > QUEUED && self.batch.held() > 0 {
            self.lost += self.batch.held() as u64;
            self.batch.drop_faults();
            if !self.batch.is_full() {
                return;
            }
        }
        self.shared.queued.fetch_add(bytes, Ordering::Relaxed);
        let next = self.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, next);
        // A writer that is gone has told why.
        let _ = self.full.send(full);
    }

    fn added(&mut self) {
        if self.batch.held() >= self.most_faults
            || self.batch.is_full()
            || self.batch.rare.len() >= self.most_rare
        {
            self.hand_over();
        } else if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    /// Writes what is left and waits for the disk.
    pub fn finish(mut self) -> Recorded {
        self.hand_over();
        drop(self.full);
        let gone = "the recording's thread ended early";
        let (faults, bytes) = self.writer.join().unwrap_or_else(|_panic| {
            let _ = self.shared.failed.set(gone.to_owned());
            (self.shared.faults.load(Ordering::Relaxed), 0)
        });
        let failed = self.shared.failed.get().cloned();
        Recorded { faults, lost: self.lost, lost_records: self.lost_records, bytes, failed }
    }
}

/// The writing thread: until nobody hands over any more.
fn write_all(
    mut writer: Writer,
    shared: &Shared,
    batches: &Receiver<Batch>,
    back: &Sender<Batch>,
) -> (u64, u64) {
    let fail = |error: &io::Error| {
        let _ = shared.failed.set(error.to_string());
    };
    for mut batch in batches {
        let bytes = batch.bytes();
        if shared.failed.get().is_none() {
            match writer.batch(&batch) {
                Ok(()) => shared.faults.store(writer.faults(), Ordering::Relaxed),
                Err(error) => fail(&error),
            }
        }
        shared.queued.fetch_sub(bytes, Ordering::Relaxed);
        batch.clear();
        // Nobody needs it any more at the end.
        let _ = back.send(batch);
    }
    if shared.failed.get().is_none()
        && let Err(error) = writer.finish()
    {
        fail(&error);
    }
    (writer.faults(), writer.bytes())
}

impl Sink for Recorder {
    fn faults(&mut self, mut faults: &[Fault]) {
        while !faults.is_empty() {
            let room = self.most_faults.saturating_sub(self.batch.held()).max(1);
            let (now, later) = faults.split_at(room.min(faults.len()));
            self.batch.faults.extend_from_slice(now);
            faults = later;
            self.added();
        }
    }

    fn rare(&mut self, record: &[u8]) {
        if record.len() > LONGEST {
            self.lost_records += 1;
            return;
        }
        self.batch.push_rare(record);
        self.added();
    }
}
