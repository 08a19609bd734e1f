//! The tasks and regions there are, kept along with the stream, so that a part
//! of a recording can begin in the middle of a session and still make sense.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vmtrace_common::evidence::nature;
use vmtrace_common::record::{GroupName, Region, Task};

use super::batch::Batch;
use crate::decode::{self, Rare, encode};
use crate::region::Spread;
use crate::stream::Sink as _;
use crate::tally::account::Account;

/// A region, or what later ones left of it.
#[derive(Clone, Debug)]
struct Piece {
    end: u64,
    offset: u64,
    /// The record, without the zeros at its end.
    source: Arc<[u8]>,
}

#[derive(Clone, Debug, Default)]
struct Process {
    threads: u32,
    space: BTreeMap<u64, Piece>,
}

/// What is there now.
#[derive(Debug, Default)]
pub(super) struct State {
    /// A child has its parent's regions until it is told otherwise.
    inherit: bool,
    tasks: BTreeMap<u32, Task>,
    processes: HashMap<u32, Process, Spread>,
    /// What cgroups are called, by their hierarchies and ids.
    groups: BTreeMap<(u32, u64), GroupName>,
    /// The accounts of threads that are gone, added up.
    ended: Account,
}

impl State {
    pub(super) fn new(inherit: bool) -> Self {
        Self { inherit, ..Self::default() }
    }

    /// Takes what these records change.
    pub(super) fn follow(&mut self, batch: &Batch) {
        for record in batch.rares() {
            if let Ok(record) = decode::rare(record) {
                self.apply(&record);
            }
        }
    }

    fn apply(&mut self, record: &Rare) {
        match record {
            Rare::Task(task) => self.task(task),
            Rare::Region(region) => self.region(region),
            Rare::Rename(rename) => {
                if let Some(task) = self.tasks.get_mut(&rename.header.tid) {
                    task.comm = rename.comm;
                }
            }
            Rare::Cgroup(cgroup) => {
                if let Some(task) = self.tasks.get_mut(&cgroup.header.tid) {
                    task.cgroup = cgroup.cgroup;
                }
            }
            Rare::Exec(exec) => {
                if exec.old_tid != exec.header.tid {
                    self.end(exec.header.pid, exec.old_tid);
                }
                if let Some(task) = self.tasks.get_mut(&exec.header.tid) {
                    task.comm = exec.comm;
                }
                self.processes.entry(exec.header.pid).or_default().space.clear();
            }
            Rare::Exit(totals) => {
                self.ended.add(totals);
                self.end(totals.header.pid, totals.header.tid);
            }
            // A thread's account comes when the kernel lets go of it, after its exit.
            Rare::Totals(totals) => self.ended.add(totals),
            Rare::GroupName(name) => {
                self.groups.insert((name.hierarchy, name.cgroup), **name);
            }
            Rare::Tlb(_)
            | Rare::Victim(_)
            | Rare::Oom(_)
            | Rare::Spill(_)
            | Rare::Counters(_)
            | Rare::Doorbell(_) => {}
        }
    }

    fn task(&mut self, task: &Task) {
        let (pid, tid) = (task.header.pid, task.header.tid);
        let born = self.inherit && task.header.time != 0 && pid == tid && task.parent != pid;
        if born && let Some(parent) = self.processes.get(&task.parent) {
            let space = parent.space.clone();
            self.processes.insert(pid, Process { threads: 0, space });
        }
        let process = self.processes.entry(pid).or_default();
        if self.tasks.insert(tid, *task).is_none() {
            process.threads += 1;
        }
    }

    fn end(&mut self, pid: u32, tid: u32) {
        let known = self.tasks.remove(&tid).is_some();
        if let Some(process) = self.processes.get_mut(&pid).filter(|_| known) {
            process.threads = process.threads.saturating_sub(1);
            if process.threads == 0 {
                self.processes.remove(&pid);
            }
        }
    }

    fn region(&mut self, region: &Region) {
        let space = &mut self.processes.entry(region.header.pid).or_default().space;
        let (start, end) = (region.start, region.end);
        cut(space, start, end);
        if region.nature & nature::KNOWN == 0 || start >= end {
            return;
        }
        let mut source = encode(&Rare::Region(Box::new(*region)));
        let kept = source.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        source.truncate(kept);
        space.insert(start, Piece { end, offset: region.offset, source: source.into() });
    }

    /// Everything that is there, as records: the accounts of those that are gone,
    /// the processes, their threads, their regions.
    pub(super) fn batches(&self) -> Vec<Batch> {
        let mut batches = vec![Batch::default()];
        let mut add = |record: &[u8]| {
            if batches.last().is_none_or(Batch::is_full) {
                batches.push(Batch::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.rare(record);
            }
        };
        if self.ended != Account::default() {
            // In nobody's name, and as one that may be told again.
            add(&encode(&Rare::Totals(self.ended)));
        }
        for name in self.groups.values() {
            add(&encode(&Rare::GroupName(Box::new(*name))));
        }
        let (processes, threads): (Vec<&Task>, Vec<&Task>) =
            self.tasks.values().partition(|task| task.header.pid == task.header.tid);
        for task in processes.into_iter().chain(threads) {
            let mut task = *task;
            // It is there, rather than born now.
            task.header.time = 0;
            add(&encode(&Rare::Task(task)));
        }
        let mut pids: Vec<_> = self.processes.keys().collect();
        pids.sort_unstable();
        for (pid, process) in pids.into_iter().filter_map(|pid| self.processes.get_key_value(pid)) {
            for (start, piece) in &process.space {
                if let Some(record) = piece.record(*pid, *start) {
                    add(&record);
                }
            }
        }
        batches
    }
}

impl Piece {
    /// Its record, in the name of the process that has it now.
    fn record(&self, pid: u32, start: u64) -> Option<Vec<u8>> {
        let mut source = self.source.to_vec();
        source.resize(size_of::<Region>(), 0);
        let Ok(Rare::Region(mut region)) = decode::rare(&source) else { return None };
        region.header.pid = pid;
        (region.start, region.end, region.offset) = (start, self.end, self.offset);
        Some(encode(&Rare::Region(region)))
    }
}

/// Takes `[start, end)` out of what is mapped.
fn cut(space: &mut BTreeMap<u64, Piece>, start: u64, end: u64) {
    let from = space.range(..start).next_back();
    let from = from.filter(|(_, piece)| piece.end > start).map_or(start, |(&from, _)| from);
    let touched: Vec<u64> = space.range(from..end.max(from)).map(|(&from, _)| from).collect();
    for from in touched {
        let Some(piece) = space.remove(&from) else { continue };
        if from < start {
            space.insert(from, Piece { end: start, ..piece.clone() });
        }
        if piece.end > end {
            let offset = piece.offset.wrapping_add(end - from);
            space.insert(end, Piece { offset, ..piece });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{ANON, header, region, task};
    use vmtrace_common::record::Totals;

    fn told(state: &State) -> Vec<String> {
        let mut told = Vec::new();
        for batch in state.batches() {
            for record in batch.rares() {
                let record = decode::rare(record).unwrap();
                let pid = record.header().pid;
                told.push(if let Rare::Region(region) = record {
                    format!("{pid} {:x}-{:x}+{:x}", region.start, region.end, region.offset)
                } else {
                    format!("task {}", record.header().tid)
                });
            }
        }
        told
    }

    fn map(pid: u32, start: u64, end: u64) -> Rare {
        Rare::Region(Box::new(region(pid, start, end, ANON, "/x")))
    }

    #[test]
    fn regions_give_way_and_split() {
        let mut state = State::new(false);
        state.apply(&Rare::Task(task(7, 7, 1, "seven")));
        state.apply(&map(7, 0x1000, 0x9000));
        state.apply(&map(7, 0x3000, 0x4000));
        let expected = ["task 7", "7 1000-3000+0", "7 3000-4000+0", "7 4000-9000+3000"];
        assert_eq!(told(&state), expected);
        state.apply(&Rare::Region(Box::new(region(7, 0, u64::MAX, 0, ""))));
        assert_eq!(told(&state), ["task 7"]);
    }

    #[test]
    fn children_inherit_and_the_dead_leave() {
        let mut state = State::new(true);
        state.apply(&Rare::Task(task(7, 7, 1, "seven")));
        state.apply(&map(7, 0x1000, 0x2000));
        let mut child = task(8, 8, 7, "eight");
        child.header.time = 5;
        state.apply(&Rare::Task(child));
        state.apply(&Rare::Exit(Totals { header: header(7, 6), ..Totals::default() }));
        assert_eq!(told(&state), ["task 8", "8 1000-2000+0"]);
    }
}
