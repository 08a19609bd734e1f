//! Faults counted by a key that regions do not give.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::cells::{Cells, Head};
use crate::fault::Kind;
use crate::region::Spread;

/// What to count by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Processes.
    Process,
    /// Threads.
    Thread,
    /// Regions: what a report has anyway.
    #[default]
    Region,
    /// Kinds.
    Kind,
    /// Files and other names of regions, over all processes.
    File,
    /// NUMA nodes.
    Node,
    /// CPUs.
    Cpu,
    /// Cgroups.
    Cgroup,
    /// Instructions.
    Ip,
    /// Hosts, where several recordings are reported on together.
    Host,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Process,
        Self::Thread,
        Self::Region,
        Self::Kind,
        Self::File,
        Self::Node,
        Self::Cpu,
        Self::Cgroup,
        Self::Ip,
        Self::Host,
    ];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Region => "region",
            Self::Kind => "kind",
            Self::File => "file",
            Self::Node => "node",
            Self::Cpu => "cpu",
            Self::Cgroup => "cgroup",
            Self::Ip => "ip",
            Self::Host => "host",
        }
    }

    /// Whether faults have to be counted by it as they come.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Thread | Self::Node | Self::Cpu | Self::Cgroup | Self::Ip)
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|by| by.name() == name);
        found.ok_or_else(|| format!("nothing is counted by `{}`", name.escape_debug()))
    }
}

/// A key's value, and the process it belongs to where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The process's place in the world, or `u32::MAX`.
    pub process: u32,
    /// The thread, node, CPU, cgroup or instruction; [`Key::SPILLED`] where a
    /// spill does not tell.
    pub value: u64,
}

impl Key {
    /// Faults that were folded before their key was known.
    pub const SPILLED: u64 = u64::MAX;
}

/// The most keys that are kept apart.
const MOST: usize = 200_000;

/// One key's row.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// What it is called, found when it was met.
    pub label: Box<str>,
    head: Head,
}

/// Counts by key.
#[derive(Debug, Default)]
pub struct Keyed {
    cells: Cells,
    entries: Vec<Entry>,
    index: HashMap<Key, u32, Spread>,
    last: Option<(Key, Kind, u32)>,
}

impl Keyed {
    /// Counts in the cell of a key and kind. `label` is asked once a key.
    #[inline]
    pub fn cell(&mut self, key: Key, kind: Kind, label: impl FnOnce() -> String) -> u32 {
        if let Some((last, of, cell)) = self.last
            && last == key
            && of == kind
        {
            return cell;
        }
        let entry = self.entry(key, label);
        let cell = self.cells.find(&mut self.entries[entry as usize].head, kind);
        self.last = Some((key, kind, cell));
        cell
    }

    fn entry(&mut self, key: Key, label: impl FnOnce() -> String) -> u32 {
        if let Some(&entry) = self.index.get(&key) {
            return entry;
        }
        let next = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        if self.entries.len() < MOST {
            self.entries.push(Entry { key, label: label().into(), head: Head::default() });
            self.index.insert(key, next);
            return next;
        }
        // Bounded: whatever is new is counted with the last one made.
        let others = Key { process: u32::MAX, value: Key::SPILLED - 1 };
        if self.entries.len() == MOST {
            let label = "(others)".into();
            self.entries.push(Entry { key: others, label, head: Head::default() });
        }
        u32::try_from(MOST).unwrap_or(u32::MAX)
    }

    /// The cells, to count in.
    #[inline]
    pub const fn cells_mut(&mut self) -> &mut Cells {
        &mut self.cells
    }

    /// Another name for keys that have one already.
    pub fn relabel(&mut self, key: Key, label: &str) {
        if let Some(&entry) = self.index.get(&key) {
            self.entries[entry as usize].label = label.into();
        }
    }

    /// All rows, in the order in which their keys were met.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The cells of a row.
    pub fn row(&self, entry: &Entry) -> impl Iterator<Item = &super::cells::Cell> {
        self.cells.of(entry.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_apart_until_there_are_too_many() {
        let mut keyed = Keyed::default();
        for value in 0..MOST as u64 + 500 {
            let key = Key { process: 0, value };
            let cell = keyed.cell(key, Kind::AnonZero, || value.to_string());
            keyed.cells_mut().record(cell, 1);
        }
        assert_eq!(keyed.entries().len(), MOST + 1);
        let count = |entry: &Entry| keyed.row(entry).map(|cell| cell.count).sum::<u64>();
        assert_eq!(count(&keyed.entries()[7]), 1);
        assert_eq!(count(&keyed.entries()[MOST]), 500);
        assert_eq!(&*keyed.entries()[MOST].label, "(others)");
    }

    #[test]
    fn names_come_back() {
        for by in By::ALL {
            assert_eq!(by.name().parse(), Ok(by));
        }
        assert!("colour".parse::<By>().is_err());
    }
}
