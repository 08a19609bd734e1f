//! Running tests one after the other. Each prints one line that starts with
//! `PASS`, `FAIL` or `SKIP`, the last two with a reason; `cargo xtask test`
//! reads them.

use std::fmt::Arguments;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// How a test ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Why this machine cannot run it.
    Skipped(String),
}

/// A test: its name and what it does.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Result<Verdict>,
}

/// Prints a line. Nobody is left to tell when standard output is closed.
pub(crate) fn print(line: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a fact about this kernel: `cargo xtask test` collects such lines
/// into `docs/kernel-support.md` and `docs/truth.md`.
pub(crate) fn fact(key: &str, value: &str) {
    print(format_args!("FACT {key}: {value}"));
}

/// The names, one a line.
#[expect(clippy::unnecessary_wraps, reason = "one of several verbs that may fail")]
pub(crate) fn list(tests: &[Test]) -> Result<ExitCode> {
    for test in tests {
        print(format_args!("{}", test.name));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the tests that the words choose, all of them without words.
#[expect(clippy::unnecessary_wraps, reason = "one of several verbs that may fail")]
pub(crate) fn run(tests: &[Test], words: &[String]) -> Result<ExitCode> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in tests {
        if !words.is_empty() && !words.iter().any(|word| test.name.contains(word.as_str())) {
            continue;
        }
        let began = Instant::now();
        let verdict = (test.run)();
        let took = began.elapsed().as_millis();
        match verdict {
            Ok(Verdict::Passed) => {
                passed += 1;
                print(format_args!("PASS {} ({took} ms)", test.name));
            }
            Ok(Verdict::Skipped(why)) => {
                skipped += 1;
                print(format_args!("SKIP {}: {}", test.name, one_line(&why)));
            }
            Err(error) => {
                failed += 1;
                print(format_args!("FAIL {}: {}", test.name, one_line(&format!("{error:#}"))));
            }
        }
    }
    print(format_args!("{passed} passed, {failed} failed, {skipped} skipped"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A reason on one line: a reader goes by lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_on_a_line() {
        assert_eq!(one_line("a\n\n  b\r\nc"), "a | b | c");
        assert_eq!(one_line(""), "");
    }
}
