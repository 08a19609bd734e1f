//! What a scenario declares: which faults, of which kind, how many, where.
//!
//! One JSON object per scenario. It is written for a checker that has a trace
//! of the same process: for every expectation it takes the faults of `pid`
//! whose address lies in `[start, end)` and compares kind by kind. Every fault
//! in a declared range is declared, so that one too many is an error as well.

use serde::{Deserialize, Serialize};

use crate::fault::{Class, Kind};

/// The version of [`Declaration`]'s form.
pub const SCHEMA: &str = "vmtrace.demo/1";

/// The kernel's two counters of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `min_flt`.
    Minor,
    /// `maj_flt`.
    Major,
}

impl Counter {
    /// The one that a fault of this kind raises; none where the fault failed.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind.class() {
            Class::Minor | Class::Cow => Some(Self::Minor),
            Class::Major => Some(Self::Major),
            Class::Invalid => None,
        }
    }
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// This many.
    Exactly(u64),
    /// This many or more.
    AtLeast(u64),
    /// The first at least, the second at most.
    Between(u64, u64),
}

impl Count {
    /// The least number that it allows.
    pub fn low(self) -> u64 {
        match self {
            Self::Exactly(n) | Self::AtLeast(n) | Self::Between(n, _) => n,
        }
    }

    /// The greatest number that it allows.
    pub fn high(self) -> u64 {
        match self {
            Self::Exactly(n) | Self::Between(_, n) => n,
            Self::AtLeast(_) => u64::MAX,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (low, high) = (self.low() + other.low(), self.high().saturating_add(other.high()));
        match high {
            u64::MAX => Self::AtLeast(low),
            _ if low == high => Self::Exactly(low),
            _ => Self::Between(low, high),
        }
    }

    /// Whether it allows `n`.
    pub fn allows(self, n: u64) -> bool {
        (self.low()..=self.high()).contains(&n)
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::AtLeast(n) => write!(f, "at least {n}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
        }
    }
}

/// Who touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The program itself.
    User,
    /// The kernel, in a system call that was given the address.
    Kernel,
    /// `get_user_pages`: no exception was taken.
    Gup,
    /// Another exception than a page fault (#GP).
    Trap,
}

/// How the scenario knows the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Its program: it touched so many pages.
    Program,
    /// The kernel's count for the thread, `getrusage`.
    Rusage,
    /// `mincore`, asked before the touch.
    Mincore,
    /// `/proc/PID/pagemap`: which page frames changed, or were there.
    Pagemap,
    /// `/proc/PID/smaps`.
    Smaps,
}

/// So many faults of this kind in this range by this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The process.
    pub pid: u32,
    /// The thread, or `None` where several share the count.
    pub tid: Option<u32>,
    /// The kind.
    #[serde(with = "kind")]
    pub kind: Kind,
    /// How many.
    pub count: Count,
    /// The first address.
    #[serde(with = "hex")]
    pub start: u64,
    /// One past the last address. Equal to `start` where the exception tells no address.
    #[serde(with = "hex")]
    pub end: u64,
    /// The region's name as `/proc/PID/maps` prints it; empty for anonymous
    /// memory and for none.
    pub region: String,
    /// Who touched.
    pub origin: Origin,
    /// How the count is known.
    pub basis: Basis,
    /// Each of these faults took at least and at most so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<(u64, u64)>,
}

/// All faults in a range, whatever their kinds.
///
/// Declared where the kernel leaves no trace of which of two kinds a fault was:
/// then each kind's count is a range, and their sum is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The process.
    pub pid: u32,
    /// The first address.
    #[serde(with = "hex")]
    pub start: u64,
    /// One past the last address.
    #[serde(with = "hex")]
    pub end: u64,
    /// How many.
    pub count: Count,
}

/// One measured section: what the kernel counted while it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was done.
    pub what: String,
    /// Who did it.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The growth of its `ru_minflt`.
    pub min_flt: u64,
    /// The growth of its `ru_majflt`.
    pub maj_flt: u64,
    /// Signals that a handler caught meanwhile.
    pub signals: u64,
    /// Whether that is what the declared kinds add up to.
    pub agrees: bool,
}

/// TLB flushes that a thread caused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushes {
    /// The process.
    pub pid: u32,
    /// The thread that changed the page tables.
    pub tid: u32,
    /// `enum tlb_flush_reason`.
    pub reason: u32,
    /// How many at least.
    pub at_least: u64,
}

/// A process that the OOM killer chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// The process.
    pub pid: u32,
    /// The memory cgroup whose limit was hit, from the root of the hierarchy.
    pub cgroup: String,
}

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it declares.
    Done,
    /// Something that it needs is not here.
    Skipped,
    /// It could not do it, or the kernel counted something else.
    Failed,
}

/// Everything a scenario has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// [`SCHEMA`].
    pub schema: String,
    /// The scenario's name.
    pub scenario: String,
    /// The running kernel's release.
    pub kernel: String,
    /// The scenario's process; 0 where it was not started.
    pub pid: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was skipped or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The faults.
    pub expectations: Vec<Expectation>,
    /// What kinds that cannot be told apart add up to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<Total>,
    /// What `getrusage` says to it.
    pub checks: Vec<Check>,
    /// TLB flushes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tlb: Vec<Flushes>,
    /// OOM kills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oom: Vec<Victim>,
}

impl Declaration {
    /// One that says nothing yet.
    pub fn new(scenario: &str) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            schema: SCHEMA.to_owned(),
            scenario: scenario.to_owned(),
            kernel: release.trim().to_owned(),
            pid: 0,
            outcome: Outcome::Done,
            reason: None,
            expectations: Vec::new(),
            totals: Vec::new(),
            checks: Vec::new(),
            tlb: Vec::new(),
            oom: Vec::new(),
        }
    }

    /// One of a scenario that did not run, or not to its end.
    pub fn ended(scenario: &str, outcome: Outcome, reason: String) -> Self {
        Self { outcome, reason: Some(reason), ..Self::new(scenario) }
    }
}

/// Kinds by their names.
mod kind {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::fault::Kind;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde prescribes the signature")]
    pub(super) fn serialize<S: Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Addresses as `"0x…"`: JSON's numbers lose bits above 2^53.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde prescribes the signature")]
    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("no 0x"))?;
        u64::from_str_radix(digits, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_survives_its_json() {
        let mut declaration = Declaration::new("anon-write");
        declaration.expectations.push(Expectation {
            pid: 1,
            tid: Some(1),
            kind: Kind::AnonZero,
            count: Count::Between(1, 2),
            start: 0x7f00_0000_0000,
            end: 0xffff_ffff_ffff_f000,
            region: String::new(),
            origin: Origin::User,
            basis: Basis::Program,
            latency_ns: None,
        });
        let json = serde_json::to_string(&declaration).unwrap();
        assert!(json.contains(r#""kind":"anon-zero""#), "{json}");
        assert!(json.contains(r#""count":{"between":[1,2]}"#), "{json}");
        assert!(json.contains(r#""end":"0xfffffffffffff000""#), "{json}");
        assert_eq!(serde_json::from_str::<Declaration>(&json).unwrap(), declaration);
    }
}
