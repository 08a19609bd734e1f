//! The `vmtrace` command.

fn main() {}
