//! From evidence to kind: a pure function, read off the table in [`rules`].
//!
//! Faults repeat: a process takes a million faults whose evidence differs in a
//! dozen ways. So the table is walked once for each combination, and its answer
//! kept where the next fault with the same evidence finds it in a few
//! instructions. Nothing here depends on what came before: the answer kept is
//! the answer the table gives.

pub mod facts;
pub mod rules;
pub mod told;

use vmtrace_common::evidence::nature;
use vmtrace_common::record::Fault;

use crate::fault::Kind;
use facts::Facts;

/// What user space adds to a fault's own evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The nature of the region, from the fault itself or found by its address.
    pub nature: u16,
    /// The address lies within the guard gap below a growable stack.
    pub below_stack: bool,
}

/// Answers kept: a power of two.
const KEPT: usize = 128;

#[derive(Clone, Copy, Debug)]
struct Answer {
    key: Key,
    kind: Kind,
}

/// The evidence of one fault in two words. What tells no kind (most flags, the
/// retries) is in it too: to leave it out costs more than a second answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key(u64, u64);

impl Key {
    /// No fault has this: bits between the nature and the rest are never set.
    const NEVER: Self = Self(0, u64::MAX);

    // Neighbours in the record, joined in its order: two loads.
    #[inline]
    fn of(fault: &Fault, nature: u16) -> Self {
        let first = u64::from(fault.error)
            | u64::from(fault.flags) << 16
            | u64::from(fault.ret) << 32
            | u64::from(fault.marks) << 48;
        let second = u64::from(fault.retries)
            | u64::from(fault.via) << 8
            | u64::from(fault.signal) << 16
            | u64::from(fault.code) << 24;
        Self(first, second << 32 | u64::from(nature))
    }

    /// Where its answer is kept.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "seven bits are left")]
    const fn slot(self) -> usize {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.0 ^ self.1.rotate_left(20)).wrapping_mul(SPREAD);
        (mixed >> (64 - KEPT.trailing_zeros())) as usize
    }
}

/// Tells kinds, and remembers.
#[derive(Clone, Debug)]
pub struct Classifier {
    answers: [Answer; KEPT],
    /// The allocation of pages is watched: its absence means something.
    allocations: bool,
}

impl Classifier {
    /// `allocations` says whether the tracepoint backend's allocation marks are
    /// to be had; the other backends' evidence does not depend on it.
    pub const fn new(allocations: bool) -> Self {
        let empty = Answer { key: Key::NEVER, kind: Kind::Other };
        Self { answers: [empty; KEPT], allocations }
    }

    /// The kind of a fault in a region of this nature, where the like of it was
    /// told before.
    #[inline]
    pub fn recall(&self, fault: &Fault, nature: u16) -> Option<Kind> {
        let key = Key::of(fault, nature);
        let answer = &self.answers[key.slot()];
        if answer.key == key { Some(answer.kind) } else { None }
    }

    /// The kind of a fault; recalled from now on, unless it depends on the address.
    pub fn learn(&mut self, fault: &Fault, around: Surroundings) -> Kind {
        let facts = Facts::of(fault, around, self.allocations);
        let kind = rules::first(facts);
        if !facts.failed() {
            let key = Key::of(fault, around.nature);
            self.answers[key.slot()] = Answer { key, kind };
        }
        kind
    }
}

/// The nature to classify by: the fault's own where the kernel side saw the
/// region, else the one of the region found by its address.
#[inline]
pub const fn nature_of(fault: &Fault, found: u16) -> u16 {
    if fault.nature & nature::KNOWN != 0 { fault.nature } else { found }
}

#[cfg(test)]
mod tests;
