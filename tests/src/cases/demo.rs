//! The demo's scenarios on this kernel: what they declare is what later tests
//! hold a trace against, so the kernel's own counters have to agree first.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "demo::kernel-agrees", run: kernel_agrees },
    Test { name: "demo::check-agrees", run: check_agrees },
];

/// `vmtrace demo --check`, which is what a newcomer sees first.
fn check_agrees() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("tracing needs root".into()));
    }
    if sys::is_guest() && !crate::LONG.load(Ordering::Relaxed) {
        return Ok(Verdict::Skipped("truth::matrix holds the same scenarios".into()));
    }
    let names = ["demo", "--check", "zero-page", "fork-child", "null"];
    let output = tool::output(&mut tool::vmtrace(&names)?)?;
    let (page, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}: {page} {said}", output.status);
    ensure!(page.contains("3 of 3 scenarios agree"), "{page}");
    ensure!(said.is_empty(), "it said: {said}");
    Ok(Verdict::Passed)
}

fn kernel_agrees() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("most scenarios need root".into()));
    }
    if sys::is_guest() && !crate::is_long() {
        return Ok(Verdict::Skipped(
            "truth::matrix plays them here: alone only with --long".into(),
        ));
    }
    let output = tool::output(&mut tool::vmtrace(&["demo", "--format", "json"])?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let mut played = 0;
    let mut wrong = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let scenario: Value = serde_json::from_str(line).context("demo printed no JSON")?;
        let name = scenario["scenario"].as_str().context("a scenario without a name")?;
        match scenario["outcome"].as_str() {
            Some("done") if agrees(&scenario) => played += 1,
            Some("skipped") => {
                fact(&format!("demo {name}"), &format!("skipped: {}", told(&scenario)));
            }
            _ => wrong.push(format!("{name}: {}", told(&scenario))),
        }
    }
    ensure!(wrong.is_empty(), "{} went wrong: {}", wrong.len(), wrong.join("; "));
    ensure!(output.status.success(), "demo ended with {}: {said}", output.status);
    ensure!(played > 0, "no scenario could be played");
    fact("demo scenarios played", &played.to_string());
    Ok(Verdict::Passed)
}

/// What a scenario said went wrong: its reason, or the checks that disagree.
fn told(scenario: &Value) -> String {
    if let Some(reason) = scenario["reason"].as_str() {
        return reason.to_owned();
    }
    let checks = scenario["checks"].as_array().into_iter().flatten();
    let wrong = checks.filter(|check| check["agrees"] != true).map(Value::to_string);
    wrong.collect::<Vec<_>>().join(", ")
}

fn agrees(scenario: &Value) -> bool {
    let checks = scenario["checks"].as_array();
    checks.is_some_and(|checks| checks.iter().all(|check| check["agrees"] == true))
}
