//! Nothing is lost: what was seen is what the kernel counted, to the fault.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Test, Verdict, fact};
use crate::tool::Report;
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "account::a-million", run: a_million },
    Test { name: "account::spilled", run: spilled },
    Test { name: "account::mortals", run: mortals },
    Test { name: "account::storm", run: storm },
];

/// Eight threads on two CPUs, more than three hundred faults a cycle: a million,
/// or a hundred thousand where time is short.
fn a_million() -> Result<Verdict> {
    each_backend(|backend| {
        let (cycles, least) = if long() { ("420", 1_000_000) } else { ("42", 100_000) };
        let report = tool::trace(&["--backend", backend], &["mixed", "8", cycles])?;
        fact(&format!("faults of {backend}"), &report.accounting());
        let counted = report.account("min_flt") + report.account("maj_flt");
        ensure!(counted > least, "the kernel counted only {counted} faults");
        ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
        adds_up(backend, &report)
    })
}

/// The reader sleeps for a second behind a ring of 64 KiB: most faults spill,
/// and none is lost.
fn spilled() -> Result<Verdict> {
    each_backend(|backend| {
        let mut command = tool::vmtrace(&["--format", "json", "--ring-size", "64K"])?;
        command.args(["--backend", backend, "--"]).arg(tool::ourselves()?);
        command.args(["workload", "mixed", "8", if long() { "100" } else { "30" }]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context("cannot run vmtrace")?;
        let pid = child.id();
        let output = std::thread::scope(|scope| {
            let finished = scope.spawn(|| child.wait_with_output());
            // The command runs once vmtrace has a child that faults.
            sleep(Duration::from_secs(2));
            while !finished.is_finished() {
                sys::signal(pid, libc::SIGSTOP).ok();
                sleep(Duration::from_secs(1));
                sys::signal(pid, libc::SIGCONT).ok();
                sleep(Duration::from_millis(200));
            }
            finished.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
        })?;
        let report = tool::report(&output)?;
        fact(&format!("spilled with {backend}"), &report.accounting());
        ensure!(report.account("spilled") > 1000, "few spilled: {}", report.accounting());
        ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
        adds_up(backend, &report)
    })
}

/// As many faults a second as two threads make, for 2 s, or 30 where there is time:
/// nothing is lost, and few are folded together.
fn storm() -> Result<Verdict> {
    let millis = if long() { "30000" } else { "2000" };
    if sys::is_guest() && !long() {
        return Ok(Verdict::Skipped(
            "an emulated processor storms slowly: only with --long".into(),
        ));
    }
    each_backend(|backend| {
        let report = tool::trace(&["--backend", backend], &["storm", "2", millis])?;
        let rate = report.faults() * 1000 / millis.parse::<u64>()?;
        fact(
            &format!("storm of {backend}"),
            &format!("{rate} faults a second for {millis} ms: {}", report.accounting()),
        );
        ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
        ensure!(report.account("received") == report.account("seen"), "{}", report.accounting());
        adds_up(backend, &report)
    })
}

/// The classes add up to the kernel's counters; but the tracepoint backend sees
/// no faults that take no exception, and says so.
fn adds_up(backend: &str, report: &Report) -> Result<()> {
    let small = report.class("minor") + report.class("cow");
    let (min_flt, maj_flt) = (report.account("min_flt"), report.account("maj_flt"));
    let major = report.class("major");
    if backend == "tracepoint" {
        ensure!(small <= min_flt, "{small} faults, and the kernel counted {min_flt}");
        return Ok(());
    }
    ensure!(small == min_flt, "minor and cow are {small}, min_flt grew by {min_flt}");
    ensure!(major == maj_flt, "major is {major}, maj_flt grew by {maj_flt}");
    ensure!(report.is_complete(), "not complete by its own word: {}", report.accounting());
    Ok(())
}

/// A thousand processes (two hundred where time is short) that live 5 ms: each is there, named, with its faults in
/// named regions.
fn mortals() -> Result<Verdict> {
    let total = if long() { 1000 } else { 200 };
    each_backend(|backend| {
        let count = total.to_string();
        let report = tool::trace(&["--backend", backend, "--top", "2000"], &["mortals", &count])?;
        let children = report.processes();
        ensure!(children.len() > total, "only {} processes", children.len());
        for child in children {
            let faults = regions(child).map(counted).sum::<u64>();
            ensure!(faults > 0, "a process without faults: {child}");
            let comm = child["comm"].as_str().unwrap_or_default();
            ensure!(!comm.is_empty() && comm != "?", "a process without a name: {child}");
            let nameless = regions(child).find(|region| region["name"] == "[unknown]");
            // The stack of a new program is set up before anything names it.
            let nameless = nameless.filter(|_| backend != "tracepoint");
            ensure!(nameless.is_none(), "a region without a name: {nameless:?}");
        }
        adds_up(backend, &report)
    })
}

fn long() -> bool {
    crate::LONG.load(Ordering::Relaxed)
}

fn regions(process: &Value) -> impl Iterator<Item = &Value> {
    process["regions"].as_array().into_iter().flatten()
}

fn counted(region: &Value) -> u64 {
    let classes = tool::CLASSES.iter();
    classes.filter_map(|class| region["classes"][class]["count"].as_u64()).sum()
}

fn each_backend(test: impl Fn(&str) -> Result<()>) -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    for backend in tool::backends()? {
        test(&backend).with_context(|| backend.clone())?;
    }
    Ok(Verdict::Passed)
}
