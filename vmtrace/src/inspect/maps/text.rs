//! An address space as text.

use std::io::{self, Write};

use super::columns::{self, Kind};
use super::field::{Amounts, Field};
use super::look::Space;
use super::pages::Shade;
use super::region::Region;
use super::view::{By, Group, Row, Sort, View};
use super::{glance, region::Part};
use crate::term::colour::Ink;
use crate::term::table::Layout;
use crate::term::units::{bytes, count};
use crate::term::{Screen, escape};

/// How many cells a picture gets on a screen this wide.
pub const fn cells(width: usize) -> usize {
    if width >= 140 {
        32
    } else if width >= 120 {
        24
    } else if width >= 100 {
        16
    } else {
        12
    }
}

/// Writes an address space.
pub fn write(out: &mut dyn Write, screen: &Screen, space: &Space, view: &View) -> io::Result<()> {
    head(out, screen, space)?;
    if view.filter.is_none() && view.by == By::Region && !space.regions.is_empty() {
        writeln!(out)?;
        glance::write(out, screen, &space.regions, space.bits)?;
    }
    let rows = view.rows(&space.regions);
    if !rows.is_empty() {
        writeln!(out)?;
        table(out, screen, space, view, &rows)?;
    } else if let Some(filter) = &view.filter {
        writeln!(out, "\nno region matches {}", escape::text(filter))?;
    }
    space.unseen.write(out, screen)
}

fn head(out: &mut dyn Write, screen: &Screen, space: &Space) -> io::Result<()> {
    let name = format!("{} ({})", escape::text(&space.comm), space.pid);
    let exe = space.exe.as_deref().map(escape::text).unwrap_or_default();
    let exe = escape::fit_path(&exe, screen.width.saturating_sub(escape::width(&name) + 2));
    writeln!(out, "{}  {}", screen.paint(Ink::Bold, &name), screen.paint(Ink::Dim, exe))?;
    let sum = space.sum();
    let kernel = space.rollup.as_ref().map(|(amounts, _)| *amounts);
    let known = |field, status| {
        kernel.and_then(|kernel| kernel.get(field)).or_else(|| space.status(status))
    };
    let facts = [
        ("virtual", sum.get(Field::Size).or_else(|| space.status("VmSize"))),
        ("resident", known(Field::Rss, "VmRSS")),
        ("proportional", known(Field::Pss, "")),
        ("private", kernel.map(|kernel| kernel.private())),
        ("swapped", known(Field::Swap, "VmSwap")),
        ("peak resident", space.status("VmHWM")),
        ("page tables", space.status("VmPTE")),
    ];
    let shown = facts
        .map(|(word, value)| format!("{word} {}", value.map_or_else(|| "–".to_owned(), bytes)));
    for line in escape::flow(&shown, screen.width) {
        writeln!(out, "{line}")?;
    }
    if space.regions.is_empty() {
        return Ok(());
    }
    pages_line(out, screen, &space.regions)
}

/// What the page map says of everything.
fn pages_line(out: &mut dyn Write, screen: &Screen, regions: &[Region]) -> io::Result<()> {
    let pages = || regions.iter().filter_map(|region| region.pages.as_ref());
    if pages().next().is_none() {
        return Ok(());
    }
    let absent: u64 = regions
        .iter()
        .filter(|region| region.part != Part::Reserved)
        .filter_map(|region| region.pages.as_ref())
        .map(super::pages::Pages::absent)
        .sum();
    let reserved: u64 =
        regions.iter().filter(|region| region.part == Part::Reserved).map(Region::size).sum();
    let huge: u64 = pages().map(super::pages::Pages::huge).sum();
    let zero: u64 = pages().map(super::pages::Pages::zero).sum();
    let facts = [
        (huge, "in huge entries"),
        (zero, "the zero page"),
        (absent, "never touched or dropped since"),
        (reserved, "set aside without access"),
    ];
    let words = facts.iter().filter(|(size, _)| *size > 0);
    let words: Vec<_> = words.map(|(size, word)| format!("{} {word}", bytes(*size))).collect();
    if words.is_empty() {
        return Ok(());
    }
    for part in escape::flow(&words, screen.width) {
        writeln!(out, "{}", screen.paint(Ink::Dim, part))?;
    }
    Ok(())
}

fn table(
    out: &mut dyn Write,
    screen: &Screen,
    space: &Space,
    view: &View,
    rows: &[Row<'_>],
) -> io::Result<()> {
    let sum = space.sum();
    // With every column, lines are as long as they have to be.
    let screen =
        &Screen { width: if view.all { screen.width.max(320) } else { screen.width }, ..*screen };
    let chosen = columns::choose(view, &sum, &space.regions, screen.width);
    let cells = cells(screen.width);
    let columns = chosen.iter().map(|&kind| columns::column(kind, view, cells, screen.width));
    let layout = Layout::new(columns.collect(), 1, screen);
    layout.head(out, screen)?;
    let gaps = view.by == By::Region && view.sort == Sort::Address && view.filter.is_none();
    let mut end = None;
    for row in rows {
        if let Row::One(region) = row {
            if let Some(end) = end.filter(|&end| gaps && region.start > end) {
                gap(out, screen, region.start - end)?;
            }
            end = Some(region.end);
        }
        line(out, screen, &layout, &chosen, row, view)?;
    }
    let total = total(rows);
    line(out, &Screen { colour: false, ..*screen }, &layout, &chosen, &total, view)?;
    if chosen.contains(&Kind::Picture) {
        legend(out, screen, rows)?;
    }
    Ok(())
}

fn line(
    out: &mut dyn Write,
    screen: &Screen,
    layout: &Layout,
    chosen: &[Kind],
    row: &Row<'_>,
    view: &View,
) -> io::Result<()> {
    let cells: Vec<_> = chosen.iter().map(|&kind| columns::cell(kind, row, view)).collect();
    layout.row(out, screen, &cells)
}

/// Address space that nothing uses. The small ones between libraries are not
/// worth a line.
fn gap(out: &mut dyn Write, screen: &Screen, size: u64) -> io::Result<()> {
    if size < 1 << 20 {
        return Ok(());
    }
    let text = if size >= 1 << 62 {
        "┆ no user addresses".to_owned()
    } else {
        format!("┆ {} free", bytes(size))
    };
    writeln!(out, " {:>12}  {}", "", screen.paint(Ink::Dim, text))
}

fn total(rows: &[Row<'_>]) -> Row<'static> {
    let mut bytes = Amounts::default();
    let mut pages = Some((0, 0));
    let mut regions = 0;
    for row in rows {
        bytes.add(row.bytes());
        pages = pages.zip(row.pages()).map(|(sum, more)| (sum.0 + more.0, sum.1 + more.1));
        regions += match row {
            Row::One(_) => 1,
            Row::Many(group) => group.count,
        };
    }
    let name = match regions {
        1 => "1 region in all".to_owned(),
        many => format!("{} regions in all", count(many as u64)),
    };
    let name = name.into();
    Row::Many(Box::new(Group { name, part: Part::Reserved, count: regions, bytes, pages }))
}

/// The signs that were used, and what they mean.
fn legend(out: &mut dyn Write, screen: &Screen, rows: &[Row<'_>]) -> io::Result<()> {
    const MEANING: [(Shade, &str); 9] = [
        (Shade::Full, "resident"),
        (Shade::Most, "over half"),
        (Shade::Half, "less"),
        (Shade::Sparse, "a few"),
        (Shade::Huge, "huge pages"),
        (Shade::Zero, "zero page"),
        (Shade::Swapped, "swapped"),
        (Shade::Guard, "guard"),
        (Shade::Absent, "absent"),
    ];
    let used = |shade: Shade| {
        rows.iter().any(|row| match row {
            Row::One(region) => region.pages.is_some_and(|pages| pages.picture().contains(&shade)),
            Row::Many(_) => false,
        })
    };
    let words = MEANING.iter().filter(|(shade, _)| used(*shade));
    let words: Vec<_> = words.map(|(shade, word)| format!("{} {word}", shade.sign())).collect();
    writeln!(out, "\n {}", screen.paint(Ink::Dim, words.join("   ")))
}
