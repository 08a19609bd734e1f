//! Anonymous memory: promised, found, shared as zeroes, given back.

use anyhow::Context as _;

use super::declare::Basis;
use super::stage::{Expect, Stage};
use super::sys::{Area, PAGE, memory, touch};
use super::witness;
use crate::fault::Kind;

const PAGES: usize = 256;

/// The first writes.
pub(super) fn write(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 256 pages of private memory and write one byte to each.")?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    stage.say("Once more: they are all there.")?;
    stage.measure("write each page again", &[], || touch::write(area))?;
    Ok(())
}

/// The first reads.
pub(super) fn read(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I map 256 pages of private memory and read one byte of each.")?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonRead, PAGES, area)];
    stage.measure("read each page", &expected, || touch::read(area))?;
    Ok(())
}

/// Reads, then writes.
pub(super) fn zero_page(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I read 256 fresh pages, which maps the zero page 256 times, then write to each.")?;
    let area = Area::anonymous(PAGES)?;
    let reads = [Expect::exactly(Kind::AnonRead, PAGES, area)];
    stage.measure("read each page", &reads, || touch::read(area))?;
    let writes = [Expect::exactly(Kind::CowZero, PAGES, area)];
    stage.measure("write each page", &writes, || touch::write(area))?;
    Ok(())
}

/// Given back with `MADV_DONTNEED`.
pub(super) fn dontneed(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 256 pages, give them back, read half of them and write the other half.")?;
    let area = Area::anonymous(PAGES)?;
    let (first, second) = (area.part(0..PAGES / 2), area.part(PAGES / 2..PAGES));
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    area.advise(libc::MADV_DONTNEED)?;
    let reads = [Expect::exactly(Kind::AnonRead, PAGES / 2, first)];
    stage.measure("read the first half", &reads, || touch::read(first))?;
    let writes = [Expect::exactly(Kind::AnonZero, PAGES / 2, second)];
    stage.measure("write the second half", &writes, || touch::write(second))?;
    Ok(())
}

/// Given back with `MADV_FREE`.
pub(super) fn free(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .say("I write 256 pages, mark them free, and write them again before anyone needs them.")?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    area.advise(libc::MADV_FREE)?;
    stage.measure("write each page again", &[], || touch::write(area))?;
    stage.say("I mark them free again and have the kernel reclaim them (MADV_PAGEOUT).")?;
    area.advise(libc::MADV_FREE)?;
    area.advise(libc::MADV_PAGEOUT)?;
    let gone = PAGES - witness::present(area)?;
    let expected = [Expect::exactly(Kind::AnonZero, gone, area).known(Basis::Pagemap)];
    stage.measure("write each page once more", &expected, || touch::write(area))?;
    Ok(())
}

/// Far more than there is.
pub(super) fn overcommit(stage: &mut Stage) -> anyhow::Result<()> {
    const CHUNKS: usize = 8;
    const TOUCHES: usize = 16;
    /// Pages from one touch to the next.
    const APART: usize = 16;
    let total = total_memory()?;
    let bytes = total / 2 / PAGE * PAGE;
    stage.say(format_args!(
        "This machine has {} MiB. I allocate {} MiB with malloc and touch {} pages of it.",
        total >> 20,
        (CHUNKS * bytes) >> 20,
        CHUNKS * TOUCHES
    ))?;
    for chunk in 1..=CHUNKS {
        let area = memory::allocate(bytes).context("malloc")?;
        // Not the whole of it is declared, only where it is touched: before its exec this very
        // process ran in its parent's address space, and a range of many GiB would take in
        // where the parent's stack was.
        let middle = area.pages() / 2;
        let part = area.part(middle..middle + TOUCHES * APART);
        let expected = [Expect::exactly(Kind::AnonZero, TOUCHES, part)];
        stage.measure(&format!("touch {TOUCHES} pages of part {chunk}"), &expected, || {
            touch::write_every(part, APART);
        })?;
    }
    Ok(())
}

/// The machine's memory, in bytes.
fn total_memory() -> anyhow::Result<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: usize = kilobytes.context("no MemTotal in /proc/meminfo")?.parse()?;
    Ok(kilobytes << 10)
}
