//! What a kernel has to offer before vmtrace can be judged on it.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::harness::{Test, Verdict, fact};
use crate::{sys, tool};

pub(super) const TESTS: &[Test] = &[
    Test { name: "environment::kernel-types", run: kernel_types },
    Test { name: "environment::programs-can-be-listed", run: programs_can_be_listed },
    Test { name: "environment::vmtrace-starts", run: vmtrace_starts },
];

fn kernel_types() -> Result<Verdict> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    fact("kernel", release.trim());
    ensure!(Path::new("/sys/kernel/btf/vmlinux").exists(), "this kernel describes no types (BTF)");
    Ok(Verdict::Passed)
}

fn programs_can_be_listed() -> Result<Verdict> {
    if !sys::is_root() {
        return Ok(Verdict::Skipped("only root may list eBPF programs".into()));
    }
    sys::bpf_programs()?;
    Ok(Verdict::Passed)
}

fn vmtrace_starts() -> Result<Verdict> {
    let output = tool::output(&mut tool::vmtrace(&["--version"])?)?;
    ensure!(output.status.success(), "vmtrace --version ended with {}", output.status);
    ensure!(output.stdout.starts_with(b"vmtrace "), "vmtrace --version names no version");
    Ok(Verdict::Passed)
}
