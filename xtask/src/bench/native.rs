//! This machine's kernel, in nanoseconds: vmtrace, perf and bpftrace take turns,
//! an untraced run before each, so that what disturbs one disturbs the others.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::say::{note, say};
use crate::{build, place, process, root};

/// How often each takes its turn.
const TURNS: usize = 9;
/// Rounds of 4096 faults to a turn.
const ROUNDS: &str = "32";

/// One tool, and how it is put before the workload.
struct Tool {
    name: &'static str,
    words: Vec<String>,
    /// It wants the workload in one word.
    quoted: bool,
}

/// What a fault cost in one turn, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// On the clock.
    wall: i64,
    /// The CPU time of the thread that faults and of the tool.
    cpu: i64,
}

/// A turn, and an untraced one just before.
#[derive(Debug, Clone, Copy)]
struct Pair {
    bare: Turn,
    traced: Turn,
}

pub(super) fn run() -> Result<()> {
    let programs = build::guest_programs()?;
    let [vmtrace, workload] = programs.as_slice() else { anyhow::bail!("two programs, not more") };
    let scratch = place::cache("bench")?;
    let tools = tools(vmtrace, &scratch)?;
    let bare = Tool { name: "untraced", words: Vec::new(), quoted: false };
    let mut turns = vec![Vec::new(); tools.len()];
    for turn in 0..TURNS {
        note!("turn {} of {TURNS}", turn + 1);
        for (tool, turns) in tools.iter().zip(&mut turns) {
            let once =
                |tool: &Tool| once(tool, workload, &scratch).with_context(|| tool.name.to_owned());
            turns.push(Pair { bare: once(&bare)?, traced: once(tool)? });
        }
    }
    std::fs::remove_dir_all(&scratch).ok();
    let names = tools.iter().map(|tool| tool.name).collect::<Vec<_>>();
    say!("{}", table(&names, &turns));
    Ok(())
}

/// Medians; what is added is the median of the differences to the untraced run
/// just before, so that what comes and goes over minutes falls out.
fn table(names: &[&str], turns: &[Vec<Pair>]) -> String {
    let mut text = format!(
        "| a fault, in ns, median of {TURNS} | time | added | least | most | CPU time | added \
         | least | most |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let (wall, cpu) = (|turn: Turn| turn.wall, |turn: Turn| turn.cpu);
    let bare = turns.iter().flatten().map(|pair| pair.bare).collect::<Vec<_>>();
    let middle =
        |take: fn(Turn) -> i64| median(&bare.iter().map(|&turn| take(turn)).collect::<Vec<_>>());
    let _ = writeln!(text, "| untraced | {} | | | | {} | | | |", middle(wall), middle(cpu));
    for (name, pairs) in names.iter().zip(turns) {
        let _ = write!(text, "| {name} ");
        for take in [wall, cpu] {
            let all = pairs.iter().map(|pair| take(pair.traced)).collect::<Vec<_>>();
            let added = pairs.iter().map(|pair| take(pair.traced) - take(pair.bare));
            let added = added.collect::<Vec<_>>();
            let (least, most) = (added.iter().min(), added.iter().max());
            let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
            let _ = write!(text, "| {} | {} | {least} | {most} ", median(&all), median(&added));
        }
        text.push_str("|\n");
    }
    text
}

fn tools(vmtrace: &Path, scratch: &Path) -> Result<Vec<Tool>> {
    let vmtrace = vmtrace.to_string_lossy();
    let file = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let (data, lines) = (file("perf.data"), file("perf.trace"));
    let plain = |name, words: &[&str]| {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Tool { name, words, quoted: false }
    };
    let ours = |name, mode: &[&str]| {
        plain(name, &[&[&*vmtrace, "--backend", "tracepoint"], mode, &["--"]].concat())
    };
    let mut tools = vec![
        ours("vmtrace", &["--format", "json"]),
        ours("vmtrace --tally", &["--tally", "--format", "json"]),
        ours("vmtrace --events", &["--events"]),
    ];
    let record = ["perf", "record", "-o", &data, "-e", "page-faults", "-c", "1", "-d", "--"];
    let trace = ["perf", "trace", "-F", "all", "--no-syscalls", "-o", &lines, "--"];
    if is_there("perf", "linux-perf") {
        tools.push(plain("perf record -e page-faults -c 1 -d", &record));
        tools.push(plain("perf trace -F all", &trace));
    }
    if is_there("bpftrace", "bpftrace") {
        let program = program(bpftrace_start()?);
        let tool = plain("bpftrace, page_fault_user to software event", &["bpftrace", "-e"]);
        let words = [tool.words, vec![program, "-c".to_owned()]].concat();
        tools.push(Tool { words, quoted: true, ..tool });
    }
    Ok(tools)
}

fn is_there(program: &str, package: &str) -> bool {
    let found = process::find(program).is_some();
    if !found {
        note!("{program} is not installed and left out (apt-get install {package})");
    }
    found
}

/// The cheapest beginning of a fault that the installed bpftrace can attach to.
fn bpftrace_start() -> Result<&'static str> {
    let raw = "rawtracepoint:page_fault_user";
    let bpftrace = process::find("bpftrace").context("no bpftrace")?;
    let mut command = root::command(&bpftrace, false)?;
    let tried = command.args(["-e", &format!("{raw} {{ exit(); }}"), "-c", "true"]).output();
    let works = tried.is_ok_and(|output| output.status.success());
    Ok(if works { raw } else { "tracepoint:exceptions:page_fault_user" })
}

/// A latency histogram by name, from a fault's beginning to its end.
fn program(start: &str) -> String {
    let mut program = format!("{start} {{ @s[tid] = nsecs; }}");
    for end in ["software:minor-faults:1", "software:major-faults:1"] {
        let _ = write!(
            program,
            " {end} /@s[tid]/ {{ @[comm] = hist(nsecs - @s[tid]); delete(@s[tid]); }}"
        );
    }
    program
}

/// What a fault cost in one run.
fn once(tool: &Tool, workload: &Path, scratch: &Path) -> Result<Turn> {
    let result: PathBuf = scratch.join("result");
    let work = [&*workload.to_string_lossy(), "workload", "timed", ROUNDS];
    let work = work.iter().map(|&word| word.to_owned());
    let work = work.chain([result.to_string_lossy().into_owned()]).collect::<Vec<_>>();
    let mut words = tool.words.clone();
    words.extend(if tool.quoted { vec![work.join(" ")] } else { work });
    let (program, arguments) = words.split_first().context("no command")?;
    let program = process::find(program).unwrap_or_else(|| PathBuf::from(program));
    let mut command: Command = root::command(&program, false)?;
    let output = command.args(arguments).output().context("cannot run it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&result).context("the workload left no result")?;
    std::fs::remove_file(&result).ok();
    turn(&text).with_context(|| format!("the workload measured nothing: {text}"))
}

/// Reads `WALL CPU TOOL`, in nanoseconds.
fn turn(text: &str) -> Option<Turn> {
    let figures = text.split_whitespace().map(|word| word.parse().ok());
    let [wall, cpu, tool] = figures.collect::<Option<Vec<i64>>>()?[..] else { return None };
    Some(Turn { wall, cpu: cpu + tool })
}

fn median(all: &[i64]) -> i64 {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_turn_by_turn() {
        // The machine grows slower, and what is added stays.
        let pair = |slow: i64| Pair {
            bare: Turn { wall: 100 + slow, cpu: 90 + slow },
            traced: Turn { wall: 130 + slow, cpu: 100 + slow },
        };
        let table = table(&["traced"], &[vec![pair(0), pair(100), pair(800)]]);
        assert!(table.contains("| untraced | 200 | | | | 190 | | | |"), "{table}");
        assert!(table.contains("| traced | 230 | 30 | 30 | 30 | 200 | 10 | 10 | 10 |"), "{table}");
    }

    #[test]
    fn reads_a_turn() {
        assert_eq!(turn("100 90 7\n"), Some(Turn { wall: 100, cpu: 97 }));
        assert_eq!(turn("100 90"), None);
    }
}
