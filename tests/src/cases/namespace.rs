//! In a PID namespace of one's own, as in a container: ids there are not those
//! the kernel's programs see.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::harness::{Test, Verdict};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[Test { name: "namespace::container", run: container }];

const UNSHARE: [&str; 3] = ["--pid", "--fork", "--mount-proc"];
const PAGES: u64 = 1000;

/// A command's id there is a small number, which is another process's outside.
fn container() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    let mut try_it = Command::new("unshare");
    if !try_it.args(UNSHARE).arg("true").output().is_ok_and(|tried| tried.status.success()) {
        return Ok(Verdict::Skipped("`unshare --pid --fork --mount-proc` does not work".into()));
    }
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(tool::path()?).args(["--format", "json", "--"]);
    command.arg(tool::ourselves()?).args(["workload", "touch", &PAGES.to_string()]);
    let report = tool::report(&tool::output(&mut command)?)?;
    ensure!(report.faults() >= PAGES, "{} faults of {PAGES}", report.faults());
    ensure!(report.processes().len() == 1, "{} processes", report.processes().len());
    let whole = report.is_complete() || report.backend() == "tracepoint";
    ensure!(whole, "not complete: {}", report.accounting());
    Ok(Verdict::Passed)
}
