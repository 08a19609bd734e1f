//! The vmtrace under test: where it is, running it, and what it reported.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The classes of a report, in the order of the design.
pub(crate) const CLASSES: [&str; 4] = ["minor", "major", "cow", "invalid"];

/// vmtrace: named by `VMTRACE`, or lying beside us.
pub(crate) fn path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VMTRACE") {
        return Ok(PathBuf::from(path));
    }
    Ok(ourselves()?.with_file_name("vmtrace"))
}

/// This program, whose workloads are traced.
pub(crate) fn ourselves() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

/// vmtrace with arguments.
pub(crate) fn vmtrace(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(path()?);
    command.args(words).stdin(Stdio::null());
    Ok(command)
}

/// Runs it and keeps what it printed.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot run {}", command.get_program().display()))
}

/// A report in JSON.
#[derive(Debug)]
pub(crate) struct Report {
    json: Value,
}

/// The backends that can be used on this kernel, as `vmtrace doctor` finds.
pub(crate) fn backends() -> Result<Vec<String>> {
    // Trying all takes seconds on an emulated processor.
    static FOUND: OnceLock<Vec<String>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let found = find_backends()?;
    Ok(FOUND.get_or_init(|| found).clone())
}

fn find_backends() -> Result<Vec<String>> {
    let output = output(&mut vmtrace(&["doctor", "--format", "json"])?)?;
    let json: Value = serde_json::from_slice(&output.stdout).context("doctor printed no JSON")?;
    let backends = json["backends"].as_array().context("doctor names no backends")?;
    let usable = backends.iter().filter(|backend| backend["usable"].as_bool() == Some(true));
    Ok(usable.filter_map(|backend| Some(backend["name"].as_str()?.to_owned())).collect())
}

/// Traces one of our workloads and reads the report.
pub(crate) fn trace(options: &[&str], workload: &[&str]) -> Result<Report> {
    let mut command = vmtrace(&["--format", "json"])?;
    command.args(options).arg("--").arg(ourselves()?).arg("workload").args(workload);
    report(&output(&mut command)?)
}

/// Reads the report that a finished vmtrace printed.
pub(crate) fn report(output: &Output) -> Result<Report> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "vmtrace ended with {}: {said}", output.status);
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report on standard output; standard error says: {said}"))?;
    let report = Report { json };
    let schema = report.json["schema"].as_str().unwrap_or_default();
    ensure!(schema == "vmtrace.report/1", "unknown schema {schema:?}");
    Ok(report)
}

impl Report {
    /// All of it.
    pub(crate) const fn json(&self) -> &Value {
        &self.json
    }

    /// All faults of all processes.
    pub(crate) fn faults(&self) -> u64 {
        CLASSES.iter().map(|class| self.class(class)).sum()
    }

    /// How many faults of a class.
    pub(crate) fn class(&self, class: &str) -> u64 {
        self.json["classes"][class]["count"].as_u64().unwrap_or(0)
    }

    /// How many faults of a kind.
    pub(crate) fn kind(&self, kind: &str) -> u64 {
        self.json["kinds"][kind]["count"].as_u64().unwrap_or(0)
    }

    /// One of the numbers in the accounting.
    pub(crate) fn account(&self, name: &str) -> u64 {
        self.json["accounting"][name].as_u64().unwrap_or(0)
    }

    /// Each process's part.
    pub(crate) fn processes(&self) -> &[Value] {
        self.json["processes"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether vmtrace itself found its accounting whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.json["accounting"]["complete"].as_bool().unwrap_or(false)
    }

    /// The way that the probes were attached.
    pub(crate) fn backend(&self) -> &str {
        self.json["backend"].as_str().unwrap_or("unknown")
    }

    /// The accounting as it was printed.
    pub(crate) fn accounting(&self) -> String {
        self.json["accounting"].to_string()
    }
}
