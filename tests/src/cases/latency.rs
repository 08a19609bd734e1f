//! The truth about time: faults that a pager keeps waiting for a known while,
//! and files read from a disk, by their program's own clock.
//!
//! Such a fault is tried twice or more: it lets go of its lock to wait. It has
//! to be one record with the whole of it, on every backend.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use vmtrace::demo::declare::{Declaration, Outcome};
use vmtrace::demo::waits::{self, Wait};

use crate::harness::{Test, Verdict, fact};
use crate::played::{Fault, Program, play, program};
use crate::sys;

pub(super) const TESTS: &[Test] = &[Test { name: "latency::known-waits", run: known_waits }];

/// The scenarios that know how long their faults take.
const WAITS: [&str; 2] = ["userfault", "file-cold"];

/// A pager's wait is measured this well, in thousandths, beyond the way into the
/// kernel and back, which faults that do not wait show.
const PAGED: u64 = 20;
/// So much of a disk's at least: the program also sees the processor's part and
/// vmtrace's own, which are the same for a short wait as for a long one.
const READ: u64 = 500;

fn known_waits() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    let Program { backends, names, .. } = program()?;
    for backend in backends {
        let run = play(&backend, names).with_context(|| backend.clone())?;
        let timed = |one: &&Declaration| WAITS.contains(&one.scenario.as_str());
        for declaration in run.declarations.iter().filter(timed) {
            let told = hold(&backend, declaration, &run.faults);
            let told = told.with_context(|| format!("{backend}: {}", declaration.scenario))?;
            fact(&format!("latency {backend} {}", declaration.scenario), &told);
        }
    }
    Ok(Verdict::Passed)
}

/// Checks each fault of known length, and says how well they were measured.
fn hold(backend: &str, declaration: &Declaration, faults: &[Fault]) -> Result<String> {
    if declaration.outcome != Outcome::Done {
        let reason = declaration.reason.as_deref().unwrap_or_default();
        ensure!(declaration.outcome == Outcome::Skipped, "failed: {reason}");
        return Ok(format!("not played: {reason}"));
    }
    let seen: Vec<_> = faults.iter().map(|fault| fault.seen).collect();
    let waits = declaration.waits(&seen);
    let known = declaration.expectations.iter().filter(|one| one.latency_ns.is_some()).count();
    ensure!(
        waits.len() == known,
        "{known} faults of known length, {} of them reported",
        waits.len()
    );
    let odd = waits.iter().find(|wait| !wait.holds());
    ensure!(odd.is_none(), "a fault is outside what its program knows: {odd:?}");
    let outside = waits::outside(&waits);
    let paged = |wait: &&Wait| declaration.scenario != "userfault" || wait.least > 0;
    let waits: Vec<_> = waits.iter().filter(paged).copied().collect();
    let mut by_length: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for wait in &waits {
        by_length.entry(wait.least).or_default().push(wait.deviation(outside));
    }
    let mut told = Vec::new();
    for (length, mut deviations) in by_length {
        // Whatever comes between the program's look at its clock and the fault is nobody's
        // mistake: that it comes more often than not would be.
        let middle = deviations.len() / 2;
        let median = *deviations.select_nth_unstable(middle).1;
        let limit = if length == 0 { READ } else { PAGED };
        let ms = length / 1_000_000;
        ensure!(median <= limit, "{ms} ms: off by {median} of 1000: {waits:?}");
        let what = if length == 0 { "disk".to_owned() } else { format!("{ms} ms") };
        told.push(format!("{what} {}.{} %", median / 10, median % 10));
    }
    let again = retried(declaration, &waits, faults);
    // The tracepoint backend sees the end of the last try alone.
    if declaration.scenario == "userfault" && backend != "tracepoint" {
        ensure!(again == waits.len(), "{again} of {} were tried again", waits.len());
    }
    let (count, told) = (waits.len(), told.join(", "));
    Ok(format!("{count} faults, {again} tried again, off by {told}"))
}

/// How many of the faults came back after they had let go of the lock.
fn retried(declaration: &Declaration, waits: &[Wait], faults: &[Fault]) -> usize {
    let kinds: Vec<_> = waits.iter().map(|wait| wait.kind).collect();
    let ours = |fault: &&Fault| fault.seen.pid == declaration.pid && fault.retries > 0;
    faults.iter().filter(ours).filter(|fault| kinds.contains(&fault.seen.kind)).count()
}
