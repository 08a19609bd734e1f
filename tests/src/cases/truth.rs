//! The truth table: every scenario under every backend of this kernel, what
//! was reported against what was declared, kind by kind, range by range. The
//! matrix is printed as facts, which become `docs/truth.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use vmtrace::demo::compare::{Place, Row, Seen};
use vmtrace::demo::declare::{Declaration, Outcome};
use vmtrace::demo::settle::{Matrix, Means, Settled};
use vmtrace::fault::Kind;
use vmtrace::region::names;

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[Test { name: "truth::matrix", run: matrix }];

/// How many faults a deviation shows the evidence of.
const SHOWN: usize = 3;

/// One fault as it was printed.
struct Fault {
    seen: Seen,
    region: String,
    /// What its kind was told from.
    evidence: String,
}

#[derive(Deserialize)]
struct Line {
    pid: u32,
    /// Absent where the line tells of a TLB flush.
    kind: Option<String>,
    address: Option<String>,
    region: Option<String>,
    evidence: Option<Value>,
}

fn matrix() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("most scenarios need root".into()));
    }
    if sys::is_guest() && !crate::LONG.load(Ordering::Relaxed) {
        let why = "takes many minutes on an emulated processor: cargo xtask test --long runs it";
        return Ok(Verdict::Skipped(why.into()));
    }
    let mut wrong = Vec::new();
    for backend in tool::backends()? {
        let (declarations, faults) = play(&backend).with_context(|| backend.clone())?;
        let found = hold(&backend, &declarations, &faults);
        wrong.extend(found.into_iter().map(|what| format!("{backend}: {what}")));
    }
    ensure!(wrong.is_empty(), "{} went wrong: {}", wrong.len(), wrong.join("; "));
    Ok(Verdict::Passed)
}

/// Plays all scenarios in one traced run.
fn play(backend: &str) -> Result<(Vec<Declaration>, Vec<Fault>)> {
    let file = std::env::temp_dir().join(format!("vmtrace-truth-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let options = ["--backend", backend, "--events", "--format", "json", "--evidence"];
    let mut command = tool::vmtrace(&options)?;
    // What the scenarios say must not come between the lines.
    command.args(["--ring-size", "64M", "--", "sh", "-c"]);
    command.arg("exec \"$0\" demo --declare \"$1\" >/dev/null").arg(tool::path()?).arg(&file);
    let output = tool::output(&mut command)?;
    let declared = declarations(&file);
    let _ = std::fs::remove_file(&file);
    let said = String::from_utf8_lossy(&output.stderr);
    let declared = declared.with_context(|| format!("vmtrace said: {said}"))?;
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let faults = lines.filter_map(|line| read(line).transpose()).collect::<Result<Vec<_>>>()?;
    ensure!(!faults.is_empty(), "no fault was printed; vmtrace said: {said}");
    Ok((declared, faults))
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
        seen: Seen { pid: line.pid, address, kind },
        region: line.region.unwrap_or_default(),
        evidence: line.evidence.map_or_else(String::new, |evidence| evidence.to_string()),
    }))
}

/// Prints the matrix and answers what is wrong.
fn hold(backend: &str, declarations: &[Declaration], faults: &[Fault]) -> Vec<String> {
    let means = Means::of_backend(backend);
    let mut by_pid: BTreeMap<u32, Vec<&Fault>> = BTreeMap::new();
    for fault in faults {
        by_pid.entry(fault.seen.pid).or_default().push(fault);
    }
    let (mut matrix, mut played, mut wrong) = (Matrix::default(), 0, Vec::new());
    for declaration in declarations {
        let reason = declaration.reason.as_deref().unwrap_or_default();
        match declaration.outcome {
            Outcome::Done => played += 1,
            Outcome::Skipped => {
                fact(&format!("truth-skipped {backend} {}", declaration.scenario), reason);
                continue;
            }
            Outcome::Failed => {
                wrong.push(format!("{} failed: {reason}", declaration.scenario));
                continue;
            }
        }
        let found = check(declaration, &by_pid, means, &mut matrix);
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", declaration.scenario)));
    }
    fact(&format!("truth-played {backend}"), &format!("{played} scenarios"));
    for (declared, reported, count) in matrix.cells() {
        fact(&format!("truth {backend} {declared} {reported}"), &count.to_string());
    }
    wrong
}

/// One scenario.
fn check(
    declaration: &Declaration,
    by_pid: &BTreeMap<u32, Vec<&Fault>>,
    means: Means,
    matrix: &mut Matrix,
) -> Vec<String> {
    let mut pids: Vec<_> = declaration.expectations.iter().map(|one| one.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let faults: Vec<_> = pids.iter().filter_map(|pid| by_pid.get(pid)).flatten().copied().collect();
    let seen: Vec<_> = faults.iter().map(|fault| fault.seen).collect();
    let mut wrong = Vec::new();
    for Settled { place, rows, cells } in declaration.settle(&seen, means) {
        for &cell in &cells {
            matrix.add(cell);
        }
        let bad: Vec<_> = cells.iter().filter(|cell| !cell.allowed).collect();
        if !bad.is_empty() {
            let kinds: Vec<_> = bad.iter().filter_map(|cell| cell.reported).collect();
            let bad: Vec<_> = bad.iter().map(ToString::to_string).collect();
            let evidence = evidence(&place, &kinds, &faults);
            wrong.push(format!("{}: {} {evidence}", in_words(&place, &rows), bad.join(", ")));
        }
        wrong.extend(misplaced(&place, &faults));
    }
    // A total that holds faults this backend does not see is none for it.
    if means == Means::Marks {
        wrong.extend(declaration.wrong_totals(&seen).map(|(total, seen)| {
            let (pid, start, end, count) = (total.pid, total.start, total.end, total.count);
            format!("{pid} {start:#x}..{end:#x}: declared {count} in all, got {seen}")
        }));
    }
    wrong
}

/// A range, what was declared there and what was got.
fn in_words(place: &Place<'_>, rows: &[Row]) -> String {
    let Place { pid, start, end, .. } = place;
    let declared = rows.iter().filter(|row| row.declared.1 > 0).map(|row| match row.declared {
        (low, high) if low == high => format!("{low} {}", row.kind),
        (low, u64::MAX) => format!("at least {low} {}", row.kind),
        (low, high) => format!("{low} to {high} {}", row.kind),
    });
    let got =
        rows.iter().filter(|row| row.seen > 0).map(|row| format!("{} {}", row.seen, row.kind));
    let (declared, got): (Vec<_>, Vec<_>) = (declared.collect(), got.collect());
    format!("{pid} {start:#x}..{end:#x} declared {}, got {}", declared.join(" + "), got.join(" + "))
}

fn evidence(place: &Place<'_>, kinds: &[Kind], faults: &[&Fault]) -> String {
    let here = |fault: &&&Fault| {
        let Seen { pid, address, kind } = fault.seen;
        kinds.contains(&kind) && (place.holds(pid, address) || place.start == place.end)
    };
    let shown = faults.iter().filter(here).take(SHOWN);
    let shown: Vec<_> = shown
        .map(|fault| {
            let Seen { address, kind, .. } = fault.seen;
            format!("{kind} at {address:#x} in {} by {}", fault.region, fault.evidence)
        })
        .collect();
    if shown.is_empty() { String::new() } else { format!("[{}]", shown.join(", ")) }
}

/// Faults in a range whose region the declaration names, reported in another.
fn misplaced(place: &Place<'_>, faults: &[&Fault]) -> Option<String> {
    let declared = &place.expectations.first()?.region;
    if declared.is_empty() || place.expectations.iter().any(|one| one.region != *declared) {
        return None;
    }
    let name = names::familiar(declared.clone());
    let elsewhere =
        |fault: &&&Fault| place.holds(fault.seen.pid, fault.seen.address) && fault.region != name;
    let first = faults.iter().find(elsewhere)?;
    let (count, Place { start, end, .. }) = (faults.iter().filter(elsewhere).count(), place);
    let (region, evidence) = (&first.region, &first.evidence);
    Some(format!("{start:#x}..{end:#x} declared in {name}, got {count} in {region} {evidence}"))
}
