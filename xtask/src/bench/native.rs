//! This machine's kernel, in nanoseconds: vmtrace, perf and bpftrace take turns,
//! so that what disturbs one disturbs the others.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::say::{note, say};
use crate::{build, place, process, root};

/// How often each takes its turn.
const TURNS: usize = 9;
/// Rounds of 4096 faults to a turn.
const ROUNDS: &str = "16";

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

pub(super) fn run() -> Result<()> {
    let programs = build::guest_programs()?;
    let [vmtrace, workload] = programs.as_slice() else { anyhow::bail!("two programs, not more") };
    let scratch = place::cache("bench")?;
    let tools = tools(vmtrace, &scratch)?;
    let mut turns = vec![Vec::new(); tools.len()];
    for turn in 0..TURNS {
        note!("turn {} of {TURNS}", turn + 1);
        for (tool, turns) in tools.iter().zip(&mut turns) {
            turns.push(once(tool, workload, &scratch).with_context(|| tool.name.to_owned())?);
        }
    }
    std::fs::remove_dir_all(&scratch).ok();
    let names = tools.iter().map(|tool| tool.name);
    say!("{}", table(names.zip(&turns)));
    Ok(())
}

/// Medians; what is added is the median of the differences to the untraced turn
/// just before, so that what comes and goes over minutes falls out.
fn table<'a>(tools: impl Iterator<Item = (&'static str, &'a Vec<Turn>)>) -> String {
    let mut text = format!(
        "| a fault, in ns, median of {TURNS} | time | least | most | added | CPU time | least \
         | most | added |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let mut bare: Option<&Vec<Turn>> = None;
    for (name, turns) in tools {
        let bare = *bare.get_or_insert(turns);
        let _ = write!(text, "| {name} ");
        for take in [|turn: &Turn| turn.wall, |turn: &Turn| turn.cpu] {
            let all = turns.iter().map(take).collect::<Vec<_>>();
            let pairs = turns.iter().zip(bare).map(|(turn, bare)| take(turn) - take(bare));
            let added = median(pairs.collect());
            let (least, most) = (all.iter().min(), all.iter().max());
            let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
            let _ = write!(text, "| {} | {least} | {most} | {added} ", median(all));
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
        plain("untraced", &[]),
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

fn median(mut all: Vec<i64>) -> i64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_turn_by_turn() {
        let turns = |all: &[(i64, i64)]| {
            all.iter().map(|&(wall, cpu)| Turn { wall, cpu }).collect::<Vec<_>>()
        };
        // The machine grows slower, and what is added stays.
        let bare = turns(&[(100, 90), (200, 190), (900, 890)]);
        let traced = turns(&[(130, 100), (230, 200), (930, 900)]);
        let table = table([("untraced", &bare), ("traced", &traced)].into_iter());
        assert!(
            table.contains("| untraced | 200 | 100 | 900 | 0 | 190 | 90 | 890 | 0 |"),
            "{table}"
        );
        assert!(table.contains("| traced | 230 | 130 | 930 | 30 | 200 | 100 | 900 | 10 |"));
    }

    #[test]
    fn reads_a_turn() {
        assert_eq!(turn("100 90 7\n"), Some(Turn { wall: 100, cpu: 97 }));
        assert_eq!(turn("100 90"), None);
    }
}
