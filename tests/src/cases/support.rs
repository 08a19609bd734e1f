//! What each backend can attach on this kernel, as `vmtrace doctor` finds it.
//! The facts printed here become `docs/kernel-support.md`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[Test { name: "support::probes", run: probes }];

fn probes() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("attaching needs root".into()));
    }
    let output = tool::output(&mut tool::vmtrace(&["doctor", "--format", "json"])?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(2) && said.contains("doctor") {
        return Ok(Verdict::Skipped("this vmtrace has no doctor that speaks JSON".into()));
    }
    ensure!(output.status.success(), "vmtrace doctor ended with {}: {said}", output.status);
    let json: Value = serde_json::from_slice(&output.stdout).context("doctor printed no JSON")?;
    let schema = json["schema"].as_str().unwrap_or_default();
    ensure!(schema == "vmtrace.doctor/1", "unknown schema {schema:?}");
    let backends = json["backends"].as_array().context("doctor names no backends")?;
    let mut usable = 0;
    for backend in backends {
        let name = backend["name"].as_str().context("a backend without a name")?;
        let works = backend["usable"].as_bool().unwrap_or(false);
        let why = backend["why"].as_str().unwrap_or_default();
        usable += usize::from(works);
        fact(&format!("backend {name}"), if works { "usable" } else { why });
        for probe in backend["probes"].as_array().into_iter().flatten() {
            let probe_name = probe["name"].as_str().context("a probe without a name")?;
            let state = probe["state"].as_str().context("a probe without a state")?;
            let detail = probe["detail"].as_str().unwrap_or_default();
            fact(&format!("probe {name} {probe_name}"), format!("{state} {detail}").trim());
        }
    }
    ensure!(usable > 0, "no backend works here: {json}");
    Ok(Verdict::Passed)
}
