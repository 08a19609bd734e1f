//! `cargo xtask run`: vmtrace as a newcomer wants to see it first.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build;
use crate::process;
use crate::root;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// vmtrace's own arguments; without any, a small workload is traced.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let vmtrace = build::vmtrace()?;
    let mut command = root::command(&vmtrace, true)?;
    if options.arguments.is_empty() {
        showcase(&vmtrace, &mut command);
    } else {
        command.args(&options.arguments);
    }
    let status =
        command.status().with_context(|| format!("cannot run `{}`", process::typed(&command)))?;
    // A shell tells a signal's number so, too.
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// What a newcomer sees: vmtrace tracing its own demo, from the first fault to
/// the end. The scenarios say in words what the report then shows in numbers.
fn showcase(vmtrace: &Path, command: &mut Command) {
    command.arg("--").arg(vmtrace).args(["demo", "anon", "cow"]);
}
