//! Whether a fault costs more with more processes, regions or CPUs. Pure: text
//! in, text out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::figures::tenths;

/// The one that has no faults.
const QUIET: &str = "targets-quiet";

/// What is grown, by the word that the guest calls it.
const GROWN: [(&str, &str); 5] = [
    ("targets", "target processes, faulting in turn"),
    (QUIET, "target processes, a second without a fault"),
    ("regions-first", "regions, each met for the first time"),
    ("regions-again", "regions, each met before"),
    ("cpus", "CPUs, all faulting at once"),
];

/// The table of the guest's lines: `growth WHAT COUNT BARE KERNEL USER SEEN MISSED`.
pub(super) fn table(text: &str) -> Result<String> {
    let mut table = String::from(
        "| with | untraced | kernel | tracer | sum | faults traced | spilled or lost |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("growth ")).peekable();
    lines.peek().context("the guest printed no figures")?;
    for line in lines {
        let row = row(line).with_context(|| format!("cannot read {line:?}"))?;
        let _ = writeln!(table, "{row}");
    }
    Ok(table)
}

fn row(line: &str) -> Option<String> {
    let (what, rest) = line.split_once(' ')?;
    let (word, what) = GROWN.iter().find(|(word, _)| *word == what)?;
    let rest = rest.split(' ').map(|word| word.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let [count, bare, kernel, user, seen, missed] = rest[..] else { return None };
    if *word == QUIET {
        return Some(format!("| {count} {what} | | | {} | | | |", tenths(user)));
    }
    let added = kernel.saturating_sub(bare);
    // Where the clock is that of all CPUs, nothing can be told apart.
    let tracer = if user == 0 { "in it".to_owned() } else { tenths(user) };
    Some(format!(
        "| {count} {what} | {} | {} | {tracer} | {} | {seen} | {missed} |",
        tenths(bare),
        tenths(added),
        tenths(added + user)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_added() {
        let text = "init\ngrowth targets 100 80000 87000 900 4096 0\ngrowth cpus 8 80000 89000 0 7 1\n\
            growth targets-quiet 1 0 0 420 7 1\n";
        let table = table(text).expect("a table");
        assert!(
            table.contains(
                "| 100 target processes, faulting in turn | 8000.0 | 700.0 | 90.0 | 790.0 | 4096 | 0 |"
            ),
            "{table}"
        );
        assert!(table.contains("at once | 8000.0 | 900.0 | in it | 900.0 | 7 | 1 |"), "{table}");
        assert!(table.contains("a second without a fault | | | 42.0 | | | |"), "{table}");
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "growth targets", "growth stars 1 1 1 1 1 1", "growth cpus 1 1 1 1 1"] {
            assert!(table(text).is_err(), "{text}");
        }
    }
}
