//! The filter: is the current thread traced, and where is its entry?

use core::ptr::null_mut;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task, bpf_get_current_task_btf},
    },
};
use vmtrace_common::{
    config::{CROWD_PROBES, crowd_slot},
    thread::Thread,
};

use crate::{
    config::{config, enabled, masked, memory, place, read},
    emit,
    kernel::Direct,
    maps::{CLAIMS, CROWD, element},
};

/// A thread's ids.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// The process.
    pub(crate) pid: u32,
    /// The thread.
    pub(crate) tid: u32,
}

impl Ids {
    /// Those of a traced thread.
    #[inline(always)]
    pub(crate) fn of(thread: &Thread) -> Self {
        Self { pid: thread.pid, tid: thread.tid }
    }
}

/// The current thread's `task_struct`: typed where `task_btf` says so.
pub(crate) type Current = u64;

/// The current task, and the thread's id.
#[inline(always)]
fn task() -> (Current, u32) {
    // Where threads have addresses, `task_btf` is set; and what tells that is needed anyway.
    if memory::<{ place!(threads.map) }>() != 0 || enabled!(task_btf) {
        // SAFETY: no arguments; present where `task_btf` says so.
        let task = unsafe { bpf_get_current_task_btf() } as u64;
        (task, read!(Direct: u32, task, task_pid))
    } else {
        // SAFETY: no arguments.
        (unsafe { bpf_get_current_task() }, bpf_get_current_pid_tgid() as u32)
    }
}

/// Who runs.
#[inline(always)]
pub(crate) fn ids() -> Ids {
    let both = bpf_get_current_pid_tgid();
    Ids { pid: (both >> 32) as u32, tid: both as u32 }
}

/// The current thread's entry, if it is traced.
///
/// The idle task takes no faults, is sent no signals and is not traced: a program
/// that may meet it has to look at the id.
#[inline(always)]
pub(crate) fn current() -> Option<(Current, &'static mut Thread)> {
    let (task, tid) = task();
    let thread = entry(tid);
    if thread.is_null() {
        return None;
    }
    // SAFETY: a map value of our own thread's, which nobody else writes.
    Some((task, unsafe { &mut *thread }))
}

/// A thread's entry; null where it is not traced.
#[inline(always)]
pub(crate) fn find(tid: u32) -> *mut Thread {
    // The idle task's id is that of a slot that is nobody's.
    if tid == 0 { null_mut() } else { entry(tid) }
}

/// A thread's entry, in its own slot or, where another has that one, elsewhere.
/// (Not an `Option`: what the compiler leaves in the pointer of one that is `None`,
/// the verifier does not take.)
#[inline(always)]
fn entry(tid: u32) -> *mut Thread {
    let Some(own) = element!(THREADS, threads, masked!(tid, thread_mask)) else {
        return null_mut();
    };
    // SAFETY: plain loads of whole words.
    unsafe {
        if (*own).tid == tid {
            return own;
        }
        if (*own).crowded == 0 {
            return null_mut();
        }
        let Some(index) = CROWD.get(tid) else { return null_mut() };
        let Some(slot) = element!(THREADS, threads, *index) else { return null_mut() };
        if (*slot).tid == tid { slot } else { null_mut() }
    }
}

/// Room for a thread's entry, which is nobody's until its `tid` is written.
#[inline(always)]
pub(crate) fn room(tid: u32) -> Option<*mut Thread> {
    let (mask, crowd_mask) = (config!(thread_mask), config!(crowd_mask));
    let index = tid & mask;
    let own = element!(THREADS, threads, index)?;
    if claim(index, tid) {
        return Some(own);
    }
    for probe in 0..CROWD_PROBES {
        let index = crowd_slot(tid, probe, mask, crowd_mask);
        if claim(index, tid) {
            // SAFETY: a plain store of a whole word; it is only ever set.
            unsafe { (*own).crowded = 1 };
            let slot = element!(THREADS, threads, index)?;
            return CROWD.insert(tid, index, 0).is_ok().then_some(slot);
        }
    }
    None
}

/// Whether a slot is the thread's own from now on.
#[inline(always)]
fn claim(slot: u32, tid: u32) -> bool {
    CLAIMS.insert(slot, tid, u64::from(BPF_NOEXIST)).is_ok()
        // SAFETY: a plain load of a whole word.
        || unsafe { CLAIMS.get(slot) }.is_some_and(|owner| *owner == tid)
}

/// Begins to trace a thread. False where the table is full.
#[inline(always)]
pub(crate) fn adopt(tid: u32, thread: &Thread) -> bool {
    let Some(slot) = room(tid) else { return false };
    // SAFETY: nobody else writes the slot: it was just claimed.
    unsafe {
        let crowded = (*slot).crowded;
        slot.write(Thread { tid: 0, crowded, ..*thread });
        emit::publish();
        (*slot).tid = tid;
    }
    true
}

/// Ends it.
#[inline(always)]
pub(crate) fn forget(tid: u32) {
    let index = tid & config!(thread_mask);
    let Some(own) = element!(THREADS, threads, index) else { return };
    // SAFETY: plain accesses of whole words; the thread is gone, or moved.
    unsafe {
        if (*own).tid == tid {
            (*own).tid = 0;
            let _ = CLAIMS.remove(index);
        } else if (*own).crowded != 0
            && let Some(index) = CROWD.get(tid)
        {
            let index = *index;
            if let Some(slot) = element!(THREADS, threads, index) {
                (*slot).tid = 0;
            }
            let _ = CROWD.remove(tid);
            let _ = CLAIMS.remove(index);
        }
    }
}
