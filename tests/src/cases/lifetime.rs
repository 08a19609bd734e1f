//! Nothing stays behind in the kernel, however vmtrace ends.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::harness::{Test, Verdict};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "lifetime::killed", run: killed },
    Test { name: "lifetime::interrupted", run: interrupted },
    Test { name: "lifetime::duration", run: duration },
];

/// How long attaching or letting go may take: an emulated CPU is slow.
const PATIENCE: Duration = Duration::from_mins(1);

fn killed() -> Result<Verdict> {
    ends_clean(|child| {
        sys::signal(child.id(), libc::SIGKILL)?;
        child.wait()?;
        Ok(())
    })
}

fn interrupted() -> Result<Verdict> {
    ends_clean(|child| {
        sys::signal(child.id(), libc::SIGINT)?;
        let status = waited(child)?;
        ensure!(status == Some(0), "Ctrl-C ended it with status {status:?}");
        Ok(())
    })
}

fn duration() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if sys::is_guest() && !crate::is_long() {
        return Ok(Verdict::Skipped("as natively, and slow in a guest: only with --long".into()));
    }
    let output = tool::output(&mut tool::vmtrace(&["-a", "--duration", "1s"])?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ended with {}: {said}", output.status);
    ensure!(!output.stdout.is_empty(), "no report");
    Ok(Verdict::Passed)
}

/// Starts a trace, waits until its programs are loaded, ends it as told, and
/// waits until they are gone.
fn ends_clean(end: fn(&mut Child) -> Result<()>) -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    let before = programs()?;
    let mut command = tool::vmtrace(&["-a"])?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run vmtrace")?;
    let attached = attached(&mut child, &before);
    let ended = end(&mut child);
    // Whatever went wrong, no tracer may outlive its test.
    child.kill().ok();
    child.wait().ok();
    let ours = attached?;
    ended?;
    let began = Instant::now();
    loop {
        let left = programs()?.intersection(&ours).count();
        if left == 0 {
            return Ok(Verdict::Passed);
        }
        ensure!(began.elapsed() < PATIENCE, "{left} of {} programs stayed", ours.len());
        sleep(Duration::from_millis(20));
    }
}

/// The programs that vmtrace loaded, once their number has settled.
fn attached(child: &mut Child, before: &BTreeSet<u32>) -> Result<BTreeSet<u32>> {
    let began = Instant::now();
    let mut last = BTreeSet::new();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            bail!("vmtrace -a ended by itself with {status}");
        }
        let now = programs()?.difference(before).copied().collect::<BTreeSet<_>>();
        if !now.is_empty() && now == last {
            return Ok(now);
        }
        last = now;
        sleep(Duration::from_millis(500));
    }
    bail!("no program was loaded within {} s", PATIENCE.as_secs())
}

fn programs() -> Result<BTreeSet<u32>> {
    Ok(sys::bpf_programs()?.into_iter().collect())
}

/// The exit status, or an error where the end does not come.
fn waited(child: &mut Child) -> Result<Option<i32>> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        sleep(Duration::from_millis(20));
    }
    bail!("it did not end within {} s", PATIENCE.as_secs())
}
