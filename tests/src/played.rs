//! The demo played under a trace: what its scenarios declared, and every fault
//! that vmtrace printed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use vmtrace::demo::compare::Seen;
use vmtrace::demo::declare::Declaration;
use vmtrace::fault::Kind;

use crate::{sys, tool};

/// Scenarios' names.
pub(crate) type Names = &'static [&'static str];

/// Quick scenarios that have every kind between them but `spurious`, which none
/// of the quick ones is sure to meet.
const SAMPLE: Names = &[
    "zero-page",
    "populate",
    "file-warm",
    "file-cold",
    "file-mkwrite",
    "cow-file",
    "shmem",
    "fork-child",
    "cow-unshare",
    "thp-zero",
    "thp-fork",
    "hugetlb",
    "swap-cache",
    "shmem-swap-in",
    "oom",
    "null",
    "unmapped",
    "read-only",
    "pkey",
    "beyond-eof",
    "stack-guard",
    "non-canonical",
    "efault",
    "userfault",
    "device",
    "numa-hint",
    "migration",
];

/// What is played here, and what that leaves out.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) backends: Vec<String>,
    /// Nothing for all.
    pub(crate) names: Names,
    pub(crate) left_out: Option<String>,
}

/// Everything, but on an emulated processor only a part unless more is asked for.
pub(crate) fn program() -> Result<Program> {
    let mut backends = tool::backends()?;
    if !sys::is_guest() || crate::is_long() {
        return Ok(Program { backends, names: &[], left_out: None });
    }
    let rest = backends.split_off(backends.len().min(1)).join(", ");
    let played = SAMPLE.len();
    let left_out = format!(
        "all scenarios but {played}, and backends {rest}: cargo xtask test --long plays them"
    );
    Ok(Program { backends, names: SAMPLE, left_out: Some(left_out) })
}

/// One fault as it was printed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) seen: Seen,
    pub(crate) region: String,
    /// How often it was tried again.
    pub(crate) retries: u64,
    /// What its kind was told from.
    pub(crate) evidence: String,
}

#[derive(Deserialize)]
struct Line {
    pid: u32,
    /// Absent where the line tells of a TLB flush.
    kind: Option<String>,
    address: Option<String>,
    #[serde(default)]
    latency_ns: u64,
    #[serde(default)]
    retries: u64,
    region: Option<String>,
    evidence: Option<Value>,
}

/// One traced run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) faults: Vec<Fault>,
}

/// What was played so far: attaching takes seconds on an emulated processor,
/// and more than one test asks for the same.
static RUNS: Mutex<Vec<(String, Names, Arc<Run>)>> = Mutex::new(Vec::new());

/// Plays the scenarios of these names, or all, in one traced run.
pub(crate) fn play(backend: &str, names: Names) -> Result<Arc<Run>> {
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |one: &&(String, Names, _)| (one.0.as_str(), one.1) == (backend, names);
    if let Some((_, _, run)) = runs.iter().find(same) {
        return Ok(Arc::clone(run));
    }
    let run = Arc::new(trace(backend, names)?);
    runs.push((backend.to_owned(), names, Arc::clone(&run)));
    Ok(run)
}

fn trace(backend: &str, names: &[&str]) -> Result<Run> {
    let file = std::env::temp_dir().join(format!("vmtrace-truth-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let options = ["--backend", backend, "--events", "--format", "json", "--evidence"];
    let mut command = tool::vmtrace(&options)?;
    // What the scenarios say must not come between the lines.
    command.args(["--ring-size", "64M", "--"]).arg(tool::path()?);
    command.args(["demo", "--format", "none", "--declare"]).arg(&file).args(names);
    let output = tool::output(&mut command)?;
    let declared = declarations(&file);
    let _ = std::fs::remove_file(&file);
    let said = String::from_utf8_lossy(&output.stderr);
    let declared = declared.with_context(|| format!("vmtrace said: {said}"))?;
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let faults = lines.filter_map(|line| read(line).transpose()).collect::<Result<Vec<_>>>()?;
    ensure!(!faults.is_empty(), "no fault was printed; vmtrace said: {said}");
    Ok(Run { declarations: declared, faults })
}

fn declarations(file: &Path) -> Result<Vec<Declaration>> {
    let text = std::fs::read_to_string(file).context("no declarations")?;
    let read = |line| serde_json::from_str(line).context("cannot understand a declaration");
    text.lines().map(read).collect()
}

fn read(line: &[u8]) -> Result<Option<Fault>> {
    let what = || format!("not a line of an event: {}", String::from_utf8_lossy(line));
    let line: Line = serde_json::from_slice(line).with_context(what)?;
    let (Some(kind), Some(address)) = (line.kind, line.address) else { return Ok(None) };
    let digits = address.strip_prefix("0x").with_context(what)?;
    let address = u64::from_str_radix(digits, 16).with_context(what)?;
    let kind: Kind = kind.parse().map_err(anyhow::Error::msg)?;
    Ok(Some(Fault {
        seen: Seen { pid: line.pid, address, kind, latency: line.latency_ns },
        retries: line.retries,
        region: line.region.unwrap_or_default(),
        evidence: line.evidence.map_or_else(String::new, |evidence| evidence.to_string()),
    }))
}
