//! What the tests trace: programs with a known number of faults.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench;
use crate::child;
use crate::sys::mapping::{Mapping, What, forked};

pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    match words[..] {
        ["touch", count] => touch(What::Anonymous, pages(count)?)?,
        ["touch", count, "populated"] => touch(What::Populated, pages(count)?)?,
        ["touch", count, "huge"] => touch_huge(pages(count)?)?,
        ["sleep", millis] => {
            let millis = millis.parse().context("sleep takes milliseconds")?;
            std::thread::sleep(Duration::from_millis(millis));
        }
        ["exit", status] => {
            return Ok(ExitCode::from(status.parse::<u8>().context("exit takes a status")?));
        }
        ["mixed", threads, cycles] => {
            let threads = threads.parse().context("mixed takes a number of threads")?;
            mixed(threads, cycles.parse().context("mixed takes a number of cycles")?)?;
        }
        ["storm", threads, millis] => {
            let threads = threads.parse().context("storm takes a number of threads")?;
            storm(threads, millis.parse().context("storm takes milliseconds")?)?;
        }
        ["cost", rounds] => cost(rounds.parse().context("cost takes a number of rounds")?)?,
        ["measured", rounds, result] => {
            let rounds = rounds.parse().context("measured takes a number of rounds")?;
            bench::measured(rounds, result.as_ref())?;
        }
        ["crowd", count, result] => {
            let count = count.parse().context("crowd takes a number of processes")?;
            bench::crowd(count, result.as_ref())?;
        }
        ["parts", count, result] => {
            let count = count.parse().context("parts takes a number of regions")?;
            bench::parts(count, result.as_ref())?;
        }
        ["spread", count, result] => {
            let count = count.parse().context("spread takes a number of CPUs")?;
            bench::spread(count, result.as_ref())?;
        }
        ["timed", rounds, result] => {
            let rounds = rounds.parse().context("timed takes a number of rounds")?;
            bench::timed(rounds, result.as_ref())?;
        }
        ["until", ready, done] => bench::until(ready.as_ref(), done.as_ref())?,
        ["hold", mib] => child::hold(mib.parse().context("hold takes a number of MiB")?)?,
        ["divide", count] => child::divide(count.parse().context("divide takes a number")?)?,
        ["relay", count] => relay(pages(count)?)?,
        ["stuck", millis] => stuck(millis.parse().context("stuck takes milliseconds")?)?,
        ["mortals", count] => mortals(count.parse().context("mortals takes a number")?)?,
        _ => bail!("no such workload: {}", words.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

fn pages(count: &str) -> Result<usize> {
    count.parse().context("touch takes a number of pages")
}

/// Writes to each of `count` fresh pages, once.
fn touch(what: What<'_>, count: usize) -> Result<()> {
    if count > 0 {
        Mapping::new(what, count)?.write();
    }
    Ok(())
}

/// The same, with the advice to take huge pages.
fn touch_huge(count: usize) -> Result<()> {
    let mapping = Mapping::new(What::Anonymous, count)?;
    mapping.advise(libc::MADV_HUGEPAGE);
    mapping.write();
    Ok(())
}

/// Faults of many kinds in many threads: some 350 a cycle.
fn mixed(threads: usize, cycles: usize) -> Result<()> {
    let path = std::env::temp_dir().join(format!("vmtrace-mixed-{}", std::process::id()));
    std::fs::write(&path, vec![7; 64 * 4096]).context("cannot write the file to map")?;
    let file = File::options().read(true).write(true).open(&path)?;
    std::fs::remove_file(&path)?;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| (0..cycles).try_for_each(|cycle| mix(&file, cycle))))
            .collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a thread died")))
    })
}

fn mix(file: &File, cycle: usize) -> Result<()> {
    let anonymous = Mapping::new(What::Anonymous, 64)?;
    anonymous.read();
    anonymous.write();
    Mapping::new(What::Anonymous, 64)?.write();
    // No exception is taken for these, but the kernel counts them.
    Mapping::new(What::Populated, 16)?.read();
    let private = Mapping::new(What::Private(file), 64)?;
    private.read();
    private.write();
    Mapping::new(What::Shared(file), 16)?.write();
    if cycle.is_multiple_of(16) {
        forked(|| anonymous.write())?;
        anonymous.write();
    }
    Ok(())
}

/// As many faults as the machine makes, for so long: pages written and given back.
fn storm(threads: usize, millis: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_millis(millis);
    std::thread::scope(|scope| {
        let one = || -> Result<()> {
            let memory = Mapping::new(What::Anonymous, 1024)?;
            while Instant::now() < end {
                memory.write();
                memory.advise(libc::MADV_DONTNEED);
            }
            Ok(())
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a thread died")))
    })
}

/// Children that live 5 ms, one after the other.
fn mortals(count: usize) -> Result<()> {
    let mapping = Mapping::new(What::Anonymous, 8)?;
    mapping.write();
    for _ in 0..count {
        forked(|| {
            mapping.write();
            std::thread::sleep(Duration::from_millis(5));
        })?;
    }
    Ok(())
}

/// Its first thread writes so many pages, another one so many, and the program that
/// this one begins in place of both as many again.
fn relay(count: usize) -> Result<()> {
    let words = ["workload", "touch", &count.to_string()].map(str::to_owned);
    touch(What::Anonymous, count)?;
    let other = std::thread::spawn(move || -> Result<()> {
        touch(What::Anonymous, count)?;
        Err(Command::new(std::env::current_exe()?).args(words).exec().into())
    });
    other.join().unwrap_or_else(|_| bail!("a thread died"))
}

/// A thread waits so long in a fault, for a page that nobody serves.
fn stuck(millis: u64) -> Result<()> {
    let (give, take) = mpsc::channel();
    let waiting = std::thread::spawn(move || -> Result<()> {
        let mapping = Mapping::new(What::Anonymous, 1)?;
        give.send(mapping.withhold().context("cannot use userfaultfd")?)?;
        mapping.write();
        Ok(())
    });
    let held = take.recv();
    std::thread::sleep(Duration::from_millis(millis));
    ensure!(held.is_err() || !waiting.is_finished(), "somebody served the page");
    drop(held);
    waiting.join().unwrap_or_else(|_| bail!("a thread died"))
}

/// Prints what a first write to a page costs, in nanoseconds: with the guest's
/// clock counting instructions, that many. The first rounds are dearer.
fn cost(rounds: usize) -> Result<()> {
    const PAGES: usize = 4096;
    for round in 0..rounds {
        let mapping = Mapping::new(What::Anonymous, PAGES)?;
        let began = Instant::now();
        mapping.write();
        let each = began.elapsed().as_nanos() / PAGES as u128;
        crate::harness::print(format_args!("round {round}: {each} ns a fault"));
    }
    Ok(())
}
