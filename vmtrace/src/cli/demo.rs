//! `vmtrace demo`: its arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::check;
use crate::demo::{self, Options, Voice};
use crate::probe::backend::Backend;

/// How declarations are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// In words, for people.
    #[default]
    Text,
    /// One JSON object a line, for a checker.
    Json,
    /// Nothing.
    None,
}

/// Play scenarios that fault in a known way: so many faults, of this kind, there.
///
/// Each runs in a process of its own and declares what a tracer has to find.
/// `vmtrace -- vmtrace demo cow` shows some of them traced; `vmtrace demo --check` traces
/// all and prints what it saw beside what it had to see.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Scenarios, themes (`cow`, `swap`, `invalid`) or the start of names (`file`); all without any.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Explain each scenario in two lines.
    #[arg(long, conflicts_with_all = ["scenarios", "format"])]
    list: bool,
    /// How to print what happened.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Append what happened to a file, one JSON object a line.
    #[arg(long, value_name = "FILE", env = "VMTRACE_DEMO_DECLARE")]
    declare: Option<PathBuf>,
    /// Trace the scenarios, and print what was expected beside what was observed.
    #[arg(long, conflicts_with_all = ["list", "format", "declare"])]
    check: bool,
    /// How to attach for --check: auto takes the best that works.
    #[arg(long, value_name = "BACKEND", default_value = "auto", requires = "check", value_parser = ["auto", "fentry", "kprobe", "tracepoint"])]
    backend: String,
    /// Play one scenario in this very process.
    #[arg(long, hide = true, value_name = "SCENARIO", requires = "given")]
    child: Option<String>,
    /// What the parent provides for it.
    #[arg(long, hide = true, value_name = "JSON")]
    given: Option<String>,
}

/// Runs it.
pub(super) fn run(arguments: Demo) -> anyhow::Result<ExitCode> {
    if let (Some(child), Some(given)) = (&arguments.child, &arguments.given) {
        return demo::child(child, given);
    }
    if arguments.list {
        demo::list(&mut std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        let backend = Backend::ALL.into_iter().find(|one| one.name() == arguments.backend);
        return check::run(&arguments.scenarios, backend);
    }
    let voice = match arguments.format {
        Format::Text => Voice::Prose,
        Format::Json => Voice::Json,
        Format::None => Voice::None,
    };
    demo::run(&Options { names: arguments.scenarios, voice, declare: arguments.declare })
}
