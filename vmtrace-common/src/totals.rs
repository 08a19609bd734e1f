//! An account: what the programs and the kernel counted of a thread, or of many.

use core::mem::size_of;

use crate::record::{Header, TLB_REASONS};

/// One thread's account, kept in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Totals {
    /// Whose.
    pub header: Header,
    /// The growth of the kernel's own `min_flt` from before its first traced
    /// fault to after its last.
    pub min_flt: u64,
    /// The same for `maj_flt`.
    pub maj_flt: u64,
    /// Faults that ended under the programs' eyes.
    pub seen: u64,
    /// Faults sent as a [`Fault`].
    pub emitted: u64,
    /// Faults folded into a [`Spill`].
    pub spilled: u64,
    /// Faults that could be neither sent nor spilled.
    pub lost: u64,
    /// Faults that a filter left out (`--class`, `--min-latency`).
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

const _: () = assert!(size_of::<Totals>() == 152);

impl Totals {
    /// Adds another account to this one. What a hostile recording claims must not
    /// overflow.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.min_flt, other.min_flt),
            (&mut self.maj_flt, other.maj_flt),
            (&mut self.seen, other.seen),
            (&mut self.emitted, other.emitted),
            (&mut self.spilled, other.spilled),
            (&mut self.lost, other.lost),
            (&mut self.filtered, other.filtered),
            (&mut self.stale, other.stale),
            (&mut self.pages, other.pages),
            (&mut self.full_flushes, other.full_flushes),
        ];
        let flushes = self.flushes.iter_mut().zip(other.flushes);
        for (mine, theirs) in pairs.into_iter().chain(flushes) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Whether everything seen is somewhere.
    pub fn balances(&self) -> bool {
        let places = [self.emitted, self.spilled, self.lost, self.filtered];
        let somewhere = places.into_iter().fold(0_u64, u64::saturating_add);
        self.seen == somewhere && self.lost == 0 && self.stale == 0
    }
}
