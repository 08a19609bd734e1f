//! The command line: arguments and wiring, nothing else.

mod check;
mod demo;
mod diff;
pub mod doctor;
pub mod generate;
pub mod live;
mod log;
pub mod look;
mod record;
pub mod replay;
pub mod show;
pub mod trace;
pub mod view;

use std::io;
use std::process::ExitCode;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  sudo vmtrace -p 4242
      Watch a process: rates and regions each second, a report at Ctrl-C.
  sudo vmtrace -p 4242 -d 10s --class major,cow --by ip
      For ten seconds, only what waited for a disk or copied a page, and the code that did.
  sudo vmtrace -p 4242 --min-latency 100us --events
      One line for each fault that took long.
  sudo vmtrace -- ./service --config x
      From a command's first instruction to its end; its exit status is passed on.
  sudo vmtrace -a -d 30s --format json > faults.json
      The whole machine, for a program to read.
  sudo vmtrace -p 4242 -o run.vmt -d 1m && vmtrace report run.vmt
      Trace once, look many times, on any machine and without root.
  vmtrace diff was.vmt is.vmt --fail-if 'p99(major) > 2ms' --fail-if 'count(cow) > +10%'
      What changed between two runs, and a verdict that a build can fail on.

Which kinds there are and how each is told: docs/kinds.md; the JSON: docs/output-schema.md.";

const USAGE: &str = "\
vmtrace [OPTIONS] <-p PID[,PID…] | -a | --cgroup PATH>
       vmtrace [OPTIONS] -- COMMAND [ARGS…]
       vmtrace SUBCOMMAND …";

/// Which page faults a process takes, of which kind, how long each took, and where
///
/// vmtrace traces every page fault of a process: its class (minor, major, cow, invalid) and
/// precise kind, its latency from entry to return, the region it fell in and the code that caused
/// it. Nothing is sampled and nothing is lost: the report says so by comparing itself with the
/// kernel's own counters.
#[derive(Debug, Parser)]
#[command(
    name = "vmtrace",
    version,
    after_help = EXAMPLES,
    override_usage = USAGE,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(flatten)]
    trace: trace::Arguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report on recordings, as a live trace would have.
    Report(replay::Report),
    /// Print one line for each fault of recordings.
    Events(replay::Events),
    /// Compare two recordings: what changed, and whether that is more than noise.
    Diff(diff::Arguments),
    /// Show every region of a process's address space.
    Maps(look::Maps),
    /// Follow one address down the page tables, and say what touching it would do.
    Walk(look::Walk),
    /// Show the machine's memory, how it fares, and the settings in force.
    System(look::System),
    /// Show who would be killed if memory ran out, and why.
    Oom(look::Oom),
    /// Say what this machine lets vmtrace do, found by trying.
    Doctor(doctor::Doctor),
    /// Provoke page faults of every kind, and say what they are.
    Demo(demo::Demo),
    /// Print a shell's completions, for its completion directory.
    Completions(generate::Completions),
    /// Print the manual page, for `man -l -`.
    Man(generate::Man),
}

/// Runs the command that was typed.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; the rest is a usage error.
            let status = u8::try_from(error.exit_code()).unwrap_or(2);
            error.print()?;
            return Ok(ExitCode::from(status));
        }
    };
    let outcome = match cli.command {
        Some(Command::Report(report)) => report.run(),
        Some(Command::Events(events)) => events.run(),
        Some(Command::Diff(diff)) => diff.run(),
        Some(Command::Maps(maps)) => maps.run(),
        Some(Command::Walk(walk)) => walk.run(),
        Some(Command::System(system)) => system.run(),
        Some(Command::Oom(oom)) => oom.run(),
        Some(Command::Doctor(doctor)) => doctor.run(),
        Some(Command::Demo(arguments)) => demo::run(arguments),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Man(man)) => man.run(),
        None => cli.trace.request().and_then(|request| live::trace(&request)),
    };
    match outcome {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// Whoever read the output has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let json = cause.downcast_ref::<serde_json::Error>();
        io.map(io::Error::kind).or_else(|| json.and_then(serde_json::Error::io_error_kind))
            == Some(io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_closed_pipe_is_told_through_what_wraps_it() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(pipe()).context("writing the report")));
        assert!(is_closed_pipe(&serde_json::Error::io(pipe()).into()));
        assert!(!is_closed_pipe(&io::Error::from(io::ErrorKind::StorageFull).into()));
    }

    #[test]
    fn every_option_is_explained() {
        let command = Cli::command();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{:?}", argument.get_id());
        }
        for option in ["--by", "--min-latency", "--events", "--format", "-o"] {
            assert!(EXAMPLES.contains(option), "no example has {option}");
        }
    }
}
