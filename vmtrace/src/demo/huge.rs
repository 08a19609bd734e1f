//! Transparent huge pages: allocated, shared as zeroes, broken up, copied.

use super::declare::Basis;
use super::stage::{Expect, Skip, Stage, Who, watch};
use super::sys::{Area, HUGE, PAGE, process, touch};
use super::witness;
use crate::fault::Kind;

/// Small pages in a huge one.
const SMALL: usize = HUGE / PAGE;
const PAGES: usize = 4;

/// Memory that wants huge pages.
fn area() -> anyhow::Result<Area> {
    process::disable_huge_pages(false)?;
    let area = Area::anonymous(PAGES * SMALL)?;
    area.advise(libc::MADV_HUGEPAGE)?;
    Ok(area)
}

/// How many huge pages there are, by `smaps`.
fn huge_pages(area: Area) -> anyhow::Result<usize> {
    Ok(witness::smaps(area, "AnonHugePages")? * 1024 / HUGE)
}

/// Writes one byte of each huge page, which has to bring all of them.
fn written(stage: &mut Stage) -> anyhow::Result<Area> {
    let area = area()?;
    let usage = watch(|| touch::write_every(area, SMALL))?;
    let found = huge_pages(area)?;
    if found != PAGES {
        return Err(Skip(format!("the kernel found {found} of {PAGES} huge pages")).into());
    }
    let expected = [Expect::exactly(Kind::Thp, PAGES, area).known(Basis::Smaps)];
    stage.account(Who::me(), "write one byte of each huge page", &expected, usage)?;
    Ok(area)
}

/// Written first.
pub(super) fn allocate(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 8 MiB that want huge pages and write one byte of each 2 MiB.")?;
    let area = written(stage)?;
    stage.say("Then all of it, one byte in 4096.")?;
    stage.measure("write the other 2044 pages", &[], || touch::write(area))?;
    Ok(())
}

/// Read first.
///
/// Before 6.14 the write breaks the huge zero page's mapping up and replaces
/// one small page of it; since then a whole huge page replaces it
/// (`do_huge_zero_wp_pmd`).
pub(super) fn zero(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 8 MiB that want huge pages and read one byte of each 2 MiB.")?;
    let area = area()?;
    let expected = [Expect::exactly(Kind::ThpZero, PAGES, area)];
    stage.measure("read one byte of each huge page", &expected, || {
        touch::read_every(area, SMALL);
    })?;
    stage.measure("read the other 2044 pages", &[], || touch::read(area))?;
    stage.say("I write one byte of each.")?;
    let usage = watch(|| touch::write_every(area, SMALL))?;
    let whole = huge_pages(area)?;
    let expected = [(Kind::CowThp, whole), (Kind::CowZero, PAGES - whole)]
        .map(|(kind, count)| Expect::exactly(kind, count, area).known(Basis::Smaps));
    stage.account(Who::me(), "write one byte of each huge page", &expected, usage)
}

/// Broken up.
pub(super) fn split(stage: &mut Stage) -> anyhow::Result<()> {
    const GIVEN: usize = 64;
    stage.say("I write four huge pages and give 64 small pages of the first one back.")?;
    let area = written(stage)?;
    // Or the part could come back in pages of 16 or 64 KiB.
    area.advise(libc::MADV_NOHUGEPAGE)?;
    let part = area.part(0..GIVEN);
    part.advise(libc::MADV_DONTNEED)?;
    stage.say(format_args!("The kernel maps {} of them as huge pages now.", huge_pages(area)?))?;
    let expected = [Expect::exactly(Kind::AnonZero, GIVEN, part)];
    stage.measure("write the 64 pages again", &expected, || touch::write(part))?;
    stage.measure("write all the others", &[], || touch::write(area))?;
    Ok(())
}

/// Shared by a fork.
///
/// Since 5.8 a huge page is never copied as a whole: the mapping is broken up
/// and the small page copied, in one fault.
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/huge_memory.c> (`do_huge_pmd_wp_page`)
pub(super) fn fork(stage: &mut Stage) -> anyhow::Result<()> {
    const MORE: usize = 8;
    stage.say("I write four huge pages and fork. The child writes one byte of each.")?;
    let area = written(stage)?;
    // Leaves the references of pages on their way to the LRU out of the count of owners.
    Area::anonymous(1)?.advise(libc::MADV_COLD)?;
    let more = area.part(1..1 + MORE);
    let mut child = stage.fork(|child| {
        child.measure(|| touch::write_every(area, SMALL))?;
        child.measure(|| touch::write(more))?;
        child.wait()
    })?;
    let who = Who::child(child.pid);
    let usage = child.usage()?;
    let expected = [Expect::exactly(Kind::CowThp, PAGES, area)];
    stage.account(who, "the child writes one byte of each huge page", &expected, usage)?;
    let usage = child.usage()?;
    let expected = [Expect::exactly(Kind::CowCopy, MORE, more)];
    stage.account(who, "the child writes 8 small pages of the first", &expected, usage)?;
    child.go()?;
    child.end()?;
    stage.say("The child is gone. My mapping is still whole, and mine alone.")?;
    let expected = [Expect::exactly(Kind::CowThp, PAGES, area)];
    stage.measure("write one byte of each huge page", &expected, || {
        touch::write_every(area, SMALL);
    })?;
    Ok(())
}
