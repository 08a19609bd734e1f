//! A recording's records again, in the order in which they were written, as far
//! as they are whole; and what is missing, in words.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::batch::Batch;
use super::block::{self, FILE_HEADER, HEADER, Header, Kind, SIGNATURE, VERSION};
use super::ending::Ending;
use super::payload;
use super::scan::{self, Found};
use crate::preface::Preface;
use crate::stream::{Lacks, Sink};
use crate::term::units::count;

/// Decoding is twice as fast as what is done with the records: more threads
/// would wait.
const MOST_WORKERS: usize = 2;
/// Batches that wait for their turn, for each thread.
const AHEAD: usize = 4;

/// Why a file cannot be read at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// The system says why.
    Io(io::Error),
    /// It is something else.
    NoRecording,
    /// A later vmtrace wrote it.
    Version(u16),
    /// The block that says what was traced is not there.
    NoPreface,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoRecording => f.write_str("it is no recording: `vmtrace -o FILE.vmt` makes one"),
            Self::Version(version) => write!(
                f,
                "it has version {version} of the format and this vmtrace reads up to {VERSION}: use a newer one"
            ),
            Self::NoPreface => f.write_str(
                "its beginning, which says what was traced, is missing or damaged: nothing can be read",
            ),
        }
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoRecording | Self::Version(_) | Self::NoPreface => None,
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How far reading is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Faults read.
    pub faults: u64,
    /// Blocks read.
    pub blocks: usize,
    /// Blocks there are.
    pub of_blocks: usize,
}

/// What was read, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Faults read.
    pub faults: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Blocks that are there and damaged.
    pub damaged: u64,
    /// Faults in blocks that are damaged or gone, as far as that is known.
    pub missing: u64,
    /// Faults that the recorder had no room for.
    pub unrecorded: u64,
    /// Faults before the newest part, which alone was to be kept.
    pub older: u64,
    /// It was finished.
    pub finished: bool,
}

impl Outcome {
    /// What whoever reads a report has to know, in sentences.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let holds =
            format!("{} faults in {} blocks were read", count(self.faults), count(self.blocks));
        if !self.finished {
            remarks.push(format!(
                "it has no end (the tracer was killed, the disk was full or the file was cut): {holds}; its last moments and all accounts are missing"
            ));
        }
        if self.damaged > 0 || self.missing > 0 {
            remarks.push(format!(
                "{} of its blocks are damaged and {} faults are missing: {holds}",
                count(self.damaged),
                count(self.missing)
            ));
        }
        if self.unrecorded > 0 {
            let unrecorded = count(self.unrecorded);
            remarks.push(format!(
                "{unrecorded} faults came faster than the disk took them and are not in it"
            ));
        }
        if self.older > 0 {
            let older = count(self.older);
            remarks.push(format!(
                "it keeps the newest part (--max-size): {older} faults before it are gone"
            ));
        }
        remarks
    }
}

/// An open recording.
#[derive(Debug)]
pub struct Reading {
    path: PathBuf,
    file: File,
    preface: Preface,
    /// Blocks with records, in their order.
    blocks: Vec<Found>,
    /// What is known before a record is read.
    outcome: Outcome,
}

impl Reading {
    /// Opens a recording and finds its blocks.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        // A pipe would be waited for without end.
        if !fs::metadata(path)?.is_file() {
            return Err(Unreadable::NoRecording);
        }
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut head = [0; FILE_HEADER];
        if len < FILE_HEADER as u64 {
            return Err(Unreadable::NoRecording);
        }
        file.read_exact_at(&mut head, 0)?;
        if head[..8] != SIGNATURE {
            return Err(Unreadable::NoRecording);
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version > VERSION || version == 0 {
            return Err(Unreadable::Version(version));
        }
        let mut found = scan::blocks(&file, len)?;
        // What was written over in part begins with no preface.
        let begin = found.iter().position(|found| found.kind == Kind::Preface);
        found.drain(..begin.ok_or(Unreadable::NoPreface)?);
        let mut prefaces = found.iter().filter(|found| found.kind == Kind::Preface);
        let preface = prefaces
            .find_map(|found| with_body(&file, found, |raw| serde_json::from_slice(raw).ok()))
            .ok_or(Unreadable::NoPreface)?;
        let ending = found.last().filter(|found| found.kind == Kind::Ending);
        let ending = ending.and_then(|found| with_body(&file, found, Ending::read));
        let (blocks, outcome) = choose(&found, ending.as_ref());
        Ok(Self { path: path.to_owned(), file, preface, blocks, outcome })
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The session's circumstances.
    pub const fn preface(&self) -> &Preface {
        &self.preface
    }

    /// How many faults its whole blocks claim to hold.
    pub fn faults(&self) -> u64 {
        self.blocks.iter().map(|found| u64::from(found.faults)).sum()
    }

    /// Hands everything to `sink`, and calls `each` after every block; ends
    /// early where that fails.
    pub fn replay<S: Sink>(
        &self,
        sink: &mut S,
        each: &mut dyn FnMut(&mut S, Progress) -> io::Result<()>,
    ) -> io::Result<Outcome> {
        let mut outcome = self.outcome.clone();
        sink.lacks(Lacks { older: outcome.older, end: !outcome.finished });
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers = (cores - 1).clamp(1, MOST_WORKERS);
        std::thread::scope(|scope| {
            let decoded: Vec<Receiver<Option<Batch>>> = (0..workers)
                .map(|first| {
                    let (send, receive) = sync_channel(AHEAD);
                    scope.spawn(move || self.decode(first, workers, &send));
                    receive
                })
                .collect();
            for (index, found) in self.blocks.iter().enumerate() {
                if let Ok(Some(batch)) = decoded[index % workers].recv() {
                    batch.send(sink);
                    outcome.faults += batch.held() as u64;
                    outcome.unrecorded = outcome.unrecorded.saturating_add(batch.lost());
                    outcome.blocks += 1;
                } else {
                    outcome.damaged += 1;
                    outcome.missing = outcome.missing.saturating_add(found.faults.into());
                }
                let (blocks, of_blocks) = (index + 1, self.blocks.len());
                each(sink, Progress { faults: outcome.faults, blocks, of_blocks })?;
            }
            Ok(outcome)
        })
    }

    /// Decodes every so-manieth block, until nobody wants more.
    fn decode(&self, first: usize, step: usize, send: &SyncSender<Option<Batch>>) {
        for found in self.blocks.iter().skip(first).step_by(step) {
            let batch = with_body(&self.file, found, payload::read)
                .filter(|batch| batch.held() == found.faults as usize);
            if send.send(batch).is_err() {
                return;
            }
        }
    }
}

/// Makes something of a block's body; `None` where it is damaged.
fn with_body<T>(file: &File, found: &Found, make: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, found.offset).ok()?;
    let header = Header::parse(&head)?;
    let mut stored = vec![0; header.stored as usize];
    file.read_exact_at(&mut stored, found.offset + HEADER as u64).ok()?;
    let mut buffer = Vec::new();
    make(block::body(&header, &stored, &mut buffer)?)
}

/// The blocks to be read, and what the headers say is missing. A state is read
/// only where what leads to it is not there.
fn choose(found: &[Found], ending: Option<&Ending>) -> (Vec<Found>, Outcome) {
    let mut outcome = Outcome { finished: ending.is_some(), ..Outcome::default() };
    let mut blocks = Vec::new();
    let first = found.first().map_or((0, 0), |first| (first.sequence, first.before));
    outcome.older = first.1;
    let (mut sequence, mut before) = first;
    let mut gap = first.0 > 0;
    let mut wanted = false;
    for block in found {
        if block.sequence != sequence {
            gap = true;
            outcome.missing = outcome.missing.saturating_add(block.before.saturating_sub(before));
        }
        match block.kind {
            Kind::Preface => (wanted, gap) = (gap, false),
            Kind::State if wanted => blocks.push(*block),
            Kind::Records => blocks.push(*block),
            Kind::State | Kind::Ending => {}
        }
        sequence = block.sequence.wrapping_add(1);
        before = block.before.saturating_add(block.faults.into());
    }
    (blocks, outcome)
}
