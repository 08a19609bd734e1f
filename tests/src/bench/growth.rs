//! Whether a fault costs more where there is more of everything: processes,
//! regions, CPUs.
//!
//! A line `growth WHAT COUNT BARE KERNEL USER SEEN MISSED` says, in tenths of an
//! instruction, what a fault costs untraced, what it costs traced by `fentry`,
//! and what the tracer spends on it; then how many faults the trace has, and how
//! many of them were spilled or lost. `targets-quiet` is what the tracer spends on
//! a second without a fault.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Cost, DRAINED, scratch, spent};
use crate::sys::mapping::{Mapping, What, start, wait};
use crate::{sys, tool};

/// Pages that a process of a crowd writes in its turn.
const EACH: usize = 16;
/// Turns that count.
const TURNS: usize = 8192;
/// Seconds in which they do nothing.
const QUIET: usize = 4;
/// Pages to be divided into regions.
const DIVIDED: usize = 100_000;
/// Rounds over them that count, after the one that meets them first.
const AGAIN: u32 = 2;
/// Pages of each process where several fault at once, and rounds of all together.
const PAGES: usize = 4096;
const ROUNDS: usize = 16;

/// How many of each.
const TARGETS: [usize; 3] = [1, 100, 10_000];
const REGIONS: [usize; 4] = [10, 1000, 10_000, DIVIDED];
const CPUS: [usize; 4] = [1, 2, 4, 8];

/// `bench growth [targets|regions|cpus…]`.
pub(super) fn run(words: &[String]) -> Result<ExitCode> {
    let wanted = |what: &str| words.is_empty() || words.iter().any(|word| word == what);
    if wanted("targets") {
        TARGETS
            .iter()
            .try_for_each(|&count| tell(&["targets", "targets-quiet"], "crowd", count))?;
    }
    if wanted("regions") {
        fs::write("/proc/sys/vm/max_map_count", "1000000").context("cannot allow more regions")?;
        let names = ["regions-first", "regions-again"];
        REGIONS.iter().try_for_each(|&count| tell(&names, "parts", count))?;
    }
    if wanted("cpus") {
        CPUS.iter().try_for_each(|&count| tell(&["cpus"], "spread", count))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a workload untraced and traced; it has a cost for each of the names.
fn tell(names: &[&str], workload: &str, count: usize) -> Result<()> {
    let result = scratch("result");
    let words = [workload.to_owned(), count.to_string()];
    let mut bare = Command::new(tool::ourselves()?);
    let status = bare.arg("workload").args(&words).arg(&result).status()?;
    ensure!(status.success(), "{workload} ended with {status}");
    let text = fs::read_to_string(&result).context("the workload left no result")?;
    let bare = costs(&text)?;
    let (text, shown) = super::result_of("fentry", &["--format", "json"], &words, &result)?;
    let report: Value = serde_json::from_str(&shown).context("no report")?;
    let account = |name: &str| report["accounting"][name].as_u64().unwrap_or(0);
    let (seen, missed) = (account("seen"), account("spilled") + account("lost"));
    for ((name, bare), cost) in names.iter().zip(bare).zip(costs(&text)?) {
        let (Cost { kernel, user }, bare) = (cost, bare.kernel);
        crate::harness::print(format_args!(
            "growth {name} {count} {bare} {kernel} {user} {seen} {missed}"
        ));
    }
    Ok(())
}

/// One `KERNEL USER` a line.
fn costs(text: &str) -> Result<Vec<Cost>> {
    text.lines().map(Cost::read).collect()
}

/// What one process says to the others, and they to it.
struct Crowd {
    turn: PipeWriter,
    done: PipeReader,
    pids: Vec<i32>,
}

impl Crowd {
    /// Starts `count` processes that do `work` at each byte they are sent, and
    /// answer with the nanoseconds it took.
    fn new(count: usize, work: impl Fn(usize)) -> Result<Self> {
        let (mut take, turn) = io::pipe()?;
        let (done, mut give) = io::pipe()?;
        let mut crowd = Self { turn, done, pids: Vec::with_capacity(count) };
        for index in 0..count {
            let pid = start(|| {
                // Else nobody would see that the first process has closed it.
                sys::close(&crowd.turn);
                while take.read_exact(&mut [0]).is_ok() {
                    let began = sys::thread_time();
                    work(index);
                    let took = sys::thread_time().saturating_sub(began);
                    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                    if give.write_all(&took.to_ne_bytes()).is_err() {
                        break;
                    }
                }
            });
            crowd.pids.push(pid.with_context(|| format!("process {index} of {count}"))?);
        }
        Ok(crowd)
    }

    /// Lets so many of them go at once, and adds up what they took.
    fn turns(&mut self, count: usize) -> Result<u64> {
        self.turn.write_all(&vec![0; count])?;
        let mut took = [0; 8];
        (0..count).try_fold(0, |sum, _| {
            self.done.read_exact(&mut took)?;
            Ok(sum + u64::from_ne_bytes(took))
        })
    }

    fn end(self) {
        drop(self.turn);
        for pid in self.pids {
            wait(pid);
        }
    }
}

/// `crowd PROCESSES RESULT`: each has its turn to fault, one after the other.
pub(crate) fn crowd(count: usize, result: &Path) -> Result<()> {
    let memory = Mapping::new(What::Anonymous, EACH)?;
    let mut crowd = Crowd::new(count, |_| {
        memory.write();
        memory.advise(libc::MADV_DONTNEED);
    })?;
    // Everybody is known before it counts.
    for _ in 0..count.max(TURNS / 4) {
        crowd.turns(1)?;
    }
    let cost = counted(TURNS * EACH, || (0..TURNS).try_fold(0, |sum, _| Ok(sum + crowd.turns(1)?)));
    let quiet = counted(QUIET, || {
        std::thread::sleep(Duration::from_secs(QUIET as u64));
        Ok(0)
    });
    crowd.end();
    fs::write(result, cost?.text() + &quiet?.text()).context("cannot write the result")
}

/// `parts REGIONS RESULT`: as many pages, in as many regions.
pub(crate) fn parts(count: usize, result: &Path) -> Result<()> {
    ensure!((1..=DIVIDED).contains(&count), "between 1 and {DIVIDED} regions");
    let memory = Mapping::new(What::Anonymous, DIVIDED)?;
    let each = DIVIDED / count;
    for part in (0..count).step_by(2) {
        memory.make_executable(part * each..(part + 1) * each).context("dividing the memory")?;
    }
    let round = || {
        let began = sys::thread_time();
        memory.write();
        let took = sys::thread_time().saturating_sub(began);
        memory.advise(libc::MADV_DONTNEED);
        Ok(u64::try_from(took.as_nanos())?)
    };
    let first = counted(DIVIDED, round)?;
    let again =
        counted(DIVIDED * AGAIN as usize, || (0..AGAIN).try_fold(0, |sum, _| Ok(sum + round()?)))?;
    fs::write(result, first.text() + &again.text()).context("cannot write the result")
}

/// `spread CPUS RESULT`: a process on each of so many CPUs, all at once. What
/// counts is the time on the clock, in which all CPUs' instructions are: the
/// middle of three.
pub(crate) fn spread(count: usize, result: &Path) -> Result<()> {
    let memory = Mapping::new(What::Anonymous, PAGES)?;
    let rounds = ROUNDS / count;
    let mut crowd = Crowd::new(count, |cpu| {
        sys::stay_on(cpu);
        for _ in 0..rounds {
            memory.write();
            memory.advise(libc::MADV_DONTNEED);
        }
    })?;
    crowd.turns(count)?;
    std::thread::sleep(DRAINED);
    // What else the kernel has to do, such as freeing a map that is gone, falls
    // into one of them.
    let mut all = [0; 3];
    for took in &mut all {
        let began = Instant::now();
        crowd.turns(count)?;
        *took = began.elapsed().as_nanos();
    }
    crowd.end();
    all.sort_unstable();
    let cost = Cost { kernel: all[1] * 10 / (rounds * count * PAGES) as u128, user: 0 };
    fs::write(result, cost.text()).context("cannot write the result")
}

/// What `work` costs each of so many faults, and what our parent, the tracer if
/// there is one, spends meanwhile.
fn counted(faults: usize, work: impl FnOnce() -> Result<u64>) -> Result<Cost> {
    let parent = std::os::unix::process::parent_id();
    std::thread::sleep(DRAINED);
    let before = spent(parent)?;
    let kernel = u128::from(work()?);
    std::thread::sleep(DRAINED);
    let user = u128::from(spent(parent)? - before);
    let faults = faults as u128;
    Ok(Cost { kernel: kernel * 10 / faults, user: user * 10 / faults })
}
