//! The fault in flight: opened at the exception, marked on its way, closed at
//! the handler's final return, the signal, or the fix-up.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_ktime_get_ns;
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
        base(ids, thread);
    }
    if thread.state != state::IDLE {
        close_unseen(lane, ids, thread);
    }
    begin(thread, address, error, origin, state::OPEN);
}

/// Opens a fault that `get_user_pages` will take if it does not find its page.
#[inline(always)]
pub(crate) fn look(lane: u32, ids: Ids, thread: *mut Thread, address: u64) {
    // SAFETY: a map value of our own thread's, which nobody else writes.
    let thread = unsafe { &mut *thread };
    let again = thread.state == state::OPEN
        && thread.origin == origin::GUP
        && thread.retries != 0
        && thread.address >> 12 == address >> 12;
    if again {
        return;
    }
    if thread.based == 0 {
        base(ids, thread);
    }
    if thread.state != state::IDLE {
        close_unseen(lane, ids, thread);
    }
    begin(thread, address, 0, origin::GUP, state::LOOKING);
}

/// Begins a fault; none is open.
#[inline(always)]
fn begin(thread: &mut Thread, address: u64, error: u16, origin: u8, state: u8) {
    // SAFETY: no arguments.
    thread.start = unsafe { bpf_ktime_get_ns() };
    thread.address = address;
    thread.region = 0;
    // Two words in place of ten fields: the exception's code without flags,
    // return bits and marks, and the origin and state without nature and retries.
    let second = u64::from(origin) << 24 | u64::from(state) << 32 | u64::from(thread.based) << 40;
    // SAFETY: fields that lie side by side, of a map value, aligned.
    unsafe {
        (&raw mut thread.error).cast::<u64>().write(u64::from(error));
        (&raw mut thread.nature).cast::<u64>().write(second);
    }
}

const _: () = assert!(
    offset_of!(Thread, marks) == offset_of!(Thread, error) + 6
        && offset_of!(Thread, error).is_multiple_of(8)
        && offset_of!(Thread, nature) == offset_of!(Thread, error) + 8
        && offset_of!(Thread, origin) == offset_of!(Thread, nature) + 3
        && offset_of!(Thread, state) == offset_of!(Thread, nature) + 4
        && offset_of!(Thread, based) == offset_of!(Thread, nature) + 5
);

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
    begin(thread, address, error, origin, state::OPEN);
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
    account(ids, thread);
    if thread.min_last + thread.maj_last == min + maj {
        // A page that was looked for and found is no fault.
        thread.stale += u64::from(thread.state != state::LOOKING);
        thread.state = state::IDLE;
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
fn base(ids: Ids, thread: &mut Thread) {
    thread.min_base = probe(ids.task, at!(task_min_flt));
    thread.maj_base = probe(ids.task, at!(task_maj_flt));
    thread.min_last = thread.min_base;
    thread.maj_last = thread.maj_base;
    thread.based = 1;
}

/// Reads the kernel's counters after a fault.
#[inline(always)]
pub(crate) fn account(ids: Ids, thread: &mut Thread) {
    if config!(task_btf) != 0 {
        thread.min_last = Direct::u64(ids.task, at!(task_min_flt));
        thread.maj_last = Direct::u64(ids.task, at!(task_maj_flt));
    } else {
        thread.min_last = Helper::u64(ids.task, at!(task_min_flt));
        thread.maj_last = Helper::u64(ids.task, at!(task_maj_flt));
    }
}

/// Whether the current task is where a fault may not be handled: it goes to its
/// fix-up instead, and is no fault to the kernel's counters.
#[inline(always)]
pub(crate) fn is_atomic(ids: Ids) -> bool {
    if config!(task_btf) != 0 {
        Direct::u32(ids.task, at!(task_pagefault_disabled)) != 0
    } else {
        // The helper that reads it disables page faults itself meanwhile.
        Helper::u32(ids.task, at!(task_pagefault_disabled)) > 1
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
