//! The main thread's stack: the one region that grows by being touched.

use anyhow::{Context as _, ensure};

use super::invalid::expect_caught;
use super::stage::{Expect, Stage};
use super::sys::signal::{self, Remedy, code};
use super::sys::{Area, PAGE, process, touch};
use super::witness;
use crate::fault::Kind;

const PAGES: usize = 64;

/// Grows it.
pub(super) fn grow(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I touch 64 pages below my stack, downwards, as a deep recursion would.")?;
    let stack = witness::named("[stack]")?.context("no [stack] in /proc/self/maps")?;
    let area = Area::below_stack(stack.start, PAGES);
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write downwards", &expected, || touch::write_downwards(area))?;
    let grown = witness::named("[stack]")?.context("no [stack] in /proc/self/maps")?;
    ensure!(grown.start == area.start(), "the stack starts at {:#x} now", grown.start);
    Ok(())
}

/// Grows it past its limit.
pub(super) fn overflow(stage: &mut Stage) -> anyhow::Result<()> {
    const TRIES: usize = 16;
    stage.say("I allow my stack 64 more pages, use them, and reach for the next one 16 times.")?;
    signal::catch(Remedy::Leave)?;
    let stack = witness::named("[stack]")?.context("no [stack] in /proc/self/maps")?;
    process::limit_stack((stack.len() + PAGES * PAGE) as u64)?;
    let area = Area::below_stack(stack.start, PAGES);
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write downwards", &expected, || touch::write_downwards(area))?;
    let guard = Area::below_stack(area.start(), 1);
    let expected = [Expect::exactly(Kind::StackOverflow, TRIES, guard)];
    stage.measure("write one page further", &expected, || {
        for offset in 0..TRIES {
            touch::store(guard, offset, 1);
        }
    })?;
    expect_caught(TRIES, libc::SIGSEGV, code::MAPERR)
}
