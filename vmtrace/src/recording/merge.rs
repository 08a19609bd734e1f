//! Several recordings as one. A process is a recording's own: its id is told
//! apart from the same id elsewhere by bits above those that Linux uses.

use vmtrace_common::record::{Fault, Header};

use crate::decode::{self, Rare, encode};
use crate::preface::Preface;
use crate::stream::{Lacks, Sink};

/// Linux has at most 2^22 process ids.
const PID_BITS: u32 = 22;
/// How many recordings can be told apart.
const MOST: usize = 1 << (32 - PID_BITS);

/// The id that a process had on its host.
pub const fn pid_of(pid: u32) -> u32 {
    pid & ((1 << PID_BITS) - 1)
}

/// Which of the recordings a process is of.
pub const fn host_of(pid: u32) -> usize {
    (pid >> PID_BITS) as usize
}

/// The circumstances of several recordings taken together; `None` where there
/// are more than can be told apart. One alone is left as it is.
pub fn join(prefaces: &[&Preface]) -> Option<Preface> {
    let (&first, more) = prefaces.split_first()?;
    if more.is_empty() {
        return Some(first.clone());
    }
    if prefaces.len() > MOST {
        return None;
    }
    let mut degradations = Vec::new();
    for degradation in prefaces.iter().flat_map(|preface| &preface.degradations) {
        if !degradations.contains(degradation) {
            degradations.push(degradation.clone());
        }
    }
    let all = |separator: &str, field: fn(&Preface) -> &String| {
        let mut distinct: Vec<&str> = Vec::new();
        for value in prefaces.iter().map(|preface| field(preface).as_str()) {
            if !distinct.contains(&value) {
                distinct.push(value);
            }
        }
        distinct.join(separator)
    };
    let starts = prefaces.iter().map(|preface| preface.started_wall_ns);
    Some(Preface {
        backend: all("+", |preface| &preface.backend),
        degradations,
        kernel: all(", ", |preface| &preface.kernel),
        host: all(", ", |preface| &preface.host),
        command_line: first.command_line.clone(),
        target: all("; ", |preface| &preface.target),
        started_wall_ns: starts.min().unwrap_or(0),
        started_ns: 0,
        cpu_nodes: first.cpu_nodes.clone(),
        hosts: prefaces.iter().map(|preface| preface.host.clone()).collect(),
    })
}

/// Records of one of several recordings, on their way to one sink.
#[derive(Debug)]
pub struct Joined<'a, S> {
    /// Where they go.
    pub sink: &'a mut S,
    high: u32,
    /// From its clock to the common one, which begins with the first recording.
    shift: u64,
    faults: Vec<Fault>,
}

impl<'a, S: Sink> Joined<'a, S> {
    /// The `index`th recording, made under `own`, of those that make up `all`.
    pub fn new(sink: &'a mut S, index: usize, own: &Preface, all: &Preface) -> Self {
        let later = own.started_wall_ns.wrapping_sub(all.started_wall_ns);
        // MOST is the bits' limit.
        let high = u32::try_from(index % MOST).unwrap_or(0) << PID_BITS;
        Self { sink, high, shift: later.wrapping_sub(own.started_ns), faults: Vec::new() }
    }

    const fn id(&self, id: u32) -> u32 {
        pid_of(id) | self.high
    }

    const fn header(&self, header: &mut Header) {
        header.pid = self.id(header.pid);
        header.tid = self.id(header.tid);
        if header.time != 0 {
            header.time = header.time.wrapping_add(self.shift);
        }
    }

    const fn fault(&self, fault: &mut Fault) {
        fault.pid = self.id(fault.pid);
        fault.tid = self.id(fault.tid);
        fault.time = fault.time.wrapping_add(self.shift);
    }

    fn record(&self, record: &mut Rare) {
        match record {
            Rare::Region(region) => self.header(&mut region.header),
            Rare::Task(task) => {
                self.header(&mut task.header);
                task.parent = self.id(task.parent);
                task.creator = self.id(task.creator);
            }
            Rare::Exec(exec) => {
                self.header(&mut exec.header);
                exec.old_tid = self.id(exec.old_tid);
            }
            Rare::Exit(totals) | Rare::Totals(totals) => self.header(&mut totals.header),
            Rare::Rename(rename) => self.header(&mut rename.header),
            Rare::Tlb(tlb) => self.header(&mut tlb.header),
            Rare::Victim(victim) => self.header(&mut victim.header),
            Rare::Oom(oom) => {
                self.header(&mut oom.header);
                oom.victim = self.id(oom.victim);
            }
            Rare::Spill(spill) => {
                self.header(&mut spill.header);
                self.fault(&mut spill.common);
            }
            Rare::GroupName(_) => {}
            Rare::Cgroup(cgroup) => self.header(&mut cgroup.header),
            Rare::Counters(counters) => self.header(&mut counters.header),
            Rare::Doorbell(header) => self.header(header),
        }
    }
}

impl<S: Sink> Sink for Joined<'_, S> {
    fn lacks(&mut self, lacks: Lacks) {
        self.sink.lacks(lacks);
    }

    fn faults(&mut self, faults: &[Fault]) {
        let mut shifted = std::mem::take(&mut self.faults);
        shifted.clear();
        shifted.extend_from_slice(faults);
        for fault in &mut shifted {
            self.fault(fault);
        }
        self.sink.faults(&shifted);
        self.faults = shifted;
    }

    fn rare(&mut self, record: &[u8]) {
        match decode::rare(record) {
            Ok(mut record) => {
                self.record(&mut record);
                self.sink.rare(&encode(&record));
            }
            Err(_) => self.sink.rare(record),
        }
    }
}
