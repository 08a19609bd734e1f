//! TLB flushes of traced threads: summed by reason, sent one by one on request.

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP, macros::raw_tracepoint, programs::RawTracePointContext,
};
use vmtrace_common::record::{TLB_REASONS, Tlb, tag};

use crate::{
    config::enabled,
    emit,
    maps::{FLUSHES, count},
    target::{self, Ids},
};

/// `tlb:tlb_flush(reason, pages)`
///
/// A remote shootdown arrives in an interrupt, maybe in the middle of this very
/// program: hence the atomic additions.
#[raw_tracepoint(tracepoint = "tlb_flush")]
pub(crate) fn tlb_flush(ctx: RawTracePointContext) -> i32 {
    let Some((_, thread)) = target::current() else {
        return 0;
    };
    if thread.tid == 0 {
        // The idle task's.
        return 0;
    }
    let reason = ctx.arg::<u64>(0) as u32;
    let pages: u64 = ctx.arg(1);
    if reason as usize >= TLB_REASONS {
        return 0;
    }
    // SAFETY: fields of a map value, touched atomically only.
    unsafe {
        add((&raw mut thread.flushes).cast::<u64>().add(reason as usize), 1);
        if pages == u64::MAX {
            add(&raw mut thread.full_flushes, 1);
        } else {
            add(&raw mut thread.pages, pages);
        }
    }
    if enabled!(tlb_events) {
        send(Ids::of(thread), reason, pages);
    }
    0
}

/// # Safety
///
/// `to` must be valid, aligned, and only ever touched atomically.
#[inline(always)]
unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `to`. The target has no `AtomicU64::fetch_add`;
    // this form, which fetches nothing, is as old as 5.10 needs.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) to, in(reg) value) };
}

#[inline(always)]
fn send(ids: Ids, reason: u32, pages: u64) {
    let Some(mut entry) = FLUSHES.reserve::<Tlb>(0) else {
        count!(unsent_tlb);
        return;
    };
    let now = emit::now();
    entry.write(Tlb {
        header: emit::header::<Tlb>(tag::TLB, ids, now),
        pages,
        reason,
        reserved: 0,
    });
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}
