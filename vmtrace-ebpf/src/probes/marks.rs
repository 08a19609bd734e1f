//! The paths a fault takes on its way, each of which leaves a mark. They run on
//! those paths only, so a common fault pays nothing for them.
//!
//! Every mark has a program for the `fentry` backend and one for `kprobe`, which
//! is tried under the function's other names too where kernels differ: the table
//! in `vmtrace::probe::backend` lists them.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use vmtrace_common::evidence::{mark, ret};

use crate::{
    config::read,
    inflight,
    kernel::{Direct, Helper, Read},
};

/// Page-table entry bits.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/pgtable_types.h>
mod pte {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITABLE: u64 = 1 << 1;
    /// In private memory, only the zero page's entry is special.
    pub(super) const SPECIAL: u64 = 1 << 9;
    pub(super) const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// Where an entry that is not present keeps its swap type.
    pub(super) const SWAP_TYPE_SHIFT: u32 = 59;
    /// The lowest of the types that are not swap devices but migration, device
    /// memory, poison or a marker, with all of those configured.
    ///
    /// <https://elixir.bootlin.com/linux/v6.12/source/include/linux/swap.h#L110>
    pub(super) const NOT_SWAP: u64 = 23;
}

/// A mark that needs to know nothing but that its function was entered.
macro_rules! entered {
    ($($(#[$doc:meta])* $function:literal => $fentry:ident, $kprobe:ident: $mark:expr;)*) => {$(
        $(#[$doc])*
        #[fentry(function = $function)]
        pub(crate) fn $fentry(_ctx: FEntryContext) -> i32 {
            inflight::mark($mark);
            0
        }

        $(#[$doc])*
        #[kprobe(function = $function)]
        pub(crate) fn $kprobe(_ctx: ProbeContext) -> u32 {
            inflight::mark($mark);
            0
        }
    )*};
}

entered! {
    /// `do_huge_pmd_wp_page(vmf)`
    "do_huge_pmd_wp_page" => huge_write, huge_write_kprobe: mark::HUGE_WRITE_PROTECT;
    /// `task_numa_fault(last_cpupid, mem_node, pages, flags)`
    "task_numa_fault" => numa_hint, numa_hint_kprobe: mark::NUMA_HINT;
    /// `handle_userfault(vmf, reason)`
    "handle_userfault" => userfault, userfault_kprobe: mark::USERFAULT;
    /// `migration_entry_wait(mm, pmd, address)`
    "migration_entry_wait" => migration, migration_kprobe: mark::MIGRATION;
    /// `pmd_migration_entry_wait(mm, pmd)`
    "pmd_migration_entry_wait" => migration_huge, migration_huge_kprobe: mark::MIGRATION;
    /// `hugetlb_wp(…)`, `hugetlb_cow(…)` before 6.0
    "hugetlb_wp" => hugetlb_write, hugetlb_write_kprobe: mark::HUGETLB_WRITE_PROTECT;
    /// `ptep_set_access_flags(vma, address, ptep, entry, dirty)`
    "ptep_set_access_flags" => access, access_kprobe: mark::ACCESS_ONLY;
    /// `pmdp_set_access_flags(vma, address, pmdp, entry, dirty)`
    "pmdp_set_access_flags" => access_huge, access_huge_kprobe: mark::ACCESS_ONLY;
}

/// `do_swap_page(vmf)`
#[fentry(function = "do_swap_page")]
pub(crate) fn swap(ctx: FEntryContext) -> i32 {
    swap_entry::<Direct>(ctx.arg(0));
    0
}

/// `do_swap_page(vmf)`
#[kprobe(function = "do_swap_page")]
pub(crate) fn swap_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(vmf) = ctx.arg(0) {
        swap_entry::<Helper>(vmf);
    }
    0
}

/// A call is not a swap-in: the entry says whether it names a slot.
#[inline(always)]
fn swap_entry<R: Read>(vmf: u64) {
    if let Some(thread) = inflight::open_fault() {
        let entry = read!(R: u64, vmf, fault_orig_pte);
        if entry >> pte::SWAP_TYPE_SHIFT < pte::NOT_SWAP {
            thread.marks |= mark::SWAP;
        }
    }
}

/// `do_wp_page(vmf) = ret`
#[fexit(function = "do_wp_page")]
pub(crate) fn write_protect(ctx: FExitContext) -> i32 {
    written::<Direct>(ctx.arg(0));
    0
}

/// `do_wp_page(vmf)`
#[kprobe(function = "do_wp_page")]
pub(crate) fn write_protect_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(thread), Some(vmf)) = (inflight::open_fault(), ctx.arg(0)) {
        thread.kept_mark = vmf;
    }
    0
}

/// `do_wp_page(…) = ret`
#[kretprobe(function = "do_wp_page")]
pub(crate) fn write_protect_kretprobe(_ctx: RetProbeContext) -> u32 {
    if let Some(thread) = inflight::open_fault() {
        written::<Helper>(thread.kept_mark);
    }
    0
}

/// Compares the entry with what it was: what `do_wp_page` returns means
/// something else in every other kernel.
#[inline(always)]
fn written<R: Read>(vmf: u64) {
    let Some(thread) = inflight::open_fault() else {
        return;
    };
    let before = read!(R: u64, vmf, fault_orig_pte);
    let mut marks = mark::WRITE_PROTECT;
    if before & pte::SPECIAL != 0 {
        marks |= mark::ZERO_PAGE;
    }
    let entry = read!(R: u64, vmf, fault_pte);
    if entry != 0 {
        let after = R::word(entry);
        if after & pte::PRESENT != 0 {
            if (after ^ before) & pte::FRAME != 0 {
                marks |= mark::COPIED;
            } else if after & pte::WRITABLE != 0 {
                marks |= mark::REUSED;
            }
        }
    }
    thread.marks |= marks;
}

/// `do_huge_pmd_anonymous_page(vmf) = ret`
#[fexit(function = "do_huge_pmd_anonymous_page")]
pub(crate) fn huge(ctx: FExitContext) -> i32 {
    installed(ctx.arg::<u64>(1) as u16);
    0
}

/// `do_huge_pmd_anonymous_page(…) = ret`
#[kretprobe(function = "do_huge_pmd_anonymous_page")]
pub(crate) fn huge_kretprobe(ctx: RetProbeContext) -> u32 {
    installed(ctx.ret::<u64>() as u16);
    0
}

#[inline(always)]
fn installed(answer: u16) {
    if answer & (ret::ERROR | ret::RETRY) == 0 {
        inflight::mark(mark::HUGE);
    }
}

/// `kmem:mm_page_alloc(page, order, gfp_flags, migratetype)`: the `tracepoint`
/// backend's witness that a page was allocated for user space in between.
#[raw_tracepoint(tracepoint = "mm_page_alloc")]
pub(crate) fn page_alloc(ctx: RawTracePointContext) -> i32 {
    /// `__GFP_HIGHMEM | __GFP_MOVABLE`: pages for user space, not page tables.
    const USER_PAGE: u64 = 0x0a;
    /// 2 MiB.
    const HUGE_ORDER: u64 = 9;
    if ctx.arg::<u64>(2) & USER_PAGE != USER_PAGE || ctx.arg::<u64>(0) == 0 {
        return 0;
    }
    let huge = (ctx.arg::<u64>(1) & 0xffff_ffff) >= HUGE_ORDER;
    inflight::mark(if huge { mark::ALLOCATED_HUGE } else { mark::ALLOCATED });
    0
}
