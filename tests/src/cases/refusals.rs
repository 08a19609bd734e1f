//! What vmtrace cannot do: one clear line, status 2, and nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Test, Verdict};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "refusals::no-such-process", run: no_such_process },
    Test { name: "refusals::ordinary-user", run: ordinary_user },
    Test { name: "refusals::process-and-command", run: process_and_command },
    Test { name: "refusals::no-such-command", run: no_such_command },
];

/// An id that the kernel never gives out: the largest `pid_max` is 4194304.
const NOBODY: &str = "4194305";

fn no_such_process() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("only root gets as far".into()));
    }
    refuses(&mut tool::vmtrace(&["-p", NOBODY])?, NOBODY)?;
    Ok(Verdict::Passed)
}

fn ordinary_user() -> Result<Verdict> {
    // What root built may lie where others cannot reach.
    let copy = std::env::temp_dir().join(format!("vmtrace-{}", std::process::id()));
    std::fs::copy(tool::path()?, &copy).context("cannot copy vmtrace")?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(&copy);
    command.arg("-a").current_dir("/");
    if sys::is_root() {
        command.uid(65534).gid(65534);
    }
    let refused = refuses(&mut command, "CAP_");
    std::fs::remove_file(&copy).context("cannot remove the copy of vmtrace")?;
    refused.map(|()| Verdict::Passed)
}

fn process_and_command() -> Result<Verdict> {
    refuses(&mut tool::vmtrace(&["-p", "1", "--", "ls"])?, "")?;
    Ok(Verdict::Passed)
}

fn no_such_command() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("only root gets as far".into()));
    }
    refuses(&mut tool::vmtrace(&["--", "/no/such"])?, "/no/such")?;
    Ok(Verdict::Passed)
}

/// One line on standard error that holds the word, none on standard output.
fn refuses(command: &mut Command, word: &str) -> Result<()> {
    let output = tool::output(command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "status is {}, said: {said}", output.status);
    let lines = said.lines().filter(|line| !line.trim().is_empty()).count();
    ensure!(lines == 1, "{lines} lines on standard error: {said}");
    ensure!(said.contains(word), "standard error does not name {word:?}: {said}");
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    ensure!(output.stdout.is_empty(), "something on standard output");
    Ok(())
}
