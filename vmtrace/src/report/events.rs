//! One line a fault, as they come: text, or JSON lines.
//!
//! A hundred thousand lines a second are written while the faults they tell of
//! go on, so a line is put together in a buffer that is there already, from
//! names that are there already, with no formatting machinery in between.

use std::io::{self, Write};

use vmtrace_common::record::{Fault, Tlb};

use super::line::{column, decimal, hex, number, pad, right, seconds, string};
use super::summary::REASONS;
use crate::fault::Kind;
use crate::pipeline::Observer;
use crate::region::{Place, World, names};

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
    line: Vec<u8>,
    written: u64,
    evidence: bool,
    error: Option<io::Error>,
}

impl<W: Write> Events<W> {
    /// Lines to `out`, with times from `started` on.
    pub fn new(out: W, style: Style, started: u64) -> Self {
        let line = Vec::with_capacity(FULL + 4096);
        Self { out, style, started, line, written: 0, evidence: false, error: None }
    }

    /// Adds to each JSON line what its kind was told from, in numbers.
    pub const fn tell_evidence(&mut self) {
        self.evidence = true;
    }

    /// The heads of the columns, for people.
    pub fn head(&mut self) {
        if self.style == Style::Text {
            let line = &mut self.line;
            for (head, width) in [("           time", 15), ("pid/tid", 15), ("comm", 16)] {
                column(line, head, width);
            }
            column(line, "class", 7);
            column(line, "kind", 15);
            column(line, " latency ns", 12);
            column(line, "address", 18);
            line.extend_from_slice(b"region  instruction\n");
        }
    }

    /// Hands over what has come together. An error is kept for
    /// [`outcome`](Self::outcome), and ends the writing.
    pub fn flush(&mut self) {
        if self.error.is_none() {
            let written = self.out.write_all(&self.line).and_then(|()| self.out.flush());
            self.error = written.err();
        }
        self.line.clear();
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
        let started = self.started;
        let line = &mut self.line;
        seconds(line, fault.time.wrapping_sub(started));
        line.push(b' ');
        let before = line.len();
        decimal(line, fault.pid.into());
        line.push(b'/');
        decimal(line, fault.tid.into());
        pad(line, before, 15);
        column(line, comm(fault, world), 16);
        column(line, kind.class().name(), 7);
        column(line, kind.name(), 15);
        right(line, fault.latency, 11);
        line.extend_from_slice(b"  ");
        let before = line.len();
        hex(line, fault.address);
        pad(line, before, 18);
        let row = &world.rows()[place.row as usize];
        line.extend_from_slice(world.text(row.name).as_bytes());
        if place.len > 0 {
            line.push(b'+');
            hex(line, fault.address - place.start);
        }
        line.push(b' ');
        line.extend_from_slice(&names::permissions(row.nature));
        if fault.ip != 0 {
            line.extend_from_slice(b"  ");
            match world.known(fault.pid).and_then(|process| world.locate(process, fault.ip)) {
                Some((name, offset)) => {
                    line.extend_from_slice(name.as_bytes());
                    line.push(b'+');
                    hex(line, offset);
                }
                None => hex(line, fault.ip),
            }
        }
        if fault.retries > 0 {
            line.extend_from_slice(b"  retries ");
            decimal(line, fault.retries.into());
        }
        line.push(b'\n');
    }

    fn json(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World) {
        let started = self.started;
        let line = &mut self.line;
        number(line, b"{\"time_ns\":", fault.time.wrapping_sub(started));
        number(line, b",\"pid\":", fault.pid.into());
        number(line, b",\"tid\":", fault.tid.into());
        string(line, b",\"comm\":\"", comm(fault, world));
        string(line, b",\"class\":\"", kind.class().name());
        string(line, b",\"kind\":\"", kind.name());
        number(line, b",\"latency_ns\":", fault.latency);
        line.extend_from_slice(b",\"address\":\"");
        hex(line, fault.address);
        let row = &world.rows()[place.row as usize];
        string(line, b"\",\"region\":\"", world.text(row.name));
        line.extend_from_slice(b",\"perm\":\"");
        line.extend_from_slice(&names::permissions(row.nature));
        line.push(b'"');
        if place.len > 0 {
            line.extend_from_slice(b",\"offset\":\"");
            hex(line, fault.address - place.start);
            line.push(b'"');
        }
        if fault.ip != 0 {
            line.extend_from_slice(b",\"ip\":\"");
            hex(line, fault.ip);
            line.push(b'"');
            let process = world.known(fault.pid);
            if let Some((name, offset)) =
                process.and_then(|process| world.locate(process, fault.ip))
            {
                string(line, b",\"ip_in\":\"", name);
                line.extend_from_slice(b",\"ip_offset\":\"");
                hex(line, offset);
                line.push(b'"');
            }
        }
        number(line, b",\"cpu\":", fault.cpu.into());
        number(line, b",\"retries\":", fault.retries.into());
        if self.evidence {
            evidence(line, fault);
        }
        line.extend_from_slice(b"}\n");
    }

    fn done(&mut self) {
        self.written += 1;
        if self.line.len() >= FULL {
            self.flush();
        }
    }
}

impl<W: Write> Observer for Events<W> {
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
        let line = &mut self.line;
        if self.style == Style::Json {
            number(line, b"{\"time_ns\":", time);
            number(line, b",\"pid\":", header.pid.into());
            number(line, b",\"tid\":", header.tid.into());
            string(line, b",\"comm\":\"", comm(&fault, world));
            string(line, b",\"tlb_flush\":\"", reason);
            if tlb.pages == u64::MAX {
                line.extend_from_slice(b",\"pages\":null");
            } else {
                number(line, b",\"pages\":", tlb.pages);
            }
            number(line, b",\"cpu\":", header.cpu.into());
            line.extend_from_slice(b"}\n");
        } else {
            seconds(line, time);
            line.push(b' ');
            let before = line.len();
            decimal(line, header.pid.into());
            line.push(b'/');
            decimal(line, header.tid.into());
            pad(line, before, 15);
            column(line, comm(&fault, world), 16);
            column(line, "tlb", 7);
            column(line, reason, 16);
            if tlb.pages == u64::MAX {
                line.extend_from_slice(b"everything");
            } else {
                decimal(line, tlb.pages);
                line.extend_from_slice(b" pages");
            }
            line.push(b'\n');
        }
        self.done();
    }
}

/// What the kernel side gathered. Not a part of the lines' schema: it is for
/// whoever asks why a kind was told.
fn evidence(line: &mut Vec<u8>, fault: &Fault) {
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
        line.extend_from_slice(name);
        hex(line, value.into());
    }
    line.extend_from_slice(b"\"}");
}

/// The thread's name, or its process's.
fn comm<'a>(fault: &Fault, world: &'a World) -> &'a str {
    let thread = world.thread(fault.tid).map(|thread| thread.comm);
    let name = thread.or_else(|| world.known(fault.pid).map(|process| process.comm));
    name.map_or("?", |name| world.text(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Rare, encode};
    use crate::pipeline::{Options, Pipeline};
    use crate::stream::Sink as _;
    use crate::synthetic::{self, ANON, header, region, task};

    fn lines(style: Style) -> String {
        let events = Events::new(Vec::new(), style, 1_000);
        let mut pipeline = Pipeline::observed(Options::default(), events);
        pipeline.rare(&encode(&Rare::Task(task(7, 7, 1, "se\"v\x1ben"))));
        let heap = region(7, 0x10_0000, 0x20_0000, ANON, "[heap]");
        pipeline.rare(&encode(&Rare::Region(Box::new(heap))));
        let text = region(7, 0x40_0000, 0x50_0000, synthetic::TEXT, "/bin/x");
        pipeline.rare(&encode(&Rare::Region(Box::new(text))));
        let fault = Fault {
            time: 2_500_001_000,
            latency: 812,
            pid: 7,
            tid: 7,
            address: 0x10_0123,
            ip: 0x40_0010,
            nature: ANON,
            region: 0x10_0000,
            error: 2,
            ..Fault::default()
        };
        pipeline.faults(&[fault, Fault { ip: 0, address: 0, region: 0, nature: 0, ..fault }]);
        let tlb = Tlb { header: header(7, 3_000), pages: u64::MAX, reason: 4, reserved: 0 };
        pipeline.rare(&encode(&Rare::Tlb(tlb)));
        let events = pipeline.observer_mut();
        Events::flush(events);
        events.outcome().unwrap();
        assert_eq!(events.written(), 3);
        String::from_utf8(events.out.clone()).unwrap()
    }

    #[test]
    fn lines_for_people() {
        let text = lines(Style::Text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "    2.500000000 7/7             se\"v\\x1ben       minor   anon-zero               812  \
             0x100123           [heap]+0x123 rw-p  /bin/x+0x10"
        );
        assert!(lines[1].ends_with("0x0                [unknown] ---p"), "{}", lines[1]);
        assert!(lines[2].ends_with("tlb     remote-ipi-send  everything"), "{}", lines[2]);
    }

    #[test]
    fn lines_for_programs() {
        let json = lines(Style::Json);
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["time_ns"], 2_500_000_000_u64);
        assert_eq!(lines[0]["comm"], "se\"v\\x1ben");
        assert_eq!(lines[0]["kind"], "anon-zero");
        assert_eq!(lines[0]["region"], "[heap]");
        assert_eq!(lines[0]["offset"], "0x123");
        assert_eq!(lines[0]["ip_in"], "/bin/x");
        assert_eq!(lines[1].get("offset"), None);
        assert_eq!(lines[2]["tlb_flush"], "remote-ipi-send");
    }

    #[test]
    fn a_full_disk_is_told_once() {
        let mut events = Events::new(io::Cursor::new([0_u8; 4]), Style::Text, 0);
        events.head();
        events.flush();
        assert_eq!(events.outcome().unwrap_err().kind(), io::ErrorKind::WriteZero);
        events.outcome().unwrap();
    }
}
