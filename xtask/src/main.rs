//! vmtrace's chores: build, run, test, boot a kernel.

mod bench;
mod build;
mod debian;
mod doctor;
mod ebpf;
mod kernel;
mod lint;
mod place;
mod process;
mod root;
mod run;
mod say;
mod test;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// vmtrace's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
enum Verb {
    /// Build vmtrace and run it as root; without arguments, on a small workload.
    Run(run::Options),
    /// Test everything: format, lints, units, the eBPF object, real kernels.
    Test(test::Options),
    /// Measure what tracing costs a fault, in instructions.
    Bench(bench::Options),
    /// Check the format and the lints.
    Lint,
    /// Say what this machine can build and run.
    Doctor,
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
        Verb::Run(options) => return run::run(options),
        Verb::Test(options) => return test::run(options),
        Verb::Bench(options) => return bench::run(options),
        Verb::Lint => lint::run()?,
        Verb::Doctor => doctor::run()?,
        Verb::Ebpf(options) => ebpf::run(options)?,
        Verb::Kernel(options) => kernel::run(options)?,
        Verb::Vm(options) => return vm::run(options),
    }
    Ok(ExitCode::SUCCESS)
}
