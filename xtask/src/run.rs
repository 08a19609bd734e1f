//! `cargo xtask run`: vmtrace as a newcomer wants to see it first.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::build;
use crate::process;
use crate::root;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// vmtrace's own arguments; without any, it traces its own demo.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let vmtrace = build::vmtrace()?;
    let mut command = root::command(&vmtrace, true)?;
    if options.arguments.is_empty() {
        // What a newcomer sees: every kind of fault provoked, what each was expected to be
        // and what vmtrace saw.
        command.args(["demo", "--check"]);
    } else {
        command.args(&options.arguments);
    }
    let status =
        command.status().with_context(|| format!("cannot run `{}`", process::typed(&command)))?;
    // A shell tells a signal's number so, too.
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
