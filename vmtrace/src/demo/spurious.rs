//! Faults that find nothing to do: another thread was faster, or the TLB was
//! behind the page table.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, bail};

use super::declare::{Basis, Count};
use super::stage::{Expect, Skip, Stage, Who, watch};
use super::sys::process::{self, Usage};
use super::sys::{Area, PAGE, touch};
use crate::fault::Kind;

/// How far each of the two threads has come.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

/// Arrives and waits for the other, for the `round`th time.
fn meet(round: usize) {
    ARRIVED.fetch_add(1, SeqCst);
    while ARRIVED.load(SeqCst) < 2 * round {
        std::hint::spin_loop();
    }
}

/// Starts a thread on the second CPU, its stack touched.
pub(super) fn on_second_cpu<T: Send + 'static>(
    cpus: &[usize],
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<T>>> {
    let cpu = *cpus.get(1).context("no second CPU")?;
    let start = move || {
        process::pin(cpu)?;
        process::settle_stack();
        work()
    };
    Ok(thread::Builder::new().stack_size(1 << 20).spawn(start)?)
}

/// Waits for it.
pub(super) fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| bail!("the second thread panicked"))
}

fn touch_in_step(area: Area) {
    for page in 0..area.pages() {
        meet(page + 1);
        touch::store(area, page * PAGE, 1);
    }
}

/// Both touch each page.
pub(super) fn race(stage: &mut Stage) -> anyhow::Result<()> {
    const PAGES: usize = 8192;
    stage.say("Two threads on two CPUs write to each of 8192 fresh pages at the same moment.")?;
    let area = Area::anonymous(PAGES)?;
    let other = on_second_cpu(stage.cpus(), move || watch(|| touch_in_step(area)))?;
    let mine = watch(|| touch_in_step(area))?;
    let other = join(other)?;
    let usage = Usage { minor: mine.minor + other.minor, major: mine.major + other.major };
    // One fault maps each page; whatever was counted beyond that came too late.
    let late = usize::try_from(usage.minor)?.saturating_sub(PAGES);
    if late == 0 {
        return Err(Skip("the two threads never met on a page".to_owned()).into());
    }
    // A thread that came too late only after it had allocated its page gives the page
    // back, and nothing on its way says so: to all appearances it was first.
    let (pages, late) = (PAGES as u64, late as u64);
    let expected = [
        Expect::new(Kind::AnonZero, Count::Between(pages, pages + late), area),
        Expect::new(Kind::Spurious, Count::Between(0, late), area).known(Basis::Rusage),
    ];
    let who = Who { shared: true, ..Who::me() };
    stage.declare_total(who, area, Count::Exactly(usage.minor));
    stage.account(who, "both write each page", &expected, usage)
}

/// A stale entry.
///
/// Making a page writable flushes nothing on x86: another CPU that remembers
/// it as read-only faults once and then looks again.
/// <https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/pgtable.h>
/// (`flush_tlb_fix_spurious_fault`)
pub(super) fn stale(stage: &mut Stage) -> anyhow::Result<()> {
    const TRIES: usize = 10;
    stage.say("I write 16 pages; a fork makes them read-only, and its child ends. A second")?;
    stage.say("thread reads them on its CPU, I write them on mine, then it writes them.")?;
    for _ in 0..TRIES {
        // Whatever else the second CPU does meanwhile may make it forget.
        if stale_once(stage)? > 0 {
            return Ok(());
        }
    }
    Err(Skip("this processor looks again by itself".to_owned()).into())
}

/// How many pages the second CPU had to look up again.
fn stale_once(stage: &mut Stage) -> anyhow::Result<usize> {
    const PAGES: usize = 16;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("write each page", &expected, || touch::write(area))?;
    Area::anonymous(1)?.advise(libc::MADV_COLD)?;
    stage.fork(|_| Ok(()))?.end()?;
    ARRIVED.store(0, SeqCst);
    let other = on_second_cpu(stage.cpus(), move || {
        meet(1);
        touch::read(area);
        meet(2);
        meet(3);
        let usage = watch(|| touch::write(area))?;
        Ok((Who::me(), usage))
    })?;
    meet(1);
    meet(2);
    let mine = watch(|| touch::write(area))?;
    meet(3);
    let (who, usage) = join(other)?;
    let expected = [Expect::exactly(Kind::CowReuse, PAGES, area)];
    stage.account(Who::me(), "I write each page", &expected, mine)?;
    // Which entries the second CPU still remembered is its own affair.
    let late = usize::try_from(usage.minor)?;
    let expected = [Expect::exactly(Kind::Spurious, late, area).known(Basis::Rusage)];
    stage.account(who, "the second thread writes each page", &expected, usage)?;
    Ok(late)
}
