//! Known numbers of faults.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::harness::{Test, Verdict, fact};
use crate::tool::Report;
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "counts::fresh-pages", run: fresh_pages },
    Test { name: "counts::accounting-is-complete", run: accounting_is_complete },
    Test { name: "counts::status-is-the-commands", run: status_is_the_commands },
];

/// Two runs of one program differ by this much at most: a page of the program
/// that is mapped around another's fault, or is not.
const JITTER: u64 = 16;

/// The faults of the workload are those of its start and one a page.
fn fresh_pages() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    sys::fixed_addresses()?;
    let touch = |count: u64| -> Result<Report> { tool::trace(&[], &["touch", &count.to_string()]) };
    // The first run finds the program's pages cold.
    Command::new(tool::ourselves()?).args(["workload", "touch", "0"]).output()?;
    let start = touch(0)?.faults();
    for count in [100, 10_000] {
        let first = touch(count)?.faults();
        let second = touch(count)?.faults();
        let told = format!("{first} {second}, of its start {start}");
        fact(&format!("faults touching {count}"), &told);
        ensure!(first >= count, "{first} faults for {count} pages");
        // The pages' page tables and the report of the mapping cost no faults.
        let most = count + start + JITTER;
        ensure!(first <= most, "{first} faults for {count} pages and {start} of the start");
        let apart = first.abs_diff(second);
        ensure!(apart <= JITTER, "two runs differ by {apart}: {first} and {second}");
    }
    Ok(Verdict::Passed)
}

/// What was seen was reported, and the kernel counted the same.
fn accounting_is_complete() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    let report = tool::trace(&[], &["touch", "2000"])?;
    fact("backend", report.backend());
    let told = ["emitted", "spilled", "lost"].map(|name| report.account(name));
    let seen = report.account("seen");
    ensure!(told.iter().sum::<u64>() == seen, "does not add up: {}", report.accounting());
    ensure!(report.account("lost") == 0, "some were lost: {}", report.accounting());
    let small = report.class("minor") + report.class("cow");
    let min_flt = report.account("min_flt");
    if report.backend() == "tracepoint" {
        // A new program's arguments are put on its stack without an exception,
        // which this backend does not see. It says so.
        ensure!((small..small + 16).contains(&min_flt), "{small} seen, min_flt grew {min_flt}");
        ensure!(report.is_complete() == (small == min_flt), "{}", report.accounting());
        return Ok(Verdict::Passed);
    }
    ensure!(small == min_flt, "minor and cow are {small}, the kernel's min_flt grew {min_flt}");
    let (major, maj_flt) = (report.class("major"), report.account("maj_flt"));
    ensure!(major == maj_flt, "major is {major}, the kernel's maj_flt grew {maj_flt}");
    ensure!(report.is_complete(), "not complete by its own word: {}", report.accounting());
    Ok(Verdict::Passed)
}

fn status_is_the_commands() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    let mut command = tool::vmtrace(&["--"])?;
    command.arg(tool::ourselves()?).args(["workload", "exit", "7"]);
    let output = tool::output(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(7), "status is {}, said: {said}", output.status);
    Ok(Verdict::Passed)
}
