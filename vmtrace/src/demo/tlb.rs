//! TLB shootdowns: changes of the page tables that another CPU must learn of.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::spurious::{join, on_second_cpu};
use super::stage::{Expect, Stage};
use super::sys::{Area, PAGE, touch};
use crate::fault::Kind;

/// `TLB_REMOTE_SEND_IPI` in `enum tlb_flush_reason`.
const REMOTE_SEND: u32 = 4;
const ROUNDS: usize = 32;
const PAGES: usize = 8;

static RUNNING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// By `madvise`, `mprotect` and `munmap`.
pub(super) fn shootdowns(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("A second thread runs on another CPU, in the same address space.")?;
    let other = on_second_cpu(stage.cpus(), || {
        RUNNING.store(true, SeqCst);
        while !STOP.load(SeqCst) {
            std::hint::spin_loop();
        }
        Ok(())
    })?;
    while !RUNNING.load(SeqCst) {
        std::thread::yield_now();
    }
    let done = rounds(stage);
    STOP.store(true, SeqCst);
    join(other)?;
    done
}

fn rounds(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I write 8 pages and give them back with madvise, 32 times.")?;
    let area = Area::anonymous(PAGES)?;
    let mut failed = false;
    let expected = [Expect::exactly(Kind::AnonZero, ROUNDS * PAGES, area)];
    stage.measure("madvise", &expected, || {
        for _ in 0..ROUNDS {
            touch::write(area);
            failed |= area.advise(libc::MADV_DONTNEED).is_err();
        }
    })?;
    stage.say("I write 8 pages; 32 times I forbid every access, allow it again, and read.")?;
    let area = Area::anonymous(PAGES)?;
    let expected = [Expect::exactly(Kind::AnonZero, PAGES, area)];
    stage.measure("mprotect", &expected, || {
        touch::write(area);
        for _ in 0..ROUNDS {
            failed |= area.protect(libc::PROT_NONE).is_err();
            failed |= area.protect(libc::PROT_READ | libc::PROT_WRITE).is_err();
            touch::read(area);
        }
    })?;
    stage.say("I write 8 pages and unmap them, 32 times, each time others.")?;
    let area = Area::reserve(ROUNDS * PAGES * PAGE)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    area.map_over(libc::PROT_READ | libc::PROT_WRITE, flags, None)?;
    let expected = [Expect::exactly(Kind::AnonZero, ROUNDS * PAGES, area)];
    stage.measure("munmap", &expected, || {
        for round in 0..ROUNDS {
            let part = area.part(round * PAGES..(round + 1) * PAGES);
            touch::write(part);
            failed |= part.unmap().is_err();
        }
    })?;
    area.map_over(libc::PROT_NONE, flags, None)?;
    anyhow::ensure!(!failed, "a call failed");
    stage.declare_flushes(REMOTE_SEND, 3 * ROUNDS);
    Ok(())
}
