//! The end of a fault where `handle_mm_fault` cannot be probed: the software
//! events PAGE_FAULTS_MIN and PAGE_FAULTS_MAJ, which fire in `mm_account_fault`
//! right after the kernel has counted the fault.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/mm/memory.c#L5799>

use aya_ebpf::{EbpfContext as _, macros::perf_event, programs::PerfEventContext};
use vmtrace_common::{
    config::lane,
    evidence::{end, ret},
    thread::state,
};

use crate::{emit, inflight::Noted, target};

/// `bpf_perf_event_data`, part of the user-space ABI: registers, period, address.
const IP: usize = 128;
const ADDRESS: usize = 168 + 8;

/// A fault that needed no I/O.
#[perf_event]
pub(crate) fn minor_event(ctx: PerfEventContext) -> i32 {
    ended(lane::END, &ctx, 0);
    0
}

/// A fault that did.
#[perf_event]
pub(crate) fn major_event(ctx: PerfEventContext) -> i32 {
    ended(lane::MAJOR, &ctx, ret::MAJOR);
    0
}

#[inline(always)]
fn ended(lane: u32, ctx: &PerfEventContext, ret: u16) {
    let Some((task, thread)) = target::current() else {
        return;
    };
    if thread.state != state::OPEN {
        return;
    }
    let ctx = ctx.as_ptr().cast::<u8>();
    // SAFETY: both lie within the context, as the verifier checks.
    let (ip, address) = unsafe {
        (
            core::ptr::read_volatile(ctx.add(IP).cast::<u64>()),
            core::ptr::read_volatile(ctx.add(ADDRESS).cast::<u64>()),
        )
    };
    let event = Noted { address, ip, ret, end: end::EVENT, signal: 0 };
    emit::finish(lane, task, thread, emit::now(), &event);
}
