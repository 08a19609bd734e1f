//! Shared memory by its four names. All of them end in `shmem_fault`.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::files::window;
use super::stage::{Expect, Skip, Stage, Who};
use super::sys::{Area, PAGE, memory, swap, touch};
use crate::fault::Kind;

const PAGES: usize = 256;

/// `MAP_SHARED | MAP_ANONYMOUS`.
pub(super) fn anonymous(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    stage.say("I map 256 pages of shared anonymous memory and write to each.")?;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let area = Area::map(PAGES, libc::PROT_READ | libc::PROT_WRITE, flags, None)?;
    write(stage, area)?;
    stage.say("I fork: the child has the region, not the page tables, and reads.")?;
    let mut child = stage.fork(|child| {
        child.measure(|| touch::read_every(area, window))?;
        child.wait()
    })?;
    let usage = child.usage()?;
    let expected = [Expect::exactly(Kind::Shmem, PAGES / window, area)];
    stage.account(Who::child(child.pid), "the child reads each window", &expected, usage)?;
    child.go()?;
    child.end()
}

fn write(stage: &mut Stage, area: Area) -> anyhow::Result<()> {
    let work = || touch::write(area);
    stage.measure_shared("write each page", Kind::Shmem, area.pages(), area, work)
}

/// `memfd_create`.
pub(super) fn memfd(stage: &mut Stage) -> anyhow::Result<()> {
    let window = window()?;
    stage.say("I make a memfd of 256 pages, map it, and write to each.")?;
    let file = swap::memory_file(c"vmtrace-demo")?;
    file.set_len((PAGES * PAGE) as u64)?;
    write(stage, Area::file(file.as_fd(), PAGES, libc::MAP_SHARED, true)?)?;
    stage.say("I map it a second time and read a page of each window.")?;
    let second = Area::file(file.as_fd(), PAGES, libc::MAP_SHARED, false)?;
    let expected = [Expect::exactly(Kind::Shmem, PAGES / window, second)];
    stage.measure("read each window", &expected, || touch::read_every(second, window))?;
    Ok(())
}

/// A file in `/dev/shm`.
pub(super) fn tmpfs(stage: &mut Stage) -> anyhow::Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    let directory = Path::new("/dev/shm");
    if !swap::file_system(directory).is_ok_and(|found| found == TMPFS) {
        return Err(Skip("/dev/shm is not a tmpfs".to_owned()).into());
    }
    stage.say("I make a file of 256 pages in /dev/shm, map it, and write to each.")?;
    let path = directory.join(format!("vmtrace-demo-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let area = file
        .set_len((PAGES * PAGE) as u64)
        .and_then(|()| Area::file(file.as_fd(), PAGES, libc::MAP_SHARED, true));
    std::fs::remove_file(&path)?;
    write(stage, area?)
}

/// `shmget`.
pub(super) fn system_v(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I attach a System V segment of 256 pages and write to each.")?;
    let area = memory::system_v(PAGES)?;
    write(stage, area)
}
