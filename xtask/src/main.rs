//! vmtrace's chores: build, run, test, boot a kernel.

fn main() {}
