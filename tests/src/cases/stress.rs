//! Everything at once, for long: what faults, forks, maps and shoots TLBs down,
//! under a trace of every process.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[Test { name: "stress::everything-at-once", run: together }];

/// stress-ng's ways to make a memory manager sweat, one process of each.
const STRESSORS: &[&str] = &[
    "--fault",
    "--mmap",
    "--fork",
    "--madvise",
    "--brk",
    "--stack",
    "--sigsegv",
    "--userfaultfd",
    "--tlb-shootdown",
];

/// `VMTRACE_STRESS_SECONDS` says otherwise.
const SECONDS: u64 = 600;

fn together() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if !crate::is_long() {
        return Ok(Verdict::Skipped("takes ten minutes: cargo xtask test --long runs it".into()));
    }
    if Command::new("stress-ng").arg("--version").output().is_err() {
        return Ok(Verdict::Skipped("there is no stress-ng".into()));
    }
    let named = std::env::var("VMTRACE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = named.unwrap_or(SECONDS);
    let mut command = tool::vmtrace(&["-a", "--format", "json"])?;
    let tracer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut tracer = tracer.context("cannot run vmtrace")?;
    // What the stressors use up is not to be paid for by the one who watches.
    fs::write(format!("/proc/{}/oom_score_adj", tracer.id()), "-1000").ok();
    sleep(Duration::from_secs(10));
    let sizes = under_stress(&mut tracer, seconds)?;
    sys::signal(tracer.id(), libc::SIGINT)?;
    let report = tool::report(&tracer.wait_with_output()?)?;
    fact("stress", &report.accounting());
    fact("stress, vmtrace's resident KiB by the minute", &format!("{sizes:?}"));
    ensure!(report.faults() > 10_000, "only {} faults", report.faults());
    ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
    // That backend does not see faults without an exception, and says so.
    let whole = report.is_complete() || report.backend() == "tracepoint";
    ensure!(whole, "not complete: {}", report.accounting());
    flat(&sizes)
}

/// Runs the stressors; answers the tracer's resident memory in KiB, by the minute.
fn under_stress(tracer: &mut Child, seconds: u64) -> Result<Vec<u64>> {
    let mut stress = Command::new("stress-ng");
    stress.args(STRESSORS.iter().flat_map(|stressor| [*stressor, "1"]));
    stress.args(["--mmap-bytes", "32M", "--timeout"]);
    stress.arg(format!("{seconds}s")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut stress = stress.spawn().context("cannot run stress-ng")?;
    let began = Instant::now();
    let mut sizes = Vec::new();
    // A stressor that hangs on an emulated processor is none of ours.
    let limit = Duration::from_secs(2 * seconds + 60);
    let step = Duration::from_secs((seconds / 10).max(1));
    sleep(step);
    while stress.try_wait()?.is_none() && began.elapsed() < limit {
        sleep(step);
        ensure!(tracer.try_wait()?.is_none(), "vmtrace ended under stress");
        sizes.extend(resident(tracer.id()));
    }
    ensure!(!sizes.is_empty(), "stress-ng ended at once: {}", stress.wait()?);
    stress.kill().ok();
    stress.wait()?;
    Ok(sizes)
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// After its first half, memory grows by no more than an eighth and 8 MiB.
fn flat(sizes: &[u64]) -> Result<Verdict> {
    let half = sizes.get(sizes.len() / 2).copied().context("nothing was measured")?;
    let last = sizes.last().copied().unwrap_or_default();
    ensure!(last <= half + half / 8 + 8192, "vmtrace grew from {half} KiB to {last} KiB");
    Ok(Verdict::Passed)
}
