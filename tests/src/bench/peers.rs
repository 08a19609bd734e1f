//! What bpftrace and perf cost a fault, by the same clock and the same faults.
//!
//! They lie in a root file system of their own, [`ROOT`]. Each traces this
//! process, which measures itself; a line `peer NAME KERNEL USER SEEN FAULTS`
//! also says how many of the faults it had in the end, and `refused NAME: WHY`
//! that it does not work here.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Cost, MODES, PAGES, PATIENCE, WARM, Wanted, measure, rounds_of, scratch, spent, tell};
use crate::sys;

/// Where `cargo xtask bench --peers` puts them.
const ROOT: &str = "/peers";
/// A tool that has run this little for [`STILL`] has attached its probes.
const LITTLE: u64 = 5_000_000;
const STILL: Duration = Duration::from_secs(1);

/// The ways of vmtrace that do what a peer does.
const OURS: [(&str, &[&str]); 3] = [
    ("fentry", &["streamed", "events", "tally"]),
    ("kprobe", &["streamed", "tally"]),
    ("tracepoint", &["streamed", "tally"]),
];

/// Another tool at work.
struct Peer {
    name: &'static str,
    /// `PID` is this process, `FILE` where it may write.
    words: &'static [&'static str],
    seen: Seen,
}

/// Where a tool says how many faults it had.
#[derive(Clone, Copy)]
enum Seen {
    /// The counts in bpftrace's maps, under our pid or name.
    Maps,
    /// Lines it printed that hold this.
    Lines(&'static str),
    /// The same in the file it wrote.
    Written(&'static str),
    /// `(123 samples)`.
    Samples,
    /// `123,,page-faults,…`.
    Counter,
}

const BPFTRACE: &[&str] = &["bpftrace", "-f", "json", "-e"];

/// What bpftrace's programs have in common: the fault in flight, by thread.
macro_rules! latency {
    ($begin:literal, $($end:literal),+; $key:literal) => {
        concat!($begin, " { @s[tid] = nsecs; }", $(" ", $end,
            " /@s[tid]/ { @[", $key, "] = hist(nsecs - @s[tid]); delete(@s[tid]); }"),+)
    };
}

/// Each does part of what vmtrace does.
const PEERS: [Peer; 9] = [
    Peer {
        name: "bpftrace-fentry-region",
        words: &[
            latency!("fentry:handle_mm_fault", "fexit:handle_mm_fault"; "pid, args.vma->vm_start"),
        ],
        seen: Seen::Maps,
    },
    Peer {
        name: "bpftrace-fentry",
        words: &[latency!("fentry:handle_mm_fault", "fexit:handle_mm_fault"; "comm")],
        seen: Seen::Maps,
    },
    Peer {
        name: "bpftrace-kprobe",
        words: &[latency!("kprobe:handle_mm_fault", "kretprobe:handle_mm_fault"; "comm")],
        seen: Seen::Maps,
    },
    Peer {
        name: "bpftrace-software",
        words: &[latency!(
            "rawtracepoint:page_fault_user", "software:minor-faults:1", "software:major-faults:1"; "comm"
        )],
        seen: Seen::Maps,
    },
    Peer {
        name: "bpftrace-count",
        words: &["fexit:handle_mm_fault { @[comm] = count(); }"],
        seen: Seen::Maps,
    },
    Peer {
        name: "bpftrace-lines",
        words: &["fentry:handle_mm_fault { @s[tid] = nsecs; } fexit:handle_mm_fault /@s[tid]/ \
                  { printf(\"%s %d %lx %d\\n\", comm, pid, args.address, nsecs - @s[tid]); \
                  delete(@s[tid]); }"],
        seen: Seen::Lines("vmtrace-tests "),
    },
    Peer {
        name: "perf-record",
        words: &["perf", "record", "-p", "PID", "-e", "page-faults", "-c", "1", "-d", "-o", "FILE"],
        seen: Seen::Samples,
    },
    Peer {
        name: "perf-trace",
        words: &["perf", "trace", "-p", "PID", "-F", "all", "--no-syscalls", "-o", "FILE"],
        seen: Seen::Written("fault ["),
    },
    Peer {
        name: "perf-stat",
        words: &["perf", "stat", "-p", "PID", "-x,", "-e", "page-faults,minor-faults,major-faults"],
        seen: Seen::Counter,
    },
];

/// `bench peers [ROUNDS [NAME…]]`: vmtrace and its peers in one boot.
pub(super) fn run(words: &[String]) -> Result<ExitCode> {
    let (rounds, wanted) = Wanted::read(words)?;
    ensure!(Path::new(ROOT).is_dir(), "there is no {ROOT}: bpftrace and perf are run from there");
    rounds_of(16)?;
    tell("untraced", measure(rounds, None)?);
    for (backend, modes) in OURS {
        for (mode, arguments) in MODES.iter().filter(|(mode, _)| modes.contains(mode)) {
            let name = format!("{backend}-{mode}");
            if wanted.has(&name) {
                tell(&name, super::traced(backend, arguments, rounds)?);
            }
        }
    }
    if wanted.has("fentry-recorded") {
        let file = scratch("vmt");
        let words = ["--format", "json", "-o", file.to_str().unwrap_or_default()];
        tell("fentry-recorded", super::traced("fentry", &words, rounds)?);
        fs::remove_file(file).ok();
    }
    for peer in PEERS.iter().filter(|peer| wanted.has(peer.name)) {
        let name = peer.name;
        let faults = (WARM + rounds) * PAGES;
        let line = match one(peer, rounds) {
            Ok((Cost { kernel, user }, seen)) => {
                format!("peer {name} {kernel} {user} {seen} {faults}")
            }
            // Old kernels are not for every tool.
            Err(error) => format!("refused {name}: {error:#}").replace('\n', " "),
        };
        crate::harness::print(format_args!("{line}"));
    }
    tell("untraced-again", measure(rounds, None)?);
    Ok(ExitCode::SUCCESS)
}

/// Starts it, faults under it, ends it, and asks what it saw.
fn one(peer: &Peer, rounds: usize) -> Result<(Cost, u64)> {
    let [shown, said, written] = ["shown", "said", "written"].map(scratch);
    let mut command = command(peer, &written);
    command.stdin(Stdio::null()).stdout(File::create(&shown)?).stderr(File::create(&said)?);
    let mut tool = command.spawn().context("cannot run it")?;
    let measured = settled(&mut tool).and_then(|()| {
        rounds_of(WARM)?;
        measure(rounds, Some(tool.id()))
    });
    // One that has ended already is asked for its reasons all the same.
    let _ = sys::signal(tool.id(), libc::SIGINT);
    tool.wait().context("cannot wait for it")?;
    let read = |file: &Path| fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned());
    let (out, error) = (read(&shown)?, read(&said)?);
    let cost = measured.with_context(|| error.clone())?;
    let seen = match peer.seen {
        Seen::Maps => in_maps(&out, std::process::id()),
        Seen::Lines(part) => lines_with(&out, part),
        Seen::Written(part) => lines_with(&read(&written)?, part),
        Seen::Samples => before(&error, " samples)"),
        Seen::Counter => before(&error, ",,page-faults"),
    };
    for file in [shown, said, written] {
        fs::remove_file(file).ok();
    }
    Ok((cost, seen))
}

fn command(peer: &Peer, written: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg(ROOT);
    match peer.words {
        [program] => command.args(BPFTRACE).arg(program),
        words => command.args(words.iter().map(|&word| match word {
            "PID" => std::process::id().to_string(),
            "FILE" => written.to_string_lossy().into_owned(),
            other => other.to_owned(),
        })),
    };
    command
}

/// Waits until a tool has nothing more to prepare.
fn settled(tool: &mut Child) -> Result<()> {
    let began = Instant::now();
    let mut before = 0;
    loop {
        std::thread::sleep(STILL);
        ensure!(tool.try_wait()?.is_none(), "it ended too early");
        ensure!(began.elapsed() < PATIENCE, "it did not settle in time");
        let now = spent(tool.id())?;
        if now.saturating_sub(before) < LITTLE {
            return Ok(());
        }
        before = now;
    }
}

/// The counts under our pid (`PID,ADDRESS`) or name, in histograms and counters.
fn in_maps(text: &str, pid: u32) -> u64 {
    let own = |key: &str| key == "vmtrace-tests" || key.split(',').next() == Some(&pid.to_string());
    let maps = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let keyed = maps.filter_map(|map| map["data"]["@"].as_object().cloned()).flatten();
    let counts = keyed.filter(|(key, _)| own(key)).map(|(_, found)| {
        let buckets = found.as_array().into_iter().flatten();
        let buckets = buckets.filter_map(|bucket| bucket["count"].as_u64());
        found.as_u64().unwrap_or(0) + buckets.sum::<u64>()
    });
    counts.sum()
}

fn lines_with(text: &str, part: &str) -> u64 {
    text.lines().filter(|line| line.contains(part)).count() as u64
}

/// The number that stands right before a word.
fn before(text: &str, word: &str) -> u64 {
    let head = text.split_once(word).map_or("", |(head, _)| head);
    let digits = head.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_tools_say() {
        let maps = "{\"type\": \"attached_probes\", \"data\": {\"probes\": 2}}\n\n\
            {\"type\": \"hist\", \"data\": {\"@\": {\"7,4096\": [{\"min\": 1, \"count\": 2}, \
            {\"min\": 2, \"count\": 3}], \"77,4096\": [{\"count\": 9}]}}}\n\
            {\"type\": \"map\", \"data\": {\"@\": {\"vmtrace-tests\": 4, \"sh\": 8}}}\n";
        assert_eq!(in_maps(maps, 7), 9);
        assert_eq!(before("wrote 0.384 MB /tmp/perf.data (5209 samples) ]", " samples)"), 5209);
        assert_eq!(before("5137,,page-faults,19795,100.00,,\n", ",,page-faults"), 5137);
        assert_eq!(before("nothing", " samples)"), 0);
        assert_eq!(lines_with("minfault [a]\nx\nmajfault [b]\n", "fault ["), 2);
    }
}
