//! userfaultfd: a pager in user space that takes its time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::declare::Basis;
use super::spurious::join;
use super::stage::{Expect, Stage, Who, timed};
use super::sys::process::Usage;
use super::sys::userfault::Pager;
use super::sys::{Area, PAGE, touch};
use crate::fault::Kind;

/// Pages for each delay.
const PAGES: usize = 3;
const DELAYS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Serves each page after a known time.
pub(super) fn late(stage: &mut Stage) -> anyhow::Result<()> {
    let pager = Pager::open().context("userfaultfd")?;
    let mut areas = Vec::new();
    for _ in DELAYS {
        let area = Area::anonymous(PAGES)?;
        pager.register(area).context("register with userfaultfd")?;
        areas.push(area);
    }
    let served = areas.clone();
    let paging = thread::spawn(move || serve(&pager, &served));
    at_once(stage)?;
    for (area, delay) in areas.into_iter().zip(DELAYS) {
        stage.say(format_args!("I read three pages that my pager serves {delay:?} late."))?;
        let (mut expected, mut usage) = (Vec::with_capacity(PAGES), Usage::default());
        for page in (0..PAGES).map(|page| area.part(page..page + 1)) {
            let (one, took) = timed(|| touch::load(page.start()))?;
            // Older kernels count the second try as major, newer ones only tried under the lock.
            let kind = if one.major > 0 { Kind::UserfaultMajor } else { Kind::Userfault };
            ensure!(one.minor + one.major == 1, "not one fault for each page");
            let expect = Expect::exactly(kind, 1, page).known(Basis::Rusage);
            expected.push(expect.lasting(delay, took));
            usage = usage.and(one);
        }
        stage.account(Who::me(), &format!("read three pages, {delay:?} each"), &expected, usage)?;
    }
    join(paging)
}

/// Faults that wait for nobody, timed in the same way: most of what the clock
/// says of them is the processor's way into the kernel and back.
fn at_once(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say("I read eight pages that nobody has to serve.")?;
    let area = Area::anonymous(8)?;
    let (mut expected, mut usage) = (Vec::with_capacity(area.pages()), Usage::default());
    for page in (0..area.pages()).map(|page| area.part(page..page + 1)) {
        let (one, took) = timed(|| touch::load(page.start()))?;
        expected.push(Expect::exactly(Kind::AnonRead, 1, page).lasting(Duration::ZERO, took));
        usage = usage.and(one);
    }
    stage.account(Who::me(), "read eight pages", &expected, usage)
}

fn serve(pager: &Pager, areas: &[Area]) -> anyhow::Result<()> {
    let page = [7u8; PAGE];
    for _ in 0..PAGES * DELAYS.len() {
        let address = pager.wait().context("wait for a missing page")?;
        let asked = Instant::now();
        let index = areas.iter().position(|area| (area.start()..area.end()).contains(&address));
        let delay = DELAYS[index.context("a page that nobody registered")?];
        // Sleep for most of it, then watch the clock: a timer alone is too coarse for 2 %.
        thread::sleep(delay.saturating_sub(Duration::from_micros(500)));
        while asked.elapsed() < delay {
            std::hint::spin_loop();
        }
        pager.serve(address, &page).context("serve a page")?;
    }
    Ok(())
}
