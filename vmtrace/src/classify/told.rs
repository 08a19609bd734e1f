//! How each kind is told, in sentences: what `docs/kinds.md` holds and
//! `vmtrace doctor` explains. One row a kind.

use std::fmt::Write as _;

use crate::fault::Kind;

/// How one kind is told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The kind.
    pub kind: Kind,
    /// By `fentry` and `kprobe`, which leave marks.
    pub by_marks: &'static str,
    /// By `tracepoint`, which has the error code, the region and what was allocated.
    pub by_events: &'static str,
    /// What `tracepoint` reports instead, where it cannot tell it.
    pub merged: &'static [Kind],
}

macro_rules! told {
    ($($kind:ident: $marks:literal, $events:literal, [$($merged:ident)*];)*) => {
        &[$(Told {
            kind: Kind::$kind,
            by_marks: $marks,
            by_events: $events,
            merged: &[$(Kind::$merged,)*],
        },)*]
    };
}

/// What a kind whose end is a signal or a fix-up is told by on every backend.
pub const SAME: &str = "the same";

/// All kinds, in the order of [`Kind::ALL`].
#[rustfmt::skip]
pub const TOLD: &[Told] = told! {
    AnonZero: "anonymous region, write, no other mark", "anonymous region, page not present, and a page was allocated", [];
    AnonRead: "anonymous region, read, no other mark", "anonymous region, page not present, read, nothing allocated", [];
    FileMap: "file region, read, no other mark", "file region, read, counted as minor", [];
    FileMkwrite: "shared file region, write: through `do_wp_page` or with the page not present", "shared file region, write", [];
    Shmem: "shared-memory region, no other mark", "shared-memory region, counted as minor", [];
    SwapCache: "`do_swap_page` on a slot in swap, counted as minor", "not told: nothing was allocated", [Other AnonRead FileMap];
    Thp: "anonymous region, write, a huge page was installed", "anonymous region, and a huge page was allocated", [];
    ThpZero: "anonymous region, read, a huge page was installed", "not told: nothing was allocated", [AnonRead];
    Hugetlb: "hugetlbfs region, no other mark", "hugetlbfs region, counted as minor", [];
    NumaHint: "`do_numa_page` or `do_huge_pmd_numa_page`", "not told: the processor sees a page that is not present, and one is allocated if it is moved", [Other AnonZero AnonRead Thp CowFile FileMap Shmem];
    Migration: "`do_swap_page` on a migration entry", "not told: the processor sees a page that is not present", [Other AnonRead FileMap Shmem];
    Userfault: "`handle_userfault`, counted as minor", "not told: the pager's page counts as any other", [AnonZero AnonRead Other Shmem];
    Device: "device region, or `do_swap_page` on a device's entry", "device region, counted as minor; entries of device memory in other regions are not told", [];
    Spurious: "the entry was good and only its access bits were set, or the page was present and no path left a mark", "page present, read; who lost a race for a page saw it not present", [CowReuse Other AnonRead FileMap Shmem];
    Other: "the region is not known, or the entry was a marker", "the region is not known, or a write to a page that was not present allocated nothing", [];
    FileRead: "file region, counted as major", "file region, counted as major", [];
    SwapIn: "`do_swap_page` on a slot in swap, counted as major", "anonymous region, counted as major; in a private file region it counts as `file-read`", [FileRead ShmemSwapIn];
    ShmemSwapIn: "shared-memory region, counted as major", "shared-memory region, counted as major", [];
    HugetlbMajor: "hugetlbfs region, counted as major", "hugetlbfs region, counted as major", [];
    UserfaultMajor: "`handle_userfault`, counted as major because the fault was tried again with `FAULT_FLAG_TRIED`", "not told", [SwapIn FileRead ShmemSwapIn];
    OtherMajor: "counted as major, and none of the above; or a write to a shared mapping, major only because it was tried again", "the region is not known or a device, counted as major", [FileRead ShmemSwapIn];
    CowCopy: "`do_wp_page`, and the entry points at another frame", "private region, page present, write, and a page was allocated", [];
    CowReuse: "`do_wp_page`, and the entry points at the same frame or nothing is known of it", "private region, page present, write, nothing allocated", [];
    CowZero: "`do_wp_page`, and the frame before was the zero page", "not told: a page was allocated", [CowCopy CowThp];
    CowFile: "private file region, write, page not present", "private file region, write, page not present, and a page was allocated", [];
    CowThp: "`do_huge_pmd_wp_page`", "private region, page present, write, and a huge page was allocated; a huge page that is split for the copy is `cow-copy`", [CowCopy CowReuse];
    CowHugetlb: "private hugetlbfs region, page present, write", "private hugetlbfs region, page present, write", [];
    CowUnshare: "`FAULT_FLAG_UNSHARE` and a write-protect path", "not seen: pins take no exception", [];
    Unmapped: "SIGSEGV with `SEGV_MAPERR`", "the same", [];
    Null: "`unmapped` below 64 KiB", "the same", [];
    StackOverflow: "`unmapped` within 1 MiB below a region that grows down", "the same", [];
    Protection: "SIGSEGV with `SEGV_ACCERR`", "the same", [];
    Pkey: "SIGSEGV with `SEGV_PKUERR`", "the same", [];
    BusBeyondEof: "SIGBUS, or `VM_FAULT_SIGBUS`, and not hardware poison", "the same", [];
    Hwpoison: "SIGBUS with `BUS_MCEERR_AR` or `BUS_MCEERR_AO`, or `VM_FAULT_HWPOISON`", "the same, by the signal", [];
    KernelEfault: "a kernel-mode access that ended in the exception table", "not seen: no event says how it ended", [];
    NonCanonical: "SIGSEGV from #GP (`SI_KERNEL`), with no page fault before it", "the same", [];
    Oom: "`VM_FAULT_OOM`", "not seen: no event says so", [];
};

/// The kinds that the tracepoint backend does not report at all. Nor does it
/// report any fault without an exception.
pub const UNSEEN: &[Kind] = &[Kind::CowUnshare, Kind::KernelEfault, Kind::Oom];

/// The kinds that the tracepoint backend reports as others.
pub fn merged() -> impl Iterator<Item = &'static Told> {
    TOLD.iter().filter(|told| !told.merged.is_empty())
}

/// The table of `docs/kinds.md`.
pub fn table() -> String {
    let mut text = String::from(
        "| class | kind | means | told by `fentry` and `kprobe` | told by `tracepoint` | there reported as |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for told in TOLD {
        let merged: Vec<_> = told.merged.iter().map(|kind| format!("`{kind}`")).collect();
        let cells = [
            told.kind.class().name(),
            &format!("`{}`", told.kind),
            told.kind.meaning(),
            told.by_marks,
            told.by_events,
            &merged.join(", "),
        ];
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_in_order() {
        assert!(TOLD.iter().map(|told| told.kind).eq(Kind::ALL));
    }

    #[test]
    fn what_is_not_seen_says_so() {
        let says = TOLD.iter().filter(|told| told.by_events.starts_with("not seen"));
        assert!(says.map(|told| told.kind).eq(UNSEEN.iter().copied()));
    }

    #[test]
    fn the_documentation_says_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kinds.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(&table()), "docs/kinds.md should hold:\n{}", table());
    }
}
