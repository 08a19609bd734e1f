//! `cargo xtask lint`: the format and the lints, as CI wants them.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::ebpf;
use crate::place;
use crate::process;
use crate::say::note;

/// Runs all three, whichever fails: who mends lints wants to see them all.
pub(crate) fn run() -> Result<()> {
    let mut failed = 0;
    for check in [format, clippy, clippy_ebpf] {
        if let Err(error) = check() {
            note!("{error:#}");
            failed += 1;
        }
    }
    ensure!(failed == 0, "{failed} of 3 checks failed");
    Ok(())
}

/// Nothing that rustfmt would change.
pub(crate) fn format() -> Result<()> {
    process::run(cargo()?.args(["fmt", "--all", "--check"]))
}

/// No warning in what runs in user space, its tests included.
pub(crate) fn clippy() -> Result<()> {
    let mut cargo = cargo()?;
    cargo.args(["clippy", "--quiet", "--locked", "--workspace", "--exclude", "vmtrace-ebpf"]);
    process::run(cargo.args(["--all-targets", "--", "-D", "warnings"]))
}

/// No warning in the eBPF programs, for the target they are built for.
pub(crate) fn clippy_ebpf() -> Result<()> {
    process::run(ebpf::cargo("clippy")?.args(["--quiet", "--", "-D", "warnings"]))
}

fn cargo() -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(place::root()?);
    Ok(cargo)
}
