//! Sixty thousand regions, in under a second and 40 MiB.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::children::{divided, ready};

const REGIONS: usize = 60_000;

#[test]
fn sixty_thousand_regions_are_shown_fast_and_small() {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    if limit.trim().parse::<usize>().unwrap() < REGIONS + 2000 {
        println!("skipped: vm.max_map_count is {}", limit.trim());
        return;
    }
    let mut divided = divided(REGIONS);
    assert!(ready(&mut divided));
    for format in ["text", "json"] {
        let start = Instant::now();
        assert!(command(divided.pid(), format).stdout(Stdio::null()).status().unwrap().success());
        let took = start.elapsed();
        let peak = peak(command(divided.pid(), format));
        println!("{format}: {took:?}, {} MiB", peak >> 20);
        // What is resident of the program itself counts too: unoptimised, several
        // times as much.
        let most = if cfg!(debug_assertions) { 64 } else { 40 };
        assert!(peak < most << 20, "{format}: {} MiB", peak >> 20);
        // Without optimisation the parser takes many times as long, on a busy machine more.
        let allowed = if cfg!(debug_assertions) { 90 } else { 1 };
        assert!(took < Duration::from_secs(allowed), "{format}: {took:?}");
    }
}

fn command(pid: i32, format: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmtrace"));
    command.args(["maps", &pid.to_string(), "--format", format]);
    command
}

/// The most memory that a command had, asked for as its output arrives. What
/// `wait4` tells is no use: it counts what the parent had before the exec.
fn peak(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut output = child.stdout.take().unwrap();
    let (mut peak, mut chunk) = (0, vec![0; 1 << 16]);
    while output.read(&mut chunk).unwrap() > 0 {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 0);
    peak
}
