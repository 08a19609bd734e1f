//! The filter: is the current thread traced, and where is its entry?

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use vmtrace_common::{config::HINTS, thread::Thread};

use crate::{
    config::config,
    maps::{HINT, THREADS},
};

/// The current thread's ids.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// The process.
    pub(crate) pid: u32,
    /// The thread.
    pub(crate) tid: u32,
}

/// Who runs.
#[inline(always)]
pub(crate) fn ids() -> Ids {
    let both = bpf_get_current_pid_tgid();
    Ids { pid: (both >> 32) as u32, tid: both as u32 }
}

/// The current thread's entry, if it is traced.
#[inline(always)]
pub(crate) fn current() -> Option<(Ids, *mut Thread)> {
    let ids = ids();
    if config!(everything) == 0 && !hinted(ids.tid) {
        return None;
    }
    Some((ids, THREADS.get_ptr_mut(ids.tid)?))
}

/// Whether `tid` may be traced; false is certain.
#[inline(always)]
fn hinted(tid: u32) -> bool {
    // SAFETY: a plain load of a whole word.
    HINT.get_ptr(tid & (HINTS - 1)).is_some_and(|hint| unsafe { *hint != 0 })
}

/// Begins to trace a thread. False where the table is full.
#[inline(always)]
pub(crate) fn adopt(tid: u32, thread: &Thread) -> bool {
    if THREADS.insert(tid, thread, 0).is_err() {
        return false;
    }
    if config!(everything) == 0
        && let Some(hint) = HINT.get_ptr_mut(tid & (HINTS - 1))
    {
        // SAFETY: a plain store of a whole word; hints are only ever set.
        unsafe { *hint = 1 };
    }
    true
}
