//! `cargo xtask test`: everything that can be said about this tree.

mod lines;
mod summary;
mod support;
mod truth;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::kernel::{self, Slot};
use crate::say::{note, say};
use crate::vm::{self, Guest, Machine};
use crate::{bench, build, ebpf, lint, place, process, root};
use lines::Tally;
use summary::Row;

/// Programs that virtual machines need, and Debian's packages that have them.
pub(crate) const NEEDED: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mkfs.ext4", "e2fsprogs"),
    ("curl", "curl"),
    ("xz", "xz-utils"),
];

/// Seconds that a guest may take with tests at full length.
const LONG_GUEST: u64 = 7200;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub(crate) struct Options {
    /// Only the tests of real eBPF programs, on this machine's kernel.
    #[arg(long)]
    native: bool,
    /// Only virtual machines: the named kernels, or the whole matrix.
    #[arg(long, num_args = 0.., value_name = "KERNEL")]
    vm: Option<Vec<String>>,
    /// A kernel that cannot be had is skipped and does not fail the run.
    #[arg(long)]
    allow_missing: bool,
    /// Write docs/kernel-support.md and, with --long, docs/truth.md from what the tests found.
    #[arg(long)]
    write_support: bool,
    /// The tests at full length: a million faults where twenty thousand do otherwise;
    /// with guests, what tracing costs as well.
    #[arg(long)]
    long: bool,
    /// How many guests run at once: each keeps one CPU of this machine busy.
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
    /// Only real-kernel tests whose names contain one of these words.
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let everything = !options.native && options.vm.is_none();
    let with_guests = everything || options.vm.is_some();
    // First of all: rebuilding the eBPF object may have to fetch as well.
    let ready = if with_guests { root::require(&NEEDED) } else { Ok(()) };
    let mut rows = Vec::new();
    if everything {
        rows.extend(source(options.long));
    }
    if everything || options.native {
        rows.push(row(native_name(), || native(options)));
    }
    if with_guests {
        let slots = kernel::select(options.vm.as_deref().unwrap_or_default())?;
        match &ready {
            Ok(()) => {
                rows.extend(guests(&slots, options)?);
                // Alone, after the others, and only where time is no object: a
                // minute or two for a guest that runs one instruction at a time.
                if options.long {
                    rows.push(step("what tracing costs", bench::check));
                }
            }
            Err(error) => rows.extend(
                slots
                    .iter()
                    .map(|slot| missing(slot.name, &format!("{error:#}"), options.allow_missing)),
            ),
        }
    }
    tell_support(&rows, options)?;
    let sound = summary::print(&rows);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what the tests found on each kernel, and keeps it where that was asked for.
fn tell_support(rows: &[Row], options: &Options) -> Result<()> {
    let kernels = rows.iter().filter(|row| !row.tally.facts.is_empty());
    let kernels = kernels.map(|row| (row.place.as_str(), row.tally.facts.as_slice()));
    let kernels = kernels.collect::<Vec<_>>();
    let pages =
        [("kernel-support.md", support::page(&kernels)), ("truth.md", truth::page(&kernels))];
    let docs = place::root()?.join("docs");
    for (name, page) in pages {
        let Some(page) = page else { continue };
        say!("{page}");
        // A part of the matrix is not to take the place of the whole.
        if options.write_support && (name != "truth.md" || options.long) {
            place::make_dir(&docs)?;
            std::fs::write(docs.join(name), page)
                .with_context(|| format!("cannot write docs/{name}"))?;
        }
    }
    Ok(())
}

/// What needs no kernel of any kind.
fn source(long: bool) -> Vec<Row> {
    vec![
        step("format", lint::format),
        step("lints", lint::clippy),
        step("lints of the eBPF programs", lint::clippy_ebpf),
        step("the eBPF object", ebpf::check),
        row("unit tests".to_owned(), || unit(long)),
    ]
}

/// A step that passes or fails as a whole.
fn step(name: &str, check: fn() -> Result<()>) -> Row {
    row(name.to_owned(), || check().map(|()| Tally { passed: 1, ..Tally::default() }))
}

/// Runs one step; its error is its failure and not the end.
fn row(place: String, step: impl FnOnce() -> Result<Tally>) -> Row {
    note!("── {place}");
    let began = Instant::now();
    let tally = step().unwrap_or_else(|error| {
        note!("{error:#}");
        Tally::failed(format!("{error:#}").lines().next().unwrap_or_default().to_owned())
    });
    Row { place, tally, took: began.elapsed() }
}

fn unit(long: bool) -> Result<Tally> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(place::root()?).args(["test", "--locked", "--no-fail-fast"]);
    cargo.args(["--workspace", "--exclude", "vmtrace-ebpf"]);
    if long {
        cargo.env("VMTRACE_LONG", "1");
    }
    let output =
        cargo.output().with_context(|| format!("cannot run `{}`", process::typed(&cargo)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tally = lines::unit(&text);
    if !output.status.success() {
        note!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
        ensure!(!tally.failed.is_empty(), "`{}` failed: {}", process::typed(&cargo), output.status);
    }
    Ok(tally)
}

fn native_name() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("native {}", release.trim())
}

/// The real-kernel tests here. Not being root skips them: everything else can
/// still be said.
fn native(options: &Options) -> Result<Tally> {
    build::guest_programs()?;
    let mut command = match root::command(&build::tests()?, false) {
        Ok(command) => command,
        Err(error) => return Ok(Tally::skipped(format!("{error:#}"))),
    };
    let long = options.long.then_some("--long");
    let output =
        command.args(long).args(&options.only).output().context("cannot run vmtrace-tests")?;
    let text = String::from_utf8_lossy(&output.stdout);
    note!("{}{}", text, String::from_utf8_lossy(&output.stderr));
    Ok(lines::real_kernel(&text))
}

/// All guests, a few at a time.
fn guests(slots: &[&Slot], options: &Options) -> Result<Vec<Row>> {
    build::guest_programs()?;
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, slot)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    slots.get(index).map(|slot| (index, *slot))
                } {
                    let row = guest(slot, options);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((index, row));
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(index, _)| *index);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn guest(slot: &Slot, options: &Options) -> Row {
    let kernel = match kernel::obtain(slot) {
        Ok(kernel) => kernel,
        Err(error) => return missing(slot.name, &format!("{error:#}"), options.allow_missing),
    };
    row(format!("guest {} ({})", kernel.series, kernel.version), || {
        let mut programs = build::guest_programs()?;
        let mut machine = Machine { numa: true, swap: true, ..Machine::default() };
        if options.long {
            programs.extend(process::find(Path::new("stress-ng")));
            machine.timeout = LONG_GUEST;
            // A page of 1 GiB, to be walked to.
            machine.memory = 4096;
            machine.append = Some("hugepagesz=1G hugepages=1".to_owned());
        }
        let mut command = vec!["vmtrace-tests".to_owned()];
        if options.long {
            command.push("--long".to_owned());
        }
        command.extend(options.only.iter().cloned());
        let guest = Guest {
            kernel: &kernel,
            machine: &machine,
            programs: &programs,
            command: &command,
            tree: None,
            out: None,
            show: false,
        };
        let outcome = vm::boot(&guest)?;
        note!("── guest {} said\n{}", kernel.series, outcome.stdout);
        let mut tally = lines::real_kernel(&outcome.stdout);
        if outcome.status != 0 && tally.failed.is_empty() {
            tally.failed.push(format!("vmtrace-tests ended with status {}", outcome.status));
        }
        Ok(tally)
    })
}

/// A kernel that could not be tested is named either way.
fn missing(name: &str, why: &str, allowed: bool) -> Row {
    let why = format!("not tested: {}", why.lines().next().unwrap_or_default());
    let tally = if allowed { Tally::skipped(why) } else { Tally::failed(why) };
    Row { place: format!("guest {name}"), tally, took: std::time::Duration::ZERO }
}
