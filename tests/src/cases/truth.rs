//! The truth table: every scenario under every backend of this kernel, what
//! was reported against what was declared, kind by kind, range by range. The
//! matrix is printed as facts, which become `docs/truth.md`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use vmtrace::demo::compare::{Place, Row, Seen};
use vmtrace::demo::declare::{Declaration, Outcome};
use vmtrace::demo::settle::{Matrix, Means, Settled};
use vmtrace::fault::Kind;
use vmtrace::region::names;

use crate::harness::{Test, Verdict, fact};
use crate::played::{Fault, Program, Run, play, program};
use crate::sys;

pub(super) const TESTS: &[Test] = &[Test { name: "truth::matrix", run: matrix }];

/// How many faults a deviation shows the evidence of.
const SHOWN: usize = 3;

fn matrix() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("most scenarios need root".into()));
    }
    let Program { backends, names, left_out } = program()?;
    let whole = left_out.is_none();
    if let Some(left_out) = left_out {
        fact("truth left out here", &left_out);
    }
    let mut wrong = Vec::new();
    for backend in backends {
        let run = play(&backend, names).with_context(|| backend.clone())?;
        let found = hold(&backend, &run, whole);
        wrong.extend(found.into_iter().map(|what| format!("{backend}: {what}")));
    }
    ensure!(wrong.is_empty(), "{} went wrong: {}", wrong.len(), wrong.join("; "));
    Ok(Verdict::Passed)
}

/// Prints the matrix and answers what is wrong.
fn hold(backend: &str, run: &Run, whole: bool) -> Vec<String> {
    let means = Means::of_backend(backend);
    let mut by_pid: BTreeMap<u32, Vec<&Fault>> = BTreeMap::new();
    for fault in &run.faults {
        by_pid.entry(fault.seen.pid).or_default().push(fault);
    }
    let (mut matrix, mut played, mut wrong) = (Matrix::default(), 0, Vec::new());
    for declaration in &run.declarations {
        let reason = declaration.reason.as_deref().unwrap_or_default();
        match declaration.outcome {
            Outcome::Done => played += 1,
            Outcome::Skipped => {
                if whole {
                    fact(&format!("truth-skipped {backend} {}", declaration.scenario), reason);
                }
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
    if !whole {
        let mut kinds: Vec<_> = matrix.cells().map(|(declared, _, _)| declared).collect();
        kinds.dedup();
        let held = format!("{played} scenarios, {} kinds", kinds.len());
        fact(&format!("truth held for {backend}"), &held);
        return wrong;
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
        let Seen { pid, address, kind, .. } = fault.seen;
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
