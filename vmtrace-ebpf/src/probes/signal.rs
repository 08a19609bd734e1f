//! Faults that end badly: in a signal, or in the kernel's exception table.

use aya_ebpf::{
    helpers::generated::bpf_get_current_task,
    macros::{fentry, kprobe, raw_tracepoint},
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use vmtrace_common::{
    config::lane,
    evidence::{end, origin},
    thread::{Thread, state},
};

use crate::{
    config::at,
    emit,
    inflight::{self, Noted},
    kernel::probe,
    target::{self, Current},
};

const SIGBUS: u64 = 7;
const SIGSEGV: u64 = 11;
/// `si_code` of a signal the kernel sends for no address in particular.
const SI_KERNEL: i32 = 0x80;
/// The processor's trap numbers.
const TRAP_GP: u64 = 13;
const TRAP_PF: u64 = 14;
/// `kernel_siginfo.si_code`, part of the user-space ABI.
const SI_CODE: u32 = 8;

/// `signal:signal_generate(sig, info, task, group, result)`
#[raw_tracepoint(tracepoint = "signal_generate")]
pub(crate) fn signal(ctx: RawTracePointContext) -> i32 {
    let signal = ctx.arg::<u64>(0) & 0xff;
    let info: u64 = ctx.arg(1);
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    // 0 and 1 stand for "no details": never a fault.
    if signal != SIGSEGV && signal != SIGBUS || info < 2 || ctx.arg::<u64>(2) != task {
        return 0;
    }
    let code: i32 = probe::<u32>(info, SI_CODE) as i32;
    if code <= 0 {
        // From a process, a timer or a queue.
        return 0;
    }
    let Some((current, thread)) = target::current() else {
        return 0;
    };
    if !thread.is_open() || thread.state == state::LOOKING {
        if signal != SIGSEGV || code != SI_KERNEL || probe::<u64>(task, at!(task_trap)) != TRAP_GP {
            return 0;
        }
        inflight::make_ready(lane::SIGNAL, current, thread);
        inflight::begin(thread, emit::now(), 0, 0, origin::TRAP, state::OPEN);
    }
    if thread.origin() == origin::USER || thread.origin() == origin::TRAP {
        thread.ip = probe(user_regs(task), at!(regs_ip));
    }
    end_badly(lane::SIGNAL, current, thread, end::SIGNAL, signal as u8, code as u8);
    0
}

/// `fixup_exception(regs, trapnr, error_code, fault_addr)`
#[fentry(function = "fixup_exception")]
pub(crate) fn fixup(ctx: FEntryContext) -> i32 {
    fix_up(ctx.arg(0), ctx.arg::<u64>(1), ctx.arg(3));
    0
}

/// `fixup_exception(regs, trapnr, error_code, fault_addr)`
#[kprobe(function = "fixup_exception")]
pub(crate) fn fixup_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(regs), Some(trap), Some(address)) = (ctx.arg(0), ctx.arg(1), ctx.arg(3)) {
        fix_up(regs, trap, address);
    }
    0
}

#[inline(always)]
fn fix_up(regs: u64, trap: u64, address: u64) {
    if trap & 0xff != TRAP_PF {
        return;
    }
    let Some((current, thread)) = target::current() else {
        return;
    };
    // An interrupt's access that faults within ours has its own address.
    if !thread.is_open() || thread.origin() != origin::KERNEL || thread.address != address {
        return;
    }
    thread.ip = probe(regs, at!(regs_ip));
    end_badly(lane::FIXUP, current, thread, end::FIXUP, 0, 0);
}

#[inline(always)]
fn end_badly(lane: u32, task: Current, thread: &mut Thread, end: u8, signal: u8, code: u8) {
    inflight::unplace(thread);
    // What the handler answered is noted already.
    thread.via = thread.origin();
    let bad = Noted {
        address: thread.address,
        ip: thread.ip,
        ret: 0,
        end,
        signal: u16::from(signal) | u16::from(code) << 8,
    };
    emit::finish(lane, task, thread, emit::now(), &bad);
}

/// The registers the current task came in with, at the top of its stack.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/processor.h#L656>
#[inline(always)]
fn user_regs(task: u64) -> u64 {
    /// 16 KiB on x86-64 without KASAN.
    const THREAD_SIZE: u64 = 16 << 10;
    const PT_REGS: u64 = 168;
    let stack: u64 = probe(task, at!(task_stack));
    if stack == 0 { 0 } else { stack + THREAD_SIZE - PT_REGS }
}
