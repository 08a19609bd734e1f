//! NUMA: balancing hints, and pages met on their way between nodes.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::declare::{Basis, Count};
use super::spurious::{join, on_second_cpu};
use super::stage::{Expect, Skip, Stage, Who, watch};
use super::sys::process::Usage;
use super::sys::{Area, numa, touch};
use super::witness;
use crate::fault::Kind;

/// How long to wait for something that the kernel does in its own time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for more of it.
const SOON: Duration = Duration::from_secs(3);

/// The node of a CPU.
fn node_of(cpu: usize) -> anyhow::Result<u32> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}");
    for entry in std::fs::read_dir(&path).with_context(|| format!("read {path}"))? {
        let name = entry?.file_name();
        if let Some(node) = name.to_str().and_then(|name| name.strip_prefix("node")) {
            return Ok(node.parse()?);
        }
    }
    Ok(0)
}

/// Hints.
pub(super) fn hint(stage: &mut Stage) -> anyhow::Result<()> {
    const PAGES: usize = 1024;
    const ENOUGH: u64 = 256;
    const ELSEWHERE: u64 = 64;
    let cpu = *stage.cpus().first().context("no CPU")?;
    let far = 1 - node_of(cpu)?.min(1);
    stage.say(format_args!("I write 1024 pages on node {far}, which is not mine."))?;
    numa::prefer(far)?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    stage.say("I read them over and over until the kernel wants to know who does.")?;
    numa::balance()?;
    let start = Instant::now();
    let before = Usage::now()?;
    let mut usage = Usage::default();
    while usage.minor < ENOUGH && start.elapsed() < PATIENCE {
        touch::read(area);
        usage = Usage::now()?.since(before);
    }
    numa::stay_local()?;
    touch::read(area);
    let usage = Usage::now()?.since(before);
    if usage.minor < ENOUGH {
        return Err(Skip(format!("{} hints within {PATIENCE:?}", usage.minor)).into());
    }
    // All pages are there and nobody else runs: whatever faults, faults on a hint. A few of
    // them are on the code and the stack that this loop runs on.
    let count = Count::Between(usage.minor - ELSEWHERE, usage.minor);
    let expected = [Expect::new(Kind::NumaHint, count, area).known(Basis::Rusage)];
    stage.account(Who::me(), "read each page, again and again", &expected, usage)
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Pages on their way.
///
/// A write at any time mostly meets the moment before the entry says so, when
/// the page is gone and nothing is in its place: an emulated CPU that waits for
/// another to forget the translation lets it run just there, every time. So the
/// page map is asked first.
pub(super) fn migration(stage: &mut Stage) -> anyhow::Result<()> {
    const ENOUGH: u64 = 20;
    stage
        .say("A second thread moves a page between two nodes, over and over. Whenever I see it")?;
    stage.say("on its way, by my page map, I write it.")?;
    let area = Area::anonymous(1)?;
    let expected = [Expect::exactly(Kind::AnonZero, 1, area)];
    stage.measure("write the page", &expected, || touch::write(area))?;
    let mover = on_second_cpu(stage.cpus(), move || {
        for node in [1, 0].into_iter().cycle() {
            if STOP.load(SeqCst) {
                break;
            }
            numa::move_page(area, 0, node).context("move a page")?;
        }
        Ok(())
    })?;
    let start = Instant::now();
    let mut usage = Usage::default();
    while usage.minor < ENOUGH && !mover.is_finished() {
        let late = start.elapsed() > if usage.minor == 0 { PATIENCE } else { SOON };
        if late {
            break;
        }
        if witness::swapped(area)? == 1 {
            usage = usage.and(watch(|| touch::write(area))?);
        }
    }
    STOP.store(true, SeqCst);
    join(mover)?;
    ensure!(usage.major == 0, "a page was read from somewhere");
    if usage.minor == 0 {
        return Err(Skip(format!("no write met the page on its way in {PATIENCE:?}")).into());
    }
    // A fault that comes when the move has just ended finds the page where it should be, and
    // one that reads the entry just before the next move finds it changed under the lock:
    // that one does nothing and comes again, and nothing on its way says so.
    let expected = [
        Expect::new(Kind::AnonZero, Count::Between(0, usage.minor - 1), area),
        Expect::new(Kind::Migration, Count::Between(1, usage.minor), area).known(Basis::Pagemap),
        Expect::new(Kind::Spurious, Count::Between(0, usage.minor - 1), area).known(Basis::Rusage),
    ];
    stage.declare_total(Who::me(), area, Count::Exactly(1 + usage.minor));
    stage.account(Who::me(), "write while it moves", &expected, usage)
}
