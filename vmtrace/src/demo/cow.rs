//! Copy on write: who copies after a fork, and who need not.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure};

use super::declare::{Basis, Origin};
use super::fork::Child;
use super::stage::{Expect, Stage, Who, watch};
use super::sys::process::Usage;
use super::sys::{Area, PAGE, touch};
use super::witness::{self, Entry};
use crate::fault::Kind;

const PAGES: usize = 64;

/// Pages that are written and owned by nobody else, not even by the list of
/// pages on their way to the LRU, whose reference would look like an owner.
///
/// Any `MADV_COLD` empties this CPU's list first:
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/madvise.c> (`madvise_cold`)
fn written(stage: &mut Stage, pages: usize) -> anyhow::Result<Area> {
    let area = Area::anonymous(pages)?;
    let expected = [Expect::exactly(Kind::AnonZero, pages, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    Area::anonymous(1)?.advise(libc::MADV_COLD)?;
    Ok(area)
}

/// What became of pages that were written: their frames tell, where they are told.
pub(super) fn copied_or_reused(area: Area, copied: Option<usize>, meant: Kind) -> Vec<Expect> {
    let pages = area.pages();
    match copied {
        None => vec![Expect::exactly(meant, pages, area)],
        Some(copied) => [(Kind::CowCopy, copied), (Kind::CowReuse, pages - copied)]
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(kind, count)| Expect::exactly(kind, count, area).known(Basis::Pagemap))
            .collect(),
    }
}

/// Writes to pages that are write-protected, and declares what their frames say.
fn write_again(stage: &mut Stage, what: &str, area: Area, meant: Kind) -> anyhow::Result<()> {
    let before = witness::pagemap(area)?;
    let usage = watch(|| touch::write(area))?;
    let copied = witness::moved(&before, &witness::pagemap(area)?);
    stage.account(Who::me(), what, &copied_or_reused(area, copied, meant), usage)
}

/// The child first.
pub(super) fn child_writes(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 64 pages and fork. Now each page has two owners and is write-protected.")?;
    let area = written(stage, PAGES)?;
    let mut child = stage.fork(|child| {
        child.measure(|| touch::write(area))?;
        child.wait()
    })?;
    let usage = child.usage()?;
    let expected = [Expect::exactly(Kind::CowCopy, PAGES, area)];
    stage.account(Who::child(child.pid), "the child writes each page", &expected, usage)?;
    stage.say("The child ends. The pages are mine alone, but still write-protected.")?;
    child.go()?;
    child.end()?;
    write_again(stage, "the parent writes each page", area, Kind::CowReuse)
}

/// The parent first.
pub(super) fn parent_writes(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 64 pages, fork, and write them again while the child looks on.")?;
    let area = written(stage, PAGES)?;
    let mut child = stage.fork(|child| {
        child.wait()?;
        let before = witness::pagemap(area)?;
        child.measure(|| touch::write(area))?;
        let copied = witness::moved(&before, &witness::pagemap(area)?);
        let copied = copied.map_or(u64::MAX, |copied| copied as u64);
        child.tell(Usage { minor: copied, major: 0 })
    })?;
    write_again(stage, "the parent writes each page", area, Kind::CowCopy)?;
    stage.say("The child has the old pages for itself now, and writes.")?;
    child.go()?;
    let usage = child.usage()?;
    let copied = usize::try_from(child.usage()?.minor).ok().filter(|&copied| copied <= PAGES);
    let who = Who::child(child.pid);
    let expected = copied_or_reused(area, copied, Kind::CowReuse);
    stage.account(who, "the child writes each page", &expected, usage)?;
    child.end()
}

/// A child that execs.
pub(super) fn exec(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 64 pages and fork a child that executes another program at once.")?;
    let area = written(stage, PAGES)?;
    // Both close on exec: reading one ends when the child's memory is another's.
    let (mut executed, hold) = io::pipe()?;
    let child = stage.fork(|_| {
        let mut command = Command::new("/proc/self/exe");
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
        Err(command.exec().into())
    })?;
    drop(hold);
    ensure!(executed.read(&mut [0])? == 0, "the child wrote to a pipe");
    write_again(stage, "the parent writes each page", area, Kind::CowReuse)?;
    child.end()
}

/// A pin that only reads.
///
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/internal.h> (`gup_must_unshare`)
pub(super) fn unshare(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .say("I write 64 pages, fork, and read them through process_vm_readv, which pins them.")?;
    let area = written(stage, PAGES)?;
    let child = stage.fork(Child::wait)?;
    let mut copy = vec![1u8; PAGES * PAGE];
    let before = witness::pagemap(area)?;
    let mut read = Ok(0);
    let usage = watch(|| read = area.pin_and_read(&mut copy))?;
    ensure!(read? == copy.len(), "process_vm_readv read less");
    let copied = moved_or(&before, area, usage)?;
    let pinned =
        [Expect::exactly(Kind::CowUnshare, copied, area).by(Origin::Gup).known(Basis::Pagemap)];
    match copied {
        0 => {
            stage.say(
                "This kernel pins shared pages as they are: nothing is copied (before 6.0).",
            )?;
            stage.account(Who::me(), "pin and read", &[], usage)?;
        }
        PAGES => stage.account(Who::me(), "pin and read", &pinned, usage)?,
        some => bail!("{some} of {PAGES} pages were copied"),
    }
    drop(child);
    Ok(())
}

/// How many pages changed their frame, or what the counters say to it.
fn moved_or(before: &[Entry], area: Area, usage: Usage) -> anyhow::Result<usize> {
    match witness::moved(before, &witness::pagemap(area)?) {
        Some(moved) => Ok(moved),
        None => Ok(usize::try_from(usage.minor)?),
    }
}

/// A permission taken and given back.
///
/// Since 6.1 `mprotect` makes exclusive pages writable itself:
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/mprotect.c> (`can_change_pte_writable`)
pub(super) fn upgrade(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 64 pages, make them read-only, make them writable, and write again.")?;
    let area = written(stage, PAGES)?;
    area.protect(libc::PROT_READ)?;
    area.protect(libc::PROT_READ | libc::PROT_WRITE)?;
    let before = witness::pagemap(area)?;
    let usage = watch(|| touch::write(area))?;
    ensure!(moved_or(&before, area, Usage::default())? == 0, "a page was copied");
    ensure!([0, PAGES as u64].contains(&usage.minor), "{} faults", usage.minor);
    let reused = Expect::exactly(Kind::CowReuse, PAGES, area).known(Basis::Rusage);
    let expected: &[Expect] = if usage.minor == 0 { &[] } else { &[reused] };
    stage.account(Who::me(), "write each page again", expected, usage)
}
