//! Recordings of real traces: the same report from the file as from the trace,
//! the newest part alone, and two runs compared.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Test, Verdict, fact};
use crate::{backends, is_long, sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "recording::equals-live", run: equals_live },
    Test { name: "recording::newest-part", run: newest_part },
    Test { name: "recording::diff", run: diff },
    Test { name: "recording::cgroup-names", run: cgroup_names },
];

/// A recording that goes with its owner.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("vmtrace-{name}-{}.vmt", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs vmtrace and wants it to end well.
fn ran(words: &[&str]) -> Result<Output> {
    let output = tool::output(&mut tool::vmtrace(words)?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?} ended with {}: {said}", output.status);
    Ok(output)
}

/// Every scenario: in one run, each in a process of its own; natively and at full
/// length, each in a run of its own. An emulated processor has time for that only at
/// full length: else for faults of many kinds in a process and its children.
fn equals_live() -> Result<Verdict> {
    backends::each_in_time("recording::equals-live", |backend| {
        if sys::is_guest() && !is_long() {
            let program = tool::ourselves()?;
            let program = program.to_str().unwrap_or_default();
            equal(backend, &[program, "workload", "mixed", "2", "2"])?;
            return Ok(());
        }
        let (all, program) = (scenarios()?, tool::path()?);
        let each = if sys::is_guest() { all.len() } else { 1 };
        let runs: Vec<_> = all.chunks(if is_long() { each } else { all.len() }).collect();
        for run in &runs {
            // What the scenarios say must not come before the report.
            let mut command = vec!["sh", "-c", "exec \"$0\" demo \"$@\" >/dev/null"];
            command.push(program.to_str().unwrap_or_default());
            command.extend(run.iter().map(String::as_str));
            equal(backend, &command).with_context(|| run.join(" "))?;
        }
        let told = format!("{} scenarios in {} runs", all.len(), runs.len());
        fact(&format!("report is the live one with {backend}"), &told);
        Ok(())
    })
}

fn scenarios() -> Result<Vec<String>> {
    let output = ran(&["demo", "--list"])?;
    let text = String::from_utf8(output.stdout)?;
    let first = text.lines().filter(|line| !line.starts_with(' ') && !line.is_empty());
    let names: Vec<_> = first.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    ensure!(names.len() > 10, "only {names:?}");
    Ok(names)
}

fn equal(backend: &str, command: &[&str]) -> Result<()> {
    let file = File::new("equal");
    let mut words = vec!["-o", file.path(), "--force", "--backend", backend];
    words.extend(["--format", "json", "--by", "thread", "--"]);
    words.extend(command);
    let live = tool::output(&mut tool::vmtrace(&words)?)?;
    let said = String::from_utf8_lossy(&live.stderr);
    let report = ran(&["report", file.path(), "--format", "json", "--by", "thread"])?;
    ensure!(live.stdout.starts_with(b"{"), "no report: {said}");
    ensure!(live.stdout == report.stdout, "the report differs from the live one: {said}");
    Ok(())
}

/// The newest part of a recording is held to account for itself.
fn newest_part() -> Result<Verdict> {
    if sys::is_guest() && !is_long() {
        let why = "a MiB of faults takes an emulated processor long: only with --long";
        return Ok(Verdict::Skipped(why.into()));
    }
    backends::each(|backend| {
        let file = File::new("newest");
        let program = tool::ourselves()?;
        let program = program.to_str().unwrap_or_default();
        let mut words = vec!["-o", file.path(), "--force", "--backend", backend];
        words.extend(["--max-size", "1M", "--format", "json", "--", program]);
        words.extend(["workload", "mixed", "2", "600"]);
        let live = tool::report(&tool::output(&mut tool::vmtrace(&words)?)?)?;
        let report = ran(&["report", file.path(), "--format", "json"])?;
        let said = String::from_utf8_lossy(&report.stderr).into_owned();
        let part = tool::report(&report)?;
        let (older, here) = (part.account("older"), part.account("received"));
        fact(&format!("newest part with {backend}"), &part.accounting());
        ensure!(older > 0 && here > 0, "{older} older and {here} kept: {}", part.accounting());
        ensure!(said.contains("keeps the newest part"), "it does not say so: {said}");
        for name in ["seen", "emitted", "spilled", "min_flt", "maj_flt"] {
            let (whole, of_part) = (live.account(name), part.account(name));
            ensure!(whole == of_part, "{name} was {whole} and became {of_part}");
        }
        ensure!(part.is_complete(), "not complete by its own word: {}", part.accounting());
        Ok(())
    })
}

/// A cgroup that is made while the trace runs has its path for a name, live and
/// from the recording.
fn cgroup_names() -> Result<Verdict> {
    const NAME: &str = "vmtrace-named";
    let group = Path::new("/sys/fs/cgroup").join(NAME);
    let is_second = Path::new("/sys/fs/cgroup/cgroup.controllers").is_file();
    if !sys::is_root() || !is_second {
        return Ok(Verdict::Skipped("needs root and the second version of cgroups".into()));
    }
    let file = File::new("named");
    let program = tool::ourselves()?;
    let mut words = vec!["-o", file.path(), "--force", "--by", "cgroup", "--format", "json"];
    words.extend(["--", "sh", "-c"]);
    words.push(
        "mkdir -p \"$1\" && echo $$ > \"$1/cgroup.procs\" && exec \"$0\" workload touch 3000",
    );
    words.extend([program.to_str().unwrap_or_default(), group.to_str().unwrap_or_default()]);
    let live = ran(&words);
    let removed = std::fs::remove_dir(&group);
    let (live, report) =
        (live?, ran(&["report", file.path(), "--by", "cgroup", "--format", "json"])?);
    removed.context("removing the cgroup")?;
    ensure!(live.stdout == report.stdout, "the report differs from the live one");
    let json: Value = serde_json::from_slice(&report.stdout)?;
    let rows = json["by"]["rows"].as_array().context("no rows")?;
    let counted = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["faults"]["count"].as_u64()).unwrap_or(0)
    };
    let inside = counted(&format!("/{NAME}"));
    let names: Vec<_> = rows.iter().map(|row| row["name"].to_string()).collect();
    ensure!(inside >= 3000, "{inside} faults in /{NAME}; there are {}", names.join(" "));
    fact("cgroups by name", &names.join(" "));
    Ok(Verdict::Passed)
}

/// The same workload twice is no change; with huge pages, or filled beforehand, it
/// is one, in words.
fn diff() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if sys::is_guest() && !is_long() {
        return Ok(Verdict::Skipped("as natively, and slow in a guest: only with --long".into()));
    }
    let pages = "32768";
    let plain = [pages];
    let before = record("before", None, &plain)?;
    // The machine may be busy with other things for the length of one run.
    let (mut same, mut told) = (false, String::new());
    for _ in 0..3 {
        let again = record("again", None, &plain)?;
        let (changed, sentences) = compare(&before, &again)?;
        (same, told) = (!changed, sentences);
        if same {
            break;
        }
    }
    ensure!(same, "the same workload always differs: {told}");
    let huge = record("huge", None, &[pages, "huge"])?;
    let (changed, told) = compare(&before, &huge)?;
    fact("diff with MADV_HUGEPAGE", &told);
    ensure!(changed, "huge pages are no change");
    ensure!(told.contains("now comes as huge pages"), "huge pages are told as: {told}");
    let (_, told) = compare(&huge, &before)?;
    ensure!(told.contains("now faulted in page by page"), "their end is told as: {told}");
    if sys::is_guest() && !is_long() {
        return Ok(Verdict::Passed);
    }
    let before = record("before", Some("tracepoint"), &plain)?;
    let filled = record("filled", Some("tracepoint"), &[pages, "populated"])?;
    let (changed, told) = compare(&before, &filled)?;
    fact("diff with MAP_POPULATE, tracepoint", &told);
    ensure!(changed && told.contains("MAP_POPULATE"), "filled beforehand is told as: {told}");
    Ok(Verdict::Passed)
}

fn record(name: &str, backend: Option<&str>, what: &[&str]) -> Result<File> {
    let file = File::new(name);
    let program = tool::ourselves()?;
    let mut words = vec!["-o", file.path(), "--force", "--format", "json"];
    words.extend(["--backend", backend.unwrap_or("auto"), "--"]);
    words.extend([program.to_str().unwrap_or_default(), "workload", "touch"]);
    words.extend(what);
    ran(&words)?;
    Ok(file)
}

/// Whether two recordings differ, and how, in the sentences of the page.
fn compare(before: &File, after: &File) -> Result<(bool, String)> {
    let output = ran(&["diff", before.path(), after.path(), "--format", "json"])?;
    let json: Value = serde_json::from_slice(&output.stdout).context("diff printed no JSON")?;
    let changed = json["changed"].as_bool().context("no verdict")?;
    let sentences = json["sentences"].as_array().context("no sentences")?;
    let sentences: Vec<_> = sentences.iter().filter_map(Value::as_str).collect();
    ensure!(changed || sentences.is_empty(), "no change, and yet: {sentences:?}");
    Ok((changed, sentences.join("; ")))
}
