//! Sums of counts and latencies, by kind and class.

use super::{Classes, Kinds, Stats};
use crate::fault::{Class, Kind};
use crate::tally::cells::Cell;
use crate::tally::latency::Distribution;

/// Sums of one kind, class or row.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    total: u64,
    max: u64,
    pub(super) latencies: Distribution,
}

impl Sum {
    pub(super) fn add(&mut self, cell: &Cell) {
        self.count = self.count.saturating_add(cell.count);
        self.total = self.total.saturating_add(cell.total);
        self.max = self.max.max(cell.max);
        self.latencies.merge(cell.latencies(), cell.max);
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.total = self.total.saturating_add(other.total);
        self.max = self.max.max(other.max);
        self.latencies.absorb(&other.latencies);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            count: self.count,
            total_ns: self.total,
            p50_ns: self.latencies.percentile(500),
            p90_ns: self.latencies.percentile(900),
            p99_ns: self.latencies.percentile(990),
            p999_ns: self.latencies.percentile(999),
            max_ns: self.max,
        }
    }
}

/// Sums by kind.
#[derive(Clone, Debug)]
pub(super) struct Sums(Vec<Option<Box<Sum>>>);

impl Default for Sums {
    fn default() -> Self {
        Self(vec![None; Kind::COUNT])
    }
}

impl Sums {
    pub(super) fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut sums = Self::default();
        cells.for_each(|cell| sums.at(cell.kind).add(cell));
        sums
    }

    pub(super) fn at(&mut self, kind: Kind) -> &mut Sum {
        self.0[kind.index()].get_or_insert_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Kind, &Sum)> {
        let kinds = Kind::ALL.into_iter().zip(&self.0);
        kinds.filter_map(|(kind, sum)| Some((kind, sum.as_deref()?)))
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        other.iter().for_each(|(kind, sum)| self.at(kind).absorb(sum));
    }

    pub(super) fn kinds(&self) -> Kinds {
        Kinds(self.iter().map(|(kind, sum)| (kind, sum.stats())).collect())
    }

    pub(super) fn classes(&self) -> Classes {
        Classes(Class::ALL.map(|class| {
            let mut all = Sum::default();
            let kinds = self.iter().filter(|(kind, _)| kind.class() == class);
            kinds.for_each(|(_, sum)| all.absorb(sum));
            all.stats()
        }))
    }

    pub(super) fn all(&self) -> Sum {
        let mut all = Sum::default();
        self.iter().for_each(|(_, sum)| all.absorb(sum));
        all
    }
}
