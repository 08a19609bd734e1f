//! All processes and their address spaces, kept as the stream changes them, and
//! the answer to "which row of the report is this address?".
//!
//! A row is a process, a name and permissions: a heap that grows, splits and
//! merges stays one row, whose start and end are the hull. Rows outlive their
//! process; address spaces do not, but the last few dead are kept for faults
//! that arrive late.

mod find;

use std::collections::{HashMap, VecDeque};

use vmtrace_common::config::SPILL_ANYBODY;
use vmtrace_common::evidence::nature;
use vmtrace_common::record::{Exec, Header, Region, Rename, Task};

use super::Spread;
use super::kept::{Process, Row, Thread};
use super::names::{self, NameId, Names, Part};
use super::space::{Mapping, Space};
use crate::term::escape;

/// Dead processes whose address space is still kept.
const KEPT_DEAD: usize = 256;

/// Processes that are kept apart; what comes later is counted together.
const MOST_PROCESSES: usize = 16_384;

/// Rows that are kept apart; a process's further regions share one row.
const MOST_ROWS: usize = 1 << 20;

/// Mappings that children may have from their parents, were each as large as
/// the one in question: a hostile recording must not multiply them.
const MOST_INHERITED: usize = 6 << 20;

/// Mappings that are known at a time, of all processes; what is described beyond
/// them is not known.
const MOST_MAPPINGS: usize = 3 << 20;

/// Gaps in the address space of malloc's arenas: one starts here, a thread's
/// stack does not.
const ARENA: u64 = 64 << 20;

/// Every process there was.
#[derive(Debug, Default)]
pub struct World {
    names: Names,
    processes: Vec<Process>,
    pids: HashMap<u32, u32, Spread>,
    threads: HashMap<u32, Thread, Spread>,
    rows: Vec<Row>,
    dead: VecDeque<u32>,
    /// Threads that ended and whose account is still to come, by their ids: their
    /// process's id, and in whose name it counts. The kernel may let go of a thread
    /// long after its process was buried, and its id may be another's then.
    leaving: HashMap<u32, (u32, u32), Spread>,
    /// Places of dead processes that own nothing.
    free: Vec<u32>,
    /// Mappings of all processes.
    mapped: usize,
    /// A new process has its parent's regions until it is told otherwise.
    inherit: bool,
}

impl World {
    /// `inherit` where the kernel side does not describe a child's regions afresh.
    pub fn new(inherit: bool) -> Self {
        Self { inherit, ..Self::default() }
    }

    /// All processes, in the order in which they were met.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// All rows, in the order in which they were met.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A name's text, safe to show.
    pub fn text(&self, id: NameId) -> &str {
        self.names.text(id)
    }

    /// A thread that is alive.
    pub fn thread(&self, tid: u32) -> Option<&Thread> {
        self.threads.get(&tid)
    }

    /// The process that has this id now; made where nobody announced it.
    pub fn process(&mut self, pid: u32) -> u32 {
        if let Some(&index) = self.pids.get(&pid) {
            return index;
        }
        let name = if pid == SPILL_ANYBODY { names::MORE_PROCESSES } else { "?" };
        let comm = self.names.intern(name);
        self.begin(pid, 0, comm)
    }

    /// The process in whose name this id's faults are counted.
    pub fn owner(&mut self, pid: u32) -> u32 {
        let process = self.process(pid);
        self.processes[process as usize].owner
    }

    fn begin(&mut self, pid: u32, parent: u32, comm: NameId) -> u32 {
        let next = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        if self.processes.len() == MOST_PROCESSES {
            let comm = self.names.intern(names::MORE_PROCESSES);
            self.processes.push(Process::new(0, 0, comm, next));
            return self.begin(pid, parent, comm);
        }
        let own = self.processes.len() < MOST_PROCESSES;
        let index = if own { next } else { self.free.pop().unwrap_or(next) };
        let owner = if own { index } else { u32::try_from(MOST_PROCESSES).unwrap_or(0) };
        let process = Process::new(pid, parent, comm, owner);
        match self.processes.get_mut(index as usize) {
            Some(place) => *place = process,
            None => self.processes.push(process),
        }
        self.pids.insert(pid, index);
        index
    }

    /// A thread or process is there.
    pub fn task(&mut self, task: &Task) {
        let Header { pid, tid, time, .. } = task.header;
        let comm = self.comm(&task.comm);
        let known = self.pids.get(&pid).copied();
        let known = known.filter(|&index| pid != tid || !self.processes[index as usize].dead);
        let process = known.unwrap_or_else(|| {
            let child = self.begin(pid, task.parent, comm);
            if self.inherit && time != 0 && task.parent != pid {
                self.inherit(child, task.parent);
            }
            child
        });
        let state = &mut self.processes[process as usize];
        if pid == tid {
            state.comm = comm;
            state.parent = task.parent;
        }
        let thread = Thread { process, comm, cgroup: task.cgroup };
        if self.threads.insert(tid, thread).is_none_or(|before| before.process != process) {
            state.threads += 1;
        }
    }

    fn inherit(&mut self, child: u32, parent: u32) {
        let Some(&parent) = self.pids.get(&parent) else { return };
        let mappings = self.processes[parent as usize].space.len();
        if mappings.saturating_mul(self.pids.len()) > MOST_INHERITED
            || self.mapped + mappings > MOST_MAPPINGS
        {
            return;
        }
        let mut space = self.processes[parent as usize].space.clone();
        let inherited: Vec<_> = space.iter().map(|(start, mapping)| (start, *mapping)).collect();
        for (start, mapping) in inherited {
            let Row { name, part, .. } = self.rows[mapping.row as usize];
            let row = self.row(child, name, mapping.nature, part, start, mapping.end);
            if let Some(copy) = space.starting_mut(start) {
                copy.row = row;
            }
        }
        self.change(child, |own| *own = space);
    }

    /// A thread ended, and its process with the last one.
    pub fn exit(&mut self, header: &Header) {
        let process = self.process(header.pid);
        let counted = self.threads.remove(&header.tid).is_some();
        let state = &mut self.processes[process as usize];
        self.leaving.insert(header.tid, (header.pid, state.owner));
        state.threads = state.threads.saturating_sub(u32::from(counted));
        if state.threads > 0 || state.dead {
            return;
        }
        state.dead = true;
        self.dead.push_back(process);
        if self.dead.len() > KEPT_DEAD
            && let Some(oldest) = self.dead.pop_front()
        {
            self.bury(oldest);
        }
    }

    /// The process in whose name a thread's account counts, which is told once.
    pub fn close(&mut self, header: &Header) -> u32 {
        let left = self.leaving.remove(&header.tid);
        match left.filter(|&(pid, _)| pid == header.pid) {
            Some((_, owner)) => owner,
            None => self.owner(header.pid),
        }
    }

    fn bury(&mut self, process: u32) {
        self.change(process, Space::clear);
        let state = &mut self.processes[process as usize];
        state.rows = HashMap::default();
        let pid = state.pid;
        let owner = state.owner;
        if self.pids.get(&pid) == Some(&process) {
            self.pids.remove(&pid);
        }
        if owner != process {
            self.free.push(process);
        }
    }

    /// A process began another program.
    pub fn exec(&mut self, exec: &Exec) {
        let Header { pid, tid, .. } = exec.header;
        let process = self.process(pid);
        let comm = self.comm(&exec.comm);
        self.change(process, Space::clear);
        let state = &mut self.processes[process as usize];
        state.comm = comm;
        // The thread that began it has the first one's id from now on.
        if exec.old_tid != tid
            && let Some(thread) = self.threads.remove(&exec.old_tid)
            && self.threads.insert(tid, thread).is_some()
        {
            state.threads = state.threads.saturating_sub(1);
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.comm = comm;
        }
    }

    /// A thread has another name.
    pub fn rename(&mut self, rename: &Rename) {
        let Header { pid, tid, .. } = rename.header;
        let comm = self.comm(&rename.comm);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.comm = comm;
        }
        if pid == tid {
            let process = self.process(pid);
            self.processes[process as usize].comm = comm;
        }
    }

    /// A thread is in another cgroup.
    pub fn move_to_cgroup(&mut self, tid: u32, cgroup: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.cgroup = cgroup;
        }
    }

    fn comm(&mut self, raw: &[u8]) -> NameId {
        let text = raw.split(|&byte| byte == 0).next().unwrap_or_default();
        self.names.intern(&escape::bytes(text))
    }

    /// A region is described. One without a known nature is a hole.
    pub fn describe(&mut self, region: &Region) {
        let process = self.process(region.header.pid);
        let (start, end) = (region.start, region.end);
        if region.nature & nature::KNOWN == 0 {
            self.change(process, |space| space.unmap(start, end));
            return;
        }
        if start >= end {
            return;
        }
        let name = names::of(region);
        let nameless = name == names::ANON;
        let name = if self.rows.len() < MOST_ROWS {
            self.names.intern(&name)
        } else {
            self.names.intern(if nameless { names::ANON } else { names::MORE })
        };
        let (name, part) =
            if nameless { self.by_neighbours(process, region, name) } else { (name, Part::None) };
        let row = self.row(process, name, region.nature, part, start, end);
        let nature = region.nature;
        let mapping = Mapping { end, offset: region.offset, row, nature, nameless };
        let room = self.mapped < MOST_MAPPINGS;
        self.change(process, |space| {
            if room { space.map(start, mapping) } else { space.unmap(start, end) }
        });
    }

    /// Changes what a process has mapped, and counts it.
    fn change(&mut self, process: u32, change: impl FnOnce(&mut Space)) {
        let space = &mut self.processes[process as usize].space;
        let before = space.len();
        change(space);
        self.mapped = (self.mapped + space.len()).saturating_sub(before);
    }

    /// What an anonymous region is, going by what it touches. Data that comes
    /// to lie below anonymous memory later does not make that its bss: the
    /// loader maps data first, and new mappings are placed below old ones.
    fn by_neighbours(&mut self, process: u32, region: &Region, name: NameId) -> (NameId, Part) {
        let space = &self.processes[process as usize].space;
        let plain = region.nature & (nature::EXEC | nature::GROWS_DOWN) == 0;
        let Some((_, before)) = space.ending(region.start).filter(|_| plain) else {
            return (name, Part::None);
        };
        let row = self.rows[before.row as usize];
        if is_data(before.nature) || row.part == Part::Bss {
            return (row.name, Part::Bss);
        }
        let guard = before.nature & (nature::READ | nature::WRITE | nature::EXEC) == 0;
        let writable = region.nature & nature::WRITE != 0;
        if guard && before.nameless && writable && !region.start.is_multiple_of(ARENA) {
            return (self.names.intern(names::THREAD_STACK), Part::None);
        }
        (name, Part::None)
    }

    fn row(
        &mut self,
        process: u32,
        name: NameId,
        nature: u16,
        part: Part,
        start: u64,
        end: u64,
    ) -> u32 {
        const TELLING: u16 = nature::READ | nature::WRITE | nature::EXEC | nature::SHARED;
        let next = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let process = self.processes[process as usize].owner;
        let rows = &mut self.processes[process as usize].rows;
        let index = *rows.entry((name, nature & TELLING, part)).or_insert(next);
        if index == next {
            self.rows.push(Row { process, name, nature, part, start, end });
        } else if end > 0 {
            let row = &mut self.rows[index as usize];
            row.start = if row.end == 0 { start } else { row.start.min(start) };
            row.end = row.end.max(end);
        }
        index
    }

    /// The part of its object that a row is, given the files that are objects:
    /// those with an executable row in the same process.
    pub fn part(&self, row: &Row, is_object: impl Fn(u32, NameId) -> bool) -> Part {
        let file = row.nature & (nature::FILE | nature::SHARED) == nature::FILE;
        if row.part != Part::None || !file || !is_object(row.process, row.name) {
            return row.part;
        }
        match (row.nature & nature::EXEC != 0, row.nature & nature::WRITE != 0) {
            (true, _) => Part::Text,
            (false, true) => Part::Data,
            (false, false) => Part::Rodata,
        }
    }
}

/// A private writable mapping of a file.
const fn is_data(nature: u16) -> bool {
    const TELLING: u16 = nature::FILE | nature::SHARED | nature::WRITE | nature::EXEC;
    nature & TELLING == nature::FILE | nature::WRITE
}

#[cfg(test)]
#[path = "attribute/tests.rs"]
mod tests;
