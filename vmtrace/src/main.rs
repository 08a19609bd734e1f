//! The `vmtrace` command.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match vmtrace::cli::run() {
        Ok(code) => code,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "vmtrace: {error:#}");
            ExitCode::from(2)
        }
    }
}
