//! vmtrace against a real kernel.

fn main() {}
