//! `cargo xtask vm`: boots a kernel of the matrix and runs one command in it.

mod boot;
mod console;
mod disk;
mod image;
mod machine;

pub(crate) use boot::{Guest, boot};
pub(crate) use machine::Machine;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::debian::tree;
use crate::kernel;
use crate::process;
use crate::say::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A series of the matrix, `forky` or `rc`.
    kernel: String,
    #[command(flatten)]
    machine: Machine,
    /// A prompt instead of a command; `exit` ends the guest.
    #[arg(long, conflicts_with = "command")]
    shell: bool,
    /// A program of this machine to take along, with its libraries.
    #[arg(long, value_name = "PROGRAM")]
    with: Vec<PathBuf>,
    /// Take bpftrace and perf along: `chroot /peers bpftrace …`.
    #[arg(long)]
    peers: bool,
    /// Where to put what the command left in the guest's /out.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the kernel's console too.
    #[arg(long)]
    console: bool,
    /// What to run; vmtrace, vmtrace-tests and busybox are there.
    #[arg(last = true)]
    command: Vec<String>,
}

/// A tree with the tools that vmtrace is compared with.
pub(crate) fn peers() -> Result<PathBuf> {
    tree::obtain("trixie", &["bpftrace", "linux-perf"])
}

/// Runs the command in a guest; its exit status is ours.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.command.is_empty() && !options.shell {
        bail!("say what to run after `--`, or --shell");
    }
    let slots = kernel::select(std::slice::from_ref(&options.kernel))?;
    let slot = slots.first().context("no kernel chosen")?;
    let kernel = kernel::obtain(slot)?;
    let mut programs = build::guest_programs()?;
    for program in &options.with {
        let found = program.is_file().then(|| program.clone()).or_else(|| process::find(program));
        programs.push(found.with_context(|| format!("no program {}", program.display()))?);
    }
    let tree = options.peers.then(peers).transpose()?;
    let guest = Guest {
        kernel: &kernel,
        machine: &options.machine,
        programs: &programs,
        command: &options.command,
        tree: tree.as_deref(),
        out: options.out.as_deref(),
        show: true,
    };
    let outcome = boot(&guest)?;
    if options.console {
        note!("{}", outcome.console);
    }
    note!(
        "{}: exit {} after {:.1} s ({:.1} s to boot)",
        kernel.release,
        outcome.status,
        outcome.took.as_secs_f64(),
        outcome.booted.as_secs_f64()
    );
    Ok(ExitCode::from(u8::try_from(outcome.status).unwrap_or(1)))
}
