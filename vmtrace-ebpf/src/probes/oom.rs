//! OOM kills: who died, and why and for whom.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_get_current_comm,
    macros::{fentry, kprobe, tracepoint},
    programs::{FEntryContext, ProbeContext, TracePointContext},
};
use vmtrace_common::{
    config::ABSENT,
    record::{COMM, Oom, Victim, tag},
};

use crate::{
    config::{at, config},
    emit,
    kernel::{probe, text},
    target,
};

/// `oom:mark_victim`, whose fields grew in 6.9 and in stable kernels before it:
/// the loader reads their places from the event's format.
#[tracepoint(category = "oom", name = "mark_victim")]
pub(crate) fn oom_victim(ctx: TracePointContext) -> u32 {
    let event = ctx.as_ptr() as u64;
    let Some(mut entry) = emit::reserve::<Victim>() else {
        return 0;
    };
    let mut ids = target::ids();
    ids.pid = probe(event, config!(victim.pid));
    let victim = entry.as_mut_ptr();
    // SAFETY: the ring lent us room for one Victim.
    unsafe {
        (*victim).header = emit::header::<Victim>(tag::VICTIM, ids, emit::now());
        (*victim).total_vm = field(event, config!(victim.total_vm));
        (*victim).anon_rss = field(event, config!(victim.anon_rss));
        (*victim).file_rss = field(event, config!(victim.file_rss));
        (*victim).shmem_rss = field(event, config!(victim.shmem_rss));
        (*victim).page_tables = field(event, config!(victim.pgtables));
        (*victim).uid = match config!(victim.uid) {
            ABSENT => u32::MAX,
            offset => probe(event, offset),
        };
        (*victim).score_adj = match config!(victim.oom_score_adj) {
            ABSENT => i32::MIN,
            offset => i32::from(probe::<i16>(event, offset)),
        };
        (*victim).comm = [0; COMM];
        if config!(victim.comm) != ABSENT {
            // `__data_loc`: the low half is the text's offset in the event.
            let place = probe::<u32>(event, config!(victim.comm)) & 0xffff;
            text((&raw mut (*victim).comm).cast(), COMM as u32, event + u64::from(place));
        }
    }
    emit::submit_now(entry);
    0
}

#[inline(always)]
fn field(event: u64, offset: u32) -> u64 {
    if offset == ABSENT { u64::MAX } else { probe(event, offset) }
}

/// `oom_kill_process(oc, message)`
#[fentry(function = "oom_kill_process")]
pub(crate) fn oom_kill(ctx: FEntryContext) -> i32 {
    killed(ctx.arg(0));
    0
}

/// `oom_kill_process(oc, message)`
#[kprobe(function = "oom_kill_process")]
pub(crate) fn oom_kill_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(control) = ctx.arg(0) {
        killed(control);
    }
    0
}

#[inline(always)]
fn killed(control: u64) {
    let Some(mut entry) = emit::reserve::<Oom>() else {
        return;
    };
    let chosen: u64 = probe(control, at!(oom_chosen));
    let memcg: u64 = probe(control, at!(oom_memcg));
    let oom = entry.as_mut_ptr();
    // SAFETY: the ring lent us room for one Oom.
    unsafe {
        (*oom).header = emit::header::<Oom>(tag::OOM, target::ids(), emit::now());
        (*oom).points = probe(control, at!(oom_chosen_points));
        (*oom).total_pages = probe(control, at!(oom_total_pages));
        (*oom).memcg = if memcg == 0 || at!(memcg_css) == ABSENT {
            0
        } else {
            let css = memcg + u64::from(at!(memcg_css));
            let cgroup: u64 = probe(css, at!(css_cgroup));
            probe(probe(cgroup, at!(cgroup_node)), at!(node_id))
        };
        (*oom).victim = probe(chosen, at!(task_tgid));
        (*oom).constraint = probe(control, at!(oom_constraint));
        (*oom).order = probe(control, at!(oom_order));
        (*oom).gfp = probe(control, at!(oom_gfp));
        (*oom).comm = bpf_get_current_comm().unwrap_or_default();
    }
    emit::submit_now(entry);
}
