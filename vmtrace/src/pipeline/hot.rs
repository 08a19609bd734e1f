//! What every fault goes through. Each line here is paid a million times a
//! second: look at the instruction count of `benches/pipeline.rs` after a change.

use vmtrace_common::evidence::end;
use vmtrace_common::record::{Fault, Tlb};

use super::{Options, Pipeline};
use crate::classify;
use crate::fault::Kind;
use crate::region::{Place, World};
use crate::tally::By;
use crate::tally::keyed::Key;

/// Sees each fault that passed the filters, with what was made of it.
pub trait Observer {
    /// A fault of this kind in this row of the world.
    fn fault(&mut self, fault: &Fault, kind: Kind, place: &Place, world: &World);

    /// The world may be another than at the last fault: names, regions, threads.
    #[inline]
    fn changed(&mut self) {}

    /// A TLB flush.
    fn flush(&mut self, _tlb: &Tlb, _world: &World) {}
}

impl Observer for () {
    #[inline]
    fn fault(&mut self, _: &Fault, _: Kind, _: &Place, _: &World) {}
}

/// Places kept beside the last one: a power of two.
const KEPT: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Kept {
    place: Place,
    pid: u32,
    epoch: u32,
}

/// Last answers: what the last fault was, where, and where it was counted.
#[derive(Debug)]
pub(super) struct Hot {
    place: Place,
    pid: u32,
    cell: u32,
    evidence: [u64; 2],
    kind: Kind,
    epoch: u32,
    kept: Box<[Kept]>,
}

/// What no fault is like: no via has such an end.
const UNLIKE: [u64; 2] = [u64::MAX; 2];
const NOWHERE: Place = Place { start: 0, len: 0, row: u32::MAX, nature: 0 };

impl Default for Hot {
    fn default() -> Self {
        Self {
            place: NOWHERE,
            pid: 0,
            cell: 0,
            evidence: UNLIKE,
            kind: Kind::Other,
            epoch: 1,
            kept: vec![Kept { place: NOWHERE, pid: 0, epoch: 0 }; KEPT].into(),
        }
    }
}

impl Hot {
    /// Whether a fault is like the last one.
    #[inline]
    fn is_like(&self, fault: &Fault) -> bool {
        is_like_that(fault, self.place, self.pid, self.evidence)
    }

    /// Address spaces may have changed.
    pub(super) fn forget(&mut self) {
        self.place = NOWHERE;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            *self = Self::default();
        }
    }
}

/// All of a fault that its kind depends on beside its place; and its CPU, because two
/// whole words compare in fewer instructions.
#[inline]
const fn evidence(fault: &Fault) -> [u64; 2] {
    [
        fault.error as u64
            | (fault.flags as u64) << 16
            | (fault.ret as u64) << 32
            | (fault.marks as u64) << 48,
        fault.nature as u64
            | (fault.cpu as u64) << 16
            | (fault.retries as u64) << 32
            | (fault.via as u64) << 40
            | (fault.signal as u64) << 48
            | (fault.code as u64) << 56,
    ]
}

#[inline]
const fn is_there(fault: &Fault, place: Place, pid: u32) -> bool {
    fault.address.wrapping_sub(place.start) < place.len && fault.pid == pid
}

#[inline]
fn is_like_that(fault: &Fault, place: Place, pid: u32, like: [u64; 2]) -> bool {
    is_there(fault, place, pid) && evidence(fault) == like
}

/// Where the kernel side did not say which region, a place is kept by a part of
/// the address: the size of a page table for a large one, or less, so that the
/// small ones of a library do not displace each other.
const LARGE: u32 = 21;
const SMALL: u32 = 14;

/// Where a place is kept.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "ten bits are left")]
const fn slot(pid: u32, key: u64) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (key ^ (pid as u64) << 48).wrapping_mul(SPREAD);
    (mixed >> (64 - KEPT.trailing_zeros())) as usize
}

impl<O: Observer> Pipeline<O> {
    /// All of a batch, run by run of faults that are alike.
    #[inline]
    pub(super) fn batch(&mut self, mut faults: &[Fault]) {
        while let Some(first) = faults.first() {
            let mut run = 1;
            if self.hot.is_like(first) || self.tell_anew(first) {
                let Hot { place, pid, evidence, cell, kind, .. } = self.hot;
                let like = |fault: &Fault| is_like_that(fault, place, pid, evidence);
                run = self.tally.cells_mut().record_run(cell, faults, like);
                for fault in &faults[..run] {
                    self.observer.fault(fault, kind, &place, &self.world);
                }
            }
            faults = &faults[run..];
        }
    }

    /// What to make of a fault that is not like the last one, or not there; false if
    /// nothing is left to be done. Where each has to be looked at, none is like the last.
    #[cold]
    #[inline(never)]
    fn tell_anew(&mut self, fault: &Fault) -> bool {
        if !is_there(fault, self.hot.place, self.hot.pid) {
            self.look_up(fault);
        }
        let place = self.hot.place;
        let nature = classify::nature_of(fault, place.nature);
        // The like of one that is not recalled may be of another kind at another address.
        let recalled = self.classifier.recall(fault, nature);
        let kind = recalled.unwrap_or_else(|| self.learn(fault, nature));
        if self.filters && self.is_left_out(fault, kind) {
            self.hot.evidence = UNLIKE;
            return false;
        }
        if self.keyed.is_some() {
            self.count_by_key(fault, kind);
        }
        let cell = self.tally.cell(place.row, kind);
        let unseen = fault.end() == end::RECONSTRUCTED;
        let each = self.filters || self.keyed.is_some() || recalled.is_none() || unseen;
        self.hot.evidence = if each { UNLIKE } else { evidence(fault) };
        (self.hot.cell, self.hot.kind) = (cell, kind);
        let timed = fault.latency != 0 || !unseen;
        if !timed {
            self.stream.untimed += 1;
            self.tally.cells_mut().count(cell);
            self.observer.fault(fault, kind, &place, &self.world);
        }
        timed
    }

    const fn is_left_out(&mut self, fault: &Fault, kind: Kind) -> bool {
        let out = !self.options.kinds.contains(kind) || fault.latency < self.options.min_latency;
        self.stream.filtered += out as u64;
        out
    }

    /// Finds a fault's place and remembers it as the last one.
    #[inline(never)]
    fn look_up(&mut self, fault: &Fault) {
        let hot = &mut self.hot;
        hot.pid = fault.pid;
        let slots = if fault.region == 0 {
            [slot(fault.pid, fault.address >> LARGE), slot(fault.pid, fault.address >> SMALL)]
        } else {
            [slot(fault.pid, fault.region); 2]
        };
        for kept in slots.map(|slot| &hot.kept[slot]) {
            let near = fault.address.wrapping_sub(kept.place.start) < kept.place.len;
            if near && kept.pid == fault.pid && kept.epoch == hot.epoch {
                hot.place = kept.place;
                return;
            }
        }
        hot.place = self.world.find(fault);
        self.observer.changed();
        let slot = slots[usize::from(hot.place.len < 1 << LARGE)];
        hot.kept[slot] = Kept { place: hot.place, pid: fault.pid, epoch: hot.epoch };
    }

    #[inline(never)]
    fn count_by_key(&mut self, fault: &Fault, kind: Kind) {
        let (key, label) = self.key(fault);
        let Some(mut keyed) = self.keyed.take() else { return };
        let cell = keyed.cell(key, kind, || self.label(fault, &key, label));
        if fault.latency == 0 && fault.end() == end::RECONSTRUCTED {
            keyed.cells_mut().count(cell);
        } else {
            keyed.cells_mut().record(cell, fault.latency);
        }
        self.keyed = Some(keyed);
    }

    /// The key that was asked for; the CPU for those that rows give.
    fn key(&mut self, fault: &Fault) -> (Key, Label) {
        let all = u32::MAX;
        match self.options.by {
            By::Thread => {
                let process = self.world.owner(fault.pid);
                (Key { process, value: fault.tid.into() }, Label::Thread)
            }
            By::Ip => {
                let process = self.world.owner(fault.pid);
                (Key { process, value: fault.ip }, Label::Ip)
            }
            By::Cgroup => {
                let cgroup = self.world.thread(fault.tid).map_or(0, |thread| thread.cgroup);
                (Key { process: all, value: cgroup }, Label::Cgroup)
            }
            By::Node => {
                let node = self.options.cpu_nodes.get(usize::from(fault.cpu)).copied();
                (Key { process: all, value: node.unwrap_or(0).into() }, Label::Cpu)
            }
            By::Cpu | By::Process | By::Region | By::Kind | By::File | By::Host => {
                (Key { process: all, value: fault.cpu.into() }, Label::Cpu)
            }
        }
    }

    fn label(&self, fault: &Fault, key: &Key, label: Label) -> String {
        match label {
            Label::Thread => self.thread_label(fault.tid),
            Label::Ip if fault.ip == 0 => "(no instruction)".to_owned(),
            Label::Ip => {
                let process = self.world.processes().get(key.process as usize);
                match process.and_then(|process| self.world.locate(process, fault.ip)) {
                    Some((name, offset)) => format!("{name}+{offset:#x}"),
                    None => format!("{:#x}", fault.ip),
                }
            }
            Label::Cgroup if key.value == 0 => "(unknown)".to_owned(),
            Label::Cgroup => self.group_label(key.value),
            Label::Cpu => cpu_key(&self.options, fault.cpu).1,
        }
    }

    pub(super) fn thread_label(&self, tid: u32) -> String {
        self.world.thread(tid).map_or("?", |thread| self.world.text(thread.comm)).to_owned()
    }
}

#[derive(Clone, Copy)]
enum Label {
    Thread,
    Ip,
    Cgroup,
    Cpu,
}

/// The key of a CPU or its node, and its label.
pub(super) fn cpu_key(options: &Options, cpu: u16) -> (Key, String) {
    let process = u32::MAX;
    if options.by == By::Node {
        let node = options.cpu_nodes.get(usize::from(cpu)).copied().unwrap_or(0);
        return (Key { process, value: node.into() }, format!("node {node}"));
    }
    (Key { process, value: cpu.into() }, format!("cpu {cpu}"))
}
