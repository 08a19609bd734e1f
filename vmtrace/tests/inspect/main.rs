//! Looking without tracing, against a running kernel. What a machine cannot show
//! (no root, no swap, no cgroups) is skipped, and the test prints why.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test cannot do is its failure; what it skips, it says"
)]

mod children;
mod many;
mod memory;
mod oom;
mod totals;
mod walk;
