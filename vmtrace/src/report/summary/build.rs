//! Adding the tallies up. Process by process, so that a run of ten thousand
//! needs the memory of one.

use std::collections::{HashMap, HashSet};

use super::sums::Sums;
use super::{
    Bar, ByRow, ByTable, Copied, OomKill, OomTrigger, OomVictim, ProcessSummary, Reasons,
    RegionSummary, SCHEMA, Summary, Tlb,
};
use crate::fault::Kind;
use crate::pipeline::{Observer, Pipeline, Story};
use crate::preface::Preface;
use crate::recording;
use crate::region::names::permissions;
use crate::region::{NameId, Row};
use crate::report::reasons;
use crate::tally::By;
use crate::tally::account::Account;
use crate::tally::cells::Cell;
use crate::tally::keyed::Key;
use crate::term::escape;
use vmtrace_common::evidence::nature;

/// How much of a report to make.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes.
    pub processes: usize,
    /// Regions of each, and rows of a table.
    pub regions: usize,
}

/// What building a report needs of a pipeline.
struct Builder<'a, O> {
    pipeline: &'a Pipeline<O>,
    accounts: Vec<Account>,
    /// The rows with faults, process by process.
    rows: Vec<u32>,
    /// Files with an executable row, by process.
    objects: HashSet<(u32, NameId)>,
    limits: Limits,
    preface: &'a Preface,
}

impl Summary {
    /// Adds up what a pipeline counted.
    pub fn of<O: Observer>(pipeline: &Pipeline<O>, preface: &Preface, limits: Limits) -> Self {
        let builder = Builder::new(pipeline, preface, limits);
        let (sums, mut processes, processes_total) = builder.processes();
        processes
            .sort_by_key(|process| (std::cmp::Reverse(process.classes.total_ns()), process.pid));
        let classes = sums.classes();
        let mut account = Account::default();
        builder.accounts.iter().for_each(|of_one| account.add(of_one));
        let stream = pipeline.stream();
        let degradations = preface.degradations.iter();
        Self {
            schema: SCHEMA,
            backend: escape::text(&preface.backend).into_owned(),
            kernel: escape::text(&preface.kernel).into_owned(),
            host: escape::text(&preface.host).into_owned(),
            target: escape::text(&preface.target).into_owned(),
            command_line: preface.command_line.clone(),
            started_ns: preface.started_wall_ns,
            duration_ns: stream.last_time.saturating_sub(preface.started_ns),
            degradations: degradations.map(|text| escape::text(text).into_owned()).collect(),
            latencies_folded: pipeline.tally().cells().was_folded(),
            filters: reasons::filters(pipeline.options()),
            accounting: reasons::session(pipeline, &account, &classes, &preface.backend),
            kinds: sums.kinds(),
            cow: copied(&sums),
            by: builder.table(),
            processes,
            processes_total,
            tlb: tlb(&account),
            oom: pipeline.stories().iter().map(|story| kill(story, preface, &builder)).collect(),
            classes,
        }
    }
}

impl<'a, O: Observer> Builder<'a, O> {
    fn new(pipeline: &'a Pipeline<O>, preface: &'a Preface, limits: Limits) -> Self {
        let world = pipeline.world();
        let all = world.rows().iter().zip(0_u32..);
        let objects = all.clone().filter(|(row, _)| is_code(row));
        let objects = objects.map(|(row, _)| (row.process, row.name)).collect();
        let mut rows: Vec<u32> = all
            .map(|(_, index)| index)
            .filter(|&index| pipeline.tally().row(index as usize).next().is_some())
            .collect();
        rows.sort_by_key(|&index| world.rows()[index as usize].process);
        let accounts = pipeline.accounts().by_process(world.processes().len());
        Self { pipeline, accounts, rows, objects, limits, preface }
    }

    /// A process's or thread's id on its host.
    const fn id(&self, id: u32) -> u32 {
        if self.preface.hosts.is_empty() { id } else { recording::pid_of(id) }
    }

    /// The host of a process, where there are several.
    fn host(&self, id: u32) -> Option<String> {
        let host = self.preface.hosts.get(recording::host_of(id))?;
        Some(escape::text(host).into_owned())
    }

    fn cells(&self, row: u32) -> impl Iterator<Item = &'a Cell> {
        self.pipeline.tally().row(row as usize)
    }

    fn process_of(&self, row: u32) -> u32 {
        self.pipeline.world().rows()[row as usize].process
    }

    fn time_of(&self, row: u32) -> u64 {
        self.cells(row).fold(0, |sum, cell| sum.saturating_add(cell.total))
    }

    /// The sums over everything; the processes to show; how many there were.
    fn processes(&self) -> (Sums, Vec<ProcessSummary>, usize) {
        let groups: Vec<&[u32]> =
            self.rows.chunk_by(|a, b| self.process_of(*a) == self.process_of(*b)).collect();
        let time = |rows: &[u32]| {
            rows.iter().fold(0_u64, |sum, &row| sum.saturating_add(self.time_of(row)))
        };
        let mut order: Vec<(std::cmp::Reverse<u64>, usize)> = groups
            .iter()
            .enumerate()
            .map(|(at, rows)| (std::cmp::Reverse(time(rows)), at))
            .collect();
        order.sort_unstable();
        let shown: HashSet<usize> =
            order.iter().take(self.limits.processes).map(|&(_, at)| at).collect();
        let mut sums = Sums::default();
        let mut processes = Vec::with_capacity(shown.len());
        for (at, rows) in groups.iter().enumerate() {
            let own = Sums::of(rows.iter().flat_map(|&row| self.cells(row)));
            sums.absorb(&own);
            if shown.contains(&at) {
                processes.push(self.process(rows, &own));
            }
        }
        self.unfold(&mut sums);
        (sums, processes, groups.len())
    }

    /// Latencies that were folded over all processes are all there again in the
    /// sums over all processes.
    fn unfold(&self, sums: &mut Sums) {
        let cells = self.pipeline.tally().cells();
        if cells.was_folded() {
            for kind in Kind::ALL {
                let folded = cells.folded(kind);
                if folded.count() > 0 {
                    let sum = sums.at(kind);
                    sum.latencies.absorb(folded);
                    sum.latencies.complete();
                }
            }
        }
    }

    fn process(&self, rows: &[u32], sums: &Sums) -> ProcessSummary {
        let world = self.pipeline.world();
        let index = self.process_of(rows[0]);
        let process = &world.processes()[index as usize];
        let classes = sums.classes();
        let account = self.accounts.get(index as usize).copied().unwrap_or_default();
        let histogram = sums.all().latencies.octaves();
        let histogram = histogram.into_iter();
        ProcessSummary {
            pid: self.id(process.pid),
            parent: self.id(process.parent),
            host: self.host(process.pid),
            comm: world.text(process.comm).to_owned(),
            accounting: reasons::process(
                self.pipeline.options(),
                &account,
                &classes,
                self.pipeline.stream().lacks,
            ),
            kinds: sums.kinds(),
            histogram: histogram
                .map(|(from_ns, to_ns, count)| Bar { from_ns, to_ns, count })
                .collect(),
            regions: self.top(rows).map(|row| self.region(row)).collect(),
            regions_total: rows.len(),
            tlb: tlb(&account),
            classes,
        }
    }

    /// The rows with most time.
    fn top(&self, rows: &[u32]) -> impl Iterator<Item = u32> {
        let mut order: Vec<_> =
            rows.iter().map(|&row| (std::cmp::Reverse(self.time_of(row)), row)).collect();
        order.sort_unstable();
        order.into_iter().take(self.limits.regions).map(|(_, row)| row)
    }

    fn region(&self, index: u32) -> RegionSummary {
        let world = self.pipeline.world();
        let row = &world.rows()[index as usize];
        let sums = Sums::of(self.cells(index));
        let is_object = |process, name| self.objects.contains(&(process, name));
        RegionSummary {
            name: world.text(row.name).to_owned(),
            part: world.part(row, is_object).name(),
            start: row.start,
            end: row.end,
            perm: permissions(row.nature).map(char::from).iter().collect(),
            classes: sums.classes(),
            kinds: sums.kinds(),
        }
    }

    /// The table that was asked for.
    fn table(&self) -> Option<ByTable> {
        let by = self.pipeline.options().by;
        let groups = match by {
            By::Region => return None,
            By::Process => self.grouped(|row, _| {
                let process = &self.pipeline.world().processes()[row.process as usize];
                let name = self.pipeline.world().text(process.comm).to_owned();
                let pid = Some(self.id(process.pid));
                Named { name, pid, host: self.host(process.pid), value: None }
            }),
            By::Host => self.grouped(|row, _| {
                let pid = self.pipeline.world().processes()[row.process as usize].pid;
                let host = self.host(pid).unwrap_or_else(|| self.preface.host.clone());
                Named { name: host, ..Named::default() }
            }),
            By::File => self.grouped(|row, _| {
                let name = self.pipeline.world().text(row.name).to_owned();
                Named { name, ..Named::default() }
            }),
            By::Kind => {
                self.grouped(|_, kind| Named { name: kind.to_string(), ..Named::default() })
            }
            By::Thread | By::Node | By::Cpu | By::Cgroup | By::Ip => self.keyed(),
        };
        let rows_total = groups.len();
        let mut rows: Vec<_> = groups.into_iter().map(|(named, sums)| named.row(&sums)).collect();
        rows.sort_by(|a, b| {
            let order = |row: &ByRow| (std::cmp::Reverse(row.faults.total_ns), row.pid, row.value);
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
        });
        rows.truncate(self.limits.regions);
        Some(ByTable { key: by.name(), rows, rows_total })
    }

    /// Rows of regions, grouped by a name.
    fn grouped(&self, named: impl Fn(&Row, Kind) -> Named) -> Vec<(Named, Sums)> {
        let mut groups: HashMap<Named, Sums> = HashMap::new();
        for &index in &self.rows {
            let row = &self.pipeline.world().rows()[index as usize];
            for cell in self.cells(index) {
                groups.entry(named(row, cell.kind)).or_default().at(cell.kind).add(cell);
            }
        }
        groups.into_iter().collect()
    }

    /// Rows that were counted by a key of their own.
    fn keyed(&self) -> Vec<(Named, Sums)> {
        let Some(keyed) = self.pipeline.keyed() else { return Vec::new() };
        let named = |entry: &crate::tally::keyed::Entry| {
            let process = self.pipeline.world().processes().get(entry.key.process as usize);
            let told = entry.key.value < Key::SPILLED - 1;
            let thread = self.pipeline.options().by == By::Thread;
            let value = match u32::try_from(entry.key.value) {
                Ok(tid) if thread => self.id(tid).into(),
                _ => entry.key.value,
            };
            Named {
                name: entry.label.to_string(),
                pid: process.map(|process| self.id(process.pid)),
                host: process.and_then(|process| self.host(process.pid)),
                value: told.then_some(value),
            }
        };
        let entries = keyed.entries().iter();
        entries.map(|entry| (named(entry), Sums::of(keyed.row(entry)))).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Named {
    name: String,
    pid: Option<u32>,
    host: Option<String>,
    value: Option<u64>,
}

impl Named {
    fn row(self, sums: &Sums) -> ByRow {
        let Self { name, pid, host, value } = self;
        ByRow { name, pid, host, value, faults: sums.all().stats(), classes: sums.classes() }
    }
}

const fn is_code(row: &Row) -> bool {
    row.nature & (nature::FILE | nature::EXEC) == nature::FILE | nature::EXEC
}

/// Base pages that were copied: what a huge page's copy took is not known.
fn copied(sums: &Sums) -> Copied {
    let copying = [Kind::CowCopy, Kind::CowFile, Kind::CowUnshare];
    let pages = sums.iter().filter(|(kind, _)| copying.contains(kind));
    let copied_pages = pages.fold(0_u64, |pages, (_, sum)| pages.saturating_add(sum.count));
    Copied { copied_pages, copied_bytes: copied_pages.saturating_mul(4096) }
}

fn tlb(account: &Account) -> Tlb {
    Tlb {
        flushes: account.flushes.iter().fold(0, |sum, flushes| sum.saturating_add(*flushes)),
        pages: account.pages,
        full: account.full_flushes,
        by_reason: Reasons(account.flushes),
    }
}

fn kill<O: Observer>(story: &Story, preface: &Preface, builder: &Builder<'_, O>) -> OomKill {
    let memory = story.memory;
    OomKill {
        at_ns: story.time.saturating_sub(preface.started_ns),
        victim: OomVictim {
            pid: builder.id(story.victim),
            comm: story.victim_comm.clone(),
            uid: memory.and_then(|memory| memory.uid),
            score_adj: memory.and_then(|memory| memory.score_adj),
            total_vm_kb: memory.and_then(|memory| memory.total_vm),
            anon_rss_kb: memory.and_then(|memory| memory.anon_rss),
            file_rss_kb: memory.and_then(|memory| memory.file_rss),
            shmem_rss_kb: memory.and_then(|memory| memory.shmem_rss),
            page_tables_kb: memory.and_then(|memory| memory.page_tables),
        },
        trigger: story.cause.as_ref().map(|cause| OomTrigger {
            pid: builder.id(cause.trigger),
            comm: cause.trigger_comm.clone(),
            constraint: cause.constraint,
            memcg: cause.memcg,
            memcg_name: builder.pipeline.memory_group(cause.memcg).map(str::to_owned),
            order: cause.order,
            points: cause.points,
            total_pages: cause.total_pages,
        }),
    }
}
