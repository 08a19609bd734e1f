//! A fault's beginning (the exception) and its end (`handle_mm_fault`'s return).

use core::hint::cold_path;

use aya_ebpf::{
    helpers::generated::bpf_task_pt_regs,
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use vmtrace_common::{
    config::lane,
    evidence::{error, flag, origin, ret},
    thread::{Thread, state},
};

use crate::{
    config::{at, enabled, has, read},
    emit::{self, Ending},
    inflight,
    kernel::{Direct, Helper, Read, probe},
    maps::count,
    target::{self, Current},
    vma,
};

/// `exceptions:page_fault_user(address, regs, error_code)`
#[raw_tracepoint(tracepoint = "page_fault_user")]
pub(crate) fn fault_user(ctx: RawTracePointContext) -> i32 {
    if let Some((task, thread)) = target::current() {
        inflight::make_ready(lane::START_USER, task, thread);
        let now = emit::now();
        let error = ctx.arg::<u64>(2) as u16;
        inflight::begin(thread, now, ctx.arg(0), error, origin::USER, state::OPEN);
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
    if let Some((task, thread)) = target::current() {
        if inflight::is_atomic(task) {
            count!(atomic);
            return 0;
        }
        inflight::make_ready(lane::START_KERNEL, task, thread);
        let now = emit::now();
        let error = ctx.arg::<u64>(2) as u16;
        inflight::begin(thread, now, address, error, origin::KERNEL, state::OPEN);
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
    if let Some((task, thread)) = target::current()
        && thread.is_open()
    {
        let vma = read!(Direct: u64, ctx.arg::<u64>(0), fault_vma);
        vma::touch::<Direct>(task, thread, emit::now, vma, |_| false);
        thread.placed = 1;
    }
    0
}

/// `follow_page_mask(vma, address, …)`, or `follow_page_pte(vma, address, …)`
/// where that is inlined: `get_user_pages` looks whether a page is there.
#[fentry(function = "follow_page_mask")]
pub(crate) fn gup_look(ctx: FEntryContext) -> i32 {
    if let Some((task, thread)) = target::current() {
        inflight::open_gup(lane::START_GUP, task, thread, ctx.arg(1), 0, state::LOOKING);
    }
    0
}

/// `no_page_table(vma, flags, address)`: it finds not even a page table. Only
/// where `follow_page_mask` is inlined.
#[fentry(function = "no_page_table")]
pub(crate) fn gup_look_table(ctx: FEntryContext) -> i32 {
    if let Some((task, thread)) = target::current() {
        inflight::open_gup(lane::START_GUP_TABLE, task, thread, ctx.arg(2), 0, state::LOOKING);
    }
    0
}

/// `handle_mm_fault(vma, address, flags, regs) = ret`
#[fexit(function = "handle_mm_fault")]
pub(crate) fn handle_leave(ctx: FExitContext) -> i32 {
    let Some((task, thread)) = target::current() else {
        return 0;
    };
    let now = emit::now();
    let call = Returned(&ctx);
    if thread.state == state::OPEN || is_late(thread, now, &call) {
        leave::<Direct>(task, thread, now, &call);
    }
    0
}

/// Whether the call serves a fault of which it says more than its beginning did:
/// one for whose page `get_user_pages` looked first, which is the beginning of that
/// page's fault and of no other; or one whose beginning was not seen.
#[inline(always)]
fn is_late(thread: &mut Thread, now: u64, call: &Returned<'_>) -> bool {
    if thread.state == state::FAILED {
        return false;
    }
    if thread.state == state::LOOKING
        && !call.taken(thread)
        && thread.address >> 12 == call.address() >> 12
    {
        thread.state = state::OPEN;
        thread.error = (call.flags() as u16 & flag::WRITE) << 1;
        return true;
    }
    let (address, flags, taken) = (call.address(), call.flags() as u16, call.taken(thread));
    !has::<RETRY>(call.ret()) && inflight::begin_unseen(thread, now, address, flags, taken)
}

const _: () = assert!(flag::WRITE << 1 == error::WRITE);

const RETRY: u32 = ret::RETRY as u32;
const COMPLETED: u32 = ret::COMPLETED as u32;
const OOM: u32 = ret::OOM as u32;
const FAILURE: u32 = (ret::ERROR & !ret::FALLBACK) as u32;

/// One call of `handle_mm_fault`, seen from its end.
trait Call: Ending {
    /// The region it was for, if that is still locked.
    fn vma(&self, thread: &Thread) -> u64;

    /// An exception was taken.
    fn taken(&self, thread: &Thread) -> bool;

    /// Its region was looked at when it began.
    #[inline(always)]
    fn is_placed(&self, _thread: &Thread) -> bool {
        false
    }
}

/// Its arguments and what it answers.
struct Returned<'a>(&'a FExitContext);

impl Returned<'_> {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.0.arg(1)
    }

    #[inline(always)]
    fn flags(&self) -> u64 {
        self.0.arg(2)
    }
}

impl Ending for Returned<'_> {
    #[inline(always)]
    fn address(&self, _thread: &Thread) -> u64 {
        self.address()
    }

    #[inline(always)]
    fn ip(&self, thread: &Thread) -> u64 {
        let regs: u64 = self.0.arg(3);
        // Where nothing guards the load, it would fault.
        if !enabled!(task_btf by thread) && regs == 0 {
            return 0;
        }
        read!(Direct: u64, regs, regs_ip)
    }

    #[inline(always)]
    fn flags(&self, _thread: &Thread) -> u64 {
        self.flags()
    }

    #[inline(always)]
    fn ret(&self) -> u64 {
        self.0.arg(4)
    }
}

impl Call for Returned<'_> {
    #[inline(always)]
    fn vma(&self, _thread: &Thread) -> u64 {
        self.0.arg(0)
    }

    #[inline(always)]
    fn taken(&self, _thread: &Thread) -> bool {
        self.0.arg::<u64>(3) != 0
    }
}

/// `handle_mm_fault(vma, address, flags, regs)`
#[kprobe(function = "handle_mm_fault")]
pub(crate) fn handle_enter_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(vma), Some(address), Some(flags), Some(regs)) =
        (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2), ctx.arg::<u64>(3))
    else {
        return 0;
    };
    let Some((task, thread)) = enter::<Helper>(vma, address, flags as u16, regs) else {
        return 0;
    };
    // The return probe sees no arguments: keep what it needs.
    if thread.is_open() {
        thread.kept = vma;
        thread.address = address;
        thread.kept_flags = flags as u16;
        thread.ip = if regs == 0 { 0 } else { ip(task, flags as u16, regs) };
    }
    0
}

/// The instruction that faulted. That of user space lies in the task's own
/// registers, which a typed task answers for without a copy.
#[inline(always)]
fn ip(task: Current, flags: u16, regs: u64) -> u64 {
    if flags & flag::USER != 0 && enabled!(user_regs) {
        // SAFETY: the current task, typed where `user_regs` says so.
        let own = unsafe { bpf_task_pt_regs(task as *mut _) } as u64;
        read!(Direct: u64, own, regs_ip)
    } else {
        probe(regs, at!(regs_ip))
    }
}

/// `handle_mm_fault(…) = ret`
#[kretprobe(function = "handle_mm_fault")]
pub(crate) fn handle_leave_kprobe(ctx: RetProbeContext) -> u32 {
    let Some((task, thread)) = target::current() else {
        return 0;
    };
    let now = emit::now();
    if thread.state == state::OPEN {
        leave::<Helper>(task, thread, now, &Kept(&ctx));
    }
    0
}

/// What it answers; the rest was kept.
struct Kept<'a>(&'a RetProbeContext);

impl Ending for Kept<'_> {
    #[inline(always)]
    fn address(&self, thread: &Thread) -> u64 {
        thread.address
    }

    #[inline(always)]
    fn ip(&self, thread: &Thread) -> u64 {
        thread.ip
    }

    #[inline(always)]
    fn flags(&self, thread: &Thread) -> u64 {
        u64::from(thread.kept_flags)
    }

    #[inline(always)]
    fn ret(&self) -> u64 {
        self.0.ret()
    }
}

impl Call for Kept<'_> {
    #[inline(always)]
    fn vma(&self, thread: &Thread) -> u64 {
        thread.kept
    }

    #[inline(always)]
    fn taken(&self, thread: &Thread) -> bool {
        thread.origin() != origin::GUP
    }

    #[inline(always)]
    fn is_placed(&self, thread: &Thread) -> bool {
        thread.placed != 0
    }
}

/// Faults without an exception begin here; those that may end without a region
/// to look at have it noted. Answers the thread, if it is traced.
#[inline(always)]
fn enter<R: Read>(
    vma: u64,
    address: u64,
    flags: u16,
    regs: u64,
) -> Option<(Current, &'static mut Thread)> {
    let (task, thread) = target::current()?;
    if regs == 0 {
        let error = (flags & flag::WRITE) << 1;
        inflight::open_gup(lane::START_GUP, task, thread, address, error, state::OPEN);
    } else if flags & flag::WRITE != 0
        && thread.is_open()
        && (vma::is_remembered() || vma::is_shared::<R>(vma))
    {
        // It may end COMPLETED, with the lock gone: look now. Where regions are
        // remembered, that costs less than to ask whether it may.
        vma::touch::<R>(task, thread, emit::now, vma, |_| true);
        thread.placed = 1;
    }
    Some((task, thread))
}

#[inline(always)]
fn leave<R: Read>(task: Current, thread: &mut Thread, now: u64, call: &impl Call) {
    let ret = call.ret();
    let mut is_locked = true;
    if has::<{ RETRY | COMPLETED }>(ret) {
        cold_path();
        if has::<RETRY>(ret) {
            // That it had to wait for a disk comes again where the kernel counts it
            // so: in the flags of the last call, as TRIED.
            thread.retries = thread.retries.saturating_add(1);
            return;
        }
        is_locked = false;
        inflight::unplace(thread);
    }
    if is_locked && !call.is_placed(thread) {
        let vma = call.vma(thread);
        vma::touch::<R>(task, thread, || now, vma, |thread| call.taken(thread));
    }
    if has::<FAILURE>(ret) && !has::<OOM>(ret) && thread.origin() != origin::GUP {
        // A signal or a fix-up follows and tells what became of it.
        thread.state = state::FAILED;
        thread.placed = 1;
        thread.ret = ret as u16;
        thread.flags = call.flags(thread) as u16;
        thread.ip = call.ip(thread);
        return;
    }
    emit::finish(lane::END, task, thread, now, call);
}
