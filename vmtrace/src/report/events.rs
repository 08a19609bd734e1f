//! One line a fault, as they come: text, or JSON lines.
//!
//! A hundred thousand lines a second are written while the faults they tell of
//! go on, so a line is put together in a buffer that is there already, from
//! pieces that lines before it were made of.

use std::io::{self, Write};

use vmtrace_common::record::{Fault, Tlb};

use pieces::Pieces;

use super::line::{Clock, Lines};
use super::summary::REASONS;
use crate::fault::Kind;
use crate::pipeline::Observer;
use crate::region::{Place, World, names};

mod pieces;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Written when so much has come together, or when [`Events::flush`] is called.
const FULL: usize = 64 << 10;

/// Writes faults as they pass the pipeline.
#[derive(Debug)]
pub struct Events<W> {
    out: W,
    style: Style,
    /// Times are told from here.
    started: u64,
    lines: Lines,
    clock: Clock,
    pieces: Pieces,
    written: u64,
    evidence: bool,
    error: Option<io::Error>,
}

impl<W: Write> Events<W> {
    /// Lines to `out`, with times from `started` on.
    pub fn new(out: W, style: Style, started: u64) -> Self {
        Self {
            out,
            style,
            started,
            lines: Lines::new(FULL + 4096),
            clock: Clock::new(),
            pieces: Pieces::new(style),
            written: 0,
            evidence: false,
            error: None,
        }
    }

    /// Adds to each JSON line what its kind was told from, in numbers.
    pub const fn tell_evidence(&mut self) {
        self.evidence = true;
    }

    /// The heads of the columns, for people.
    pub fn head(&mut self) {
        if self.style == Style::Text {
            let line = &mut self.lines;
            for (head, width) in [("           time", 15), ("pid/tid", 15), ("comm", 16)] {
                line.column(head, width);
            }
            line.column("class", 7);
            line.column("kind", 15);
            line.column(" latency ns", 12);
            line.column("address", 18);
            line.text(b"region  instruction\n");
        }
    }

    /// Hands over what has come together. An error is kept for
    /// [`outcome`](Self::outcome), and ends the writing.
    pub fn flush(&mut self) {
        if self.error.is_none() {
            let written = self.out.write_all(self.lines.written()).and_then(|()| self.out.flush());
            self.error = written.err();
        }
        self.lines.clear();
    }

    /// Whether writing still goes well; the error is told once.
    pub fn outcome(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// How many lines there were.
    pub const fn written(&self) -> u64 {
        self.written
    }

    fn text(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World) {
        let Self { lines: line, clock, pieces, started, .. } = self;
        clock.write(line, fault.time.wrapping_sub(*started));
        line.word(b" ");
        pieces.thread(line, fault, world);
        pieces.kind(line, kind);
        line.right(fault.latency, 11);
        line.word(b"  ");
        line.address(fault.address);
        pieces.place(line, fault, place, world);
        line.word(b" ");
        let nature = world.rows().get(place.row as usize).map_or(0, |row| row.nature);
        line.word(&names::permissions(nature));
        pieces.instruction(line, fault, world);
        if fault.retries > 0 {
            line.number(b"  retries ", fault.retries.into());
        }
        line.word(b"\n");
    }

    fn json(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World) {
        let Self { lines: line, pieces, started, .. } = self;
        line.word(b"{\"time_ns\":");
        line.decimal(fault.time.wrapping_sub(*started));
        pieces.thread(line, fault, world);
        pieces.kind(line, kind);
        line.word(b",\"latency_ns\":");
        line.decimal(fault.latency);
        line.word(b",\"address\":\"");
        line.hex(fault.address);
        pieces.place(line, fault, place, world);
        pieces.instruction(line, fault, world);
        line.word(b",\"cpu\":");
        line.decimal(fault.cpu.into());
        line.word(b",\"retries\":");
        line.decimal(fault.retries.into());
        if self.evidence {
            evidence(line, fault);
        }
        line.word(b"}\n");
    }

    fn done(&mut self) {
        self.written += 1;
        if self.lines.len() >= FULL {
            self.flush();
        }
    }
}

impl<W: Write> Observer for Events<W> {
    fn changed(&mut self) {
        self.pieces.forget();
    }

    fn fault(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World) {
        match self.style {
            Style::Text => self.text(fault, kind, place, world),
            Style::Json => self.json(fault, kind, place, world),
        }
        self.done();
    }

    fn flush(&mut self, tlb: &Tlb, world: &World) {
        let header = tlb.header;
        let fault = Fault { pid: header.pid, tid: header.tid, ..Fault::default() };
        let reason = usize::try_from(tlb.reason).ok().and_then(|reason| REASONS.get(reason));
        let reason = reason.copied().unwrap_or("unknown");
        let time = header.time.wrapping_sub(self.started);
        let Self { lines: line, clock, pieces, .. } = self;
        if self.style == Style::Json {
            line.number(b"{\"time_ns\":", time);
            pieces.thread(line, &fault, world);
            line.string(b",\"tlb_flush\":\"", reason);
            if tlb.pages == u64::MAX {
                line.text(b",\"pages\":null");
            } else {
                line.number(b",\"pages\":", tlb.pages);
            }
            line.number(b",\"cpu\":", header.cpu.into());
            line.text(b"}\n");
        } else {
            clock.write(line, time);
            line.word(b" ");
            pieces.thread(line, &fault, world);
            line.column("tlb", 7);
            line.column(reason, 16);
            if tlb.pages == u64::MAX {
                line.text(b"everything");
            } else {
                line.decimal(tlb.pages);
                line.text(b" pages");
            }
            line.word(b"\n");
        }
        self.done();
    }
}

/// What the kernel side gathered. Not a part of the lines' schema: it is for
/// whoever asks why a kind was told.
fn evidence(line: &mut Lines, fault: &Fault) {
    let parts: [(&[u8], u16); 8] = [
        (b",\"evidence\":{\"error\":\"", fault.error),
        (b"\",\"flags\":\"", fault.flags),
        (b"\",\"ret\":\"", fault.ret),
        (b"\",\"marks\":\"", fault.marks),
        (b"\",\"nature\":\"", fault.nature),
        (b"\",\"via\":\"", fault.via.into()),
        (b"\",\"signal\":\"", fault.signal.into()),
        (b"\",\"code\":\"", fault.code.into()),
    ];
    for (name, value) in parts {
        line.text(name);
        line.hex(value.into());
    }
    line.text(b"\"}");
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
