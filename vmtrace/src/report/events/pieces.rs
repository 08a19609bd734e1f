//! The parts of a line that others before it had too, kept as they were written:
//! who, of which kind, in which region, at which instruction.

use vmtrace_common::record::Fault;

use super::Style;
use crate::fault::Kind;
use crate::region::{Place, World, names};
use crate::report::line::Lines;

/// Text up to this long is copied as a whole, whatever its length.
const HEAD: usize = 64;

/// A part of a line.
#[derive(Clone, Debug)]
struct Piece {
    head: [u8; HEAD],
    len: usize,
    rest: Box<[u8]>,
}

impl Piece {
    fn of(text: &[u8]) -> Self {
        let (head, rest) = text.split_at(text.len().min(HEAD));
        let mut piece = Self { head: [0; HEAD], len: head.len(), rest: rest.into() };
        piece.head[..head.len()].copy_from_slice(head);
        piece
    }

    #[inline]
    fn put(&self, line: &mut Lines) {
        line.put(&self.head, self.len);
        if !self.rest.is_empty() {
            line.text(&self.rest);
        }
    }
}

/// Pieces by keys, of which those that meet in a slot displace each other.
#[derive(Debug)]
struct Kept<K, const SLOTS: usize> {
    slots: Box<[(K, Piece)]>,
}

impl<K: Copy + PartialEq, const SLOTS: usize> Kept<K, SLOTS> {
    /// Nothing: `none` is nobody's key.
    fn new(none: K) -> Self {
        Self { slots: vec![(none, Piece::of(b"")); SLOTS].into() }
    }

    /// Writes the piece for `key`, which is kept at `spread`; `make` makes it.
    #[inline]
    fn put(&mut self, line: &mut Lines, key: K, spread: u64, make: impl FnOnce(&mut Lines)) {
        let slot = usize::try_from(spread % SLOTS as u64).unwrap_or(0);
        let Some((kept, piece)) = self.slots.get_mut(slot) else { return };
        if *kept != key {
            *piece = made(make);
            *kept = key;
        }
        piece.put(line);
    }
}

#[cold]
#[inline(never)]
fn made(make: impl FnOnce(&mut Lines)) -> Piece {
    let mut text = Lines::new(4 * HEAD);
    make(&mut text);
    Piece::of(text.written())
}

/// A thread or an instruction: a process's or thread's id, the epoch, and which.
type Key = (u32, u32, u64);

/// All pieces of one list.
#[derive(Debug)]
pub(super) struct Pieces {
    style: Style,
    /// Grows when names or places may have become others. Rows stay what they are.
    epoch: u32,
    kinds: Box<[Piece]>,
    threads: Kept<Key, 64>,
    rows: Kept<(u32, bool), 256>,
    instructions: Kept<Key, 512>,
}

impl Pieces {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            epoch: 1,
            kinds: Kind::ALL.map(|kind| made(|line| told(line, style, kind))).into(),
            threads: Kept::new((0, 0, 0)),
            rows: Kept::new((u32::MAX, false)),
            instructions: Kept::new((0, 0, 0)),
        }
    }

    /// The world has changed.
    pub(super) fn forget(&mut self) {
        match self.epoch.checked_add(1) {
            Some(epoch) => self.epoch = epoch,
            None => *self = Self::new(self.style),
        }
    }

    /// The thread: its ids and its name.
    #[inline]
    pub(super) fn thread(&mut self, line: &mut Lines, fault: &Fault, world: &World) {
        let key = (fault.pid, self.epoch, fault.tid.into());
        let style = self.style;
        self.threads.put(line, key, fault.tid.into(), |line| who(line, style, fault, world));
    }

    /// Class and kind.
    #[inline]
    pub(super) fn kind(&self, line: &mut Lines, kind: Kind) {
        if let Some(piece) = self.kinds.get(kind.index()) {
            piece.put(line);
        }
    }

    /// The region, and the offset in it where it has a beginning.
    #[inline]
    pub(super) fn place(&mut self, line: &mut Lines, fault: &Fault, place: &Place, world: &World) {
        let style = self.style;
        let mapped = place.len > 0;
        let row = place.row;
        self.rows.put(line, (row, mapped), row.into(), |line| {
            region(line, style, row, mapped, world);
        });
        if mapped {
            line.hex(fault.address.wrapping_sub(place.start));
            if style == Style::Json {
                line.word(b"\"");
            }
        }
    }

    /// The instruction, where there is one.
    #[inline]
    pub(super) fn instruction(&mut self, line: &mut Lines, fault: &Fault, world: &World) {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        if fault.ip == 0 {
            return;
        }
        let style = self.style;
        let spread = (fault.ip ^ u64::from(fault.pid) << 48).wrapping_mul(SPREAD) >> 32;
        self.instructions.put(line, (fault.pid, self.epoch, fault.ip), spread, |line| {
            instruction(line, style, fault, world);
        });
    }
}

/// Ids and name, as a line for people has them: for faults and for flushes.
pub(super) fn who(line: &mut Lines, style: Style, fault: &Fault, world: &World) {
    let name = comm(fault, world);
    if style == Style::Json {
        line.number(b",\"pid\":", fault.pid.into());
        line.number(b",\"tid\":", fault.tid.into());
        return line.string(b",\"comm\":\"", name);
    }
    let begun = line.len();
    line.decimal(fault.pid.into());
    line.word(b"/");
    line.decimal(fault.tid.into());
    line.pad(begun, 15);
    line.column(name, 16);
}

/// The thread's name, or its process's.
fn comm<'a>(fault: &Fault, world: &'a World) -> &'a str {
    let thread = world.thread(fault.tid).map(|thread| thread.comm);
    let name = thread.or_else(|| world.known(fault.pid).map(|process| process.comm));
    name.map_or("?", |name| world.text(name))
}

fn told(line: &mut Lines, style: Style, kind: Kind) {
    if style == Style::Json {
        line.string(b",\"class\":\"", kind.class().name());
        return line.string(b",\"kind\":\"", kind.name());
    }
    line.column(kind.class().name(), 7);
    line.column(kind.name(), 15);
}

fn region(line: &mut Lines, style: Style, row: u32, mapped: bool, world: &World) {
    let Some(row) = world.rows().get(row as usize) else { return };
    let name = world.text(row.name);
    if style == Style::Json {
        line.string(b"\",\"region\":\"", name);
        line.text(b",\"perm\":\"");
        line.word(&names::permissions(row.nature));
        return line.text(if mapped { b"\",\"offset\":\"" } else { b"\"" });
    }
    line.text(name.as_bytes());
    if mapped {
        line.word(b"+");
    }
}

fn instruction(line: &mut Lines, style: Style, fault: &Fault, world: &World) {
    let process = world.known(fault.pid);
    let located = process.and_then(|process| world.locate(process, fault.ip));
    if style == Style::Json {
        line.text(b",\"ip\":\"");
        line.hex(fault.ip);
        line.word(b"\"");
        if let Some((name, offset)) = located {
            line.string(b",\"ip_in\":\"", name);
            line.text(b",\"ip_offset\":\"");
            line.hex(offset);
            line.word(b"\"");
        }
        return;
    }
    line.word(b"  ");
    match located {
        Some((name, offset)) => {
            line.text(name.as_bytes());
            line.word(b"+");
            line.hex(offset);
        }
        None => drop(line.hex(fault.ip)),
    }
}
