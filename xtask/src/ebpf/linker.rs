//! `bpf-linker`, in the one version that shares rustc's LLVM.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::place;
use crate::process;
use crate::say::note;

/// 0.10.3 reads the bitcode of rustc 1.95's LLVM 22; 0.11 wants LLVM 23.
const VERSION: &str = "0.10.3";

/// Where the linker is or would be.
pub(super) fn path() -> Result<PathBuf> {
    Ok(place::cache(&format!("bpf-linker-{VERSION}"))?.join("bin/bpf-linker"))
}

/// The linker in the project's cache, built on first use. A system-wide one
/// is not taken: its LLVM may be another and build another object.
pub(super) fn obtain() -> Result<PathBuf> {
    let linker = path()?;
    if linker.is_file() {
        return Ok(linker);
    }
    note!("building bpf-linker {VERSION} into .cache (once, about 90 s)");
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "--quiet", "--locked", "bpf-linker", "--version", VERSION, "--root"]);
    cargo.arg(place::cache(&format!("bpf-linker-{VERSION}"))?);
    cargo.arg("--target-dir").arg(place::root()?.join("target/bpf-linker"));
    // LLVM does its work; an unpolished driver of it is built in half the time.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    process::run(&mut cargo).context(
        "bpf-linker could not be built; it needs crates.io, or a copy of the program in .cache",
    )?;
    Ok(linker)
}
