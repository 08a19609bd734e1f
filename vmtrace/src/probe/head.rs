//! What a session says of itself before its first record.

use std::fs;

use super::backend::{Attempt, Backend};
use super::session::Options;
use super::{preflight, programs};
use crate::preface::Preface;
use crate::sys::clock;

/// The circumstances of a session that has attached.
pub(super) fn preface(
    backend: Backend,
    attempts: &[Attempt],
    options: &Options,
    cpus: u32,
) -> Preface {
    let mut degradations: Vec<_> = attempts
        .iter()
        .filter(|attempt| {
            backend
                .programs()
                .iter()
                .chain(programs::BESIDE)
                .chain(programs::LIFECYCLE)
                .any(|p| p.name == attempt.program.name)
        })
        .filter_map(|attempt| {
            let why = attempt.outcome.as_ref().err()?;
            let place = attempt.program.places.first()?;
            Some(format!(
                "{}: no {} on {place} ({why})",
                attempt.program.without?,
                attempt.program.hook.name()
            ))
        })
        .collect();
    if options.tally.is_some() && backend == Backend::Tracepoint {
        degradations.push(
            "--tally tells regions apart by 2 MiB: the tracepoint backend does not see them"
                .to_owned(),
        );
    }
    Preface {
        backend: backend.name().to_owned(),
        degradations,
        kernel: preflight::release(),
        host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        command_line: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        target: options.named.clone().unwrap_or_else(|| options.target.describe()),
        started_wall_ns: clock::wall_ns(),
        started_ns: clock::monotonic_ns(),
        cpu_nodes: (0..cpus).map(node_of).collect(),
        hosts: Vec::new(),
    }
}

fn node_of(cpu: u32) -> u32 {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}");
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        .unwrap_or(0)
}
