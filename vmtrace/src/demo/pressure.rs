//! Too little memory: a working set that thrashes, an OOM kill, and a fault
//! that fails for want of memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::declare::{Basis, Count};
use super::group::Group;
use super::stage::{Expect, Skip, Stage, Who, watch};
use super::sys::process::Usage;
use super::sys::{Area, touch};
use crate::fault::Kind;

const MIB: usize = 1 << 20;
/// Pages in one.
const PAGES: usize = 256;

fn group(stage: &Stage) -> anyhow::Result<Group> {
    stage.given.group.clone().context("no memory cgroup")
}

/// Sweeps over more than fits.
pub(super) fn thrash(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("In a memory cgroup of 16 MiB I write 24 MiB.")?;
    let group = group(stage)?;
    group.limit(Some(16 * MIB))?;
    group.enter()?;
    let area = Area::anonymous(24 * PAGES)?;
    let first = [Expect::exactly(Kind::AnonZero, area.pages(), area)];
    stage.measure("write each page", &first, || touch::write(area))?;
    for sweep in 1..=3 {
        let usage = watch(|| touch::write(area))?;
        ensure!(usage.major > 0, "nothing had to be swapped in");
        // Which pages the kernel pushed out is its choice; how many came back it has counted.
        let expected = [(Kind::SwapIn, usage.major), (Kind::SwapCache, usage.minor)]
            .map(|(kind, n)| Expect::new(kind, Count::Exactly(n), area).known(Basis::Rusage));
        stage.account(Who::me(), &format!("sweep {sweep}"), &expected, usage)?;
    }
    Ok(())
}

/// Writes until it is killed.
pub(super) fn kill(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("In a memory cgroup of 16 MiB that may not swap, a child writes 64 MiB.")?;
    let group = group(stage)?;
    group.limit(Some(16 * MIB))?;
    group.forbid_swap()?;
    let area = Area::anonymous(64 * PAGES)?;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let count = Area::map(1, libc::PROT_READ | libc::PROT_WRITE, flags, None)?;
    let entered = group.clone();
    let mut child = stage.fork(|child| {
        entered.enter()?;
        touch::add(count, 0);
        child.tell(Usage::now()?)?;
        for page in 0..area.pages() {
            touch::write(area.part(page..page + 1));
            touch::add(count, 1);
        }
        child.wait()
    })?;
    let pid = child.pid;
    let before = child.usage()?;
    let ended = child.ended()?;
    ensure!(ended.signal == Some(libc::SIGKILL), "the child was not killed but ended: {ended:?}");
    let touched = u64::from(touch::value(count));
    stage.say(format_args!("The OOM killer ended it after {touched} pages."))?;
    stage.declare_victim(pid, group.name());
    // The page at which it died was mapped before it did, or was not to be had.
    let expected = [
        Expect::new(Kind::AnonZero, Count::Between(touched, touched + 1), area),
        Expect::new(Kind::Oom, Count::Between(0, 1), area),
    ];
    let who = Who::child(pid);
    stage.declare_total(who, area, Count::Between(touched, touched + 1));
    stage.account(who, "the child writes", &expected, ended.usage.since(before))
}

/// Writes, cannot be killed, and waits for somebody to help.
///
/// With nobody to kill the charge fails, the fault ends with `VM_FAULT_OOM`,
/// and the program takes it again; in the old hierarchy it sleeps in between.
/// <https://elixir.bootlin.com/linux/v6.12/source/mm/oom_kill.c> (`pagefault_out_of_memory`)
pub(super) fn unkillable(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("In a memory cgroup of 8 MiB that may not swap, a child that must not be killed")?;
    stage.say("writes 12 MiB. I raise the limit when I see that it is stuck.")?;
    let group = group(stage)?;
    group.limit(Some(8 * MIB))?;
    group.forbid_swap()?;
    let area = Area::anonymous(12 * PAGES)?;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let count = Area::map(1, libc::PROT_READ | libc::PROT_WRITE, flags, None)?;
    let entered = group.clone();
    let mut child = stage.fork(|child| {
        entered.forbid_kill()?;
        entered.enter()?;
        touch::add(count, 0);
        child.tell(Usage::default())?;
        child.measure(|| {
            for page in 0..area.pages() {
                touch::write(area.part(page..page + 1));
                touch::add(count, 1);
            }
        })?;
        child.wait()
    })?;
    if child.usage().is_err() {
        return Err(Skip("may not forbid the OOM killer (CAP_SYS_RESOURCE)".to_owned()).into());
    }
    let stuck = stuck(count, area)?;
    group.limit(None)?;
    let usage = child.usage()?;
    let who = Who::child(child.pid);
    child.go()?;
    child.end()?;
    stage.say(format_args!("It was stuck at page {stuck}."))?;
    let page = area.part(stuck..stuck + 1);
    let written = Expect::exactly(Kind::AnonZero, area.pages(), area);
    let failed = Expect::new(Kind::Oom, Count::AtLeast(1), page);
    stage.account(who, "the child writes", &[written, failed], usage)
}

/// Waits until the count no longer moves: the page at which it stands.
fn stuck(count: Area, area: Area) -> anyhow::Result<usize> {
    let start = Instant::now();
    let mut last = (touch::value(count) as usize, Instant::now());
    while last.1.elapsed() < Duration::from_millis(300) || last.0 == 0 {
        ensure!(start.elapsed() < Duration::from_secs(20), "it never got stuck");
        std::thread::sleep(Duration::from_millis(10));
        let now = touch::value(count) as usize;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    ensure!(last.0 < area.pages(), "the limit did not hold it");
    Ok(last.0)
}
