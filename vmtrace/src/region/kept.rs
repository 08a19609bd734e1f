//! What is kept of processes, threads, rows and places.

use std::collections::HashMap;

use super::Spread;
use super::names::{NameId, Part};
use super::space::Space;

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Who made it.
    pub parent: u32,
    /// Its name, the last one it had.
    pub comm: NameId,
    /// Threads alive.
    pub(super) threads: u32,
    pub(super) dead: bool,
    /// Whose rows and account are its own: itself, or the one for all that
    /// came too late.
    pub(super) owner: u32,
    pub(super) space: Space,
    pub(super) rows: HashMap<(NameId, u16, Part), u32, Spread>,
}

impl Process {
    pub(super) fn new(pid: u32, parent: u32, comm: NameId, owner: u32) -> Self {
        let (space, rows) = (Space::default(), HashMap::default());
        Self { pid, parent, comm, threads: 0, dead: false, owner, space, rows }
    }

    /// What it has mapped, as far as it was described.
    pub const fn space(&self) -> &Space {
        &self.space
    }
}

/// One row of the report's regions.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The process's place in [`World::processes`].
    pub process: u32,
    /// Its name.
    pub name: NameId,
    /// [`nature`], of which the permissions tell rows apart.
    pub nature: u16,
    /// Known to be an object's bss; the other parts are told when all rows are known.
    pub part: Part,
    /// The lowest address it ever had; 0 with `end` 0 where it has none.
    pub start: u64,
    /// The highest.
    pub end: u64,
}

/// Where a fault happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the mapping starts.
    pub start: u64,
    /// How long it is; 0 where nothing is mapped.
    pub len: u64,
    /// The report's row.
    pub row: u32,
    /// [`nature`]; without [`nature::KNOWN`] where nothing is mapped.
    pub nature: u16,
}

/// A thread alive.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Its process's place in [`World::processes`].
    pub process: u32,
    /// Its name.
    pub comm: NameId,
    /// Its cgroup's id, or 0.
    pub cgroup: u64,
}
