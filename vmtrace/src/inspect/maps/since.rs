//! Two looks apart: what grew, what shrank, what came and what went.

use std::io::{self, Write};

use serde::Serialize;

use super::field::Field;
use super::json::Earlier;
use super::look::Space;
use super::region::hex;
use crate::inspect::unseen::Unseen;
use crate::term::colour::Ink;
use crate::term::escape;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::short_bytes_change;
use crate::term::{Screen, units};

/// The amounts that are compared.
pub const COMPARED: [(Field, &str); 6] = [
    (Field::Size, "size"),
    (Field::Rss, "rss"),
    (Field::Pss, "pss"),
    (Field::PrivateDirty, "dirty"),
    (Field::Anonymous, "anon"),
    (Field::Swap, "swap"),
];

/// A region before: as little as a comparison needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
    /// Its name.
    pub name: String,
    /// [`COMPARED`], in that order.
    pub amounts: [u64; COMPARED.len()],
}

/// What became of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It was not there before.
    New,
    /// It is no longer there.
    Gone,
    /// It changed.
    Changed,
}

/// A region that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of it.
    pub fate: Fate,
    /// Its first address.
    #[serde(serialize_with = "hex")]
    pub start: u64,
    /// Its name. Hostile.
    pub name: String,
    /// By how much each of [`COMPARED`] changed, in bytes.
    pub change: [i64; COMPARED.len()],
}

/// The regions of a look, as something to compare with later.
pub fn remember(space: &Space) -> Vec<Before> {
    let regions = space.regions.iter().map(|region| Before {
        start: region.start,
        end: region.end,
        name: region.name.to_string(),
        amounts: COMPARED.map(|(field, _)| region.bytes.of(field)),
    });
    regions.collect()
}

/// The regions of a look that was written as JSON.
pub fn recall(earlier: &Earlier) -> Vec<Before> {
    let region = |region: &super::json::EarlierRegion| {
        let (start, end) = region.range()?;
        let amount = |(field, _): (Field, &str)| region.bytes.get(field.key()).copied();
        let amounts = COMPARED.map(|compared| amount(compared).unwrap_or(0));
        Some(Before { start, end, name: region.name.clone(), amounts })
    };
    let mut before: Vec<Before> = earlier.regions.iter().filter_map(region).collect();
    before.sort_by_key(|region| region.start);
    before
}

/// Compares two looks; both in the order of the addresses. What changed most in
/// resident size comes first.
pub fn compare(before: &[Before], now: &[Before]) -> Vec<Change> {
    let mut met = vec![false; before.len()];
    let mut changes = Vec::new();
    for region in now {
        let old = same(before, region).filter(|&at| !met[at]);
        let (fate, amounts) = match old {
            Some(at) => {
                met[at] = true;
                (Fate::Changed, before[at].amounts)
            }
            None => (Fate::New, [0; COMPARED.len()]),
        };
        if fate == Fate::New || amounts != region.amounts {
            changes.push(change(fate, region, amounts, region.amounts));
        }
    }
    let gone = before.iter().zip(&met).filter(|(_, met)| !**met);
    changes.extend(gone.map(|(old, _)| change(Fate::Gone, old, old.amounts, [0; COMPARED.len()])));
    changes.sort_by_key(|change| {
        (std::cmp::Reverse(change.change[1].unsigned_abs()), std::cmp::Reverse(change.change[0]))
    });
    changes
}

/// The region that this one was: same start, or (a stack grows down) same end.
fn same(before: &[Before], region: &Before) -> Option<usize> {
    let at = before.partition_point(|old| old.end <= region.start);
    let old = before.get(at)?;
    let alike = old.name == region.name && (old.start == region.start || old.end == region.end);
    alike.then_some(at)
}

fn change(
    fate: Fate,
    region: &Before,
    from: [u64; COMPARED.len()],
    to: [u64; COMPARED.len()],
) -> Change {
    let change = std::array::from_fn(|at| to[at].cast_signed() - from[at].cast_signed());
    Change { fate, start: region.start, name: region.name.clone(), change }
}

/// Writes the changes as text.
pub fn write_text(
    out: &mut dyn Write,
    screen: &Screen,
    changes: &[Change],
    top: Option<usize>,
) -> io::Result<()> {
    if changes.is_empty() {
        return writeln!(out, "nothing changed");
    }
    let mut columns = vec![Column::right("start")];
    columns.extend(COMPARED.map(|(_, head)| Column::right(head)));
    columns.push(Column::left(""));
    columns.push(Column::left("name").shrink(Shrink::Middle));
    let mut table = Table::new(columns, 1);
    let cell = |value: i64| {
        let ink = match value.signum() {
            1 => Ink::Yellow,
            -1 => Ink::Green,
            _ => Ink::Dim,
        };
        Cell::new(ink, short_bytes_change(value))
    };
    let mut total = [0; COMPARED.len()];
    for change in changes {
        for (sum, value) in total.iter_mut().zip(change.change) {
            *sum += value;
        }
    }
    for change in changes.iter().take(top.unwrap_or(usize::MAX)) {
        let mut cells = vec![format!("{:x}", change.start).into()];
        cells.extend(change.change.map(cell));
        cells.push(match change.fate {
            Fate::New => Cell::new(Ink::Yellow, "new"),
            Fate::Gone => Cell::new(Ink::Green, "gone"),
            Fate::Changed => "".into(),
        });
        cells.push(escape::text(&change.name).into_owned().into());
        table.row(cells);
    }
    let mut cells = vec!["".into()];
    cells.extend(total.map(cell));
    cells.push("".into());
    cells.push(format!("{} regions changed", units::count(changes.len() as u64)).into());
    table.row(cells);
    table.write(out, screen)
}

/// Writes the changes as JSON, schema `vmtrace.maps-since/1`.
pub fn write_json(
    out: &mut dyn Write,
    pid: i32,
    changes: &[Change],
    unseen: &Unseen,
) -> io::Result<()> {
    let compared = COMPARED.map(|(field, _)| field.key());
    let document = serde_json::json!({
        "schema": "vmtrace.maps-since/1",
        "pid": pid,
        "compared": compared,
        "changes": changes,
        "unseen": unseen,
    });
    writeln!(out, "{document}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, end: u64, name: &str, rss: u64) -> Before {
        Before { start, end, name: name.to_owned(), amounts: [end - start, rss, 0, 0, 0, 0] }
    }

    #[test]
    fn heaps_grow_up_and_stacks_grow_down() {
        let before = [
            region(0x1000, 0x2000, "[heap]", 10),
            region(0x5000, 0x6000, "[anon]", 1),
            region(0x8000, 0x9000, "[stack]", 3),
            region(0xa000, 0xb000, "x", 3),
        ];
        let now = [
            region(0x1000, 0x4000, "[heap]", 30),
            region(0x5000, 0x6000, "y", 9),
            region(0x7000, 0x9000, "[stack]", 4),
            region(0xa000, 0xb000, "x", 3),
        ];
        let changes = compare(&before, &now);
        let short: Vec<_> =
            changes.iter().map(|c| (c.fate, c.name.as_str(), c.change[0], c.change[1])).collect();
        assert_eq!(
            short,
            [
                (Fate::Changed, "[heap]", 0x2000, 20),
                (Fate::New, "y", 0x1000, 9),
                (Fate::Changed, "[stack]", 0x1000, 1),
                (Fate::Gone, "[anon]", -0x1000, -1),
            ]
        );
        assert_eq!(compare(&now, &now), []);
    }
}
