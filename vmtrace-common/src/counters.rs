//! What the programs counted that belongs to no thread.

use core::mem::size_of;

use crate::record::Header;

/// The session's own account, beside each thread's
/// [`Totals`](crate::record::Totals).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// When they were read.
    pub header: Header,
    /// Threads that found no room in the thread table: their faults are not traced.
    pub untracked: u64,
    /// Rare records that found no room in their ring.
    pub unsent: u64,
    /// Single TLB events that found no room; the sums hold them.
    pub unsent_tlb: u64,
    /// Times a program was skipped because it was running already
    /// (`recursion_misses` of all programs, and kretprobe misses).
    pub missed: u64,
    /// Kernel-mode faults in a context that cannot sleep: they never reach the
    /// page-fault path and are no faults to the kernel's counters.
    pub atomic: u64,
}

const _: () = assert!(size_of::<Counters>() == 64);
