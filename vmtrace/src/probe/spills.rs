//! The spill tables: faults that found their ring full, folded in the kernel.

use std::os::fd::BorrowedFd;

use anyhow::Context as _;
use vmtrace_common::config::lane;
use vmtrace_common::record::{Header, Spill, tag};

use super::rings::Layout;
use crate::sys::shared;

/// How the tables lie in their map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Slots of the main lane's table, a power of two.
    pub main: u32,
    /// Slots of each side lane's table, a power of two.
    pub side: u32,
}

impl Tables {
    /// What a session uses: about 2.5 MiB to a CPU.
    pub const USUAL: Self = Self { main: 4096, side: 128 };

    /// Where faults are only counted: about 5 MiB to a CPU.
    pub const TALLY: Self = Self { main: 8192, side: 128 };

    /// `VMTRACE_SPILL_SLOTS` makes them smaller: so small that a test sees faults
    /// lost, which nothing else brings about.
    pub fn wanted() -> Self {
        let slots = std::env::var("VMTRACE_SPILL_SLOTS").ok();
        match slots.and_then(|slots| slots.parse::<u32>().ok()) {
            Some(slots) => {
                let slots = slots.clamp(4, Self::USUAL.side).next_power_of_two();
                Self { main: slots, side: slots }
            }
            None => Self::USUAL,
        }
    }

    /// Slots of all of a CPU's tables.
    pub fn stride(self) -> u32 {
        self.main + (lane::COUNT - 1) * self.side
    }
}

/// What was read of one slot.
#[derive(Debug)]
struct Read {
    slot: usize,
    spill: Box<Spill>,
}

/// All spill tables, and how much of each was handed on.
#[derive(Debug)]
pub struct Spills {
    tables: shared::Spills,
    read: Vec<Read>,
}

impl Spills {
    /// Maps the tables behind `fd`.
    pub fn map(layout: Layout, tables: Tables, fd: BorrowedFd<'_>) -> anyhow::Result<Self> {
        let len = (tables.stride() * layout.cpus) as usize;
        let tables = shared::Spills::map(fd, len).context("mapping the spill tables")?;
        Ok(Self { tables, read: Vec::new() })
    }

    /// Hands on what was spilled since the last call.
    pub fn collect(&mut self, mut take: impl FnMut(&Spill)) {
        for slot in 0..self.tables.slots() {
            let count = self.tables.count(slot);
            if count == 0 {
                continue;
            }
            let place = self.read.partition_point(|read| read.slot < slot);
            let before = self.read.get(place).filter(|read| read.slot == slot);
            if before.is_some_and(|read| read.spill.count == count) {
                continue;
            }
            let now = self.tables.copy(slot);
            match before {
                Some(read) => take(&growth(&read.spill, &now)),
                None => take(&growth(&nothing(&now), &now)),
            }
            let spill = Box::new(now);
            if before.is_some() {
                self.read[place].spill = spill;
            } else {
                self.read.insert(place, Read { slot, spill });
            }
        }
    }
}

fn nothing(like: &Spill) -> Spill {
    Spill { count: 0, total: 0, buckets: [0; vmtrace_common::buckets::COUNT], ..*like }
}

/// What came since `before`. The buckets are the truth: a copy taken while the
/// program writes may have a bucket more than its count says.
fn growth(before: &Spill, now: &Spill) -> Spill {
    let mut buckets = now.buckets;
    for (bucket, old) in buckets.iter_mut().zip(&before.buckets) {
        *bucket = bucket.wrapping_sub(*old);
    }
    Spill {
        header: Header {
            tag: tag::SPILL,
            cpu: now.common.cpu,
            len: SPILL_LEN,
            tid: 0,
            ..now.header
        },
        common: now.common,
        count: buckets.iter().map(|&count| u64::from(count)).sum(),
        total: now.total.wrapping_sub(before.total),
        max: now.max,
        buckets,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
const SPILL_LEN: u32 = size_of::<Spill>() as u32;
