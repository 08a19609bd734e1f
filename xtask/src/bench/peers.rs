//! bpftrace and perf beside vmtrace: who costs a fault how much. Pure: text in,
//! text out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::figures::{Figures, tenths};

/// What each does, and the ways of vmtrace that do at least that.
const RIVALS: [(&str, &str, &[&str]); 9] = [
    (
        "bpftrace-fentry-region",
        "bpftrace fentry, latency histogram per pid and VMA start",
        &["fentry-tally", "fentry-streamed"],
    ),
    (
        "bpftrace-fentry",
        "bpftrace fentry, latency histogram per comm",
        &["fentry-tally", "fentry-streamed"],
    ),
    (
        "bpftrace-kprobe",
        "bpftrace kprobe, latency histogram per comm",
        &["kprobe-tally", "kprobe-streamed"],
    ),
    (
        "bpftrace-software",
        "bpftrace page_fault_user and software events, latency histogram per comm",
        &["tracepoint-tally", "tracepoint-streamed"],
    ),
    ("bpftrace-count", "bpftrace fexit, count per comm, no latency", &["fentry-tally"]),
    ("bpftrace-lines", "bpftrace fentry, a line per fault", &["fentry-events"]),
    ("perf-record", "perf record -e page-faults -c 1 -d, no latency", &["fentry-recorded"]),
    ("perf-trace", "perf trace -F all, no latency", &["fentry-events"]),
    (
        "perf-stat",
        "perf stat -e page-faults,minor-faults,major-faults, three numbers",
        &["fentry-tally"],
    ),
];

/// One tool's figure: in tenths of an instruction, and in faults.
#[derive(Debug)]
struct Peer<'a> {
    name: &'a str,
    kernel: u64,
    user: u64,
    seen: u64,
    faults: u64,
}

impl<'a> Peer<'a> {
    /// Reads `peer NAME KERNEL USER SEEN FAULTS`.
    fn read(line: &'a str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("peer ")?.split_once(' ')?;
        let rest = rest.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<_>>>()?;
        let [kernel, user, seen, faults] = rest[..] else { return None };
        Some(Self { name, kernel, user, seen, faults })
    }

    /// How many it has not told of. What else the process faulted hides up to a
    /// few.
    fn lost(&self) -> String {
        match self.faults.saturating_sub(self.seen) {
            0 => "none".to_owned(),
            lost => format!("{lost} of {}", self.faults),
        }
    }
}

/// The table: a line for each peer and each way of vmtrace that does its job.
pub(super) fn table(figures: &Figures, text: &str) -> Result<String> {
    let peers = text.lines().filter_map(Peer::read).collect::<Vec<_>>();
    let mut table = String::from(
        "| peer | kernel | tool | sum | lost | vmtrace | sum | peer / vmtrace |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for peer in &peers {
        let (_, what, rivals) = RIVALS
            .iter()
            .find(|(name, ..)| *name == peer.name)
            .with_context(|| format!("nothing is known of {}", peer.name))?;
        let kernel = peer.kernel.saturating_sub(figures.bare());
        let sum = kernel + peer.user;
        let (own, beside, all) = (tenths(kernel), tenths(peer.user), tenths(sum));
        let head = format!("| {what} | {own} | {beside} | {all} | {} |", peer.lost());
        let measured = rivals.iter().filter_map(|name| Some((name, figures.sum(name)?)));
        let mut measured = measured.peekable();
        if measured.peek().is_none() {
            let _ = writeln!(table, "{head} not measured | | |");
        }
        for (rival, ours) in measured {
            let (rival, times) = (rival.replace('-', " "), ratio(sum, ours));
            let _ = writeln!(table, "{head} {rival} | {} | {times} |", tenths(ours));
        }
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("refused ")) {
        let _ = writeln!(table, "\nnot measured: {line}");
    }
    Ok(table)
}

/// With two decimals.
fn ratio(peer: u64, ours: u64) -> String {
    match (peer * 100).checked_div(ours) {
        Some(hundredths) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_each_peer_against_its_rivals() {
        let text = "bench untraced 70000 0\nbench fentry-tally 76000 100\n\
            peer bpftrace-fentry 85000 500 1000 1000\npeer perf-stat 74000 0 900 1000\n\
            peer perf-trace 80000 900 1000 1000\nrefused perf-record: it ended\n";
        let figures = Figures::read("6.12", text).expect("figures");
        let table = table(&figures, text).expect("a table");
        assert!(
            table.contains("| 1500.0 | 50.0 | 1550.0 | none | fentry tally | 610.0 | 2.54 |"),
            "{table}"
        );
        assert!(table.contains("| 400.0 | 0.0 | 400.0 | 100 of 1000 | fentry tally |"), "{table}");
        assert!(!table.contains("streamed"), "{table}");
        assert!(table.ends_with("\nnot measured: perf-record: it ended\n"), "{table}");
        assert!(table.contains("| none | not measured | | |"), "{table}");
    }

    #[test]
    fn a_peer_that_nobody_knows_is_an_error() {
        let text = "bench untraced 70000 0\npeer other 1 1 1 1\n";
        let figures = Figures::read("6.12", text).expect("figures");
        assert!(table(&figures, text).is_err());
        assert!(Peer::read("peer other 1 1").is_none());
    }
}
