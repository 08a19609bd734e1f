//! The command line: arguments and wiring, nothing else.

mod demo;
pub mod look;

use std::process::ExitCode;

use clap::Parser;

/// Which page faults a process takes, of which kind, how long each took, and where.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Looking without tracing, replaying, and everything that is not a live trace.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Demo(demo::Demo),
    /// Show every region of a process's address space.
    Maps(look::Maps),
    /// Follow one address down the page tables, and say what touching it would do.
    Walk(look::Walk),
    /// Show the machine's memory, how it fares, and the settings in force.
    System(look::System),
    /// Show who would be killed if memory ran out, and why.
    Oom(look::Oom),
}

/// Runs the command that was typed.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Demo(arguments)) => demo::run(arguments),
        Some(Command::Maps(maps)) => maps.run(),
        Some(Command::Walk(walk)) => walk.run(),
        Some(Command::System(system)) => system.run(),
        Some(Command::Oom(oom)) => oom.run(),
        None => Ok(ExitCode::SUCCESS),
    }
}
