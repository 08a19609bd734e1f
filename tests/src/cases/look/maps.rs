//! What the regions add up to is what the kernel and `pmap -X` add up to, and a
//! great many regions are shown fast.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vmtrace::inspect::maps::field::{Amounts, Field, TABLE};
use vmtrace::inspect::maps::look::{Space, Wanted, look};
use vmtrace::inspect::maps::smaps;
use vmtrace::inspect::subject::Subject;

use crate::child::Kept;
use crate::harness::{Verdict, fact};
use crate::{sys, tool};

/// Amounts that are shares of pages.
const ROUNDED: [Field; 3] = [Field::Pss, Field::PssDirty, Field::SwapPss];

/// How often a process is looked at that changes meanwhile.
const TRIES: usize = 4;

/// Programs as people run them, where they are installed.
const PROGRAMS: [&[&str]; 8] = [
    &["sh", "-c", "read x"],
    &["sleep", "60"],
    &["python3", "-c", "import json, ssl, time; x = bytearray(9 << 20); time.sleep(60)"],
    &["redis-server", "--port", "0", "--save", ""],
    &["node", "-e", "setTimeout(() => {}, 60000)"],
    &["java", "-XX:TieredStopAtLevel=1", "-version"],
    &["perl", "-e", "sleep 60"],
    &["tail", "-f", "/dev/null"],
];

enum Outcome {
    Agrees,
    /// It changed at every try.
    Restless,
    /// It may not be read, has gone, or has no memory.
    Nothing,
}

pub(super) fn totals() -> Result<Verdict> {
    let started: Vec<_> = PROGRAMS.iter().filter_map(|one| Kept::start(one).ok()).collect();
    // Until they have started up and sit still.
    std::thread::sleep(Duration::from_millis(if sys::is_guest() { 300 } else { 1500 }));
    let (mut agreed, mut restless) = (BTreeMap::<String, u32>::new(), 0);
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match check(pid)? {
            (Outcome::Agrees, comm) => *agreed.entry(comm).or_default() += 1,
            (Outcome::Restless, _) => restless += 1,
            (Outcome::Nothing, _) => {}
        }
    }
    drop(started);
    ensure!(!agreed.is_empty(), "no process could be looked at");
    let witness = if pmap(std::process::id().cast_signed()).is_some() {
        "smaps_rollup and pmap -X"
    } else {
        "smaps_rollup (no pmap here)"
    };
    let all: u32 = agreed.values().sum();
    let names: Vec<_> = agreed.into_keys().collect();
    fact(
        "maps totals",
        &format!("{all} processes equal {witness}, {restless} changed: {}", names.join(" ")),
    );
    Ok(Verdict::Passed)
}

fn check(pid: i32) -> Result<(Outcome, String)> {
    let nothing = || Ok((Outcome::Nothing, String::new()));
    let Ok(subject) = Subject::open(pid) else { return nothing() };
    let comm = subject.comm.clone();
    let mut differences = Vec::new();
    for _try in 0..TRIES {
        let Ok(before) = subject.text("smaps_rollup") else { return nothing() };
        let space = look(&subject, Wanted { cells: 0, nodes: false });
        let pmap = pmap(pid).unwrap_or_default();
        let Ok(after) = subject.text("smaps_rollup") else { return nothing() };
        if before != after || space.regions.is_empty() {
            continue;
        }
        match difference(&space, &smaps::rollup(&after).0, &pmap) {
            None => return Ok((Outcome::Agrees, comm)),
            Some(difference) => differences.push(format!("{difference} of {pid} ({comm})")),
        }
    }
    // A process may change and change back between two looks, but not every time.
    if differences.len() == TRIES {
        bail!("{}", differences.join("; "));
    }
    Ok((Outcome::Restless, comm))
}

/// What does not agree, if anything.
fn difference(space: &Space, kernel: &Amounts, pmap: &BTreeMap<String, u64>) -> Option<String> {
    let sum = space.sum();
    for (field, name, _) in TABLE {
        let (Some(ours), Some(theirs)) = (sum.get(field), kernel.get(field)) else { continue };
        // Each region's share is rounded down before it is added up; the kernel's
        // own total is rounded once.
        let slack = if ROUNDED.contains(&field) { space.regions.len() as u64 * 1024 } else { 0 };
        if !(ours..=ours + slack).contains(&theirs) {
            return Some(format!("{name}: {ours}, the kernel's {theirs}"));
        }
    }
    // pmap maps the libraries that it looks at: while it runs, shares are smaller.
    let exact = pmap.iter().filter_map(|(name, kib)| Some((Field::named(name.as_bytes())?, kib)));
    let mut differing = exact.filter(|(field, _)| !ROUNDED.contains(field));
    differing
        .find(|&(field, &kib)| sum.of(field) != kib * 1024)
        .map(|(field, kib)| format!("{}: {}, pmap's {kib} KiB", field.key(), sum.of(field)))
}

/// The totals of `pmap -X`, in KiB, where it is installed.
fn pmap(pid: i32) -> Option<BTreeMap<String, u64>> {
    let mut command = Command::new("pmap");
    command.arg("-X").arg(pid.to_string()).stderr(Stdio::null());
    let text = String::from_utf8_lossy(&command.output().ok()?.stdout).into_owned();
    let heads = text.lines().find(|line| line.trim_start().starts_with("Address"))?;
    let heads = heads.split_whitespace().skip_while(|head| *head != "Inode").skip(1);
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("KB"))?;
    let numbers = total.split_whitespace().map_while(|word| word.parse().ok());
    Some(heads.map(str::to_owned).zip(numbers).collect())
}

/// Sixty thousand regions, in under a second and 40 MiB.
pub(super) fn many() -> Result<Verdict> {
    const REGIONS: usize = 60_000;
    if sys::is_guest() {
        return Ok(Verdict::Skipped("an emulated processor says nothing of speed".into()));
    }
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count")?;
    if limit.trim().parse::<usize>()? < REGIONS + 2000 {
        return Ok(Verdict::Skipped(format!("vm.max_map_count is {}", limit.trim())));
    }
    let mut divided = Kept::workload(&["divide", &REGIONS.to_string()])?;
    ensure!(divided.ready(), "the workload is gone");
    let pid = divided.pid().to_string();
    for format in ["text", "json"] {
        let command = || tool::vmtrace(&["maps", &pid, "--format", format]);
        // It waits for nothing: on a machine that is busy with other things, the
        // processor's time is what it takes.
        let before = sys::childrens_time()?;
        let start = Instant::now();
        ensure!(command()?.stdout(Stdio::null()).status()?.success(), "maps failed");
        let (took, worked) = (start.elapsed(), sys::childrens_time()?.saturating_sub(before));
        let peak = peak(command()?)?;
        fact(
            &format!("maps of 60000 regions, {format}"),
            &format!("{took:?}, {worked:?} of work, {} MiB", peak >> 20),
        );
        ensure!(peak < 40 << 20, "{format} took {} MiB", peak >> 20);
        ensure!(worked < Duration::from_secs(1), "{format} took {worked:?}");
    }
    Ok(Verdict::Passed)
}

/// The most memory that a command had, asked for as its output arrives. What
/// `wait4` tells is no use: it counts what the parent had before the exec.
fn peak(mut command: Command) -> Result<u64> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut output = child.stdout.take().context("no output")?;
    let (mut peak, mut chunk) = (0, vec![0; 1 << 16]);
    while output.read(&mut chunk)? > 0 {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
    }
    ensure!(child.wait()?.success(), "maps failed");
    ensure!(peak > 0, "its memory could not be read");
    Ok(peak)
}
