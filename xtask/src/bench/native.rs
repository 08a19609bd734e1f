//! This machine's kernel, in nanoseconds: vmtrace and perf take turns, so that
//! what disturbs one disturbs the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::say::{note, say};
use crate::{build, place, process, root};

/// How often each takes its turn.
const TURNS: usize = 9;

/// One tool, and how it is put before the workload.
struct Tool {
    name: &'static str,
    words: Vec<String>,
}

pub(super) fn run() -> Result<()> {
    let programs = build::guest_programs()?;
    let [vmtrace, workload] = programs.as_slice() else { anyhow::bail!("two programs, not more") };
    let scratch = place::cache("bench")?;
    let tools = tools(vmtrace, &scratch);
    let mut times = vec![Vec::new(); tools.len()];
    for turn in 0..TURNS {
        note!("turn {} of {TURNS}", turn + 1);
        for (tool, times) in tools.iter().zip(&mut times) {
            times.push(once(tool, workload, &scratch).with_context(|| tool.name.to_owned())?);
        }
    }
    std::fs::remove_dir_all(&scratch).ok();
    say!("| a fault, in ns | median of {TURNS} | least | most | added |");
    say!("| --- | --- | --- | --- | --- |");
    let bare = times.first().map_or(0, |times| median(times));
    for (tool, times) in tools.iter().zip(&times) {
        let (least, most) = (times.iter().min(), times.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        let middle = median(times);
        let added = middle.saturating_sub(bare);
        say!("| {} | {middle} | {least} | {most} | {added} |", tool.name);
    }
    Ok(())
}

fn tools(vmtrace: &Path, scratch: &Path) -> Vec<Tool> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let vmtrace = vmtrace.to_string_lossy();
    let file = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let mut tools = vec![
        Tool { name: "untraced", words: Vec::new() },
        Tool {
            name: "vmtrace, tracepoint backend",
            words: words(&[&vmtrace, "--backend", "tracepoint", "--format", "json", "--"]),
        },
        Tool {
            name: "vmtrace --tally, tracepoint backend",
            words: words(&[
                &vmtrace,
                "--backend",
                "tracepoint",
                "--tally",
                "--format",
                "json",
                "--",
            ]),
        },
        Tool {
            name: "vmtrace --events, tracepoint backend",
            words: words(&[&vmtrace, "--backend", "tracepoint", "--events", "--"]),
        },
    ];
    if process::find("perf").is_some() {
        let data = file("perf.data");
        tools.push(Tool {
            name: "perf record -e page-faults -c 1 -d",
            words: words(&[
                "perf",
                "record",
                "-o",
                &data,
                "-e",
                "page-faults",
                "-c",
                "1",
                "-d",
                "--",
            ]),
        });
        let lines = file("perf.trace");
        tools.push(Tool {
            name: "perf trace -F all",
            words: words(&["perf", "trace", "-F", "all", "--no-syscalls", "-o", &lines, "--"]),
        });
    }
    tools
}

/// What a fault cost in one run: the middle of its rounds, early ones left out.
fn once(tool: &Tool, workload: &Path, scratch: &Path) -> Result<u64> {
    let result: PathBuf = scratch.join("result");
    let mut words = tool.words.clone();
    words.extend([workload.to_string_lossy().into_owned(), "workload".into(), "cost".into()]);
    words.extend(["12".to_owned(), result.to_string_lossy().into_owned()]);
    let (program, arguments) = words.split_first().context("no command")?;
    let program = process::find(program).unwrap_or_else(|| PathBuf::from(program));
    let mut command: Command = root::command(&program, false)?;
    let output = command.args(arguments).output().context("cannot run it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&result).context("the workload left no result")?;
    std::fs::remove_file(&result).ok();
    let times = text.lines().filter_map(|line| line.parse().ok()).skip(2).collect::<Vec<u64>>();
    ensure!(!times.is_empty(), "the workload measured nothing");
    Ok(median(&times))
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
