//! vmtrace against a real kernel: natively as root, or inside a guest.
//!
//! `vmtrace-tests [NAME…]` runs the tests whose names contain one of the given
//! words and prints a line for each; `vmtrace-tests workload …` is what they
//! trace.

mod cases;
mod harness;
mod sys;
mod tool;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let done = match words.split_first() {
        Some((verb, rest)) if verb == "workload" => workload::run(rest),
        Some((verb, _)) if verb == "--list" => harness::list(&cases::all()),
        _ => harness::run(&cases::all(), &words),
    };
    done.unwrap_or_else(|error| {
        harness::print(format_args!("vmtrace-tests: {error:#}"));
        ExitCode::from(2)
    })
}
