//! The OOM killer's doings, each put together from what its two probes saw.

use vmtrace_common::record::{COMM, Oom, Victim};

use crate::term::escape;

/// One kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// When.
    pub time: u64,
    /// Who died.
    pub victim: u32,
    /// Its name.
    pub victim_comm: String,
    /// What it had, where `oom:mark_victim` said so.
    pub memory: Option<Memory>,
    /// Who asked for the memory, and why nobody else died, where
    /// `oom_kill_process` was seen.
    pub cause: Option<Cause>,
}

/// What a victim had, in kB; `None` where this kernel does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Mapped in all.
    pub total_vm: Option<u64>,
    /// Resident and anonymous.
    pub anon_rss: Option<u64>,
    /// Resident and of files.
    pub file_rss: Option<u64>,
    /// Resident and shared.
    pub shmem_rss: Option<u64>,
    /// Page tables.
    pub page_tables: Option<u64>,
    /// The user.
    pub uid: Option<u32>,
    /// `oom_score_adj`.
    pub score_adj: Option<i32>,
}

/// Why a victim was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The process that asked for memory.
    pub trigger: u32,
    /// Its name.
    pub trigger_comm: String,
    /// `enum oom_constraint`, in words.
    pub constraint: &'static str,
    /// The memory cgroup whose limit was hit, or 0.
    pub memcg: u64,
    /// The allocation's order; -1 for sysrq.
    pub order: i32,
    /// The victim's points.
    pub points: u64,
    /// The pages it could choose among.
    pub total_pages: u64,
}

/// The two probes fire within one kill: what lies further apart is two.
const TOGETHER: u64 = 10_000_000_000;
/// A hostile recording must not fill the memory with kills.
const MOST: usize = 10_000;

fn comm(raw: &[u8; COMM]) -> String {
    escape::bytes(raw.split(|&byte| byte == 0).next().unwrap_or_default())
}

fn open(
    stories: &mut [Story],
    victim: u32,
    time: u64,
    lacks: impl Fn(&Story) -> bool,
) -> Option<&mut Story> {
    let near = |story: &Story| story.time.abs_diff(time) < TOGETHER;
    stories.iter_mut().rev().find(|story| story.victim == victim && near(story) && lacks(story))
}

/// A victim was marked.
pub(super) fn add_victim(stories: &mut Vec<Story>, record: &Victim) {
    let told = |value: u64| (value != u64::MAX).then_some(value);
    let memory = Some(Memory {
        total_vm: told(record.total_vm),
        anon_rss: told(record.anon_rss),
        file_rss: told(record.file_rss),
        shmem_rss: told(record.shmem_rss),
        page_tables: told(record.page_tables),
        uid: (record.uid != u32::MAX).then_some(record.uid),
        score_adj: (record.score_adj != i32::MIN).then_some(record.score_adj),
    });
    let (victim, time, victim_comm) = (record.header.pid, record.header.time, comm(&record.comm));
    if let Some(story) = open(stories, victim, time, |story| story.memory.is_none()) {
        (story.memory, story.victim_comm) = (memory, victim_comm);
    } else if stories.len() < MOST {
        stories.push(Story { time, victim, victim_comm, memory, cause: None });
    }
}

/// A victim was chosen.
pub(super) fn add_cause(stories: &mut Vec<Story>, record: &Oom) {
    let constraint = match record.constraint {
        0 => "none",
        1 => "cpuset",
        2 => "mempolicy",
        3 => "memcg",
        _ => "unknown",
    };
    let cause = Some(Cause {
        trigger: record.header.pid,
        trigger_comm: comm(&record.comm),
        constraint,
        memcg: record.memcg,
        order: record.order,
        points: record.points,
        total_pages: record.total_pages,
    });
    let (victim, time) = (record.victim, record.header.time);
    if let Some(story) = open(stories, victim, time, |story| story.cause.is_none()) {
        story.cause = cause;
    } else if stories.len() < MOST {
        let victim_comm = String::new();
        stories.push(Story { time, victim, victim_comm, memory: None, cause });
    }
}
