//! The report as a page for people: read from top to bottom in ten seconds.

mod parts;

use std::io::{self, Write};

use super::Summary;
use super::summary::{Limits, ProcessSummary};
use crate::term::Screen;
use crate::term::colour::Ink;
use crate::term::escape;
use crate::term::units::{bytes, count, nanoseconds};

/// How much a page holds unless `--top` says otherwise.
pub const LIMITS: Limits = Limits { processes: 10, regions: 10 };
/// Processes whose histogram is drawn.
const DRAWN: usize = 3;

/// Writes the whole page.
pub fn write(out: &mut dyn Write, screen: &Screen, summary: &Summary) -> io::Result<()> {
    head(out, screen, summary)?;
    parts::kinds(out, screen, summary)?;
    if let Some(table) = &summary.by {
        parts::by(out, screen, table)?;
    }
    if summary.processes.len() > 1 {
        parts::processes(out, screen, summary)?;
    }
    for process in summary.processes.iter().take(DRAWN) {
        parts::histogram(out, screen, process)?;
    }
    parts::regions(out, screen, summary)?;
    parts::tlb(out, screen, summary)?;
    parts::oom(out, screen, summary)?;
    Ok(())
}

/// Who, how long, by what, and whether anything is missing.
pub(super) fn head(out: &mut dyn Write, screen: &Screen, summary: &Summary) -> io::Result<()> {
    let faults = summary.classes.count();
    let circumstances = format!(
        "{}, {} on {} {}",
        nanoseconds(summary.duration_ns),
        or(&summary.backend, "unknown backend"),
        or(&summary.host, "unknown host"),
        summary.kernel,
    );
    let room = screen.width.saturating_sub(escape::width(&circumstances) + 2).max(12);
    let title = escape::fit(or(&summary.target, "page faults"), room);
    writeln!(out, "{}  {circumstances}", screen.paint(Ink::Bold, title))?;
    let rate = match per_second(faults, summary.duration_ns) {
        // The part that is kept did not take the whole time.
        Some(rate) if summary.accounting.older == 0 => format!(" ({}/s)", count(rate)),
        Some(_) | None => String::new(),
    };
    write!(out, "{} faults{rate}", screen.paint(Ink::Bold, count(faults)))?;
    write!(out, ", {} spent in them", nanoseconds(summary.classes.total_ns()))?;
    if summary.cow.copied_bytes > 0 {
        write!(out, ", {} copied on write", bytes(summary.cow.copied_bytes))?;
    }
    writeln!(out)?;
    for filter in &summary.filters {
        sentence(out, screen, (Ink::Yellow, "only"), filter)?;
    }
    accounting(out, screen, summary)?;
    if summary.latencies_folded {
        let what = "more histograms than memory: some percentiles are not told, counts and times are exact";
        sentence(out, screen, (Ink::Yellow, "folded:"), what)?;
    }
    for degradation in &summary.degradations {
        sentence(out, screen, (Ink::Yellow, "without"), degradation)?;
    }
    Ok(())
}

/// One line of accounting, and why where it does not add up.
fn accounting(out: &mut dyn Write, screen: &Screen, summary: &Summary) -> io::Result<()> {
    let account = &summary.accounting;
    let filtered = account.filtered > 0 || !summary.filters.is_empty();
    let mut numbers = format!(
        "seen {} = {} sent + {} spilled + {} lost{}; kernel: min_flt {}, maj_flt {}",
        count(account.seen),
        count(account.emitted),
        count(account.spilled),
        count(account.lost),
        if account.filtered > 0 {
            format!(" + {} filtered", count(account.filtered))
        } else {
            String::new()
        },
        count(account.min_flt),
        count(account.maj_flt),
    );
    if account.unseen > 0 {
        let unseen = count(account.unseen);
        numbers += ", ";
        numbers += &unseen;
        numbers += " of them while it skipped the programs that see them";
    }
    if account.older > 0 {
        let (older, here) = (count(account.older), count(account.received));
        let part = format!(
            "this is the newest part of a recording, {here} faults; {older} before it were not kept, and the numbers below are of the whole session"
        );
        sentence(out, screen, (Ink::Bold, "in part:"), &part)?;
    }
    if account.complete {
        let verdict = if filtered || account.older > 0 { "nothing lost:" } else { "complete:" };
        return sentence(out, screen, (Ink::Green, verdict), &numbers);
    }
    sentence(out, screen, (Ink::Red, "INCOMPLETE:"), &numbers)?;
    for reason in &account.incomplete_because {
        sentence(out, screen, (Ink::Red, "  because"), reason)?;
    }
    Ok(())
}

/// A sentence after a word in ink, broken where the line ends and moved in below.
pub(super) fn sentence(
    out: &mut dyn Write,
    screen: &Screen,
    (ink, first): (Ink, &str),
    text: &str,
) -> io::Result<()> {
    write!(out, "{}", screen.paint(ink, first))?;
    let mut column = escape::width(first);
    for word in words(text) {
        let width = escape::width(word);
        if column + 1 + width > screen.width {
            write!(out, "\n   ")?;
            column = 3;
        }
        write!(out, " {word}")?;
        column += 1 + width;
    }
    writeln!(out)
}

/// The words of a sentence; the groups of a number are one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let bytes = text.as_bytes();
        let mut spaces = text.match_indices(' ').map(|(at, _)| at);
        let end =
            spaces.find(|&at| !(at > 0 && digit(bytes.get(at - 1)) && digit(bytes.get(at + 1))));
        rest = end.map(|end| &text[end + 1..]);
        Some(end.map_or(text, |end| &text[..end]))
    })
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// How many of something to a second.
pub(super) fn per_second(number: u64, duration_ns: u64) -> Option<u64> {
    let scaled = u128::from(number) * 1_000_000_000;
    u64::try_from(scaled.checked_div(u128::from(duration_ns))?).ok()
}

/// A process in words.
pub(super) fn process_name(process: &ProcessSummary) -> String {
    let host = process.host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
    format!("{host}{} ({})", process.comm, process.pid)
}

#[cfg(test)]
#[path = "text_tests.rs"]
pub(super) mod tests;
