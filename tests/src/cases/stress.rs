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
    let told: Vec<_> = sizes.iter().map(|size| (size.own, size.processes)).collect();
    fact("stress, vmtrace's own KiB and the machine's processes so far", &format!("{told:?}"));
    ensure!(report.faults() > 10_000, "only {} faults", report.faults());
    ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
    // That backend does not see faults without an exception, and says so.
    let whole = report.is_complete() || report.backend() == "tracepoint";
    ensure!(whole, "not complete: {}", report.accounting());
    flat(&sizes)
}

/// What the tracer has of memory, and for how much.
struct Size {
    /// In KiB. Not what it maps of the programs' rings: that is as large as it was
    /// made, and some kernels count it late.
    own: u64,
    /// How many processes the machine ever had.
    processes: u64,
}

/// Runs the stressors; answers the tracer's memory, ten times.
fn under_stress(tracer: &mut Child, seconds: u64) -> Result<Vec<Size>> {
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
        sizes.extend(size(tracer.id()));
    }
    ensure!(!sizes.is_empty(), "stress-ng ended at once: {}", stress.wait()?);
    stress.kill().ok();
    stress.wait()?;
    Ok(sizes)
}

fn size(pid: u32) -> Option<Size> {
    let number = |path: &str, name| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let own = number(&format!("/proc/{pid}/status"), "RssAnon:")?;
    Some(Size { own, processes: number("/proc/stat", "processes")? })
}

/// After its first half, memory grows by no more than an eighth and 8 MiB, and by
/// what each further process takes in a report that keeps it apart: not more than
/// 16 384 are.
fn flat(sizes: &[Size]) -> Result<Verdict> {
    const EACH: u64 = 8;
    const MOST: u64 = 16_384;
    let half = sizes.get(sizes.len() / 2).context("nothing was measured")?;
    let last = sizes.last().context("nothing was measured")?;
    let (from, to) = (half.processes.min(MOST), last.processes.min(MOST));
    let allowed = half.own + half.own / 8 + 8192 + EACH * (to - from);
    let (half, last) = (half.own, last.own);
    ensure!(last <= allowed, "vmtrace grew from {half} KiB to {last} KiB, {allowed} are allowed");
    Ok(Verdict::Passed)
}
