//! The demo's scenarios against a trace of them: what was declared beside what
//! was reported, scenario by scenario and kind by kind. Pure; [`page`] writes it.

mod page;

pub use page::write;

use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::Seen;
use super::declare::{Count, Declaration, Expectation, Outcome, Total};
use super::settle::{Cell, Means, Settled};
use super::waits::Wait;
use crate::fault::Kind;

/// A trace of the demo.
#[derive(Clone, Debug)]
pub struct Trace {
    /// `fentry`, `kprobe` or `tracepoint`.
    pub backend: String,
    /// `uname -r`.
    pub kernel: String,
    /// How long it took.
    pub took: Duration,
    /// All its faults.
    pub faults: Vec<Seen>,
}

/// Everything held against everything.
#[derive(Debug)]
pub struct Check<'a> {
    trace: &'a Trace,
    scenes: Vec<Scene<'a>>,
    kinds: BTreeMap<Kind, OfKind>,
    waits: Vec<Wait>,
}

/// One scenario.
#[derive(Debug)]
struct Scene<'a> {
    declaration: &'a Declaration,
    /// All its faults, at least and at most.
    expected: Count,
    observed: u64,
    /// Reported as a coarser kind, as the backend says it does.
    merged: u64,
    /// Of those that were declared, what the backend does not see.
    unseen: u64,
    /// What went wrong, in words.
    wrong: Vec<String>,
}

/// One kind, in all scenarios.
#[derive(Debug, Default)]
struct OfKind {
    expected: u64,
    observed: u64,
    /// What it was reported as instead, and how often.
    instead: BTreeMap<Kind, u64>,
    unseen: u64,
    missing: u64,
    undeclared: u64,
    /// Those of all these that are not the backend's way.
    wrong: u64,
    latencies: Vec<u64>,
}

impl OfKind {
    fn occurs(&self) -> bool {
        self.expected + self.undeclared > 0
    }

    fn median(&mut self) -> Option<u64> {
        let middle = self.latencies.len() / 2;
        if self.latencies.is_empty() {
            return None;
        }
        Some(*self.latencies.select_nth_unstable(middle).1)
    }
}

impl<'a> Check<'a> {
    /// Holds a trace against the declarations.
    pub fn new(declarations: &'a [Declaration], trace: &'a Trace) -> Self {
        let means = Means::of_backend(&trace.backend);
        let mut by_pid: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
        for fault in &trace.faults {
            by_pid.entry(fault.pid).or_default().push(*fault);
        }
        let mut check =
            Self { trace, scenes: Vec::new(), kinds: BTreeMap::new(), waits: Vec::new() };
        for declaration in declarations {
            let scene = check.scene(declaration, &by_pid, means);
            check.scenes.push(scene);
        }
        check
    }

    /// Whether the trace says what the scenarios do.
    pub fn agrees(&self) -> bool {
        let played = |scene: &Scene<'_>| scene.declaration.outcome == Outcome::Done;
        let fine = |scene: &Scene<'_>| {
            scene.wrong.is_empty() && scene.declaration.outcome != Outcome::Failed
        };
        self.scenes.iter().any(played) && self.scenes.iter().all(fine)
    }

    fn scene(
        &mut self,
        declaration: &'a Declaration,
        by_pid: &BTreeMap<u32, Vec<Seen>>,
        means: Means,
    ) -> Scene<'a> {
        let mut pids: Vec<_> = declaration.expectations.iter().map(|one| one.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let faults: Vec<_> =
            pids.iter().filter_map(|pid| by_pid.get(pid)).flatten().copied().collect();
        let mut scene = Scene {
            declaration,
            expected: Count::Exactly(0),
            observed: 0,
            merged: 0,
            unseen: 0,
            wrong: Vec::new(),
        };
        if declaration.outcome != Outcome::Done {
            return scene;
        }
        for one in &declaration.expectations {
            if !means.sees(one) {
                scene.unseen += one.count.low();
                let kind = self.kinds.entry(one.kind).or_default();
                (kind.expected, kind.unseen) =
                    (kind.expected + one.count.low(), kind.unseen + one.count.low());
            }
        }
        for settled in declaration.settle(&faults, means) {
            scene.add(&settled);
            settled.cells.iter().for_each(|cell| self.count(cell));
            let here = faults.iter().filter(|fault| settled.place.holds(fault.pid, fault.address));
            // A merged fault would tell the time of another kind.
            let declared = |kind| settled.place.expectations.iter().any(|one| one.kind == kind);
            for fault in here.filter(|fault| declared(fault.kind)) {
                self.kinds.entry(fault.kind).or_default().latencies.push(fault.latency);
            }
        }
        if means == Means::Marks {
            let totals = declaration.wrong_totals(&faults);
            scene.wrong.extend(totals.map(|(total, seen)| {
                format!("{} faults of any kind in all, not {seen}", total.count)
            }));
        }
        let waits = declaration.waits(&faults);
        let odd = waits.iter().filter(|wait| !wait.holds());
        scene.wrong.extend(odd.map(|wait| {
            let Wait { least, most, told, .. } = wait;
            format!("a fault of {least} to {most} ns took {told} ns")
        }));
        self.waits.extend(waits);
        scene
    }

    fn count(&mut self, cell: &Cell) {
        let Cell { declared, reported, count, allowed } = *cell;
        let wrong = if allowed { 0 } else { count };
        let Some(kind) = declared else {
            if let Some(kind) = reported {
                let row = self.kinds.entry(kind).or_default();
                (row.undeclared, row.wrong) = (row.undeclared + count, row.wrong + wrong);
            }
            return;
        };
        let row = self.kinds.entry(kind).or_default();
        (row.expected, row.wrong) = (row.expected + count, row.wrong + wrong);
        match reported {
            Some(same) if same == kind => row.observed += count,
            Some(other) => *row.instead.entry(other).or_default() += count,
            None => row.missing += count,
        }
    }
}

impl Scene<'_> {
    fn add(&mut self, settled: &Settled<'_>) {
        let place = &settled.place;
        let same = |total: &&Total| {
            (total.pid, total.start, total.end) == (place.pid, place.start, place.end)
        };
        let sum = |sum: Count, one: &&Expectation| sum.and(one.count);
        let counts = place.expectations.iter().fold(Count::Exactly(0), sum);
        let total = self.declaration.totals.iter().find(same).map(|total| total.count);
        self.expected = self.expected.and(total.unwrap_or(counts));
        self.observed += settled.rows.iter().map(|row| row.seen).sum::<u64>();
        for cell in &settled.cells {
            if !cell.allowed {
                self.wrong.push(in_words(cell));
            } else if cell.declared != cell.reported {
                self.merged += cell.count;
            }
        }
    }
}

fn in_words(cell: &Cell) -> String {
    let count = cell.count;
    match (cell.declared, cell.reported) {
        (Some(declared), Some(reported)) => format!("{count} {declared} reported as {reported}"),
        (Some(declared), None) => format!("{count} {declared} not reported"),
        (None, Some(reported)) => format!("{count} {reported} that nobody declared"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests;
