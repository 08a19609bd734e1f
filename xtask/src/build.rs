//! Building what the other verbs run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::place;
use crate::process;

/// Builds vmtrace and its tests as a user would build them, and says where
/// they are. The same files run natively and in guests.
pub(crate) fn guest_programs() -> Result<Vec<PathBuf>> {
    release(&["vmtrace", "vmtrace-tests"])?;
    let dir = target()?.join("release");
    Ok(vec![dir.join("vmtrace"), dir.join("vmtrace-tests")])
}

/// vmtrace itself.
pub(crate) fn vmtrace() -> Result<PathBuf> {
    release(&["vmtrace"])?;
    Ok(target()?.join("release/vmtrace"))
}

/// The real-kernel tests, which are also small workloads.
pub(crate) fn tests() -> Result<PathBuf> {
    release(&["vmtrace-tests"])?;
    Ok(target()?.join("release/vmtrace-tests"))
}

fn release(packages: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(place::root()?).args(["build", "--quiet", "--locked", "--release"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)
}

fn target() -> Result<PathBuf> {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(named.unwrap_or(place::root()?.join("target")))
}
