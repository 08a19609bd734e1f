//! What was declared against what was reported, kind by kind. Pure: it settles
//! one range at a time, and adds the ranges up to a matrix.

use std::collections::BTreeMap;
use std::fmt;

use super::compare::{Place, Row, Seen};
use super::declare::{Declaration, Expectation, Origin};
use crate::classify::told;
use crate::fault::Kind;

/// What a backend may be forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// It has marks: nothing.
    Marks,
    /// It has events alone: the merges that it declares.
    Events,
}

impl Means {
    /// What a backend of this name has.
    pub fn of_backend(name: &str) -> Self {
        if name == "tracepoint" { Self::Events } else { Self::Marks }
    }

    /// Whether the backend sees such a fault at all.
    pub fn sees(self, one: &Expectation) -> bool {
        let unseen = one.origin == Origin::Gup || told::UNSEEN.contains(&one.kind);
        self == Self::Marks || !unseen
    }

    fn merges(self, declared: Kind, reported: Kind) -> bool {
        let told = |told: &told::Told| told.kind == declared && told.merged.contains(&reported);
        self == Self::Events && told::merged().any(told)
    }
}

/// So many faults declared as one kind and reported as another; `None` on the
/// left for faults that nobody declared, on the right for ones not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What they were.
    pub declared: Option<Kind>,
    /// What they were taken for.
    pub reported: Option<Kind>,
    /// How many.
    pub count: u64,
    /// The backend may do so.
    pub allowed: bool,
}

/// One place of a declaration, settled.
#[derive(Clone, Debug)]
pub struct Settled<'a> {
    /// The place.
    pub place: Place<'a>,
    /// What was declared and seen there, without what the backend does not see.
    pub rows: Vec<Row>,
    /// What became of it.
    pub cells: Vec<Cell>,
}

impl Declaration {
    /// Holds a trace against the declaration, place by place.
    pub fn settle(&self, seen: &[Seen], means: Means) -> Vec<Settled<'_>> {
        let all = self.compare(seen.iter().copied());
        let settled = self.places().into_iter().map(|place| {
            let same =
                |row: &&Row| (row.pid, row.start, row.end) == (place.pid, place.start, place.end);
            let mut rows: Vec<_> = all.iter().filter(same).cloned().collect();
            for row in &mut rows {
                // What this backend cannot see, it need not report.
                row.declared = place.bounds(|one| one.kind == row.kind && means.sees(one));
            }
            let cells = settle(&rows, means);
            Settled { place, rows, cells }
        });
        settled.collect()
    }
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
pub fn settle(rows: &[Row], means: Means) -> Vec<Cell> {
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
pub struct Matrix(BTreeMap<(Option<Kind>, Option<Kind>), u64>);

impl Matrix {
    /// Adds a cell.
    pub fn add(&mut self, cell: Cell) {
        *self.0.entry((cell.declared, cell.reported)).or_default() += cell.count;
    }

    /// The cells that are not empty: declared, reported, how many.
    pub fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let name = |kind: Option<Kind>| kind.map_or("nothing", Kind::name);
        self.0
            .iter()
            .map(move |(&(declared, reported), &count)| (name(declared), name(reported), count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::declare::{Basis, Count};
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

    #[test]
    fn what_a_backend_cannot_see_it_need_not_report() {
        let mut declaration = Declaration::new("test");
        declaration.expectations = vec![Expectation {
            pid: 1,
            tid: None,
            kind: Kind::AnonZero,
            count: Count::Exactly(4),
            start: 0x1000,
            end: 0x5000,
            region: String::new(),
            origin: Origin::Gup,
            basis: Basis::Program,
            latency_ns: None,
        }];
        let events = declaration.settle(&[], Means::of_backend("tracepoint"));
        assert!(events.iter().all(|one| one.cells.is_empty()), "{events:?}");
        let marks = declaration.settle(&[], Means::of_backend("fentry"));
        let wrong: Vec<_> = marks.iter().flat_map(|one| &one.cells).map(Cell::to_string).collect();
        assert_eq!(wrong, ["4 anon-zero > nothing"]);
    }
}
