//! A comparison as a page for people.

use std::io::{self, Write};

use super::story::relative;
use super::{Change, Diff, Run};
use crate::term::Screen;
use crate::term::colour::Ink;
use crate::term::table::{Cell, Column, Shrink, Table};
use crate::term::units::{count, nanoseconds};

/// Writes it.
pub fn write(out: &mut dyn Write, screen: &Screen, diff: &Diff) -> io::Result<()> {
    for (word, run) in [("was", &diff.before), ("is ", &diff.after)] {
        one(out, screen, word, run)?;
    }
    writeln!(out)?;
    if diff.changed {
        writeln!(out, "{}", screen.paint(Ink::Bold, "Changed beyond noise:"))?;
        for sentence in &diff.sentences {
            writeln!(out, "  {sentence}")?;
        }
    } else {
        writeln!(out, "{}", screen.paint(Ink::Bold, "No change beyond noise."))?;
    }
    writeln!(out)?;
    let all: Vec<_> = std::iter::once(&diff.all).chain(&diff.classes).chain(&diff.kinds).collect();
    table(out, screen, "faults", &all, true)?;
    writeln!(out)?;
    let regions: Vec<_> = diff.regions.iter().collect();
    table(out, screen, "region", &regions, false)?;
    let rest = diff.regions_total - diff.regions.len();
    if rest > 0 {
        writeln!(out, "… and {} more (--top)", count(rest as u64))?;
    }
    if !diff.conditions.is_empty() {
        writeln!(out)?;
    }
    for verdict in &diff.conditions {
        let ink = if verdict.holds { Ink::Red } else { Ink::Green };
        writeln!(out, "{}", screen.paint(ink, verdict))?;
    }
    Ok(())
}

fn one(out: &mut dyn Write, screen: &Screen, word: &str, run: &Run) -> io::Result<()> {
    writeln!(
        out,
        "{word} {}  {}: {} faults in {}, {} on {}",
        screen.paint(Ink::Bold, &run.file),
        run.target,
        count(run.faults),
        nanoseconds(run.duration_ns),
        run.backend,
        run.host,
    )
}

/// Rows of all that was measured, or, for regions, with room for their names.
fn table(
    out: &mut dyn Write,
    screen: &Screen,
    what: &'static str,
    rows: &[&Change],
    whole: bool,
) -> io::Result<()> {
    let mut columns = vec![Column::left(what).shrink(Shrink::Middle)];
    columns.extend(["was", "is", "change"].map(Column::right));
    if whole {
        columns.extend(["p50 was", "is", "p99 was", "is"].map(Column::right));
    }
    columns.extend(["time was", "is"].map(Column::right));
    columns.push(Column::left("differs in"));
    let mut table = Table::new(columns, 0);
    for row in rows {
        let time = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), nanoseconds);
        let [was, is] = row.counts;
        let change = relative(was, is).unwrap_or_else(|| "–".to_owned());
        let mut cells = vec![row.name.clone(), count(was), count(is), change];
        if whole {
            cells.extend(row.p50_ns.map(time));
            cells.extend(row.p99_ns.map(time));
        }
        cells.extend(row.total_ns.map(nanoseconds));
        cells.push(differences(row));
        table.row(cells.into_iter().map(Cell::from));
    }
    table.write(out, screen)
}

fn differences(row: &Change) -> String {
    let told = [("count", row.count), ("p50", row.p50), ("p99", row.p99)];
    let told = told.into_iter().filter(|(_, noise)| noise.is_change());
    told.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}
