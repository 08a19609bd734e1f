//! Faults of which no program saw anything.
//!
//! A preemptible kernel does not run a program on a CPU where another thread was
//! preempted in it. A fault that takes no exception (`get_user_pages`) is seen by
//! two such programs; skipped by both, it leaves nothing but the kernel's own
//! count. That is enough to say how many there were, and whether they waited.

use super::{Observer, Pipeline};
use crate::fault::{Class, Kind};

/// So many of a process's faults.
struct Gap {
    process: u32,
    kind: Kind,
    count: u64,
}

impl<O: Observer> Pipeline<O> {
    /// Counts them, at a session's end, where the kernel's count of skipped
    /// programs accounts for them.
    pub(super) fn count_unseen(&mut self) {
        let stream = &self.stream;
        // Without marks, such faults are not seen to begin with: that is said apart.
        if self.filters || self.options.inherit || stream.malformed > 0 {
            return;
        }
        let gaps = self.gaps();
        let all = gaps.iter().fold(0_u64, |sum, gap| sum.saturating_add(gap.count));
        if all > self.stream.counters.missed {
            return;
        }
        for Gap { process, kind, count } in gaps {
            let row = self.world.nowhere(process);
            let cell = self.tally.cell(row, kind);
            self.tally.cells_mut().add(cell, (count, 0, 0), std::iter::empty());
        }
        self.stream.unseen = self.stream.unseen.saturating_add(all);
    }

    /// What the kernel counted of each process beyond what arrived.
    fn gaps(&self) -> Vec<Gap> {
        let accounts = self.accounts.by_process(self.world.processes().len());
        let mut counted = vec![(0_u64, 0_u64); accounts.len()];
        for (index, row) in self.world.rows().iter().enumerate() {
            let Some((small, major)) = counted.get_mut(row.process as usize) else { continue };
            for cell in self.tally.row(index) {
                match cell.kind.class() {
                    Class::Minor | Class::Cow => *small = small.saturating_add(cell.count),
                    Class::Major => *major = major.saturating_add(cell.count),
                    Class::Invalid => {}
                }
            }
        }
        let mut gaps = Vec::new();
        for ((account, (small, major)), process) in accounts.iter().zip(counted).zip(0..) {
            let told = account.lost == 0 && account.filtered == 0;
            if !told || account.min_flt < small || account.maj_flt < major {
                // Where one has too many, another lacks them: an id that came again.
                return Vec::new();
            }
            let kinds = [(Kind::Other, account.min_flt - small)];
            let kinds = kinds.into_iter().chain([(Kind::OtherMajor, account.maj_flt - major)]);
            let kinds = kinds.filter(|&(_, count)| count > 0);
            gaps.extend(kinds.map(|(kind, count)| Gap { process, kind, count }));
        }
        gaps
    }
}
