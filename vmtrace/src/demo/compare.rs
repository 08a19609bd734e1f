//! Holding a trace against a declaration.
//!
//! Expectations whose ranges overlap belong together: a part of an area may
//! be touched a second time. So ranges are joined first, and then a fault that
//! lies in one is either declared there or wrong.

use std::collections::BTreeMap;

use super::declare::{Declaration, Expectation, Total};
use crate::fault::Kind;

/// One fault as somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The process.
    pub pid: u32,
    /// The address.
    pub address: u64,
    /// The kind.
    pub kind: Kind,
    /// How long it took, in nanoseconds.
    pub latency: u64,
}

/// A range of one process's addresses and all that was declared in it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The process.
    pub pid: u32,
    /// The first address.
    pub start: u64,
    /// One past the last address; equal to `start` for faults without an address.
    pub end: u64,
    /// What was declared.
    pub expectations: Vec<&'a Expectation>,
}

impl Place<'_> {
    /// Whether a fault lies here.
    pub fn holds(&self, pid: u32, address: u64) -> bool {
        self.pid == pid && (self.start..self.end).contains(&address)
    }

    /// How many faults the expectations that `wanted` selects allow: at least, at most.
    pub fn bounds(&self, wanted: impl Fn(&Expectation) -> bool) -> (u64, u64) {
        let counts = self.expectations.iter().filter(|one| wanted(one)).map(|one| one.count);
        counts.fold((0, 0), |(low, high), count| {
            (low + count.low(), u64::saturating_add(high, count.high()))
        })
    }
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The process.
    pub pid: u32,
    /// The range's first address.
    pub start: u64,
    /// One past its last address.
    pub end: u64,
    /// The kind.
    pub kind: Kind,
    /// How many were declared: at least, at most. Zeroes for a kind that was not.
    pub declared: (u64, u64),
    /// How many were seen.
    pub seen: u64,
}

impl Row {
    /// Whether what was seen is what was declared.
    pub fn agrees(&self) -> bool {
        (self.declared.0..=self.declared.1).contains(&self.seen)
    }
}

impl Declaration {
    /// The declared places, overlapping ones joined, by process and address.
    pub fn places(&self) -> Vec<Place<'_>> {
        let mut sorted: Vec<_> = self.expectations.iter().collect();
        sorted.sort_by_key(|one| (one.pid, one.start, one.end));
        let mut places: Vec<Place<'_>> = Vec::new();
        for one in sorted {
            match places.last_mut() {
                Some(last)
                    if last.pid == one.pid
                        && (one.start < last.end
                            || (one.start, one.end) == (last.start, last.end)) =>
                {
                    last.end = last.end.max(one.end);
                    last.expectations.push(one);
                }
                _ => places.push(Place {
                    pid: one.pid,
                    start: one.start,
                    end: one.end,
                    expectations: vec![one],
                }),
            }
        }
        places
    }

    /// Compares kind by kind and place by place. Faults elsewhere are ignored.
    ///
    /// An empty place takes the faults of its kinds that lie in no other place:
    /// an exception that tells no address may be traced with any.
    pub fn compare(&self, faults: impl IntoIterator<Item = Seen>) -> Vec<Row> {
        let places = self.places();
        let mut tallies: Vec<BTreeMap<Kind, u64>> = vec![BTreeMap::new(); places.len()];
        for fault in faults {
            let here = places.iter().position(|place| place.holds(fault.pid, fault.address));
            let nowhere = || {
                places.iter().position(|place| {
                    let kinds = || place.expectations.iter().any(|one| one.kind == fault.kind);
                    place.start == place.end && place.pid == fault.pid && kinds()
                })
            };
            if let Some(index) = here.or_else(nowhere) {
                *tallies[index].entry(fault.kind).or_default() += 1;
            }
        }
        let mut rows = Vec::new();
        for (place, mut tally) in places.iter().zip(tallies) {
            for one in &place.expectations {
                tally.entry(one.kind).or_default();
            }
            rows.extend(tally.into_iter().map(|(kind, seen)| Row {
                pid: place.pid,
                start: place.start,
                end: place.end,
                kind,
                declared: place.bounds(|one| one.kind == kind),
                seen,
            }));
        }
        rows
    }

    /// The totals that do not hold, each with the number of faults seen.
    pub fn wrong_totals<'a>(
        &'a self,
        faults: &'a [Seen],
    ) -> impl Iterator<Item = (&'a Total, u64)> {
        let seen = |total: &Total| {
            let range = total.start..total.end;
            let here = |one: &&Seen| one.pid == total.pid && range.contains(&one.address);
            faults.iter().filter(here).count() as u64
        };
        let counted = self.totals.iter().map(move |total| (total, seen(total)));
        counted.filter(|(total, seen)| !total.count.allows(*seen))
    }
}

#[cfg(test)]
mod tests {
    use super::super::declare::{Basis, Count, Origin};
    use super::*;

    fn expect(kind: Kind, count: Count, start: u64, end: u64) -> Expectation {
        Expectation {
            pid: 1,
            tid: None,
            kind,
            count,
            start,
            end,
            region: String::new(),
            origin: Origin::User,
            basis: Basis::Program,
            latency_ns: None,
        }
    }

    fn declaration() -> Declaration {
        let mut declaration = Declaration::new("test");
        declaration.expectations = vec![
            expect(Kind::NonCanonical, Count::Exactly(1), 0, 0),
            expect(Kind::AnonZero, Count::Exactly(2), 0x1000, 0x3000),
            expect(Kind::AnonZero, Count::AtLeast(1), 0x2000, 0x3000),
            expect(Kind::Shmem, Count::Exactly(1), 0x3000, 0x4000),
        ];
        declaration
    }

    fn seen(kind: Kind, address: u64) -> Seen {
        Seen { pid: 1, address, kind, latency: 0 }
    }

    #[test]
    fn overlapping_ranges_are_one_place() {
        let declaration = declaration();
        let places = declaration.places();
        let ranges: Vec<_> = places.iter().map(|place| (place.start, place.end)).collect();
        assert_eq!(ranges, [(0, 0), (0x1000, 0x3000), (0x3000, 0x4000)]);
        assert_eq!(places[1].bounds(|_| true), (3, u64::MAX));
    }

    #[test]
    fn what_was_declared_agrees() {
        let faults = [
            seen(Kind::AnonZero, 0x1000),
            seen(Kind::AnonZero, 0x2000),
            seen(Kind::AnonZero, 0x2fff),
            seen(Kind::Shmem, 0x3000),
            seen(Kind::NonCanonical, 1 << 63),
            seen(Kind::FileMap, 0x9000),
            Seen { pid: 2, ..seen(Kind::FileMap, 0x1000) },
        ];
        let rows = declaration().compare(faults);
        assert!(rows.iter().all(Row::agrees), "{rows:?}");
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn a_total_counts_every_kind_in_its_range() {
        let mut declaration = declaration();
        let total = Total { pid: 1, start: 0x1000, end: 0x3000, count: Count::Exactly(2) };
        declaration.totals.push(total);
        let two = [seen(Kind::AnonZero, 0x1000), seen(Kind::Spurious, 0x2fff)];
        assert_eq!(declaration.wrong_totals(&two).count(), 0);
        let wrong: Vec<_> = declaration.wrong_totals(&two[..1]).map(|(_, seen)| seen).collect();
        assert_eq!(wrong, [1]);
    }

    #[test]
    fn one_too_many_of_another_kind_does_not() {
        let rows = declaration().compare([seen(Kind::FileMap, 0x3800)]);
        let wrong: Vec<_> = rows.iter().filter(|row| !row.agrees()).map(|row| row.kind).collect();
        assert_eq!(wrong, [Kind::NonCanonical, Kind::AnonZero, Kind::FileMap, Kind::Shmem]);
    }
}
