//! Where a scenario plays: it says what it does, measures its accesses, and
//! writes down what they should have been.
//!
//! A measured section must take the scenario's own faults and no others. So
//! everything that the process has is touched before ("settled"), the output
//! is written between the sections, and the process stays on one CPU.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::declare::{
    Basis, Check, Count, Counter, Declaration, Expectation, Flushes, Origin, Total, Victim,
};
use super::sys::process::{self as proc, Usage};
use super::sys::{Area, numa, signal};
use super::witness;
use crate::fault::Kind;

/// What a scenario was given by its parent, which puts it back afterwards.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Given {
    /// A directory on a file system with a disk.
    pub(super) scratch: Option<PathBuf>,
    /// A memory cgroup to enter.
    pub(super) group: Option<super::group::Group>,
}

/// One line from a scenario to its parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// For people.
    Say(String),
    /// The last one.
    Declare(Box<Declaration>),
}

/// Why a scenario cannot be played here, found out while playing it.
#[derive(Debug)]
pub(super) struct Skip(pub(super) String);

impl Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What one measured section should have been: faults of a kind in an area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expect {
    kind: Kind,
    count: Count,
    area: Area,
    origin: Origin,
    basis: Basis,
    latency: Option<(u64, u64)>,
}

impl Expect {
    /// By the program's own accesses, counted by the program.
    pub(super) fn new(kind: Kind, count: Count, area: Area) -> Self {
        Self { kind, count, area, origin: Origin::User, basis: Basis::Program, latency: None }
    }

    /// Exactly so many.
    pub(super) fn exactly(kind: Kind, count: usize, area: Area) -> Self {
        Self::new(kind, Count::Exactly(count as u64), area)
    }

    /// Of another kind.
    fn as_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Somebody else touched.
    pub(super) fn by(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The count is known from elsewhere.
    pub(super) fn known(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    /// Each took at least and at most so long.
    pub(super) fn lasting(self, least: Duration, most: Duration) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { latency: Some((nanos(least), nanos(most))), ..self }
    }
}

/// Whose faults they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Several threads of the process share the count.
    pub(super) shared: bool,
}

impl Who {
    /// This thread.
    pub(super) fn me() -> Self {
        Self { pid: process::id(), tid: proc::thread_id(), shared: false }
    }

    /// The only thread of a forked child.
    pub(super) fn child(pid: i32) -> Self {
        let pid = pid.cast_unsigned();
        Self { pid, tid: pid, shared: false }
    }
}

/// The stage.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) given: Given,
    declaration: Declaration,
    settled: Vec<(std::ops::Range<usize>, bool)>,
    cpus: Vec<usize>,
}

impl Stage {
    /// Prepares this process: from here on nothing but the scenario faults.
    pub(super) fn new(scenario: &str, given: Given) -> anyhow::Result<Self> {
        Area::reserve(0).context("reserve address space")?;
        let cpus = proc::cpus()?;
        proc::pin(*cpus.first().context("no CPU to run on")?).context("stay on one CPU")?;
        proc::disable_huge_pages(true).context("turn huge pages off for this process")?;
        // A kernel without NUMA has no policies and needs none.
        let _ = numa::stay_local();
        let mut declaration = Declaration::new(scenario);
        declaration.pid = process::id();
        declaration.expectations.reserve(64);
        declaration.checks.reserve(64);
        let mut stage = Self { given, declaration, settled: Vec::new(), cpus };
        proc::settle_stack();
        let readable = |line: &witness::Line| {
            let private = line.permissions.starts_with('r') && line.permissions.ends_with('p');
            private && !line.name.starts_with("[v") && !line.name.starts_with("/dev/")
        };
        let writable = |line: &witness::Line| line.permissions.as_bytes().get(1) == Some(&b'w');
        let own = witness::maps()?.into_iter().filter(readable);
        stage.settled = own.map(|line| (line.range.clone(), writable(&line))).collect();
        stage.settle();
        Ok(stage)
    }

    /// The CPUs that it may use; it stays on the first.
    pub(super) fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// Touches all that the process had before the scenario, as after a fork,
    /// which leaves it write-protected. Call it with one thread.
    pub(super) fn settle(&self) {
        proc::settle_stack();
        for (range, writable) in &self.settled {
            proc::settle(range.clone(), *writable);
        }
    }

    /// Tells people what happens.
    #[expect(clippy::unused_self, reason = "only a scenario on its stage has something to say")]
    pub(super) fn say(&self, text: impl Display) -> anyhow::Result<()> {
        send(&Message::Say(text.to_string()))
    }

    /// Does `work` and declares its faults.
    pub(super) fn measure(
        &mut self,
        what: &str,
        expected: &[Expect],
        work: impl FnOnce(),
    ) -> anyhow::Result<Usage> {
        let caught = signal::caught().count;
        let usage = watch(work)?;
        let signals = signal::caught().count - caught;
        self.account_with(Who::me(), what, expected, usage, signals)?;
        Ok(usage)
    }

    /// The same for first writes to a shared mapping, `count` of them.
    ///
    /// Before 6.0 such a fault, done, lets go of the lock to throttle writers
    /// and asks to be tried again, which is counted as major although nothing
    /// was read: <https://elixir.bootlin.com/linux/v5.10/source/mm/memory.c>
    /// (`fault_dirty_shared_page`).
    pub(super) fn measure_shared(
        &mut self,
        what: &str,
        kind: Kind,
        count: usize,
        area: Area,
        work: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let usage = watch(work)?;
        let meant = Expect::exactly(kind, count, area);
        let tried_again = usage == Usage { minor: 0, major: count as u64 };
        let expected =
            if tried_again { meant.known(Basis::Rusage).as_kind(Kind::OtherMajor) } else { meant };
        self.account(Who::me(), what, &[expected], usage)
    }

    /// Declares faults that were watched, by this thread or another.
    pub(super) fn account(
        &mut self,
        who: Who,
        what: &str,
        expected: &[Expect],
        usage: Usage,
    ) -> anyhow::Result<()> {
        self.account_with(who, what, expected, usage, 0)
    }

    fn account_with(
        &mut self,
        who: Who,
        what: &str,
        expected: &[Expect],
        usage: Usage,
        signals: u64,
    ) -> anyhow::Result<()> {
        let agrees = agrees(expected, usage);
        for one in expected {
            self.declaration.expectations.push(Expectation {
                pid: who.pid,
                tid: (!who.shared).then_some(who.tid),
                kind: one.kind,
                count: one.count,
                start: one.area.start() as u64,
                end: one.area.end() as u64,
                region: witness::region(one.area.start())?,
                origin: one.origin,
                basis: one.basis,
                latency_ns: one.latency,
            });
        }
        let caught = if signals == 0 { String::new() } else { format!(", {signals} signals") };
        self.say(format_args!(
            "  {what}: {}; the kernel counted {} minor, {} major{caught}: {}",
            in_words(expected),
            usage.minor,
            usage.major,
            if agrees { "agrees" } else { "DISAGREES" }
        ))?;
        self.declaration.checks.push(Check {
            what: what.to_owned(),
            pid: who.pid,
            tid: who.tid,
            min_flt: usage.minor,
            maj_flt: usage.major,
            signals,
            agrees,
        });
        Ok(())
    }

    /// Declares what all faults in an area add up to, whatever their kinds.
    pub(super) fn declare_total(&mut self, who: Who, area: Area, count: Count) {
        let (start, end) = (area.start() as u64, area.end() as u64);
        self.declaration.totals.push(Total { pid: who.pid, start, end, count });
    }

    /// Declares TLB flushes of this thread.
    pub(super) fn declare_flushes(&mut self, reason: u32, at_least: usize) {
        let Who { pid, tid, .. } = Who::me();
        self.declaration.tlb.push(Flushes { pid, tid, reason, at_least: at_least as u64 });
    }

    /// Declares an OOM kill.
    pub(super) fn declare_victim(&mut self, pid: i32, cgroup: String) {
        self.declaration.oom.push(Victim { pid: pid.cast_unsigned(), cgroup });
    }

    /// The declaration, complete.
    pub(super) fn end(self) -> anyhow::Result<Declaration> {
        let wrong = self.declaration.checks.iter().find(|check| !check.agrees);
        if let Some(check) = wrong {
            anyhow::bail!(
                "{}: the kernel counted {} minor and {} major faults, which is not what was done",
                check.what,
                check.min_flt,
                check.maj_flt
            );
        }
        Ok(self.declaration)
    }
}

/// Does `work` between two looks at this thread's own counters.
pub(super) fn watch(work: impl FnOnce()) -> anyhow::Result<Usage> {
    let before = Usage::now()?;
    work();
    Ok(Usage::now()?.since(before))
}

/// Does `work` between two looks at this thread's counters and, closer to it,
/// two at the clock.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> anyhow::Result<(Usage, Duration)> {
    // The clock's own page is read here, not in the measured section.
    let _ = Instant::now();
    let mut took = Duration::ZERO;
    let usage = watch(|| {
        let start = Instant::now();
        drop(work());
        took = start.elapsed();
    })?;
    Ok((usage, took))
}

/// What is expected, kind by kind.
fn in_words(expected: &[Expect]) -> String {
    let mut kinds: Vec<(Kind, Count)> = Vec::new();
    for one in expected {
        match (kinds.last_mut(), one.count) {
            (Some((kind, Count::Exactly(sum))), Count::Exactly(more)) if *kind == one.kind => {
                *sum += more;
            }
            _ => kinds.push((one.kind, one.count)),
        }
    }
    if kinds.is_empty() {
        return "no fault".to_owned();
    }
    let words = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.name()));
    words.collect::<Vec<_>>().join(" + ")
}

/// Sends one line to the parent.
pub(super) fn send(message: &Message) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line).and_then(|()| output.flush()).context("write to standard output")
}

/// Whether the kernel's counts are what the kinds add up to.
fn agrees(expected: &[Expect], usage: Usage) -> bool {
    let within = |value: u64, counter: Counter| {
        let counts = expected.iter().filter(|one| Counter::of(one.kind) == Some(counter));
        let (low, high) = counts.fold((0, 0), |(low, high), one| {
            (low + one.count.low(), u64::saturating_add(high, one.count.high()))
        });
        (low..=high).contains(&value)
    };
    within(usage.minor, Counter::Minor) && within(usage.major, Counter::Major)
}
