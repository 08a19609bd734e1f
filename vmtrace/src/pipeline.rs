//! Records in, tallies out: where decoding, attribution, classification and
//! counting meet. The same for a live session and for a recording.
//!
//! Most faults are like the one before: the same process, the same region, the
//! same kind. Each step remembers its last answer, and a step that remembers
//! has nothing to look up.

mod groups;
mod hot;
mod oom;
mod unseen;

pub use hot::Observer;
pub use oom::{Cause, Memory, Story};

use vmtrace_common::config::SPILL_WINDOW;
use vmtrace_common::counters::Counters;
use vmtrace_common::evidence::end;
use vmtrace_common::record::{Fault, Header, Spill, Tlb, Totals};

use crate::classify::{self, Classifier, Surroundings};
use crate::decode::{self, Malformed, Rare};
use crate::fault::{Kind, Kinds};
use crate::recording;
use crate::region::{Place, World};
use crate::stream::{Lacks, Sink};
use crate::tally::account::Accounts;
use crate::tally::keyed::{Key, Keyed};
use crate::tally::{By, Tally, latency};

/// What the pipeline has to know beforehand.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tracepoint backend: a child has its parent's regions.
    pub inherit: bool,
    /// The tracepoint backend watches allocations.
    pub allocations: bool,
    /// The kinds to keep.
    pub kinds: Kinds,
    /// Faults shorter than this are left out.
    pub min_latency: u64,
    /// What else to count by.
    pub by: By,
    /// The NUMA node of each CPU.
    pub cpu_nodes: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            inherit: false,
            allocations: true,
            kinds: Kinds::ALL,
            min_latency: 0,
            by: By::default(),
            cpu_nodes: Vec::new(),
        }
    }
}

impl Options {
    /// As a backend of this name needs it.
    pub fn for_backend(backend: &str) -> Self {
        let inherit = backend.split('+').any(|one| one == "tracepoint");
        Self { inherit, ..Self::default() }
    }

    /// Whether something is left out.
    pub fn filters(&self) -> bool {
        self.kinds != Kinds::ALL || self.min_latency > 0
    }
}

/// What was counted of the stream itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Faults that arrived, one by one or in spills, filtered or not.
    pub received: u64,
    /// Of these, in spills.
    pub spilled: u64,
    /// What a recording lacks.
    pub lacks: Lacks,
    /// Those that a filter left out here.
    pub filtered: u64,
    /// Faults whose latency is not known.
    pub untimed: u64,
    /// Faults that only the kernel's counters tell of.
    pub unseen: u64,
    /// Records that were none.
    pub malformed: u64,
    /// The last of these.
    pub last_malformed: Option<Malformed>,
    /// The latest time in any record.
    pub last_time: u64,
    /// The session's own account.
    pub counters: Counters,
}

/// The pipeline. `O` sees every fault that passes the filters.
#[derive(Debug)]
pub struct Pipeline<O = ()> {
    options: Options,
    world: World,
    tally: Tally,
    classifier: Classifier,
    keyed: Option<Keyed>,
    accounts: Accounts,
    stream: Stream,
    stories: Vec<Story>,
    groups: groups::Groups,
    hot: hot::Hot,
    observer: O,
    filters: bool,
}

impl Pipeline {
    /// A pipeline that only counts.
    pub fn new(options: Options) -> Self {
        Self::observed(options, ())
    }
}

impl<O: Observer> Pipeline<O> {
    /// A pipeline that shows each fault to someone.
    pub fn observed(options: Options, observer: O) -> Self {
        Self {
            world: World::new(options.inherit),
            tally: Tally::default(),
            classifier: Classifier::new(options.allocations),
            keyed: options.by.is_own().then(Keyed::default),
            accounts: Accounts::default(),
            stream: Stream::default(),
            stories: Vec::new(),
            groups: groups::Groups::default(),
            hot: hot::Hot::default(),
            observer,
            filters: options.filters(),
            options,
        }
    }

    /// How it was set up.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Processes, rows and names.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Counts by row and kind.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts by the key that was asked for, where rows do not give it.
    pub const fn keyed(&self) -> Option<&Keyed> {
        self.keyed.as_ref()
    }

    /// What the kernel counted.
    pub const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What was counted of the stream.
    pub const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The OOM killer's doings.
    pub fn stories(&self) -> &[Story] {
        &self.stories
    }

    /// Who sees the faults.
    pub const fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    fn apply(&mut self, record: &Rare) {
        match record {
            Rare::Region(region) => self.world.describe(region),
            Rare::Task(task) => self.world.task(task),
            Rare::Exec(exec) => self.world.exec(exec),
            Rare::Exit(totals) => self.exit(totals),
            Rare::Totals(totals) => self.close(totals),
            Rare::Rename(rename) => self.rename(rename),
            Rare::Cgroup(cgroup) => {
                self.world.move_to_cgroup(cgroup.header.tid, cgroup.cgroup);
            }
            Rare::Victim(victim) => oom::add_victim(&mut self.stories, victim),
            Rare::Oom(cause) => oom::add_cause(&mut self.stories, cause),
            Rare::Spill(spill) => self.spill(spill),
            Rare::Tlb(tlb) => self.flush(tlb),
            Rare::Counters(counters) => {
                self.stream.counters = *counters;
                self.count_unseen();
            }
            Rare::Doorbell(_) => {}
            Rare::GroupName(name) => self.name_group(name),
        }
    }

    fn exit(&mut self, totals: &Totals) {
        let process = self.world.owner(totals.header.pid);
        self.accounts.add(process, totals);
        self.world.exit(&totals.header);
    }

    /// A thread's account: the kernel let go of it, or the session ended.
    fn close(&mut self, totals: &Totals) {
        let process = self.world.close(&totals.header);
        let id = totals.header.tid;
        if recording::pid_of(id) == 0 {
            self.accounts.so_far(id, process, totals);
        } else {
            self.accounts.add(process, totals);
        }
    }

    fn rename(&mut self, rename: &vmtrace_common::record::Rename) {
        self.world.rename(rename);
        let Header { pid, tid, .. } = rename.header;
        if self.options.by == By::Thread {
            let key = Key { process: self.world.owner(pid), value: tid.into() };
            let label = self.thread_label(tid);
            if let Some(keyed) = &mut self.keyed {
                keyed.relabel(key, &label);
            }
        }
    }

    fn flush(&mut self, tlb: &Tlb) {
        self.observer.flush(tlb, &self.world);
    }

    /// Faults that were folded in the kernel join the same cells.
    fn spill(&mut self, spill: &Spill) {
        let common = Fault { pid: spill.header.pid, ..spill.common };
        self.stream.received = self.stream.received.saturating_add(spill.count);
        self.stream.spilled = self.stream.spilled.saturating_add(spill.count);
        let place = self.spilled_place(&common);
        let nature = classify::nature_of(&common, place.nature);
        let around = Surroundings { nature, below_stack: false };
        let kind = self.classifier.learn(&common, around);
        let shortest = self.options.min_latency;
        if !self.options.kinds.contains(kind) || spill.max < shortest {
            self.stream.filtered = self.stream.filtered.saturating_add(spill.count);
            return;
        }
        if common.end() == end::RECONSTRUCTED {
            self.stream.untimed = self.stream.untimed.saturating_add(spill.count);
        }
        let sums = (spill.count, spill.total, spill.max);
        let cell = self.tally.cell(place.row, kind);
        self.tally.cells_mut().add(cell, sums, latency::spilled(spill));
        if let Some(keyed) = &mut self.keyed {
            let by_cpu = matches!(self.options.by, By::Cpu | By::Node);
            let (key, label) = if by_cpu {
                hot::cpu_key(&self.options, spill.header.cpu)
            } else {
                let process = u32::MAX;
                (Key { process, value: Key::SPILLED }, "(spilled)".to_owned())
            };
            let cell = keyed.cell(key, kind, || label);
            keyed.cells_mut().add(cell, sums, latency::spilled(spill));
        }
    }

    /// Where spilled faults lie. Their address is one of many: a region's start
    /// stands for all of them; without one, only a region that holds the whole
    /// window that the kernel side folds together.
    fn spilled_place(&mut self, common: &Fault) -> Place {
        if common.region != 0 {
            return self.world.find(&Fault { address: common.region, ..*common });
        }
        if common.address < SPILL_WINDOW {
            return self.world.unplaced(common);
        }
        let window = common.address & !(SPILL_WINDOW - 1);
        let place = self.world.find(common);
        let end = place.start.saturating_add(place.len);
        if place.start <= window && window.saturating_add(SPILL_WINDOW) <= end {
            place
        } else {
            self.world.unplaced(common)
        }
    }

    fn malformed(&mut self, why: Malformed) {
        self.stream.malformed += 1;
        self.stream.last_malformed = Some(why);
    }

    #[cold]
    #[inline(never)]
    fn learn(&mut self, fault: &Fault, nature: u16) -> Kind {
        let below_stack = self.world.is_below_stack(fault.pid, fault.address);
        self.classifier.learn(fault, Surroundings { nature, below_stack })
    }
}

impl<O: Observer> Sink for Pipeline<O> {
    fn lacks(&mut self, lacks: Lacks) {
        let all = &mut self.stream.lacks;
        all.older = all.older.saturating_add(lacks.older);
        all.end |= lacks.end;
    }

    fn faults(&mut self, faults: &[Fault]) {
        self.stream.received += faults.len() as u64;
        let latest = faults.last().map_or(0, |fault| fault.time);
        self.stream.last_time = self.stream.last_time.max(latest);
        self.batch(faults);
    }

    fn rare(&mut self, record: &[u8]) {
        match decode::rare(record) {
            Ok(record) => {
                self.stream.last_time = self.stream.last_time.max(record.header().time);
                // Flushes come as often as faults, and change nothing.
                let changes = !matches!(record, Rare::Tlb(_) | Rare::Doorbell(_));
                if changes {
                    self.hot.forget();
                    self.observer.changed();
                }
                self.apply(&record);
            }
            Err(why) => self.malformed(why),
        }
    }
}

#[cfg(test)]
#[path = "pipeline/tests.rs"]
mod tests;
