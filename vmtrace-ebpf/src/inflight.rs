//! The fault in flight: opened at the exception, marked on its way, closed at
//! the handler's final return, the signal, or the fix-up.

use vmtrace_common::{
    evidence::{end, flag, origin, ret},
    record::Fault,
    thread::{Thread, state},
};

use crate::{
    config::{at, enabled, read},
    emit::{self, Ending},
    kernel::{Direct, Helper, probe},
    target::{self, Current},
};

/// Opens a fault that `get_user_pages` takes, or will take if it does not find its
/// page (`state`), unless it is the one that it was asked to try again.
#[inline(always)]
pub(crate) fn open_gup(
    lane: u32,
    task: Current,
    thread: &mut Thread,
    address: u64,
    error: u16,
    state: u8,
) {
    let again = thread.state == state::OPEN
        && thread.origin() == origin::GUP
        && thread.retries != 0
        && thread.address >> 12 == address >> 12;
    if !again {
        make_ready(lane, task, thread);
        begin(thread, emit::now(), address, error, origin::GUP, state);
    }
}

/// Prepares a thread for a fault: for its first, or for one that finds another open.
/// That was given up, because its handler said "retry" and a fatal signal came
/// instead, or a program of ours was skipped.
#[inline(always)]
pub(crate) fn make_ready(lane: u32, task: Current, thread: &mut Thread) {
    if thread.state == state::IDLE {
        return;
    }
    if thread.state == state::NEW {
        base(task, thread);
    } else {
        close_unseen(lane, task, thread);
    }
}

/// Begins a fault; the thread is ready.
#[inline(always)]
pub(crate) fn begin(thread: &mut Thread, now: u64, address: u64, error: u16, via: u8, state: u8) {
    thread.start = now;
    thread.address = address;
    // Three words in place of nine fields: the exception's code without flags, answer
    // and marks; the way it came without retries; the state without a place.
    // SAFETY: fields that lie side by side, of a map value, aligned.
    unsafe {
        (&raw mut thread.error).cast::<u64>().write(u64::from(error));
        (&raw mut thread.retries).cast::<u32>().write(u32::from(via) << 8);
        (&raw mut thread.state).cast::<u16>().write(u16::from(state));
    }
}

/// Sees to it that a fault which ends without a look at its region has none.
#[inline(always)]
pub(crate) fn unplace(thread: &mut Thread) {
    if thread.placed == 0 {
        thread.region = 0;
        thread.nature = 0;
        thread.last_vma = 0;
    }
}

/// Begins a fault that only its end, at `now`, has seen, told by the handler's own
/// flags: the program that should have seen its beginning was skipped, as in
/// [`close_unseen`]. How long it took is not known. False for one that began before
/// the thread was traced.
#[inline(always)]
pub(crate) fn begin_unseen(
    thread: &mut Thread,
    now: u64,
    address: u64,
    flags: u16,
    taken: bool,
) -> bool {
    if thread.state == state::NEW {
        return false;
    }
    let origin = match taken {
        false => origin::GUP,
        true if flags & flag::USER != 0 => origin::USER,
        true => origin::KERNEL,
    };
    let error = (flags & flag::WRITE) << 1 | (flags & flag::USER) >> 4;
    begin(thread, now, address, error, Fault::via(origin, end::RECONSTRUCTED), state::OPEN);
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
pub(crate) fn close_unseen(lane: u32, task: Current, thread: &mut Thread) {
    let (min, maj) = (thread.min_last, thread.maj_last);
    account(task, thread);
    if thread.min_last + thread.maj_last == min + maj {
        // A page that was looked for and found is no fault.
        thread.stale += u64::from(thread.state != state::LOOKING);
        thread.state = state::IDLE;
        return;
    }
    unplace(thread);
    let unseen = Noted {
        address: thread.address,
        ip: 0,
        ret: if thread.maj_last == maj { 0 } else { ret::MAJOR },
        end: end::RECONSTRUCTED,
        signal: 0,
    };
    let now = emit::now();
    thread.start = now;
    emit::finish(lane, task, thread, now, &unseen);
}

/// An end of which everything is known beforehand.
pub(crate) struct Noted {
    pub(crate) address: u64,
    pub(crate) ip: u64,
    pub(crate) ret: u16,
    pub(crate) end: u8,
    pub(crate) signal: u16,
}

impl Ending for Noted {
    #[inline(always)]
    fn address(&self, _thread: &Thread) -> u64 {
        self.address
    }

    #[inline(always)]
    fn ip(&self, _thread: &Thread) -> u64 {
        self.ip
    }

    #[inline(always)]
    fn ret(&self) -> u64 {
        u64::from(self.ret)
    }

    #[inline(always)]
    fn end(&self) -> u8 {
        self.end
    }

    #[inline(always)]
    fn signal(&self) -> u16 {
        self.signal
    }
}

/// Reads the kernel's counters before the thread's first traced fault.
#[inline(always)]
fn base(task: Current, thread: &mut Thread) {
    thread.min_base = probe(task, at!(task_min_flt));
    thread.maj_base = probe(task, at!(task_maj_flt));
    thread.min_last = thread.min_base;
    thread.maj_last = thread.maj_base;
    thread.state = state::IDLE;
}

/// Reads the kernel's counters after a fault.
#[inline(always)]
pub(crate) fn account(task: Current, thread: &mut Thread) {
    if enabled!(task_btf by thread) {
        thread.min_last = read!(Direct: u64, task, task_min_flt);
        thread.maj_last = read!(Direct: u64, task, task_maj_flt);
    } else {
        thread.min_last = read!(Helper: u64, task, task_min_flt);
        thread.maj_last = read!(Helper: u64, task, task_maj_flt);
    }
}

/// Whether the current task is where a fault may not be handled: it goes to its
/// fix-up instead, and is no fault to the kernel's counters.
#[inline(always)]
pub(crate) fn is_atomic(task: Current) -> bool {
    if enabled!(task_btf) {
        read!(Direct: u32, task, task_pagefault_disabled) != 0
    } else {
        // The helper that reads it disables page faults itself meanwhile.
        read!(Helper: u32, task, task_pagefault_disabled) > 1
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
    thread.is_open().then_some(thread)
}
