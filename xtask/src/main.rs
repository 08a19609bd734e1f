//! vmtrace's chores: build, run, test, boot a kernel.

mod build;
mod debian;
mod ebpf;
mod kernel;
mod place;
mod process;
mod say;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// vmtrace's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
enum Verb {
    /// Rebuild the eBPF object that is committed beside its source.
    Ebpf(ebpf::Options),
    /// Fetch the kernels that virtual machines boot, and list them.
    Kernel(kernel::Options),
    /// Boot a kernel and run a command in it.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match run(&Verb::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::note!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Ebpf(options) => ebpf::run(options)?,
        Verb::Kernel(options) => kernel::run(options)?,
        Verb::Vm(options) => return vm::run(options),
    }
    Ok(ExitCode::SUCCESS)
}
