//! What was declared against what was reported, kind by kind. Pure: it settles
//! one range at a time, and adds the ranges up to a matrix.

use std::collections::BTreeMap;
use std::fmt;

use vmtrace::classify::told;
use vmtrace::demo::compare::Row;
use vmtrace::fault::Kind;

/// What a backend may be forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// It has marks: nothing.
    Marks,
    /// It has events alone: the merges that it declares.
    Events,
}

impl Means {
    fn merges(self, declared: Kind, reported: Kind) -> bool {
        let told = |told: &told::Told| told.kind == declared && told.merged.contains(&reported);
        self == Self::Events && told::merged().any(told)
    }
}

/// So many faults declared as one kind and reported as another; `None` on the
/// left for faults that nobody declared, on the right for ones not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) declared: Option<Kind>,
    pub(crate) reported: Option<Kind>,
    pub(crate) count: u64,
    pub(crate) allowed: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let declared = self.declared.map_or("nothing", Kind::name);
        let reported = self.reported.map_or("nothing", Kind::name);
        write!(f, "{} {declared} > {reported}", self.count)
    }
}

struct Want {
    kind: Kind,
    low: u64,
    high: u64,
    taken: u64,
}

struct Found {
    kind: Kind,
    left: u64,
}

/// Settles the rows of one range: each fault found goes to its own kind first,
/// then to one that is merged into its, and what is left over is wrong.
pub(crate) fn settle(rows: &[Row], means: Means) -> Vec<Cell> {
    let declared = rows.iter().filter(|row| row.declared.1 > 0);
    let mut wants: Vec<_> = declared
        .map(|row| Want { kind: row.kind, low: row.declared.0, high: row.declared.1, taken: 0 })
        .collect();
    let mut found: Vec<_> =
        rows.iter().map(|row| Found { kind: row.kind, left: row.seen }).collect();
    let merged = |want: &Want, kind| means.merges(want.kind, kind);
    let mut cells = Vec::new();
    let mut pour = |fits: &dyn Fn(&Want, Kind) -> bool, to: fn(&Want) -> u64, allowed| {
        for want in &mut wants {
            for one in &mut found {
                let count = one.left.min(to(want).saturating_sub(want.taken));
                if count > 0 && fits(want, one.kind) {
                    (want.taken, one.left) = (want.taken + count, one.left - count);
                    let (declared, reported) = (Some(want.kind), Some(one.kind));
                    cells.push(Cell { declared, reported, count, allowed });
                }
            }
        }
    };
    pour(&|want, kind| want.kind == kind, |want| want.high, true);
    pour(&merged, |want| want.low, true);
    pour(&merged, |want| want.high, true);
    pour(&|_, _| true, |want| want.low, false);
    let missing =
        wants.iter().map(|want| (Some(want.kind), None, want.low.saturating_sub(want.taken)));
    let undeclared = found.iter().map(|one| (None, Some(one.kind), one.left));
    let wrong = missing.chain(undeclared).filter(|&(_, _, count)| count > 0);
    cells.extend(wrong.map(|(declared, reported, count)| Cell {
        declared,
        reported,
        count,
        allowed: false,
    }));
    cells
}

/// All ranges together.
#[derive(Debug, Default)]
pub(crate) struct Matrix(BTreeMap<(Option<Kind>, Option<Kind>), u64>);

impl Matrix {
    /// Adds a cell.
    pub(crate) fn add(&mut self, cell: Cell) {
        *self.0.entry((cell.declared, cell.reported)).or_default() += cell.count;
    }

    /// The cells that are not empty: declared, reported, how many.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let name = |kind: Option<Kind>| kind.map_or("nothing", Kind::name);
        self.0
            .iter()
            .map(move |(&(declared, reported), &count)| (name(declared), name(reported), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, declared: (u64, u64), seen: u64) -> Row {
        Row { pid: 1, start: 0, end: 4096, kind, declared, seen }
    }

    fn told(rows: &[Row], means: Means) -> Vec<(String, bool)> {
        settle(rows, means).iter().map(|cell| (cell.to_string(), cell.allowed)).collect()
    }

    #[test]
    fn a_merge_is_forgiven_to_events_alone() {
        let rows = [row(Kind::CowThp, (4, 4), 0), row(Kind::CowReuse, (2, 2), 6)];
        let own = ("2 cow-reuse > cow-reuse".to_owned(), true);
        let other = "4 cow-thp > cow-reuse".to_owned();
        assert_eq!(told(&rows, Means::Events), [own.clone(), (other.clone(), true)]);
        assert_eq!(told(&rows, Means::Marks), [own, (other, false)]);
    }

    #[test]
    fn one_too_many_and_one_too_few_are_wrong() {
        let rows = [row(Kind::AnonZero, (2, 2), 3)];
        assert!(told(&rows, Means::Events).contains(&("1 nothing > anon-zero".to_owned(), false)));
        let rows = [row(Kind::AnonZero, (2, 3), 1)];
        assert!(told(&rows, Means::Marks).contains(&("1 anon-zero > nothing".to_owned(), false)));
    }

    #[test]
    fn a_range_of_counts_is_kept() {
        let rows = [row(Kind::AnonZero, (8, 10), 9), row(Kind::Spurious, (0, 2), 1)];
        assert!(settle(&rows, Means::Marks).iter().all(|cell| cell.allowed));
    }
}
