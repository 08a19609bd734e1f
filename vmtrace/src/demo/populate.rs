//! Page tables filled by the kernel: faults that interrupt nobody.
//!
//! `populate_vma_page_range` calls `handle_mm_fault` without registers: the
//! thread's counters rise and no perf event fires.
//! <https://elixir.bootlin.com/linux/v6.12/source/mm/gup.c>

use super::declare::Origin;
use super::stage::{Expect, Stage};
use super::sys::{Area, PAGE};
use crate::fault::Kind;

const PAGES: usize = 256;

/// By `MAP_POPULATE` and `mlock`.
pub(super) fn populate(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 256 pages with MAP_POPULATE: mmap itself takes the faults.")?;
    let area = Area::reserve(PAGES * PAGE)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area).by(Origin::Gup)];
    let mut mapped = Ok(());
    stage.measure("mmap", &expected, || {
        mapped = area.map_over(libc::PROT_READ | libc::PROT_WRITE, flags, None);
    })?;
    mapped?;
    stage.say("I map another 256 and lock them in memory with mlock.")?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area).by(Origin::Gup)];
    let mut locked = Ok(());
    stage.measure("mlock", &expected, || locked = area.lock())?;
    locked?;
    Ok(())
}
