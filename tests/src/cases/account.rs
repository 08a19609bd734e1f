//! Nothing is lost: what was seen is what the kernel counted, to the fault.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Test, Verdict, fact};
use crate::tool::Report;
use crate::{backends, is_long, sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "account::a-million", run: a_million },
    Test { name: "account::spilled", run: spilled },
    Test { name: "account::lost", run: lost },
    Test { name: "account::tallied", run: tallied },
    Test { name: "account::mortals", run: mortals },
    Test { name: "account::storm", run: storm },
    Test { name: "account::relay", run: relay },
    Test { name: "account::open-at-the-end", run: open_at_the_end },
];

/// Eight threads on two CPUs, more than three hundred faults a cycle: a million,
/// or twenty thousand where time is short.
fn a_million() -> Result<Verdict> {
    backends::each(|backend| {
        let (cycles, least) = if is_long() { ("420", 1_000_000) } else { ("9", 20_000) };
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
    backends::each_in_time("account::spilled", |backend| {
        let report = starved(backend, if is_long() { "100" } else { "10" }, None)?;
        fact(&format!("spilled with {backend}"), &report.accounting());
        ensure!(report.account("spilled") > 1000, "few spilled: {}", report.accounting());
        ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
        adds_up(backend, &report)
    })
}

/// As many faults a second as two threads make, for 2 s, or 30 where there is time:
/// nothing is lost, and few are folded together.
fn storm() -> Result<Verdict> {
    let millis = if is_long() { "30000" } else { "2000" };
    if sys::is_guest() && !is_long() {
        return Ok(Verdict::Skipped(
            "an emulated processor storms slowly: only with --long".into(),
        ));
    }
    backends::each(|backend| {
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

/// With nearly no room to spill to either, some are lost: which is said, and the
/// number is right.
fn lost() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if sys::is_guest() && !is_long() {
        return Ok(Verdict::Skipped("as natively, and slow in a guest: only with --long".into()));
    }
    let report = starved("auto", "40", Some("4"))?;
    fact("lost", &report.accounting());
    let [seen, emitted, spilled, lost] =
        ["seen", "emitted", "spilled", "lost"].map(|name| report.account(name));
    ensure!(lost > 0, "nothing was lost: {}", report.accounting());
    ensure!(seen == emitted + spilled + lost, "does not add up: {}", report.accounting());
    ensure!(!report.is_complete(), "lost and not told: {}", report.accounting());
    let counted = report.account("min_flt") + report.account("maj_flt");
    let whole = report.faults() + lost == counted || report.backend() == "tracepoint";
    ensure!(whole, "{counted} were counted: {}", report.accounting());
    Ok(Verdict::Passed)
}

/// Traces eight threads behind a small ring while the reader is stopped most of
/// the time.
fn starved(backend: &str, cycles: &str, slots: Option<&str>) -> Result<Report> {
    let mut command = tool::vmtrace(&["--format", "json", "--ring-size", "64K"])?;
    command.args(["--backend", backend, "--"]).arg(tool::ourselves()?);
    command.args(["workload", "mixed", "8", cycles]);
    command.envs(slots.map(|slots| ("VMTRACE_SPILL_SLOTS", slots)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context("cannot run vmtrace")?;
    let pid = child.id();
    let output = std::thread::scope(|scope| {
        let finished = scope.spawn(|| child.wait_with_output());
        while !finished.is_finished() && !at_work(pid) {
            sleep(Duration::from_millis(5));
        }
        while !finished.is_finished() {
            sys::signal(pid, libc::SIGSTOP).ok();
            sleep(Duration::from_secs(1));
            sys::signal(pid, libc::SIGCONT).ok();
            sleep(Duration::from_millis(200));
        }
        finished.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    })?;
    tool::report(&output)
}

/// Whether vmtrace has let the workload go: a child of its has become another
/// program. (`/proc/PID/task/PID/children` is not in every kernel.)
fn at_work(vmtrace: u32) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut stats =
        processes.filter_map(|one| std::fs::read_to_string(one.path().join("stat")).ok());
    stats.any(|stat| {
        let Some((name, rest)) = stat.rsplit_once(") ") else { return false };
        let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
        name.ends_with("(vmtrace-tests") && parent == Some(vmtrace)
    })
}

/// `--tally` sends nothing and misses nothing: the classes still add up to the
/// kernel's counters, and a region's faults are its own.
fn tallied() -> Result<Verdict> {
    if sys::is_guest() && !is_long() {
        return Ok(Verdict::Skipped("as natively, and slow in a guest: only with --long".into()));
    }
    backends::each(|backend| {
        let cycles = if is_long() { "100" } else { "20" };
        let report = tool::trace(&["--backend", backend, "--tally"], &["mixed", "8", cycles])?;
        fact(&format!("tallied with {backend}"), &report.accounting());
        let (seen, spilled) = (report.account("seen"), report.account("spilled"));
        ensure!(report.account("emitted") == 0, "some were sent: {}", report.accounting());
        ensure!(seen == spilled && seen > 1000, "some are missing: {}", report.accounting());
        adds_up(backend, &report)?;
        let report = tool::trace(&["--backend", backend, "--tally"], &["touch", "5000"])?;
        // The tracepoint backend tells regions apart by 2 MiB of address.
        let least = if backend == "tracepoint" { 4000 } else { 5000 };
        ensure!(report.kind("anon-zero") >= least, "{} first writes", report.kind("anon-zero"));
        let most = report.processes().iter().flat_map(regions).map(counted).max();
        ensure!(most.is_some_and(|most| most >= least), "5000 first writes, and {most:?}");
        Ok(())
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

/// A thousand processes (a hundred where time is short) that live 5 ms: each is there, named, with its faults in
/// named regions.
fn mortals() -> Result<Verdict> {
    let total = if is_long() { 1000 } else { 100 };
    backends::each_in_time("account::mortals", |backend| {
        let count = total.to_string();
        let report = tool::trace(&["--backend", backend, "--top", "2000"], &["mortals", &count])?;
        let children = report.processes();
        ensure!(children.len() > total, "only {} processes", children.len());
        let mut unnamed = 0;
        for child in children {
            let faults = regions(child).map(counted).sum::<u64>();
            ensure!(faults > 0, "a process without faults: {child}");
            let comm = child["comm"].as_str().unwrap_or_default();
            ensure!(!comm.is_empty() && comm != "?", "a process without a name: {child}");
            let nameless = regions(child).filter(|region| region["name"] == "[unknown]");
            // The stack of a new program is set up before anything names it.
            let nameless = nameless.filter(|_| backend != "tracepoint");
            for region in nameless {
                ensure!(skipped(region), "a region without a name: {region}");
                unnamed += counted(region);
            }
        }
        fact(&format!("faults of mortals in no known region, {backend}"), &unnamed.to_string());
        ensure!(unnamed * 100 <= report.faults(), "{unnamed} of {} faults", report.faults());
        adds_up(backend, &report)
    })
}

/// Where a thread begins a program for its whole process, the first thread's account
/// is not lost with its id.
fn relay() -> Result<Verdict> {
    backends::each_in_time("account::relay", |backend| {
        let report = tool::trace(&["--backend", backend], &["relay", "500"])?;
        fact(&format!("relay with {backend}"), &report.accounting());
        let writes = report.kind("anon-zero");
        ensure!(writes >= 1500, "{writes} first writes of 3 times 500");
        adds_up(backend, &report)
    })
}

/// A fault that is open when the session ends is told of, and nothing is missing
/// for it: neither did the kernel count it.
fn open_at_the_end() -> Result<Verdict> {
    backends::each_in_time("account::open-at-the-end", |backend| {
        let options = ["--backend", backend, "--duration", "2s"];
        let report = tool::trace(&options, &["stuck", "6000"])?;
        fact(&format!("open at the end with {backend}"), &report.accounting());
        ensure!(report.account("stale") == 1, "{} are open", report.account("stale"));
        adds_up(backend, &report)
    })
}

/// Whether all faults there are such that the kernel skipped the programs that should
/// have seen them, as a preemptible one does: they are counted and have no latency.
fn skipped(region: &Value) -> bool {
    let classes = tool::CLASSES.iter();
    classes.map(|class| &region["classes"][class]["max_ns"]).all(|max| max.as_u64() == Some(0))
}

fn regions(process: &Value) -> impl Iterator<Item = &Value> {
    process["regions"].as_array().into_iter().flatten()
}

fn counted(region: &Value) -> u64 {
    let classes = tool::CLASSES.iter();
    classes.filter_map(|class| region["classes"][class]["count"].as_u64()).sum()
}
