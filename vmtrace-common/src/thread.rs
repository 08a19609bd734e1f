//! What the kernel side keeps for each traced thread: its fault in flight and
//! its account.
//!
//! Only the thread itself writes its entry, always from the CPU it runs on, so
//! no field needs an atomic instruction. Entries are made when a thread is born
//! or the session begins and removed after it is gone: never while it faults.

use core::mem::{offset_of, size_of};

use crate::record::{Fault, Header, TLB_REASONS, Totals};

/// How far a fault in flight has come.
pub mod state {
    /// None was ever open: the kernel's counters are still to be read.
    pub const NEW: u8 = 0;
    /// No fault is open.
    pub const IDLE: u8 = 1;
    /// The exception was taken.
    pub const OPEN: u8 = 2;
    /// `handle_mm_fault` failed: a signal or a fix-up follows.
    pub const FAILED: u8 = 3;
    /// `get_user_pages` looks for a page, and faults if it finds none.
    pub const LOOKING: u8 = 4;
}

/// One traced thread. What every fault touches lies in the first two cache
/// lines, and the size is a power of two: the index of an array is then a shift.
/// What goes into a fault's record lies here as it lies there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// The process.
    pub pid: u32,
    /// Whose this is; 0 for nobody's. Written last.
    pub tid: u32,
    /// When the fault in flight began.
    pub start: u64,
    /// Its address.
    pub address: u64,
    /// The exception's error code.
    pub error: u16,
    /// The handler's flags when it failed.
    pub flags: u16,
    /// What the handler answered when it failed.
    pub ret: u16,
    /// The marks so far.
    pub marks: u16,
    /// The nature of the region.
    pub nature: u16,
    /// Nothing: the CPU's place.
    pub reserved: u16,
    /// How often the handler asked to be called again.
    pub retries: u8,
    /// [`Fault::via`]: where it came from and, where that is known beforehand, how
    /// it ends.
    pub via: u8,
    /// Nothing: a signal's place.
    pub reserved_too: u16,
    /// The start of the region that it touched or, as long as that is not known, the
    /// last one before; 0 for none.
    pub region: u64,
    /// [`state`].
    pub state: u8,
    /// Not 0 where it is known to be that of the fault in flight, though that goes on.
    pub placed: u8,
    /// Nothing.
    pub reserved_as_well: [u8; 2],
    /// How often the address space had changed at the last fault's end. Stands for
    /// nothing where [`last_vma`](Self::last_vma) is 0.
    pub last_change: u32,
    /// Faults that ended.
    pub seen: u64,
    /// The region's `vm_area_struct`; 0 where it has to be looked at again.
    pub last_vma: u64,
    /// `min_flt` after the last traced fault.
    pub min_last: u64,
    /// `maj_flt` after the last traced fault.
    pub maj_last: u64,
    /// Nothing.
    pub reserved_besides: u32,
    /// Not 0 where a thread whose id ends in the same bits as this slot's index is,
    /// or was, entered elsewhere.
    pub crowded: u32,
    /// Faults folded into a spill table.
    pub spilled: u64,
    /// Its instruction, where the end of a fault cannot see it.
    pub ip: u64,
    /// A kernel pointer a probe keeps for its return probe (`kprobe` backend).
    pub kept: u64,
    /// Another one, for the probe of a path within the fault.
    pub kept_mark: u64,
    /// `min_flt` before the first traced fault.
    pub min_base: u64,
    /// `maj_flt` before the first traced fault.
    pub maj_base: u64,
    /// Faults for which there was no room at all.
    pub lost: u64,
    /// Faults a filter left out.
    pub filtered: u64,
    /// Faults whose end was not seen.
    pub stale: u64,
    /// TLB flushes by reason.
    pub flushes: [u64; TLB_REASONS],
    /// Pages flushed, whole flushes left out.
    pub pages: u64,
    /// Flushes of everything.
    pub full_flushes: u64,
    /// The slot of the spill table that the last fault fell into.
    pub last_spill: u64,
    /// Tells this address space from an earlier one of the same process.
    pub space: u32,
    /// The handler's flags that a probe keeps for its return probe.
    pub kept_flags: u16,
    /// Nothing.
    pub reserved_last: [u16; 5],
}

impl Thread {
    /// Whether a fault is in flight.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.state > state::IDLE
    }

    /// Where the fault in flight came from: [`origin`](crate::evidence::origin).
    #[inline(always)]
    pub const fn origin(&self) -> u8 {
        self.via & 0xf
    }

    /// Its account as a record.
    #[inline(always)]
    pub fn totals(&self, header: Header) -> Totals {
        Totals {
            header,
            min_flt: self.min_last - self.min_base,
            maj_flt: self.maj_last - self.maj_base,
            seen: self.seen,
            // What became of a fault is one of four, and this one is the rule.
            emitted: self
                .seen
                .saturating_sub(self.spilled)
                .saturating_sub(self.lost)
                .saturating_sub(self.filtered),
            spilled: self.spilled,
            lost: self.lost,
            filtered: self.filtered,
            stale: self.stale,
            flushes: self.flushes,
            pages: self.pages,
            full_flushes: self.full_flushes,
        }
    }

    /// Begins a new account: the last one was told. The kernel's counters are read
    /// again before the next fault, which may be another thread's: one that begins a
    /// program for its whole process goes on under the first one's id.
    #[inline(always)]
    pub fn settle(&mut self) {
        self.state = state::NEW;
        (self.min_last, self.min_base) = (0, 0);
        (self.maj_last, self.maj_base) = (0, 0);
        self.seen = 0;
        self.spilled = 0;
        self.lost = 0;
        self.filtered = 0;
        self.stale = 0;
        self.flushes = [0; TLB_REASONS];
        self.pages = 0;
        self.full_flushes = 0;
    }
}

const _: () = assert!(size_of::<Thread>() == 256);
const _: () = assert!(
    offset_of!(Thread, pid) == 0
        && offset_of!(Thread, tid) == 4
        && offset_of!(Thread, error) == 24
        && offset_of!(Thread, marks) == 30
        && offset_of!(Thread, nature) == 32
        && offset_of!(Thread, retries) == 36
        && offset_of!(Thread, via) == 37
        && offset_of!(Thread, region) == 40
        && offset_of!(Thread, crowded) < 128
);

/// One ring's positions: counts of slots, ever growing. The two sides write a
/// cache line each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cursor {
    /// How many faults were written. The program's.
    pub head: u64,
    /// How many were not, for want of room: spilled or lost.
    pub full: u64,
    /// The ring's first slot. User space's, before any program runs.
    pub first: u32,
    /// Nothing.
    pub reserved: u32,
    /// Its CPU, as it lies in the last word of a record. User space's, as `first`.
    pub place: u64,
    /// Nothing.
    pub reserved_as_well: [u64; 4],
    /// How many were read. User space's.
    pub tail: u64,
    /// Nothing.
    pub reserved_too: [u64; 7],
    /// Where the program writes a fault that the ring has no room for.
    pub aside: Fault,
    /// Nothing.
    pub reserved_last: [u64; 8],
}

const _: () = assert!(size_of::<Cursor>() == 256);
