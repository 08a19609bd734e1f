//! A walk as text.

use std::io::{self, Write};

use super::absent::Absent;
use super::address::{Half, Level, draw};
use super::entry::{Decoded, Entries, Unread, bits, decode};
use super::look::{Frame, Walk, swap_areas};
use super::page::{Mapped, Page};
use super::verdict::{Access, Verdict};
use crate::inspect::pagemap::Entry;
use crate::term::colour::Ink;
use crate::term::units::{bytes, short_bytes};
use crate::term::{Screen, escape};

/// Writes a walk.
pub fn write(out: &mut dyn Write, screen: &Screen, walk: &Walk) -> io::Result<()> {
    let address = walk.address;
    let half = match address.half() {
        Half::User => "canonical, user half",
        Half::Kernel => "canonical, kernel half",
        Half::NonCanonical => "not canonical",
    };
    let levels = if address.five { 5 } else { 4 };
    let number = format!("{:#018x}", address.value);
    writeln!(
        out,
        "{}  {half}, {levels}-level paging   {} ({})",
        screen.paint(Ink::Bold, number),
        escape::text(&walk.comm),
        walk.pid
    )?;
    region(out, screen, walk)?;
    writeln!(out)?;
    draw(out, screen, address)?;
    writeln!(out)?;
    match &walk.entries {
        Some(entries) => tables(out, screen, walk, entries)?,
        None if walk.region.is_some() => page_map(out, screen, walk)?,
        None => {}
    }
    if let Some(frame) = &walk.frame {
        self::frame(out, screen, frame)?;
    }
    writeln!(out)?;
    for verdict in &walk.verdicts {
        self::verdict(out, screen, verdict)?;
    }
    walk.unseen.write(out, screen)
}

fn region(out: &mut dyn Write, screen: &Screen, walk: &Walk) -> io::Result<()> {
    let Some(region) = &walk.region else {
        let why = match walk.address.half() {
            Half::User => "in no region",
            Half::Kernel => "the kernel's: no region of a process",
            Half::NonCanonical => "in the hole between the halves",
        };
        return writeln!(out, "{}", screen.paint(Ink::Yellow, why));
    };
    let name = escape::text(&region.name);
    let place = format!(
        " {}  {:x}-{:x}, {}, byte {:#x} of it",
        region.perm,
        region.start,
        region.end,
        short_bytes(region.size()),
        walk.address.value - region.start
    );
    let name = escape::fit_path(&name, screen.width.saturating_sub(place.len()));
    writeln!(out, "{}{}", screen.paint(Ink::Cyan, name), screen.paint(Ink::Dim, place))
}

fn tables(out: &mut dyn Write, screen: &Screen, walk: &Walk, entries: &Entries) -> io::Result<()> {
    for level in Level::ALL {
        let raw = match entries.at(level) {
            Err(Unread::Folded | Unread::PageAbove | Unread::NothingAbove) => continue,
            Err(Unread::Refused) => {
                writeln!(out, " {} –  it could not be read", level.name())?;
                continue;
            }
            Ok(raw) => raw,
        };
        let index = format!("[{}]", walk.address.index(level));
        let meaning = match decode(level, raw, &walk.types) {
            Decoded::Table { frame } => format!("table in frame {frame:#x}"),
            Decoded::Page { frame, size, accessible, .. } => {
                let locked = if accessible { "" } else { ", locked away" };
                format!("{} page, frame {frame:#x}{locked}", bytes(size))
            }
            Decoded::Absent(absent) => describe(absent),
        };
        writeln!(
            out,
            " {} {index:<6} {}  {}",
            screen.paint(Ink::Bold, level.name()),
            screen.paint(Ink::Cyan, format!("{raw:#018x}")),
            meaning
        )?;
        for line in escape::flow(&bits(level, raw), screen.width.saturating_sub(13)) {
            writeln!(out, "{:12}{}", "", screen.paint(Ink::Dim, line))?;
        }
    }
    Ok(())
}

/// What the page map tells, where the entries are not to be had.
fn page_map(out: &mut dyn Write, screen: &Screen, walk: &Walk) -> io::Result<()> {
    let from = screen.paint(Ink::Dim, " from the page map, not from the entries themselves");
    writeln!(out, "{from}")?;
    let text = match &walk.page {
        Page::Mapped(mapped) => words(mapped, walk.pagemap.is_some_and(Entry::soft_dirty)),
        Page::Absent(absent) => describe(*absent),
        Page::Unknown => "nothing is known of the page".to_owned(),
    };
    writeln!(out, " page   {text}")
}

fn words(mapped: &Mapped, soft_dirty: bool) -> String {
    let mut words = vec!["present"];
    words.push(match (mapped.zero, mapped.file) {
        (Some(true), _) => "the zero page",
        (_, Some(true)) => "a file's or shared",
        (_, Some(false)) => "anonymous",
        (_, None) => "",
    });
    words.push(match mapped.exclusive {
        Some(true) => "mapped only here",
        Some(false) => "mapped elsewhere too",
        None => "",
    });
    words.push(if mapped.size.is_some_and(|size| size > 4096) { "in a huge page" } else { "" });
    words.push(if mapped.uffd_wp == Some(true) { "userfaultfd write-protected" } else { "" });
    words.push(if soft_dirty { "soft-dirty" } else { "" });
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

/// What stands in the place of a page, in words.
fn describe(absent: Absent) -> String {
    match absent {
        Absent::Empty => "empty: never touched, or dropped since".to_owned(),
        Absent::Swap { kind, offset } => {
            let areas = swap_areas();
            let area = usize::try_from(kind).ok().and_then(|kind| areas.get(kind));
            let area = area.map(|path| format!(" ({})", escape::text(path))).unwrap_or_default();
            format!("swapped out: area {kind}{area}, page {offset}")
        }
        Absent::Special { special, frame } => {
            let name = format!("{special:?}");
            let frame = frame.map(|frame| format!(", frame {frame:#x}")).unwrap_or_default();
            format!("special: {name}{frame}")
        }
        Absent::Marker { uffd_wp, poisoned, guard } => {
            let notes = [
                (uffd_wp, "userfaultfd write-protected"),
                (poisoned, "poisoned"),
                (guard, "guard page"),
            ];
            let set: Vec<_> = notes.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
            format!("a marker: {}", set.join(", "))
        }
        Absent::Unknown { kind, offset } => format!("special: type {kind}, offset {offset:#x}"),
    }
}

fn frame(out: &mut dyn Write, screen: &Screen, frame: &Frame) -> io::Result<()> {
    let mapped = match frame.mapped {
        None => "mapped – times".to_owned(),
        Some(1) => "mapped once".to_owned(),
        Some(times) => format!("mapped {times} times"),
    };
    let mut facts = vec![mapped];
    if let Some((node, zone)) = &frame.zone {
        facts.push(format!("node {node}, zone {zone}"));
    }
    if let Some(flags) = frame.flags {
        facts.push(flags.names().collect::<Vec<_>>().join(" "));
    }
    let head = format!("{:#x}", frame.number);
    writeln!(out, " {}  {head}", screen.paint(Ink::Bold, "frame"))?;
    for line in escape::flow(&facts, screen.width.saturating_sub(8)) {
        writeln!(out, "        {}", screen.paint(Ink::Dim, line))?;
    }
    Ok(())
}

fn verdict(out: &mut dyn Write, screen: &Screen, verdict: &Verdict) -> io::Result<()> {
    let access = match verdict.access {
        Access::Read => "a read now ",
        Access::Write => "a write now",
    };
    let kinds = verdict.kinds.join(" or ");
    let (ink, outcome) = match verdict.faults {
        Some(false) => (Ink::Green, "no fault".to_owned()),
        Some(true) => (Ink::Yellow, format!("faults: {kinds}")),
        None if kinds.is_empty() => (Ink::Dim, "unknown".to_owned()),
        None => (Ink::Yellow, format!("may fault: {kinds}")),
    };
    writeln!(out, " {access}  {}", screen.paint(ink, outcome))?;
    for line in escape::wrap(verdict.why, screen.width.saturating_sub(14)) {
        writeln!(out, "{:14}{}", "", screen.paint(Ink::Dim, line))?;
    }
    Ok(())
}
