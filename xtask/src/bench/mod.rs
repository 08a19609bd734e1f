//! `cargo xtask bench`: what tracing costs a fault, in instructions.
//!
//! A guest whose clock counts instructions runs `vmtrace-tests bench`, which
//! measures and prints; here the lines become a table, are held against the
//! goals and against the figures that are kept beside this file. They change
//! with the guest's kernel, so they are only compared on the one they are of.
//! `--peers` measures bpftrace and perf beside, `--growth` what becomes of the
//! cost where there is more of everything.

mod figures;
mod growth;
mod native;
mod peers;

use std::path::Path;
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
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
    /// Measure bpftrace and perf too, in the same guest.
    #[arg(long, conflicts_with_all = ["json", "keep"])]
    peers: bool,
    /// With 1 to 10 000 processes, 10 to 100 000 regions and 1 to 8 CPUs.
    #[arg(long, conflicts_with_all = ["peers", "native", "json", "keep", "only", "rounds"])]
    growth: bool,
    /// On this machine's kernel, in nanoseconds, against those of perf and
    /// bpftrace that are installed.
    #[arg(long, conflicts_with_all = ["peers", "json", "keep", "only", "rounds"])]
    native: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.native {
        native::run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let slots = kernel::select(std::slice::from_ref(&options.kernel))?;
    let kernel = kernel::obtain(slots.first().context("no kernel chosen")?)?;
    if options.growth {
        say!("{}", growth::table(&grown(&kernel)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let what = options.peers.then_some("peers");
    let text = measure(&kernel, what, options.rounds, &options.only)?;
    let figures = Figures::read(&kernel.release, &text)?;
    if options.json {
        say!("{}", figures.json());
    } else {
        say!("{}", figures.table());
    }
    if options.peers {
        say!("{}", peers::table(&figures, &text)?);
    }
    if options.keep {
        let file = place::root()?.join(KEPT);
        std::fs::write(&file, figures.text()).context("cannot keep the figures")?;
        note!("kept in {KEPT}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What `vmtrace-tests bench` prints: its usual figures, or those of `what`.
fn measure(kernel: &Kernel, what: Option<&str>, rounds: u32, only: &[String]) -> Result<String> {
    let mut words = what.map(str::to_owned).into_iter().collect::<Vec<_>>();
    words.push(rounds.to_string());
    words.extend(only.iter().cloned());
    let tree = what.map(|_| vm::peers()).transpose()?;
    let machine = Machine { icount: true, timeout: 1800, ..Machine::default() };
    bench(kernel, &machine, tree.as_deref(), words)
}

/// Processes and regions on one CPU; then eight CPUs.
fn grown(kernel: &Kernel) -> Result<String> {
    let machine = Machine { icount: true, timeout: 3600, memory: 6144, ..Machine::default() };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let one = bench(kernel, &machine, None, words(&["growth", "targets", "regions"]))?;
    let machine = Machine { smp: Some(8), ..machine };
    Ok(one + &bench(kernel, &machine, None, words(&["growth", "cpus"]))?)
}

fn bench(
    kernel: &Kernel,
    machine: &Machine,
    tree: Option<&Path>,
    words: Vec<String>,
) -> Result<String> {
    let command = [vec!["vmtrace-tests".to_owned(), "bench".to_owned()], words].concat();
    let programs = build::guest_programs()?;
    let (command, programs) = (&command, &programs);
    let guest = Guest { kernel, machine, programs, command, tree, out: None, show: false };
    let outcome = vm::boot(&guest)?;
    if outcome.status != 0 {
        bail!("vmtrace-tests ended with status {}: {}", outcome.status, outcome.stdout);
    }
    Ok(outcome.stdout)
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
    let text = measure(&kernel, None, 8, &words)?;
    let worse = Figures::read(&kernel.release, &text)?.worse_than(&kept);
    ensure!(worse.is_empty(), "dearer than what is kept in {KEPT}: {}", worse.join("; "));
    Ok(())
}
