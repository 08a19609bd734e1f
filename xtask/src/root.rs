//! Being root: eBPF programs are loaded by nobody else.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    process::read_text(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

/// A command that runs a program as root: as it is, or through sudo. With
/// `ask`, sudo may ask for a password.
pub(crate) fn command(program: &Path, ask: bool) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = process::find("sudo") else {
        bail!("tracing needs root, and there is no sudo: run this as root");
    };
    let silent = Command::new(&sudo).args(["-n", "true"]).output();
    if !ask && !silent.is_ok_and(|output| output.status.success()) {
        bail!("tracing needs root, and sudo would ask for a password");
    }
    let mut command = Command::new(sudo);
    command.arg("--").arg(program);
    Ok(command)
}

/// Installs Debian packages that provide the missing programs, where we may.
/// Says what a user has to do where we may not.
pub(crate) fn require(programs: &[(&str, &str)]) -> Result<()> {
    let missing = |programs: &[(&str, &str)]| {
        let gone = programs.iter().filter(|(program, _)| process::find(program).is_none());
        gone.map(|(_, package)| (*package).to_owned()).collect::<Vec<_>>()
    };
    let packages = missing(programs);
    if packages.is_empty() {
        return Ok(());
    }
    let advice = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_root() || process::find("apt-get").is_none() {
        bail!("missing programs; as root: {advice}");
    }
    crate::say::note!("installing {}", packages.join(" "));
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(words);
        process::read(&mut apt)
    };
    // An index may be missing altogether, but one source that fails is no
    // reason to give up: the package may come from another.
    let _ = apt(&["update"]);
    apt(&[&["install", "--yes", "--no-install-recommends"], &*words(&packages)].concat())?;
    let still = missing(programs);
    if !still.is_empty() {
        bail!("apt-get installed {}, but its program is not found", still.join(" "));
    }
    Ok(())
}

fn words(packages: &[String]) -> Vec<&str> {
    packages.iter().map(String::as_str).collect()
}
