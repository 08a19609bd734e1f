//! A walk names the state of every page, read from the page tables and from the
//! page map, and the two agree.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use vmtrace::inspect::subject::Subject;
use vmtrace::inspect::walk::absent::Absent;
use vmtrace::inspect::walk::entry::{NoTables, Tables};
use vmtrace::inspect::walk::kernel::KernelTables;
use vmtrace::inspect::walk::look::{Walk, look};
use vmtrace::inspect::walk::page::Page;
use vmtrace::inspect::walk::verdict::Verdict as Judged;

use super::page::{Is, Kinds, State, all};
use crate::harness::{Verdict, fact};
use crate::sys::mapping::beside;
use crate::{sys, tool};

/// NUMA balancing, which takes pages' permissions away at any time, for as long as
/// states are looked at.
struct Still(Option<String>);

const BALANCING: &str = "/proc/sys/kernel/numa_balancing";

impl Still {
    fn hold() -> Self {
        let was = std::fs::read_to_string(BALANCING).ok();
        Self(was.filter(|_| std::fs::write(BALANCING, "0").is_ok()))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Some(was) = &self.0 {
            let _ = std::fs::write(BALANCING, was);
        }
    }
}

pub(super) fn by_both() -> Result<Verdict> {
    let _still = Still::hold();
    let long = crate::is_long();
    let (states, missing) = all(long)?;
    let own = Subject::open(i32::try_from(std::process::id())?)?;
    let no_tables = NoTables("this test looks at the page map".to_owned());
    let tables = KernelTables::open();
    for state in &states {
        let walk = || -> Result<()> {
            check(&look(&own, &no_tables, state.address), state).context("by the page map")?;
            if let Ok(tables) = &tables {
                by_tables(&own, tables, state).context("by the page tables")?;
            }
            Ok(())
        };
        let walked = if state.shared { beside(walk)? } else { walk() };
        walked.with_context(|| state.name)?;
    }
    let names: Vec<_> = states.iter().map(|state| state.name).collect();
    fact("walk right for", &names.join(", "));
    for why in missing {
        fact("walk not tried", &why);
    }
    match tables {
        Ok(_) => fact("walk tables", &told(&states).context("what the command prints")?),
        // Natively root may be refused; in a guest nothing is.
        Err(why) if sys::is_guest() => bail!("the tables cannot be read: {why}"),
        Err(why) => fact("walk tables", &format!("not read: {why}")),
    }
    Ok(Verdict::Passed)
}

fn by_tables(own: &Subject, tables: &dyn Tables, state: &State) -> Result<()> {
    let walk = look(own, tables, state.address);
    check(&walk, state)?;
    agree(&walk)?;
    ensure!(
        walk.entries.is_some() || state.name == "non-canonical",
        "no entries: {:?}",
        walk.unseen
    );
    Ok(())
}

/// Whether the walk tells the state that was made.
fn check(walk: &Walk, state: &State) -> Result<()> {
    let found = match walk.page {
        Page::Mapped(page) => match page.size {
            _ if page.zero == Some(true) => Is::Zero,
            Some(size) => Is::Page(size),
            // The page map alone does not tell a page's size before 6.7.
            None if matches!(state.is, Is::Zero) && !sys::is_root() => Is::Zero,
            None => {
                if let Is::Page(size) = state.is {
                    Is::Page(size)
                } else {
                    Is::Page(4096)
                }
            }
        },
        Page::Absent(Absent::Empty) => Is::Empty,
        Page::Absent(Absent::Swap { .. }) => Is::Swapped,
        Page::Absent(Absent::Marker { guard: true, .. }) => Is::Guard,
        // The page map did not tell guards before 6.15.
        Page::Absent(_) if walk.entries.is_none() && state.is == Is::Guard => return Ok(()),
        Page::Absent(_) | Page::Unknown => Is::Anything,
    };
    ensure!(
        state.is == Is::Anything || found == state.is,
        "{:?} in place of {:?}",
        walk.page,
        state.is
    );
    let sure = walk.entries.is_some();
    for (judged, expected) in walk.verdicts.iter().zip([state.read, state.write]) {
        let Some(expected) = expected else { continue };
        ensure!(
            right(judged, expected, sure),
            "{judged:?} in place of {expected:?}: {:?}",
            walk.page
        );
    }
    Ok(())
}

/// The page map does not say whether an entry is write-protected: then it may be
/// left open whether a write faults.
fn right(judged: &Judged, expected: Kinds, sure: bool) -> bool {
    match judged.faults {
        Some(true) => judged.kinds == expected,
        Some(false) => expected.is_empty(),
        None => !sure,
    }
}

/// What the tables say is what the page map says.
fn agree(walk: &Walk) -> Result<()> {
    let (Some(_), Some(word)) = (&walk.entries, walk.pagemap) else { return Ok(()) };
    match (walk.page, Page::of_pagemap(word, &walk.types)) {
        (Page::Mapped(tables), Page::Mapped(map)) => {
            let (Some(first), Some(frame)) = (tables.frame, map.frame) else { return Ok(()) };
            // Below a huge entry, the page map counts on to the page itself.
            let inside = tables.size.unwrap_or(4096) / 4096;
            ensure!((first..first + inside).contains(&frame), "frames {first:#x} and {frame:#x}");
        }
        // Before 6.15 the page map calls a guard a marker like any other.
        (Page::Absent(Absent::Marker { .. }), Page::Absent(_)) => {}
        (tables, map) => ensure!(tables == map, "the tables say {tables:?}, the page map {map:?}"),
    }
    Ok(())
}

/// The command's own JSON for the high page, which five levels reach: how many
/// levels there are, and that each has its entry.
fn told(states: &[State]) -> Result<String> {
    let state = states.iter().find(|state| state.name == "high").context("no high page")?;
    let (pid, address) = (std::process::id().to_string(), format!("{:#x}", state.address));
    let output = tool::output(&mut tool::vmtrace(&["walk", &pid, &address, "--format", "json"])?)?;
    let json: Value = serde_json::from_slice(&output.stdout).context("walk printed no JSON")?;
    ensure!(json["schema"] == "vmtrace.walk/1", "unknown schema {}", json["schema"]);
    let entries = json["entries"].as_array().context("no entries")?;
    let read = entries.iter().filter(|entry| entry["raw"].is_string()).count();
    let levels = json["levels"].as_u64().context("no levels")?;
    ensure!(read as u64 == levels, "{read} entries of {levels} levels: {json}");
    let beyond = state.address >> 47 != 0;
    ensure!(beyond == (levels == 5), "{levels} levels, and {address} was given");
    let page = &json["page"];
    ensure!(page["state"] == "mapped" && page["size"] == 4096, "the page is {page}");
    Ok(format!("{levels} levels read"))
}
