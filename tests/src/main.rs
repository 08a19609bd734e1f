//! vmtrace against a real kernel: natively as root, or inside a guest.
//!
//! `vmtrace-tests [--long] [NAME…]` runs the tests whose names contain one of the given
//! words and prints a line for each; `vmtrace-tests workload …` is what they
//! trace, and `vmtrace-tests bench …` measures what tracing costs, and what others cost.

mod backends;
mod bench;
mod cases;
mod child;
mod harness;
mod played;
mod sys;
mod tool;
mod workload;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the tests run at full length.
static LONG: AtomicBool = AtomicBool::new(false);

fn is_long() -> bool {
    LONG.load(Ordering::Relaxed)
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).collect::<Vec<_>>();
    if words.first().is_some_and(|word| word == "--long") {
        words.remove(0);
        LONG.store(true, Ordering::Relaxed);
    }
    let done = match words.split_first() {
        Some((verb, rest)) if verb == "workload" => workload::run(rest),
        Some((verb, rest)) if verb == "bench" => bench::run(rest),
        Some((verb, _)) if verb == "--list" => harness::list(&cases::all()),
        _ => harness::run(&cases::all(), &words),
    };
    done.unwrap_or_else(|error| {
        harness::print(format_args!("vmtrace-tests: {error:#}"));
        ExitCode::from(2)
    })
}
