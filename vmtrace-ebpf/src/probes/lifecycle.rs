//! Births, deaths and changes of traced threads: what keeps the thread table
//! true and every process named, however short its life.

use aya_ebpf::{
    helpers::bpf_get_current_comm, macros::raw_tracepoint, programs::RawTracePointContext,
};
use aya_log_ebpf::debug;
use vmtrace_common::{
    config::{ABSENT, lane},
    record::{COMM, Cgroup, Exec, PATH, Rename, Task, Totals, tag},
    thread::{Thread, state},
};

use crate::{
    config::{at, config, enabled},
    emit, inflight,
    kernel::{probe, text},
    maps::{CGROUPS, TARGETS, count},
    target::{self, Ids},
};

/// A thread of the same process, not a new one.
const CLONE_THREAD: u64 = 0x1_0000;
/// The same address space.
const CLONE_VM: u64 = 0x100;

/// `task:task_newtask(task, clone_flags)`, in the creator, before the new thread
/// runs. io_uring's workers come this way too, but not by `sched_process_fork`.
#[raw_tracepoint(tracepoint = "task_newtask")]
pub(crate) fn task_new(ctx: RawTracePointContext) -> i32 {
    let creator = target::ids();
    let flags: u64 = ctx.arg(1);
    if creator.pid == config!(own) && (flags & CLONE_THREAD != 0 || enabled!(everything)) {
        return 0;
    }
    let parent = target::find(creator.tid);
    // SAFETY: a plain load of a whole word.
    let inherits = !parent.is_null() || unsafe { TARGETS.get(creator.pid) }.is_some();
    if !enabled!(everything) && !(inherits && (flags & CLONE_THREAD != 0 || enabled!(follow))) {
        return 0;
    }
    let task: u64 = ctx.arg(0);
    let now = emit::now();
    let new = Ids { pid: probe(task, at!(task_tgid)), tid: probe(task, at!(task_pid)) };
    let shares = !parent.is_null() && flags & CLONE_VM != 0;
    // SAFETY: a plain load of a whole word.
    let space = if shares { unsafe { (*parent).space } } else { now as u32 };
    let before = target::find(new.tid);
    if !before.is_null() {
        // That the kernel let go of who had this id was not seen.
        // SAFETY: a map value whose thread is gone.
        tell(tag::TOTALS, new.tid, unsafe { &*before }, now);
    }
    // The kernel's counters begin at zero with the thread.
    let thread = Thread { pid: new.pid, space, state: state::IDLE, ..Thread::default() };
    if !target::adopt(new.tid, &thread) {
        count!(untracked);
        return 0;
    }
    debug!(&ctx, "tracing thread {} of process {}", new.tid, new.pid);
    born(task, new, creator, now);
    0
}

#[inline(always)]
fn born(task: u64, new: Ids, creator: Ids, now: u64) {
    let Some(mut entry) = emit::reserve::<Task>() else {
        return;
    };
    entry.write(Task {
        header: emit::header::<Task>(tag::TASK, new, now),
        parent: creator.pid,
        creator: creator.tid,
        cgroup: cgroup_of(task),
        comm: comm_of(task),
    });
    emit::submit(entry);
}

#[inline(always)]
fn comm_of(task: u64) -> [u8; COMM] {
    if at!(task_comm) == ABSENT {
        return [0; COMM];
    }
    probe::<[u8; COMM]>(task, at!(task_comm))
}

/// The task's cgroup in the v2 hierarchy.
#[inline(always)]
fn cgroup_of(task: u64) -> u64 {
    let set: u64 = probe(task, at!(task_cgroups));
    let cgroup: u64 = probe(set, at!(css_set_cgroup));
    probe(probe(cgroup, at!(cgroup_node)), at!(node_id))
}

/// `sched:sched_process_exec(task, old_pid, bprm)`, in the new program.
///
/// A thread that is not its process's first has that one's id by now, and since
/// before this: its faults meanwhile are in the account of that id, which goes on.
/// The account of its own id is over.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn task_exec(ctx: RawTracePointContext) -> i32 {
    let ids = target::ids();
    let old = ctx.arg::<u64>(1) as u32;
    let now = emit::now();
    if old != ids.tid {
        let own = target::find(old);
        if !own.is_null() && target::find(ids.tid).is_null() {
            // The first thread was none of ours.
            target::adopt(ids.tid, &Thread { pid: ids.pid, ..Thread::default() });
        }
        // SAFETY: a map value; the thread that wrote it has another now.
        if !own.is_null() && tell(tag::TOTALS, old, unsafe { &*own }, now) {
            target::forget(old);
        }
    }
    let thread = target::find(ids.tid);
    if thread.is_null() {
        return 0;
    }
    // SAFETY: a map value of our own thread's, which nobody else writes.
    unsafe {
        (*thread).space = now as u32;
        (*thread).last_vma = 0;
    }
    let Some(mut entry) = emit::reserve::<Exec>() else {
        return 0;
    };
    let exec = entry.as_mut_ptr();
    // SAFETY: the ring lent us room for one Exec.
    unsafe {
        (*exec).header = emit::header::<Exec>(tag::EXEC, ids, now);
        (*exec).old_tid = old;
        let mm: u64 = probe(ctx.arg(0), at!(task_mm));
        (*exec).stack = probe(mm, at!(mm_start_stack));
        (*exec).stack_end = probe(mm, at!(mm_env_end));
        (*exec).comm = bpf_get_current_comm().unwrap_or_default();
        let name: u64 = probe(ctx.arg(2), at!(binprm_filename));
        let len = text((&raw mut (*exec).path).cast(), PATH as u32, name);
        (*exec).path_len = if len > 0 { len - 1 } else { 0 };
    }
    emit::submit(entry);
    0
}

/// `sched:sched_process_exit(task, …)`: the thread is going, and tells its account.
/// On kernels where this comes before its memory is given back it may still fault;
/// that is left for [`task_free`] to tell.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn task_exit(_ctx: RawTracePointContext) -> i32 {
    let Some((task, thread)) = target::current() else { return 0 };
    if thread.is_open() {
        inflight::close_unseen(lane::EXIT, task, thread);
    } else if thread.state != state::NEW {
        // Its last faults may have been skipped, beginning and end.
        inflight::account(task, thread);
    }
    if tell(tag::EXIT, thread.tid, thread, emit::now()) {
        thread.settle();
    }
    0
}

/// `sched:sched_process_free(task)`: the thread is gone, and nothing of it runs.
#[raw_tracepoint(tracepoint = "sched_process_free")]
pub(crate) fn task_free(ctx: RawTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let tid: u32 = probe(task, at!(task_pid));
    let thread = target::find(tid);
    if thread.is_null() {
        return 0;
    }
    // SAFETY: the thread is gone: nobody writes its entry.
    let thread = unsafe { &*thread };
    if tell(tag::TOTALS, tid, thread, emit::now()) {
        target::forget(tid);
    }
    0
}

/// Sends a thread's account, and that it ended where `tag` says so. False where there
/// is no room: it is not lost while its entry stays, where user space finds it.
#[inline(always)]
fn tell(tag: u16, tid: u32, thread: &Thread, now: u64) -> bool {
    let Some(mut entry) = emit::reserve::<Totals>() else { return false };
    let ids = Ids { pid: thread.pid, tid };
    entry.write(thread.totals(emit::header::<Totals>(tag, ids, now)));
    if tag == tag::EXIT {
        emit::submit_now(entry);
    } else {
        emit::submit(entry);
    }
    true
}

/// `task:task_rename(task, comm)`
#[raw_tracepoint(tracepoint = "task_rename")]
pub(crate) fn task_rename(ctx: RawTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let tid: u32 = probe(task, at!(task_pid));
    let thread = target::find(tid);
    if thread.is_null() {
        return 0;
    }
    let Some(mut entry) = emit::reserve::<Rename>() else {
        return 0;
    };
    let rename = entry.as_mut_ptr();
    // SAFETY: the ring lent us room for one Rename, and `thread` is a map value.
    unsafe {
        let ids = Ids { pid: (*thread).pid, tid };
        (*rename).header = emit::header::<Rename>(tag::RENAME, ids, emit::now());
        (*rename).comm = [0; COMM];
        text((&raw mut (*rename).comm).cast(), COMM as u32, ctx.arg(1));
    }
    emit::submit(entry);
    0
}

/// `cgroup:cgroup_attach_task(dst_cgrp, path, task, threadgroup)`
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub(crate) fn task_cgroup(ctx: RawTracePointContext) -> i32 {
    let task: u64 = ctx.arg(2);
    let ids = Ids { pid: probe(task, at!(task_tgid)), tid: probe(task, at!(task_pid)) };
    let cgroup: u64 = probe(probe(ctx.arg(0), at!(cgroup_node)), at!(node_id));
    // SAFETY: a plain load of a whole word.
    let asked_for = unsafe { CGROUPS.get(cgroup) }.is_some();
    let now = emit::now();
    if target::find(ids.tid).is_null() {
        if !asked_for {
            return 0;
        }
        let thread = Thread { pid: ids.pid, ..Thread::default() };
        if !target::adopt(ids.tid, &thread) {
            count!(untracked);
            return 0;
        }
        born(task, ids, ids, now);
    }
    let Some(mut entry) = emit::reserve::<Cgroup>() else {
        return 0;
    };
    entry.write(Cgroup { header: emit::header::<Cgroup>(tag::CGROUP, ids, now), cgroup });
    emit::submit(entry);
    0
}
