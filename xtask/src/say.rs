//! The one way this program speaks: results to standard output, progress to
//! standard error. A closed stream is nobody's error here.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// Prints a line that the caller asked for.
pub(crate) fn result(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line about what is being done.
pub(crate) fn progress(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A line to standard output.
macro_rules! say {
    ($($arg:tt)*) => { $crate::say::result(format_args!($($arg)*)) };
}

/// A line to standard error.
macro_rules! note {
    ($($arg:tt)*) => { $crate::say::progress(format_args!($($arg)*)) };
}

pub(crate) use {note, say};
