//! Made-up streams, always the same: what tests and benchmarks feed the
//! pipeline where no kernel is at hand.

use vmtrace_common::counters::Counters;
use vmtrace_common::evidence::{end, error, flag, mark, nature, origin, ret};
use vmtrace_common::record::{
    COMM, Cgroup, Exec, Fault, GroupName, Header, Oom, PATH, Region, Rename, Spill, Task, Tlb,
    Totals, Victim, name,
};

use crate::decode::{self, Rare};
use crate::stream::Sink;

/// A private writable anonymous region.
pub const ANON: u16 = nature::KNOWN | nature::READ | nature::WRITE;
/// A program's text.
pub const TEXT: u16 = nature::KNOWN | nature::FILE | nature::READ | nature::EXEC;

/// A header for a process's main thread.
pub fn header(pid: u32, time: u64) -> Header {
    Header { pid, tid: pid, time, ..Header::default() }
}

/// A name as the kernel keeps it.
pub fn comm(text: &str) -> [u8; COMM] {
    fixed(text.as_bytes())
}

fn fixed<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let len = text.len().min(N);
    bytes[..len].copy_from_slice(&text[..len]);
    bytes
}

/// A region; an empty name is none.
pub fn region(pid: u32, start: u64, end: u64, nature: u16, path: &str) -> Region {
    Region {
        header: header(pid, 0),
        start,
        end,
        offset: 0,
        inode: 0,
        device: 0,
        nature,
        naming: if path.is_empty() { name::NONE } else { name::WHOLE },
        components: 0,
        special: name::PLAIN,
        mount: 0,
        reserved: 0,
        name_len: u32::try_from(path.len().min(PATH)).unwrap_or(0),
        name: fixed(path.as_bytes()),
    }
}

/// A thread; a process where `tid` is `pid`.
pub fn task(pid: u32, tid: u32, parent: u32, name: &str) -> Task {
    let header = Header { pid, tid, ..Header::default() };
    Task { header, parent, creator: parent, cgroup: 1, comm: comm(name) }
}

/// The thread that had the id `old_tid` began another program.
pub fn exec(header: Header, old_tid: u32) -> Exec {
    let (comm, path) = (comm("new"), fixed(b"/new"));
    Exec { header, old_tid, path_len: 4, stack: 0, stack_end: 0, comm, path }
}

/// One of each rare record, in the order of [`Rare`].
pub fn one_of_each() -> Vec<Rare> {
    let header = header(1, 5);
    let victim = Victim {
        header,
        total_vm: 1,
        anon_rss: 2,
        file_rss: 3,
        shmem_rss: 4,
        page_tables: 5,
        uid: 6,
        score_adj: -7,
        comm: comm("victim"),
    };
    let totals = Totals { header, min_flt: 3, seen: 3, emitted: 3, ..Totals::default() };
    vec![
        Rare::Region(Box::new(region(1, 0x1000, 0x2000, ANON, "[heap]"))),
        Rare::Task(task(1, 1, 1, "one")),
        Rare::Exec(Box::new(exec(header, 1))),
        Rare::Exit(totals),
        Rare::Totals(totals),
        Rare::Rename(Rename { header, comm: comm("renamed") }),
        Rare::Tlb(Tlb { header, pages: 1, reason: 2, reserved: 0 }),
        Rare::Victim(victim),
        Rare::Oom(Oom { header, points: 1, victim: 1, comm: comm("asker"), ..Oom::default() }),
        Rare::Spill(Box::new(spill(&Fault { pid: 1, ..Fault::default() }, &[1000; 3]))),
        Rare::Cgroup(Cgroup { header, cgroup: 42 }),
        Rare::Counters(Counters { header, ..Counters::default() }),
        Rare::Doorbell(header),
        Rare::GroupName(Box::new(group_name(42, "/system.slice/x"))),
    ]
}

/// What a cgroup is called.
pub fn group_name(cgroup: u64, path: &str) -> GroupName {
    let name_len = u32::try_from(path.len().min(PATH)).unwrap_or(0);
    let header = Header::default();
    GroupName { header, cgroup, name_len, hierarchy: 0, name: fixed(path.as_bytes()) }
}

/// Faults with common evidence, folded.
pub fn spill(common: &Fault, latencies: &[u64]) -> Spill {
    let mut buckets = [0; vmtrace_common::buckets::COUNT];
    for &latency in latencies {
        buckets[vmtrace_common::buckets::index(latency)] += 1;
    }
    Spill {
        header: Header { tid: 0, ..header(common.pid, common.time) },
        common: *common,
        count: latencies.len() as u64,
        total: latencies.iter().sum(),
        max: latencies.iter().copied().max().unwrap_or(0),
        buckets,
    }
}

/// A small generator of numbers (xorshift*), so that every run is the same run.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// From a seed that is not 0.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next one below `limit`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A latency as faults have them: most near half a microsecond, some long.
    pub const fn latency(&mut self) -> u64 {
        let base = 400 + self.below(300);
        let octave = self.next().trailing_zeros();
        base << if octave > 16 { 16 } else { octave / 2 }
    }
}

/// A workload of many processes, each with many regions.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Processes, from pid 1000 on.
    pub processes: u32,
    /// Regions of each.
    pub regions: u64,
    /// Faults of each process.
    pub faults: u64,
    /// As the tracepoint backend sends them: no region, no nature, no marks.
    pub events: bool,
    /// Every region has a name of its own.
    pub named: bool,
    /// Consecutive faults in one region.
    pub run: u64,
}

const STRIDE: u64 = 1 << 21;
const BASE: u64 = 0x7f00_0000_0000;

impl Workload {
    /// Where a region of it starts.
    pub const fn start(region: u64) -> u64 {
        BASE + region * STRIDE
    }

    /// Sends all of it: tasks, regions, faults, accounts.
    pub fn send(&self, sink: &mut dyn Sink) {
        for index in 0..self.processes {
            self.begin(index, sink);
            let (faults, totals) = self.faults(index);
            faults.chunks(256).for_each(|batch| sink.faults(batch));
            // As the kernel side tells it: first that it ended, later its account.
            let ended = Totals { header: totals.header, ..Totals::default() };
            sink.rare(&decode::encode(&Rare::Exit(ended)));
            sink.rare(&decode::encode(&Rare::Totals(totals)));
        }
    }

    /// One process and its regions.
    pub fn begin(&self, index: u32, sink: &mut dyn Sink) {
        let pid = 1000 + index;
        sink.rare(&decode::encode(&Rare::Task(task(pid, pid, 1, "worker"))));
        for number in 0..self.regions {
            let start = Self::start(number);
            let path = if self.named { format!("/srv/data/{number}") } else { String::new() };
            let nature = if self.named { ANON | nature::FILE } else { ANON };
            let region = region(pid, start, start + STRIDE / 2, nature, &path);
            sink.rare(&decode::encode(&Rare::Region(Box::new(region))));
        }
    }

    /// One process's faults and the account that goes with them.
    pub fn faults(&self, index: u32) -> (Vec<Fault>, Totals) {
        let pid = 1000 + index;
        let mut numbers = Numbers::new(u64::from(pid));
        let mut totals = Totals { header: header(pid, 0), ..Totals::default() };
        let faults: Vec<_> = (0..self.faults)
            .map(|number| {
                let region = Self::start(number / self.run % self.regions.max(1));
                let fault = self.fault(&mut numbers, pid, region, number);
                let major = fault.ret & ret::MAJOR != 0;
                totals.maj_flt += u64::from(major);
                totals.min_flt += u64::from(!major);
                fault
            })
            .collect();
        totals.seen = self.faults;
        totals.emitted = self.faults;
        totals.header.time = faults.last().map_or(0, |fault| fault.time);
        (faults, totals)
    }

    fn fault(&self, numbers: &mut Numbers, pid: u32, region: u64, number: u64) -> Fault {
        let nature = if self.named { ANON | nature::FILE } else { ANON };
        let fault = Fault {
            time: 1_000_000 + number * 1_000,
            latency: numbers.latency(),
            address: region + (numbers.below(STRIDE / 2) & !7),
            ip: 0x40_1000 + numbers.below(64),
            region,
            pid,
            tid: pid,
            error: error::USER | error::WRITE,
            flags: flag::WRITE | flag::USER,
            nature,
            cpu: 1,
            ..Fault::default()
        };
        let fault = match numbers.below(64) {
            0 => Fault { ret: ret::MAJOR, marks: mark::SWAP, ..fault },
            1..8 => Fault {
                error: fault.error | error::PRESENT,
                marks: mark::WRITE_PROTECT | mark::COPIED,
                ..fault
            },
            _ => fault,
        };
        if !self.events {
            return fault;
        }
        let marks = if fault.ret == 0 { mark::ALLOCATED } else { 0 };
        let via = Fault::via(origin::USER, end::EVENT);
        Fault { region: 0, nature: 0, flags: 0, marks, via, ..fault }
    }
}
