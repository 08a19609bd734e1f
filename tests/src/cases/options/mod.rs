//! Every option that `--help` shows does something: each has a row in a table, with
//! a check that fails if it did nothing; and an option without a row fails the test.

mod bench;
mod live;
mod looks;
mod views;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};
use bench::Bench;

pub(super) const TESTS: &[Test] = &[Test { name: "options::each-does-something", run: each }];

/// A command (empty for the trace itself), an option, and its check.
type Row = (&'static str, &'static str, fn(&Bench) -> Result<()>);

fn each() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if sys::is_guest() && !crate::is_long() {
        return Ok(Verdict::Skipped("the same as natively: only with --long".into()));
    }
    let rows: Vec<Row> = [views::ROWS, live::ROWS, looks::ROWS].concat();
    complete(&rows)?;
    let bench = Bench::new()?;
    let mut wrong = Vec::new();
    for (command, option, check) in &rows {
        if let Err(error) = check(&bench) {
            wrong.push(format!("{command} {option}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{} do not do what they should: {}", wrong.len(), wrong.join("; "));
    fact("options that do something", &rows.len().to_string());
    Ok(Verdict::Passed)
}

/// Whether the table holds what the help shows, and nothing else.
fn complete(rows: &[Row]) -> Result<()> {
    let mut shown = BTreeSet::new();
    for command in std::iter::once(String::new()).chain(commands()?) {
        for option in options(&command)? {
            shown.insert((command.clone(), option));
        }
    }
    let own = |(command, option, _): &Row| ((*command).to_owned(), (*option).to_owned());
    let tested: BTreeSet<_> = rows.iter().map(own).collect();
    let untested: Vec<_> = shown.difference(&tested).collect();
    let unknown: Vec<_> = tested.difference(&shown).collect();
    ensure!(untested.is_empty(), "no check for {untested:?}");
    ensure!(unknown.is_empty(), "a check for {unknown:?}, which the help does not show");
    Ok(())
}

fn help(command: &str) -> Result<String> {
    let words: Vec<_> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
    let output = tool::output(&mut tool::vmtrace(&words)?)?;
    ensure!(output.status.success(), "{words:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The subcommands: what stands indented under `Commands:`.
fn commands() -> Result<Vec<String>> {
    let text = help("")?;
    let (_, below) = text.split_once("Commands:\n").context("the help lists no commands")?;
    let lines = below.lines().take_while(|line| line.starts_with("  "));
    let words = lines.filter_map(|line| line.split_ascii_whitespace().next());
    let found: Vec<_> = words.filter(|&word| word != "help").map(str::to_owned).collect();
    ensure!(found.len() > 8, "only {found:?}");
    Ok(found)
}

/// The long names of a command's options.
fn options(command: &str) -> Result<Vec<String>> {
    let text = help(command)?;
    let lines = text
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-') && !line.starts_with("- "));
    let names = lines.filter_map(|line| {
        let name = line.split([' ', ',', '=']).find(|word| word.starts_with("--"))?;
        let is_name = |sign: char| sign.is_ascii_lowercase() || sign == '-';
        (name.len() > 2 && name.chars().all(is_name)).then(|| name.to_owned())
    });
    // These are clap's own.
    Ok(names.filter(|name| name != "--help" && name != "--version").collect())
}
