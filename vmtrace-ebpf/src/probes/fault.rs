//! A fault's beginning (the exception) and its end (`handle_mm_fault`'s return).

use core::{arch::asm, ptr::null_mut};

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use vmtrace_common::{
    config::lane,
    evidence::{end, error, flag, origin, ret},
    thread::{Thread, state},
};

use crate::{
    config::at,
    emit::{self, Ending},
    inflight,
    kernel::{Direct, Helper, Read, probe},
    maps::count,
    target::{self, Ids},
    vma,
};

/// `exceptions:page_fault_user(address, regs, error_code)`
#[raw_tracepoint(tracepoint = "page_fault_user")]
pub(crate) fn fault_user(ctx: RawTracePointContext) -> i32 {
    if let Some((ids, thread)) = target::current() {
        let error = ctx.arg::<u64>(2) as u16;
        inflight::open(lane::START_USER, ids, thread, ctx.arg(0), error, origin::USER);
    }
    0
}

/// `exceptions:page_fault_kernel(address, regs, error_code)`
///
/// Only user addresses count, and only where the access may sleep: elsewhere
/// the exception goes to its fix-up without being a fault to anybody.
#[raw_tracepoint(tracepoint = "page_fault_kernel")]
pub(crate) fn fault_kernel(ctx: RawTracePointContext) -> i32 {
    let address: u64 = ctx.arg(0);
    if address >> 63 != 0 {
        return 0;
    }
    if let Some((ids, thread)) = target::current() {
        if inflight::is_atomic(ids) {
            count!(atomic);
            return 0;
        }
        let error = ctx.arg::<u64>(2) as u16;
        inflight::open(lane::START_KERNEL, ids, thread, address, error, origin::KERNEL);
    }
    0
}

/// `handle_mm_fault(vma, address, flags, regs)`
///
/// Where the three that follow cannot all be had: every fault of every process
/// pays for this one.
#[fentry(function = "handle_mm_fault")]
pub(crate) fn handle_enter(ctx: FEntryContext) -> i32 {
    enter::<Direct>(ctx.arg(0), ctx.arg(1), ctx.arg::<u64>(2) as u16, ctx.arg(3));
    0
}

/// `fault_dirty_shared_page(vmf)`: the fault may end COMPLETED, with the lock of
/// its region gone.
#[fentry(function = "fault_dirty_shared_page")]
pub(crate) fn shared_write(ctx: FEntryContext) -> i32 {
    if let Some((ids, thread)) = target::current() {
        // SAFETY: a map value of our own thread's, which nobody else writes.
        let thread = unsafe { &mut *thread };
        if thread.state != state::IDLE {
            let vma = Direct::u64(ctx.arg(0), at!(fault_vma));
            keep_region::<Direct>(ids, thread, vma);
        }
    }
    0
}

/// `follow_page_mask(vma, address, …)`, or `follow_page_pte(vma, address, …)`
/// where that is inlined: `get_user_pages` looks whether a page is there.
#[fentry(function = "follow_page_mask")]
pub(crate) fn gup_look(ctx: FEntryContext) -> i32 {
    if let Some((ids, thread)) = target::current() {
        inflight::look(lane::START_GUP, ids, thread, ctx.arg(1));
    }
    0
}

/// `no_page_table(vma, flags, address)`: it finds not even a page table. Only
/// where `follow_page_mask` is inlined.
#[fentry(function = "no_page_table")]
pub(crate) fn gup_look_table(ctx: FEntryContext) -> i32 {
    if let Some((ids, thread)) = target::current() {
        inflight::look(lane::START_GUP_TABLE, ids, thread, ctx.arg(2));
    }
    0
}

/// `handle_mm_fault(vma, address, flags, regs) = ret`
#[fexit(function = "handle_mm_fault")]
pub(crate) fn handle_leave(ctx: FExitContext) -> i32 {
    let Some((ids, thread)) = target::current() else {
        return 0;
    };
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    let regs: u64 = ctx.arg(3);
    let call = Call {
        address: ctx.arg(1),
        ip: if regs == 0 { 0 } else { Direct::u64(regs, at!(regs_ip)) },
        flags: ctx.arg::<u64>(2) as u16,
        ret: ctx.arg::<u64>(4) as u16,
        vma: ctx.arg(0),
        taken: regs != 0,
    };
    let end = if is_begun(thread, &call) {
        end::RETURN
    } else {
        if call.ret & ret::RETRY != 0
            || !inflight::begin_unseen(thread, call.address, call.flags, call.taken)
        {
            return 0;
        }
        end::RECONSTRUCTED
    };
    leave::<Direct>(ids, thread, &call, opaque(end));
    0
}

/// Whether the beginning of the fault that this call serves was seen. That
/// `get_user_pages` looked for a page is the beginning of that page's fault, and
/// of no other.
#[inline(always)]
fn is_begun(thread: &mut Thread, call: &Call) -> bool {
    if thread.state != state::LOOKING {
        return thread.state != state::IDLE;
    }
    if call.taken || thread.address >> 12 != call.address >> 12 {
        return false;
    }
    thread.state = state::OPEN;
    thread.error = (call.flags & flag::WRITE) << 1;
    true
}

const _: () = assert!(flag::WRITE << 1 == error::WRITE);

/// A value of which the compiler knows nothing: it would make a copy of all that
/// follows for each value that it knows, and the verifier would read them all.
#[inline(always)]
fn opaque(value: u8) -> u8 {
    let mut value = u64::from(value);
    // SAFETY: arithmetic on a register that changes nothing.
    unsafe { asm!("{0} |= 0", inout(reg) value) };
    value as u8
}

/// `handle_mm_fault(vma, address, flags, regs)`
#[kprobe(function = "handle_mm_fault")]
pub(crate) fn handle_enter_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(vma), Some(address), Some(flags), Some(regs)) =
        (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2), ctx.arg::<u64>(3))
    else {
        return 0;
    };
    let thread = enter::<Helper>(vma, address, flags as u16, regs);
    if thread.is_null() {
        return 0;
    }
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    // The return probe sees no arguments: keep what it needs.
    if thread.state != state::IDLE {
        thread.kept = vma;
        thread.address = address;
        thread.flags = flags as u16;
        thread.ip = if regs == 0 { 0 } else { probe(regs, at!(regs_ip)) };
    }
    0
}

/// `handle_mm_fault(…) = ret`
#[kretprobe(function = "handle_mm_fault")]
pub(crate) fn handle_leave_kprobe(ctx: RetProbeContext) -> u32 {
    let Some((ids, thread)) = target::current() else {
        return 0;
    };
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    let call = Call {
        address: thread.address,
        ip: thread.ip,
        flags: thread.flags,
        ret: ctx.ret::<u64>() as u16,
        vma: thread.kept,
        taken: thread.origin != origin::GUP,
    };
    leave::<Helper>(ids, thread, &call, end::RETURN);
    0
}

/// One call of `handle_mm_fault`, seen from its end.
struct Call {
    vma: u64,
    address: u64,
    ip: u64,
    flags: u16,
    ret: u16,
    /// An exception was taken.
    taken: bool,
}

/// Faults without an exception begin here; those that may end without a region
/// to look at have it noted. Answers the thread, if it is traced.
#[inline(always)]
fn enter<R: Read>(vma: u64, address: u64, flags: u16, regs: u64) -> *mut Thread {
    let Some((ids, thread)) = target::current() else { return null_mut() };
    if regs == 0 {
        begin_gup(ids, thread, address, flags);
    } else if flags & flag::WRITE != 0 && vma::is_shared::<R>(vma) {
        // It may end COMPLETED, with the lock gone: look now.
        // SAFETY: a map value of our own thread's, which nobody else writes.
        keep_region::<R>(ids, unsafe { &mut *thread }, vma);
    }
    thread
}

#[inline(always)]
fn keep_region<R: Read>(ids: Ids, thread: &mut Thread, vma: u64) {
    let touched = vma::touch::<R>(ids, thread, vma, false);
    thread.region = touched.start;
    thread.nature = touched.nature;
}

#[inline(always)]
fn begin_gup(ids: Ids, thread: *mut Thread, address: u64, flags: u16) {
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let open = unsafe { &*thread };
    let again = open.state == state::OPEN
        && open.origin == origin::GUP
        && open.retries != 0
        && open.address >> 12 == address >> 12;
    if !again {
        let write = if flags & flag::WRITE != 0 { error::WRITE } else { 0 };
        inflight::open(lane::START_GUP, ids, thread, address, write, origin::GUP);
    }
}

#[inline(always)]
fn leave<R: Read>(ids: Ids, thread: &mut Thread, call: &Call, end: u8) {
    if thread.state != state::OPEN {
        return;
    }
    if call.ret & ret::RETRY != 0 {
        thread.ret |= call.ret & ret::MAJOR;
        thread.retries = thread.retries.saturating_add(1);
        return;
    }
    if call.ret & ret::COMPLETED == 0 {
        let touched = vma::touch::<R>(ids, thread, call.vma, call.taken);
        thread.region = touched.start;
        thread.nature = touched.nature;
    }
    let ret = call.ret | thread.ret;
    let failed = ret & (ret::ERROR & !ret::FALLBACK) != 0;
    if failed && ret & ret::OOM == 0 && thread.origin != origin::GUP {
        // A signal or a fix-up follows and tells what became of it.
        thread.state = state::FAILED;
        thread.ret = ret;
        thread.flags = call.flags;
        thread.ip = call.ip;
        return;
    }
    let ending = Ending {
        address: call.address,
        ip: call.ip,
        region: thread.region,
        nature: thread.nature,
        flags: call.flags,
        ret,
        end,
        signal: 0,
        code: 0,
    };
    emit::finish(lane::END, ids, thread, &ending);
}
