//! The columns of the table of regions: which are worth their room, and what
//! each says of a row.

use super::field::{Amounts, Field};
use super::glance;
use super::region::Region;
use super::view::{By, Row, View};
use crate::term::colour::Ink;
use crate::term::escape;
use crate::term::table::{Cell, Column, Shrink};
use crate::term::units::short_bytes;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first address.
    Start,
    /// How many regions a row adds up.
    Count,
    /// An amount as `smaps` has it.
    Amount(Field, &'static str),
    /// Shared and private dirty pages.
    Dirty,
    /// Huge pages of any kind.
    Huge,
    /// What the page map calls zero pages.
    Zero,
    /// What is not there.
    Absent,
    /// Node and size.
    Nodes,
    /// Permissions.
    Perm,
    /// The picture.
    Picture,
    /// The name.
    Name,
}

const ALL: [Kind; 17] = [
    Kind::Amount(Field::PrivateClean, "p-clean"),
    Kind::Amount(Field::PrivateDirty, "p-dirty"),
    Kind::Amount(Field::SharedClean, "s-clean"),
    Kind::Amount(Field::SharedDirty, "s-dirty"),
    Kind::Amount(Field::Referenced, "refd"),
    Kind::Amount(Field::Anonymous, "anon"),
    Kind::Amount(Field::AnonHuge, "thp"),
    Kind::Amount(Field::ShmemHuge, "shm-thp"),
    Kind::Amount(Field::FileHuge, "filethp"),
    Kind::Amount(Field::SharedHugetlb, "s-htlb"),
    Kind::Amount(Field::PrivateHugetlb, "p-htlb"),
    Kind::Amount(Field::Ksm, "ksm"),
    Kind::Amount(Field::LazyFree, "lazy"),
    Kind::Amount(Field::Locked, "locked"),
    Kind::Amount(Field::Swap, "swap"),
    Kind::Amount(Field::SwapPss, "swappss"),
    Kind::Zero,
];

/// The columns for a view on a screen of this width.
pub fn choose(view: &View, sum: &Amounts, regions: &[Region], width: usize) -> Vec<Kind> {
    let single = view.by == By::Region;
    let mut chosen = vec![if single { Kind::Start } else { Kind::Count }];
    chosen.push(Kind::Amount(Field::Size, "size"));
    chosen.push(Kind::Amount(Field::Rss, "rss"));
    chosen.push(Kind::Amount(Field::Pss, "pss"));
    if view.all {
        chosen.extend(ALL);
        chosen.push(Kind::Absent);
    } else {
        let wide = width >= 110 || !single;
        let mut add = |when: bool, kind| chosen.extend(when.then_some(kind));
        add(wide, Kind::Dirty);
        add(wide, Kind::Amount(Field::Anonymous, "anon"));
        add(sum.huge() > 0, Kind::Huge);
        add(sum.of(Field::Swap) > 0, Kind::Amount(Field::Swap, "swap"));
        add(wide && sum.of(Field::Locked) > 0, Kind::Amount(Field::Locked, "locked"));
        add(wide && sum.of(Field::Ksm) > 0, Kind::Amount(Field::Ksm, "ksm"));
        add(!single, Kind::Absent);
    }
    if single && regions.iter().any(|region| !region.nodes.is_empty()) {
        chosen.push(Kind::Nodes);
    }
    if single {
        chosen.push(Kind::Perm);
    }
    if single && regions.iter().any(|region| region.pages.is_some()) {
        chosen.push(Kind::Picture);
    }
    chosen.push(Kind::Name);
    chosen
}

/// The column's head, side and width. Widths are known beforehand, so that the
/// table can be written as it comes.
pub fn column(kind: Kind, view: &View, cells: usize, width: usize) -> Column {
    let amount = if view.exact { 9 } else { 6 };
    match kind {
        Kind::Start => Column::right("start").width(12).shrink(Shrink::Middle),
        Kind::Count => Column::right("regions"),
        Kind::Amount(_, head) => Column::right(head).width(amount),
        Kind::Dirty => Column::right("dirty").width(amount),
        Kind::Huge => Column::right("huge").width(amount),
        Kind::Zero => Column::right("zero").width(amount),
        Kind::Absent => Column::right("absent").width(amount),
        Kind::Nodes => Column::left("nodes").width(12),
        Kind::Perm => Column::left("perm").width(4),
        Kind::Picture => Column::left("pages").width(cells),
        // As much as there is: the layout takes away what does not fit.
        Kind::Name => Column::left("name").width(width).shrink(Shrink::Middle),
    }
}

/// What a column says of a row.
pub fn cell(kind: Kind, row: &Row<'_>, view: &View) -> Cell {
    let size = |bytes: Option<u64>| match bytes {
        None => Cell::new(Ink::Dim, "–"),
        Some(0) => Cell::new(Ink::Dim, "0"),
        Some(bytes) if view.exact => (bytes / 1024).to_string().into(),
        Some(bytes) => short_bytes(bytes).into(),
    };
    let bytes = row.bytes();
    match kind {
        Kind::Start => match row {
            Row::One(region) => format!("{:x}", region.start).into(),
            Row::Many(_) => "".into(),
        },
        Kind::Count => match row {
            Row::One(_) => "1".into(),
            Row::Many(group) => group.count.to_string().into(),
        },
        Kind::Amount(field, _) => size(bytes.get(field)),
        Kind::Dirty => size(bytes.get(Field::PrivateDirty).map(|_| bytes.dirty())),
        Kind::Huge => size(bytes.get(Field::AnonHuge).map(|_| bytes.huge())),
        Kind::Zero => size(row.pages().map(|(zero, _)| zero)),
        Kind::Absent => size(row.pages().map(|(_, absent)| absent)),
        Kind::Nodes => match row {
            Row::One(region) => nodes(region).into(),
            Row::Many(_) => "".into(),
        },
        Kind::Perm => row.perm().map_or_else(|| "".into(), |perm| perm.to_string().into()),
        Kind::Picture => match row {
            Row::One(region) => Cell::new(glance::ink(region.part), picture(region)),
            Row::Many(_) => "".into(),
        },
        Kind::Name => Cell::new(glance::ink(row.part()), escape::text(row.name()).into_owned()),
    }
}

/// A region's picture; `–` where its pages are unknown.
pub fn picture(region: &Region) -> String {
    region.pages.map_or_else(
        || "–".to_owned(),
        |pages| pages.picture().iter().map(|shade| shade.sign()).collect(),
    )
}

/// `0:128K 1:4K`.
fn nodes(region: &Region) -> String {
    let words = region.nodes.iter().map(|(node, size)| format!("{node}:{}", short_bytes(*size)));
    words.collect::<Vec<_>>().join(" ")
}
