//! The numbers of a report. The JSON output is these types as they stand: their
//! fields are the schema, which `docs/output-schema.md` describes.

mod build;
mod sums;

pub use build::Limits;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::fault::{Class, Kind};

/// The schema's name. Keys may be added under it; renaming one needs a new name.
pub const SCHEMA: &str = "vmtrace.report/1";

/// A whole report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// `fentry`, `kprobe` or `tracepoint`.
    pub backend: String,
    /// The kernel's release.
    pub kernel: String,
    /// The host's name.
    pub host: String,
    /// What was traced, in words.
    pub target: String,
    /// The command line that traced it.
    pub command_line: Vec<String>,
    /// When the session began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// From the session's start to its last record.
    pub duration_ns: u64,
    /// What the backend could not do.
    pub degradations: Vec<String>,
    /// There were more histograms than memory for them: some percentiles are not
    /// told. Counts and times are exact all the same.
    pub latencies_folded: bool,
    /// What was left out on request: empty, or in words.
    pub filters: Vec<String>,
    /// What arrived against what the kernel counted.
    pub accounting: Accounting,
    /// The four classes.
    pub classes: Classes,
    /// The kinds that occurred.
    pub kinds: Kinds,
    /// What copy-on-write copied.
    pub cow: Copied,
    /// The table that `--by` asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<ByTable>,
    /// The processes that spent most time in faults, most first.
    pub processes: Vec<ProcessSummary>,
    /// How many processes there were in all.
    pub processes_total: usize,
    /// TLB flushes.
    pub tlb: Tlb,
    /// The OOM killer's doings.
    pub oom: Vec<OomKill>,
}

/// Counts and latencies of some faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// How many.
    pub count: u64,
    /// Their latencies' sum.
    pub total_ns: u64,
    /// The median; null where no latency is known or latencies were folded.
    pub p50_ns: Option<u64>,
    /// Nine in ten are no longer.
    pub p90_ns: Option<u64>,
    /// 99 in a hundred.
    pub p99_ns: Option<u64>,
    /// 999 in a thousand.
    pub p999_ns: Option<u64>,
    /// The longest.
    pub max_ns: u64,
}

/// The classes' statistics, by [`Class::index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(pub [Stats; 4]);

impl Classes {
    /// One class's.
    pub const fn of(&self, class: Class) -> &Stats {
        &self.0[class.index()]
    }

    /// All faults.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, stats| sum.saturating_add(stats.count))
    }

    /// All time.
    pub fn total_ns(&self) -> u64 {
        self.0.iter().fold(0, |sum, stats| sum.saturating_add(stats.total_ns))
    }
}

impl Serialize for Classes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        for class in Class::ALL {
            map.serialize_entry(class.name(), self.of(class))?;
        }
        map.end()
    }
}

/// Statistics of the kinds that occurred, in the order of [`Kind::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(pub Vec<(Kind, Stats)>);

impl Kinds {
    /// One kind's.
    pub fn of(&self, kind: Kind) -> Stats {
        self.0.iter().find(|(of, _)| *of == kind).map_or_else(Stats::default, |(_, stats)| *stats)
    }
}

impl Serialize for Kinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct WithClass<'a> {
            class: &'static str,
            #[serde(flatten)]
            stats: &'a Stats,
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (kind, stats) in &self.0 {
            map.serialize_entry(kind.name(), &WithClass { class: kind.class().name(), stats })?;
        }
        map.end()
    }
}

/// The account of a session or a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Accounting {
    /// Faults that ended under the programs' eyes.
    pub seen: u64,
    /// Sent one by one.
    pub emitted: u64,
    /// Folded together in the kernel for want of room, and counted all the same.
    pub spilled: u64,
    /// Neither: gone.
    pub lost: u64,
    /// Left out in the kernel by a filter.
    pub filtered: u64,
    /// Faults whose end was not seen.
    pub stale: u64,
    /// How much the kernel's own `min_flt` grew over the same time.
    pub min_flt: u64,
    /// How much its `maj_flt` grew.
    pub maj_flt: u64,
    /// Faults that arrived here, one by one or folded.
    pub received: u64,
    /// Faults before the part that the recording keeps.
    pub older: u64,
    /// Faults that only the kernel's counters tell of: it skipped the programs that
    /// should have seen them.
    pub unseen: u64,
    /// Nothing is missing and the classes add up to the kernel's counters.
    pub complete: bool,
    /// Why not, in sentences.
    pub incomplete_because: Vec<String>,
}

/// What copy-on-write copied, as far as its size is known: base pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// Pages.
    pub copied_pages: u64,
    /// Bytes.
    pub copied_bytes: u64,
}

/// One process.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProcessSummary {
    /// Its id.
    pub pid: u32,
    /// The process that made it; 0 where that is not known.
    pub parent: u32,
    /// Its host, where several recordings are reported on together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its name, the last it had.
    pub comm: String,
    /// Its account.
    pub accounting: Accounting,
    /// Its classes.
    pub classes: Classes,
    /// Its kinds.
    pub kinds: Kinds,
    /// Its latencies, by powers of two.
    pub histogram: Vec<Bar>,
    /// The regions it spent most time in, most first.
    pub regions: Vec<RegionSummary>,
    /// How many regions with faults it had.
    pub regions_total: usize,
    /// Its TLB flushes.
    pub tlb: Tlb,
}

/// Faults whose latency lay in `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bar {
    /// The shortest.
    pub from_ns: u64,
    /// One more than the longest.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

/// One region.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RegionSummary {
    /// Its name.
    pub name: String,
    /// `text`, `rodata`, `data` or `bss` of an object; empty for others.
    pub part: &'static str,
    /// The lowest address it had.
    #[serde(serialize_with = "hex")]
    pub start: u64,
    /// One past the highest.
    #[serde(serialize_with = "hex")]
    pub end: u64,
    /// Permissions as in `/proc/PID/maps`.
    pub perm: String,
    /// Its classes.
    pub classes: Classes,
    /// Its kinds.
    pub kinds: Kinds,
}

/// A table by some key.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ByTable {
    /// What it is by.
    pub key: &'static str,
    /// Its rows, the most time first.
    pub rows: Vec<ByRow>,
    /// How many there were in all.
    pub rows_total: usize,
}

/// One row of such a table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ByRow {
    /// What people call it.
    pub name: String,
    /// The process it belongs to, where it belongs to one.
    pub pid: Option<u32>,
    /// That process's host, where several recordings are reported on together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The key's number: thread, CPU, node, cgroup or instruction.
    pub value: Option<u64>,
    /// All its faults.
    pub faults: Stats,
    /// By class.
    pub classes: Classes,
}

/// TLB flushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tlb {
    /// How many.
    pub flushes: u64,
    /// Pages flushed one by one.
    pub pages: u64,
    /// Flushes of everything.
    pub full: u64,
    /// How many for each reason.
    pub by_reason: Reasons,
}

/// Flushes by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(pub [u64; vmtrace_common::record::TLB_REASONS]);

/// The reasons' names, by the kernel's number.
pub const REASONS: [&str; vmtrace_common::record::TLB_REASONS] = [
    "task-switch",
    "remote-shootdown",
    "local-shootdown",
    "local-mm-shootdown",
    "remote-ipi-send",
    "remote-wrong-cpu",
];

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(REASONS.into_iter().zip(self.0))
    }
}

/// One kill by the OOM killer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OomKill {
    /// When, from the session's start.
    pub at_ns: u64,
    /// Who died.
    pub victim: OomVictim,
    /// Who asked for memory, and what for; null where that was not seen.
    pub trigger: Option<OomTrigger>,
}

/// The victim; null is what the kernel did not say.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OomVictim {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its user.
    pub uid: Option<u32>,
    /// Its `oom_score_adj`.
    pub score_adj: Option<i32>,
    /// Mapped in all.
    pub total_vm_kb: Option<u64>,
    /// Resident, anonymous.
    pub anon_rss_kb: Option<u64>,
    /// Resident, of files.
    pub file_rss_kb: Option<u64>,
    /// Resident, shared memory.
    pub shmem_rss_kb: Option<u64>,
    /// Page tables.
    pub page_tables_kb: Option<u64>,
}

/// The request that could not be met.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OomTrigger {
    /// Whose.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// What limited it: `none` is the whole machine.
    pub constraint: &'static str,
    /// The memory cgroup whose limit was hit, or 0.
    pub memcg: u64,
    /// Its path below the root of its hierarchy, where it was found.
    pub memcg_name: Option<String>,
    /// The allocation's order; -1 for sysrq.
    pub order: i32,
    /// The victim's points.
    pub points: u64,
    /// The pages the killer could choose among.
    pub total_pages: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn hex<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}
