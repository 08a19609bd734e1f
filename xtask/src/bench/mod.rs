//! `cargo xtask bench`: what tracing costs a fault, in instructions.
//!
//! A guest whose clock counts instructions runs `vmtrace-tests bench`, which
//! measures and prints; here the lines become a table, are held against the
//! goals and against the figures that are kept beside this file. They change
//! with the guest's kernel, so they are only compared on the one they are of.

mod figures;
mod native;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

use crate::build;
use crate::kernel::{self, Kernel};
use crate::place;
use crate::say::{note, say};
use crate::vm::{self, Guest, Machine};
use figures::Figures;

/// The kernel that the goals and the kept figures are for.
const USUAL: &str = "6.12";
/// Where the figures are kept.
const KEPT: &str = "xtask/src/bench/kept.txt";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A series of the matrix, `forky` or `rc`.
    #[arg(long, default_value = USUAL)]
    kernel: String,
    /// Rounds of 4096 faults to a figure.
    #[arg(long, default_value_t = 8, value_name = "N")]
    rounds: u32,
    /// Only figures whose names contain one of these words.
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// One JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// Keep the figures as those that `cargo xtask test --long` compares with.
    #[arg(long, conflicts_with = "only")]
    keep: bool,
    /// On this machine's kernel, in nanoseconds, against perf.
    #[arg(long)]
    native: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.native {
        native::run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let slots = kernel::select(std::slice::from_ref(&options.kernel))?;
    let kernel = kernel::obtain(slots.first().context("no kernel chosen")?)?;
    let figures = measure(&kernel, options.rounds, &options.only)?;
    if options.json {
        say!("{}", figures.json());
    } else {
        say!("{}", figures.table());
    }
    if options.keep {
        let file = place::root()?.join(KEPT);
        std::fs::write(&file, figures.text()).context("cannot keep the figures")?;
        note!("kept in {KEPT}");
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(kernel: &Kernel, rounds: u32, only: &[String]) -> Result<Figures> {
    let mut command = vec!["vmtrace-tests".to_owned(), "bench".to_owned(), rounds.to_string()];
    command.extend(only.iter().cloned());
    let guest = Guest {
        kernel,
        machine: &Machine { icount: true, timeout: 1800, ..Machine::default() },
        programs: &build::guest_programs()?,
        command: &command,
        tree: None,
        out: None,
        show: false,
    };
    let outcome = vm::boot(&guest)?;
    if outcome.status != 0 {
        bail!("vmtrace-tests ended with status {}: {}", outcome.status, outcome.stdout);
    }
    Figures::read(&kernel.release, &outcome.stdout)
}

/// The best backend's figures against those kept: none may have grown by more
/// than 2 %.
pub(crate) fn check() -> Result<()> {
    let file = place::root()?.join(KEPT);
    let kept = std::fs::read_to_string(&file).context("no figures are kept")?;
    let kept = Figures::kept(&kept)?;
    let slots = kernel::select(&[USUAL.to_owned()])?;
    let kernel = kernel::obtain(slots.first().context("no kernel chosen")?)?;
    if kernel.release != kept.kernel {
        note!("the figures kept are of {}, this is {}: not compared", kept.kernel, kernel.release);
        return Ok(());
    }
    let words = ["fentry-others", "fentry-streamed", "fentry-tally"].map(str::to_owned);
    let worse = measure(&kernel, 8, &words)?.worse_than(&kept);
    ensure!(worse.is_empty(), "dearer than what is kept in {KEPT}: {}", worse.join("; "));
    Ok(())
}
