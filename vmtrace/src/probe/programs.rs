//! The eBPF programs: where each attaches, which backend wants it, and what is
//! lost where it cannot be had.

/// How a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A raw tracepoint.
    RawTracepoint,
    /// A tracepoint with its formatted fields, in this category.
    Tracepoint(&'static str),
    /// A kernel function's entry.
    Fentry,
    /// A kernel function's return.
    Fexit,
    /// A kernel function's entry, by breakpoint or ftrace.
    Kprobe,
    /// A kernel function's return, likewise.
    Kretprobe,
    /// The perf software event of faults without I/O, on every CPU.
    MinorEvent,
    /// The perf software event of faults with I/O, on every CPU.
    MajorEvent,
}

impl Hook {
    /// The hook's name, as `vmtrace doctor` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw tracepoint",
            Self::Tracepoint(_) => "tracepoint",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::MinorEvent | Self::MajorEvent => "perf event",
        }
    }
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// How it attaches.
    pub hook: Hook,
    /// What it attaches to: the first of these that works.
    pub places: &'static [&'static str],
    /// What is lost without it; `None` where nothing works without it.
    pub without: Option<&'static str>,
}

impl Program {
    /// The `kprobe` backend's program for the same mark. Before 6.1 no
    /// fentry attaches to a function that takes a structure by value, as a page
    /// table's entry is, and none to one whose copy the compiler specialised; a
    /// mark lies on a rare path, where a kprobe's price does not matter.
    pub fn stand_in(&self) -> Option<&'static Self> {
        let same = |one: &&Self| one.name.strip_suffix("_kprobe") == Some(self.name);
        let wanted = self.hook == Fentry && self.without.is_some();
        KPROBE.iter().filter(|_| wanted).find(same)
    }
}

const fn must(name: &'static str, hook: Hook, places: &'static [&'static str]) -> Program {
    Program { name, hook, places, without: None }
}

const fn may(
    name: &'static str,
    hook: Hook,
    places: &'static [&'static str],
    without: &'static str,
) -> Program {
    Program { name, hook, places, without: Some(without) }
}

use Hook::{Fentry, Fexit, Kprobe, Kretprobe, MajorEvent, MinorEvent, RawTracepoint};

/// Threads' births, deaths and changes.
pub const LIFECYCLE: &[Program] = &[
    must("task_free", RawTracepoint, &["sched_process_free"]),
    must("task_exit", RawTracepoint, &["sched_process_exit"]),
    must("task_new", RawTracepoint, &["task_newtask"]),
    may("task_exec", RawTracepoint, &["sched_process_exec"], "a new program keeps its old name"),
    may("task_rename", RawTracepoint, &["task_rename"], "a renamed thread keeps its old name"),
    may("task_cgroup", RawTracepoint, &["cgroup_attach_task"], "moves between cgroups are missed"),
];

/// What lies beside the faults, in every backend.
pub const BESIDE: &[Program] = &[
    may("signal", RawTracepoint, &["signal_generate"], "invalid faults are not seen"),
    may("tlb_flush", RawTracepoint, &["tlb_flush"], "TLB flushes are not counted"),
    may("oom_victim", Hook::Tracepoint("oom"), &["mark_victim"], "OOM kills are not seen"),
];

/// A fault's beginning. Attached last and detached first, so that no fault is
/// begun whose end cannot be seen.
pub const STARTS: &[Program] = &[
    must("fault_user", RawTracepoint, &["page_fault_user"]),
    must("fault_kernel", RawTracepoint, &["page_fault_kernel"]),
];

const NO_REUSE: &str = "cow-copy, cow-reuse and cow-zero are not told apart";
const NO_SWAP: &str = "swap-in and swap-cache are taken for first touches";
const NO_HUGE: &str = "thp is taken for anon-zero, thp-zero for anon-read";
const NO_HUGE_WRITE: &str = "cow-thp is taken for spurious or cow-copy";
const NO_NUMA: &str = "numa-hint is taken for spurious";
const NO_USERFAULT: &str = "userfault is taken for what it mended";
const NO_MIGRATION: &str = "migration is taken for a first touch";
const NO_HUGETLB: &str = "cow-hugetlb is taken for hugetlb";
const NO_ACCESS: &str = "some spurious faults are taken for first touches";
const NO_FIXUP: &str = "kernel-efault is not seen";
const NO_OOM: &str = "an OOM kill's constraint, cgroup and trigger are not known";

/// The `fentry` backend's own.
pub const FENTRY: &[Program] = &[
    must("handle_leave", Fexit, &["handle_mm_fault"]),
    may("write_protect", Fexit, &["do_wp_page"], NO_REUSE),
    may("swap", Fentry, &["do_swap_page"], NO_SWAP),
    may("huge", Fexit, &["do_huge_pmd_anonymous_page"], NO_HUGE),
    may("huge_write", Fentry, &["do_huge_pmd_wp_page"], NO_HUGE_WRITE),
    may("numa_hint", Fentry, &["task_numa_fault", "do_numa_page"], NO_NUMA),
    may("userfault", Fentry, &["handle_userfault"], NO_USERFAULT),
    may("migration", Fentry, &["migration_entry_wait"], NO_MIGRATION),
    may("migration_huge", Fentry, &["pmd_migration_entry_wait"], NO_MIGRATION),
    may("hugetlb_write", Fentry, &["hugetlb_wp", "hugetlb_cow"], NO_HUGETLB),
    may("access", Fentry, &["ptep_set_access_flags"], NO_ACCESS),
    may("access_huge", Fentry, &["pmdp_set_access_flags"], NO_ACCESS),
    may("fixup", Fentry, &["fixup_exception"], NO_FIXUP),
    may("oom_kill", Fentry, &["oom_kill_process"], NO_OOM),
];

/// What shows the `fentry` backend the beginnings of faults that take no exception,
/// and the regions of those that end with the lock dropped: the first of these
/// lists that attaches whole. The last is dearer by far, because every fault of
/// every process comes by it, and not only the rare ones.
pub const FENTRY_BEGINNINGS: &[&[Program]] = &[
    &[
        must("shared_write", Fentry, &["fault_dirty_shared_page"]),
        must("gup_look", Fentry, &["follow_page_mask"]),
    ],
    &[
        must("shared_write", Fentry, &["fault_dirty_shared_page"]),
        must("gup_look", Fentry, &["follow_page_pte"]),
        must("gup_look_table", Fentry, &["no_page_table"]),
    ],
    &[must("handle_enter", Fentry, &["handle_mm_fault"])],
];

/// The `kprobe` backend's own.
pub const KPROBE: &[Program] = &[
    must("handle_leave_kprobe", Kretprobe, &["handle_mm_fault"]),
    must("handle_enter_kprobe", Kprobe, &["handle_mm_fault"]),
    may("write_protect_kretprobe", Kretprobe, &["do_wp_page"], NO_REUSE),
    may("write_protect_kprobe", Kprobe, &["do_wp_page"], NO_REUSE),
    may("swap_kprobe", Kprobe, &["do_swap_page"], NO_SWAP),
    may("huge_kretprobe", Kretprobe, &["do_huge_pmd_anonymous_page"], NO_HUGE),
    may("huge_write_kprobe", Kprobe, &["do_huge_pmd_wp_page"], NO_HUGE_WRITE),
    may("numa_hint_kprobe", Kprobe, &["task_numa_fault", "do_numa_page"], NO_NUMA),
    may("userfault_kprobe", Kprobe, &["handle_userfault"], NO_USERFAULT),
    may("migration_kprobe", Kprobe, &["migration_entry_wait"], NO_MIGRATION),
    may("migration_huge_kprobe", Kprobe, &["pmd_migration_entry_wait"], NO_MIGRATION),
    may("hugetlb_write_kprobe", Kprobe, &["hugetlb_wp", "hugetlb_cow"], NO_HUGETLB),
    may("access_kprobe", Kprobe, &["ptep_set_access_flags"], NO_ACCESS),
    may("access_huge_kprobe", Kprobe, &["pmdp_set_access_flags"], NO_ACCESS),
    may("fixup_kprobe", Kprobe, &["fixup_exception"], NO_FIXUP),
    may("oom_kill_kprobe", Kprobe, &["oom_kill_process"], NO_OOM),
];

/// The `tracepoint` backend's own.
pub const TRACEPOINT: &[Program] = &[
    must("minor_event", MinorEvent, &["page-faults-min"]),
    must("major_event", MajorEvent, &["page-faults-maj"]),
    may(
        "page_alloc",
        RawTracepoint,
        &["mm_page_alloc"],
        "copied and reused, huge and small pages are not told apart",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_a_stand_in_and_an_end_has_none() {
        let of = |name: &str| {
            let program = FENTRY.iter().find(|one| one.name == name).unwrap();
            program.stand_in().map(|one| one.name)
        };
        assert_eq!(of("huge_write"), Some("huge_write_kprobe"));
        assert_eq!(of("hugetlb_write"), Some("hugetlb_write_kprobe"));
        assert_eq!(of("handle_enter"), None, "nothing works without it");
        assert_eq!(of("write_protect"), None, "its return is what matters");
    }
}
