//! The fault rings: one to a CPU and program, in memory shared with the kernel.

use std::os::fd::BorrowedFd;

use anyhow::Context as _;
use vmtrace_common::config::{SIDE_SHIFT, lane};
use vmtrace_common::record::Fault;

use crate::sys::shared::{Cursors, Slots};

/// How the rings lie in their map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// CPUs with rings: the highest number that is online, plus one.
    pub cpus: u32,
    /// Slots of the main lane, a power of two.
    pub main: u32,
    /// Slots of each side lane, a power of two.
    pub side: u32,
}

impl Layout {
    /// Rings of about `bytes` for each CPU.
    pub fn new(cpus: u32, bytes: u64) -> Self {
        let slots = (bytes / size_of::<Fault>() as u64).clamp(64, 1 << 22);
        let main = 1 << slots.ilog2();
        Self { cpus, main, side: (main >> SIDE_SHIFT).max(32) }
    }

    /// Slots of all of a CPU's lanes.
    pub fn stride(self) -> u32 {
        self.main + (lane::COUNT - 1) * self.side
    }

    /// Slots of all CPUs.
    pub fn slots(self) -> u32 {
        self.stride() * self.cpus
    }

    /// Rings of all CPUs.
    pub fn rings(self) -> u32 {
        self.cpus * lane::COUNT
    }

    fn ring(self, index: u32) -> (u32, u32) {
        let (lane, cpu) = (index / self.cpus, index % self.cpus);
        if lane == lane::END {
            (cpu * self.stride(), self.main)
        } else {
            (cpu * self.stride() + self.main + (lane - 1) * self.side, self.side)
        }
    }
}

/// One ring as far as it was read.
#[derive(Debug)]
struct Ring {
    first: u64,
    slots: u64,
    /// What the program has been told is read.
    tail: u64,
    /// What was handed on.
    read: u64,
    /// What was written when last looked at.
    head: u64,
}

/// All rings.
#[derive(Debug)]
pub struct Rings {
    slots: Slots,
    cursors: Cursors,
    all: Vec<Ring>,
}

impl Rings {
    /// Maps the rings that lie in these maps as `layout` says.
    pub fn map(
        layout: Layout,
        slots: BorrowedFd<'_>,
        cursors: BorrowedFd<'_>,
    ) -> anyhow::Result<Self> {
        let all = (0..layout.rings())
            .map(|index| {
                let (first, slots) = layout.ring(index);
                Ring { first: u64::from(first), slots: u64::from(slots), tail: 0, read: 0, head: 0 }
            })
            .collect();
        let slots =
            Slots::map(slots, layout.slots() as usize).context("mapping the fault rings")?;
        let cursors = Cursors::map(cursors, layout.rings() as usize)
            .context("mapping the fault rings' positions")?;
        for index in 0..layout.rings() {
            cursors.place(index as usize, layout.ring(index).0, index % layout.cpus);
        }
        Ok(Self { slots, cursors, all })
    }

    /// Looks how far each ring has been written: what the following calls of
    /// [`until`](Self::until) hand on.
    pub fn look(&mut self) {
        for (index, ring) in self.all.iter_mut().enumerate() {
            ring.head = self.cursors.head(index);
        }
    }

    /// Whether the last look found faults that are not handed on.
    pub fn have_more(&self) -> bool {
        self.all.iter().any(|ring| ring.read < ring.head)
    }

    /// Hands on the faults that ended before `time`, ring by ring.
    pub fn until(&mut self, time: u64, mut take: impl FnMut(&[Fault])) {
        for ring in &mut self.all {
            while ring.read < ring.head {
                let at = ring.read % ring.slots;
                let len = (ring.head - ring.read).min(ring.slots - at);
                let faults = self.slots.faults(ring.first + at, len);
                let whole = faults.last().is_some_and(|last| last.time < time);
                let ready =
                    if whole { faults.len() } else { faults.partition_point(|f| f.time < time) };
                if ready > 0 {
                    take(&faults[..ready]);
                    ring.read += ready as u64;
                }
                if ready < faults.len() {
                    break;
                }
            }
        }
    }

    /// Gives what was handed on back to the programs.
    pub fn release(&mut self) {
        for (index, ring) in self.all.iter_mut().enumerate() {
            if ring.tail != ring.read {
                self.cursors.set_tail(index, ring.read);
                ring.tail = ring.read;
            }
        }
    }

    /// How many faults found their ring full so far.
    pub fn full(&self) -> u64 {
        (0..self.all.len()).map(|index| self.cursors.full(index)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_lie_side_by_side() {
        let layout = Layout::new(3, 1 << 20);
        assert_eq!((layout.main, layout.side), (16384, 1024));
        let mut rings = (0..layout.rings()).map(|index| layout.ring(index)).collect::<Vec<_>>();
        assert!(rings[..3].iter().all(|&(_, slots)| slots == layout.main));
        rings.sort_unstable();
        let mut next = 0;
        for (first, slots) in rings {
            assert_eq!(first, next);
            assert!(slots.is_power_of_two());
            next = first + slots;
        }
        assert_eq!(next, layout.slots());
    }

    #[test]
    fn a_silly_size_still_makes_a_ring() {
        assert_eq!(Layout::new(1, 0).main, 64);
        assert_eq!(Layout::new(1, u64::MAX).main, 1 << 22);
    }
}
