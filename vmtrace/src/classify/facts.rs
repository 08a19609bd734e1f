//! A fault's evidence as one word of yes-or-no facts, so that a rule is a mask.

use vmtrace_common::evidence::{end, error, flag, mark, nature, origin, ret};
use vmtrace_common::record::Fault;

use super::Surroundings;

const SIGBUS: u8 = 7;
const SIGSEGV: u8 = 11;
const SEGV_MAPERR: u8 = 1;
const SEGV_ACCERR: u8 = 2;
const SEGV_PKUERR: u8 = 4;
const BUS_MCEERR_AR: u8 = 4;
const BUS_MCEERR_AO: u8 = 5;

/// Addresses below this are taken for a null pointer with an offset.
pub const NULL_BELOW: u64 = 64 << 10;

/// Facts that hold, one bit each. The low 16 are the [`mark`]s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Facts(pub u64);

macro_rules! facts {
    ($($(#[doc = $doc:literal])+ $name:ident $bit:literal,)*) => {
        impl Facts {
            $($(#[doc = $doc])+ pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &[(&str, u64)] = &[$((stringify!($name), 1 << $bit),)*];
        }
    };
}

facts! {
    /// Through `do_wp_page`.
    WRITE_PROTECT 0,
    /// The page was copied.
    COPIED 1,
    /// The page was made writable.
    REUSED 2,
    /// The page before was the zero page.
    ZERO_PAGE 3,
    /// Through `do_swap_page` with a slot in swap.
    SWAP 4,
    /// A page in migration.
    MIGRATION 5,
    /// A device's entry.
    DEVICE_ENTRY 6,
    /// A poisoned entry.
    POISON_ENTRY 7,
    /// A huge page was installed.
    HUGE 8,
    /// A huge page was write-protected.
    HUGE_WRITE_PROTECT 9,
    /// A NUMA hint.
    NUMA_HINT 10,
    /// A user-space pager was asked.
    USERFAULT 11,
    /// A hugetlb page was write-protected.
    HUGETLB_WRITE_PROTECT 12,
    /// Only access bits were set.
    ACCESS_ONLY 13,
    /// A page was allocated in between.
    ALLOCATED 14,
    /// A huge page was allocated in between.
    ALLOCATED_HUGE 15,
    /// The region is anonymous.
    ANON 16,
    /// The region is a file.
    FILE 17,
    /// The region is shared memory.
    SHMEM 18,
    /// The region is hugetlbfs.
    HUGETLB 19,
    /// The region is a device.
    DEVICE 20,
    /// The region is not known.
    UNPLACED 21,
    /// The mapping is shared.
    SHARED 22,
    /// The page was present.
    PRESENT 24,
    /// The access was a write.
    WRITE 25,
    /// A pin wanted a page of its own.
    UNSHARE 26,
    /// The kernel counts it in `maj_flt`.
    MAJOR 27,
    /// The file's handler copied by itself.
    DONE_COW 28,
    /// No exception was taken.
    GUP 29,
    /// Major only because it was tried again: no call of the handler said so.
    TRIED_AGAIN 30,
    /// The kernel had no memory.
    OOM 32,
    /// The kernel found broken memory.
    BROKEN 33,
    /// It ended in SIGBUS.
    BUS 34,
    /// It failed with no better reason.
    FAILED 35,
    /// Another exception than a page fault.
    TRAP 36,
    /// It ended in an exception-table fix-up.
    FIXUP 37,
    /// SIGSEGV: nothing mapped.
    MAPERR 38,
    /// SIGSEGV: access forbidden.
    ACCERR 39,
    /// SIGSEGV: forbidden by a protection key.
    PKUERR 40,
    /// The address is below 64 KiB.
    NULL_PAGE 41,
    /// The address is at a stack's guard gap.
    BELOW_STACK 42,
    /// The evidence is that of the tracepoint backend: no marks but allocation.
    EVENTS 48,
    /// That backend watches allocations.
    ALLOCATIONS 49,
}

const _: () = assert!(Facts::WRITE_PROTECT.0 == mark::WRITE_PROTECT as u64);
const _: () = assert!(Facts::ALLOCATED_HUGE.0 == mark::ALLOCATED_HUGE as u64);

impl Facts {
    /// None.
    pub const NONE: Self = Self(0);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn when(self, holds: bool) -> u64 {
        if holds { self.0 } else { 0 }
    }

    /// Whether the address may matter.
    pub const fn failed(self) -> bool {
        self.0 & Self::FAILED.0 != 0
    }

    /// The facts about one fault.
    pub fn of(fault: &Fault, around: Surroundings, allocations: bool) -> Self {
        let major = fault.ret & ret::MAJOR != 0 || fault.flags & flag::TRIED != 0;
        let write = fault.error & error::WRITE != 0 || fault.flags & flag::WRITE != 0;
        Self(
            u64::from(fault.marks)
                | Self::place(around.nature)
                | Self::PRESENT.when(fault.error & error::PRESENT != 0)
                | Self::WRITE.when(write)
                | Self::UNSHARE.when(fault.flags & flag::UNSHARE != 0)
                | Self::MAJOR.when(major)
                | Self::TRIED_AGAIN.when(major && fault.ret & ret::MAJOR == 0)
                | Self::DONE_COW.when(fault.ret & ret::DONE_COW != 0)
                | Self::GUP.when(fault.origin() == origin::GUP)
                | Self::failure(fault)
                | Self::NULL_PAGE.when(fault.address < NULL_BELOW)
                | Self::BELOW_STACK.when(around.below_stack)
                | Self::EVENTS.when(fault.end() == end::EVENT)
                | Self::ALLOCATIONS.when(allocations),
        )
    }

    fn place(nature: u16) -> u64 {
        if nature & nature::KNOWN == 0 {
            return Self::UNPLACED.0;
        }
        let backing = if nature & nature::HUGETLB != 0 {
            Self::HUGETLB
        } else if nature & nature::SHMEM != 0 {
            Self::SHMEM
        } else if nature & nature::DEVICE != 0 {
            Self::DEVICE
        } else if nature & nature::FILE != 0 {
            Self::FILE
        } else {
            Self::ANON
        };
        backing.0 | Self::SHARED.when(nature & nature::SHARED != 0)
    }

    fn failure(fault: &Fault) -> u64 {
        let broken = ret::HWPOISON | ret::HWPOISON_LARGE;
        let answered = Self::OOM.when(fault.ret & ret::OOM != 0)
            | Self::BROKEN.when(fault.ret & broken != 0)
            | Self::BUS.when(fault.ret & ret::SIGBUS != 0)
            | Self::FAILED.when(fault.ret & ret::ERROR != 0)
            | Self::TRAP.when(fault.origin() == origin::TRAP)
            | Self::FIXUP.when(fault.end() == end::FIXUP);
        if fault.end() != end::SIGNAL && fault.signal == 0 {
            return answered;
        }
        let signalled = match (fault.signal, fault.code) {
            (SIGSEGV, SEGV_MAPERR) => Self::MAPERR,
            (SIGSEGV, SEGV_ACCERR) => Self::ACCERR,
            (SIGSEGV, SEGV_PKUERR) => Self::PKUERR,
            (SIGBUS, BUS_MCEERR_AR | BUS_MCEERR_AO) => Self::BROKEN,
            (SIGBUS, _) => Self::BUS,
            _ => Self::NONE,
        };
        answered | signalled.0 | Self::FAILED.0
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = Self::NAMES.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(name, _)| name);
        f.debug_set().entries(held).finish()
    }
}
