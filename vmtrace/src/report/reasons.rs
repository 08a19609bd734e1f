//! Whether an account is complete, and if not why: in sentences, the same in
//! every output.
//!
//! Without filters, complete means that everything the programs saw was sent or
//! spilled and arrived, that nothing was lost, and that the classes add up to
//! the kernel's own counters: minor + cow = `min_flt`, major = `maj_flt`. With
//! filters the classes cannot add up; complete then means that what was seen
//! was sent, spilled or left out on request, and that what was sent arrived.
//!
//! A recording that keeps the newest part (`--max-size`) holds the accounts of the
//! whole session: there, too, the classes cannot add up. Complete then means that
//! nothing was lost and that what was sent one by one is either here or before the
//! part that was kept.

use super::summary::{Accounting, Classes};
use crate::fault::{Class, Kind, Kinds};
use crate::pipeline::{Observer, Options, Pipeline};
use crate::stream::Lacks;
use crate::tally::account::Account;
use crate::term::units::count;

/// Why a recording that was cut short has no accounts to be held against.
const NO_END: &str =
    "the recording has no end: the accounts of threads that were alive are missing";

/// What a session's filters leave out, in words.
pub fn filters(options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    if options.kinds != Kinds::ALL {
        words.push(kept(options.kinds).join(", "));
    }
    if options.min_latency > 0 {
        let latency = crate::term::units::nanoseconds(options.min_latency);
        words.push(format!("faults of at least {latency}"));
    }
    words
}

/// The kinds of a set; classes that are whole by their name.
fn kept(set: Kinds) -> Vec<&'static str> {
    let mut names = Vec::new();
    for class in Class::ALL {
        let own = class.kinds().filter(|&kind| set.contains(kind));
        if own.clone().eq(class.kinds()) {
            names.push(class.name());
        } else {
            names.extend(own.map(Kind::name));
        }
    }
    names
}

/// The session's account.
pub fn session<O: Observer>(
    pipeline: &Pipeline<O>,
    account: &Account,
    classes: &Classes,
    backend: &str,
) -> Accounting {
    let stream = pipeline.stream();
    let lacks = stream.lacks;
    let mut because = Vec::new();
    let sent = account.emitted.saturating_add(account.spilled);
    let singly = stream.received.saturating_sub(stream.spilled);
    let there = singly.saturating_add(lacks.older);
    if lacks.end {
        because.push(NO_END.to_owned());
    } else if lacks.older > 0 {
        if account.emitted != there {
            let (sent, older, here) = (count(account.emitted), count(lacks.older), count(singly));
            because.push(format!(
                "the kernel side sent {sent} faults one by one; {older} are before the part that was kept, and {here} are in it"
            ));
        }
    } else if account.seen == 0 && stream.received > 0 {
        because.push("the kernel side's account is missing".to_owned());
    } else if sent != stream.received {
        let (sent, received) = (count(sent), count(stream.received));
        because.push(format!("the kernel side sent {sent} faults and {received} arrived"));
    }
    if stream.malformed > 0 {
        let last = stream.last_malformed.map_or_else(String::new, |why| format!(": {why}"));
        because.push(format!("{} records could not be read{last}", count(stream.malformed)));
    }
    let counters = &stream.counters;
    if counters.untracked > 0 {
        because.push(format!("{} threads found no room to be traced", count(counters.untracked)));
    }
    if counters.unsent > 0 {
        let unsent = count(counters.unsent);
        because.push(format!("{unsent} records of regions or processes were not sent"));
    }
    if counters.missed > 0 && !because.is_empty() {
        because.push(format!("programs were skipped {} times", count(counters.missed)));
    }
    let mut accounting = judged(pipeline.options(), account, classes, lacks, because);
    accounting.received = stream.received;
    accounting.older = lacks.older;
    accounting.unseen = stream.unseen;
    let whole = lacks == Lacks::default();
    if whole
        && backend == "tracepoint"
        && account.min_flt > min_flt(classes)
        && !accounting.complete
    {
        accounting.incomplete_because.push(
            "the tracepoint backend does not see faults without an exception (get_user_pages)"
                .to_owned(),
        );
    }
    accounting
}

/// A process's account.
pub fn process(
    options: &Options,
    account: &Account,
    classes: &Classes,
    lacks: Lacks,
) -> Accounting {
    let because = if lacks.end { vec![NO_END.to_owned()] } else { Vec::new() };
    let mut accounting = judged(options, account, classes, lacks, because);
    accounting.received = account.emitted.saturating_add(account.spilled);
    accounting
}

fn min_flt(classes: &Classes) -> u64 {
    classes.of(Class::Minor).count.saturating_add(classes.of(Class::Cow).count)
}

fn judged(
    options: &Options,
    account: &Account,
    classes: &Classes,
    lacks: Lacks,
    mut because: Vec<String>,
) -> Accounting {
    if account.lost > 0 {
        because.push(format!("{} faults were lost", count(account.lost)));
    }
    if account.lost == 0 && account.stale == 0 && !account.balances() {
        because.push("seen is not emitted + spilled + filtered".to_owned());
    }
    if account.filtered == 0 && !options.filters() && lacks == Lacks::default() {
        let told = [
            ("minor + cow", min_flt(classes), "min_flt", account.min_flt),
            ("major", classes.of(Class::Major).count, "maj_flt", account.maj_flt),
        ];
        for (ours, counted, theirs, grew) in told {
            if counted != grew {
                let (counted, grew) = (count(counted), count(grew));
                because.push(format!("{ours} is {counted} and {theirs} grew by {grew}"));
            }
        }
    }
    // A fault that a fatal signal cut short has no end, and is none to the
    // kernel's counters either: it is a gap only where there is one.
    if account.stale > 0 && !because.is_empty() {
        because.push(format!("the end of {} faults was not seen", count(account.stale)));
    }
    Accounting {
        seen: account.seen,
        emitted: account.emitted,
        spilled: account.spilled,
        lost: account.lost,
        filtered: account.filtered,
        stale: account.stale,
        min_flt: account.min_flt,
        maj_flt: account.maj_flt,
        received: 0,
        older: 0,
        unseen: 0,
        complete: because.is_empty(),
        incomplete_because: because,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_classes_are_named_as_such() {
        let set = Kinds::NONE.with_class(Class::Major).with(Kind::CowCopy);
        assert_eq!(kept(set), ["major", "cow-copy"]);
        assert_eq!(kept(Kinds::ALL), ["minor", "major", "cow", "invalid"]);
    }
}
