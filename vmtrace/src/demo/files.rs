//! Files: mapped from the page cache, waited for from the disk, written.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::declare::{Basis, Origin};
use super::stage::{Expect, Skip, Stage, Who, timed, watch};
use super::sys::process::Usage;
use super::sys::{Area, PAGE, swap, touch};
use super::witness;
use crate::fault::Kind;

/// How many pages a scenario touches, one in each window.
const TOUCHES: usize = 64;

/// A file on the scratch disk, in the page cache and on the disk.
fn cached(stage: &Stage, pages: usize) -> anyhow::Result<File> {
    let scratch = stage.given.scratch.as_ref().context("no scratch directory")?;
    let path = scratch.join("file");
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all(&vec![1; pages * PAGE])?;
    file.sync_all()?;
    Ok(file)
}

/// How many pages a read fault on a cached file maps: `fault_around_bytes`,
/// which only debugfs tells, so ask a file.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/memory.c> (`do_fault_around`)
pub(super) fn window() -> anyhow::Result<usize> {
    const PAGES: usize = 512;
    let mut file = swap::memory_file(c"vmtrace-window")?;
    file.write_all(&vec![1; PAGES * PAGE])?;
    let area = Area::file(file.as_fd(), PAGES, libc::MAP_SHARED, false)?;
    touch::load(area.start());
    let window = witness::present(area)?;
    ensure!(window.is_power_of_two(), "a read fault mapped {window} pages");
    Ok(window)
}

/// Whether any page of the file behind a mapping is cached.
fn drop_from_cache(file: &File, area: Area) -> anyhow::Result<()> {
    swap::drop_cached(file)?;
    let left = area.resident()?.into_iter().filter(|&resident| resident).count();
    if left > 0 {
        return Err(Skip(format!("the kernel keeps {left} of the file's pages cached")).into());
    }
    Ok(())
}

/// Cached.
pub(super) fn warm(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    let pages = TOUCHES * window;
    stage.say(format_args!("I write a file of {pages} pages, so that it is in the page cache."))?;
    let file = cached(stage, pages)?;
    for (sharing, word) in [(libc::MAP_PRIVATE, "privately"), (libc::MAP_SHARED, "shared")] {
        stage.say(format_args!("Mapped {word}, I read one page in {window}."))?;
        let area = Area::file(file.as_fd(), pages, sharing, false)?;
        let expected = [Expect::exactly(Kind::FileMap, TOUCHES, area)];
        stage.measure("read one page of each window", &expected, || {
            touch::read_every(area, window);
        })?;
    }
    Ok(())
}

/// Not cached, at random.
pub(super) fn cold(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    let pages = TOUCHES * window;
    let file = cached(stage, pages)?;
    for (sharing, word) in [(libc::MAP_PRIVATE, "privately"), (libc::MAP_SHARED, "shared")] {
        stage.say(format_args!(
            "I drop my file from the page cache, map it {word} and read 64 pages far apart."
        ))?;
        let area = Area::file(file.as_fd(), pages, sharing, false)?;
        area.advise(libc::MADV_RANDOM)?;
        drop_from_cache(&file, area)?;
        let (mut expected, mut usage) = (Vec::with_capacity(TOUCHES), Usage::default());
        for index in 0..TOUCHES {
            let part = area.part(index * window..(index + 1) * window);
            let (one, took) = timed(|| touch::load(part.start()))?;
            expected.push(Expect::exactly(Kind::FileRead, 1, part).lasting(Duration::ZERO, took));
            usage = usage.and(one);
        }
        stage.account(Who::me(), "read 64 cold pages", &expected, usage)?;
        area.unmap()?;
        area.map_over(libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)?;
    }
    Ok(())
}

/// Not cached, from start to end.
pub(super) fn sequential(stage: &mut Stage) -> anyhow::Result<()> {
    let pages = TOUCHES * window()?;
    let file = cached(stage, pages)?;
    stage.say(format_args!(
        "I drop my file from the page cache and read its {pages} pages in order."
    ))?;
    let area = Area::file(file.as_fd(), pages, libc::MAP_PRIVATE, false)?;
    area.advise(libc::MADV_SEQUENTIAL)?;
    drop_from_cache(&file, area)?;
    let usage = watch(|| touch::read(area))?;
    // How far read-ahead gets is the disk's and the kernel's business: they are asked.
    let expected = [
        Expect::exactly(Kind::FileRead, usize::try_from(usage.major)?, area).known(Basis::Rusage),
        Expect::exactly(Kind::FileMap, usize::try_from(usage.minor)?, area).known(Basis::Rusage),
    ];
    ensure!(usage.major >= 1, "no page had to be waited for");
    ensure!(usage.major + usage.minor < pages as u64, "neither read-ahead nor fault-around");
    stage.account(Who::me(), "read from start to end", &expected, usage)
}

/// Not cached, announced.
pub(super) fn willneed(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    let pages = TOUCHES * window;
    let file = cached(stage, pages)?;
    stage.say("I drop my file from the page cache, announce that I need it, and wait.")?;
    let area = Area::file(file.as_fd(), pages, libc::MAP_PRIVATE, false)?;
    drop_from_cache(&file, area)?;
    let start = Instant::now();
    while !area.resident()?.into_iter().all(|resident| resident) {
        // One advice reads no further than the device takes in one go.
        for page in (0..pages).step_by(window) {
            area.part(page..page + window).advise(libc::MADV_WILLNEED)?;
        }
        if start.elapsed() > Duration::from_secs(20) {
            return Err(Skip("MADV_WILLNEED did not bring the file in 20 s".to_owned()).into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let expected = [Expect::exactly(Kind::FileMap, TOUCHES, area)];
    stage.measure("read one page of each window", &expected, || {
        touch::read_every(area, window);
    })?;
    Ok(())
}

/// By a system call.
pub(super) fn read_call(stage: &mut Stage) -> anyhow::Result<()> {
    let file = cached(stage, TOUCHES)?;
    stage.say("I read 64 pages of the file with read() into memory that was never touched.")?;
    let buffer = Area::anonymous(TOUCHES)?;
    let expected = [Expect::exactly(Kind::AnonZero, TOUCHES, buffer).by(Origin::Kernel)];
    let mut read = Ok(0);
    stage
        .measure("read() into fresh memory", &expected, || read = buffer.fill_from(file.as_fd()))?;
    ensure!(read? == buffer.len(), "read() read less");
    let mut again = Ok(0);
    stage.measure("read() into the same memory", &[], || again = buffer.fill_from(file.as_fd()))?;
    ensure!(again? == buffer.len(), "read() read less");
    Ok(())
}

/// Written in place.
pub(super) fn mkwrite(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    let pages = TOUCHES * window;
    let file = cached(stage, pages)?;
    stage.say("I map the file shared, read a page of each window, and write to it.")?;
    let area = Area::file(file.as_fd(), pages, libc::MAP_SHARED, true)?;
    let reads = [Expect::exactly(Kind::FileMap, TOUCHES, area)];
    stage.measure("read 64 pages", &reads, || touch::read_every(area, window))?;
    let write = |stage: &mut Stage, what: &str, area: Area| {
        let work = || touch::write_every(area, window);
        stage.measure_shared(what, Kind::FileMkwrite, TOUCHES, area, work)
    };
    write(stage, "write the 64 pages", area)?;
    stage.say("I have them written back: clean again, and write-protected again.")?;
    file.sync_all()?;
    write(stage, "write the 64 pages again", area)?;
    stage.say("I map it anew and write without reading first: one fault instead of two.")?;
    file.sync_all()?;
    let area = Area::file(file.as_fd(), pages, libc::MAP_SHARED, true)?;
    write(stage, "write 64 pages first", area)
}

/// Private, written first.
pub(super) fn cow_file(stage: &mut Stage) -> anyhow::Result<()> {
    let file = cached(stage, TOUCHES)?;
    stage.say("I map the cached file privately and write to 64 pages that were never read.")?;
    let area = Area::file(file.as_fd(), TOUCHES, libc::MAP_PRIVATE, true)?;
    let expected = [Expect::exactly(Kind::CowFile, TOUCHES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    Ok(())
}

/// Private, read first.
pub(super) fn cow_file_read(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    let pages = TOUCHES * window;
    let file = cached(stage, pages)?;
    stage.say("I map the cached file privately, read a page of each window, then write to it.")?;
    let area = Area::file(file.as_fd(), pages, libc::MAP_PRIVATE, true)?;
    let reads = [Expect::exactly(Kind::FileMap, TOUCHES, area)];
    stage.measure("read 64 pages", &reads, || touch::read_every(area, window))?;
    let writes = [Expect::exactly(Kind::CowCopy, TOUCHES, area)];
    stage.measure("write the 64 pages", &writes, || touch::write_every(area, window))?;
    Ok(())
}
