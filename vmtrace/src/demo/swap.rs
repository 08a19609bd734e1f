//! Swap: out with `MADV_PAGEOUT`, back with a touch.
//!
//! Whether a page waits in the swap cache or is gone is asked of `mincore`
//! before the touch: that is the difference between a minor and a major fault.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::declare::Basis;
use super::stage::{Expect, Skip, Stage, Who};
use super::sys::{Area, PAGE, swap, touch};
use super::witness;
use crate::fault::Kind;

const PAGES: usize = 256;

/// Repeats `step` until it says that it is done, for some seconds.
fn patiently(mut step: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let start = Instant::now();
    while !step()? {
        if start.elapsed() > Duration::from_secs(5) {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// Memory that was written and swapped out.
fn swapped_out(stage: &mut Stage) -> anyhow::Result<Area> {
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    let out = patiently(|| {
        area.advise(libc::MADV_PAGEOUT)?;
        Ok(witness::swapped(area)? == PAGES)
    })?;
    if !out {
        let left = PAGES - witness::swapped(area)?;
        return Err(Skip(format!("the kernel keeps {left} of {PAGES} pages in memory")).into());
    }
    Ok(area)
}

/// How many pages are not even in the swap cache.
fn absent(area: Area) -> anyhow::Result<usize> {
    Ok(area.resident()?.into_iter().filter(|resident| !resident).count())
}

/// Declares what reading them back has to be.
fn read_back(stage: &mut Stage, area: Area) -> anyhow::Result<()> {
    let absent = absent(area)?;
    let expected = [(Kind::SwapIn, absent), (Kind::SwapCache, PAGES - absent)];
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(kind, count)| Expect::exactly(kind, count, area).known(Basis::Mincore))
        .collect();
    stage.measure("read each page", &expected, || touch::read(area))?;
    Ok(())
}

/// Through a compressed device.
pub(super) fn zram(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 256 pages, have them swapped out to a zram device, and read them.")?;
    let area = swapped_out(stage)?;
    read_back(stage, area)
}

/// Has the swap cache let go of the pages, once they are written out.
fn empty_cache(stage: &Stage, area: Area) -> anyhow::Result<()> {
    let group = stage.given.group.as_ref().context("no memory cgroup")?;
    patiently(|| {
        // What cannot be reclaimed yet is still being written.
        let _ = group.reclaim();
        Ok(absent(area)? == PAGES)
    })?;
    Ok(())
}

/// Through a disk.
pub(super) fn device(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("In a memory cgroup I write 256 pages and have them swapped out to a disk.")?;
    stage.given.group.as_ref().context("no memory cgroup")?.enter()?;
    let area = swapped_out(stage)?;
    stage.say("I have the kernel drop what the swap cache still holds, and read them.")?;
    empty_cache(stage, area)?;
    read_back(stage, area)
}

/// Through zswap.
pub(super) fn zswap(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("With zswap in front of a swap file I write 256 pages and have them swapped out.")?;
    stage.given.group.as_ref().context("no memory cgroup")?.enter()?;
    let area = swapped_out(stage)?;
    stage.say("They are in memory, compressed. I read them.")?;
    empty_cache(stage, area)?;
    read_back(stage, area)
}

/// From the swap cache, deterministically: a page that another process has
/// read in stays in the swap cache as long as this one has not.
pub(super) fn cache(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 256 pages, have them swapped out, and fork: the entries are shared.")?;
    stage.given.group.as_ref().context("no memory cgroup")?.enter()?;
    let area = swapped_out(stage)?;
    empty_cache(stage, area)?;
    let mut child = stage.fork(|child| {
        child.wait()?;
        child.measure(|| touch::read(area))?;
        child.wait()
    })?;
    read_back(stage, area)?;
    stage.say("The child reads them: they are in the swap cache now.")?;
    child.go()?;
    let usage = child.usage()?;
    let expected = [Expect::exactly(Kind::SwapCache, PAGES, area)];
    stage.account(Who::child(child.pid), "the child reads each page", &expected, usage)?;
    child.go()?;
    child.end()
}

/// Shared memory.
pub(super) fn shmem(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 256 pages of a memfd, have them swapped out, and read them.")?;
    let file = swap::memory_file(c"vmtrace-demo")?;
    file.set_len((PAGES * PAGE) as u64)?;
    let area = Area::file(file.as_fd(), PAGES, libc::MAP_SHARED, true)?;
    stage.measure_shared("write each page", Kind::Shmem, PAGES, area, || touch::write(area))?;
    let out = patiently(|| {
        area.advise(libc::MADV_PAGEOUT)?;
        Ok(witness::present(area)? == 0 && absent(area)? == PAGES)
    })?;
    if !out {
        let (mapped, absent) = (witness::present(area)?, absent(area)?);
        let reason = format!("{mapped} pages are mapped and only {absent} swapped out");
        return Err(Skip(reason).into());
    }
    let expected = [Expect::exactly(Kind::ShmemSwapIn, PAGES, area).known(Basis::Mincore)];
    let usage = stage.measure("read each page", &expected, || touch::read(area))?;
    ensure!(usage.minor == 0, "a page was still there");
    Ok(())
}
