//! The table: the first row whose facts all hold, and whose exceptions do not,
//! names the kind. `docs/kinds.md` says the same in sentences.
//!
//! The order is the precedence: invalid, then major, then copy-on-write, then
//! minor. The last rows leave nothing unanswered.

use super::facts::Facts;
use crate::fault::Kind;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    kind: Kind,
    all: Facts,
    none: Facts,
}

impl Rule {
    /// The kind it names.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    const fn holds(&self, facts: Facts) -> bool {
        facts.0 & (self.all.0 | self.none.0) == self.all.0
    }
}

/// The first rule that holds.
pub fn first(facts: Facts) -> Kind {
    RULES.iter().find(|rule| rule.holds(facts)).map_or(Kind::Other, |rule| rule.kind)
}

macro_rules! rules {
    ($($kind:ident: $($all:ident)* $(, not $($none:ident)+)?;)*) => {
        &[$(Rule {
            kind: Kind::$kind,
            all: Facts::NONE$(.and(Facts::$all))*,
            none: Facts::NONE$($(.and(Facts::$none))+)?,
        },)*]
    };
}

/// All rows.
pub const RULES: &[Rule] = rules! {
    // Invalid: it failed, and nobody counted it.
    Oom: OOM;
    NonCanonical: TRAP;
    KernelEfault: FIXUP;
    Hwpoison: BROKEN;
    Hwpoison: FAILED POISON_ENTRY;
    BusBeyondEof: BUS;
    Pkey: PKUERR;
    Protection: ACCERR;
    Null: MAPERR NULL_PAGE;
    StackOverflow: MAPERR BELOW_STACK;
    Unmapped: MAPERR;
    // A failure whose signal does not say why: the processor does.
    Protection: FAILED PRESENT;
    Null: FAILED NULL_PAGE;
    StackOverflow: FAILED BELOW_STACK;
    Unmapped: FAILED;

    // Major: what the kernel counts in maj_flt.
    SwapIn: MAJOR SWAP;
    UserfaultMajor: MAJOR USERFAULT;
    // Before 6.0 a first write to a shared mapping asks to be tried again when it
    // is done (`fault_dirty_shared_page`): nothing was read.
    OtherMajor: MAJOR TRIED_AGAIN WRITE SHARED FILE;
    OtherMajor: MAJOR TRIED_AGAIN WRITE SHARED SHMEM;
    FileRead: MAJOR FILE;
    ShmemSwapIn: MAJOR SHMEM;
    HugetlbMajor: MAJOR HUGETLB;
    SwapIn: MAJOR ANON EVENTS;
    OtherMajor: MAJOR;

    // The tracepoint backend: no marks, only what was allocated in between.
    CowHugetlb: EVENTS HUGETLB PRESENT WRITE, not SHARED;
    Hugetlb: EVENTS HUGETLB;
    Other: EVENTS UNPLACED;
    Spurious: EVENTS PRESENT, not WRITE;
    FileMkwrite: EVENTS FILE SHARED WRITE;
    Shmem: EVENTS SHMEM SHARED;
    Device: EVENTS DEVICE SHARED;
    CowThp: EVENTS PRESENT WRITE ALLOCATED_HUGE;
    CowCopy: EVENTS PRESENT WRITE ALLOCATED;
    CowCopy: EVENTS PRESENT WRITE, not ALLOCATIONS;
    CowReuse: EVENTS PRESENT WRITE;
    Device: EVENTS DEVICE;
    Thp: EVENTS ANON ALLOCATED_HUGE;
    AnonZero: EVENTS ANON ALLOCATED;
    AnonRead: EVENTS ANON, not WRITE;
    AnonZero: EVENTS ANON, not ALLOCATIONS;
    Other: EVENTS ANON;
    CowFile: EVENTS WRITE ALLOCATED;
    CowFile: EVENTS WRITE, not ALLOCATIONS;
    Other: EVENTS WRITE;
    FileMap: EVENTS FILE;
    Shmem: EVENTS SHMEM;

    // Copy-on-write, by the marks. A shared mapping never copies.
    CowUnshare: UNSHARE WRITE_PROTECT;
    CowUnshare: UNSHARE HUGE_WRITE_PROTECT;
    CowUnshare: UNSHARE HUGETLB_WRITE_PROTECT;
    Hugetlb: HUGETLB_WRITE_PROTECT SHARED;
    CowHugetlb: HUGETLB_WRITE_PROTECT PRESENT;
    // hugetlb_no_page calls the same function for a private page just made.
    Hugetlb: HUGETLB_WRITE_PROTECT;
    FileMkwrite: WRITE_PROTECT FILE SHARED;
    Shmem: WRITE_PROTECT SHMEM SHARED;
    Device: WRITE_PROTECT DEVICE SHARED;
    CowZero: WRITE_PROTECT ZERO_PAGE;
    CowZero: HUGE_WRITE_PROTECT ZERO_PAGE;
    CowThp: HUGE_WRITE_PROTECT COPIED;
    CowCopy: WRITE_PROTECT COPIED;
    // A pager that was asked first explains more than what it allowed.
    Userfault: USERFAULT;
    FileMkwrite: HUGE_WRITE_PROTECT FILE SHARED;
    Shmem: HUGE_WRITE_PROTECT SHMEM SHARED;
    CowThp: HUGE_WRITE_PROTECT;
    CowReuse: WRITE_PROTECT;
    CowFile: DONE_COW;

    // Minor, by the marks.
    SwapCache: SWAP;
    Migration: MIGRATION;
    Device: DEVICE_ENTRY;
    Other: POISON_ENTRY;
    NumaHint: NUMA_HINT;
    Thp: HUGE ANON WRITE;
    ThpZero: HUGE ANON;
    // Where `hugetlb_wp` is inlined (6.1), the processor says what it would.
    Hugetlb: HUGETLB, not PRESENT;
    CowHugetlb: HUGETLB PRESENT WRITE, not SHARED;
    Spurious: ACCESS_ONLY;

    // Minor, by the region.
    FileMkwrite: FILE SHARED WRITE;
    Device: DEVICE, not PRESENT;
    Spurious: PRESENT;
    CowFile: FILE WRITE;
    CowFile: SHMEM WRITE, not SHARED;
    FileMap: FILE;
    Shmem: SHMEM;
    AnonZero: ANON WRITE;
    AnonRead: ANON;
    Other:;
};
