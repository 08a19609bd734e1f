//! What the checks of options work on: a recording, and a process to look at.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::child::Kept;
use crate::tool;

/// Scenarios with faults of three classes, several processes and many kinds.
const SCENARIOS: [&str; 5] = ["anon-write", "cow-file", "fork-child", "prot-none", "file-warm"];

/// Made once for all checks, gone with its owner.
#[derive(Debug)]
pub(super) struct Bench {
    folder: PathBuf,
    /// A recording of many kinds of faults.
    pub(super) recording: String,
    /// Takes a MiB at each step.
    holder: RefCell<Kept>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bench {
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("vmtrace-options-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let recording = folder.join("all.vmt").to_str().unwrap_or_default().to_owned();
        let mut holder = Kept::workload(&["hold", "1"])?;
        ensure!(holder.step(), "the workload is gone");
        let bench = Self { folder, recording, holder: RefCell::new(holder) };
        let program = tool::path()?;
        let mut words = vec!["-o", &bench.recording, "--format", "json", "--"];
        words.extend([program.to_str().unwrap_or_default(), "demo"]);
        words.extend(SCENARIOS);
        bench.ran(&words)?;
        Ok(bench)
    }

    /// A file's path in a folder of its own.
    pub(super) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap_or_default().to_owned()
    }

    /// The process to look at.
    pub(super) fn pid(&self) -> String {
        self.holder.borrow().pid().to_string()
    }

    /// Has it fault.
    pub(super) fn step(&self) {
        self.holder.borrow_mut().step();
    }

    pub(super) fn output(&self, words: &[&str]) -> Result<Output> {
        tool::output(tool::vmtrace(words)?.current_dir(&self.folder))
    }

    /// Runs vmtrace, wants it to end well, and answers what it printed.
    pub(super) fn ran(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?} ended with {}: {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(super) fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.ran(words)?;
        // What a scenario said may stand before it.
        let begin = if text.starts_with('{') { 0 } else { text.find("\n{").map_or(0, |at| at + 1) };
        serde_json::from_str(&text[begin..]).with_context(|| format!("{words:?}: {text:.200}"))
    }

    /// Wants a usage error that names the word.
    pub(super) fn refuses(&self, words: &[&str], word: &str) -> Result<()> {
        let output = self.output(words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{words:?} ended with {}", output.status);
        ensure!(said.contains(word), "it does not speak of {word}: {said}");
        Ok(())
    }

    /// Traces for a while and has the process to look at fault meanwhile.
    pub(super) fn traced(&self, words: &[&str]) -> Result<Value> {
        let file = self.file("traced.json");
        let mut command = tool::vmtrace(words)?;
        // Not a pipe: nobody reads it meanwhile.
        command.args(["--format", "json"]).stdout(File::create(&file)?).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let until = Instant::now() + Duration::from_mins(2);
        while child.try_wait()?.is_none() && Instant::now() < until {
            self.step();
            std::thread::sleep(Duration::from_millis(30));
        }
        child.kill().ok();
        let output = Output { stdout: std::fs::read(&file)?, ..child.wait_with_output()? };
        Ok(tool::report(&output)?.json().clone())
    }

    /// The first lines of a command that would go on; fewer if they do not come.
    pub(super) fn lines(&self, words: &[&str], count: usize) -> Result<Vec<String>> {
        let mut command = tool::vmtrace(words)?;
        command.current_dir(&self.folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let out = BufReader::new(child.stdout.take().context("no output")?);
        // One that ends by itself closes the pipe.
        let lines: Vec<_> = out.lines().map_while(Result::ok).take(count).collect();
        child.kill().ok();
        child.wait()?;
        Ok(lines)
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// All faults of a report.
pub(super) fn faults(report: &Value) -> u64 {
    let classes = tool::CLASSES.iter();
    classes.filter_map(|class| report["classes"][class]["count"].as_u64()).sum()
}

/// The pids in a report.
pub(super) fn pids(report: &Value) -> Vec<u64> {
    let processes = report["processes"].as_array().into_iter().flatten();
    processes.filter_map(|process| process["pid"].as_u64()).collect()
}

/// How long a list is.
pub(super) fn len(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}
