//! Pages from the hugetlb pool.

use super::stage::{Expect, Stage, Who};
use super::sys::{Area, HUGE, PAGE, touch};
use crate::fault::Kind;

const SMALL: usize = HUGE / PAGE;
const PAGES: usize = 2;

fn area() -> anyhow::Result<Area> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    Ok(Area::map(PAGES * SMALL, libc::PROT_READ | libc::PROT_WRITE, flags, None)?)
}

fn write(area: Area) {
    touch::write_every(area, SMALL);
}

/// Written first, and read first.
pub(super) fn allocate(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map two hugetlb pages of 2 MiB and write one byte of each.")?;
    let written = area()?;
    let expected = [Expect::exactly(Kind::Hugetlb, PAGES, written)];
    stage.measure("write one byte of each", &expected, || write(written))?;
    stage.say("I map two more, read one byte of each, and write it.")?;
    let area = area()?;
    let expected = [Expect::exactly(Kind::Hugetlb, PAGES, area)];
    stage.measure("read one byte of each", &expected, || touch::read_every(area, SMALL))?;
    // There is no zero page here: the read brought a page, mapped read-only.
    let expected = [Expect::exactly(Kind::CowHugetlb, PAGES, area)];
    stage.measure("write one byte of each", &expected, || write(area))?;
    Ok(())
}

/// Shared by a fork.
pub(super) fn fork(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write two hugetlb pages and fork. The child writes one byte of each.")?;
    let area = area()?;
    let expected = [Expect::exactly(Kind::Hugetlb, PAGES, area)];
    stage.measure("write one byte of each", &expected, || write(area))?;
    let mut child = stage.fork(|child| {
        child.measure(|| write(area))?;
        child.wait()
    })?;
    let usage = child.usage()?;
    let copied = [Expect::exactly(Kind::CowHugetlb, PAGES, area)];
    stage.account(Who::child(child.pid), "the child writes one byte of each", &copied, usage)?;
    child.go()?;
    child.end()?;
    stage.say("The child is gone; I write.")?;
    stage.measure("the parent writes one byte of each", &copied, || write(area))?;
    Ok(())
}
