//! Blocks into a file: one after the other, or in slots of which the oldest is
//! written over when the file has reached its size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::batch::Batch;
use super::block::{self, Content, FILE_HEADER, Kind, SIGNATURE, VERSION};
use super::ending::Ending;
use super::payload::Packer;
use super::state::State;
use crate::preface::Preface;

/// Slots of a recording that keeps the newest: when one is begun, a quarter of
/// what there is goes.
const SLOTS: u64 = 4;

/// Where a recording that keeps the newest is, and what it needs to begin anew.
#[derive(Debug)]
struct Slots {
    /// One slot's length.
    len: u64,
    current: u64,
    state: State,
}

/// Writes one recording.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    preface: Vec<u8>,
    /// Where the next block goes.
    at: u64,
    sequence: u64,
    ending: Ending,
    slots: Option<Slots>,
    packer: Packer,
    raw: Vec<u8>,
    block: Vec<u8>,
}

impl Writer {
    /// Writes the head of a recording; `max_size` where only the newest is kept.
    pub(super) fn begin(file: File, preface: &Preface, max_size: Option<u64>) -> io::Result<Self> {
        let mut head = [0; FILE_HEADER];
        head[..8].copy_from_slice(&SIGNATURE);
        head[8..10].copy_from_slice(&VERSION.to_le_bytes());
        file.write_all_at(&head, 0)?;
        let slots = max_size.map(|size| Slots {
            len: size.saturating_sub(FILE_HEADER as u64) / SLOTS,
            current: 0,
            state: State::new(preface.backend == "tracepoint"),
        });
        let mut writer = Self {
            file,
            preface: serde_json::to_vec(preface)?,
            at: FILE_HEADER as u64,
            sequence: 0,
            ending: Ending::default(),
            slots,
            packer: Packer::default(),
            raw: Vec::new(),
            block: Vec::new(),
        };
        writer.head()?;
        Ok(writer)
    }

    /// What every part that can be read by itself begins with.
    fn head(&mut self) -> io::Result<()> {
        let content = Content { kind: Kind::Preface, faults: 0, items: 0, times: (0, 0) };
        self.raw.clear();
        self.raw.extend_from_slice(&self.preface);
        self.frame(content);
        self.append()
    }

    /// Writes a batch as a block.
    pub(super) fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.ending.lost += batch.lost();
        self.raw.clear();
        self.packer.write(batch, &mut self.raw);
        let content = content(Kind::Records, batch);
        self.frame(content);
        if !self.fits() {
            self.next_slot()?;
            self.raw.clear();
            self.packer.write(batch, &mut self.raw);
            self.frame(content);
        }
        self.ending.add(self.at, self.ending.faults, content.times.0);
        self.append()?;
        self.ending.faults += batch.held() as u64;
        if let Some(slots) = &mut self.slots {
            slots.state.follow(batch);
        }
        Ok(())
    }

    fn fits(&self) -> bool {
        let Some(slots) = &self.slots else { return true };
        let end = FILE_HEADER as u64 + (slots.current + 1) * slots.len;
        self.at + self.block.len() as u64 <= end
    }

    /// Goes on in the slot with the oldest blocks: the circumstances, then the
    /// state, then what comes.
    fn next_slot(&mut self) -> io::Result<()> {
        let Some(slots) = &mut self.slots else { return Ok(()) };
        slots.current = (slots.current + 1) % SLOTS;
        let begin = FILE_HEADER as u64 + slots.current * slots.len;
        let half = begin + slots.len / 2;
        let batches = slots.state.batches();
        self.at = begin;
        self.head()?;
        for batch in batches {
            self.raw.clear();
            self.packer.write(&batch, &mut self.raw);
            self.frame(content(Kind::State, &batch));
            // A state that leaves no room for faults is worth nothing.
            if self.at + self.block.len() as u64 > half {
                break;
            }
            self.append()?;
        }
        Ok(())
    }

    fn frame(&mut self, content: Content) {
        let before = self.ending.faults;
        block::frame(content, self.sequence, before, &self.raw, &mut self.block);
    }

    fn append(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(&self.block, self.at) {
            if self.slots.is_none() {
                // Half a block helps nobody; a reader would skip it, too.
                let _ = self.file.set_len(self.at);
            }
            return Err(error);
        }
        self.at += self.block.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// Writes what there is in all, and waits for the disk.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.raw.clear();
        let mut raw = std::mem::take(&mut self.raw);
        self.ending.write(&mut raw);
        self.raw = raw;
        let content = Content { kind: Kind::Ending, faults: 0, items: 0, times: (0, 0) };
        self.frame(content);
        if !self.fits() {
            self.next_slot()?;
            self.raw.clear();
            let mut raw = std::mem::take(&mut self.raw);
            self.ending.write(&mut raw);
            self.raw = raw;
            self.frame(content);
        }
        self.append()?;
        self.file.sync_all()
    }

    /// Faults written so far.
    pub(super) const fn faults(&self) -> u64 {
        self.ending.faults
    }

    /// The file's length.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(self.at, |metadata| metadata.len())
    }
}

fn content(kind: Kind, batch: &Batch) -> Content {
    Content { kind, faults: batch.held(), items: batch.items.len(), times: batch.times() }
}
