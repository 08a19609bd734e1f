//! What tracing costs a fault, on a clock that counts instructions: the driver
//! of `cargo xtask bench`, inside the guest.
//!
//! Each figure is a line `bench NAME KERNEL USER`: what a first write to a page
//! costs the thread that writes, and what the tracer spends for it meanwhile,
//! in tenths of a nanosecond. With the guest's clock counting instructions, a
//! nanosecond is one. CPU time and not the time of day, so that neither side's
//! share lands on the other.

mod growth;
mod peers;

pub(crate) use growth::{crowd, parts, spread};

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sys::mapping::{Mapping, What};
use crate::{sys, tool};

/// Pages to a round.
const PAGES: usize = 4096;
/// Pages of which the rounds on a real clock are made, again and again: few enough to
/// stay in a processor's own cache, where what zeroing them takes does not depend on
/// which the kernel hands out, and on nobody else's memory traffic.
const TIMED_PAGES: usize = 128;
/// Rounds before those that count: early pages are dearer.
const WARM: usize = 2;
/// The tracer looks at its rings twenty times a second; after this long it has
/// read everything.
const DRAINED: Duration = Duration::from_millis(160);
/// What a tracer gets to begin or end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The ways to trace, by the name that a figure has after its backend's.
const MODES: [(&str, &[&str]); 3] = [
    ("streamed", &["--format", "json"]),
    ("events", &["--events"]),
    ("tally", &["--tally", "--format", "json"]),
];

/// What one fault cost, in tenths of a nanosecond.
#[derive(Clone, Copy, Debug)]
struct Cost {
    kernel: u128,
    user: u128,
}

impl Cost {
    /// What [`text`](Self::text) wrote.
    fn read(text: &str) -> Result<Self> {
        let mut figures = text.split_whitespace().map(str::parse);
        let (Some(Ok(kernel)), Some(Ok(user))) = (figures.next(), figures.next()) else {
            bail!("no result: {text}");
        };
        Ok(Self { kernel, user })
    }

    fn text(self) -> String {
        format!("{} {}\n", self.kernel, self.user)
    }
}

/// The figures asked for: all, or those whose names contain a word.
struct Wanted<'a>(&'a [String]);

impl<'a> Wanted<'a> {
    /// `[ROUNDS [NAME…]]`.
    fn read(words: &'a [String]) -> Result<(usize, Self)> {
        let (rounds, wanted) = match words.split_first() {
            Some((rounds, wanted)) => (rounds.parse().context("bench takes a number")?, wanted),
            None => (8, words),
        };
        Ok((rounds, Self(wanted)))
    }

    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(word.as_str()))
    }
}

/// `bench [peers|growth] [ROUNDS [NAME…]]`.
pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    match words.split_first() {
        Some((first, rest)) if first == "peers" => return peers::run(rest),
        Some((first, rest)) if first == "growth" => return growth::run(rest),
        _ => {}
    }
    let (rounds, wanted) = Wanted::read(words)?;
    // The first pages after boot cost half as much again.
    rounds_of(16)?;
    tell("untraced", measure(rounds, None)?);
    for backend in tool::backends()? {
        let name = format!("{backend}-others");
        if wanted.has(&name) {
            tell(&name, others(&backend, rounds)?);
        }
        for (mode, arguments) in MODES {
            let name = format!("{backend}-{mode}");
            if wanted.has(&name) {
                tell(&name, traced(&backend, arguments, rounds)?);
            }
        }
    }
    tell("untraced-again", measure(rounds, None)?);
    Ok(ExitCode::SUCCESS)
}

fn tell(name: &str, cost: Cost) {
    crate::harness::print(format_args!("bench {name} {} {}", cost.kernel, cost.user));
}

/// A traced process: what it pays, and what its tracer does.
fn traced(backend: &str, arguments: &[&str], rounds: usize) -> Result<Cost> {
    let result = scratch("result");
    let workload = ["measured".to_owned(), rounds.to_string()];
    Cost::read(&result_of(backend, arguments, &workload, &result)?.0)
}

/// What a traced workload left in the file named by its last word, and what
/// vmtrace showed.
fn result_of(
    backend: &str,
    arguments: &[&str],
    workload: &[String],
    result: &Path,
) -> Result<(String, String)> {
    let shown = scratch("shown");
    let mut command = tool::vmtrace(&["--backend", backend])?;
    command.args(arguments).arg("--").arg(tool::ourselves()?);
    command.arg("workload").args(workload).arg(result);
    command.stdout(File::create(&shown).context("cannot write what vmtrace shows")?);
    let output = tool::output(command.stderr(Stdio::piped()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "vmtrace ended with {}: {said}", output.status);
    let text = fs::read_to_string(result).context("the workload left no result")?;
    // With --events it is long, and nobody reads it.
    let said =
        if arguments.contains(&"--events") { String::new() } else { fs::read_to_string(&shown)? };
    for file in [result, &shown] {
        fs::remove_file(file).ok();
    }
    Ok((text, said))
}

/// The traced side of [`traced`]: its parent is the tracer.
pub(crate) fn measured(rounds: usize, result: &Path) -> Result<()> {
    rounds_of(WARM)?;
    let cost = measure(rounds, Some(std::os::unix::process::parent_id()))?;
    fs::write(result, cost.text()).context("cannot write the result")
}

/// The same where the clock is a real one: `TIME CPU TOOL` of a fault, in
/// nanoseconds, the former two of the round that a quarter were faster than: what
/// disturbs a round from outside makes it slower, never faster.
pub(crate) fn timed(rounds: usize, result: &Path) -> Result<()> {
    let tracer = std::os::unix::process::parent_id();
    rounds_of(WARM)?;
    std::thread::sleep(DRAINED);
    let before = spent(tracer)?;
    let mapping = Mapping::new(What::Anonymous, TIMED_PAGES)?;
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut cpu, mut time) = (0, 0);
        for _ in 0..PAGES / TIMED_PAGES {
            ensure!(mapping.advise(libc::MADV_DONTNEED), "cannot give the pages back");
            let (more, longer) = first_writes(&mapping);
            cpu += more;
            time += longer;
        }
        cpus.push(cpu);
        times.push(time);
    }
    std::thread::sleep(DRAINED);
    let each = |nanos: u128, faults: usize| nanos / faults.max(1) as u128;
    let quarter = |mut all: Vec<u128>| {
        all.sort_unstable();
        each(all.get(all.len() / 4).copied().unwrap_or(0), PAGES)
    };
    let tool = each(u128::from(spent(tracer)? - before), rounds * PAGES);
    let text = format!("{} {} {tool}\n", quarter(times), quarter(cpus));
    fs::write(result, text).context("cannot write the result")
}

/// This process, untraced while another is traced.
fn others(backend: &str, rounds: usize) -> Result<Cost> {
    let (ready, done) = (scratch("ready"), scratch("done"));
    let mut command = tool::vmtrace(&["--format", "json", "--backend", backend, "--"])?;
    command.arg(tool::ourselves()?).args(["workload", "until"]).arg(&ready).arg(&done);
    let mut tracer = command.stdout(Stdio::null()).spawn().context("cannot run vmtrace")?;
    let measured = wait_for(&ready, &mut tracer).and_then(|()| {
        rounds_of(WARM)?;
        measure(rounds, None)
    });
    fs::write(&done, "").context("cannot end the traced process")?;
    let status = tracer.wait().context("cannot wait for vmtrace")?;
    ensure!(status.success(), "vmtrace ended with {status}");
    for file in [ready, done] {
        fs::remove_file(file).ok();
    }
    measured
}

fn wait_for(file: &Path, tracer: &mut Child) -> Result<()> {
    let began = Instant::now();
    while !file.exists() {
        ensure!(tracer.try_wait()?.is_none(), "vmtrace ended too early");
        ensure!(began.elapsed() < PATIENCE, "vmtrace did not start in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The traced side of [`others`]: says that it runs, and waits.
pub(crate) fn until(ready: &Path, done: &Path) -> Result<()> {
    fs::write(ready, "").context("cannot say that the probes are attached")?;
    while !done.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The mean over `rounds`, and what the process `tracer` spends on them.
fn measure(rounds: usize, tracer: Option<u32>) -> Result<Cost> {
    let spent = || tracer.map_or(Ok(0), spent);
    if tracer.is_some() {
        std::thread::sleep(DRAINED);
    }
    let before = spent()?;
    let kernel = rounds_of(rounds)?;
    if tracer.is_some() {
        std::thread::sleep(DRAINED);
    }
    let user = spent()? - before;
    let faults = (rounds * PAGES) as u128;
    Ok(Cost { kernel: kernel * 10 / faults, user: u128::from(user) * 10 / faults })
}

/// The CPU time of `rounds` rounds of first writes, in nanoseconds.
fn rounds_of(rounds: usize) -> Result<u128> {
    (0..rounds).try_fold(0, |total, _| Ok(total + round()?.0))
}

/// The CPU time of one round, and its time on the clock, in nanoseconds.
fn round() -> Result<(u128, u128)> {
    Ok(first_writes(&Mapping::new(What::Anonymous, PAGES)?))
}

/// The same for pages that are not there yet.
fn first_writes(mapping: &Mapping) -> (u128, u128) {
    let (began, before) = (Instant::now(), sys::thread_time());
    mapping.write();
    let cpu = sys::thread_time().saturating_sub(before);
    (cpu.as_nanos(), began.elapsed().as_nanos())
}

/// What all threads of a process have run, in nanoseconds.
fn spent(pid: u32) -> Result<u64> {
    let mut total = 0;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the tracer is gone")?;
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let run = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        total += run.context("the kernel keeps no schedstat")?;
    }
    Ok(total)
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vmtrace-bench-{name}-{}", std::process::id()))
}
