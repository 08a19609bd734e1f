//! The fault in flight: opened at the exception, marked on its way, closed at
//! the handler's final return, the signal, or the fix-up.

use aya_ebpf::helpers::{
    bpf_ktime_get_ns,
    generated::{bpf_get_current_task, bpf_get_current_task_btf},
};
use vmtrace_common::{
    evidence::{end, flag, origin, ret},
    thread::{Thread, state},
};

use crate::{
    config::{at, config},
    emit::{self, Ending},
    kernel::{Direct, Helper, Read, probe},
    target::{self, Ids},
};

/// Opens a fault.
///
/// One that is open already was given up: its handler said "retry" and a fatal
/// signal came instead, or a program of ours was skipped.
#[inline(always)]
pub(crate) fn open(lane: u32, ids: Ids, thread: *mut Thread, address: u64, error: u16, origin: u8) {
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    if thread.based == 0 {
        base(thread);
    }
    if thread.state != state::IDLE {
        close_unseen(lane, ids, thread);
    }
    begin(thread, address, error, origin);
}

/// Begins a fault; none is open.
#[inline(always)]
fn begin(thread: &mut Thread, address: u64, error: u16, origin: u8) {
    // SAFETY: no arguments.
    thread.start = unsafe { bpf_ktime_get_ns() };
    thread.address = address;
    thread.region = 0;
    thread.error = error;
    thread.ret = 0;
    thread.marks = 0;
    thread.nature = 0;
    thread.retries = 0;
    thread.origin = origin;
    thread.state = state::OPEN;
}

/// Begins a fault that only its end has seen, told by the handler's own flags:
/// the program that should have seen its beginning was skipped, as in
/// [`close_unseen`]. False for one that began before the thread was traced.
#[inline(always)]
pub(crate) fn begin_unseen(thread: &mut Thread, address: u64, flags: u16, taken: bool) -> bool {
    if thread.based == 0 {
        return false;
    }
    let origin = match taken {
        false => origin::GUP,
        true if flags & flag::USER != 0 => origin::USER,
        true => origin::KERNEL,
    };
    let error = (flags & flag::WRITE) << 1 | (flags & flag::USER) >> 4;
    begin(thread, address, error, origin);
    true
}

/// Closes a fault whose end no program saw.
///
/// If the kernel has counted one since the last, it ended well, and the program
/// that should have seen it was skipped: a preemptible kernel does not run a
/// program on a CPU where another thread was preempted in it. All but its
/// latency is known. If the kernel has not, it was given up: "retry" was
/// answered and a fatal signal came.
#[inline(always)]
pub(crate) fn close_unseen(lane: u32, ids: Ids, thread: &mut Thread) {
    let (min, maj) = (thread.min_last, thread.maj_last);
    account(thread);
    if thread.min_last + thread.maj_last == min + maj {
        thread.state = state::IDLE;
        thread.stale += 1;
        return;
    }
    let ending = Ending {
        address: thread.address,
        ip: 0,
        region: thread.region,
        nature: thread.nature,
        flags: 0,
        ret: if thread.maj_last == maj { 0 } else { ret::MAJOR },
        end: end::RECONSTRUCTED,
        signal: 0,
        code: 0,
    };
    emit::finish(lane, ids, thread, &ending);
}

/// Reads the kernel's counters before the thread's first traced fault.
#[inline(always)]
fn base(thread: &mut Thread) {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    thread.min_base = probe(task, at!(task_min_flt));
    thread.maj_base = probe(task, at!(task_maj_flt));
    thread.min_last = thread.min_base;
    thread.maj_last = thread.maj_base;
    thread.based = 1;
}

/// Reads the kernel's counters after a fault.
#[inline(always)]
pub(crate) fn account(thread: &mut Thread) {
    if config!(task_btf) != 0 {
        // SAFETY: no arguments; present where `task_btf` says so.
        let task = unsafe { bpf_get_current_task_btf() } as u64;
        thread.min_last = Direct::u64(task, at!(task_min_flt));
        thread.maj_last = Direct::u64(task, at!(task_maj_flt));
    } else {
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task() };
        thread.min_last = Helper::u64(task, at!(task_min_flt));
        thread.maj_last = Helper::u64(task, at!(task_maj_flt));
    }
}

/// Whether the current task is where a fault may not be handled: it goes to its
/// fix-up instead, and is no fault to the kernel's counters.
#[inline(always)]
pub(crate) fn is_atomic() -> bool {
    if config!(task_btf) != 0 {
        // SAFETY: no arguments; present where `task_btf` says so.
        let task = unsafe { bpf_get_current_task_btf() } as u64;
        Direct::u32(task, at!(task_pagefault_disabled)) != 0
    } else {
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task() };
        // The helper that reads it disables page faults itself meanwhile.
        Helper::u32(task, at!(task_pagefault_disabled)) > 1
    }
}

/// Leaves `marks` on the current thread's open fault, if it has one.
#[inline(always)]
pub(crate) fn mark(marks: u16) {
    if let Some(thread) = open_fault() {
        thread.marks |= marks;
    }
}

/// The current thread's entry, if it is traced and a fault is open.
#[inline(always)]
pub(crate) fn open_fault() -> Option<&'static mut Thread> {
    let (_, thread) = target::current()?;
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    (thread.state != state::IDLE).then_some(thread)
}
