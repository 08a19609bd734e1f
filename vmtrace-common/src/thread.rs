//! What the kernel side keeps for each traced thread: its fault in flight and
//! its account.
//!
//! Only the thread itself writes its entry, always from the CPU it runs on, so
//! no field needs an atomic instruction. Entries are made when a thread is born
//! or the session begins and removed after it is gone: never while it faults.

use core::mem::size_of;

use crate::record::TLB_REASONS;

/// How far a fault in flight has come.
pub mod state {
    /// No fault is open.
    pub const IDLE: u8 = 0;
    /// The exception was taken.
    pub const OPEN: u8 = 1;
    /// `handle_mm_fault` failed: a signal or a fix-up follows.
    pub const FAILED: u8 = 2;
}

/// One traced thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// When the fault in flight began.
    pub start: u64,
    /// Its address.
    pub address: u64,
    /// Its instruction, where the end of a fault cannot see it.
    pub ip: u64,
    /// Its region's start, where the end of a fault cannot see it.
    pub region: u64,
    /// A kernel pointer a probe keeps for its return probe (`kprobe` backend).
    pub kept: u64,
    /// Another one, for the probe of a path within the fault.
    pub kept_mark: u64,
    /// The exception's error code.
    pub error: u16,
    /// The handler's flags.
    pub flags: u16,
    /// The return bits that stick over retries.
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
    /// The process.
    pub pid: u32,
    /// Tells this address space from an earlier one of the same process.
    pub space: u32,
    /// `min_flt` before the first traced fault.
    pub min_base: u64,
    /// `maj_flt` before the first traced fault.
    pub maj_base: u64,
    /// `min_flt` after the last traced fault.
    pub min_last: u64,
    /// `maj_flt` after the last traced fault.
    pub maj_last: u64,
    /// Faults that ended.
    pub seen: u64,
    /// Faults written to a ring.
    pub emitted: u64,
    /// Faults folded into a spill table.
    pub spilled: u64,
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
}

const _: () = assert!(size_of::<Thread>() == 48 + 24 + 80 + 8 * TLB_REASONS + 16);
const _: () = assert!(size_of::<Thread>().is_multiple_of(8));

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
