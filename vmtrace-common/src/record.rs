//! The records: [`Fault`], sent by the million through the per-CPU rings, and
//! the rare ones, each behind a [`Header`].
//!
//! Times are `CLOCK_MONOTONIC` nanoseconds. Process and thread ids are those of
//! the initial PID namespace.

use core::mem::{offset_of, size_of};

pub use crate::totals::Totals;

/// How long a `comm` is, with its terminating zero.
pub const COMM: usize = 16;
/// How much of a path a record carries: twice the longest file name.
pub const PATH: usize = 512;
/// The kinds of TLB flush that the kernel knows.
pub const TLB_REASONS: usize = 6;

/// One logical fault, from its first entry to its last return: a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fault {
    /// When it ended. Rings are in this order.
    pub time: u64,
    /// From the first entry to the last return, in nanoseconds.
    pub latency: u64,
    /// The address that was touched, as the processor gave it.
    pub address: u64,
    /// The instruction that touched it; 0 for [`origin::GUP`](crate::evidence::origin::GUP).
    pub ip: u64,
    /// Where its region starts; 0 where the kernel side did not see the region.
    pub region: u64,
    /// The process (thread group).
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// [`error`](crate::evidence::error).
    pub error: u16,
    /// [`flag`](crate::evidence::flag).
    pub flags: u16,
    /// [`ret`](crate::evidence::ret), of the last call.
    pub ret: u16,
    /// [`mark`](crate::evidence::mark).
    pub marks: u16,
    /// [`nature`](crate::evidence::nature).
    pub nature: u16,
    /// The CPU it ended on.
    pub cpu: u16,
    /// How often `handle_mm_fault` asked to be called again, at most 255.
    pub retries: u8,
    /// [`origin`](crate::evidence::origin) in the low half, [`end`](crate::evidence::end) in the high.
    pub via: u8,
    /// The signal that ended it, or 0.
    pub signal: u8,
    /// That signal's `si_code`.
    pub code: u8,
}

impl Fault {
    /// Where it came from: [`origin`](crate::evidence::origin).
    #[inline(always)]
    pub const fn origin(&self) -> u8 {
        self.via & 0xf
    }

    /// How it ended: [`end`](crate::evidence::end).
    #[inline(always)]
    pub const fn end(&self) -> u8 {
        self.via >> 4
    }

    /// `origin` and `end` in one byte.
    #[inline(always)]
    pub const fn via(origin: u8, end: u8) -> u8 {
        origin | end << 4
    }
}

const _: () = assert!(
    size_of::<Fault>() == 64
        && offset_of!(Fault, region) == 32
        && offset_of!(Fault, pid) == 40
        && offset_of!(Fault, error) == 48
        && offset_of!(Fault, flags) == 50
        && offset_of!(Fault, ret) == 52
        && offset_of!(Fault, marks) == 54
        && offset_of!(Fault, nature) == 56
        && offset_of!(Fault, cpu) == 58
        && offset_of!(Fault, retries) == 60
        && offset_of!(Fault, via) == 61
        && offset_of!(Fault, signal) == 62
        && offset_of!(Fault, code) == 63
);

/// Which rare record follows a [`Header`].
pub mod tag {
    /// [`Fault`](super::Fault), in a recording.
    pub const FAULT: u16 = 1;
    /// [`Region`](super::Region).
    pub const REGION: u16 = 2;
    /// [`Task`](super::Task): a process or thread that was there or was born.
    pub const TASK: u16 = 3;
    /// [`Exec`](super::Exec).
    pub const EXEC: u16 = 4;
    /// [`Totals`](super::Totals) of a thread that ended.
    pub const EXIT: u16 = 5;
    /// [`Totals`](super::Totals) of a thread at the session's end.
    pub const TOTALS: u16 = 6;
    /// [`Rename`](super::Rename).
    pub const RENAME: u16 = 7;
    /// [`Tlb`](super::Tlb).
    pub const TLB: u16 = 8;
    /// [`Victim`](super::Victim): the OOM killer chose.
    pub const VICTIM: u16 = 9;
    /// [`Oom`](super::Oom): why and for whom it chose.
    pub const OOM: u16 = 10;
    /// [`Spill`](super::Spill).
    pub const SPILL: u16 = 11;
    /// [`Cgroup`](super::Cgroup): a thread moved.
    pub const CGROUP: u16 = 12;
    /// [`Counters`](crate::counters::Counters).
    pub const COUNTERS: u16 = 13;
    /// A header alone: a ring is half full.
    pub const DOORBELL: u16 = 14;
    /// [`GroupName`](super::GroupName).
    pub const GROUP_NAME: u16 = 15;
}

/// What every rare record begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`tag`].
    pub tag: u16,
    /// The CPU that wrote it.
    pub cpu: u16,
    /// The whole record's length, this header included.
    pub len: u32,
    /// When.
    pub time: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
}

const _: () = assert!(size_of::<Header>() == 24);

/// A region as it was when a fault first met it in this form.
///
/// It describes `[start, end)` of the header's process from the header's time
/// on, until another one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Region {
    /// `pid` is the process whose address space this is.
    pub header: Header,
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// The file's inode, or 0.
    pub inode: u64,
    /// The file's device as `major << 20 | minor`, as the kernel keeps it.
    pub device: u32,
    /// [`nature`](crate::evidence::nature).
    pub nature: u16,
    /// How [`name`](Self::name) is to be read: [`name`].
    pub naming: u8,
    /// How many components [`name`](Self::name) holds, for [`name::COMPONENTS`].
    pub components: u8,
    /// `[heap]`, `[stack]`, `[vdso]`, and whether the file is deleted: [`name`].
    pub special: u32,
    /// The id of the mount that [`COMPONENTS`](name::COMPONENTS) are relative to.
    pub mount: u32,
    /// Nothing.
    pub reserved: u32,
    /// How many bytes of `name` count.
    pub name_len: u32,
    /// The name.
    pub name: [u8; PATH],
}

const _: () = assert!(size_of::<Region>() == 80 + PATH && offset_of!(Region, name) == 80);

/// How a [`Region`]'s name is to be read.
pub mod name {
    /// There is none: anonymous memory.
    pub const NONE: u8 = 0;
    /// A whole path, or a name as `/proc/PID/maps` prints it.
    pub const WHOLE: u8 = 1;
    /// Path components from the leaf to the root, each ended by a zero.
    pub const COMPONENTS: u8 = 2;
    /// As [`COMPONENTS`], but the path was longer than the record holds.
    pub const TRUNCATED: u8 = 3;
    /// A name given with `prctl(PR_SET_VMA_ANON_NAME)`.
    pub const ANONYMOUS: u8 = 4;

    /// `special`: nothing is known.
    pub const PLAIN: u32 = 0;
    /// `special`: the program break lies here.
    pub const HEAP: u32 = 1;
    /// `special`: the main thread's stack.
    pub const STACK: u32 = 2;
    /// `special`: the vdso.
    pub const VDSO: u32 = 3;
    /// `special`: the file is deleted (unlinked).
    pub const DELETED: u32 = 1 << 8;
}

/// A thread that was there when the session began, or was born since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// `pid` and `tid` are the new thread's; `time` is 0 for one that was there.
    pub header: Header,
    /// The process it was born from; its own for a thread.
    pub parent: u32,
    /// The thread that made it.
    pub creator: u32,
    /// Its cgroup's id (v2), or 0.
    pub cgroup: u64,
    /// Its name.
    pub comm: [u8; COMM],
}

const _: () = assert!(size_of::<Task>() == 56);

/// A process began another program: its address space is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Exec {
    /// Who, and when.
    pub header: Header,
    /// The thread id before: a thread that execs takes its process's.
    pub old_tid: u32,
    /// How many bytes of `path` count.
    pub path_len: u32,
    /// Where the new program's stack begins: its arguments lie above, up to
    /// [`stack_end`](Self::stack_end).
    pub stack: u64,
    /// The end of its environment.
    pub stack_end: u64,
    /// The name after.
    pub comm: [u8; COMM],
    /// The file, as it was given to `execve`.
    pub path: [u8; PATH],
}

const _: () = assert!(size_of::<Exec>() == 64 + PATH);

/// A thread's name changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rename {
    /// Who, and when.
    pub header: Header,
    /// The name after.
    pub comm: [u8; COMM],
}

const _: () = assert!(size_of::<Rename>() == 40);

/// A thread moved to another cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cgroup {
    /// Who, and when.
    pub header: Header,
    /// The cgroup's id.
    pub cgroup: u64,
}

const _: () = assert!(size_of::<Cgroup>() == 32);

/// One TLB flush, where single events are asked for; [`Totals`] has the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tlb {
    /// The thread that ran: the culprit for a local flush and for reason 4,
    /// the victim for reason 1.
    pub header: Header,
    /// How many pages, or `u64::MAX` for everything.
    pub pages: u64,
    /// `enum tlb_flush_reason`.
    pub reason: u32,
    /// Nothing.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Tlb>() == 40);

/// The OOM killer's victim, from `oom:mark_victim`. Absent fields are `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Victim {
    /// `pid` is the victim; `tid` is the thread that ran the killer.
    pub header: Header,
    /// Mapped in all, kB.
    pub total_vm: u64,
    /// Resident anonymous, kB.
    pub anon_rss: u64,
    /// Resident file-backed, kB.
    pub file_rss: u64,
    /// Resident shared memory, kB.
    pub shmem_rss: u64,
    /// Page tables, kB.
    pub page_tables: u64,
    /// The user.
    pub uid: u32,
    /// `oom_score_adj`; `i32::MIN` where absent.
    pub score_adj: i32,
    /// Its name.
    pub comm: [u8; COMM],
}

const _: () = assert!(size_of::<Victim>() == 88);

/// The OOM killer at work, from `oom_kill_process`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Oom {
    /// `pid` and `tid` are the trigger: who asked for the memory.
    pub header: Header,
    /// The victim's points.
    pub points: u64,
    /// The pages it could choose among.
    pub total_pages: u64,
    /// The memory cgroup's id where one's limit was hit, or 0.
    pub memcg: u64,
    /// The victim.
    pub victim: u32,
    /// `enum oom_constraint`: none, cpuset, mempolicy, memcg.
    pub constraint: u32,
    /// The order of the allocation that failed; -1 for sysrq.
    pub order: i32,
    /// Its flags.
    pub gfp: u32,
    /// The trigger's name.
    pub comm: [u8; COMM],
}

const _: () = assert!(size_of::<Oom>() == 80);

/// Faults that did not fit a ring: their counts, latencies and evidence, all
/// but the single event's time, address and instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Spill {
    /// `time` is the last fault's end; `tid` is 0.
    pub header: Header,
    /// What all of them had in common. `time`, `latency`, `address`, `ip` and
    /// `tid` are the first one's and stand for nothing.
    pub common: Fault,
    /// How many.
    pub count: u64,
    /// Their latencies' sum.
    pub total: u64,
    /// The longest latency.
    pub max: u64,
    /// How many fell into each of [`buckets`](crate::buckets).
    pub buckets: [u32; crate::buckets::COUNT],
}

const _: () = assert!(size_of::<Spill>() == 24 + 64 + 24 + 4 * crate::buckets::COUNT);
const _: () = assert!(size_of::<Spill>().is_multiple_of(8));

/// What a cgroup's id is one of.
pub mod hierarchy {
    /// The second version's, which tells of threads.
    pub const UNIFIED: u32 = 0;
    /// The first version's that limits memory.
    pub const MEMORY: u32 = 1;
    /// The second version's, which limits memory too.
    pub const BOTH: u32 = 2;
}

/// What a cgroup is called, found by user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GroupName {
    /// Of nobody; `time` is 0.
    pub header: Header,
    /// The cgroup's id.
    pub cgroup: u64,
    /// How many bytes of `name` count.
    pub name_len: u32,
    /// [`hierarchy`].
    pub hierarchy: u32,
    /// Its path below the root of its hierarchy.
    pub name: [u8; PATH],
}

const _: () = assert!(size_of::<GroupName>() == 40 + PATH);
