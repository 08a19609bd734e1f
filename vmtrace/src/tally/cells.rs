//! Counts and histograms by row and kind: a cache line each, found by an index.
//!
//! A row's cells hang in a list as long as the kinds it has met. Where the
//! memory for histograms is used up, a cell keeps its exact count, total and
//! longest, and its latencies are folded into its kind's for the whole run; its
//! percentiles, and those of its process, are then not told.

use vmtrace_common::record::Fault;

use super::latency::{self, Budget, Compact, Distribution};
use crate::fault::Kind;

/// What all histograms of cells may take together.
const BUDGET: usize = 64 << 20;

/// No cell.
const NONE: u32 = u32::MAX;

/// One row's faults of one kind.
#[derive(Clone, Debug)]
pub struct Cell {
    /// How many.
    pub count: u64,
    /// The longest latency.
    pub max: u64,
    /// Their latencies' sum. Not beside the count: the compiler would add the
    /// two in one vector, which takes three times the instructions.
    pub total: u64,
    /// Their latencies.
    latencies: Compact,
    next: u32,
    /// The kind.
    pub kind: Kind,
}

/// The head of a row's list.
#[derive(Clone, Copy, Debug)]
pub struct Head(u32);

impl Default for Head {
    fn default() -> Self {
        Self(NONE)
    }
}

/// All cells.
#[derive(Debug)]
pub struct Cells {
    all: Vec<Cell>,
    budget: Budget,
    folded: [Distribution; Kind::COUNT],
    was_folded: bool,
}

impl Default for Cells {
    fn default() -> Self {
        Self::with_budget(BUDGET)
    }
}

impl Cells {
    /// None yet, with so many bytes for histograms.
    pub fn with_budget(bytes: usize) -> Self {
        let folded = std::array::from_fn(|_| Distribution::default());
        Self { all: Vec::new(), budget: Budget(bytes), folded, was_folded: false }
    }

    /// The cell of a row and kind; made where there is none.
    #[inline]
    pub fn find(&mut self, head: &mut Head, kind: Kind) -> u32 {
        let mut at = head.0;
        while let Some(cell) = self.all.get(at as usize) {
            if cell.kind == kind {
                return at;
            }
            at = cell.next;
        }
        self.make(head, kind)
    }

    #[cold]
    #[inline(never)]
    fn make(&mut self, head: &mut Head, kind: Kind) -> u32 {
        let at = u32::try_from(self.all.len()).unwrap_or(NONE);
        let latencies = Compact::default();
        self.all.push(Cell { count: 0, total: 0, max: 0, latencies, next: head.0, kind });
        head.0 = at;
        at
    }

    /// Counts one fault.
    #[inline]
    pub fn record(&mut self, at: u32, latency: u64) {
        let Some(cell) = self.all.get_mut(at as usize) else { return };
        cell.count += 1;
        cell.total = cell.total.wrapping_add(latency);
        cell.max = cell.max.max(latency);
        let bucket = latency::index(latency);
        if !cell.latencies.quick().count(bucket) {
            self.record_slowly(at, bucket, 1);
        }
    }

    /// Counts the first of some faults, and those after it as long as they are alike.
    /// Answers how many: what they share is looked up once, and kept in registers.
    #[inline]
    pub fn record_run(
        &mut self,
        at: u32,
        faults: &[Fault],
        alike: impl Fn(&Fault) -> bool,
    ) -> usize {
        let Some(cell) = self.all.get_mut(at as usize) else { return faults.len().min(1) };
        let (mut total, mut max) = (cell.total, cell.max);
        let mut counts = cell.latencies.quick();
        let (mut run, mut left) = (0, None);
        for fault in faults {
            if run != 0 && !alike(fault) {
                break;
            }
            run += 1;
            total = total.wrapping_add(fault.latency);
            max = max.max(fault.latency);
            let bucket = latency::index(fault.latency);
            if !counts.count(bucket) {
                left = Some(bucket);
                break;
            }
        }
        cell.count += run as u64;
        (cell.total, cell.max) = (total, max);
        if let Some(bucket) = left {
            self.record_slowly(at, bucket, 1);
        }
        run
    }

    /// Counts a fault whose latency is not known.
    pub fn count(&mut self, at: u32) {
        if let Some(cell) = self.all.get_mut(at as usize) {
            cell.count += 1;
        }
    }

    /// Counts faults that were added up elsewhere.
    pub fn add(
        &mut self,
        at: u32,
        (count, total, max): (u64, u64, u64),
        buckets: impl Iterator<Item = (u16, u32)>,
    ) {
        let Some(cell) = self.all.get_mut(at as usize) else { return };
        cell.count = cell.count.saturating_add(count);
        cell.total = cell.total.saturating_add(total);
        cell.max = cell.max.max(max);
        buckets.for_each(|(bucket, count)| self.record_slowly(at, bucket, count));
    }

    #[cold]
    #[inline(never)]
    fn record_slowly(&mut self, at: u32, bucket: u16, count: u32) {
        let Some(cell) = self.all.get_mut(at as usize) else { return };
        if cell.latencies.add(bucket, count, &mut self.budget).is_ok() {
            return;
        }
        let fold = &mut self.folded[cell.kind.index()];
        if !cell.latencies.is_folded() {
            let held = cell.latencies.fold(&mut self.budget);
            fold.merge(&held, cell.max);
        }
        fold.add(bucket, u64::from(count));
        self.was_folded = true;
    }

    /// A row's cells.
    pub fn of(&self, head: Head) -> impl Iterator<Item = &Cell> {
        let mut at = head.0;
        std::iter::from_fn(move || {
            let cell = self.all.get(at as usize)?;
            at = cell.next;
            Some(cell)
        })
    }

    /// The latencies of one kind that were folded together.
    pub const fn folded(&self, kind: Kind) -> &Distribution {
        &self.folded[kind.index()]
    }

    /// Whether the memory for histograms was used up.
    pub const fn was_folded(&self) -> bool {
        self.was_folded
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Cell {
    /// Its latencies.
    pub const fn latencies(&self) -> &Compact {
        &self.latencies
    }
}

const _: () = assert!(size_of::<Cell>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_cell_a_kind() {
        let mut cells = Cells::default();
        let mut head = Head::default();
        for round in 0..100 {
            let kind = if round % 2 == 0 { Kind::AnonZero } else { Kind::CowCopy };
            let at = cells.find(&mut head, kind);
            cells.record(at, 1000 + round);
        }
        let found: Vec<_> = cells.of(head).map(|cell| (cell.kind, cell.count, cell.max)).collect();
        assert_eq!(found, [(Kind::CowCopy, 50, 1099), (Kind::AnonZero, 50, 1098)]);
    }

    #[test]
    fn folding_keeps_counts_exact_and_the_run_s_percentiles() {
        let mut cells = Cells::with_budget(0);
        let mut heads = [Head::default(); 10];
        for round in 0..10_000_u64 {
            let index = usize::try_from(round % 10).unwrap();
            let at = cells.find(&mut heads[index], Kind::AnonZero);
            cells.record(at, 500 + round);
        }
        assert!(cells.was_folded());
        let mut all = cells.folded(Kind::AnonZero).clone();
        for head in heads {
            let cell = cells.of(head).next().unwrap();
            assert_eq!(cell.count, 1000);
            all.merge(cell.latencies(), cell.max);
        }
        assert_eq!(all.count(), 10_000);
        assert_eq!(all.percentile(500), None);
        all.complete();
        let median = all.percentile(500).unwrap();
        assert!(median.abs_diff(5500) < 60, "{median}");
    }
}
