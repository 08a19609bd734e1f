//! One recording's sums, under keys that another run of the same thing has,
//! too: no process ids and no addresses.

use std::collections::BTreeMap;

use super::Run;
use crate::fault::{Class, Kind};
use crate::pipeline::{Observer, Pipeline};
use crate::preface::Preface;
use crate::region::names::permissions;
use crate::tally::cells::Cell;
use crate::tally::latency::Distribution;
use crate::term::escape;

/// Some faults.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Their latencies' sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Their latencies.
    pub latencies: Distribution,
}

impl Group {
    fn add(&mut self, cell: &Cell) {
        self.count = self.count.saturating_add(cell.count);
        self.total_ns = self.total_ns.saturating_add(cell.total);
        self.max_ns = self.max_ns.max(cell.max);
        self.latencies.merge(cell.latencies(), cell.max);
    }
}

/// One recording.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its file's name.
    pub file: String,
    /// How it came about.
    pub preface: Preface,
    /// From its beginning to its last record.
    pub duration_ns: u64,
    /// All faults.
    pub all: Group,
    classes: Vec<Group>,
    kinds: Vec<Group>,
    /// By process name, region name and permissions.
    pub regions: BTreeMap<String, Group>,
    /// By region name alone, over all processes.
    pub named: BTreeMap<String, Group>,
}

impl Side {
    /// Adds up what a pipeline counted.
    pub fn of<O: Observer>(file: &str, pipeline: &Pipeline<O>, preface: &Preface) -> Self {
        let mut side = Self {
            file: escape::text(file).into_owned(),
            preface: preface.clone(),
            duration_ns: pipeline.stream().last_time.saturating_sub(preface.started_ns),
            all: Group::default(),
            classes: vec![Group::default(); Class::ALL.len()],
            kinds: vec![Group::default(); Kind::COUNT],
            regions: BTreeMap::new(),
            named: BTreeMap::new(),
        };
        let world = pipeline.world();
        for (index, row) in world.rows().iter().enumerate() {
            let mut cells = pipeline.tally().row(index).peekable();
            if cells.peek().is_none() {
                continue;
            }
            let comm = world.processes().get(row.process as usize);
            let comm = comm.map_or("?", |process| world.text(process.comm));
            let name = world.text(row.name);
            let perm = String::from_utf8_lossy(&permissions(row.nature)).into_owned();
            let region = side.regions.entry(format!("{comm}: {name} {perm}")).or_default();
            let named = side.named.entry(name.to_owned()).or_default();
            for cell in cells {
                region.add(cell);
                named.add(cell);
                side.all.add(cell);
                side.classes[cell.kind.class().index()].add(cell);
                side.kinds[cell.kind.index()].add(cell);
            }
        }
        side
    }

    /// A class's faults.
    pub fn class(&self, class: Class) -> &Group {
        &self.classes[class.index()]
    }

    /// A kind's faults.
    pub fn kind(&self, kind: Kind) -> &Group {
        &self.kinds[kind.index()]
    }

    /// It is of a command, from its first instruction to its end.
    pub(super) fn is_command(&self) -> bool {
        self.preface.target.starts_with("command ")
    }

    pub(super) fn run(&self) -> Run {
        let shown = |text: &str| escape::text(text).into_owned();
        Run {
            file: self.file.clone(),
            target: shown(&self.preface.target),
            host: shown(&self.preface.host),
            backend: shown(&self.preface.backend),
            duration_ns: self.duration_ns,
            faults: self.all.count,
        }
    }
}
