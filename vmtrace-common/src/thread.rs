//! What the kernel side keeps for each traced thread: its fault in flight and
//! its account.
//!
//! Only the thread itself writes its entry, always from the CPU it runs on, so
//! no field needs an atomic instruction. Entries are made when a thread is born
//! or the session begins and removed after it is gone: never while it faults.

use core::mem::{offset_of, size_of};

use crate::record::{Header, TLB_REASONS, Totals};

/// How far a fault in flight has come.
pub mod state {
    /// No fault is open.
    pub const IDLE: u8 = 0;
    /// The exception was taken.
    pub const OPEN: u8 = 1;
    /// `handle_mm_fault` failed: a signal or a fix-up follows.
    pub const FAILED: u8 = 2;
    /// `get_user_pages` looks for a page, and faults if it finds none.
    pub const LOOKING: u8 = 3;
}

/// One traced thread. What every fault touches lies in the first two cache
/// lines, and the size is a power of two: the index of an array is then a shift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// Whose this is; 0 for nobody's. Written last.
    pub tid: u32,
    /// Whether a thread whose id ends in the same bits as this slot's number lies
    /// elsewhere, or did. The slot's own, whosever it is: it is only ever set.
    pub crowded: u32,
    /// When the fault in flight began.
    pub start: u64,
    /// Its address.
    pub address: u64,
    /// The exception's error code.
    pub error: u16,
    /// The handler's flags.
    pub flags: u16,
    /// What the handler answered when it failed.
    pub ret: u16,
    /// The marks so far.
    pub marks: u16,
    /// The region's nature, where the end of a fault cannot see it.
    pub nature: u16,
    /// How often the handler asked to be called again.
    pub retries: u8,
    /// [`origin`](crate::evidence::origin).
    pub origin: u8,
    /// [`state`].
    pub state: u8,
    /// Whether `min_base` and `maj_base` were read.
    pub based: u8,
    /// Nothing.
    pub reserved: u16,
    /// Its region's start, where the end of a fault cannot see it.
    pub region: u64,
    /// Faults that ended.
    pub seen: u64,
    /// Faults written to a ring.
    pub emitted: u64,
    /// `min_flt` after the last traced fault.
    pub min_last: u64,
    /// `maj_flt` after the last traced fault.
    pub maj_last: u64,
    /// The region that the last fault touched: its `vm_area_struct`.
    pub last_vma: u64,
    /// Its start.
    pub last_start: u64,
    /// How often the address space had changed then. Where that is not known,
    /// `last_vma` is 0.
    pub last_change: u32,
    /// Its nature.
    pub last_nature: u16,
    /// Nothing.
    pub reserved_too: u16,
    /// The process.
    pub pid: u32,
    /// Tells this address space from an earlier one of the same process.
    pub space: u32,
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
}

impl Thread {
    /// Its account as a record.
    #[inline(always)]
    pub fn totals(&self, header: Header) -> Totals {
        Totals {
            header,
            min_flt: self.min_last - self.min_base,
            maj_flt: self.maj_last - self.maj_base,
            seen: self.seen,
            emitted: self.emitted,
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
        self.based = 0;
        (self.min_last, self.min_base) = (0, 0);
        (self.maj_last, self.maj_base) = (0, 0);
        self.seen = 0;
        self.emitted = 0;
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
const _: () = assert!(offset_of!(Thread, start) == 8 && offset_of!(Thread, error) == 24);
const _: () = assert!(offset_of!(Thread, nature) == 32 && offset_of!(Thread, min_last) == 64);

/// One ring's positions: counts of slots, ever growing. The two sides write a
/// cache line each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cursor {
    /// How many faults were written. The program's.
    pub head: u64,
    /// How many were not, for want of room: spilled or lost.
    pub full: u64,
    /// Nothing.
    pub reserved: [u64; 6],
    /// How many were read. User space's.
    pub tail: u64,
    /// Nothing.
    pub reserved_too: [u64; 7],
}

const _: () = assert!(size_of::<Cursor>() == 128);
