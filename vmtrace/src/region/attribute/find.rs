//! The look-ups: where a fault lies, of what is known of its process.

use vmtrace_common::evidence::end;
use vmtrace_common::record::Fault;

use super::World;
use crate::region::kept::{Place, Process, Row};
use crate::region::names::{self, Part};
use crate::region::space::Mapping;

/// How far up a process's ancestors are asked for a region of its own that
/// nobody described.
const GENERATIONS: usize = 4;

impl World {
    /// Where a fault happened.
    pub fn find(&mut self, fault: &Fault) -> Place {
        let process = self.process(fault.pid);
        let space = &mut self.processes[process as usize].space;
        let address = fault.address;
        let found = if fault.region == 0 {
            space.at(address)
        } else {
            // The kernel side's word goes before what was described: a
            // description may have been lost.
            let mapping = space.starting(fault.region).filter(|mapping| address < mapping.end);
            mapping.map(|mapping| (fault.region, mapping))
        };
        if let Some((start, mapping)) = found {
            return place(start, mapping);
        }
        if fault.region != 0 {
            return self.seen_but_not_described(process, fault);
        }
        let served = fault.signal == 0;
        if served && let Some((start, mapping)) = space.grow_stack(address) {
            let place = place(start, mapping);
            let row = &mut self.rows[place.row as usize];
            row.start = row.start.min(start);
            return place;
        }
        let unseen = fault.end() == end::RECONSTRUCTED;
        let inherited = if unseen { self.inherited(process, address) } else { None };
        inherited.unwrap_or_else(|| self.unplaced(fault))
    }

    /// Where in an ancestor's address space, and so in its own as it was made, a
    /// process's address lies.
    fn inherited(&mut self, process: u32, address: u64) -> Option<Place> {
        let mut ancestor = process;
        for _ in 0..GENERATIONS {
            let parent = self.processes[ancestor as usize].parent;
            ancestor = *self.pids.get(&parent)?;
            if let Some((start, &Mapping { end, row, nature, .. })) =
                self.processes[ancestor as usize].space.at(address)
            {
                let Row { name, part, .. } = self.rows[row as usize];
                let row = self.row(process, name, nature, part, start, end);
                return Some(Place { start: address, len: 0, row, nature });
            }
        }
        None
    }

    /// The place of a fault whose region is not known.
    pub fn unplaced(&mut self, fault: &Fault) -> Place {
        let process = self.process(fault.pid);
        let name = if fault.signal == 0 { names::UNKNOWN } else { names::UNMAPPED };
        let name = self.names.intern(name);
        let row = self.row(process, name, fault.nature, Part::None, 0, 0);
        Place { start: fault.address, len: 0, row, nature: fault.nature }
    }

    /// The row of a process's faults of which nobody knows where they were.
    pub fn nowhere(&mut self, process: u32) -> u32 {
        let name = self.names.intern(names::UNKNOWN);
        self.row(process, name, 0, Part::None, 0, 0)
    }

    /// The kernel side saw a region that the descriptions do not have like that.
    fn seen_but_not_described(&mut self, process: u32, fault: &Fault) -> Place {
        let space = &mut self.processes[process as usize].space;
        if let Some(mapping) = space.starting_mut(fault.region) {
            // It grew since it was described.
            mapping.end = mapping.end.max(fault.address.saturating_add(1));
            let Mapping { row, nature, .. } = *mapping;
            return Place { start: fault.address, len: 0, row, nature };
        }
        let name = self.names.intern(names::UNKNOWN);
        let nature = fault.nature;
        let row = self.row(process, name, nature, Part::None, fault.region, fault.address);
        Place { start: fault.address, len: 0, row, nature }
    }

    /// An address of a process as a name and an offset in its file or mapping.
    pub fn locate<'a>(&'a self, process: &Process, address: u64) -> Option<(&'a str, u64)> {
        let (start, mapping) = process.space.at(address)?;
        let name = self.text(self.rows[mapping.row as usize].name);
        Some((name, (address - start).wrapping_add(mapping.offset)))
    }

    /// The process that has this id now, if it was met.
    pub fn known(&self, pid: u32) -> Option<&Process> {
        self.processes.get(*self.pids.get(&pid)? as usize)
    }

    /// Whether a process's address lies in the guard gap of a stack.
    pub fn is_below_stack(&self, pid: u32, address: u64) -> bool {
        let process = self.pids.get(&pid).and_then(|&index| self.processes.get(index as usize));
        process.is_some_and(|process| process.space.is_below_stack(address))
    }
}

const fn place(start: u64, mapping: &Mapping) -> Place {
    Place { start, len: mapping.end - start, row: mapping.row, nature: mapping.nature }
}
